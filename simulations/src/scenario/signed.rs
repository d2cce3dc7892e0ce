//! A length of time with a sign, as a clock step has it: `90s`, `-12h`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use api::duration::{BadDuration, parse};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::length::Length;

/// A length of time, forward or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedDuration {
    is_back: bool,
    length: Duration,
}

impl SignedDuration {
    /// This much forward.
    #[must_use]
    pub(crate) fn forward(length: Duration) -> SignedDuration {
        SignedDuration { is_back: false, length }
    }

    /// This much back.
    #[must_use]
    pub(crate) fn back(length: Duration) -> SignedDuration {
        SignedDuration { is_back: true, length }
    }

    /// Its length, without the sign.
    pub(crate) fn length(self) -> Duration {
        self.length
    }

    /// In whole milliseconds.
    pub(crate) fn as_millis(self) -> i64 {
        let ms = i64::try_from(self.length.as_millis()).unwrap_or(i64::MAX);
        if self.is_back { -ms } else { ms }
    }
}

impl FromStr for SignedDuration {
    type Err = BadDuration;

    fn from_str(text: &str) -> Result<SignedDuration, BadDuration> {
        match text.strip_prefix('-') {
            Some(length) => Ok(SignedDuration::back(parse(length)?)),
            None => Ok(SignedDuration::forward(parse(text)?)),
        }
    }
}

impl fmt::Display for SignedDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_back { "-" } else { "" }, Length(self.length))
    }
}

impl Serialize for SignedDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SignedDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SignedDuration, D::Error> {
        let text = String::deserialize(deserializer)?;
        let expected = "a length of time such as \"90s\" or \"-90s\"";
        text.parse().map_err(|_| de::Error::invalid_value(de::Unexpected::Str(&text), &expected))
    }
}
