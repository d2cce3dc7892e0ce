//! Histories in the formats of other tools.
//!
//! - [`edn`]: operations as Jepsen's checkers read them (`:invoke`, then `:ok`, `:fail` or `:info`; values are
//!   `[venue value]` pairs, as `jepsen.independent` has them; check-ins are `:add`, erasures `:remove`; a process is a
//!   session: the guest of a visit, or a reader).
//! - [`json_lines`]: the same, a JSON object a line.
//! - [`shiviz`]: what the replicas did, with vector clocks; read it with the expression
//!   `(?<host>\w+) "(?<event>.*)" (?<clock>\{.*\})`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use super::{Entry, Record};
use crate::index::{NodeIndex, OperationIndex, VisitNumber};
use crate::reply::Reply;
use crate::scenario::{Operation, OperationKind};

/// One line of a history of operations.
#[derive(Serialize)]
struct ExportedLine<'a> {
    index: usize,
    time: u128,
    process: usize,
    #[serde(rename = "type")]
    kind: &'static str,
    f: &'static str,
    venue: u32,
    value: Option<ExportedValue<'a>>,
}

/// One element, or all that a reader was shown.
#[derive(Serialize)]
#[serde(untagged)]
enum ExportedValue<'a> {
    One(VisitNumber),
    All(&'a [VisitNumber]),
}

fn name(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::CheckIn => "add",
        OperationKind::Correct => "correct",
        OperationKind::Erase => "remove",
        OperationKind::Look => "look",
        OperationKind::Read => "read",
        OperationKind::Contradict => "contradict",
        OperationKind::Open => "open",
        OperationKind::Retain => "retain",
    }
}

/// The session that asks: all requests about one visit come from its guest, all reads with one number from one reader, all
/// changes of a venue from its owner.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Session {
    Guest(VisitNumber),
    Reader(VisitNumber),
    Owner(u32),
}

impl Session {
    fn of(asked: &Operation) -> Session {
        match asked.kind {
            OperationKind::Read => Session::Reader(asked.visit),
            OperationKind::Open | OperationKind::Retain => Session::Owner(asked.venue),
            _ => Session::Guest(asked.visit),
        }
    }
}

/// A request on its way.
struct OpenOperation<'a> {
    process: usize,
    asked: &'a Operation,
    /// A region may have taken the request without an answer.
    doubtful: bool,
}

/// Numbers of processes. A process is one session, so that the promises to a session can be checked. It has one request
/// on its way at a time, so a session that asks twice at once has a second process. Both share the session's token, so
/// the next request goes to the free one. A request of unknown outcome ends its process, as Jepsen demands.
#[derive(Default)]
struct Processes {
    next: usize,
    free: BTreeMap<Session, BTreeSet<usize>>,
}

impl Processes {
    fn begin(&mut self, session: Session) -> usize {
        if let Some(process) = self.free.get_mut(&session).and_then(BTreeSet::pop_first) {
            return process;
        }
        self.next += 1;
        self.next - 1
    }

    fn end(&mut self, session: Session, process: usize) {
        self.free.entry(session).or_default().insert(process);
    }
}

fn lines(entries: &[Entry]) -> Vec<ExportedLine<'_>> {
    let mut processes = Processes::default();
    let mut open: BTreeMap<OperationIndex, OpenOperation<'_>> = BTreeMap::new();
    let mut lines: Vec<ExportedLine<'_>> = Vec::new();
    for entry in entries {
        match &entry.record {
            Record::Asked { operation, asked } => {
                let process = processes.begin(Session::of(asked));
                open.insert(*operation, OpenOperation { process, asked, doubtful: false });
                lines.push(line(lines.len(), entry, process, "invoke", asked, None));
            }
            // A region that did not answer, or died of its disk, may have taken the write before that.
            Record::Answered { operation, reply: None | Some(Reply::Refused), in_time: true, .. } => {
                if let Some(open) = open.get_mut(operation) {
                    open.doubtful = true;
                }
            }
            Record::Over { operation, reply, seen } => {
                let Some(OpenOperation { process, asked, doubtful }) = open.remove(operation) else { continue };
                let kind = match reply {
                    Some(Reply::Done | Reply::Shown) => "ok",
                    Some(Reply::Gone | Reply::Unknown | Reply::Stale | Reply::Full | Reply::Conflict)
                        if !(doubtful && asked.kind.is_write()) =>
                    {
                        "fail"
                    }
                    _ => "info",
                };
                if kind != "info" {
                    processes.end(Session::of(asked), process);
                }
                lines.push(line(lines.len(), entry, process, kind, asked, seen.as_deref()));
            }
            _ => {}
        }
    }
    lines
}

fn line<'a>(
    index: usize,
    entry: &'a Entry,
    process: usize,
    kind: &'static str,
    asked: &'a Operation,
    seen: Option<&'a [VisitNumber]>,
) -> ExportedLine<'a> {
    ExportedLine {
        index,
        time: entry.at.as_nanos(),
        process,
        kind,
        f: name(asked.kind),
        venue: asked.venue,
        value: match asked.kind {
            kind if !kind.is_write() => seen.map(ExportedValue::All),
            kind => kind.is_of_a_visit().then_some(ExportedValue::One(asked.visit)),
        },
    }
}

/// As Jepsen's checkers read it.
#[must_use]
pub fn edn(entries: &[Entry]) -> String {
    let mut out = String::new();
    for line in lines(entries) {
        let value = match line.value {
            None => "nil".to_owned(),
            Some(ExportedValue::One(visit)) => format!("{visit}"),
            Some(ExportedValue::All(all)) => {
                format!("[{}]", all.iter().map(VisitNumber::to_string).collect::<Vec<_>>().join(" "))
            }
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
    let host =
        |region: NodeIndex| regions.get(region.0).map_or_else(|| "unknown".to_owned(), |name| name.replace('-', "_"));
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
        let clock: BTreeMap<String, u64> = clock
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(region, count)| (host(NodeIndex(region)), *count))
            .collect();
        let clock = serde_json::to_string(&clock).unwrap_or_default();
        let _ = writeln!(out, "{} \"{:.3}s {event}\" {clock}", host(region), at.as_secs_f64());
    }
    out
}
