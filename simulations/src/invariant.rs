//! The invariants I1 to I11, and how one of them broke. The checks are in `world/check/`.

use std::fmt;
use std::time::Duration;

use crate::index::NodeIndex;
use serde::{Deserialize, Serialize};

/// What must always hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Invariant {
    /// I1: an acknowledged write survives, and reaches every region.
    #[serde(rename = "I1")]
    Durability,
    /// I2: equal vectors and horizons mean equal live documents.
    #[serde(rename = "I2")]
    Convergence,
    /// I3: a document that is dead in a replica is never alive there again.
    #[serde(rename = "I3")]
    Resurrection,
    /// I4: no readable byte of an erased document is left.
    #[serde(rename = "I4")]
    Erasure,
    /// I5: a day's data are gone when the day has passed.
    #[serde(rename = "I5")]
    Forgetting,
    /// I6: no clock error of one region harms another.
    #[serde(rename = "I6")]
    Clocks,
    /// I7: read your writes, monotonic reads, lists that are as complete as they say.
    #[serde(rename = "I7")]
    Session,
    /// I8: a repeated request has the effect of one.
    #[serde(rename = "I8")]
    Idempotence,
    /// I9: after faults end convergence takes bounded time, and a failed region loses its clients.
    #[serde(rename = "I9")]
    Liveness,
    /// I10: no request reads another venue's data, no stranger adds any.
    #[serde(rename = "I10")]
    Isolation,
    /// I11: no two entries share a dot.
    #[serde(rename = "I11")]
    NoFork,
}

impl Invariant {
    /// `I1` to `I11`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Invariant::Durability => "I1",
            Invariant::Convergence => "I2",
            Invariant::Resurrection => "I3",
            Invariant::Erasure => "I4",
            Invariant::Forgetting => "I5",
            Invariant::Clocks => "I6",
            Invariant::Session => "I7",
            Invariant::Idempotence => "I8",
            Invariant::Liveness => "I9",
            Invariant::Isolation => "I10",
            Invariant::NoFork => "I11",
        }
    }

    /// In a few words.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Invariant::Durability => "durability",
            Invariant::Convergence => "convergence",
            Invariant::Resurrection => "no resurrection",
            Invariant::Erasure => "erasure completeness",
            Invariant::Forgetting => "bounded forgetting",
            Invariant::Clocks => "clock safety",
            Invariant::Session => "session guarantees",
            Invariant::Idempotence => "idempotence",
            Invariant::Liveness => "liveness",
            Invariant::Isolation => "isolation",
            Invariant::NoFork => "no fork",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.title())
    }
}

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Broken {
    /// The invariant.
    pub invariant: Invariant,
    /// When, in awake time since the start.
    #[serde(with = "api::duration")]
    pub at: Duration,
    /// The region, if it broke in one.
    pub region: Option<NodeIndex>,
    /// What the check found.
    pub what: String,
}

impl Broken {
    pub(crate) fn new(invariant: Invariant, at: Duration, region: Option<NodeIndex>, what: String) -> Broken {
        Broken { invariant, at, region, what }
    }
}
