//! I9, the other half: replicas that agree come to rest.
//!
//! A repair that never ends does not harm the stores, but costs bandwidth for ever (riak_kv #1813: two clusters sent
//! each other tombstones without end). Once no client writes any more, only heartbeats may pass.

use std::collections::BTreeSet;

use replication::VersionVector;

use super::World;
use super::links::LAST_BACKOFF;
use crate::coverage::Coverage;
use crate::index::NodeIndex;
use crate::invariant::{Broken, Invariant};

/// Heartbeats for which rest is watched.
const WATCHED: u32 = 10;
/// Frames that may pass one way meanwhile: one a heartbeat, and one more at each end of the time.
const FRAMES: u64 = WATCHED as u64 + 2;
/// How often a day may end while rest is watched.
const DAYS: u32 = 4;
/// Heartbeats until a connection that only one end still has is noticed and made anew.
const SILENCE: u32 = 14;
/// The most heartbeats of silence on acknowledgements before a replica sends again.
const PATIENCE: u32 = 32;

impl World {
    /// All regions agree. Waits long enough for the last acknowledgements; from then on no region may send entries, or
    /// more than one frame in each heartbeat.
    pub(super) fn comes_to_rest(&mut self, core: &BTreeSet<NodeIndex>) {
        // Regions outside the core may still bring entries that only they have.
        if self.nodes.iter_indexed().any(|(at, node)| node.exists && !core.contains(&at)) {
            return;
        }
        let heartbeat = self.scenario.replica.heartbeat;
        let until_heard = if self.was_lossy() { SILENCE + PATIENCE } else { SILENCE };
        let settled =
            self.calendar.now() + heartbeat * until_heard + LAST_BACKOFF + self.net.longest_crossing(core) * 6;
        self.run_until(settled);
        // When a day ends, replicas forget its origins at different times, as far apart as their clocks. One that still
        // has entries sends them once more to one that has forgotten them.
        let apart = self.scenario.replica.max_clock_skew * 2 + heartbeat * SILENCE;
        let (mut known, mut before);
        let mut days = 0;
        loop {
            if let Some(at) = self.retired_at {
                self.run_until(at + apart);
            }
            (known, before) = (self.known(core), self.meter.traffic());
            let begun = self.calendar.now();
            self.run_until(begun + heartbeat * WATCHED);
            days += 1;
            if days > DAYS || self.broken.is_some() || self.retired_at.is_none_or(|at| at + apart < begun) {
                break;
            }
        }
        if self.broken.is_some() {
            return;
        }
        self.coverage.insert(Coverage::Rest);
        // By now the last client has given up.
        // A day that ended meanwhile may have taken the last entry of an origin.
        let left = self.nodes.origins_left();
        let of_left = |known: Vec<Option<VersionVector>>| -> Vec<Option<VersionVector>> {
            let only = |known: VersionVector| known.iter().filter(|(origin, _)| left.contains(origin)).collect();
            known.into_iter().map(|known| known.map(only)).collect()
        };
        let same = of_left(self.known(core)) == of_left(known);
        self.require(Invariant::Liveness, None, same, || {
            "not at rest: replicas issue entries though no client writes".to_owned()
        });
        for path in self.meter.traffic() {
            let old = before.iter().find(|old| (old.from, old.to) == (path.from, path.to)).cloned().unwrap_or_default();
            let entries = path.payload + path.metadata - old.payload - old.metadata;
            let frames = path.frames - old.frames;
            if entries > 0 || frames > FRAMES {
                let to = &self.nodes[path.to].name;
                let what = format!(
                    "not at rest: agrees with {to} and has sent it {frames} frames in {WATCHED} heartbeats, \
                     {entries} bytes of entries in them"
                );
                self.fail_run(Broken::new(Invariant::Liveness, self.calendar.now(), Some(path.from), what));
                return;
            }
        }
    }

    /// The vector that each region of the core durably knows.
    fn known(&self, core: &BTreeSet<NodeIndex>) -> Vec<Option<VersionVector>> {
        let known =
            |node: &NodeIndex| self.nodes[*node].process.as_ref().map(|process| process.replica.durable().clone());
        core.iter().map(known).collect()
    }
}
