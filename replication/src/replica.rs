//! One replica: takes writes, frames and the time, and hands out batches to make durable and frames to send.
//!
//! | file | concern |
//! | --- | --- |
//! | [`open`](self) `open.rs` | start, restart, a new incarnation |
//! | `begun.rs`, `meta.rs` | the state with which a replica begins; its own state in storage |
//! | `headers.rs` | what each bucket says about itself, and what all of them prove at a start |
//! | `undo.rs`, `salvage.rs` | what a crash left half done; orphans after a lost bucket |
//! | `write.rs` | local writes, and the check that keeps dead documents out |
//! | `pending.rs` | the batch that is being gathered |
//! | `compact.rs` | compaction of rows, a few at a time |
//! | `link.rs` | one link's state; the greeting |
//! | `receive.rs` | entries in, and what a peer says of its progress |
//! | `send.rs` | frames out: own entries first, relays if late |
//! | `origins.rs` | which node each log belongs to; origins that are over |
//! | `peers.rs` | peers that are added or removed while the replica runs |
//! | `scrub.rs`, `repair.rs` | rows are compared with those of peers, and damaged ones fetched again |
//! | `awaited.rs` | entries that the replica waits for before it is fit to serve |
//! | `forget.rs` | removal of erased rows, expired buckets, checkpoints |
//! | `status.rs` | the replica's state for operators and readers |

mod awaited;
mod begun;
mod compact;
mod forget;
mod headers;
mod link;
mod meta;
mod open;
mod origins;
mod peers;
mod pending;
mod receive;
mod repair;
mod restoring;
mod salvage;
mod scrub;
mod send;
mod status;
mod undo;
mod write;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::claim::Completeness;
use crate::head::Heads;
use crate::ids::{Dot, LinkId, NodeName, RegionId, ReplicaId};
use crate::key::{Bucket, DocumentKey, DocumentName};
use crate::protocol::Protocol;
use crate::recent::Recent;
use crate::storage::{META_KEY, Storage, StorageError};
use crate::time::{Hlc, Monotonic, Now, Wall};
use crate::trust::{ClockStatementRefused, Doubt, TrustedClock};
use crate::version::VersionVector;

pub use headers::missing_buckets;
pub use link::LinkError;
pub use meta::FORMAT as STORE_FORMAT;
pub(crate) use meta::horizon_of;
pub use restoring::{Restored, Restoring};
pub use status::{PeerStatus, Status};
pub use write::{Write, WriteError};

use awaited::Awaited;
use headers::BucketHeader;
use link::Link;
use origins::{Hearsay, Origins};
use pending::{BatchState, InFlight, Pending};
use repair::Repairs;
use salvage::Orphans;
use scrub::Scrub;

/// What a replica is told at its start. `max_retention` must be equal everywhere, otherwise forgetting is not safe.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// This node's name.
    pub node: NodeName,
    /// Its region.
    pub region: RegionId,
    /// Every other node and its region; [`Replica::set_peers`] changes them later.
    pub peers: BTreeMap<NodeName, RegionId>,
    /// Nodes that were removed for good, with their regions: their entries may still be here.
    pub former: BTreeMap<NodeName, RegionId>,
    /// The longest life of a document that expires.
    pub max_retention: Duration,
    /// The largest clock difference that is taken for normal.
    pub max_clock_skew: Duration,
    /// How far ahead of true time an id's arrival may be, because a guest's own clock made it.
    pub arrival_allowance: Duration,
    /// Tells this process from every other one, so that two processes under one name are noticed; random in production.
    pub boot: u64,
    /// Longest silence on a link.
    pub heartbeat: Duration,
    /// How long an entry of another origin may be late at a peer before it is relayed.
    pub relay_after: Duration,
    /// Most unacknowledged bytes per link.
    pub in_flight_bytes: usize,
    /// Most payload bytes of own entries kept in memory for sending.
    pub recent_bytes: usize,
    /// Time from the end of a scrub of the whole store to the next one.
    pub scrub_every: Duration,
}

impl ReplicaConfig {
    /// A configuration with the default timings.
    #[must_use]
    pub fn new(node: NodeName, region: RegionId, peers: BTreeMap<NodeName, RegionId>) -> ReplicaConfig {
        ReplicaConfig {
            node,
            region,
            peers,
            former: BTreeMap::new(),
            max_retention: Duration::from_hours(28 * 24),
            max_clock_skew: Duration::from_mins(1),
            arrival_allowance: Duration::from_mins(5),
            boot: 0,
            heartbeat: Duration::from_millis(500),
            relay_after: Duration::from_secs(2),
            in_flight_bytes: 4 << 20,
            recent_bytes: 16 << 20,
            scrub_every: Duration::from_hours(6),
        }
    }

    /// Silence after which a link is dead and a clock no longer counts.
    #[must_use]
    pub(crate) fn dead_after(&self) -> Duration {
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
        /// What [`Replica::handle_write`] returned for it.
        ticket: Ticket,
        /// How it ended.
        outcome: Outcome,
    },
    /// A document changed or went; durable.
    Changed(DocumentName),
    /// A link is to be closed.
    CloseLink {
        /// The link; the replica has forgotten it already.
        link: LinkId,
        /// Why: a newer link to the same peer, or silence.
        silent: bool,
    },
    /// A peer's entry breaks the rules and was not stored.
    Refused {
        /// The peer that sent it.
        peer: NodeName,
        /// Which entry.
        dot: Dot,
    },
    /// A peer's horizon lies in our future and was not taken over.
    HorizonRefused {
        /// The peer.
        peer: NodeName,
        /// Up to when it says that it has dropped everything.
        horizon: Wall,
    },
    /// A peer knows more of our log than we do: our disk went back in time.
    RolledBack {
        /// The peer that knows more.
        peer: NodeName,
        /// Our id until now.
        origin: ReplicaId,
        /// Up to which seq.
        theirs: u64,
        /// What we had.
        ours: u64,
    },
    /// Entries that we had before our disk went back are not in any peer's store either: they are lost.
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
    /// Until that time this replica may lack documents that have not expired, because its clock was ahead
    /// ([`Replica::dropped_too_early`]); `None` once the time has come.
    DroppedTooEarly(Option<Wall>),
    /// An entry's arrival is later than certain time allows, so its log waits here. Some clock is ahead.
    HeldBack {
        /// The peer that sent it.
        peer: NodeName,
        /// Which entry.
        dot: Dot,
    },
    /// At the start buckets were missing or older than the store was. Everything beyond what the others prove is
    /// fetched again.
    BucketsLost(Vec<Bucket>),
    /// The store belongs to another node: a copy. This replica begins with an empty past.
    CopiedFrom(NodeName),
    /// A peer holds other entries under our own dots: two processes wrote under one id.
    Forked {
        /// The peer that holds them.
        peer: NodeName,
    },
    /// The heartbeat is shorter than a quarter of the time in which this peer acknowledges: entries may be sent twice.
    SlowLink {
        /// The peer.
        peer: NodeName,
        /// The shortest time from sending to acknowledgement.
        round_trip: Duration,
    },
    /// Everything that linked peers had at their greeting is here by now, or was waited for long enough.
    Filled,
    /// A node's log does not go as far as relaying peers said while the node was away. One of them lied, or the node's
    /// disk went back. The unproven part of the log is fetched again.
    Contradicted {
        /// The node.
        peer: NodeName,
        /// The log that is shorter than was said.
        origin: ReplicaId,
    },
    /// All entries of an origin are over, and its name is forgotten.
    Retired(ReplicaId),
    /// A row of this bucket is damaged, or lacks what its log says; it is fetched from peers.
    DamageFound(Bucket),
    /// Such a row has everything again.
    DamageHealed(Bucket),
    /// No peer has what such a row lacks: it is lost.
    DamageLost(Bucket),
    /// The whole store was read and compared.
    Scrubbed,
}

/// A frame to be sent.
#[derive(Clone, Debug)]
pub struct Transmit {
    /// On which link.
    pub link: LinkId,
    /// The bytes; shared, because several peers often get the same frame.
    pub frame: Arc<[u8]>,
}

/// Whether the log may be continued under the present id.
#[derive(Clone, Debug, PartialEq, Eq)]
enum StartPhase {
    /// Peers have not yet confirmed that they know no more of our log than we do.
    Confirming { until: Monotonic, waiting: BTreeSet<NodeName> },
    /// Entries are being issued.
    Running,
}

/// What events have said last.
#[derive(Debug, Default)]
struct LastReported {
    doubt: Option<Doubt>,
    dropped_too_early: bool,
}

/// One replica. Owns no clock, socket, thread or source of randomness.
///
/// Call a `handle_*` when something happened. Then poll, in this order, which [`Replica::drive`] keeps:
/// 1. [`Replica::poll_timeout`]: if that moment has come, call [`Replica::handle_timeout`];
/// 2. [`Replica::poll_batch`], if no batch is on its way to the disk;
/// 3. [`Replica::poll_transmit`] until it returns `None`;
/// 4. [`Replica::poll_event`] until it returns `None`;
/// 5. [`Replica::poll_timeout`] again: the latest moment of the next turn.
///
/// Nothing that depends on a batch is handed out before [`Replica::handle_durable`] reports it. After a
/// [`StorageError`] the replica must not be used again.
pub struct Replica<S> {
    config: ReplicaConfig,
    storage: S,
    mint: Mint,
    id: ReplicaId,
    /// Earlier incarnations of this node.
    past: BTreeSet<ReplicaId>,
    phase: StartPhase,
    /// The id has issued nothing yet and no store names it: it is stored with the first entry under it.
    is_unsaved: bool,
    /// Peers that were linked when `meta` was last written: they may hold our newest entries.
    linked_then: BTreeSet<NodeName>,
    /// When the process started.
    started: Monotonic,
    awaited: Awaited,
    /// Since when every peer is linked and none has more of the entries in `awaited.recover` than we have.
    lost_since: Option<Monotonic>,
    /// Names of rows whose keys are destroyed and that no tombstone explains, because the store went back in time.
    unexplained: Vec<DocumentKey>,
    /// Own seqs beyond the vector that a half batch had issued, until peers have said whether they know of them.
    unproven: VersionVector,
    orphans: Orphans,
    /// When a peer's word last made this replica take a new id.
    reminted: Option<Monotonic>,
    origins: Origins,
    hearsay: Hearsay,
    /// Entries of other origins on which our acknowledgements rest: repeats, and what corrections correct.
    promised: VersionVector,
    /// How far the logs under our earlier ids went: what we issued, or what peers know of them.
    ended: VersionVector,
    /// Earlier ids whose logs this very process ended, so no peer can know more of them than it does.
    complete: BTreeSet<ReplicaId>,
    heads: Heads,
    /// Under which id each peer greeted last.
    last_ids: BTreeMap<NodeName, ReplicaId>,
    /// The processes that spoke under each peer's name, the present one last.
    boots: BTreeMap<NodeName, VecDeque<u64>>,
    /// The version in which peers are greeted, for those that are not greeted in the newest one.
    greeted_in: BTreeMap<NodeName, Protocol>,
    /// When to look next for origins that are over.
    retire_at: Monotonic,
    clock: TrustedClock,
    hlc: Hlc,
    /// Last seq issued under `id`.
    issued: u64,
    /// The entries that this replica knows, durable or not.
    vector: VersionVector,
    /// The entries that it durably knows.
    durable: VersionVector,
    /// Tombstones up to here have had their rows removed in batches up to the one in flight.
    settled: VersionVector,
    horizon: Wall,
    /// The end of the last hour whose keys were destroyed, or will be with `expires_with`.
    expired: Wall,
    /// The batch that makes durable that an hour is over. Its keys go after that.
    expires_with: Option<BatchId>,
    /// As last told by events.
    last_reported: LastReported,
    buckets: BTreeMap<Bucket, BucketHeader>,
    pending: Pending,
    in_flight: Option<InFlight>,
    /// Documents whose rows are to be compacted.
    compaction_due: BTreeSet<DocumentKey>,
    scrub: Scrub,
    repairs: Repairs,
    meta_written: Monotonic,
    next_batch: BatchId,
    next_ticket: Ticket,
    recent: Recent,
    completeness: Completeness,
    links: BTreeMap<LinkId, Link>,
    /// The link that was served last. Links take turns, so that catching up on one does not starve the others.
    served: LinkId,
    frame_cache: Option<send::CachedFrame>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    next_tick: Monotonic,
}

impl<S: Storage> Replica<S> {
    /// Applies what was gathered. The returned batch is visible now and must be made durable by [`Storage::sync`];
    /// report it with [`Replica::handle_durable`]. `None` if nothing is gathered, or while a batch is on its way: one
    /// at a time, so that a crash can cut short only the newest batch.
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
        debug_assert!(self.vector.covers(&self.durable), "something durable is not known");
        debug_assert!(
            self.phase != StartPhase::Running || self.vector.get(self.id) == self.issued,
            "an issued entry is not known, or another one is"
        );
        let state = BatchState {
            id: self.id,
            issued: self.issued,
            batch: id,
            vector: &self.vector,
            durable: &self.durable,
            settled: &self.settled,
            head: self.heads.own(),
        };
        let batch = pending.batch(&state, &mut self.buckets);
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
        debug_assert!(through < self.next_batch, "a batch that was never applied is reported as durable");
        self.observe(now);
        if let Some(done) = self.in_flight.take_if(|batch| batch.id <= through) {
            debug_assert!(self.vector.covers(&done.vector), "the vector went back while a batch was on its way");
            self.durable.merge(&done.vector);
            self.settled = done.settles;
            for (delta, head) in done.pending.issued {
                self.recent.push(delta, head);
            }
            for link in self.links.values_mut() {
                link.settle(done.id);
            }
            self.watch_foreign(now, &done.pending.foreign);
            self.events
                .extend(done.pending.done.into_iter().map(|(ticket, outcome)| Event::Written { ticket, outcome }));
            self.events.extend(done.pending.changed.into_iter().map(Event::Changed));
            // The rows go only now that the tombstones are durable. Otherwise a crash between the two could leave a
            // document removed here and alive elsewhere.
            for (name, tombstone) in done.pending.erased {
                debug_assert!(
                    // The tombstone's day may have been dropped while the batch was gathered, and its log retired.
                    self.durable.contains(tombstone.dot) || self.is_droppable(Bucket::of(tombstone.until)),
                    "rows go before their tombstone is durable"
                );
                self.remove_rows(&name, &tombstone)?;
            }
            self.pending.done.extend(done.pending.done_when_removed);
            self.pending.force |= !self.pending.done.is_empty();
        }
        if self.expires_with.take_if(|batch| *batch <= through).is_some() {
            self.destroy_expired()?;
        }
        self.completeness.settle(&self.durable);
        self.look_at_awaited(now);
        self.look_at_orphans(now)?;
        // Here as well as at heartbeats, because a busy node has a batch in flight at nearly every heartbeat.
        if self.is_look_due(now) && self.clock.doubt().is_none() {
            self.retire(now)?;
        }
        Ok(())
    }

    /// Does everything that is due now. To be called when [`Replica::poll_timeout`] says so.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails.
    pub fn handle_timeout(&mut self, now: Now) -> Result<(), StorageError> {
        self.observe(now);
        if now.mono < self.next_tick {
            return Ok(());
        }
        let stalled = now.mono.since(self.next_tick);
        self.next_tick = now.mono.plus(self.config.heartbeat);
        debug_assert!(
            self.config.heartbeat.is_zero() || self.next_tick > now.mono,
            "the heartbeat is due again at once"
        );
        self.compact_some()?;
        self.scrub_some(now)?;
        self.ask_for_repairs(now)?;
        if matches!(&self.phase, StartPhase::Confirming { until, .. } if now.mono >= *until) {
            self.stop_confirming(now)?;
        }
        self.tick_links(now, stalled);
        self.look_at_awaited(now);
        self.give_up_what_is_lost(now);
        self.look_at_orphans(now)?;
        self.note_time(now);
        self.forget(now)
    }

    /// When [`Replica::handle_timeout`] wants to be called: at the next heartbeat, or when a partly filled frame has
    /// waited long enough.
    #[must_use]
    pub fn poll_timeout(&self) -> Monotonic {
        self.links.values().filter_map(Link::lingers_until).fold(self.next_tick, Monotonic::min)
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

    /// An operator states that it is `stated` now and that this machine's wall clock shows it. `force` takes the
    /// statement although regions disagree.
    ///
    /// # Errors
    /// [`ClockStatementRefused`]; nothing changes then.
    pub fn trust_wall_clock(&mut self, now: Now, stated: Wall, force: bool) -> Result<(), ClockStatementRefused> {
        let reached = self.clock.reached();
        self.clock.believe(now, stated, force)?;
        self.note_leap(reached);
        self.observe(now);
        Ok(())
    }

    /// An operator demands that the replica serves although the store may lack what peers have.
    pub fn serve_as_is(&mut self) {
        if self.awaited.is_filling() {
            self.awaited.end_filling();
            self.pending.meta = true;
        }
        debug_assert!(!self.awaited.is_filling());
    }

    fn observe(&mut self, now: Now) {
        let reached = self.clock.reached();
        self.clock.observe(now);
        self.note_leap(reached);
        // Compared with what was told, because hearing a peer changes the doubt as well.
        if self.clock.doubt() != self.last_reported.doubt {
            self.last_reported.doubt = self.clock.doubt();
            self.events.push_back(Event::Clock(self.last_reported.doubt));
        }
        if self.dropped_too_early() != self.last_reported.dropped_too_early {
            self.last_reported.dropped_too_early = self.dropped_too_early();
            let until = self.last_reported.dropped_too_early.then(|| self.clock.reached().max(self.horizon));
            self.events.push_back(Event::DroppedTooEarly(until));
        }
    }

    /// If certain time jumped forward by more than the skew, the next batch writes `meta`. So after a restart the
    /// replica still knows how far certain time ever got, and whether it may have refused entries too early.
    fn note_leap(&mut self, reached: Wall) {
        self.pending.meta |= self.clock.reached() > reached.plus(self.config.max_clock_skew);
    }

    /// Whether certain time (or the horizon) is known to have been ahead of where certain time is now. Documents that
    /// have not expired may then have been dropped, refused, or left out of frames here. Until that time has come this
    /// replica relays nothing and claims nothing.
    #[must_use]
    pub fn dropped_too_early(&self) -> bool {
        self.clock.reached().max(self.horizon) > self.clock.certain().plus(self.config.max_clock_skew)
    }

    /// The moment up to which everything is dead for good: `max(certain time, horizon)`. It decides which entries are
    /// refused or left out of frames.
    #[must_use]
    pub fn gone_through(&self) -> Wall {
        self.clock.certain().max(self.horizon)
    }

    /// The moment up to which readers see nothing: `max(trusted time, horizon)`, as of the last call.
    #[must_use]
    pub fn dead_through(&self) -> Wall {
        self.clock.trusted().max(self.horizon)
    }
}
