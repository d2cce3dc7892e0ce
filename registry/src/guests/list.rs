//! Guest lists: which visits a list names, and how each visit is shown.
//!
//! A visit covers the half-open time `[arrived, left)`, and a list covers `[from, to)`. So a guest who left at 19:00
//! sharp is in the list for 18 to 19 and not in the list for 19 to 20. A party is one visit, which lasts until the last
//! of it leaves. Its row names all of them, each with their own departure, because often only one of them can be reached.
//!
//! # Not here
//! How complete a list is, and its paging: the API, which knows regions and cursors.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use replication::{DocumentId, Wall};
use serde::Serialize;

use crate::conflicts::Conflicts;
use crate::person::Person;
use crate::visit::document::Visit;
use crate::visit::id::VisitId;
use api::Moment;

/// The time that a guest list asks for, `[from, to)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First moment.
    pub from: Wall,
    /// The first moment after the window.
    pub to: Wall,
}

impl Window {
    /// Whether a guest list for this time names the visit.
    #[must_use]
    pub fn names(&self, visit: &Visit, assumed_stay: Duration) -> bool {
        visit.arrived() < self.to && visit.departure(assumed_stay).at > self.from
    }

    /// The length of the time that both windows share, rounded up to whole minutes, so that a contact of half a minute
    /// is not shown as none; 0 if they share none.
    #[must_use]
    pub fn overlap_minutes(&self, other: Window) -> u64 {
        let shared = self.to.min(other.to).since(self.from.max(other.from));
        u64::try_from(shared.as_millis().div_ceil(60_000)).unwrap_or(u64::MAX)
    }

    /// The ids, `[first, end)`, outside which no visit can be named whose stay is at most `look_back`, because ids sort by
    /// arrival.
    #[must_use]
    pub fn ids(&self, look_back: Duration) -> (DocumentId, DocumentId) {
        (DocumentId::first_of(self.from.minus(look_back)), DocumentId::first_of(self.to))
    }
}

/// One visit of a guest list.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct GuestRow {
    /// Its id.
    pub visit_id: VisitId,
    /// Table or room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub area: Option<String>,
    /// RFC 3339, UTC, milliseconds.
    pub arrived: Moment,
    /// When the last of the party left; RFC 3339, UTC, milliseconds.
    pub left: Moment,
    /// Whether `left` is an estimate, because no departure was recorded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub left_estimated: bool,
    /// The guests. One who left before the rest of the party has a departure of their own.
    pub persons: Vec<Person>,
    /// The region that accepted the check-in.
    pub region: String,
    /// Fields that were changed concurrently, with all their values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub conflicts: Conflicts,
}

impl fmt::Debug for GuestRow {
    /// Shows only the id, because what guests typed must not reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestRow").field("visit_id", &self.visit_id).finish_non_exhaustive()
    }
}

impl GuestRow {
    /// A visit as a guest list shows it.
    #[must_use]
    pub fn of(visit: &Visit, region: &str, assumed_stay: Duration) -> GuestRow {
        let departure = visit.departure(assumed_stay);
        GuestRow {
            visit_id: visit.id,
            area: visit.area().map(str::to_owned),
            arrived: Moment(visit.arrived()),
            left: Moment(departure.at),
            left_estimated: departure.estimated,
            persons: visit.persons(),
            region: region.to_owned(),
            conflicts: visit.conflicts(),
        }
    }

    /// When a person of this visit left, and whether that is an estimate.
    #[must_use]
    pub fn departure(&self, person: &Person) -> (Moment, bool) {
        person.left_at().map_or((self.left, self.left_estimated), |left| (Moment(left), false))
    }

    /// How many minutes of `window` the visit covers: see [`Window::overlap_minutes`].
    #[must_use]
    pub fn overlap_minutes(&self, window: Window) -> u64 {
        window.overlap_minutes(Window { from: self.arrived.0, to: self.left.0 })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{any, proptest};
    use proptest::{prop_assert, prop_assert_eq};
    use replication::{DocumentId, Wall};

    use super::{GuestRow, Window};
    use crate::person::Person;
    use crate::policy::LONGEST_RETENTION;
    use crate::visit::body::CheckedVisit;
    use crate::visit::document::tests::{BASE, visit, visit_of};
    use api::Moment;

    const MIN: u64 = 60_000;
    const HOUR: Duration = Duration::from_secs(3_600);

    fn window(from: u64, to: u64) -> Window {
        Window { from: Wall(BASE + from * MIN), to: Wall(BASE + to * MIN) }
    }

    #[test]
    fn both_ends_are_half_open() {
        let stayed = visit(BASE, Some(BASE + 60 * MIN), None, &["A"]);
        assert!(window(0, 60).names(&stayed, HOUR));
        assert!(window(59, 120).names(&stayed, HOUR));
        assert!(!window(60, 120).names(&stayed, HOUR));
        assert!(!Window { from: Wall(BASE - MIN), to: Wall(BASE) }.names(&stayed, HOUR));
        assert!(Window { from: Wall(BASE - MIN), to: Wall(BASE + 1) }.names(&stayed, HOUR));
    }

    #[test]
    fn a_missing_departure_is_estimated_and_said_so() {
        let stayed = visit(BASE, None, Some("Table 1"), &["A"]);
        let estimated = |assumed_stay| stayed.departure(assumed_stay).at.since(Wall(BASE));
        assert_eq!(estimated(HOUR), HOUR);
        assert_eq!(estimated(Duration::from_secs(1)), Duration::from_secs(60));
        assert_eq!(estimated(HOUR * 48), HOUR * 48);
        assert_eq!(estimated(HOUR * 24 * 365), LONGEST_RETENTION);
        let json = serde_json::to_value(GuestRow::of(&stayed, "eu-central", HOUR)).expect("serialises");
        assert_eq!(
            json,
            serde_json::json!({
                "visit_id": stayed.id.to_string(), "area": "Table 1", "arrived": "2026-01-01T00:00:00.000Z",
                "left": "2026-01-01T01:00:00.000Z", "left_estimated": true,
                "persons": [{"name": "A", "phone": "0711 1"}], "region": "eu-central",
            })
        );
    }

    #[test]
    fn a_recorded_departure_is_not_an_estimate() {
        let row = GuestRow::of(&visit(BASE, Some(BASE + 1), None, &["A"]), "eu-central", HOUR);
        assert_eq!(row.left.to_string(), "2026-01-01T00:00:00.001Z");
        let json = serde_json::to_value(row).expect("serialises");
        assert!(json.get("left_estimated").is_none() && json.get("area").is_none() && json.get("conflicts").is_none());
    }

    /// One of two left at 19:00 (minute 60), the other stayed and did not say when they left.
    #[test]
    fn a_party_whose_members_leave_apart_is_there_until_the_last_of_them_leaves() {
        let party = |lefts: [Option<u64>; 2], left: Option<u64>| {
            let person = |(place, minutes): (usize, Option<u64>)| Person {
                name: Some(["Anna", "Ben"][place].into()),
                phone: Some("0711 1".into()),
                left: minutes.map(|minutes| Moment(Wall(BASE + minutes * MIN)).to_string()),
                ..Person::default()
            };
            let persons = lefts.into_iter().enumerate().map(person).collect();
            let left = left.map(|minutes| Wall(BASE + minutes * MIN));
            visit_of(CheckedVisit { arrival: Wall(BASE), left, area: None, persons })
        };
        let two_hours = 2 * HOUR;
        let seen = party([Some(60), None], None);
        assert!(window(60, 61).names(&seen, two_hours) && !window(120, 121).names(&seen, two_hours));
        let row = GuestRow::of(&seen, "x", two_hours);
        let of = |row: &GuestRow, place: usize| {
            let (left, estimated) = row.departure(&row.persons[place]);
            (left.0.since(Wall(BASE)).as_secs() / 60, estimated)
        };
        assert_eq!((of(&row, 0), of(&row, 1)), ((60, false), (120, true)));
        // The party left while one of them had gone before.
        let row = GuestRow::of(&party([Some(60), None], Some(90)), "x", two_hours);
        assert_eq!((of(&row, 0), of(&row, 1), row.left_estimated), ((60, false), (90, false), false));
        // Each left alone: the last of them ends the visit, and nothing is estimated.
        let seen = party([Some(60), Some(75)], None);
        assert!(window(74, 75).names(&seen, two_hours) && !window(75, 76).names(&seen, two_hours));
        let row = GuestRow::of(&seen, "x", two_hours);
        assert_eq!((of(&row, 1), row.left_estimated), ((75, false), false));
        // One who stayed longer than the estimate says, or than the rest of the party, is not lost.
        assert!(window(179, 180).names(&party([Some(180), None], None), two_hours));
        assert!(window(95, 96).names(&party([Some(100), None], Some(90)), two_hours));
    }

    #[test]
    fn overlap_is_rounded_up_and_ends_are_half_open() {
        let minutes = |from: u64, to: u64| {
            let row = GuestRow::of(&visit(BASE + from, Some(BASE + to), None, &["A"]), "eu-central", HOUR);
            row.overlap_minutes(window(60, 120))
        };
        assert_eq!(minutes(0, 240 * MIN), 60);
        assert_eq!(minutes(90 * MIN, 100 * MIN), 10);
        assert_eq!(minutes(0, 60 * MIN), 0);
        assert_eq!(minutes(120 * MIN, 130 * MIN), 0);
        assert_eq!(minutes(0, 60 * MIN + 1), 1);
        assert_eq!(minutes(119 * MIN - 1, 240 * MIN), 2);
        // A stay without a recorded departure counts with its estimated end.
        let row = GuestRow::of(&visit(BASE + 30 * MIN, None, None, &["A"]), "eu-central", HOUR);
        assert_eq!(row.overlap_minutes(window(60, 120)), 30);
    }

    #[test]
    fn the_range_of_ids_saturates() {
        let all = Window { from: Wall(0), to: Wall::NEVER };
        let (first, end) = all.ids(HOUR);
        assert_eq!(first.arrival(), Wall(0));
        assert_eq!(end.arrival(), Wall((1 << 48) - 1));
    }

    proptest! {
        /// No visit that a list names lies outside the range of ids that is read for it.
        #[test]
        fn the_range_of_ids_misses_no_visit(
            from in 0u64..40_000, length in 1u64..4_000, arrived in 0u64..44_000, longest in 1u64..=40_320,
            stay in proptest::option::of(any::<u64>()), assumed in any::<u64>(),
        ) {
            let came = BASE + arrived * MIN;
            // A pack holds that no stay is longer than its longest.
            let (stay, assumed) = (stay.map(|stay| 1 + stay % longest), 1 + assumed % longest);
            let stayed = visit(came, stay.map(|stay| came + stay * MIN), None, &["A"]);
            let window = window(from, from + length);
            let assumed_stay = Duration::from_secs(assumed * 60);
            let (first, end) = window.ids(Duration::from_secs(longest * 60));
            let within = (first..end).contains(&stayed.id.document_id());
            prop_assert!(within || !window.names(&stayed, assumed_stay));
            // Compare with the rule in words: the stay and the list have some moment in common.
            let left = stayed.departure(assumed_stay).at;
            let shared = left.min(window.to).0.saturating_sub(Wall(came).max(window.from).0);
            prop_assert_eq!(window.names(&stayed, assumed_stay), shared > 0);
            let row = GuestRow::of(&stayed, "x", assumed_stay);
            prop_assert_eq!(row.overlap_minutes(window), shared.div_ceil(MIN));
            prop_assert!(DocumentId::first_of(Wall(came)) <= stayed.id.document_id());
        }
    }
}
