//! How far a row of a guest list can be relied on: marks that an office sees beside the row.
//!
//! # Invariants
//! - Every row has at least one mark, and [`Certainty::Exact`] stands alone.

use std::time::Duration;

use replication::Wall;
use serde::{Deserialize, Serialize};

use crate::guests::list::GuestRow;

/// A check-in that was accepted later than this after its arrival is marked [`Certainty::Late`].
pub const LATE: Duration = Duration::from_mins(10);

/// A mark of one row. A row can have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// No other mark applies.
    Exact,
    /// No departure was recorded, so the end is an estimate.
    EndEstimated,
    /// A field was changed concurrently and has several values.
    Conflicting,
    /// The check-in was accepted more than [`LATE`] after the arrival that it states: it waited on a phone without a
    /// network, or was copied from a paper slip.
    Late,
}

impl Certainty {
    /// The marks of a row, in order; never empty. `accepted` is when the first region accepted the check-in. If it is
    /// not known the row is not marked as late.
    #[must_use]
    pub fn of(row: &GuestRow, accepted: Option<Wall>) -> Vec<Certainty> {
        Certainty::of_line(row, row.left_estimated, accepted)
    }

    /// The marks of one person's line: as [`Certainty::of`], but with that person's own end.
    pub(crate) fn of_line(row: &GuestRow, estimated: bool, accepted: Option<Wall>) -> Vec<Certainty> {
        let late = accepted.is_some_and(|accepted| accepted.since(row.arrived.0) > LATE);
        let marks = [
            (estimated, Certainty::EndEstimated),
            (!row.conflicts.is_empty(), Certainty::Conflicting),
            (late, Certainty::Late),
        ];
        let found: Vec<_> = marks.into_iter().filter(|(applies, _)| *applies).map(|(_, mark)| mark).collect();
        if found.is_empty() { vec![Certainty::Exact] } else { found }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use replication::Wall;

    use super::{Certainty, LATE};
    use crate::guests::list::GuestRow;
    use crate::visit::document::tests::{BASE, visit};

    fn row(left: Option<u64>) -> GuestRow {
        GuestRow::of(&visit(BASE, left, None, &["A"]), "eu-central", Duration::from_hours(2))
    }

    #[test]
    fn a_row_without_doubt_is_exact() {
        let row = row(Some(BASE + 60_000));
        for accepted in [None, Some(Wall(BASE)), Some(Wall(BASE).plus(LATE)), Some(Wall(BASE - 60_000))] {
            assert_eq!(Certainty::of(&row, accepted), [Certainty::Exact]);
        }
    }

    #[test]
    fn marks_add_up() {
        let mut row = row(None);
        let late = Wall(BASE + 1).plus(LATE);
        assert_eq!(Certainty::of(&row, None), [Certainty::EndEstimated]);
        assert_eq!(Certainty::of(&row, Some(late)), [Certainty::EndEstimated, Certainty::Late]);
        row.conflicts.insert("/area".into(), vec!["1".into(), "2".into()]);
        let all = [Certainty::EndEstimated, Certainty::Conflicting, Certainty::Late];
        assert_eq!(Certainty::of(&row, Some(late)), all);
        row.left_estimated = false;
        assert_eq!(Certainty::of(&row, Some(Wall(BASE))), [Certainty::Conflicting]);
    }
}
