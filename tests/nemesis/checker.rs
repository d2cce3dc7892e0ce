//! What a history proves. Pure, and written apart from the product: it knows requests, answers and times alone.
//!
//! # Rules
//! 1. *Lost*: a visit whose check-in was acknowledged and whose erasure was never requested is in every final list of
//!    its venue, and no answer says that it is gone (410). An acknowledged correction is shown in the end, or one that
//!    can have replaced it.
//! 2. *Resurrected*: a visit is in no answer of a region that began after that region had confirmed the erasure, and in
//!    no final list once any region has acknowledged its erasure.
//! 3. *Duplicated*: no list has a visit twice.
//! 4. *Session*: a read shows what the same session wrote and saw before, unless the answer says that it is stale.
//! 5. *Invented*: no answer shows a visit or a value that no client sent.
//! 6. *Different*: the final lists of all regions and rounds are equal.
//! 7. *Unexpected*: no answer has a status that its request cannot have.
//!
//! A correction can have replaced another one unless it had ended before the other one began: only then the region that
//! took it cannot have known the other one.

mod final_lists;
mod known;
mod sessions;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::history::{Act, Name, Op, Outcome};
use known::Known;

/// Which rule is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    Lost,
    Resurrected,
    Duplicated,
    Session,
    Invented,
    Different,
    Unexpected,
}

/// One breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    pub rule: Rule,
    /// The visit, or the venue of a list.
    pub name: Name,
    /// The region whose answer shows it.
    pub region: u8,
    /// When the request began whose answer shows it.
    pub at: u64,
    pub what: &'static str,
}

/// Every breach in a history. `venues` has the venue of each visit.
pub(crate) fn check(ops: &[Op], venues: &BTreeMap<Name, Name>) -> Vec<Breach> {
    let known = Known::of(ops);
    let mut breaches = Vec::new();
    for op in ops {
        answer(op, &known, &mut breaches);
    }
    sessions::check(ops, &known, venues, &mut breaches);
    final_lists::check(ops, &known, venues, &mut breaches);
    breaches
}

/// What one answer shows, by itself.
fn answer(op: &Op, known: &Known, breaches: &mut Vec<Breach>) {
    let mut breach = |rule, name, what| breaches.push(Breach { rule, name, region: op.region, at: op.begin, what });
    let visit = match op.act {
        Act::CheckIn { visit, .. } | Act::Correct { visit, .. } | Act::Erase { visit } | Act::Read { visit } => {
            Some(visit)
        }
        Act::List { .. } | Act::FinalList { .. } => None,
    };
    if let Outcome::Answered(status) = op.outcome {
        if !expected(&op.act).contains(&status) {
            breach(
                Rule::Unexpected,
                visit.unwrap_or_default(),
                "an answer with a status that does not fit the request",
            );
        }
        let is_change = matches!(op.act, Act::CheckIn { .. } | Act::Correct { .. } | Act::Read { .. });
        if let Some(visit) = visit {
            if status == 410 && !known.may_be_erased_by(visit, op.end) {
                breach(Rule::Lost, visit, "410 for a visit of which no erasure was requested");
            }
            if is_change && op.is_acknowledged() && known.is_confirmed_erased(visit, op.region, op.begin) {
                breach(
                    Rule::Resurrected,
                    visit,
                    "answered as if it were there, after the region confirmed the erasure",
                );
            }
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for row in &op.shows {
        if !seen.insert(row.visit) {
            breach(Rule::Duplicated, row.visit, "twice in one list");
        }
        if !known.may_exist_by(row.visit, op.end) {
            breach(Rule::Invented, row.visit, "a visit that no client sent");
        } else if row.values.iter().any(|value| !known.is_value_by(row.visit, *value, op.end)) || row.values.is_empty()
        {
            breach(Rule::Invented, row.visit, "a value that no client sent");
        }
        if visit.is_none() && known.is_confirmed_erased(row.visit, op.region, op.begin) {
            breach(Rule::Resurrected, row.visit, "in a list, after the region confirmed the erasure");
        }
    }
}

/// The statuses that a request may have. 503 and 507: the region refuses for now; 504: it waited too long.
fn expected(act: &Act) -> &'static [u16] {
    match act {
        Act::CheckIn { .. } => &[200, 201, 410, 503, 507],
        Act::Correct { .. } => &[200, 404, 410, 503, 507],
        Act::Erase { .. } => &[204, 503],
        Act::Read { .. } => &[200, 404, 410, 503],
        Act::List { .. } | Act::FinalList { .. } => &[200, 503],
    }
}
