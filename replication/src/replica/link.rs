//! One link's side of the conversation: greeting, frames in, what the peer knows.
//!
//! # Invariants
//! - What we believe a peer knows only grows within one incarnation of it.
//! - The vector never advances past a gap: a frame that starts beyond what we know is not applied.
//! - An entry that breaks the rules is counted and left out; it never stops the entries after it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Event, Replica, Standing};
use crate::frame::{Deltas, Frame, FrameError, Hello, Progress};
use crate::ids::{LinkId, NodeName, ReplicaId};
use crate::key::Bucket;
use crate::log::{Body, Delta, LogEntry, Reference};
use crate::row::Bounds;
use crate::storage::{Storage, StorageError};
use crate::time::{Monotonic, Now, millis};
use crate::version::VersionVector;

/// Why a link must be closed (or, for `Storage`, why the replica must stop).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The link is not open.
    #[error("no such link")]
    Unknown,
    /// The peer sent bytes that are no frame of any version we speak.
    #[error("undecodable frame from {peer}")]
    BadFrame {
        /// Who sent it.
        peer: NodeName,
        /// What is wrong with it.
        #[source]
        source: Box<FrameError>,
    },
    /// The peer says it is another node, or of another region, than its certificate and our configuration say.
    #[error("{peer} calls itself {says}")]
    WrongName {
        /// Who the certificate says it is.
        peer: NodeName,
        /// Who it says it is.
        says: String,
    },
    /// The peer has our own id: one of the two is a copy of the other's store.
    #[error("{peer} runs on a copy of this store")]
    Copy {
        /// The copy, or the original.
        peer: NodeName,
    },
    /// Forgetting is safe only if the longest retention is the same everywhere.
    #[error("{peer} keeps documents for up to {theirs} ms, we for {ours} ms")]
    Retention {
        /// Who differs.
        peer: NodeName,
        /// Its `max_retention`.
        theirs: u64,
        /// Ours.
        ours: u64,
    },
    /// The engine failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The longest silence on acknowledgements before everything is sent again, in heartbeats: convergence after a lossy
/// time is bounded by it.
const MOST_PATIENCE: u32 = 32;

/// What is known of the peer at the other end.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: NodeName,
    /// The incarnation that greeted us.
    pub(super) replica: Option<ReplicaId>,
    /// What the peer durably knows.
    pub(super) acked: VersionVector,
    /// How far each log was sent on this link.
    pub(super) sent: BTreeMap<ReplicaId, u64>,
    /// Sent and not acknowledged: origin, through, bytes.
    pub(super) in_flight: VecDeque<(ReplicaId, u64, usize)>,
    pub(super) bytes_in_flight: usize,
    /// When something was last acknowledged, or nothing was outstanding.
    pub(super) advanced: Monotonic,
    /// Silence on acknowledgements before everything is sent again, in heartbeats; doubles up to [`MOST_PATIENCE`].
    pub(super) patience: u32,
    /// Origins with which the peer has a link of its own.
    pub(super) direct: BTreeSet<ReplicaId>,
    pub(super) late: BTreeMap<ReplicaId, (u64, Monotonic)>,
    pub(super) heard: Monotonic,
    pub(super) rewound: Monotonic,
    pub(super) missing: BTreeSet<ReplicaId>,
    pub(super) hello_due: bool,
    /// The peer has our greeting: it has sent something that it sends to nobody whom it does not know.
    pub(super) greeted: bool,
    pub(super) progress_due: bool,
    /// Entries of this peer are on their way to the disk.
    pub(super) owes_progress: bool,
}

impl<S: Storage> Replica<S> {
    /// A connection is up and the driver has proof that `peer` is at its other end.
    ///
    /// # Errors
    /// [`LinkError::WrongName`] if no such peer is configured.
    pub fn handle_link_up(&mut self, now: Now, id: LinkId, peer: NodeName) -> Result<(), LinkError> {
        self.observe(now);
        if !self.config.peers.contains_key(&peer) {
            return Err(LinkError::WrongName { says: peer.to_string(), peer });
        }
        let link = Link {
            peer,
            replica: None,
            acked: VersionVector::default(),
            sent: BTreeMap::new(),
            in_flight: VecDeque::new(),
            bytes_in_flight: 0,
            advanced: now.mono,
            patience: 4,
            direct: BTreeSet::new(),
            late: BTreeMap::new(),
            heard: now.mono,
            rewound: now.mono,
            missing: BTreeSet::new(),
            hello_due: true,
            greeted: false,
            progress_due: false,
            owes_progress: false,
        };
        self.links.insert(id, link);
        Ok(())
    }

    /// A connection is gone.
    pub fn handle_link_down(&mut self, now: Now, id: LinkId) {
        self.observe(now);
        self.drop_link(id);
    }

    fn drop_link(&mut self, id: LinkId) {
        if let Some(gone) = self.links.remove(&id)
            && !self.links.values().any(|link| link.peer == gone.peer)
        {
            self.clock.lose(&gone.peer);
        }
    }

    /// Bytes arrived. On an error close the link.
    ///
    /// # Errors
    /// [`LinkError`]; after [`LinkError::Storage`] the replica must stop.
    pub fn handle_frame(&mut self, now: Now, id: LinkId, frame: &[u8]) -> Result<(), LinkError> {
        self.observe(now);
        let link = self.links.get_mut(&id).ok_or(LinkError::Unknown)?;
        let peer = link.peer.clone();
        link.heard = now.mono;
        let frame = Frame::decode(frame)
            .map_err(|source| LinkError::BadFrame { peer: peer.clone(), source: Box::new(source) })?;
        match frame {
            Frame::Hello(hello) => self.hello(now, id, hello),
            // Before the greeting nothing else counts (it may have been lost on the way).
            _ if self.links.get(&id).is_none_or(|link| link.replica.is_none()) => {
                self.greeted(id);
                Ok(())
            }
            Frame::Deltas(deltas) => {
                self.greeted(id);
                Ok(self.deltas(id, &peer, deltas)?)
            }
            Frame::Progress(progress) => {
                self.greeted(id);
                self.progress(now, id, &peer, progress);
                Ok(())
            }
        }
    }

    fn greeted(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.greeted = true;
        }
    }

    fn hello(&mut self, now: Now, id: LinkId, hello: Hello) -> Result<(), LinkError> {
        let Some(link) = self.links.get(&id) else { return Err(LinkError::Unknown) };
        let peer = link.peer.clone();
        if hello.node != peer {
            return Err(LinkError::WrongName { peer, says: hello.node.to_string() });
        }
        if self.config.peers.get(&peer) != Some(&hello.region) {
            return Err(LinkError::WrongName { peer, says: format!("{} in {}", hello.node, hello.region) });
        }
        let ours = millis(self.config.max_retention);
        if hello.max_retention_ms != ours {
            return Err(LinkError::Retention { peer, theirs: hello.max_retention_ms, ours });
        }
        if self.is_own(hello.replica) {
            // Both will notice; the one that has not yet written under this id steps aside.
            if self.standing != Standing::Running && hello.replica == self.id {
                self.reincarnate(now)?;
            }
            return Err(LinkError::Copy { peer });
        }
        let Some(link) = self.links.get_mut(&id) else { return Err(LinkError::Unknown) };
        match link.replica {
            Some(known) if known == hello.replica => {
                // It greets again: our greeting was lost, or crossed it. Whoever has our greeting needs no other, or two
                // replicas would greet each other for ever.
                link.hello_due |= !link.greeted;
            }
            _ => {
                link.replica = Some(hello.replica);
                link.greeted = false;
                link.acked = VersionVector::default();
                link.sent.clear();
                link.in_flight.clear();
                link.bytes_in_flight = 0;
                link.progress_due = true;
            }
        }
        link.acked.merge(&hello.vector);
        self.clock.hear(now, &peer, hello.wall);
        self.observe(now);

        let replaced: Vec<LinkId> =
            self.links.iter().filter(|(other, l)| **other < id && l.peer == peer).map(|(other, _)| *other).collect();
        for old in replaced {
            self.links.remove(&old);
            self.events.push_back(Event::CloseLink { link: old, silent: false });
        }
        self.check_own_log(now, &peer, &hello.seen)?;
        Ok(())
    }

    /// Does the peer know more of our log than we do? Then our disk went back in time.
    fn check_own_log(&mut self, now: Now, peer: &NodeName, theirs: &VersionVector) -> Result<(), StorageError> {
        let (known, ours) = (theirs.get(self.id), self.issued);
        if known > ours {
            let old = self.id;
            self.events.push_back(Event::RolledBack { peer: peer.clone(), theirs: known, ours });
            self.reincarnate(now)?;
            self.recover.advance(old, known);
        } else if let Standing::Confirming { waiting, .. } = &mut self.standing {
            waiting.remove(peer);
            if waiting.is_empty() {
                self.standing = Standing::Running;
            }
        }
        for origin in &self.past {
            if theirs.get(*origin) > self.vector.get(*origin) {
                self.recover.advance(*origin, theirs.get(*origin));
            }
        }
        Ok(())
    }

    /// Peers whose disks went back as well have not what they once told us of. A peer out of reach may still have it.
    pub(super) fn give_up_what_is_lost(&mut self, now: Now) {
        let linked = |peer: &NodeName| self.links.values().any(|link| link.peer == *peer && link.replica.is_some());
        let is_more = |origin| self.links.values().any(|link| link.acked.get(origin) > self.durable.get(origin));
        let is_lost = !self.durable.covers(&self.recover)
            && self.config.peers.keys().all(linked)
            && !self.recover.iter().any(|(origin, _)| is_more(origin));
        if !is_lost {
            self.lost_since = None;
            return;
        }
        // What a peer has seen and not yet stored it will soon tell that it has.
        if now.mono.since(*self.lost_since.get_or_insert(now.mono)) >= self.config.start_grace() {
            for (origin, through) in std::mem::take(&mut self.recover).iter() {
                let count = through.saturating_sub(self.durable.get(origin));
                if count > 0 {
                    self.events.push_back(Event::Lost { origin, count });
                }
            }
        }
    }

    fn progress(&mut self, now: Now, id: LinkId, peer: &NodeName, progress: Progress) {
        self.clock.hear(now, peer, progress.wall);
        self.observe(now);
        // Whose clock is ahead would be complete through a time that has not come, and its log may have gaps by that clock.
        // Two right clocks may be twice the skew apart.
        let latest = self.clock.trusted().plus(self.config.max_clock_skew * 2);
        for claim in progress.claims {
            if claim.node != self.config.node && claim.through <= latest {
                self.completeness.hear(claim, &self.durable);
            }
        }
        if progress.horizon > self.horizon {
            // A region whose clock is a month ahead must not make us forget anything (rule 5).
            if progress.horizon <= self.clock.certain().plus(self.config.max_clock_skew) {
                self.horizon = progress.horizon;
                self.pending.meta = true;
            } else {
                self.events.push_back(Event::HorizonRefused { peer: peer.clone(), horizon: progress.horizon });
            }
        }
        let heartbeat = self.config.heartbeat;
        let own = self.id;
        let Some(link) = self.links.get_mut(&id) else { return };
        // It knows us by an earlier id, or not at all: the greeting that said otherwise was lost.
        link.hello_due |= !progress.direct.contains(&own);
        link.acked.merge(&progress.vector);
        link.direct = progress.direct.into_iter().collect();
        let before = link.in_flight.len();
        let acked = &link.acked;
        link.in_flight.retain(|(origin, through, _)| acked.get(*origin) < *through);
        link.bytes_in_flight = link.in_flight.iter().map(|(_, _, bytes)| bytes).sum();
        if link.in_flight.len() < before || before == 0 {
            link.advanced = now.mono;
            link.patience = 4;
        }
        // At most once per heartbeat: frames that merely overtook each other need no second sending.
        if !progress.missing.is_empty() && now.mono.since(link.rewound) >= heartbeat {
            link.rewound = now.mono;
            for origin in progress.missing {
                link.rewind(origin);
            }
        }
    }

    fn deltas(&mut self, id: LinkId, peer: &NodeName, deltas: Deltas) -> Result<(), StorageError> {
        let origin = deltas.origin;
        let known = self.vector.get(origin);
        if origin == self.id {
            return Ok(());
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.owes_progress = true;
        }
        if deltas.after > known {
            self.ask_again(id, origin);
            return Ok(());
        }
        let mut through = deltas.through;
        for delta in deltas.entries {
            if delta.dot.seq > known {
                // An erasure that is to be passed on in our own log waits until we may write there.
                if self.standing != Standing::Running
                    && matches!(delta.body, Body::Erased(_))
                    && self.tombstone(&delta.key)?.is_none()
                {
                    through = delta.dot.seq - 1;
                    self.ask_again(id, origin);
                    break;
                }
                self.apply(peer, delta)?;
            }
        }
        self.vector.advance(origin, through);
        // Even if nothing was stored the new vector must become durable before it is told.
        self.pending.force = true;
        Ok(())
    }

    fn ask_again(&mut self, id: LinkId, origin: ReplicaId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.missing.insert(origin);
            link.progress_due = true;
        }
    }

    /// Takes one entry of another replica through the door.
    fn apply(&mut self, peer: &NodeName, delta: Delta) -> Result<(), StorageError> {
        let Delta { dot, hlc, key, body } = delta;
        if self.outlives(&key) {
            self.events.push_back(Event::Refused { peer: peer.clone(), dot });
            return Ok(());
        }
        // A tombstone is passed on until its day may be dropped everywhere: who is behind by the skew still needs it.
        let over = match &body {
            Body::Change(_) => key.expires_at <= self.gone_through(),
            Body::Tombstone(_) | Body::Erased(_) => self.is_droppable(key.bucket()),
        };
        if over {
            return Ok(());
        }
        // Not exactly the latest expiry: it would be dropped too early, or outlive its day.
        if !matches!(&body, Body::Change(_)) && key.expires_at != self.until(&key) {
            self.events.push_back(Event::Refused { peer: peer.clone(), dot });
            return Ok(());
        }
        let tombstone = self.tombstone(&key)?;
        let (name, until) = (key.name, self.until(&key));
        // Where nothing else is to be stored the log says why: a gap would be passed on without its reason.
        let what = match (body, &tombstone) {
            (Body::Change(change), None) => {
                let (row, existed) = self.row(&key)?;
                if !row.has_room(&change, Bounds::foreign(&key)) {
                    self.events.push_back(Event::Refused { peer: peer.clone(), dot });
                    return Ok(());
                }
                return self.put_change(&key, row, existed, dot, hlc, change);
            }
            (Body::Tombstone(reason), None) => return self.put_tombstone(&key, reason, dot, hlc),
            (Body::Change(_), Some(tombstone)) => Reference::Erased(name, until, tombstone.reason),
            (Body::Tombstone(reason), Some(_)) => Reference::Tombstone(name, until, reason),
            (Body::Erased(reason), Some(_)) => Reference::Erased(name, until, reason),
            (Body::Erased(reason), None) => {
                self.pending.unexplained.push((key, reason));
                Reference::Erased(name, until, reason)
            }
        };
        self.put_log(Bucket::of(until), dot, LogEntry { hlc, what });
        Ok(())
    }

    pub(super) fn tick_links(&mut self, now: Now) {
        let (dead_after, heartbeat) = (self.config.dead_after(), self.config.heartbeat);
        let mut silent = Vec::new();
        for (id, link) in &mut self.links {
            if now.mono.since(link.heard) >= dead_after {
                silent.push(*id);
            } else if link.replica.is_none() {
                link.hello_due = true;
            } else {
                link.progress_due = true;
                if link.in_flight.is_empty() {
                    link.advanced = now.mono;
                } else if now.mono.since(link.advanced) >= heartbeat * link.patience {
                    link.patience = (link.patience * 2).min(MOST_PATIENCE);
                    link.advanced = now.mono;
                    link.in_flight.clear();
                    link.bytes_in_flight = 0;
                    link.sent.clear();
                }
            }
        }
        for id in silent {
            self.drop_link(id);
            self.events.push_back(Event::CloseLink { link: id, silent: true });
        }
    }
}

impl Link {
    /// Sends a log again from what the peer has acknowledged.
    fn rewind(&mut self, origin: ReplicaId) {
        self.sent.remove(&origin);
        self.in_flight.retain(|(of, _, _)| *of != origin);
        self.bytes_in_flight = self.in_flight.iter().map(|(_, _, bytes)| bytes).sum();
    }
}
