//! One link to one peer: its state, the greeting, and what is sent again after a loss.
//!
//! # The problem
//! A link delivers frames in order or breaks (TCP). But frames are lost at a break that only one side has noticed, and
//! in the simulator at any time. The peer may also be another process or another store than the one that was there
//! before, or know more of our log than we do.
//!
//! # The insight
//! A vector says what the peer lacks, so a link needs no memory beyond its own life: it begins with both vectors
//! (`Hello`), and after any loss it sends again from what the peer has acknowledged.
//!
//! # The algorithm
//! 1. Each side sends `Hello` until the other side has answered it. Until the peer's `Hello` came, other frames of it
//!    only show that it has ours.
//!    Its version: `crate::protocol`.
//! 2. `Hello` is checked: name, region, `max_retention`, process (`boot`), id. If the peer has seen more of our log
//!    than we have, our disk went back, and we take a new id (`open.rs`).
//! 3. Then each side sends its own log, and what the peer lacks of other logs (`send.rs`). The peer answers with
//!    `Progress` once entries are durable there, and at each heartbeat (`receive.rs`).
//! 4. A `Progress` that names a frame neither as durable nor as received, although an acknowledgement would have come
//!    by now, shows that the frame is lost. Its log is sent again from `acked`.
//! 5. If no acknowledgement comes at all, everything is sent again after `patience` heartbeats, which doubles each
//!    time.
//!
//! # Invariants
//! - What is known of a link's peer is changed by methods of [`Link`] alone (`link/state.rs`).
//! - At most one link to a peer outlives a `Hello`: a newer one replaces the older ones.

mod state;

use std::time::Duration;

use super::{Event, Replica, StartPhase};
use crate::frame::{Frame, FrameError, Hello};
use crate::ids::{LinkId, NodeName, ReplicaId};
use crate::storage::{Storage, StorageError};
use crate::time::{Now, millis};
use crate::version::VersionVector;

pub(super) use state::{LINGER, Link, Receipt, Tick, Watch};

/// Why a link must be closed (or, for `Storage`, why the replica must stop).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The link is not open.
    #[error("no such link")]
    Unknown,
    /// The peer sent bytes that are not a valid frame of the version that we speak.
    #[error("undecodable frame from {peer}")]
    BadFrame {
        /// The sender.
        peer: NodeName,
        /// The error in the frame.
        #[source]
        source: Box<FrameError>,
    },
    /// The peer says it is another node, or of another region, than its certificate and our configuration say.
    #[error("{peer} calls itself {says}")]
    WrongName {
        /// The name in its certificate.
        peer: NodeName,
        /// The name, or name and region, in its `Hello`.
        says: String,
    },
    /// The peer has our own id: one of the two is a copy of the other's store.
    #[error("{peer} runs on a copy of this store")]
    Copy {
        /// The copy, or the original.
        peer: NodeName,
    },
    /// This process was replaced by a later one under the peer's name, and still speaks.
    #[error("two processes run as {peer}: stop one of them")]
    TwoProcesses {
        /// The name.
        peer: NodeName,
    },
    /// The peer's log differs from what it sent before: two processes wrote under one id.
    #[error("the log of {peer} forked: a copy of its machine wrote under the same id")]
    Fork {
        /// The peer.
        peer: NodeName,
    },
    /// The peer's word cannot be true: it knows more of our log than any disk could have lost, or it says for the
    /// second time within a minute that our disk went back.
    #[error("{peer} says that it knows our log up to {theirs}, we issued {ours}")]
    Implausible {
        /// The peer.
        peer: NodeName,
        /// How much it says that it knows.
        theirs: u64,
        /// What we issued.
        ours: u64,
    },
    /// Forgetting is safe only if the longest retention is the same everywhere.
    #[error("{peer} keeps documents for up to {theirs} ms, we for {ours} ms")]
    Retention {
        /// The peer.
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

/// More entries than a disk can have lost: a peer that says that it knows this many more of our log lies.
const MOST_LOST: u64 = 1 << 32;
/// Shortest time between two new ids that this replica takes because of a peer's word.
const REMINT_EVERY: Duration = Duration::from_mins(1);
/// Most processes under one peer's name that are remembered.
const MOST_BOOTS: usize = 16;

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
        let link = Link::new(peer, now.mono);
        self.links.insert(id, link);
        Ok(())
    }

    /// A connection is gone.
    pub fn handle_link_down(&mut self, now: Now, id: LinkId) {
        self.observe(now);
        self.drop_link(id);
    }

    pub(super) fn drop_link(&mut self, id: LinkId) {
        let Some(gone) = self.links.remove(&id) else { return };
        if gone.replica().is_none() {
            // It may not have understood our `Hello`.
            let version = self.greeted_in.entry(gone.peer().clone()).or_default();
            *version = version.other();
        } else if gone.is_greeted() {
            // It may be of a later release the next time.
            self.greeted_in.remove(gone.peer());
        }
        if !self.links.values().any(|link| link.peer() == gone.peer()) {
            self.clock.lose(gone.peer());
        }
    }

    /// Bytes arrived. On an error close the link.
    ///
    /// # Errors
    /// [`LinkError`]; after [`LinkError::Storage`] the replica must stop.
    pub fn handle_frame(&mut self, now: Now, id: LinkId, frame: &[u8]) -> Result<(), LinkError> {
        self.observe(now);
        let link = self.links.get_mut(&id).ok_or(LinkError::Unknown)?;
        let peer = link.peer().clone();
        link.hear(now.mono);
        let frame = Frame::decode(frame)
            .map_err(|source| LinkError::BadFrame { peer: peer.clone(), source: Box::new(source) })?;
        if !matches!(frame, Frame::Hello(_)) {
            link.note_greeted();
        }
        let has_greeted = link.replica().is_some();
        match frame {
            Frame::Hello(hello) => self.hello(now, id, &peer, hello),
            // The peer's `Hello` may have been lost: until it comes, other frames are not applied.
            _ if !has_greeted => Ok(()),
            Frame::Deltas(deltas) => {
                let origin = deltas.origin;
                let receipt = self.deltas(&peer, deltas)?;
                if let Some(link) = self.links.get_mut(&id) {
                    link.note_receipt(origin, receipt);
                }
                Ok(())
            }
            Frame::Progress(progress) => Ok(self.progress(now, id, &peer, progress)?),
            Frame::Check(check) => Ok(self.check(now, id, check)?),
        }
    }

    fn hello(&mut self, now: Now, id: LinkId, peer: &NodeName, hello: Hello) -> Result<(), LinkError> {
        let peer = peer.clone();
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
            // Both replicas notice; the one that is not running yet takes a new id.
            if self.phase != StartPhase::Running && hello.replica == self.id {
                self.mint_new_replica_id(now)?;
            }
            return Err(LinkError::Copy { peer });
        }
        if !self.origins.bind(hello.replica, &peer) {
            return Err(LinkError::Copy { peer });
        }
        self.note_boot(&peer, hello.boot)?;
        self.last_ids.insert(peer.clone(), hello.replica);
        self.greeted_in.insert(peer.clone(), hello.newest.with_peer());
        let Some(link) = self.links.get_mut(&id) else { return Err(LinkError::Unknown) };
        link.greet(&hello);
        self.origins.tell(&peer, &hello.vector);
        self.clock.hear(now, &peer, &hello.region, hello.wall);
        self.observe(now);
        self.awaited.greeted(&peer, &hello.vector, now.mono);
        self.watch_all(now, id);

        let replaced: Vec<LinkId> =
            self.links.iter().filter(|(other, l)| **other < id && l.peer() == &peer).map(|(other, _)| *other).collect();
        for old in replaced {
            self.links.remove(&old);
            self.events.push_back(Event::CloseLink { link: old, silent: false });
        }
        debug_assert!(
            self.links.iter().all(|(other, link)| *other >= id || *link.peer() != peer),
            "an older link to this peer is left"
        );
        if let Some((of, theirs)) = hello.yours
            && of == self.id
            && self.recent.head_at(theirs.seq).is_some_and(|ours| ours != theirs.hash)
        {
            self.events.push_back(Event::Forked { peer: peer.clone() });
            self.mint_new_replica_id(now)?;
        }
        self.check_own_log(now, &peer, &hello.seen)
    }

    /// Notes which process speaks under a peer's name. A later process replaces an earlier one. If the earlier one
    /// speaks again, two processes run under one name.
    fn note_boot(&mut self, peer: &NodeName, boot: u64) -> Result<(), LinkError> {
        let boots = self.boots.entry(peer.clone()).or_default();
        match boots.iter().position(|known| *known == boot) {
            Some(at) if at + 1 == boots.len() => Ok(()),
            Some(_) => Err(LinkError::TwoProcesses { peer: peer.clone() }),
            None => {
                boots.push_back(boot);
                if boots.len() > MOST_BOOTS {
                    boots.pop_front();
                }
                debug_assert!(boots.len() <= MOST_BOOTS);
                Ok(())
            }
        }
    }

    /// If the peer has seen more of our log than we have, our disk went back in time: goes on under a new id.
    fn check_own_log(&mut self, now: Now, peer: &NodeName, theirs: &VersionVector) -> Result<(), LinkError> {
        let (known, issued) = (theirs.get(self.id), self.issued);
        let ours = if self.unproven.get(self.id) > 0 { self.vector.get(self.id) } else { issued };
        if known > ours {
            let again = self.reminted.is_some_and(|at| now.mono.since(at) < REMINT_EVERY);
            if known - ours > MOST_LOST || again {
                return Err(LinkError::Implausible { peer: peer.clone(), theirs: known, ours });
            }
            self.reminted = Some(now.mono);
            let old = self.id;
            // A disk goes back only while no process runs. So if this process has issued entries, it knows the whole
            // log.
            let is_complete = self.phase == StartPhase::Running && self.issued > 0;
            self.events.push_back(Event::RolledBack { peer: peer.clone(), origin: old, theirs: known, ours });
            self.mint_new_replica_id(now)?;
            self.past.insert(old);
            if is_complete {
                self.complete.insert(old);
            } else {
                self.ended.advance(old, known);
                self.awaited.expect_back(old, known, now.mono);
            }
        } else if let StartPhase::Confirming { waiting, .. } = &mut self.phase {
            waiting.remove(peer);
            if waiting.is_empty() {
                self.run();
            }
        }
        let mut lost = Vec::new();
        for origin in self.past.difference(&self.complete) {
            let known = theirs.get(*origin);
            if known > self.vector.get(*origin) && known <= self.ended.get(*origin).saturating_add(MOST_LOST) {
                self.ended.advance(*origin, known);
                self.awaited.expect_back(*origin, known, now.mono);
                lost.push(*origin);
            }
        }
        lost.into_iter().for_each(|origin| self.lose_proof(origin));
        Ok(())
    }

    /// A peer has seen entries that a half batch had issued. So that batch was whole, and a bucket was lost since. The
    /// rest of the batch counts as orphans until peers have sent it again.
    fn lose_proof(&mut self, origin: ReplicaId) {
        let issued = self.unproven.get(origin);
        if issued > 0 {
            self.orphans.through.advance(origin, issued);
            self.unproven.remove(origin);
            self.pending.meta = true;
        }
    }

    /// Whether every configured peer has a link and has greeted.
    pub(super) fn has_heard_all(&self) -> bool {
        self.config.peers.keys().all(|peer| self.is_linked(peer))
    }

    /// Whether a peer has a link and has greeted.
    pub(super) fn is_linked(&self, peer: &NodeName) -> bool {
        self.links.values().any(|link| link.peer() == peer && link.replica().is_some())
    }

    /// A heartbeat that comes late by `stalled`.
    pub(super) fn tick_links(&mut self, now: Now, stalled: Duration) {
        let (dead_after, heartbeat) = (self.config.dead_after(), self.config.heartbeat);
        let mut silent = Vec::new();
        for (id, link) in &mut self.links {
            match link.tick(now.mono, stalled, heartbeat, dead_after) {
                Tick::Lives => {}
                Tick::Silent => silent.push(*id),
                Tick::IsSlow { round_trip } => {
                    self.events.push_back(Event::SlowLink { peer: link.peer().clone(), round_trip });
                }
            }
        }
        for id in silent {
            self.drop_link(id);
            self.events.push_back(Event::CloseLink { link: id, silent: true });
        }
    }
}
