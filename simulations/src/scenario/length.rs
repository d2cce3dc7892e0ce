//! How a scenario writes a length of time.

use std::fmt::{self, Debug};
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

/// A length of time, as scenarios write it.
#[derive(PartialEq, PartialOrd)]
pub(super) struct Length(pub(super) Duration);

impl Debug for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0.as_secs() / DAY.as_secs();
        // Days are written as days, because a month may have 30 or 31.
        if days > 0 && self.0 == DAY * u32::try_from(days).unwrap_or(0) {
            return write!(f, "{days}{}", if days == 1 { "day" } else { "days" });
        }
        fmt::Display::fmt(&api::duration::show_exactly(self.0), f)
    }
}
