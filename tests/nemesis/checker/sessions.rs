//! Rule 4: what a session wrote and saw, it sees again.

use std::collections::BTreeMap;

use super::known::Known;
use super::{Breach, Rule};
use crate::history::{Act, Name, Op};

/// What one session must see of one visit from now on.
#[derive(Clone, Debug, Default)]
struct Wanted {
    /// It is there, or erased by another client.
    exists: bool,
    /// Values, each with the begin of the request that wrote it.
    values: BTreeMap<Name, u64>,
    is_erased: bool,
}

/// Follows each session through its requests, which are in order.
pub(super) fn check(ops: &[Op], known: &Known, venues: &BTreeMap<Name, Name>, breaches: &mut Vec<Breach>) {
    let mut sessions: BTreeMap<u32, BTreeMap<Name, Wanted>> = BTreeMap::new();
    for op in ops {
        let Some(session) = op.session else { continue };
        let seen = sessions.entry(session).or_default();
        if !op.is_stale {
            let mut breach =
                |name, what| breaches.push(Breach { rule: Rule::Session, name, region: op.region, at: op.begin, what });
            read(op, seen, known, venues, &mut breach);
        }
        learn(op, seen, known);
    }
}

/// Compares one answer with what the session must see.
fn read(
    op: &Op,
    seen: &BTreeMap<Name, Wanted>,
    known: &Known,
    venues: &BTreeMap<Name, Name>,
    breach: &mut impl FnMut(Name, &'static str),
) {
    match op.act {
        Act::Read { visit } => {
            let Some(wanted) = seen.get(&visit) else { return };
            if op.is(404) && (wanted.exists || wanted.is_erased) {
                breach(visit, "not found, although the session knows it");
            }
            if op.is(200) && wanted.is_erased {
                breach(visit, "shown, although the session knows that it is erased");
            }
            let shown = op.shows.iter().find(|row| row.visit == visit);
            if let Some(row) = shown
                && !shows(known, visit, &row.values, wanted)
            {
                breach(visit, "older than what the session wrote or saw");
            }
        }
        Act::List { venue } if op.is(200) => {
            for (visit, wanted) in seen.iter().filter(|(visit, _)| venues.get(visit) == Some(&venue)) {
                let shown = op.shows.iter().find(|row| row.visit == *visit);
                match shown {
                    Some(_) if wanted.is_erased => {
                        breach(*visit, "listed, although the session knows that it is erased")
                    }
                    Some(row) if !shows(known, *visit, &row.values, wanted) => {
                        breach(*visit, "listed with a value older than what the session wrote or saw");
                    }
                    None if wanted.exists && !wanted.is_erased && !known.may_be_erased_by(*visit, op.end) => {
                        breach(*visit, "not in a list, although the session knows it");
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

fn shows(known: &Known, visit: Name, values: &[Name], wanted: &Wanted) -> bool {
    let visit = known.get(visit);
    visit.is_none_or(|visit| wanted.values.iter().all(|(value, begin)| visit.covers(values, *value, *begin)))
}

/// What the session knows after an answer.
fn learn(op: &Op, seen: &mut BTreeMap<Name, Wanted>, known: &Known) {
    match op.act {
        Act::CheckIn { visit, value } if op.is_acknowledged() => {
            let wanted = seen.entry(visit).or_default();
            wanted.exists = true;
            // Any value that was ever written covers that of the check-in.
            wanted.values.entry(value).or_insert(0);
        }
        Act::Correct { visit, value } if op.is_acknowledged() => {
            let wanted = seen.entry(visit).or_default();
            wanted.exists = true;
            wanted.values.insert(value, op.begin);
        }
        Act::Erase { visit } if op.is_acknowledged() => seen.entry(visit).or_default().is_erased = true,
        Act::Read { visit } | Act::CheckIn { visit, .. } | Act::Correct { visit, .. } if op.is(410) => {
            seen.entry(visit).or_default().is_erased = true;
        }
        _ => {}
    }
    if !matches!(op.act, Act::Read { .. }) {
        return;
    }
    for row in &op.shows {
        let wanted = seen.entry(row.visit).or_default();
        wanted.exists = true;
        let written = known.get(row.visit).into_iter().flat_map(|visit| &visit.written);
        for value in &row.values {
            let begin = written.clone().filter(|one| one.value == *value).map(|one| one.begin).min();
            let is_first = known.get(row.visit).is_some_and(|visit| visit.first == Some(*value));
            wanted.values.entry(*value).or_insert(if is_first { 0 } else { begin.unwrap_or_default() });
        }
    }
}
