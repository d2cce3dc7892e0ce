//! Moments on the wire: RFC 3339, read with any offset, written in UTC with milliseconds.

use jiff::Timestamp;
use replication::Wall;

/// Reads an RFC 3339 time with an offset and cuts off fractions of a millisecond. `None` before 1970 or if the text is
/// not such a time. A time without an offset is refused, because in the night in which summer time ends it may name
/// either of two hours.
#[must_use]
pub fn parse(text: &str) -> Option<Wall> {
    let moment: Timestamp = text.parse().ok()?;
    u64::try_from(moment.as_millisecond()).ok().map(Wall)
}

/// Writes `2026-01-01T00:00:00.000Z`; a moment beyond the year 9999 is written as the last moment of that year.
#[must_use]
pub fn show(moment: Wall) -> String {
    let stamp = i64::try_from(moment.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", stamp.unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;
    use proptest::prop_assert_eq;
    use replication::Wall;

    use super::{parse, show};

    #[test]
    fn offsets_name_one_moment() {
        let utc = parse("2020-10-25T00:30:00Z");
        assert_eq!(utc, Some(Wall(1_603_585_800_000)));
        assert_eq!(parse("2020-10-25T02:30:00+02:00"), utc);
        // The second 02:30 of the night in which summer time ends.
        assert_eq!(parse("2020-10-25T02:30:00+01:00"), Some(Wall(1_603_589_400_000)));
        assert_eq!(parse("1970-01-01T00:00:00.0019999Z"), Some(Wall(1)));
    }

    #[test]
    fn a_text_that_is_not_a_moment_is_refused() {
        for bad in
            ["", "2020-10-25", "2020-10-25T02:30:00", "2020-13-01T00:00:00Z", "1969-12-31T23:59:59Z", "yesterday"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn writes_milliseconds_always() {
        assert_eq!(show(Wall(1_767_225_600_000)), "2026-01-01T00:00:00.000Z");
        assert_eq!(show(Wall(1_767_225_600_007)), "2026-01-01T00:00:00.007Z");
        assert!(show(Wall::NEVER).starts_with("9999-12-30T"));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(ms in 0u64..250_000_000_000_000) {
            prop_assert_eq!(parse(&show(Wall(ms))), Some(Wall(ms)));
        }
    }
}
