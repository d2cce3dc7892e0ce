//! The figures of a run: as one JSON object, and as tables.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::measure::{Kind, RequestOutcome};
use super::run::Ran;
use super::server::Usage;
use super::shared::Shared;
use super::verify::Verification;
use super::visible::Visible;
use crate::support::table::table;

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    targets: Vec<String>,
    connections: usize,
    seed: u64,
    /// `open` (latencies from the intended moment) or `closed` (from sending).
    mode: &'static str,
    duration_s: f64,
    operations_per_s: f64,
    check_ins_per_s: f64,
    operations: Vec<Operation>,
    failures: Vec<Failure>,
    /// How long answers took that refuse an operation; absent if there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusals: Option<Refusals>,
    /// Attempts that were repeated at another target.
    retries: Vec<Failure>,
    /// Repeated check-ins that a server already had.
    repeats: u64,
    /// Check-ins without an answer.
    unknown: u64,
    /// Operations that were due and never sent, because every connection was busy.
    never_sent: u64,
    /// From the acknowledgement of a check-in until the guest can read it elsewhere (`--visibility`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    visibility: Vec<Visible>,
    servers: Vec<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<Verification>,
}

/// One kind of operation: latencies in milliseconds.
#[derive(Debug, Serialize)]
struct Operation {
    operation: String,
    acknowledged: u64,
    failed: u64,
    per_s: f64,
    mean_ms: f64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
}

/// Latencies in milliseconds.
#[derive(Debug, Serialize)]
struct Refusals {
    p50_ms: f64,
    p99_ms: f64,
}

/// The number of failures of one kind.
#[derive(Debug, Serialize)]
struct Failure {
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    outcome: String,
    count: u64,
}

impl Report {
    /// The figures of a run.
    pub(crate) fn new(shared: &Shared, ran: &Ran, servers: Vec<Usage>, verification: Option<Verification>) -> Self {
        let took = ran.took.as_secs_f64();
        let operations: Vec<Operation> = Kind::ALL
            .into_iter()
            .zip(&ran.measured.latencies)
            .map(|(kind, latencies)| operation(kind, latencies, ran))
            .collect();
        let failure = |operation: Option<Kind>, outcome: RequestOutcome, count: u64| Failure {
            operation: operation.map(|kind| kind.to_string()),
            outcome: outcome.to_string(),
            count,
        };
        Self {
            targets: shared.targets.iter().map(ToString::to_string).collect(),
            connections: shared.connections,
            seed: shared.seed,
            mode: if shared.closed { "closed" } else { "open" },
            duration_s: took,
            operations_per_s: operations.iter().map(|one| one.acknowledged).sum::<u64>() as f64 / took,
            check_ins_per_s: operations.first().map_or(0.0, |one| one.per_s),
            failures: ran.measured.failures.iter().map(|((kind, why), n)| failure(Some(*kind), *why, *n)).collect(),
            refusals: (!ran.measured.refusals.is_empty()).then(|| refusals(&ran.measured.refusals)),
            retries: ran.measured.retries.iter().map(|(why, n)| failure(None, *why, *n)).collect(),
            operations,
            repeats: ran.measured.repeats,
            unknown: ran.visits.iter().filter(|visit| !visit.acknowledged).count() as u64,
            never_sent: shared.plan.never_sent(),
            visibility: visibility(shared, ran),
            servers,
            verification,
        }
    }

    /// Whether some operation was acknowledged and the verification, if any, passed.
    pub(crate) fn succeeded(&self) -> bool {
        let acknowledged = self.operations.iter().any(|one| one.acknowledged > 0);
        acknowledged && self.verification.as_ref().is_none_or(|verification| verification.passed)
    }
}

fn visibility(shared: &Shared, ran: &Ran) -> Vec<Visible> {
    if shared.watch_limit.is_none() {
        return Vec::new();
    }
    shared.read_at.iter().zip(&ran.visible).map(|(target, seen)| Visible::new(target.to_string(), seen)).collect()
}

fn operation(kind: Kind, latencies: &Histogram<u64>, ran: &Ran) -> Operation {
    let ms = |us: u64| us as f64 / 1_000.0;
    let quantile = |q: f64| ms(latencies.value_at_quantile(q));
    Operation {
        operation: kind.to_string(),
        acknowledged: latencies.len(),
        failed: ran.measured.failures.iter().filter(|((of, _), _)| *of == kind).map(|(_, n)| n).sum(),
        per_s: latencies.len() as f64 / ran.took.as_secs_f64(),
        mean_ms: latencies.mean() / 1_000.0,
        p50_ms: quantile(0.5),
        p90_ms: quantile(0.9),
        p99_ms: quantile(0.99),
        p999_ms: quantile(0.999),
        max_ms: ms(latencies.max()),
    }
}

fn refusals(latencies: &Histogram<u64>) -> Refusals {
    let quantile = |q: f64| latencies.value_at_quantile(q) as f64 / 1_000.0;
    Refusals { p50_ms: quantile(0.5), p99_ms: quantile(0.99) }
}

/// Prints the figures as tables.
pub(crate) fn print(report: &Report) {
    say!(
        "{:.1} s, {} connections, {} loop, seed {}: {:.0} operations/s, {:.0} check-ins/s",
        report.duration_s,
        report.connections,
        report.mode,
        report.seed,
        report.operations_per_s,
        report.check_ins_per_s
    );
    let mut operations =
        table(&["operation", "acknowledged", "failed", "per s", "p50 ms", "p90", "p99", "p99.9", "max"]);
    for one in &report.operations {
        let mut row = vec![one.operation.clone(), one.acknowledged.to_string(), one.failed.to_string()];
        row.push(format!("{:.0}", one.per_s));
        row.extend([one.p50_ms, one.p90_ms, one.p99_ms, one.p999_ms, one.max_ms].map(|ms| format!("{ms:.2}")));
        operations.add_row(row);
    }
    say!("{operations}");
    for failure in &report.failures {
        say!("failed: {} {} times: {}", failure.operation.as_deref().unwrap_or(""), failure.count, failure.outcome);
    }
    if let Some(Refusals { p50_ms, p99_ms }) = &report.refusals {
        say!("refusals: p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms");
    }
    for retry in &report.retries {
        say!("repeated elsewhere: {} times: {}", retry.count, retry.outcome);
    }
    if report.repeats + report.unknown > 0 {
        say!("check-ins: {} repeats that the server already had, {} without an answer", report.repeats, report.unknown);
    }
    if report.never_sent > 0 {
        say!(
            "never sent: {} operations, because no connection was free; use more --connections or a lower --rate",
            report.never_sent
        );
    }
    print_visibility(report);
    print_servers(report);
    match &report.verification {
        Some(verification) => print_verification(verification),
        None => say!("not verified (--no-verify)"),
    }
}

fn print_visibility(report: &Report) {
    if report.visibility.is_empty() {
        return;
    }
    let mut regions = table(&["visible at", "followed", "never seen", "p50 ms", "p99", "max"]);
    for one in &report.visibility {
        let mut row = vec![one.target.clone(), one.seen.to_string(), one.never.to_string()];
        row.extend([one.p50_ms, one.p99_ms, one.max_ms].map(|ms| format!("{ms:.1}")));
        regions.add_row(row);
    }
    say!("{regions}");
}

fn print_servers(report: &Report) {
    if report.servers.is_empty() {
        return;
    }
    let check_ins = report.operations.first().map_or(1, |one| one.acknowledged.max(1)) as f64;
    let mut servers = table(&[
        "server",
        "CPU s",
        "CPU µs per check-in",
        "RSS MiB",
        "peak MiB",
        "disk B written per check-in",
        "stored",
    ]);
    for one in &report.servers {
        servers.add_row([
            one.name.clone(),
            format!("{:.2}", one.cpu_s),
            format!("{:.1}", one.cpu_s * 1e6 / check_ins),
            format!("{:.0}", one.rss_bytes as f64 / 1_048_576.0),
            format!("{:.0}", one.peak_rss_bytes as f64 / 1_048_576.0),
            format!("{:.0}", one.written_bytes as f64 / check_ins),
            one.stored_bytes.map_or_else(|| "?".to_owned(), |bytes| format!("{:.0}", bytes as f64 / check_ins)),
        ]);
    }
    say!("{servers}");
}

fn print_verification(verification: &Verification) {
    let header =
        ["target", "complete", "rows", "missing", "twice", "erased, still there", "wrong content", "never sent"];
    let mut targets = table(&header);
    for one in &verification.targets {
        let mut row = vec![one.target.clone(), if one.complete { "yes" } else { "no" }.to_owned()];
        row.extend(
            [one.rows, one.missing, one.twice, one.resurrected, one.wrong, one.strangers]
                .map(|count| count.to_string()),
        );
        targets.add_row(row);
    }
    say!("{targets}");
    for error in verification.targets.iter().filter_map(|one| Some((&one.target, one.error.as_ref()?))) {
        say!("{}: {}", error.0, error.1);
    }
    verification.examples.iter().for_each(|example| say!("{example}"));
    say!(
        "verification {}: {} visits in {} targets, {} differ between them; complete after {:.1} s, read in {:.1} s",
        if verification.passed { "passed" } else { "FAILED" },
        verification.visits,
        verification.targets.len(),
        verification.differing,
        verification.waited_s,
        verification.read_s,
    );
}
