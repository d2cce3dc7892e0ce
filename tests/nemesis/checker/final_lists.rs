//! Rules 1, 2 and 6 for the lists after all faults.

use std::collections::{BTreeMap, BTreeSet};

use super::known::{Known, Visit};
use super::{Breach, Rule};
use crate::history::{Act, Name, Op, Row};

pub(super) fn check(ops: &[Op], known: &Known, venues: &BTreeMap<Name, Name>, breaches: &mut Vec<Breach>) {
    let lists = |op: &&Op| matches!(op.act, Act::FinalList { .. }) && op.is(200);
    for op in ops.iter().filter(lists) {
        let Act::FinalList { venue, .. } = op.act else { continue };
        let mut breach = |rule, name, what| breaches.push(Breach { rule, name, region: op.region, at: op.begin, what });
        let rows: BTreeMap<Name, &Row> = op.shows.iter().map(|row| (row.visit, row)).collect();
        for (name, visit) in known.all().filter(|(name, _)| venues.get(name) == Some(&venue)) {
            match rows.get(&name) {
                Some(_) if visit.erased.is_some() => {
                    breach(Rule::Resurrected, name, "in a final list, although erased")
                }
                Some(row) if !shows_corrections(visit, &row.values) => {
                    breach(Rule::Lost, name, "a correction is not in a final list");
                }
                None if visit.acknowledged.is_some() && !known.may_be_erased_by(name, op.end) => {
                    breach(Rule::Lost, name, "not in a final list");
                }
                _ => {}
            }
        }
    }
    different(ops, breaches);
}

/// Whether each acknowledged correction is shown, or one that can have replaced it.
fn shows_corrections(visit: &Visit, values: &[Name]) -> bool {
    let corrections = visit.written.iter().filter(|one| one.is_acknowledged && Some(one.value) != visit.first);
    corrections.clone().all(|one| visit.covers(values, one.value, one.begin))
}

/// All regions and all rounds show the same.
fn different(ops: &[Op], breaches: &mut Vec<Breach>) {
    let mut first: BTreeMap<Name, BTreeSet<&Row>> = BTreeMap::new();
    for op in ops.iter().filter(|op| op.is(200)) {
        let Act::FinalList { venue, .. } = op.act else { continue };
        let rows: BTreeSet<&Row> = op.shows.iter().collect();
        let Some(expected) = first.get(&venue) else {
            first.insert(venue, rows);
            continue;
        };
        for row in expected.symmetric_difference(&rows) {
            let (rule, what) = (Rule::Different, "different from the final list of another region or round");
            breaches.push(Breach { rule, name: row.visit, region: op.region, at: op.begin, what });
        }
    }
}
