//! Which regions answered the clients of each region, over the time of one run. The three parts differ in lightness and
//! in hatching.

use plotters::style::RGBColor;

use super::axis::Axis;
use super::canvas::{Area, Canvas, Drawn, NOTE, PLAIN, Spot, fit, px, sheet};
use super::cdf::LEGEND;
use super::chart::{Chart, LEFT};
use super::error::ReportError;
use super::faults::{self, Labels};
use super::style::{BLUE, Fill, ORANGE};
use super::summary::name;
use super::units;
use crate::figures::{Availability, Figures};
use crate::index::NodeIndex;

/// Most slices of time that a panel shows. If there are more, neighbours are added up.
const SLICES: usize = 240;

const PANEL: i32 = 62;
const HOME: RGBColor = RGBColor(0xd3, 0xe6, 0xf3);
const FAILED: RGBColor = RGBColor(0x7a, 0x1f, 0x00);

/// Requests of a slice of time.
#[derive(Clone, Copy)]
struct Slice {
    from: f64,
    until: f64,
    at_home: u64,
    elsewhere: u64,
    otherwise: u64,
    failed: u64,
}

impl Slice {
    fn of(a: &Availability) -> Self {
        let Availability { at, seconds, at_home, elsewhere, otherwise, failed, .. } = *a;
        Self { from: at, until: at + seconds, at_home, elsewhere, otherwise, failed }
    }

    fn all(&self) -> u64 {
        self.at_home + self.elsewhere + self.failed
    }

    fn and(self, other: Self) -> Self {
        Self {
            from: self.from,
            until: other.until,
            at_home: self.at_home + other.at_home,
            elsewhere: self.elsewhere + other.elsewhere,
            otherwise: self.otherwise + other.otherwise,
            failed: self.failed + other.failed,
        }
    }
}

fn slices(run: &Figures, region: NodeIndex) -> Vec<Slice> {
    let of_region = run.availability.iter().filter(|a| a.region == region);
    let mut slices: Vec<Slice> =
        of_region.filter(|a| a.at.is_finite() && a.seconds.is_finite()).map(Slice::of).collect();
    slices.sort_by(|a, b| a.from.total_cmp(&b.from));
    let each = slices.len().div_ceil(SLICES).max(1);
    slices.chunks(each).filter_map(|some| some.iter().copied().reduce(Slice::and)).collect()
}

/// Draws a panel for each region.
pub(super) fn figure(run: &Figures) -> Result<String, ReportError> {
    let panels: Vec<(NodeIndex, Vec<Slice>)> = (0..run.regions.len())
        .map(NodeIndex)
        .map(|region| (region, slices(run, region)))
        .filter(|(_, slices)| slices.iter().any(|slice| slice.all() > 0))
        .collect();
    let strip = faults::strip(run) + 46;
    let height = strip + (PANEL + 18) * panels.len().max(2) as i32 + 40;
    let about = "For the clients of each region, over the time of the run: shares of requests answered by the nearest region, by another one, and by none.";
    sheet("availability", ("Availability over time", about), height, |canvas| {
        if panels.is_empty() {
            return canvas.no_data(Area::of(LEFT, strip, LEGEND - 24, strip + 120), "no requests were made");
        }
        key(canvas)?;
        for (row, (region, slices)) in panels.iter().enumerate() {
            let top = strip + (PANEL + 18) * row as i32;
            let plot = Area::of(LEFT, top, LEGEND - 24, top + PANEL);
            let x = Axis::time(run.ended_at, 8).titled("time since the start of the run");
            let mut chart = Chart::new(canvas, plot, x, Axis::share(2), row + 1 == panels.len())?;
            chart.axes()?;
            areas(&chart, slices)?;
            // Hatched bands would be taken for requests.
            faults::outlines(&chart, run, if row == 0 { Labels::Kinds } else { Labels::None })?;
            beside(canvas, plot, &name(run, *region), slices)?;
        }
        Ok(())
    })
}

fn key(canvas: &Canvas) -> Drawn {
    let parts = [("answered by the nearest region", 0), ("answered elsewhere", 1), ("failed", 2)];
    let mut left = px(LEFT);
    for (label, part) in parts {
        let swatch = Area { left, top: px(6), right: left + px(22), bottom: px(18) };
        match part {
            0 => canvas.block(swatch, HOME)?,
            1 => canvas.bar(swatch, Fill::Hatched, ORANGE)?,
            _ => canvas.block(swatch, FAILED)?,
        }
        if part == 0 {
            canvas.outline(swatch, BLUE)?;
        }
        canvas.text(label, (left + px(28), px(12)), PLAIN)?;
        left += px(50) + super::canvas::text_width(label, 12);
    }
    Ok(())
}

fn areas(chart: &Chart, slices: &[Slice]) -> Drawn {
    let canvas = chart.canvas;
    for run in slices.chunk_by(|a, b| a.all() > 0 && b.all() > 0 && (b.from - a.until).abs() < 1e-6) {
        if run[0].all() == 0 {
            continue;
        }
        let levels: Vec<(i32, i32, i32, i32)> = run.iter().map(|slice| levels(chart, slice)).collect();
        let top = chart.plot.top;
        let band = |upper: &dyn Fn(usize) -> i32, lower: &dyn Fn(usize) -> i32| -> Vec<Spot> {
            let along = |at: usize, y: i32| [(levels[at].0, y), (levels[at].1, y)];
            let there = (0..levels.len()).flat_map(|at| along(at, upper(at)));
            let back = (0..levels.len()).rev().flat_map(|at| {
                let [a, b] = along(at, lower(at));
                [b, a]
            });
            there.chain(back).collect()
        };
        canvas.polygon(band(&|at| levels[at].2, &|_| chart.plot.bottom), HOME)?;
        // Hatching is drawn in as few pieces as possible.
        let mut start = 0;
        while start < levels.len() {
            let (_, _, home, failed) = levels[start];
            let same = levels[start..].iter().take_while(|l| (l.2, l.3) == (home, failed)).count();
            let area = Area { left: levels[start].0, top: failed, right: levels[start + same - 1].1, bottom: home };
            if area.bottom > area.top {
                canvas.hatch(area, 4, ORANGE)?;
                canvas.line((area.left, home), (area.right, home), ORANGE)?;
            }
            start += same;
        }
        if levels.iter().any(|l| l.3 > top) {
            canvas.polygon(band(&|_| top, &|at| levels[at].3), FAILED)?;
        }
    }
    Ok(())
}

/// Left and right end of a slice, and the heights of the answers at home and of all answers. A failure is at least two
/// pixels high, so that it is seen.
fn levels(chart: &Chart, slice: &Slice) -> (i32, i32, i32, i32) {
    let all = slice.all().max(1) as f64;
    let (left, _) = chart.at(slice.from, 0.0);
    let (right, home) = chart.at(slice.until, slice.at_home as f64 / all);
    let (_, answered) = chart.at(slice.until, (slice.at_home + slice.elsewhere) as f64 / all);
    let answered = if slice.failed > 0 { answered.max(chart.plot.top + px(2)) } else { chart.plot.top };
    let home = if slice.elsewhere > 0 { home.max(answered) } else { answered };
    (left, right, home, answered)
}

fn beside(canvas: &Canvas, plot: Area, name: &str, slices: &[Slice]) -> Drawn {
    let Some(all) = slices.iter().copied().reduce(Slice::and) else { return Ok(()) };
    let share = |part: u64| units::percent(part as f64 / all.all().max(1) as f64);
    let x = px(LEGEND);
    canvas.text(
        &fit(name, px(896 - LEGEND), 12),
        (x, plot.top + px(8)),
        super::canvas::Type { bold: true, ..PLAIN },
    )?;
    let answered = format!("home {} · elsewhere {}", share(all.at_home), share(all.elsewhere));
    canvas.text(&answered, (x, plot.top + px(24)), NOTE)?;
    let otherwise = format!("gone, unknown, stale or full {}", share(all.otherwise));
    canvas.text(&otherwise, (x, plot.top + px(39)), NOTE)?;
    let failed = format!("failed {} ({} of {})", share(all.failed), units::count(all.failed), units::count(all.all()));
    canvas.text(&failed, (x, plot.top + px(54)), NOTE)
}
