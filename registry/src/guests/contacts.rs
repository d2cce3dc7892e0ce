//! Contact search: the visits that overlap one visit.
//!
//! # Invariants
//! - A search keeps a bounded number of rows, however many visits it looks at: those with the longest overlaps.
//!
//! # Not here
//! Reading the venue's visits of that day, each once: the API does that.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use replication::Wall;
use serde::Serialize;

use crate::guests::list::{GuestRow, Window};
use crate::visit::Visit;
use crate::visit::id::VisitId;

/// A visit that overlaps the index visit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContactRow {
    /// Length of the overlap, rounded up, so that a contact of half a minute is not shown as none.
    pub minutes: u64,
    /// Whether both may have been in one area; false if the area of either is not known.
    pub same_area: bool,
    /// The visit; its fields are shown beside the two above.
    #[serde(flatten)]
    pub visit: GuestRow,
    /// When the first region accepted the check-in, if that is known; for tables.
    #[serde(skip)]
    pub accepted: Option<Wall>,
}

/// The search for the visits that overlap one visit.
#[derive(Debug)]
pub struct ContactSearch<'a> {
    index: &'a Visit,
    stay: Window,
    assumed_stay: Duration,
    most: usize,
    /// The best rows so far; the worst of them is the greatest.
    kept: BinaryHeap<Ranked>,
    truncated: bool,
}

/// The longest overlap first, then those in the same area, then in order of arrival.
type Rank = (Reverse<u64>, bool, VisitId);

#[derive(Debug)]
struct Ranked {
    rank: Rank,
    row: ContactRow,
}

impl<'a> ContactSearch<'a> {
    /// A search for visits that overlap `index`. It keeps the best `most`.
    #[must_use]
    pub fn new(index: &'a Visit, assumed_stay: Duration, most: usize) -> ContactSearch<'a> {
        let stay = Window { from: index.arrived(), to: index.departure(assumed_stay).at };
        ContactSearch { index, stay, assumed_stay, most, kept: BinaryHeap::new(), truncated: false }
    }

    /// A visit overlaps if it lies in this time.
    #[must_use]
    pub fn window(&self) -> Window {
        self.stay
    }

    /// Looks at one visit of the venue, which `region` took. `accepted` is when the first region accepted it, if that is
    /// known. The index visit may be shown too and is left out.
    pub fn see(&mut self, visit: &Visit, region: &str, accepted: Option<Wall>) {
        if visit.id == self.index.id || !self.stay.names(visit, self.assumed_stay) {
            return;
        }
        let stay = Window { from: visit.arrived(), to: visit.departure(self.assumed_stay).at };
        let minutes = self.stay.overlap_minutes(stay);
        let same_area = visit.areas().any(|area| self.index.areas().any(|own| own == area));
        let rank = (Reverse(minutes), !same_area, visit.id);
        if self.kept.len() >= self.most {
            self.truncated = true;
            if self.kept.peek().is_none_or(|worst| worst.rank <= rank) {
                return;
            }
            self.kept.pop();
        }
        let row = ContactRow { minutes, same_area, visit: GuestRow::of(visit, region, self.assumed_stay), accepted };
        self.kept.push(Ranked { rank, row });
    }

    /// The contacts, the longest overlap first, and whether there were more.
    #[must_use]
    pub fn finish(self) -> (Vec<ContactRow>, bool) {
        (self.kept.into_sorted_vec().into_iter().map(|ranked| ranked.row).collect(), self.truncated)
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Ranked) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Ranked) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Ranked) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Ranked {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::{any, proptest};
    use proptest::prop_assert_eq;

    use super::{ContactRow, ContactSearch};
    use crate::visit::Visit;
    use crate::visit::document::tests::{BASE, visit};

    const MIN: u64 = 60_000;
    const ASSUMED_STAY: Duration = Duration::from_secs(7_200);

    fn contacts<'a>(index: &Visit, others: impl IntoIterator<Item = &'a Visit>) -> Vec<ContactRow> {
        let mut search = ContactSearch::new(index, ASSUMED_STAY, usize::MAX);
        others.into_iter().for_each(|visit| search.see(visit, "x", None));
        let (rows, truncated) = search.finish();
        assert!(!truncated);
        rows
    }

    #[test]
    fn longest_first_then_the_same_area_then_arrival() {
        let at = |from: u64, to: u64, area| visit(BASE + from * MIN, Some(BASE + to * MIN), area, &["A"]);
        let index = at(60, 120, Some("1"));
        let (whole, elsewhere, beside) = (at(0, 200, None), at(100, 200, Some("2")), at(0, 80, Some("1")));
        let (before, after) = (at(0, 60, Some("1")), at(120, 130, Some("1")));
        let moment = visit(BASE + 120 * MIN - 500, Some(BASE + 130 * MIN), None, &["A"]);
        let all = [&before, &elsewhere, &moment, &index, &after, &beside, &whole];
        let rows = contacts(&index, all);
        let found: Vec<_> = rows.iter().map(|row| (row.visit.visit_id, row.minutes, row.same_area)).collect();
        assert_eq!(
            found,
            [(whole.id, 60, false), (beside.id, 20, true), (elsewhere.id, 20, false), (moment.id, 1, false)]
        );
    }

    #[test]
    fn a_contact_is_seen_from_both_sides() {
        let a = visit(BASE, None, Some("1"), &["A"]);
        let b = visit(BASE + 90 * MIN, None, Some("1"), &["B"]);
        let minutes = |index, other| contacts(index, [other]).first().map(|row| row.minutes);
        assert_eq!(minutes(&a, &b), Some(30));
        assert_eq!(minutes(&b, &a), Some(30));
    }

    #[test]
    fn a_row_is_flat_json() {
        let (a, b) = (visit(BASE, None, None, &["A"]), visit(BASE + 1, None, None, &["B"]));
        let json = serde_json::to_value(contacts(&a, [&b])).expect("serialises");
        assert_eq!(json[0]["minutes"], 120);
        assert_eq!(json[0]["visit_id"], b.id.to_string());
        assert_eq!(json[0]["left_estimated"], true);
    }

    proptest! {
        /// A bounded search keeps the first rows of what an unbounded search finds, in whatever order it sees the
        /// visits.
        #[test]
        fn a_bounded_search_keeps_the_best(stays in vec((0u64..300, 1u64..200, any::<bool>()), 0..40), most in 0usize..12) {
            let index = visit(BASE + 100 * MIN, Some(BASE + 200 * MIN), Some("1"), &["A"]);
            let others: Vec<Visit> = stays.iter().map(|(from, stay, same)| {
                visit(BASE + from * MIN, Some(BASE + (from + stay) * MIN), Some(if *same { "1" } else { "2" }), &["B"])
            }).collect();
            let mut all = contacts(&index, &others);
            let mut search = ContactSearch::new(&index, ASSUMED_STAY, most);
            others.iter().for_each(|visit| search.see(visit, "x", None));
            let (kept, truncated) = search.finish();
            prop_assert_eq!(truncated, all.len() > most);
            all.truncate(most);
            prop_assert_eq!(kept, all);
        }
    }
}
