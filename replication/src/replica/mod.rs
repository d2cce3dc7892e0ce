//! One replica: takes writes, frames and the time, and says what is to be made durable and what is to be sent.
//!
//! | file | concern |
//! | --- | --- |
//! | [`open`](self) `open.rs` | start, restart, a new incarnation |
//! | `write.rs` | local writes and the door that dead documents do not pass |
//! | `pending.rs` | the batch that is being gathered |
//! | `compact.rs` | compaction of rows, a few at a time |
//! | `link.rs` | greeting, frames in, progress |
//! | `send.rs` | frames out: own entries first, relays if late |
//! | `forget.rs` | removal of erased rows, expired buckets, checkpoints |
//! | `status.rs` | what operators and readers may know |

mod compact;
mod forget;
mod link;
mod open;
mod pending;
mod send;
mod status;
mod write;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::claim::Completeness;
use crate::ids::{Dot, LinkId, NodeName, RegionId, ReplicaId};
use crate::key::{Bucket, DocumentKey, DocumentName};
use crate::recent::Recent;
use crate::storage::{META_KEY, Storage, StorageError};
use crate::time::{Hlc, Monotonic, Now, Wall};
use crate::trust::{Doubt, TrustedClock};
use crate::version::VersionVector;

pub use link::LinkError;
pub use status::{PeerStatus, Status};
pub use write::{Write, WriteError};

use link::Link;
use pending::{InFlight, Mark, Pending, Place};

/// What a replica must be told; equal `max_retention` everywhere is a condition of safety.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// This node's name.
    pub node: NodeName,
    /// Its region.
    pub region: RegionId,
    /// Every other node and its region.
    pub peers: BTreeMap<NodeName, RegionId>,
    /// The longest life of a document that expires.
    pub max_retention: Duration,
    /// The largest clock difference that is taken for normal.
    pub max_clock_skew: Duration,
    /// Longest silence on a link.
    pub heartbeat: Duration,
    /// How long an entry of another origin may be late at a peer before it is relayed.
    pub relay_after: Duration,
    /// Most unacknowledged bytes per link.
    pub in_flight_bytes: usize,
    /// Most payload bytes of own entries kept in memory for sending.
    pub recent_bytes: usize,
}

impl ReplicaConfig {
    /// A configuration with the default timings.
    #[must_use]
    pub fn new(node: NodeName, region: RegionId, peers: BTreeMap<NodeName, RegionId>) -> ReplicaConfig {
        ReplicaConfig {
            node,
            region,
            peers,
            max_retention: Duration::from_hours(28 * 24),
            max_clock_skew: Duration::from_mins(1),
            heartbeat: Duration::from_millis(500),
            relay_after: Duration::from_secs(2),
            in_flight_bytes: 4 << 20,
            recent_bytes: 16 << 20,
        }
    }

    /// Silence after which a link is dead and a clock no longer counts.
    #[must_use]
    pub fn dead_after(&self) -> Duration {
        self.heartbeat * 10
    }

    /// How long a restarted replica waits for its peers' word that its log did not go back in time.
    #[must_use]
    pub fn start_grace(&self) -> Duration {
        self.heartbeat * 6
    }
}

/// Mints replica ids; must be random in production and drawn from the seed in a simulation.
pub type Mint = Box<dyn FnMut() -> ReplicaId + Send>;

/// A write that was taken and is not durable yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A batch that was applied and is to be made durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The document is new here.
    Created(Dot),
    /// The document has one more change.
    Amended(Dot),
    /// The very same change was there already.
    Repeat,
    /// The document is gone, and its bytes with it.
    Erased(Dot),
    /// It was erased or expired before.
    AlreadyErased,
}

/// What happened inside that the driver, its readers or its operators want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A write is durable.
    Written {
        /// Which one.
        ticket: Ticket,
        /// How it ended.
        outcome: Outcome,
    },
    /// A document changed or went; durable.
    Changed(DocumentName),
    /// A link is to be closed.
    CloseLink {
        /// Which one.
        link: LinkId,
        /// Why: a newer link to the same peer, or silence.
        silent: bool,
    },
    /// A peer's entry breaks the rules and was not stored.
    Refused {
        /// Who sent it.
        peer: NodeName,
        /// Which entry.
        dot: Dot,
    },
    /// A peer says that everything expired up to a moment which is in our future.
    HorizonRefused {
        /// Who said so.
        peer: NodeName,
        /// The moment.
        horizon: Wall,
    },
    /// A peer knows more of our log than we do: our disk went back in time.
    RolledBack {
        /// Who knows it.
        peer: NodeName,
        /// Up to which seq.
        theirs: u64,
        /// What we had.
        ours: u64,
    },
    /// Entries that we had before our disk went back are in no peer's store either: they are lost.
    Lost {
        /// In which of our logs.
        origin: ReplicaId,
        /// How many, with those that may have expired.
        count: u64,
    },
    /// This replica goes on under a new id.
    Reincarnated {
        /// The id until now.
        old: ReplicaId,
        /// The id from now on.
        new: ReplicaId,
    },
    /// The belief in the wall clock changed.
    Clock(Option<Doubt>),
    /// A day's bucket is gone.
    Forgot(Bucket),
    /// Whether this replica has forgotten what is not over, for its clock was ahead ([`Replica::forgot_early`]).
    ForgotEarly(bool),
}

/// A frame to be sent.
#[derive(Clone, Debug)]
pub struct Transmit {
    /// On which link.
    pub link: LinkId,
    /// The bytes; shared, for several peers often get the same.
    pub frame: Arc<[u8]>,
}

/// Whether the log may be continued under the present id.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// Peers are yet to say that they do not know more of our log than we do.
    Confirming { until: Monotonic, waiting: BTreeSet<NodeName> },
    /// Entries are being issued.
    Running,
}

/// One replica. Owns no clock, socket, thread or source of randomness.
///
/// Call a `handle_*` when something happened, then drain every `poll_*`: [`Replica::poll_batch`] when the
/// previous batch is durable (or earlier), [`Replica::poll_transmit`] and [`Replica::poll_event`] until they are
/// empty. Nothing that depends on a batch is handed out before [`Replica::handle_durable`] reports it. After a
/// [`StorageError`] the replica must not be used again.
pub struct Replica<S> {
    config: ReplicaConfig,
    storage: S,
    mint: Mint,
    id: ReplicaId,
    /// Earlier incarnations of this node.
    past: BTreeSet<ReplicaId>,
    standing: Standing,
    /// After a roll-back: what peers knew of our log, to be fetched back.
    recover: VersionVector,
    /// Since when every peer is linked and none has more of that than we have.
    lost_since: Option<Monotonic>,
    clock: TrustedClock,
    hlc: Hlc,
    /// Last seq issued under `id`.
    issued: u64,
    /// What is known, durable or not.
    vector: VersionVector,
    /// What is durably known.
    durable: VersionVector,
    /// Tombstones up to here have had their rows removed in batches up to the one in flight.
    settled: VersionVector,
    horizon: Wall,
    /// As last told by an event.
    forgot_early: bool,
    buckets: BTreeMap<Bucket, Mark>,
    pending: Pending,
    in_flight: Option<InFlight>,
    /// Documents whose rows are to be compacted.
    compaction_due: BTreeSet<DocumentKey>,
    meta_written: Monotonic,
    next_batch: BatchId,
    next_ticket: Ticket,
    recent: Recent,
    completeness: Completeness,
    links: BTreeMap<LinkId, Link>,
    frame_cache: Option<send::CachedFrame>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    next_tick: Monotonic,
}

impl<S: Storage> Replica<S> {
    /// Applies what was gathered. The returned batch is visible now and must be made durable by
    /// [`Storage::sync`]; report it with [`Replica::handle_durable`]. `None` if there is nothing to do, or while
    /// a batch is on its way: one at a time, so that a crash leaves exactly one of two states.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails.
    pub fn poll_batch(&mut self) -> Result<Option<BatchId>, StorageError> {
        if self.pending.is_empty() || self.in_flight.is_some() {
            return Ok(None);
        }
        self.pass_on_erasures()?;
        if self.pending.meta {
            let meta = self.encode_meta();
            self.pending.put(Bucket::Lasting, META_KEY.to_vec(), meta);
        }
        let mut pending = std::mem::take(&mut self.pending);
        let id = self.next_batch;
        self.next_batch.0 += 1;
        let place = Place {
            id: self.id,
            issued: self.issued,
            batch: id,
            vector: &self.vector,
            durable: &self.durable,
            settled: &self.settled,
        };
        let batch = pending.batch(&place, &mut self.buckets);
        self.storage.apply(&batch)?;
        self.in_flight = Some(InFlight { id, vector: self.vector.clone(), settles: self.durable.clone(), pending });
        Ok(Some(id))
    }

    /// The batch that [`Replica::poll_batch`] would apply now, if any.
    #[must_use]
    pub fn next_batch(&self) -> Option<BatchId> {
        (!self.pending.is_empty() && self.in_flight.is_none()).then_some(self.next_batch)
    }

    /// A batch and all before it are durable.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails or a row is corrupt.
    pub fn handle_durable(&mut self, now: Now, through: BatchId) -> Result<(), StorageError> {
        self.observe(now);
        if let Some(done) = self.in_flight.take_if(|batch| batch.id <= through) {
            self.durable.merge(&done.vector);
            self.settled = done.settles;
            for delta in done.pending.issued {
                self.recent.push(delta);
            }
            self.events
                .extend(done.pending.done.into_iter().map(|(ticket, outcome)| Event::Written { ticket, outcome }));
            self.events.extend(done.pending.changed.into_iter().map(Event::Changed));
            // Only now that the tombstones are durable may the rows go: a crash between the two must never
            // leave a document removed here and alive elsewhere.
            for (name, tombstone) in done.pending.erased {
                self.remove_rows(&name, &tombstone)?;
            }
            self.pending.done.extend(done.pending.done_when_removed);
            self.pending.force |= !self.pending.done.is_empty();
        }
        self.completeness.settle(&self.durable);
        for link in self.links.values_mut() {
            link.progress_due |= std::mem::take(&mut link.owes_progress);
        }
        Ok(())
    }

    /// The time has come; to be called when [`Replica::poll_timeout`] says so.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails.
    pub fn handle_timeout(&mut self, now: Now) -> Result<(), StorageError> {
        self.observe(now);
        if now.mono < self.next_tick {
            return Ok(());
        }
        self.next_tick = now.mono.plus(self.config.heartbeat);
        self.compact_some()?;
        if matches!(&self.standing, Standing::Confirming { until, .. } if now.mono >= *until) {
            // Not all peers could vouch for our log, and writes must not wait for a dead region.
            self.reincarnate(now)?;
        }
        self.tick_links(now);
        self.give_up_what_is_lost(now);
        self.note_time(now);
        self.forget()
    }

    /// When [`Replica::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Monotonic {
        self.next_tick
    }

    /// The next thing that happened.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Records waiting for the next batch; a driver keeps batches at a few hundred.
    #[must_use]
    pub fn gathered(&self) -> usize {
        self.pending.records
    }

    /// An operator's word: this machine's wall clock is right.
    pub fn believe_clock(&mut self, now: Now) {
        let reached = self.clock.reached();
        self.clock.believe(now);
        self.note_leap(reached);
        self.observe(now);
    }

    fn observe(&mut self, now: Now) {
        let (before, reached) = (self.clock.doubt(), self.clock.reached());
        self.clock.observe(now);
        self.note_leap(reached);
        if self.clock.doubt() != before {
            self.events.push_back(Event::Clock(self.clock.doubt()));
        }
        if self.forgot_early() != self.forgot_early {
            self.forgot_early = self.forgot_early();
            self.events.push_back(Event::ForgotEarly(self.forgot_early));
        }
    }

    /// Certain time went where it had not been, and not by passing: what is refused by it from now on is refused in
    /// batches that say so, in case it was wrong.
    fn note_leap(&mut self, reached: Wall) {
        self.pending.meta |= self.clock.reached() > reached.plus(self.config.max_clock_skew);
    }

    /// Whether certain time was ahead and went back, so that documents which have not expired may have been dropped,
    /// refused, or left out of frames here. Until that time has come this replica relays nothing and claims nothing.
    #[must_use]
    pub fn forgot_early(&self) -> bool {
        self.clock.reached().max(self.horizon) > self.clock.certain().plus(self.config.max_clock_skew)
    }

    /// The moment up to which everything is dead for good: `max(certain time, horizon)`. Doors go by it.
    #[must_use]
    pub fn gone_through(&self) -> Wall {
        self.clock.certain().max(self.horizon)
    }

    /// The moment up to which everything is dead for readers: `max(trusted time, horizon)`, at the last call.
    #[must_use]
    pub fn dead_through(&self) -> Wall {
        self.clock.trusted().max(self.horizon)
    }
}
