//! Lengths of time as people write them: a whole number and one unit, such as `14d`, `36h`, `90m`, `20s`.
//!
//! The same grammar is used in configuration, in policy packs and on the wire: one or more ASCII digits, then one of
//! `s` (second), `m` (60 s), `h` (60 m), `d` (24 h), `w` (7 d). No sign, fraction, space or second group, so that there
//! is one way to write a retention. A day is always 24 hours, because expiry is counted in UTC.

use std::time::Duration;

/// Units with their seconds, the longest first. Weeks are read but not written: `14d` is the usual word.
const UNITS: [(char, u64); 5] = [('w', 604_800), ('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Reads a length of time; `None` if it does not follow the grammar or is too long to count in seconds.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let digits = &text[..text.len() - unit.len_utf8()];
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(*seconds).map(Duration::from_secs)
}

/// Writes a length of time in the largest unit (up to days) that divides it; parts of a second are cut off.
#[must_use]
pub fn show(length: Duration) -> String {
    let total = length.as_secs();
    let unit = UNITS[1..].iter().find(|(_, seconds)| total.is_multiple_of(*seconds) && total > 0);
    let (name, seconds) = unit.copied().unwrap_or(('s', 1));
    format!("{}{name}", total / seconds)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{any, proptest};
    use proptest::prop_assert_eq;

    use super::{parse, show};

    #[test]
    fn reads_the_grammar_and_nothing_else() {
        assert_eq!(parse("14d"), Some(Duration::from_secs(14 * 86_400)));
        assert_eq!(parse("2w"), parse("14d"));
        assert_eq!(parse("36h"), Some(Duration::from_secs(36 * 3_600)));
        assert_eq!(parse("0s"), Some(Duration::ZERO));
        for bad in
            ["", "d", "14", "14 d", "-1d", "+1d", "1.5h", "1d12h", "14D", "14days", "١d", "1é", "99999999999999999999d"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn writes_the_largest_unit_that_divides() {
        assert_eq!(show(Duration::from_secs(14 * 86_400)), "14d");
        assert_eq!(show(Duration::from_secs(36 * 3_600)), "36h");
        assert_eq!(show(Duration::from_secs(90 * 60)), "90m");
        assert_eq!(show(Duration::from_millis(20_700)), "20s");
        assert_eq!(show(Duration::ZERO), "0s");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(seconds in any::<u32>()) {
            let length = Duration::from_secs(u64::from(seconds));
            prop_assert_eq!(parse(&show(length)), Some(length));
        }
    }
}
