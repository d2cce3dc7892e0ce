//! One request's life through all regions.

use std::collections::BTreeSet;
use std::time::Duration;

use replication::Dot;

use super::{Entry, Record};

/// Lines that tell what became of one operation: when it was asked for, acknowledged, sent, received and known where.
#[must_use]
pub fn explain(entries: &[Entry], operation: usize, regions: &[String]) -> Vec<(Duration, String)> {
    let mut dots: BTreeSet<Dot> = BTreeSet::new();
    for entry in entries {
        if let Record::Acknowledged { operation: of, dot: Some(dot), .. } = &entry.record
            && *of == operation
        {
            dots.insert(*dot);
        }
    }
    let name = |region: usize| regions.get(region).map_or("?", String::as_str);
    let carries = |carried: &[Dot]| carried.iter().any(|dot| dots.contains(dot));
    let mut lines = Vec::new();
    for Entry { at, record, .. } in entries {
        let line = match record {
            Record::Asked { operation: of, asked } if *of == operation => {
                format!(
                    "a client near {} asks: {} of visit {} at venue {}",
                    asked.from,
                    asked.kind.name(),
                    asked.visit,
                    asked.venue
                )
            }
            Record::Over { operation: of, done, answered, seen } if *of == operation => match (done, answered, seen) {
                (true, _, Some(seen)) => format!("the client is shown {} visits", seen.len()),
                (true, ..) => "the client has its answer: done".to_owned(),
                (false, true, _) => "the client has its answer: gone, unknown there, or stale".to_owned(),
                (false, false, _) => "the client gives up: nobody answered".to_owned(),
            },
            Record::Acknowledged { node, operation: of, dot } if *of == operation => match dot {
                Some(dot) => {
                    format!("{} has made it durable and acknowledges it, entry {} of its log", name(*node), dot.seq)
                }
                None => format!("{} acknowledges it: it had the very same already", name(*node)),
            },
            Record::Sent { from, to, dots } if carries(dots) => {
                format!("{} sends it to {}, in a frame of {}", name(*from), name(*to), count(dots.len()))
            }
            Record::Received { at, from, dots } if carries(dots) => {
                format!("{} receives it from {}", name(*at), name(*from))
            }
            Record::Learned { node, of } if of.iter().any(|(_, dot)| dots.contains(dot)) => {
                format!("{} durably knows it", name(*node))
            }
            _ => continue,
        };
        lines.push((*at, line));
    }
    lines
}

fn count(entries: usize) -> String {
    if entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") }
}
