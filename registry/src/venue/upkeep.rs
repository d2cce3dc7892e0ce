//! What becomes of venues that no guest uses, and of closed ones.
//!
//! A venue that never had a check-in is closed after a time that operators set. A closed venue of which no visit is left is
//! forgotten once no region can have one.
//!
//! # Why no region closes what another one uses
//! The venue's document has a mark from its creation on, which the first check-in removes. A region expires a venue only if
//! the mark is still there and it has all that every region acknowledged in the whole time ([`VenueSeen::complete`]). A first
//! check-in that comes later, or in a region that has not heard of the expiry, removes the mark as well, and without the mark
//! an expiry counts for nothing (`venue/document.rs`). So the worst that a guest can meet is a venue that is closed for as
//! long as the two regions do not hear of each other.
//!
//! # Invariants
//! - Pure: a function of the document and of what the caller saw beside it.
//! - A venue without the mark never expires, so venues of releases that kept none stay.

use std::time::Duration;

use replication::Wall;

use crate::policy::LONGEST_RETENTION;
use crate::venue::document::Venue;

/// How long after the last possible expiry a closed venue stays: phones without a network send check-ins for a day, and
/// clocks differ.
const GRACE: Duration = Duration::from_hours(48);

/// What a node sees of a venue beside its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VenueSeen {
    /// When it was made; `None` if that cannot be told.
    pub created: Option<Wall>,
    /// When its document last changed; `None` if that cannot be told.
    pub changed: Option<Wall>,
    /// The moment before which this node has everything that any region acknowledged.
    pub complete: Wall,
    /// Whether every other node has all changes of the document.
    pub known_everywhere: bool,
    /// Whether the node has a visit of the venue.
    pub has_visits: bool,
}

/// What is to be done with a venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upkeep {
    /// Nothing.
    Keep,
    /// Guests came and the mark is still there, as after a check-in at a node of an older release: take the mark away.
    Use,
    /// Close it, because no guest came until this moment.
    Expire(Wall),
    /// Erase it: it is closed, and no visit is left.
    Forget,
}

impl Venue {
    /// What is to be done with this venue, if those that no guest uses are closed after `unused_for`; `None` if never.
    #[must_use]
    pub fn upkeep(&self, seen: &VenueSeen, unused_for: Option<Duration>) -> Upkeep {
        let Some(closed) = self.closed else {
            let over = seen.created.zip(unused_for).map(|(created, time)| created.plus(time));
            return match over.filter(|over| self.unused && *over <= seen.complete) {
                Some(_) if seen.has_visits => Upkeep::Use,
                Some(over) => Upkeep::Expire(over),
                None => Upkeep::Keep,
            };
        };
        if seen.has_visits {
            return if self.unused { Upkeep::Use } else { Upkeep::Keep };
        }
        let gone = seen.changed.map(|changed| changed.max(closed).plus(LONGEST_RETENTION).plus(GRACE));
        let over = seen.known_everywhere && gone.is_some_and(|gone| gone <= seen.complete);
        if over { Upkeep::Forget } else { Upkeep::Keep }
    }
}

#[cfg(test)]
mod tests;
