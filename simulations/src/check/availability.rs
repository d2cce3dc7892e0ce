//! I9, for writes: a region that no fault has touched takes writes, whatever happens to other regions and the network.

use replication::{Frame, VersionVector, WriteError};

use super::Invariant;
use crate::scenario::FaultKind;
use crate::world::World;

impl World {
    /// A region refused a write, for now or because the visit is gone: checks that it had a reason.
    pub(crate) fn may_refuse(&mut self, at: usize, visit: u32, error: &WriteError) {
        if self.is_troubled(at) {
            return;
        }
        let gone = matches!(error, WriteError::Gone);
        self.must(Invariant::Liveness, Some(at), gone, || {
            format!("takes no writes ({error}) although nothing is wrong with it")
        });
        let Some(truth) = self.model.visits.get(&visit) else { return };
        let skew = self.scenario.replica.max_clock_skew;
        let over = truth.key.expires_at <= self.true_wall().plus(skew);
        let excused = !gone || over || truth.erase_asked;
        self.must(Invariant::Clocks, Some(at), excused, || {
            format!("takes visit {visit} for gone, which is neither erased nor over")
        });
    }

    /// Checks at every heartbeat, with or without a request, that a region which no fault has touched is fit to serve.
    /// It may be starting for as long as its peers may take to answer, and filling for as long as entries come.
    pub(crate) fn is_fit_or_troubled(&mut self, at: usize) {
        // After the nights in which everything is forgotten, frames arrive that were sent before them and carry their
        // time.
        if !self.open {
            return;
        }
        let now = self.now_of(at);
        let heartbeat = self.scenario.replica.heartbeat;
        let Some(process) = &self.nodes[at].process else { return };
        let status = process.replica.status(now);
        let age = now.mono.0;
        let why = if let Some(doubt) = status.doubt {
            Some(format!("doubts its clock ({doubt:?})"))
        } else if status.dropped_too_early && !status.peers.is_empty() {
            Some("has forgotten what is not over".to_owned())
        } else if status.starting && age > heartbeat * 8 {
            Some("still waits for its peers' word on its log".to_owned())
        } else if status.recovering {
            Some("fetches its own log back".to_owned())
        } else {
            (status.filling && age > heartbeat * 160).then(|| "still fills its store".to_owned())
        };
        let Some(why) = why else { return };
        if !self.is_troubled(at) {
            self.must(Invariant::Liveness, Some(at), false, || {
                format!("is not ready, although nothing is wrong with it: it {why}")
            });
        }
    }

    /// A peer greets a region that began empty: notes what the peer has, because the region must have it before it is
    /// ready.
    pub(crate) fn note_greeting(&mut self, at: usize, from: usize, bytes: &[u8]) {
        if let Some(filling) = &mut self.nodes[at].filling
            && let Ok(Frame::Hello(hello)) = Frame::decode(bytes)
        {
            filling.entry(from).or_insert(hello.vector);
        }
    }

    /// A region has filled its store, or is ready. If it began empty, it must have what the peers had that are still
    /// linked, unless no entry has come for so long that it waits no longer.
    pub(crate) fn was_filled(&mut self, at: usize) {
        let Some(filling) = self.nodes[at].filling.take() else { return };
        let Some(process) = &self.nodes[at].process else { return };
        let gave_up = self.now_of(at).mono.0 > self.scenario.replica.heartbeat * 120;
        let left = self.origins_left();
        let (own, known) = (process.replica.id(), process.replica.durable().clone());
        let lacks = |had: &VersionVector| {
            had.iter().any(|(origin, seq)| origin != own && left.contains(&origin) && known.get(origin) < seq)
        };
        // By the replica's own status, because it does not wait for a peer that has dialled again and not greeted
        // again.
        let status = process.replica.status(self.now_of(at));
        let is_linked =
            |at: usize| status.peers.iter().any(|peer| peer.node == self.nodes[at].name && peer.replica.is_some());
        let short = filling.iter().find(|(peer, had)| is_linked(**peer) && lacks(had)).map(|(peer, _)| *peer);
        let peer = short.and_then(|peer| self.scenario.regions.get(peer)).cloned().unwrap_or_default();
        self.must(Invariant::Liveness, Some(at), gave_up || short.is_none(), || {
            format!("began empty and is ready, and lacks what {peer} had when it greeted")
        });
    }

    /// Whether a fault has touched the region itself so far, and not only its links or other regions.
    fn is_troubled(&self, at: usize) -> bool {
        let name = &self.scenario.regions[at];
        let so_far = self.scenario.faults.iter().filter(|fault| fault.at <= self.now());
        so_far.into_iter().any(|fault| match fault.kind {
            FaultKind::Partition | FaultKind::Bridge => false,
            // A frame that takes longer than the skew makes its sender's clock look wrong.
            FaultKind::Degrade => true,
            // Every region is restarted with another configuration, or suspended.
            FaultKind::Add | FaultKind::Remove | FaultKind::Rejoin | FaultKind::Night => true,
            FaultKind::Crash
            | FaultKind::Kill
            | FaultKind::HungDisk
            | FaultKind::LoseBucket
            | FaultKind::OldBucket
            | FaultKind::Flip
            | FaultKind::Restarts
            | FaultKind::Restart
            | FaultKind::Pause
            | FaultKind::SlowNode
            | FaultKind::SlowDisk
            | FaultKind::FullDisk
            | FaultKind::ReadErrors
            | FaultKind::LyingDisk
            | FaultKind::Restore
            | FaultKind::ClockStep
            | FaultKind::ClockDrift
            | FaultKind::BelieveClock => fault.region.as_ref() == Some(name),
        })
    }
}
