//! What the requests of a history say about each visit.

use std::collections::BTreeMap;

use crate::history::{Act, Name, Op};

/// A value that a client sent for a visit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub value: Name,
    pub begin: u64,
    pub end: u64,
    pub is_acknowledged: bool,
}

/// One visit.
#[derive(Clone, Debug, Default)]
pub(super) struct Visit {
    /// Check-ins and corrections that may have had an effect.
    pub written: Vec<Written>,
    /// The value of its check-in.
    pub first: Option<Name>,
    /// The end of the first check-in that was acknowledged.
    pub acknowledged: Option<u64>,
    /// The begin of the first erasure that may have had an effect.
    erasing: Option<u64>,
    /// The end of the first erasure that was acknowledged.
    pub erased: Option<u64>,
    /// For each region, since when it knows that the visit is erased.
    confirmed: BTreeMap<u8, u64>,
}

/// All visits.
pub(super) struct Known(BTreeMap<Name, Visit>);

impl Known {
    /// What a history says.
    pub(super) fn of(ops: &[Op]) -> Known {
        let mut visits: BTreeMap<Name, Visit> = BTreeMap::new();
        for op in ops {
            match op.act {
                Act::CheckIn { visit, value } | Act::Correct { visit, value } => {
                    let entry = visits.entry(visit).or_default();
                    let is_check_in = matches!(op.act, Act::CheckIn { .. });
                    if !op.had_no_effect() {
                        let (begin, end, is_acknowledged) = (op.begin, op.end, op.is_acknowledged());
                        entry.written.push(Written { value, begin, end, is_acknowledged });
                        if is_check_in {
                            entry.first = Some(value);
                        }
                    }
                    if is_check_in && op.is_acknowledged() {
                        earliest(&mut entry.acknowledged, op.end);
                    }
                    if op.is(410) {
                        confirm(entry, op.region, op.end);
                    }
                }
                Act::Erase { visit } => {
                    let entry = visits.entry(visit).or_default();
                    if !op.had_no_effect() {
                        earliest(&mut entry.erasing, op.begin);
                    }
                    if op.is_acknowledged() {
                        earliest(&mut entry.erased, op.end);
                        confirm(entry, op.region, op.end);
                        op.confirmed.iter().for_each(|region| confirm(entry, *region, op.end));
                    }
                }
                Act::Read { visit } if op.is(410) => {
                    confirm(visits.entry(visit).or_default(), op.region, op.end);
                }
                Act::Read { .. } | Act::List { .. } | Act::FinalList { .. } => {}
            }
        }
        Known(visits)
    }

    /// Every visit.
    pub(super) fn all(&self) -> impl Iterator<Item = (Name, &Visit)> {
        self.0.iter().map(|(name, visit)| (*name, visit))
    }

    pub(super) fn get(&self, visit: Name) -> Option<&Visit> {
        self.0.get(&visit)
    }

    /// Whether a check-in may have had its effect before `at`.
    pub(super) fn may_exist_by(&self, visit: Name, at: u64) -> bool {
        self.get(visit).is_some_and(|visit| {
            let first = |written: &&Written| Some(written.value) == visit.first;
            visit.written.iter().filter(first).any(|written| written.begin < at)
        })
    }

    /// Whether a client sent this value before `at`.
    pub(super) fn is_value_by(&self, visit: Name, value: Name, at: u64) -> bool {
        let written = self.get(visit).into_iter().flat_map(|visit| &visit.written);
        written.clone().any(|written| written.value == value && written.begin < at)
    }

    /// Whether an erasure that was requested before `at` may have had its effect.
    pub(super) fn may_be_erased_by(&self, visit: Name, at: u64) -> bool {
        self.get(visit).and_then(|visit| visit.erasing).is_some_and(|begin| begin < at)
    }

    /// Whether a region had confirmed the erasure before `at`.
    pub(super) fn is_confirmed_erased(&self, visit: Name, region: u8, at: u64) -> bool {
        self.get(visit).and_then(|visit| visit.confirmed.get(&region)).is_some_and(|since| *since < at)
    }
}

impl Visit {
    /// Whether `values` shows an acknowledged value, or one that can have replaced it.
    pub(super) fn covers(&self, values: &[Name], wanted: Name, wanted_begin: u64) -> bool {
        values.iter().any(|shown| {
            *shown == wanted
                || Some(*shown) != self.first
                    && self.written.iter().any(|other| other.value == *shown && other.end > wanted_begin)
        })
    }
}

fn earliest(slot: &mut Option<u64>, at: u64) {
    *slot = Some(slot.map_or(at, |known| known.min(at)));
}

fn confirm(visit: &mut Visit, region: u8, at: u64) {
    let since = visit.confirmed.entry(region).or_insert(at);
    *since = at.min(*since);
}
