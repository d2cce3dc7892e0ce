//! One request's life through all regions, with what went wrong around it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use replication::Dot;

use super::{Entry, MachineEvent, Record, Turn};
use crate::index::{FaultIndex, NodeIndex, OperationIndex};
use crate::reply::Reply;
use crate::scenario::Scenario;

type ExplainedLine = (Duration, String);

/// Lines that tell what happened to one operation of a plan: which regions were asked and what they answered, where it
/// was acknowledged, sent, lost, received and known; and the faults, crashes, starts and roll-backs from then on.
/// Faults that had begun before the request come first.
#[must_use]
pub fn explain(entries: &[Entry], plan: &Scenario, operation: OperationIndex) -> Vec<ExplainedLine> {
    let is_asked = |entry: &Entry| matches!(&entry.record, Record::Asked { operation: of, .. } if *of == operation);
    let Some(begin) = entries.iter().position(is_asked) else {
        let at = plan.operations.get(operation.0).map_or(Duration::ZERO, |operation| operation.at);
        return vec![(at, "not asked: the run ended before".to_owned())];
    };
    let acknowledged = |entry: &Entry| match &entry.record {
        Record::Acknowledged { operation: of, dot, .. } if *of == operation => *dot,
        _ => None,
    };
    let story = Story { regions: &plan.regions, operation, dots: entries.iter().filter_map(acknowledged).collect() };
    let mut lines = story.standing(&entries[..begin]);
    for entry in &entries[begin..] {
        let around = story.around(&entry.record).map(|(_, _, line)| line);
        lines.extend(story.own(&entry.record).or(around).map(|line| (entry.at, line)));
    }
    lines
}

/// Something that lasts until something else ends it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Fault(FaultIndex),
    Down(NodeIndex),
    RolledBack(NodeIndex),
}

struct Story<'a> {
    regions: &'a [String],
    operation: OperationIndex,
    dots: BTreeSet<Dot>,
}

impl Story<'_> {
    fn name(&self, region: NodeIndex) -> &str {
        self.regions.get(region.0).map_or("?", String::as_str)
    }

    fn carries(&self, carried: &[Dot]) -> bool {
        carried.iter().any(|dot| self.dots.contains(dot))
    }

    /// The lines of what has begun by then and is not over.
    fn standing(&self, before: &[Entry]) -> Vec<ExplainedLine> {
        let mut states: BTreeMap<State, ExplainedLine> = BTreeMap::new();
        for entry in before {
            match self.around(&entry.record) {
                Some((Some(state), true, line)) => {
                    states.insert(state, (entry.at, line));
                }
                Some((Some(state), false, _)) => {
                    states.remove(&state);
                }
                _ => {}
            }
        }
        let mut lines: Vec<ExplainedLine> = states.into_values().collect();
        lines.sort_by_key(|(at, _)| *at);
        lines
    }

    /// A line about a fault or a machine, with the state that it begins or ends.
    fn around(&self, record: &Record) -> Option<(Option<State>, bool, String)> {
        Some(match record {
            Record::Fault { fault, label, turn } => {
                let (lasts, words) = match turn {
                    Turn::Begins => (true, "begins"),
                    Turn::Opens => (true, "lets frames pass"),
                    Turn::Cuts => (true, "cuts again"),
                    Turn::Ends => (false, "ends"),
                    Turn::Happens => return Some((None, false, format!("fault: {label}"))),
                };
                (Some(State::Fault(*fault)), lasts, format!("fault {words}: {label}"))
            }
            Record::Healed => (None, false, "all that is left of the faults is healed".to_owned()),
            Record::Machine { node, what } => {
                let name = self.name(*node);
                let down = Some(State::Down(*node));
                match what {
                    MachineEvent::Starts => (down, false, format!("{name} starts")),
                    MachineEvent::Stops => (None, false, format!("{name} makes everything durable and stops")),
                    MachineEvent::Down => (down, true, format!("{name} goes down")),
                    MachineEvent::DiskFailed => (None, false, format!("{name} gives up: its disk failed")),
                    MachineEvent::RolledBack => {
                        let line = format!("the disk of {name} is back at what it was earlier");
                        (Some(State::RolledBack(*node)), true, line)
                    }
                    MachineEvent::Reincarnated => {
                        let line = format!("{name} goes on under a new id: its peers did not all confirm its log");
                        (Some(State::RolledBack(*node)), false, line)
                    }
                }
            }
            _ => return None,
        })
    }

    /// A line about the operation itself.
    fn own(&self, record: &Record) -> Option<String> {
        let name = |region: &NodeIndex| self.name(*region);
        Some(match record {
            Record::Asked { operation, asked } if *operation == self.operation => {
                let (from, what) = (&asked.from, asked.kind.name());
                format!("a client near {from} asks: {what} of visit {} at venue {}", asked.visit, asked.venue)
            }
            Record::Tried { operation, region } if *operation == self.operation => {
                format!("the client tries {}", name(region))
            }
            Record::Answered { operation, region, reply, in_time } if *operation == self.operation => {
                match (reply, in_time) {
                    (None, _) => format!("no answer from {}", name(region)),
                    (Some(reply), true) => format!("{} answers: {}", name(region), reply.words()),
                    (Some(reply), false) => format!("{} answers too late: {}", name(region), reply.words()),
                }
            }
            Record::Over { operation, reply, seen } if *operation == self.operation => match (reply, seen) {
                (Some(Reply::Shown), Some(seen)) => format!("the client is shown {} visits", seen.len()),
                (Some(reply), _) => format!("the client has its answer: {}", reply.words()),
                (None, _) => "the client gives up: no region served it".to_owned(),
            },
            Record::Acknowledged { node, operation, dot } if *operation == self.operation => match dot {
                Some(dot) => {
                    format!("{} has made it durable and acknowledges it, entry {} of its log", name(node), dot.seq)
                }
                None => format!("{} acknowledges it: it had the very same already", name(node)),
            },
            Record::Sent { from, to, dots } if self.carries(dots) => {
                format!("{} sends it to {}, in a frame of {}", name(from), name(to), count(dots.len()))
            }
            Record::Lost { from, to, dots } if self.carries(dots) => {
                format!("the frame from {} to {} with it is lost", name(from), name(to))
            }
            Record::Received { node, from, dots } if self.carries(dots) => {
                format!("{} receives it from {}", name(node), name(from))
            }
            Record::Learned { node, of } if of.iter().any(|(_, dot)| self.dots.contains(dot)) => {
                format!("{} durably knows it", name(node))
            }
            _ => return None,
        })
    }
}

fn count(entries: usize) -> String {
    if entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") }
}
