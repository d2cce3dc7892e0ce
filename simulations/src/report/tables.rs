//! The data files: one tidy table for each kind of measurement, with units in the names of its columns. Every row
//! names its run, so that the tables of several reports can be put one below the other. A value that is unknown is an
//! empty cell.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::ReportError;
use super::stats::Cdf;
use super::summary::name;
use crate::figures::{Figures, Sample};
use crate::index::NodeIndex;

/// How many rows of a table the page shows.
const SHOWN: usize = 60;

/// The times for which tables say how likely a write is seen by then, in milliseconds.
const WITHIN: [f64; 6] = [10.0, 50.0, 100.0, 500.0, 1000.0, 5000.0];

/// The columns of a row of samples.
const SAMPLE: [&str; 8] = ["at_s", "region", "up", "ready", "documents", "tombstones", "log_entries", "stored_bytes"];

const QUANTILES: [f64; 5] = [0.5, 0.9, 0.95, 0.99, 0.999];

/// A table as the page shows it: its first rows.
#[derive(Debug, Serialize)]
pub(super) struct ShownTable {
    pub(super) title: &'static str,
    pub(super) file: &'static str,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
    pub(super) total: usize,
}

/// A label and the runs that it stands for.
pub(super) type Side<'a> = (Option<&'a str>, &'a [Figures]);

struct Table<'s> {
    path: PathBuf,
    writer: csv::Writer<File>,
    shown: ShownTable,
    lead: Vec<String>,
    sides: &'s [Side<'s>],
}

impl<'s> Table<'s> {
    fn create(
        dir: &Path,
        file: &'static str,
        title: &'static str,
        sides: &'s [Side<'s>],
        columns: &[&str],
    ) -> Result<Self, ReportError> {
        let path = dir.join(file);
        let mut writer =
            csv::Writer::from_path(&path).map_err(|source| ReportError::Table { path: path.clone(), source })?;
        let labelled = sides.iter().any(|(label, _)| label.is_some());
        let side = labelled.then_some("side");
        let columns: Vec<String> =
            side.into_iter().chain(["run", "seed"]).chain(columns.iter().copied()).map(String::from).collect();
        writer.write_record(&columns).map_err(|source| ReportError::Table { path: path.clone(), source })?;
        let shown = ShownTable { title, file, columns, rows: Vec::new(), total: 0 };
        Ok(Self { path, writer, shown, lead: Vec::new(), sides })
    }

    /// Goes through all runs; `each` writes the rows of one.
    fn fill(
        mut self,
        each: impl Fn(&mut Self, &Figures) -> Result<(), ReportError>,
    ) -> Result<ShownTable, ReportError> {
        for (side, runs) in self.sides {
            for run in *runs {
                self.lead =
                    side.map(String::from).into_iter().chain([run.name.clone(), run.seed.to_string()]).collect();
                each(&mut self, run)?;
            }
        }
        self.writer.flush().map_err(|source| ReportError::File { path: self.path, source })?;
        Ok(self.shown)
    }

    fn row(&mut self, cells: impl IntoIterator<Item = String>) -> Result<(), ReportError> {
        let row: Vec<String> = self.lead.iter().cloned().chain(cells).collect();
        self.writer.write_record(&row).map_err(|source| ReportError::Table { path: self.path.clone(), source })?;
        self.shown.total += 1;
        if self.shown.rows.len() < SHOWN {
            self.shown.rows.push(row);
        }
        Ok(())
    }
}

fn number(value: f64) -> String {
    if value.is_finite() { value.to_string() } else { String::new() }
}

fn maybe(value: Option<f64>) -> String {
    value.map_or_else(String::new, number)
}

/// To the microsecond: delays are kept in single precision, and more digits would be noise.
fn millis(value: Option<f64>) -> String {
    value.map_or_else(String::new, |ms| number((ms * 1000.0).round() / 1000.0))
}

pub(super) fn write(dir: &Path, sides: &[Side]) -> Result<Vec<ShownTable>, ReportError> {
    Ok(vec![
        convergence(dir, sides)?,
        fault_ends(dir, sides)?,
        recoveries(dir, sides)?,
        staleness(dir, sides)?,
        availability(dir, sides)?,
        traffic(dir, sides)?,
        requests(dir, sides)?,
        losses(dir, sides)?,
        faults(dir, sides)?,
        samples(dir, sides)?,
        forgotten(dir, sides)?,
        lags(dir, sides)?,
    ])
}

fn convergence(dir: &Path, sides: &[Side]) -> Result<ShownTable, ReportError> {
    let columns = ["trace", "healed_at_s", "ended_at_s", "bound_s", "took_s", "unmet", "broken_invariants"];
    Table::create(dir, "convergence.csv", "Convergence after the final healing", sides, &columns)?.fill(|table, run| {
        let c = &run.convergence;
        table.row([
            run.trace.to_string(),
            number(run.healed_at),
            number(run.ended_at),
            number(c.bound),
            maybe(c.took),
            c.unmet.clone().unwrap_or_default(),
            run.broken.join("; "),
        ])
    })
}

fn fault_ends(dir: &Path, sides: &[Side]) -> Result<ShownTable, ReportError> {
    let columns = ["fault_ended_at_s", "pairs", "behind"];
    Table::create(dir, "fault-ends.csv", "Pairs of regions when a fault ended", sides, &columns)?.fill(|table, run| {
        for ended in &run.fault_ends {
            table.row([number(ended.at), ended.pairs.to_string(), ended.behind.to_string()])?;
        }
        Ok(())
    })
}

fn recoveries(dir: &Path, sides: &[Side]) -> Result<ShownTable, ReportError> {
    let columns = ["from", "to", "fault_ended_at_s", "took_s"];
    Table::create(
        dir,
        "recoveries.csv",
        "Recoveries of the pairs that were behind when a fault ended",
        sides,
        &columns,
    )?
    .fill(|table, run| {
        for r in &run.recoveries {
            table.row([name(run, r.from), name(run, r.to), number(r.at), maybe(r.took)])?;
        }
        Ok(())
    })
}

fn staleness(dir: &Path, sides: &[Side]) -> Result<ShownTable, ReportError> {
    let columns = [
        "from",
        "to",
        "writes",
        "never_seen",
        "p50_ms",
        "p90_ms",
        "p95_ms",
        "p99_ms",
        "p99_9_ms",
        "max_seen_ms",
        "p_seen_within_10_ms",
        "p_seen_within_50_ms",
        "p_seen_within_100_ms",
        "p_seen_within_500_ms",
        "p_seen_within_1000_ms",
        "p_seen_within_5000_ms",
    ];
    Table::create(dir, "staleness.csv", "Staleness by pair of regions", sides, &columns)?.fill(|table, run| {
        for pair in &run.staleness {
            let cdf = Cdf::new(pair.delays_ms.iter().map(|ms| f64::from(*ms)), pair.never);
            let head = [name(run, pair.from), name(run, pair.to), cdf.total().to_string(), cdf.never().to_string()];
            let quantiles = QUANTILES.map(|q| millis(cdf.quantile(q)));
            let within = WITHIN.map(|ms| maybe(cdf.within(ms)));
            table.row(head.into_iter().chain(quantiles).chain([millis(cdf.max())]).chain(within))?;
        }
        Ok(())
    })
}

fn samples(dir: &Path, sides: &[Side]) -> Result<ShownTable, ReportError> {
    Table::create(dir, "samples.csv", "Samples of each region", sides, &SAMPLE)?
        .fill(|table, run| each_sample(table, run, &run.samples))
}

fn forgotten(dir: &Path, sides: &[Side]) -> Result<ShownTable, ReportError> {
    Table::create(dir, "forgotten.csv", "Each region after all retentions were over", sides, &SAMPLE)?
        .fill(|table, run| each_sample(table, run, &run.forgotten))
}

fn each_sample(table: &mut Table, run: &Figures, samples: &[Sample]) -> Result<(), ReportError> {
    for s in samples {
        let stored = [s.documents, s.tombstones, s.log_entries, s.bytes].map(|n| n.to_string());
        let head = [number(s.at), name(run, s.region), s.up.to_string(), s.ready.to_string()];
        table.row(head.into_iter().chain(stored))?;
    }
    Ok(())
}

fn lags(dir: &Path, sides: &[Side]) -> Result<ShownTable, ReportError> {
    let columns = ["at_s", "region", "of_region", "lag_entries", "lag_s", "completeness_s"];
    Table::create(dir, "lags.csv", "Samples of each pair of regions", sides, &columns)?.fill(|table, run| {
        for s in &run.samples {
            for other in (0..parts(s)).map(NodeIndex).filter(|other| *other != s.region) {
                let entries = s.lag_entries.get(other.0).map_or_else(String::new, u64::to_string);
                let complete = s.completeness_s.get(other.0).copied().flatten();
                let lag = maybe(s.lag_s.get(other.0).copied());
                table.row([number(s.at), name(run, s.region), name(run, other), entries, lag, maybe(complete)])?;
            }
        }
        Ok(())
    })
}

/// Of how many regions a sample tells.
fn parts(sample: &Sample) -> usize {
    sample.lag_entries.len().max(sample.lag_s.len()).max(sample.completeness_s.len())
}

fn availability(dir: &Path, sides: &[Side]) -> Result<ShownTable, ReportError> {
    let columns = ["at_s", "slice_s", "nearest_region", "at_home", "elsewhere", "of_these_otherwise", "failed"];
    Table::create(dir, "availability.csv", "Availability by slice of time", sides, &columns)?.fill(|table, run| {
        for a in &run.availability {
            let counts = [a.at_home, a.elsewhere, a.otherwise, a.failed].map(|n| n.to_string());
            table.row([number(a.at), number(a.seconds), name(run, a.region)].into_iter().chain(counts))?;
        }
        Ok(())
    })
}

fn traffic(dir: &Path, sides: &[Side]) -> Result<ShownTable, ReportError> {
    let columns = ["from", "to", "frames", "payload_bytes", "metadata_bytes", "control_bytes", "lost_bytes"];
    Table::create(dir, "traffic.csv", "Traffic by pair of regions", sides, &columns)?.fill(|table, run| {
        for t in &run.traffic {
            let counts = [t.frames, t.payload, t.metadata, t.control, t.lost].map(|n| n.to_string());
            table.row([name(run, t.from), name(run, t.to)].into_iter().chain(counts))?;
        }
        Ok(())
    })
}

fn requests(dir: &Path, sides: &[Side]) -> Result<ShownTable, ReportError> {
    let columns = [
        "kind",
        "done",
        "gone",
        "unknown_there",
        "stale",
        "full",
        "conflict",
        "failed",
        "answered_elsewhere",
        "latency_p50_ms",
        "latency_p99_ms",
        "latency_max_ms",
    ];
    Table::create(dir, "requests.csv", "Requests by kind", sides, &columns)?.fill(|table, run| {
        for r in &run.requests {
            let counts =
                [r.done, r.gone, r.unknown, r.stale, r.full, r.conflict, r.failed, r.elsewhere].map(|n| n.to_string());
            let latency = r.latency_ms.map(|ms| millis(Some(ms)));
            table.row([r.kind.clone()].into_iter().chain(counts).chain(latency))?;
        }
        Ok(())
    })
}

fn losses(dir: &Path, sides: &[Side]) -> Result<ShownTable, ReportError> {
    let columns = ["region", "changes", "erasures", "erasures_undone"];
    Table::create(dir, "losses.csv", "Acknowledged writes lost by contract", sides, &columns)?.fill(|table, run| {
        for lost in &run.losses {
            let counts = [lost.changes, lost.erasures, lost.undone].map(|n| n.to_string());
            table.row([name(run, lost.region)].into_iter().chain(counts))?;
        }
        Ok(())
    })
}

fn faults(dir: &Path, sides: &[Side]) -> Result<ShownTable, ReportError> {
    let columns = ["kind", "label", "from_s", "until_s"];
    Table::create(dir, "faults.csv", "Faults", sides, &columns)?.fill(|table, run| {
        for f in &run.faults {
            table.row([f.kind.clone(), f.label.clone(), number(f.from), number(f.until)])?;
        }
        Ok(())
    })
}
