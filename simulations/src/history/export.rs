//! Histories for other people's tools.
//!
//! - [`edn`]: operations as Jepsen's checkers read them (`:invoke`, then `:ok`, `:fail` or `:info`; values are
//!   `[venue value]` pairs, as `jepsen.independent` has them; check-ins are `:add`, erasures `:remove`).
//! - [`json_lines`]: the same, a JSON object a line.
//! - [`shiviz`]: what the replicas did, with vector clocks; read it with the expression
//!   `(?<host>\w+) "(?<event>.*)" (?<clock>\{.*\})`.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Entry, Record, is_write};
use crate::reply::Reply;
use crate::scenario::{Operation, OperationKind};

/// One line of a history of operations.
#[derive(Serialize)]
struct Line<'a> {
    index: usize,
    time: u128,
    process: usize,
    #[serde(rename = "type")]
    kind: &'static str,
    f: &'static str,
    venue: u32,
    value: Option<Shown<'a>>,
}

/// One element, or all that a reader was shown.
#[derive(Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    One(u32),
    All(&'a [u32]),
}

fn name(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::CheckIn => "add",
        OperationKind::Correct => "correct",
        OperationKind::Erase => "remove",
        OperationKind::Look => "look",
        OperationKind::Read => "read",
    }
}

/// Each request is a process of its own: citizens do not wait for each other.
fn lines(entries: &[Entry]) -> Vec<Line<'_>> {
    let mut asked: std::collections::BTreeMap<usize, &Operation> = std::collections::BTreeMap::new();
    let mut lines: Vec<Line<'_>> = Vec::new();
    for entry in entries {
        let (operation, kind, seen) = match &entry.record {
            Record::Asked { operation, asked: what } => {
                asked.insert(*operation, what);
                (*operation, "invoke", None)
            }
            Record::Over { operation, reply, seen } => {
                let kind = match reply {
                    Some(Reply::Done | Reply::Shown) => "ok",
                    Some(Reply::Gone | Reply::Unknown | Reply::Stale) => "fail",
                    // It may have had its effect all the same.
                    Some(Reply::Unfit | Reply::Refused) | None => "info",
                };
                (*operation, kind, seen.as_deref())
            }
            _ => continue,
        };
        let Some(what) = asked.get(&operation) else { continue };
        let value = if is_write(what.kind) { Some(Shown::One(what.visit)) } else { seen.map(Shown::All) };
        lines.push(Line {
            index: lines.len(),
            time: entry.at.as_nanos(),
            process: operation,
            kind,
            f: name(what.kind),
            venue: what.venue,
            value,
        });
    }
    lines
}

/// As Jepsen's checkers read it.
#[must_use]
pub fn edn(entries: &[Entry]) -> String {
    let mut out = String::new();
    for line in lines(entries) {
        let value = match line.value {
            None => "nil".to_owned(),
            Some(Shown::One(visit)) => format!("{visit}"),
            Some(Shown::All(all)) => format!("[{}]", all.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{{:index {}, :time {}, :process {}, :type :{}, :f :{}, :value [{} {value}]}}",
            line.index, line.time, line.process, line.kind, line.f, line.venue
        );
    }
    out
}

/// The same as JSON.
#[must_use]
pub fn json_lines(entries: &[Entry]) -> String {
    let lines = lines(entries);
    let lines = lines.iter().filter_map(|line| serde_json::to_string(line).ok());
    lines.map(|line| line + "\n").collect()
}

/// What the replicas did, as ShiViz reads it.
#[must_use]
pub fn shiviz(entries: &[Entry], regions: &[String]) -> String {
    let host = |region: usize| regions.get(region).map_or_else(|| "unknown".to_owned(), |name| name.replace('-', "_"));
    let mut out = String::new();
    for Entry { at, record, clock } in entries {
        let (Some(region), Some(clock)) = (record.region(), clock) else { continue };
        let event = match record {
            Record::Acknowledged { operation, .. } => format!("acknowledges operation {operation}"),
            Record::Sent { to, dots, .. } => format!("sends {} entries to {}", dots.len(), host(*to)),
            Record::Received { from, dots, .. } => format!("receives {} entries from {}", dots.len(), host(*from)),
            Record::Learned { of, .. } => format!("durably knows {} more writes", of.len()),
            _ => continue,
        };
        let clock: std::collections::BTreeMap<String, u64> = clock
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(region, count)| (host(region), *count))
            .collect();
        let clock = serde_json::to_string(&clock).unwrap_or_default();
        let _ = writeln!(out, "{} \"{:.3}s {event}\" {clock}", host(region), at.as_secs_f64());
    }
    out
}
