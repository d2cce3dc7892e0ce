//! Faults in time: a plot of their own with every label, and numbered bands behind the other plots. The numbers are
//! the same everywhere: the order of the beginnings.

use plotters::style::text_anchor::HPos;

use super::axis::Axis;
use super::canvas::{Area, Canvas, Drawn, NOTE, PLAIN, Type, fit, px, sheet, text_width};
use super::chart::{Chart, LEFT};
use super::error::ReportError;
use super::style::{BAND, BAND_LINE, Fill, INK, Look, MUTED, ORANGE, PAPER};
use super::units;
use crate::figures::{FaultBand, Figures};

/// What is written above a plot about its bands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Labels {
    None,
    Numbers,
    /// Numbers and, if there is room for all, kinds.
    Kinds,
}

/// How many faults the plot of faults shows.
const ROWS: usize = 40;

/// Rows of labels above a plot.
const LANES: usize = 3;

/// Height of such a row in pixels.
const LANE: i32 = 17;

const EDGE: Look = Look { color: BAND_LINE, dash: Some((3, 3)), glyph: None, width: 1 };

/// The faults in the order of their numbers.
fn numbered(run: &Figures) -> Vec<(usize, &FaultBand)> {
    let usable = |f: &&FaultBand| f.from.is_finite() && f.until.is_finite();
    let mut faults: Vec<&FaultBand> = run.faults.iter().filter(usable).collect();
    faults.sort_by(|a, b| a.from.total_cmp(&b.from).then(a.until.total_cmp(&b.until)));
    faults.into_iter().enumerate().map(|(at, fault)| (at + 1, fault)).collect()
}

/// Labels in as few rows as they need: the row, the left end, the text, and the fault. A label that would need more
/// than [`LANES`] rows is left out.
fn lanes<'f>(
    chart: &Chart,
    faults: &[(usize, &'f FaultBand)],
    labels: Labels,
) -> Vec<(usize, i32, String, &'f FaultBand)> {
    let place = |words: fn(usize, &FaultBand) -> String| {
        let mut ends = [i32::MIN; LANES];
        let mut placed = Vec::new();
        for (number, fault) in faults {
            let text = words(*number, fault);
            let width = text_width(&text, 10);
            let (from, until) = (chart.at(fault.from, 0.0).0, chart.at(fault.until, 0.0).0);
            let left = from.min(chart.plot.right - width).max(chart.plot.left);
            if let Some(lane) = ends.iter().position(|end| *end + px(5) <= left.min(from)) {
                ends[lane] = (left + width).max(until);
                placed.push((lane, left, text, *fault));
            }
        }
        placed
    };
    let full = place(|number, fault| format!("{number} {}", fault.kind));
    let all = full.len() == faults.len() && labels == Labels::Kinds;
    if all { full } else { place(|number, _| number.to_string()) }
}

/// The height that the labels above a plot need, in pixels.
pub(super) fn strip(run: &Figures) -> i32 {
    LANE * run.faults.len().min(LANES) as i32 + 6
}

/// Draws the bands of all faults behind a chart; their labels too, in the [`strip`] above it.
pub(super) fn bands(chart: &Chart, run: &Figures, labels: Labels) -> Drawn {
    let Area { top, bottom, .. } = chart.plot;
    let faults = numbered(run);
    let mut covered = i32::MIN;
    for (_, fault) in &faults {
        let (from, until) = (chart.at(fault.from, 0.0).0.max(covered), chart.at(fault.until, 0.0).0);
        if until > from {
            let area = Area { left: from, top, right: until, bottom };
            chart.canvas.block(area, BAND)?;
            chart.canvas.hatch(area, 7, BAND_LINE)?;
            covered = until;
        }
    }
    edges(chart, run, &faults, labels)
}

/// Draws the outlines of the bands of all faults, and their labels.
pub(super) fn outlines(chart: &Chart, run: &Figures, labels: Labels) -> Drawn {
    edges(chart, run, &numbered(run), labels)
}

fn edges(chart: &Chart, run: &Figures, faults: &[(usize, &FaultBand)], labels: Labels) -> Drawn {
    let Area { top, bottom, .. } = chart.plot;
    for (_, fault) in faults {
        for at in [fault.from, fault.until] {
            let x = chart.at(at, 0.0).0;
            chart.canvas.path(vec![(x, top), (x, bottom)], EDGE)?;
        }
    }
    if run.healed_at > 0.0 && run.healed_at < chart.x.high() {
        let x = chart.at(run.healed_at, 0.0).0;
        chart.canvas.line((x, top), (x, bottom), MUTED)?;
    }
    if labels != Labels::None {
        // The title of the vertical axis comes between the labels and the plot.
        let base = top - px(20);
        for (lane, left, text, fault) in lanes(chart, faults, labels) {
            let y = base - px(LANE) * lane as i32;
            let (from, until) = (chart.at(fault.from, 0.0).0, chart.at(fault.until, 0.0).0);
            let bar = Area { left: from, top: y - px(3), right: until.max(from + px(2)), bottom: y };
            chart.canvas.block(bar, MUTED)?;
            chart.canvas.text(&text, (left, y - px(9)), Type { size: 10, color: INK, ..NOTE })?;
        }
    }
    Ok(())
}

/// Draws every fault as a bar in time.
pub(super) fn figure(run: &Figures) -> Result<String, ReportError> {
    let faults = numbered(run);
    let shown = &faults[..faults.len().min(ROWS)];
    let height = 70 + 18 * shown.len().max(2) as i32;
    sheet(
        "faults",
        ("Faults over time", "One bar for each fault, labelled, in order of their beginnings."),
        height,
        |canvas| {
            let plot = Area::of(LEFT, 14, 880, height - 56);
            if shown.is_empty() {
                return canvas.no_data(plot, "no faults in this run");
            }
            draw(canvas, plot, run, shown, faults.len())
        },
    )
}

fn draw(canvas: &Canvas, plot: Area, run: &Figures, shown: &[(usize, &FaultBand)], all: usize) -> Drawn {
    let x = Axis::time(run.ended_at, 9).titled("time since the start of the run");
    let chart = Chart::new(canvas, plot, x, Axis::share(1), true)?;
    chart.axes_below()?;
    let healed = chart.at(run.healed_at, 0.0).0;
    canvas.line((healed, plot.top), (healed, plot.bottom), MUTED)?;
    for (row, (number, fault)) in shown.iter().enumerate() {
        let (top, bottom) = (plot.top + px(18) * row as i32 + px(3), plot.top + px(18) * row as i32 + px(15));
        let middle = (top + bottom) / 2;
        let (left, right) = (chart.at(fault.from, 0.0).0, chart.at(fault.until, 0.0).0);
        canvas.text(&number.to_string(), (plot.left - px(8), middle), Type { size: 11, h: HPos::Right, ..PLAIN })?;
        let right = right.max(left + px(3));
        canvas.bar(Area { left, top, right, bottom }, Fill::Hatched, ORANGE)?;
        let lasted =
            if fault.until > fault.from { units::seconds(fault.until - fault.from) } else { "a moment".into() };
        let text = format!("{} ({lasted})", fault.label);
        // The label goes beside the bar, where there is more room if it does not fit.
        let small = Type { size: 11, ..PLAIN };
        let (before, behind) = (left - px(8) - plot.left, plot.right - right - px(8));
        let after = text_width(&text, 11) <= behind || behind >= before;
        if before.max(behind) >= px(120) {
            let text = fit(&text, if after { behind } else { before }, 11);
            let width = text_width(&text, 11);
            let start = if after { right + px(6) } else { left - px(6) - width };
            canvas.block(Area { left: start, top, right: start + width, bottom }, PAPER)?;
            let h = if after { HPos::Left } else { HPos::Right };
            canvas.text(&text, (if after { start } else { start + width }, middle), Type { h, ..small })?;
        } else {
            let text = fit(&text, right - left - px(16), 11);
            let start = left + px(8);
            let end = start + text_width(&text, 11);
            canvas.block(Area { left: start - px(3), top: top + px(1), right: end, bottom: bottom - px(1) }, PAPER)?;
            canvas.text(&text, (start, middle), small)?;
        }
    }
    let when = units::seconds(run.healed_at);
    let mut below = if run.broke_before_healing() {
        format!("grey line: the run was broken off at {when}")
    } else {
        format!("grey line: the final healing at {when}, which ends what faults are left")
    };
    if all > shown.len() {
        below = format!("{} more faults are in faults.csv; {below}", all - shown.len());
    }
    canvas.text(&below, (plot.left, plot.bottom + px(44)), NOTE)
}
