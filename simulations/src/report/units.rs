//! Numbers as people read them: three significant digits and a unit. Never used for data files.

/// Keeps a number and its unit on one line.
const NARROW: char = '\u{202f}';

/// The sign for a missing value.
pub(super) const NONE: &str = "–";

/// Three significant digits, without an exponent and without trailing zeros.
pub(super) fn digits(value: f64) -> String {
    if !value.is_finite() {
        return NONE.into();
    }
    let size = value.abs();
    if size >= 1000.0 {
        return count(value.round().abs() as u64);
    }
    let decimals = match size {
        s if s >= 100.0 => 0,
        s if s >= 10.0 => 1,
        s if s >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

/// A whole number in groups of three digits.
pub(super) fn count(value: u64) -> String {
    let plain = value.to_string();
    if plain.len() < 5 {
        return plain;
    }
    let mut out = String::with_capacity(plain.len() + plain.len() / 3);
    for (at, digit) in plain.chars().enumerate() {
        if at > 0 && (plain.len() - at).is_multiple_of(3) {
            out.push(NARROW);
        }
        out.push(digit);
    }
    out
}

/// A whole number on an axis: `2k`, `1.5M`.
pub(super) fn short_count(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{}G", digits(v / 1e9)),
        v if v >= 1e6 => format!("{}M", digits(v / 1e6)),
        v if v >= 1e4 => format!("{}k", digits(v / 1e3)),
        v => digits(v),
    }
}

/// Seconds in the unit that suits them.
pub(super) fn seconds(value: f64) -> String {
    let (value, unit) = match value {
        0.0 => (0.0, "s"),
        v if v < 1.0 => (v * 1000.0, "ms"),
        v if v < 120.0 => (v, "s"),
        v if v < 7200.0 => (v / 60.0, "min"),
        v if v < 172_800.0 => (v / 3600.0, "h"),
        v => (v / 86_400.0, "d"),
    };
    format!("{}{NARROW}{unit}", digits(value))
}

/// Milliseconds in the unit that suits them.
pub(super) fn millis(value: f64) -> String {
    if value < 1000.0 { format!("{}{NARROW}ms", digits(value)) } else { seconds(value / 1000.0) }
}

/// Bytes, by powers of a thousand.
pub(super) fn bytes(value: f64) -> String {
    let (value, unit) = match value {
        v if v >= 1e9 => (v / 1e9, "GB"),
        v if v >= 1e6 => (v / 1e6, "MB"),
        v if v >= 1e3 => (v / 1e3, "kB"),
        v => (v, "B"),
    };
    format!("{}{NARROW}{unit}", digits(value))
}

/// A share of one in per cent. It says 100 % only for everything and 0 % only for nothing.
pub(super) fn percent(share: f64) -> String {
    if !share.is_finite() {
        return NONE.into();
    }
    let share = share.clamp(0.0, 1.0);
    let near = if share >= 0.5 { 1.0 - share } else { share };
    let text = match near {
        0.0 => format!("{}", share * 100.0),
        n if n < 0.000_01 => if share >= 0.5 { ">99.999" } else { "<0.001" }.into(),
        n if n < 0.001 => format!("{:.3}", share * 100.0),
        n if n < 0.01 => format!("{:.2}", share * 100.0),
        _ => format!("{:.1}", share * 100.0),
    };
    format!("{text}{NARROW}%")
}

/// A value, or the sign for a missing one.
pub(super) fn or_none(value: Option<f64>, unit: fn(f64) -> String) -> String {
    value.map_or_else(|| NONE.into(), unit)
}

#[cfg(test)]
mod tests {
    use super::{bytes, count, digits, percent, seconds};

    #[test]
    fn people_read_these() {
        assert_eq!(digits(0.25), "0.25");
        assert_eq!(digits(12.04), "12");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(seconds(0.0421), "42.1\u{202f}ms");
        assert_eq!(seconds(600.0), "10\u{202f}min");
        assert_eq!(bytes(1_530.0), "1.53\u{202f}kB");
        assert_eq!(percent(0.999_95), "99.995\u{202f}%");
        assert_eq!(percent(1.0), "100\u{202f}%");
        assert_eq!(percent(0.999_999_9), ">99.999\u{202f}%");
    }
}
