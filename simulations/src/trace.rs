//! The trace of a run: a running hash over everything that happened, in order.
//!
//! Two runs with the same scenario and seed must end with the same hash, in every process, build and thread.

use std::fmt;
use std::hash::Hasher as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// The hash of a whole run, written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TraceHash(pub u128);

impl fmt::Display for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for TraceHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(TraceHash).map_err(serde::de::Error::custom)
    }
}

/// The running hash.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hasher: SipHasher13,
    events: u64,
}

impl Trace {
    /// Something of kind `tag` happened at `at`; `bytes` say what exactly.
    pub(crate) fn note(&mut self, at: Duration, tag: u8, place: usize, bytes: &[u8]) {
        // Widths are fixed, so that the hash is the same on every machine.
        self.hasher.write_u64(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX));
        self.hasher.write_u8(tag);
        self.hasher.write_u64(place as u64);
        self.hasher.write_u64(bytes.len() as u64);
        self.hasher.write(bytes);
        self.events += 1;
    }

    /// How many events there were.
    #[must_use]
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// The hash so far.
    #[must_use]
    pub(crate) fn hash(&self) -> TraceHash {
        TraceHash(self.hasher.finish128().as_u128())
    }
}
