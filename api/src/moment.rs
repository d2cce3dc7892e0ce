//! Moments on the wire: exactly RFC 3339, read with any offset, written in UTC with milliseconds.
//!
//! The API, the command line and configuration read times here and nowhere else. `time` parses, because `jiff`, which
//! counts in zones and days everywhere else, also reads ISO 8601 and RFC 9557 (no seconds, `13Z`, `+00`, brackets), has no
//! strict mode, at most nine digits of a second and no last day of the year 9999.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{DateTime, date};
use jiff::{SignedDuration, Timestamp};
use replication::Wall;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment from 1970 through 9999, to the millisecond.
///
/// It is read from an RFC 3339 time (section 5.6, `date-time`) with any number of digits after the second; fractions of a
/// millisecond are cut off. A time without an offset is refused, because in the night in which summer time ends it may
/// name either of two hours.
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

    /// The wall time that a text states, if release 0.1 read it as a moment: `jiff` reads more than RFC 3339. It recognises
    /// requests that this release took, and nothing new is read with it.
    #[must_use]
    pub fn read_as_release_0_1(text: &str) -> Option<Wall> {
        let moment: Timestamp = text.parse().ok()?;
        u64::try_from(moment.as_millisecond()).ok().map(Wall)
    }
}

impl FromStr for Moment {
    type Err = BadMoment;

    fn from_str(text: &str) -> Result<Moment, BadMoment> {
        // The grammar has `T`; the note below it leaves other separators to the applications, and `time` takes any.
        if !text.as_bytes().get(10).is_some_and(|separator| separator.eq_ignore_ascii_case(&b'T')) {
            return Err(BadMoment);
        }
        let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| BadMoment)?;
        u64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000))
            .map(|ms| Moment(Wall(ms)))
            .map_err(|_| BadMoment)
    }
}

impl fmt::Display for Moment {
    /// Writes `2026-01-01T00:00:00.000Z`; a moment beyond the year 9999 is written as the last moment of that year.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = i64::try_from(self.0.0).ok().map(SignedDuration::from_millis);
        let utc = since.and_then(|since| date(1970, 1, 1).at(0, 0, 0, 0).checked_add(since).ok());
        write!(f, "{:.3}Z", utc.unwrap_or(DateTime::MAX))
    }
}

impl From<Wall> for Moment {
    fn from(wall: Wall) -> Moment {
        Moment(wall)
    }
}

impl From<Moment> for Timestamp {
    /// A moment of the last two days of the year 9999 or beyond becomes the last one that `jiff` can show in every zone.
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
        for bad in [
            "",
            "2020-10-25",
            "2020-10-25T02:30:00",
            "2020-13-01T00:00:00Z",
            "2021-02-29T00:00:00Z",
            "2020-10-25T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "1969-12-31T23:59:59.9999Z",
            "1970-01-01T00:00:00+00:01",
            "10000-01-01T00:00:00Z",
            "yesterday",
        ] {
            assert_eq!(parse(bad), Err(BadMoment), "{bad}");
        }
    }

    /// Times of ISO 8601 and RFC 9557 that RFC 3339 does not have. Each of them was read once.
    #[test]
    fn nothing_beyond_rfc_3339_is_read() {
        for bad in [
            "2020-10-25T13:30Z",
            "2020-10-25T13Z",
            "20201025T133000Z",
            "2020-10-25T133000Z",
            "2020-10-25T13:30:00+00",
            "2020-10-25T13:30:00+0000",
            "2020-10-25T13:30:00+00:00:00",
            "2020-10-25T13:30:00+25:00",
            "2020-10-25T13:30:00+24:00",
            "2020-10-25T13:30:00+01:60",
            "2020-10-25T13:30:00,5Z",
            "2020-10-25T13:30:00.Z",
            "+002020-10-25T13:30:00Z",
            "2020-10-25 13:30:00Z",
            "2020-10-25_13:30:00Z",
            "2020-W43-7T13:30:00Z",
            "2020-299T13:30:00Z",
            "2020-10-25T13:30:00+01:00[Europe/Berlin]",
            "2020-10-25T13:30:00Z[UTC]",
            " 2020-10-25T13:30:00Z",
            "2020-10-25T13:30:00Z ",
            "2020-10-25T13:30:00\u{2212}01:00",
            "２０２０-10-25T13:30:00Z",
        ] {
            assert_eq!(parse(bad), Err(BadMoment), "{bad}");
        }
    }

    /// The examples of RFC 3339, section 5.8, and what the grammar leaves free.
    #[test]
    fn all_of_rfc_3339_is_read() {
        let read = |text: &str| parse(text).map(|moment| moment.to_string());
        for (text, utc) in [
            ("1985-04-12T23:20:50.52Z", "1985-04-12T23:20:50.520Z"),
            ("1996-12-19T16:39:57-08:00", "1996-12-20T00:39:57.000Z"),
            ("1990-12-31T23:59:60Z", "1990-12-31T23:59:59.999Z"),
            ("1990-12-31T15:59:60-08:00", "1990-12-31T23:59:59.999Z"),
            ("1985-04-12t23:20:50z", "1985-04-12T23:20:50.000Z"),
            ("1985-04-12T23:20:50-00:00", "1985-04-12T23:20:50.000Z"),
            ("1985-04-12T23:20:50.0019999999999999999999999999999999Z", "1985-04-12T23:20:50.001Z"),
            ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
            ("9999-12-31T23:59:59+23:59", "9999-12-31T00:00:59.000Z"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(utc), "{text}");
        }
    }

    #[test]
    fn writes_milliseconds_always() {
        assert_eq!(Moment(Wall(1_767_225_600_000)).to_string(), "2026-01-01T00:00:00.000Z");
        assert_eq!(Moment(Wall(1_767_225_600_007)).to_string(), "2026-01-01T00:00:00.007Z");
        assert_eq!(Moment(Wall::NEVER).to_string(), "9999-12-31T23:59:59.999Z");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(ms in 0u64..=253_402_300_799_999) {
            prop_assert_eq!(parse(&Moment(Wall(ms)).to_string()), Ok(Moment(Wall(ms))));
        }
    }
}
