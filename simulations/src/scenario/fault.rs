//! `[[fault]]`: something that goes wrong at a set time.
//!
//! [`Fault`] takes `at` and `for` out of its table and gives the rest to [`Act`], so that a key which the kind does not
//! have is refused.

use std::ops::RangeInclusive;
use std::time::Duration;

use api::duration::Text;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::act::{Act, FaultKind, Links, Wrong, length};
use super::length::Length;
use super::{Scenario, ScenarioError};
use crate::index::NodeIndex;

/// Lengths of a fault. A shorter one would have no effect.
const LASTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24 * 400);

/// One fault as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// When it begins.
    pub at: Duration,
    /// How long it lasts: `for`.
    pub lasts: Option<Duration>,
    /// What it does, by its `kind`.
    pub act: Act,
}

/// A fault with machines as indices, and every value within its range.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) at: Duration,
    /// Zero if it does not end by itself.
    pub(crate) lasts: Duration,
    pub(crate) act: Act<NodeIndex>,
    /// The directed links that it cuts or makes worse.
    pub(crate) links: Links,
}

impl Fault {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        self.act.kind()
    }

    /// In a few words, for people.
    #[must_use]
    pub fn label(&self) -> String {
        self.act.label()
    }

    /// When it ends: at once, if it does not last.
    pub(crate) fn ends_at(&self) -> Duration {
        self.at + self.lasts.unwrap_or_default()
    }

    /// Puts indices in place of names. Refuses faults without effect, impossible ones, and those that begin when the
    /// phase of faults is over.
    pub(super) fn resolve(&self, scenario: &Scenario) -> Result<Resolved, ScenarioError> {
        self.check_and_resolve(scenario).map_err(|wrong| match wrong {
            Wrong::Value(wrong) => ScenarioError::Fault { kind: self.kind(), at: self.at, wrong },
            Wrong::Name(error) => error,
        })
    }

    fn check_and_resolve(&self, scenario: &Scenario) -> Result<Resolved, Wrong> {
        if self.at >= scenario.duration {
            let end = Length(scenario.duration);
            return Err(Wrong::Value(format!("`duration` ends at {end}: faults begin before everything heals").into()));
        }
        match (self.lasts, self.kind().has_length()) {
            (Some(_), false) => return Err(Wrong::Value("takes no `for`".into())),
            (None, true) => return Err(Wrong::Value("needs `for`, such as \"30s\": how long it goes on".into())),
            (Some(lasts), true) => length("for", lasts, LASTS)?,
            (None, false) => {}
        }
        let act = self.act.resolve(scenario)?;
        let links = act.links(&scenario.regions)?;
        Ok(Resolved { at: self.at, lasts: self.lasts.unwrap_or_default(), act, links })
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let act = toml::Value::try_from(&self.act).map_err(ser::Error::custom)?;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("at", &Text(self.at))?;
        for (kind, keys) in act.as_table().into_iter().flatten() {
            map.serialize_entry("kind", kind)?;
            if let Some(lasts) = self.lasts {
                map.serialize_entry("for", &Text(lasts))?;
            }
            for (key, value) in keys.as_table().into_iter().flatten() {
                map.serialize_entry(key, value)?;
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fault, D::Error> {
        let mut keys = toml::Table::deserialize(deserializer)?;
        let at = keys.remove("at").ok_or_else(|| de::Error::missing_field("at"))?;
        let kind = keys.remove("kind").ok_or_else(|| de::Error::missing_field("kind"))?;
        let kind = kind.as_str().ok_or_else(|| de::Error::custom("`kind` must be a text"))?.to_owned();
        let time = |value: toml::Value| value.try_into::<Text>().map(|Text(length)| length);
        let wrong = |key: &str, error: toml::de::Error| {
            let error = error.to_string();
            de::Error::custom(format!("fault `{kind}`{key}: {}", error.trim_end().replace('\n', " ")))
        };
        let at = time(at).map_err(|error| wrong(" (`at`)", error))?;
        let lasts = keys.remove("for").map(time).transpose().map_err(|error| wrong(" (`for`)", error))?;
        // With its kind as the only key, so that an error names the key that is wrong.
        let act = toml::Table::from_iter([(kind.clone(), toml::Value::Table(keys))]);
        let act = act.try_into().map_err(|error| wrong(&format!(" at {}", Length(at)), error))?;
        Ok(Fault { at, lasts, act })
    }
}
