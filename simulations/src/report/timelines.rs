//! The samples of one run over its time: lag, completeness of guest lists, and storage. A line has a gap while its
//! region is down.

use super::axis::Axis;
use super::canvas::{Area, Canvas, Drawn, Entry, NOTE, fit, px, sheet};
use super::cdf::LEGEND;
use super::chart::{Chart, LEFT};
use super::error::ReportError;
use super::faults::{self, Labels};
use super::stats::{thin, upper};
use super::style::{CONTEXT, LINES, Look, look};
use super::summary::name;
use super::units;
use crate::figures::{Figures, Sample};
use crate::index::NodeIndex;

/// A region's course.
type Course = Vec<(f64, Option<f64>)>;

/// The course of a value in every region.
fn courses(run: &Figures, value: impl Fn(&Sample) -> Option<f64>) -> Vec<Course> {
    let mut courses = vec![Course::new(); run.regions.len()];
    for sample in run.samples.iter().filter(|sample| sample.at.is_finite()) {
        if let Some(course) = courses.get_mut(sample.region.0) {
            course.push((sample.at, if sample.up { value(sample) } else { None }));
        }
    }
    for course in &mut courses {
        course.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    courses
}

fn peak(course: &Course) -> f64 {
    course.iter().filter_map(|(_, value)| *value).filter(|v| v.is_finite()).fold(0.0, f64::max)
}

/// Which regions get a line of their own: all if they are few, otherwise those with the highest peaks.
fn looks(courses: &[Course]) -> Vec<Option<Look>> {
    let mut order: Vec<usize> = (0..courses.len()).collect();
    if courses.len() > LINES {
        order.sort_by(|a, b| peak(&courses[*b]).total_cmp(&peak(&courses[*a])).then(a.cmp(b)));
        order.truncate(LINES);
        order.sort_unstable();
    }
    let mut looks = vec![None; courses.len()];
    for (number, region) in order.into_iter().enumerate() {
        looks[region] = Some(look(number));
    }
    looks
}

fn edges(courses: &[Course]) -> Vec<Course> {
    courses.iter().map(|course| upper(course)).collect()
}

fn lines(chart: &Chart, courses: &[Course], looks: &[Option<Look>]) -> Drawn {
    for (course, _) in courses.iter().zip(looks).filter(|(_, look)| look.is_none()) {
        chart.course(&thin(course), CONTEXT, 0.0)?;
    }
    for (region, (course, look)) in courses.iter().zip(looks).enumerate() {
        if let Some(look) = look {
            chart.course(&thin(course), *look, region as f64 / courses.len() as f64)?;
        }
    }
    Ok(())
}

fn legend(
    canvas: &Canvas,
    top: i32,
    run: &Figures,
    looks: &[Option<Look>],
    said: impl Fn(NodeIndex) -> String,
) -> Drawn<i32> {
    let mut entries: Vec<Entry> = looks
        .iter()
        .enumerate()
        .filter_map(|(region, look)| {
            let region = NodeIndex(region);
            Some(Entry { look: (*look)?, label: name(run, region), details: vec![said(region)] })
        })
        .collect();
    let others = looks.iter().filter(|look| look.is_none()).count();
    if others > 0 {
        entries.push(Entry { look: CONTEXT, label: format!("{others} other regions"), details: Vec::new() });
    }
    canvas.legend((px(LEGEND), top), px(896 - LEGEND), &entries)
}

fn time(run: &Figures) -> Axis {
    Axis::time(run.ended_at, 8).titled("time since the start of the run")
}

/// Entries and seconds that each region lacks of the others.
pub(super) fn lag(run: &Figures) -> Result<String, ReportError> {
    let strip = faults::strip(run) + 24;
    let height = strip + 400;
    let about = "Over the time of the run: how many entries of other regions each region does not know, and how old the oldest of them is.";
    sheet("lag", ("Lag over time", about), height, |canvas| {
        let above = Area::of(LEFT, strip, LEGEND - 24, strip + 150);
        let lower = Area::of(LEFT, strip + 190, LEGEND - 24, strip + 350);
        if run.samples.is_empty() {
            return canvas.no_data(Area { bottom: lower.bottom, ..above }, "no samples were taken");
        }
        let others = |sample: &Sample, at: usize| at != sample.region.0;
        let entries = courses(run, |s| {
            Some(s.lag_entries.iter().enumerate().filter(|(at, _)| others(s, *at)).map(|(_, n)| *n as f64).sum())
        });
        let oldest = courses(run, |s| {
            Some(s.lag_s.iter().enumerate().filter(|(at, _)| others(s, *at)).map(|(_, v)| *v).fold(0.0, f64::max))
        });
        let looks = looks(&oldest);
        let top = |courses: &[Course]| courses.iter().map(peak).fold(0.0, f64::max);
        let y = Axis::log_counts(top(&entries)).titled("entries not yet known, of all other regions (logarithmic)");
        let mut chart = Chart::new(canvas, above, time(run), y, false)?;
        faults::bands(&chart, run, Labels::Kinds)?;
        chart.axes()?;
        lines(&chart, &edges(&entries), &looks)?;
        let y = Axis::log_seconds(top(&oldest)).titled("age of the oldest entry not yet known (logarithmic)");
        let mut chart = Chart::new(canvas, lower, time(run), y, true)?;
        faults::bands(&chart, run, Labels::None)?;
        chart.axes()?;
        lines(&chart, &edges(&oldest), &looks)?;
        let said = |region: NodeIndex| {
            let most = units::count(peak(&entries[region.0]) as u64);
            format!("at most {most}, {}", units::seconds(peak(&oldest[region.0])))
        };
        legend(canvas, above.top, run, &looks, said)?;
        Ok(())
    })
}

/// How far behind the present a guest list in each region is complete, for the worst other region.
pub(super) fn completeness(run: &Figures) -> Result<String, ReportError> {
    let worst = |sample: &Sample| {
        let others = sample.completeness_s.iter().enumerate().filter(|(at, _)| *at != sample.region.0);
        others.map(|(_, value)| *value).try_fold(0.0, |worst: f64, value| Some(worst.max(value?)))
    };
    let courses = courses(run, worst);
    let unsure: Vec<NodeIndex> = (0..run.regions.len())
        .map(NodeIndex)
        .filter(|region| run.samples.iter().any(|s| s.region == *region && s.up && worst(s).is_none()))
        .collect();
    let rows = unsure.len().min(8);
    let strip = faults::strip(run) + 24;
    let height = strip + 280 + if rows > 0 { 34 + 14 * rows as i32 } else { 0 };
    let about = "Over the time of the run: the age up to which a guest list in each region may lack visits of some other region.";
    sheet("completeness", ("Completeness of guest lists over time", about), height, |canvas| {
        let plot = Area::of(LEFT, strip, LEGEND - 24, strip + 230);
        if run.samples.iter().all(|sample| sample.completeness_s.len() < 2) {
            return canvas.no_data(plot, "no samples of guest lists of another region");
        }
        let looks = looks(&courses);
        let max = courses.iter().map(peak).fold(0.0, f64::max);
        let y = Axis::log_seconds(max).titled("complete up to so long ago, worst other region (logarithmic)");
        let mut chart = Chart::new(canvas, plot, time(run), y, true)?;
        faults::bands(&chart, run, Labels::Kinds)?;
        chart.axes()?;
        lines(&chart, &edges(&courses), &looks)?;
        let said = |region: NodeIndex| format!("at most {}", units::seconds(peak(&courses[region.0])));
        legend(canvas, plot.top, run, &looks, said)?;
        let top = plot.bottom + px(58);
        for (row, region) in unsure.iter().take(rows).enumerate() {
            if row == 0 {
                canvas.text("cannot say how complete:", (plot.left, top - px(14)), NOTE)?;
            }
            let middle = top + px(14) * row as i32;
            let label = fit(&name(run, *region), px(896 - LEGEND), 11);
            canvas.text(&label, (px(LEGEND), middle), NOTE)?;
            canvas.line((plot.left, middle), (plot.right, middle), super::style::GRID)?;
            for (from, until) in spells(run, *region, worst) {
                let (left, right) = (chart.at(from, 0.0).0, chart.at(until, 0.0).0);
                let bar = Area { left, top: middle - px(4), right: right.max(left + px(2)), bottom: middle + px(4) };
                canvas.bar(bar, super::style::Fill::Hatched, super::style::INK)?;
            }
        }
        Ok(())
    })
}

/// The times at which a running region could not say: from the first such sample to the next other one.
fn spells(run: &Figures, region: NodeIndex, worst: impl Fn(&Sample) -> Option<f64>) -> Vec<(f64, f64)> {
    let mut samples: Vec<&Sample> = run.samples.iter().filter(|s| s.region == region && s.at.is_finite()).collect();
    samples.sort_by(|a, b| a.at.total_cmp(&b.at));
    let mut spells: Vec<(f64, f64)> = Vec::new();
    let mut since = None;
    for sample in &samples {
        let unsure = sample.up && worst(sample).is_none();
        match (since, unsure) {
            (None, true) => since = Some(sample.at),
            (Some(from), false) => {
                spells.push((from, sample.at));
                since = None;
            }
            _ => {}
        }
    }
    spells.extend(since.zip(samples.last().map(|s| s.at)));
    spells
}

/// Documents, tombstones, log entries and bytes that each region stores.
pub(super) fn storage(run: &Figures) -> Result<String, ReportError> {
    const PANELS: [Panel; 4] = [
        ("documents", |s| s.documents, units::short_count),
        ("tombstones", |s| s.tombstones, units::short_count),
        ("log entries", |s| s.log_entries, units::short_count),
        ("bytes stored, keys and values", |s| s.bytes, units::bytes),
    ];
    let strip = faults::strip(run) + 24;
    let height = strip + 410;
    let about = "Over the time of the run: documents, tombstones, log entries and bytes stored in each region.";
    sheet("storage", ("Stored data over time", about), height, |canvas| {
        if run.samples.is_empty() {
            return canvas.no_data(Area::of(LEFT, strip, LEGEND - 24, strip + 350), "no samples were taken");
        }
        let by_bytes = looks(&courses(run, |s| Some(s.bytes as f64)));
        for (at, (title, value, unit)) in PANELS.into_iter().enumerate() {
            let (left, top) = (if at % 2 == 0 { LEFT } else { 400 }, strip + 190 * (at as i32 / 2));
            let panel = Area::of(left, top, left + 266, top + 150);
            let courses = courses(run, |s| Some(value(s) as f64));
            let max = courses.iter().map(peak).fold(0.0, f64::max);
            let x = Axis::time(run.ended_at, 4).titled(if at == 3 { "time since the start of the run" } else { "" });
            let mut chart = Chart::new(canvas, panel, x, Axis::linear(max, 4, unit).titled(title), at >= 2)?;
            faults::bands(&chart, run, if at < 2 { Labels::Numbers } else { Labels::None })?;
            chart.axes()?;
            lines(&chart, &courses, &by_bytes)?;
        }
        let last = |region: NodeIndex| {
            let ended = run.samples.iter().rfind(|s| s.region == region);
            ended.map_or_else(String::new, |s| format!("at the end {}", units::bytes(s.bytes as f64)))
        };
        legend(canvas, px(strip), run, &by_bytes, last)?;
        Ok(())
    })
}

/// Title, value and unit.
type Panel = (&'static str, fn(&Sample) -> u64, fn(f64) -> String);
