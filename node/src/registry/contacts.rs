//! Who was there with whom: the visits that overlap one visit.
//!
//! # Not here
//! Reading the venue's visits of that day, each once: the API.

use std::cmp::Reverse;
use std::time::Duration;

use serde::Serialize;

use super::guest_list::{GuestRow, Window};
use super::visit::Visit;

/// A visit that overlaps the index visit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContactRow {
    /// Length of the overlap, rounded up: a contact of half a minute is not none.
    pub minutes: u64,
    /// Whether both may have been in one area. Of areas that are not known nothing is said.
    pub same_area: bool,
    /// The visit, its fields beside the two above.
    #[serde(flatten)]
    pub visit: GuestRow,
}

/// The visits among `others` (each with its region) that overlap `index`: the longest overlap first, then those in the
/// same area, then in order of arrival. `index` itself may be among them and is left out.
pub fn contacts<'a>(
    index: &Visit,
    others: impl IntoIterator<Item = (&'a Visit, &'a str)>,
    max_stay: Duration,
) -> Vec<ContactRow> {
    let stay = Window { from: index.arrived(), to: index.departure(max_stay).at };
    let mut rows: Vec<ContactRow> = others
        .into_iter()
        .filter(|(visit, _)| visit.id != index.id && stay.names(visit, max_stay))
        .map(|(visit, region)| {
            let first = visit.arrived().max(stay.from);
            let overlap = visit.departure(max_stay).at.min(stay.to).since(first);
            ContactRow {
                minutes: u64::try_from(overlap.as_millis().div_ceil(60_000)).unwrap_or(u64::MAX),
                same_area: visit.areas().any(|area| index.areas().any(|own| own == area)),
                visit: GuestRow::of(visit, region, max_stay),
            }
        })
        .collect();
    rows.sort_by_key(|row| (Reverse(row.minutes), !row.same_area, row.visit.visit_id));
    rows
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::contacts;
    use crate::registry::visit::tests::{BASE, visit};

    const MIN: u64 = 60_000;
    const MAX_STAY: Duration = Duration::from_secs(7_200);

    #[test]
    fn longest_first_then_the_same_area_then_arrival() {
        let at = |from: u64, to: u64, area| visit(BASE + from * MIN, Some(BASE + to * MIN), area, &["A"]);
        let index = at(60, 120, Some("1"));
        let (whole, elsewhere, beside) = (at(0, 200, None), at(100, 200, Some("2")), at(0, 80, Some("1")));
        let (before, after) = (at(0, 60, Some("1")), at(120, 130, Some("1")));
        let moment = visit(BASE + 120 * MIN - 500, Some(BASE + 130 * MIN), None, &["A"]);
        let all = [&before, &elsewhere, &moment, &index, &after, &beside, &whole];
        let rows = contacts(&index, all.map(|visit| (visit, "eu-central")), MAX_STAY);
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
        let minutes = |index, other| contacts(index, [(other, "x")], MAX_STAY).first().map(|row| row.minutes);
        assert_eq!(minutes(&a, &b), Some(30));
        assert_eq!(minutes(&b, &a), Some(30));
    }

    #[test]
    fn a_row_is_flat_json() {
        let (a, b) = (visit(BASE, None, None, &["A"]), visit(BASE + 1, None, None, &["B"]));
        let json = serde_json::to_value(contacts(&a, [(&b, "x")], MAX_STAY)).expect("serialises");
        assert_eq!(json[0]["minutes"], 120);
        assert_eq!(json[0]["visit_id"], b.id.to_string());
        assert_eq!(json[0]["left_estimated"], true);
    }
}
