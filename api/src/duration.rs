//! Lengths of time as people write them: `14d`, `36h`, `1h 30m`, `20s`, `500ms`.
//!
//! The same grammar is used in policy packs, on the command line, in scenarios and on the wire; `humantime` counts,
//! and this module says which of its units are read. A day is always 24 hours, because expiry is counted in UTC. Configuration files have numbers whose
//! names end with the unit (`heartbeat_ms`).

use std::borrow::Cow;
use std::time::Duration;

use serde::de::Unexpected;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Units that [`show`] writes, with their milliseconds, the longest first.
const UNITS: [(&str, u128); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The form of a length of time, for error messages.
pub(crate) const FORM: &str = "a number and a unit, such as 14d, 36h, 90m, 20s, 500ms";

/// A text that is not a length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be {FORM}")]
pub struct BadDuration;

/// Units that [`parse`] reads. humantime has months and years besides, of 30.44 and 365.25 days; the sign of a month
/// differs from that of a minute by one key.
const READ: [&str; 24] = [
    "ns", "us", "ms", "s", "sec", "secs", "second", "seconds", "m", "min", "mins", "minute", "minutes", "h", "hr",
    "hrs", "hour", "hours", "d", "day", "days", "w", "week", "weeks",
];

/// Reads a length of time: whole numbers, each with its unit, the groups separated by spaces.
///
/// # Errors
/// [`BadDuration`], also if the length is too long to count.
pub fn parse(text: &str) -> Result<Duration, BadDuration> {
    let is_group = |group: &str| {
        let unit = group.trim_start_matches(|c: char| c.is_ascii_digit());
        unit.len() < group.len() && READ.contains(&unit)
    };
    if text.split(' ').all(is_group) {
        humantime::parse_duration(text).map_err(|_| BadDuration)
    } else {
        Err(BadDuration)
    }
}

/// Writes a length of time exactly, in as many groups as that takes: `1d 12h`, `90s` is `1m 30s`.
#[must_use]
pub fn show_exactly(length: Duration) -> String {
    let units: [(&str, u128); 7] = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];
    let mut rest = length.as_nanos();
    let mut groups = Vec::new();
    for (unit, nanos) in units {
        if rest >= nanos {
            groups.push(format!("{}{unit}", rest / nanos));
            rest %= nanos;
        }
    }
    if groups.is_empty() { "0s".to_owned() } else { groups.join(" ") }
}

/// A length of time that is text where it is serialised, for lists and values of maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(#[serde(with = "self")] pub Duration);

/// For `#[serde(with = "api::duration")]`: writes exactly.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(length: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&show_exactly(*length))
}

/// For `#[serde(with = "api::duration")]`: reads what [`parse`] reads.
///
/// # Errors
/// Those of the deserializer, and [`BadDuration`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    let expected = format!("a length of time: {FORM}");
    parse(&text).map_err(|_| serde::de::Error::invalid_value(Unexpected::Str(&text), &expected.as_str()))
}

/// Writes a length of time in the largest unit (up to days) that divides it; parts of a millisecond are cut off.
#[must_use]
pub fn show(length: Duration) -> String {
    let total = length.as_millis();
    let unit = UNITS.iter().find(|(_, millis)| total.is_multiple_of(*millis) && total > 0);
    let (name, millis) = unit.copied().unwrap_or(("s", 1_000));
    format!("{}{name}", total / millis)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{any, proptest};
    use proptest::prop_assert_eq;

    use super::{BadDuration, parse, show, show_exactly};

    #[test]
    fn reads_numbers_with_units() {
        assert_eq!(parse("14d"), Ok(Duration::from_hours(14 * 24)));
        assert_eq!(parse("2w"), parse("14d"));
        assert_eq!(parse("36h"), Ok(Duration::from_hours(36)));
        assert_eq!(parse("1h 30m"), Ok(Duration::from_mins(90)));
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
        for bad in [
            "",
            "d",
            "14",
            "0",
            "-1d",
            "+1d",
            "14D",
            "1.5d",
            "1 4d",
            "1M",
            "1y",
            "14 d",
            "1h  30m",
            " 1d",
            "١d",
            "1é",
            "99999999999999999999d",
        ] {
            assert_eq!(parse(bad), Err(BadDuration), "{bad}");
        }
    }

    #[test]
    fn writes_the_largest_unit_that_divides() {
        assert_eq!(show(Duration::from_hours(14 * 24)), "14d");
        assert_eq!(show(Duration::from_hours(36)), "36h");
        assert_eq!(show(Duration::from_mins(90)), "90m");
        assert_eq!(show(Duration::from_millis(20_700)), "20700ms");
        assert_eq!(show(Duration::ZERO), "0s");
        assert_eq!(show_exactly(Duration::from_hours(36)), "1d 12h");
        assert_eq!(show_exactly(Duration::from_micros(61_000_500)), "1m 1s 500us");
        assert_eq!(show_exactly(Duration::ZERO), "0s");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(millis in any::<u32>()) {
            let length = Duration::from_millis(u64::from(millis));
            prop_assert_eq!(parse(&show(length)), Ok(length));
        }

        #[test]
        fn what_is_written_exactly_reads_back(seconds in any::<u32>(), nanos in 0..1_000_000_000_u32) {
            let length = Duration::new(u64::from(seconds), nanos);
            prop_assert_eq!(parse(&show_exactly(length)), Ok(length));
        }
    }
}
