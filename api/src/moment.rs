//! Moments on the wire: RFC 3339, read with any offset, written in UTC with milliseconds.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use replication::Wall;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment from 1970 on, to the millisecond.
///
/// It is read from an RFC 3339 time with an offset; fractions of a millisecond are cut off. A time without an offset is
/// refused, because in the night in which summer time ends it may name either of two hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub Wall);

/// A text that is not a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an RFC 3339 time with an offset, from 1970 on, such as 2026-01-01T18:30:00Z")]
pub struct BadMoment;

impl Moment {
    /// The wall time that a text states, if it is a moment.
    #[must_use]
    pub fn read(text: &str) -> Option<Wall> {
        text.parse().ok().map(|Moment(wall)| wall)
    }
}

impl FromStr for Moment {
    type Err = BadMoment;

    fn from_str(text: &str) -> Result<Moment, BadMoment> {
        let moment: Timestamp = text.parse().map_err(|_| BadMoment)?;
        u64::try_from(moment.as_millisecond()).map(|ms| Moment(Wall(ms))).map_err(|_| BadMoment)
    }
}

impl fmt::Display for Moment {
    /// Writes `2026-01-01T00:00:00.000Z`; a moment beyond the year 9999 is written as the last moment of that year.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", Timestamp::from(*self))
    }
}

impl From<Wall> for Moment {
    fn from(wall: Wall) -> Moment {
        Moment(wall)
    }
}

impl From<Moment> for Timestamp {
    /// A moment beyond the year 9999 becomes the last moment of that year.
    fn from(moment: Moment) -> Timestamp {
        let stamp = i64::try_from(moment.0.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        stamp.unwrap_or(Timestamp::MAX)
    }
}

impl From<Timestamp> for Moment {
    /// A time before 1970 becomes 1970-01-01T00:00:00Z.
    fn from(stamp: Timestamp) -> Moment {
        Moment(Wall(u64::try_from(stamp.as_millisecond()).unwrap_or_default()))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;
    use proptest::prop_assert_eq;
    use replication::Wall;

    use super::{BadMoment, Moment};

    fn parse(text: &str) -> Result<Moment, BadMoment> {
        text.parse()
    }

    #[test]
    fn offsets_name_one_moment() {
        let utc = parse("2020-10-25T00:30:00Z");
        assert_eq!(utc, Ok(Moment(Wall(1_603_585_800_000))));
        assert_eq!(parse("2020-10-25T02:30:00+02:00"), utc);
        // The second 02:30 of the night in which summer time ends.
        assert_eq!(parse("2020-10-25T02:30:00+01:00"), Ok(Moment(Wall(1_603_589_400_000))));
        assert_eq!(parse("1970-01-01T00:00:00.0019999Z"), Ok(Moment(Wall(1))));
    }

    #[test]
    fn a_text_that_is_not_a_moment_is_refused() {
        for bad in
            ["", "2020-10-25", "2020-10-25T02:30:00", "2020-13-01T00:00:00Z", "1969-12-31T23:59:59Z", "yesterday"]
        {
            assert_eq!(parse(bad), Err(BadMoment), "{bad}");
        }
    }

    #[test]
    fn writes_milliseconds_always() {
        assert_eq!(Moment(Wall(1_767_225_600_000)).to_string(), "2026-01-01T00:00:00.000Z");
        assert_eq!(Moment(Wall(1_767_225_600_007)).to_string(), "2026-01-01T00:00:00.007Z");
        assert!(Moment(Wall::NEVER).to_string().starts_with("9999-12-30T"));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(ms in 0u64..250_000_000_000_000) {
            prop_assert_eq!(parse(&Moment(Wall(ms)).to_string()), Ok(Moment(Wall(ms))));
        }
    }
}
