//! The lock that lets one drill run at a time: `/v1/admin/drill` of a node.
//!
//! The lock is a replicated document, so any live node can be asked. Two operators in two regions can
//! both write theirs before either is heard of in the other region. A drill therefore begins only when every node that
//! answers shows its lock and no other one; with two, both give way.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Moment;
use crate::operators::{AuthorError, check_author};

/// Lengths of a lock.
pub const LASTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);

/// Longest id and longest name, in bytes.
const LONGEST_NAME: usize = 63;

/// A drill that asks for the lock: the body of `POST /v1/admin/drill`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewDrillLock {
    /// The id of this run, which no other run has: lower case letters, digits and `-`.
    pub id: String,
    /// The name of the drill.
    pub name: String,
    /// The operator who runs it.
    pub by: String,
    /// When the lock lapses by itself: `for`, within [`LASTS`].
    #[serde(rename = "for", with = "crate::duration")]
    pub lasts: Duration,
}

/// A lock that has not lapsed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillLock {
    /// The id of the run.
    pub id: String,
    /// The name of the drill.
    pub name: String,
    /// The operator who runs it.
    pub by: String,
    /// When the lock was taken.
    pub since: Moment,
    /// When it lapses.
    pub until: Moment,
}

/// `GET /v1/admin/drill`: the locks that the node knows. There are several if they were taken in two places at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillLocks {
    /// Those that have not lapsed.
    pub locks: Vec<DrillLock>,
}

/// Why a lock is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrillLockError {
    /// Not an id.
    #[error("`id`: 1 to 63 lower case letters, digits and `-`")]
    Id,
    /// Not a name that can be shown.
    #[error("`name`: 1 to 63 bytes without control characters")]
    Name,
    /// The lock has no valid author.
    #[error(transparent)]
    Author(#[from] AuthorError),
    /// It would lapse at once or hold for too long.
    #[error("`for`: from 1s to 24h")]
    Lasts,
}

impl NewDrillLock {
    /// Checks that it has an id, a name, an author and an end.
    ///
    /// # Errors
    /// [`DrillLockError`].
    pub fn check(&self) -> Result<(), DrillLockError> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if !(1..=LONGEST_NAME).contains(&self.id.len()) || !self.id.bytes().all(plain) {
            return Err(DrillLockError::Id);
        }
        let is_long = self.name.len() > LONGEST_NAME;
        if self.name.trim().is_empty() || is_long || self.name.chars().any(char::is_control) {
            return Err(DrillLockError::Name);
        }
        check_author(&self.by, "")?;
        if LASTS.contains(&self.lasts) { Ok(()) } else { Err(DrillLockError::Lasts) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{AuthorError, DrillLockError, NewDrillLock};

    #[test]
    fn a_lock_has_an_id_a_name_an_author_and_an_end() {
        let good = || NewDrillLock {
            id: "0a-1".into(),
            name: "region-loss".into(),
            by: "mk".into(),
            lasts: Duration::from_secs(60),
        };
        assert_eq!(good().check(), Ok(()));
        for id in ["", "A", "a/b", &"a".repeat(64)] {
            assert_eq!(NewDrillLock { id: id.into(), ..good() }.check(), Err(DrillLockError::Id));
        }
        assert_eq!(NewDrillLock { name: "a\n".into(), ..good() }.check(), Err(DrillLockError::Name));
        assert_eq!(NewDrillLock { by: " ".into(), ..good() }.check(), Err(AuthorError::By.into()));
        assert_eq!(NewDrillLock { lasts: Duration::ZERO, ..good() }.check(), Err(DrillLockError::Lasts));
    }
}
