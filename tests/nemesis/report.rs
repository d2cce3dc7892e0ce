//! What a run prints: operations by outcome, faults by kind, and what is wrong.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::checker::{Breach, Rule};
use crate::history::{Names, Op, Outcome, line};
use crate::settings::Chosen;
use crate::supervisor::Supervisor;

/// Most breaches that are printed of one rule.
const EXAMPLES: usize = 5;
/// A run with fewer acknowledged requests of a kind would prove little.
const LEAST: u32 = 20;

/// Counts by kind of request: acknowledged, refused, not sent, unknown.
fn counts(ops: &[Op]) -> BTreeMap<&'static str, [u32; 4]> {
    let mut counts: BTreeMap<&'static str, [u32; 4]> = BTreeMap::new();
    for op in ops {
        let column = match op.outcome {
            Outcome::Answered(200..=299) => 0,
            Outcome::Answered(_) => 1,
            Outcome::NotSent => 2,
            Outcome::Unknown => 3,
        };
        counts.entry(op.act.kind()).or_default()[column] += 1;
    }
    counts
}

/// The figures of a run.
pub(crate) fn summary(
    chosen: &Chosen,
    ops: &[Op],
    supervisor: &Supervisor,
    breaches: &[Breach],
    healed: Duration,
) -> String {
    let mut text = format!("nemesis: seed {}, {}, {} s\n", chosen.seed, chosen.engine, chosen.lasts.as_secs());
    text.push_str(&format!("  operations: {}\n", ops.len()));
    for (kind, [acknowledged, refused, not_sent, unknown]) in counts(ops) {
        text.push_str(&format!(
            "    {kind}: {acknowledged} acknowledged, {refused} refused, {not_sent} not sent, {unknown} without an answer\n"
        ));
    }
    let made: Vec<String> = supervisor.made.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    let total: u32 = supervisor.made.values().sum();
    text.push_str(&format!(
        "  faults: {total} ({}); nodes that stopped themselves: {}\n",
        made.join(", "),
        supervisor.ended
    ));
    let count = |rule| breaches.iter().filter(|breach| breach.rule == rule).count();
    text.push_str(&format!(
        "  judged: {} lost, {} resurrected, {} duplicated, {} session breaches, {} invented, {} different, {} unexpected\n",
        count(Rule::Lost),
        count(Rule::Resurrected),
        count(Rule::Duplicated),
        count(Rule::Session),
        count(Rule::Invented),
        count(Rule::Different),
        count(Rule::Unexpected)
    ));
    text.push_str(&format!(
        "  all regions equal {:.1} s after the last fault\n  again: {}",
        healed.as_secs_f64(),
        chosen.again()
    ));
    text
}

/// The first breaches of each rule, in words.
pub(crate) fn breaches(breaches: &[Breach], names: &Names, regions: &[&str]) -> Vec<String> {
    let mut shown: BTreeMap<Rule, usize> = BTreeMap::new();
    let mut texts = Vec::new();
    for breach in breaches {
        let count = shown.entry(breach.rule).or_default();
        *count += 1;
        if *count <= EXAMPLES {
            let (name, region) = (names.text(breach.name), regions[usize::from(breach.region)]);
            let at = Duration::from_micros(breach.at).as_secs_f64();
            texts.push(format!("{:?}: {}: {name} in {region}, request at {at:.3} s", breach.rule, breach.what));
        }
    }
    for (rule, count) in shown.into_iter().filter(|(_, count)| *count > EXAMPLES) {
        texts.push(format!("{rule:?}: {} more", count - EXAMPLES));
    }
    texts
}

/// Kinds of requests of which too few were acknowledged.
pub(crate) fn idle(ops: &[Op]) -> Vec<String> {
    let counts = counts(ops);
    let kinds = ["check-in", "correction", "erasure", "read", "list"];
    let few = kinds.into_iter().filter(|kind| counts.get(kind).is_none_or(|count| count[0] < LEAST));
    few.map(|kind| format!("fewer than {LEAST} requests were acknowledged of kind {kind}: the run proves little"))
        .collect()
}

/// Writes the history as JSON lines.
pub(crate) fn write(file: &Path, ops: &[Op], names: &Names, regions: &[&str]) -> io::Result<()> {
    let mut out = BufWriter::new(std::fs::File::create(file)?);
    for op in ops {
        writeln!(out, "{}", line(op, names, regions))?;
    }
    out.flush()
}
