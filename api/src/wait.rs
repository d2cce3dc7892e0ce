//! `?wait=` and `?durability=`: how long an answer may wait, and for what.
//!
//! A node reads both strictly. The edge reads the same parameters loosely, because it only needs to know for how long a
//! node may be silent before its request is tried elsewhere.

use std::time::Duration;

use crate::duration;

/// Name of the parameter for the time that an answer may wait.
pub const WAIT: &str = "wait";

/// Name of the parameter for the number of regions in which a write must be durable.
pub const DURABILITY: &str = "durability";

/// How long a write waits for other regions if the request does not say.
pub const USUAL_FOR_DURABILITY: Duration = Duration::from_secs(5);

/// How long a node waits until it covers a client's session if the request does not say.
pub const USUAL_FOR_SESSION: Duration = Duration::from_secs(1);

/// The longest time that a node waits.
pub const LONGEST: Duration = Duration::from_secs(30);

/// Reads the value of `?wait=`: whole seconds (`5`), or a length of time (`5s`, `500ms`). `None` if it is neither.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    duration::parse(text).ok()
}

/// In how many regions a write must be durable before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// This region only.
    Local,
    /// This many regions.
    Regions(usize),
    /// All configured regions.
    All,
}

impl Durability {
    /// Reads the value of `?durability=` in a deployment of so many regions. `None` if no deployment of this size can
    /// fulfil it.
    #[must_use]
    pub fn parse(text: &str, regions: usize) -> Option<Durability> {
        match text {
            "local" | "1" => Some(Durability::Local),
            "all" => Some(Durability::All),
            _ => {
                let digits = text.bytes().all(|byte| byte.is_ascii_digit());
                let count = text.parse().ok().filter(|count| digits && (2..=regions).contains(count));
                count.map(Durability::Regions)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Durability, parse};

    #[test]
    fn a_wait_is_seconds_or_a_length_of_time() {
        for (text, millis) in [("0", Some(0)), ("5", Some(5_000)), ("5s", Some(5_000)), ("500ms", Some(500))] {
            assert_eq!(parse(text), millis.map(Duration::from_millis), "{text}");
        }
        for bad in ["", "soon", "-1", "1.5", "5 apples", "99999999999999999999"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_durability_is_a_number_of_regions_that_exist() {
        assert_eq!(Durability::parse("local", 3), Some(Durability::Local));
        assert_eq!(Durability::parse("1", 3), Some(Durability::Local));
        assert_eq!(Durability::parse("2", 3), Some(Durability::Regions(2)));
        assert_eq!(Durability::parse("all", 1), Some(Durability::All));
        for bad in ["", "0", "4", "+2", "two", "99999999999999999999"] {
            assert_eq!(Durability::parse(bad, 3), None, "{bad}");
        }
    }
}
