//! Settings side by side: one column of figures for each, and how many times the first setting's figure it is.

use serde::Serialize;

use super::cdf::{Curve, Since};
use super::style::look;
use super::summary::Summary;
use super::units;

/// A figure of every side.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) figure: &'static str,
    pub(super) cells: Vec<Cell>,
}

/// A side's figure.
#[derive(Debug, Serialize)]
pub(super) struct Cell {
    pub(super) value: String,
    /// The ratio to the first side; empty for the first side and if there is nothing to divide.
    pub(super) ratio: String,
}

type Figure = (&'static str, fn(&Summary) -> Option<f64>, fn(f64) -> String);

const FIGURES: [Figure; 25] = [
    ("runs", |s| Some(s.runs as f64), units::digits),
    ("broken invariants", |s| Some(s.broken.len() as f64), units::digits),
    ("runs that did not converge within the bound", |s| Some(s.unmet.len() as f64), units::digits),
    ("recovery of the slowest pair after a fault", Summary::slowest_recovery, units::seconds),
    ("recovery of a pair after a fault, median", |s| s.recovered.quantile(0.5), units::seconds),
    ("recovery of a pair after a fault, p99", |s| s.recovered.quantile(0.99), units::seconds),
    ("pairs when a fault ended", |s| Some(s.pairs as f64), units::digits),
    ("of them behind", |s| Some(s.behind as f64), units::digits),
    ("convergence after the final healing, slowest run", |s| s.converged.max(), units::seconds),
    ("bound of that convergence", |s| Some(s.bound), units::seconds),
    ("staleness, median", |s| s.staleness.quantile(0.5), units::millis),
    ("staleness, p99", |s| s.staleness.quantile(0.99), units::millis),
    ("seen within 100 ms", |s| s.staleness.within(100.0), units::percent),
    ("seen within 1 s", |s| s.staleness.within(1000.0), units::percent),
    ("requests done or shown", |s| s.done(), units::percent),
    ("requests answered otherwise: gone, unknown there, stale, full", |s| s.otherwise(), units::percent),
    ("requests failed", |s| s.unanswered(), units::percent),
    ("requests answered by the nearest region", |s| s.answered_at_home(), units::percent),
    ("acknowledged writes", |s| Some(s.writes as f64), units::digits),
    ("of them lost by contract", |s| Some(s.lost as f64), units::digits),
    ("erasures that came undone", |s| Some(s.undone as f64), units::digits),
    ("bytes per acknowledged write", |s| s.per_write(s.bytes.all()), units::bytes),
    ("of them payload", |s| s.per_write(s.bytes.payload), units::bytes),
    ("of them metadata", |s| s.per_write(s.bytes.metadata), units::bytes),
    ("of them control", |s| s.per_write(s.bytes.control), units::bytes),
];

/// The table of figures.
pub(super) fn rows(sides: &[(String, Summary)]) -> Vec<Row> {
    let row = |(figure, value, unit): Figure| {
        let first = sides.first().and_then(|(_, side)| value(side));
        let cells = sides.iter().enumerate().map(|(at, (_, side))| {
            let own = value(side);
            let ratio = match (own, first) {
                (Some(own), Some(first)) if at > 0 && first > 0.0 && figure != "runs" => {
                    format!("×{}", units::digits(own / first))
                }
                _ => String::new(),
            };
            Cell { value: own.map_or_else(|| missing(figure, side), unit), ratio }
        });
        Row { figure, cells: cells.collect() }
    };
    FIGURES.into_iter().map(row).collect()
}

/// The text for an unknown quantile: too many events never happened, or there were none.
fn missing(figure: &str, side: &Summary) -> String {
    let seen = match figure {
        f if f.starts_with("recovery") => side.recovered.total(),
        f if f.starts_with("staleness") => side.staleness.total(),
        f if f.starts_with("convergence") => side.converged.total(),
        _ => 0,
    };
    if seen > 0 { "never".into() } else { units::NONE.into() }
}

/// Convergence of every side: pairs after any fault, or all after the final healing if no pair had to recover.
pub(super) fn convergence(sides: &[(String, Summary)]) -> (Vec<Curve>, Since) {
    if sides.iter().all(|(_, side)| side.recovered.total() == 0) {
        return (lines(sides, |side| side.converged.clone()), Since::Healing);
    }
    let mut lines = lines(sides, |side| side.recovered.clone());
    for (line, (_, side)) in lines.iter_mut().zip(sides) {
        line.note = Some(side.behind_in_short());
    }
    (lines, Since::Fault)
}

/// Staleness of every side, all pairs pooled.
pub(super) fn staleness(sides: &[(String, Summary)]) -> Vec<Curve> {
    lines(sides, |side| side.staleness.clone())
}

fn lines(sides: &[(String, Summary)], cdf: impl Fn(&Summary) -> super::stats::Cdf) -> Vec<Curve> {
    let line = |(at, (label, side)): (usize, &(String, Summary))| Curve {
        label: label.clone(),
        cdf: cdf(side),
        look: Some(look(at)),
        note: None,
    };
    sides.iter().enumerate().map(line).collect()
}
