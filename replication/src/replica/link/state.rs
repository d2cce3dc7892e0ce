//! What is known of the peer at the other end of one link, and what was sent to it.
//!
//! # Invariants
//! - What we believe a peer knows (`acked`) only grows within one incarnation of it, except for origins that it has
//!   forgotten, and logs of which it reports a gap.
//! - `rewind` and `send_again` take a log out of `sent` and out of what is in flight together.
//! - `bytes_in_flight` is the sum over the frames in flight.
//!
//! # Not here
//! Anything that takes more than one link, or the store: `link.rs`, `receive.rs`, `send.rs`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::frame::{Hello, Progress};
use crate::ids::{NodeName, ReplicaId};
use crate::protocol::Protocol;
use crate::replica::BatchId;
use crate::time::Monotonic;
use crate::version::VersionVector;

/// The shortest silence on acknowledgements before everything is sent again, in heartbeats.
const LEAST_PATIENCE: u32 = 4;
/// The longest one. It bounds the time that convergence takes after losses.
const MOST_PATIENCE: u32 = 32;

/// How long a partly filled frame waits at most.
pub(in crate::replica) const LINGER: Duration = Duration::from_millis(6);

/// Most questions of a peer that are answered between two heartbeats. Each one reads rows.
const MOST_ANSWERS: usize = 64;

/// A frame that was sent and is not acknowledged.
#[derive(Clone, Copy, Debug)]
struct Sent {
    origin: ReplicaId,
    through: u64,
    bytes: usize,
    at: Monotonic,
}

/// Since when a peer lacks entries of another origin and has got no more of them.
#[derive(Clone, Copy, Debug)]
pub(in crate::replica) struct Watch {
    /// What the peer had when it began.
    theirs: u64,
    pub(in crate::replica) since: Monotonic,
}

/// How long acknowledgements take, from sending to acknowledgement.
#[derive(Clone, Copy, Debug)]
struct RoundTrip {
    /// A moving average that rises quickly.
    average: Duration,
    shortest: Duration,
}

impl RoundTrip {
    fn measured(known: Option<RoundTrip>, took: Duration) -> RoundTrip {
        let RoundTrip { average, shortest } = known.unwrap_or(RoundTrip { average: took, shortest: took });
        // The average rises quickly, otherwise frames in a queue that fills would be taken for lost.
        let average = if took > average { (average + took) / 2 } else { average * 7 / 8 + took / 8 };
        RoundTrip { average, shortest: shortest.min(took) }
    }
}

/// What becomes of a link at a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::replica) enum Tick {
    Lives,
    /// The peer was silent for too long.
    Silent,
    /// The shortest round trip takes more than four heartbeats; said once.
    IsSlow {
        round_trip: Duration,
    },
}

/// What is owed to the peer for a frame with entries.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::replica) struct Receipt {
    /// The frame began after a gap, or an entry of it has to wait: its log is to be sent again.
    pub(in crate::replica) is_missing: bool,
    /// The frame's entries are durable already.
    pub(in crate::replica) is_durable: bool,
    /// The batch with the frame's entries.
    pub(in crate::replica) batch: Option<BatchId>,
}

#[derive(Debug)]
pub(in crate::replica) struct Link {
    peer: NodeName,
    /// The incarnation that greeted us.
    replica: Option<ReplicaId>,
    /// The version in which it is sent frames, once it has greeted.
    speaks: Protocol,
    /// The version of our last `Hello`.
    greeted_in: Protocol,
    /// What the peer durably knows.
    acked: VersionVector,
    /// How far each log was sent on this link.
    sent: BTreeMap<ReplicaId, u64>,
    in_flight: VecDeque<Sent>,
    bytes_in_flight: usize,
    /// When a frame was last acknowledged, or none was in flight.
    advanced: Monotonic,
    /// Silence on acknowledgements before everything is sent again, in heartbeats; doubles up to [`MOST_PATIENCE`].
    patience: u32,
    round_trip: Option<RoundTrip>,
    is_slow: bool,
    /// Since when a partly filled frame waits for more entries.
    lingers: Option<Monotonic>,
    /// Origins with which the peer has a link of its own.
    direct: BTreeSet<ReplicaId>,
    /// Other origins of which the peer lacks entries.
    late: BTreeMap<ReplicaId, Watch>,
    /// When the link came up.
    since: Monotonic,
    heard: Monotonic,
    /// When the peer last said what it has.
    told: Monotonic,
    rewound: Monotonic,
    /// Origins of which the peer is asked to send entries again.
    missing: BTreeSet<ReplicaId>,
    hello_due: bool,
    /// The peer has received our `Hello`: it sent a frame that it only sends after one.
    greeted: bool,
    progress_due: bool,
    /// Questions of the peer that were answered since the last heartbeat.
    answers: usize,
    /// The batch with the newest entries of this peer: its end is to be acknowledged.
    owes: Option<BatchId>,
}

impl Link {
    pub(in crate::replica) fn new(peer: NodeName, now: Monotonic) -> Link {
        Link {
            peer,
            replica: None,
            speaks: Protocol::OLDEST,
            greeted_in: Protocol::NEWEST,
            acked: VersionVector::default(),
            sent: BTreeMap::new(),
            in_flight: VecDeque::new(),
            bytes_in_flight: 0,
            advanced: now,
            patience: LEAST_PATIENCE,
            round_trip: None,
            is_slow: false,
            lingers: None,
            direct: BTreeSet::new(),
            late: BTreeMap::new(),
            since: now,
            heard: now,
            told: now,
            rewound: now,
            missing: BTreeSet::new(),
            hello_due: true,
            greeted: false,
            progress_due: false,
            answers: 0,
            owes: None,
        }
    }

    pub(in crate::replica) fn peer(&self) -> &NodeName {
        &self.peer
    }

    /// The incarnation that greeted us, if one has.
    pub(in crate::replica) fn replica(&self) -> Option<ReplicaId> {
        self.replica
    }

    /// Whether the replica that writes this log is at the other end.
    pub(in crate::replica) fn leads_to(&self, origin: ReplicaId) -> bool {
        self.replica == Some(origin)
    }

    /// What the peer durably knows.
    pub(in crate::replica) fn acked(&self) -> &VersionVector {
        &self.acked
    }

    /// How long the link has been up.
    pub(in crate::replica) fn age(&self, now: Monotonic) -> Duration {
        now.since(self.since)
    }

    /// Bytes arrived.
    pub(in crate::replica) fn hear(&mut self, now: Monotonic) {
        self.heard = now;
    }

    /// When the peer last said what it has.
    pub(in crate::replica) fn told(&self) -> Monotonic {
        self.told
    }

    /// The peer sent a frame that it only sends after our `Hello`.
    pub(in crate::replica) fn note_greeted(&mut self) {
        self.greeted = true;
    }

    /// Whether the peer has received our `Hello`.
    pub(in crate::replica) fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// From now on our `Hello` is to be sent.
    pub(in crate::replica) fn owe_hello(&mut self) {
        self.hello_due = true;
    }

    /// The version in which the peer is sent frames, once it has greeted.
    pub(in crate::replica) fn speaks(&self) -> Protocol {
        self.speaks
    }

    /// Our `Hello` was sent in this version.
    pub(in crate::replica) fn note_hello(&mut self, version: Protocol) {
        self.greeted_in = version;
    }

    /// The peer greets.
    pub(in crate::replica) fn greet(&mut self, hello: &Hello) {
        self.speaks = hello.newest.with_peer();
        // It speaks a later version than that of our `Hello`, so it gets one that says that we do as well.
        self.hello_due |= self.speaks > self.greeted_in;
        match self.replica {
            Some(known) if known == hello.replica => {
                // The peer greets again, because our `Hello` was lost or is on its way. A peer that has it gets no
                // second one, otherwise two replicas would greet each other for ever.
                self.hello_due |= !self.greeted;
            }
            _ => {
                self.replica = Some(hello.replica);
                self.greeted = false;
                self.acked = VersionVector::default();
                self.send_again();
                self.late.clear();
                self.progress_due = true;
                debug_assert_eq!(self.in_flight.len() + self.bytes_in_flight, 0, "frames of an earlier incarnation");
            }
        }
        self.acked.merge(&hello.vector);
        debug_assert!(self.acked.covers(&hello.vector) && self.leads_to(hello.replica));
    }

    /// The peer says what it knows by now. Returns the origins that it has forgotten.
    pub(in crate::replica) fn hear_progress(
        &mut self,
        now: Monotonic,
        heartbeat: Duration,
        own: ReplicaId,
        progress: &Progress,
    ) -> Vec<ReplicaId> {
        self.told = now;
        // The peer does not name our id among its links, so it has lost our latest `Hello`: greet again.
        self.hello_due |= !progress.direct.contains(&own);
        // The peer has forgotten the origins that it no longer names, so the rest of their logs is new to it.
        let forgotten = self.acked.origins_beyond(&progress.vector);
        for origin in &forgotten {
            self.forget_origin(*origin);
        }
        self.acked.merge(&progress.vector);
        debug_assert!(self.acked.covers(&progress.vector), "a peer knows what it says that it knows");
        self.direct = progress.direct.iter().copied().collect();
        self.acknowledge(now, heartbeat, &progress.received);
        forgotten
    }

    /// Frames that should have come by now and that the peer knows neither durably nor as `received` are lost: their
    /// logs are sent again.
    fn acknowledge(&mut self, now: Monotonic, heartbeat: Duration, received: &[(ReplicaId, u64)]) {
        let before = self.in_flight.len();
        let acked = &self.acked;
        let newest = self.in_flight.iter().rev().find(|sent| acked.get(sent.origin) >= sent.through);
        if let Some(took) = newest.map(|sent| now.since(sent.at).min(heartbeat * 8)) {
            self.round_trip = Some(RoundTrip::measured(self.round_trip, took));
        }
        self.in_flight.retain(|sent| acked.get(sent.origin) < sent.through);
        self.count_bytes();
        if self.in_flight.len() < before || before == 0 {
            self.advanced = now;
            self.patience = LEAST_PATIENCE;
        }
        // Four heartbeats, as long as no acknowledgement was measured.
        let takes = self.round_trip.map_or(heartbeat * 4, |known| known.average * 2 + heartbeat / 4);
        let has = |sent: &Sent| received.iter().any(|(o, through)| *o == sent.origin && *through >= sent.through);
        let lost = self.in_flight.iter().filter(|sent| now.since(sent.at) >= takes && !has(sent));
        let lost: BTreeSet<ReplicaId> = lost.map(|sent| sent.origin).collect();
        for origin in lost {
            self.rewind(origin);
        }
        debug_assert!(
            self.in_flight.iter().all(|sent| self.acked.get(sent.origin) < sent.through),
            "an acknowledged frame is in flight"
        );
        self.assert_bytes_counted();
    }

    /// The peer reports gaps: sends those logs again from what it has. At most once per heartbeat, because frames that
    /// only overtook each other need not be sent twice.
    pub(in crate::replica) fn fill_gaps(&mut self, now: Monotonic, heartbeat: Duration, progress: &Progress) {
        if progress.missing.is_empty() || now.since(self.rewound) < heartbeat {
            return;
        }
        self.rewound = now;
        for origin in &progress.missing {
            // The peer may know less of this log than before, because an origin that was over begins anew.
            self.acked.remove(*origin);
            self.acked.advance(*origin, progress.vector.get(*origin));
            self.rewind(*origin);
            debug_assert_eq!(self.sent_through(*origin), progress.vector.get(*origin), "the gap is not sent again");
        }
    }

    /// From now on watches those of these logs, with the seqs that we durably have, of which the peer lacks entries.
    pub(in crate::replica) fn watch(&mut self, now: Monotonic, foreign: impl Iterator<Item = (ReplicaId, u64)>) {
        for (origin, ours) in foreign {
            let theirs = self.acked.get(origin);
            if !self.leads_to(origin) && theirs < ours {
                let watch = self.late.entry(origin).or_insert(Watch { theirs, since: now });
                debug_assert!(watch.since <= now, "a watch begins in the future");
            }
        }
    }

    /// The peer has got more: begins those watches anew, and ends those of logs that it has whole.
    pub(in crate::replica) fn renew_watches(&mut self, now: Monotonic, ours: &VersionVector) {
        let acked = &self.acked;
        self.late.retain(|origin, watch| {
            let theirs = acked.get(*origin);
            if theirs > watch.theirs {
                *watch = Watch { theirs, since: now };
            }
            theirs < ours.get(*origin)
        });
    }

    /// The logs of other origins of which the peer lacks entries.
    pub(in crate::replica) fn late(&self) -> impl Iterator<Item = (ReplicaId, Watch)> {
        self.late.iter().map(|(origin, watch)| (*origin, *watch))
    }

    /// Origins with which the peer has a link of its own.
    pub(in crate::replica) fn direct(&self) -> impl Iterator<Item = ReplicaId> {
        self.direct.iter().copied()
    }

    /// A frame with entries of `origin` was taken.
    pub(in crate::replica) fn note_receipt(&mut self, origin: ReplicaId, receipt: Receipt) {
        self.owes = receipt.batch.or(self.owes);
        self.progress_due |= receipt.is_durable;
        if receipt.is_missing {
            self.ask_again(origin);
        }
    }

    /// The peer is to send this log again from what we durably know.
    pub(in crate::replica) fn ask_again(&mut self, origin: ReplicaId) {
        self.missing.insert(origin);
        self.progress_due = true;
    }

    /// A batch is durable: what it brought of this peer is acknowledged.
    pub(in crate::replica) fn settle(&mut self, done: BatchId) {
        self.progress_due |= self.owes.take_if(|batch| *batch <= done).is_some();
        debug_assert!(self.owes.is_none_or(|batch| batch > done), "an acknowledgement that is due is still owed");
    }

    /// A heartbeat. `stalled` is how late it comes: while this process stood still it could hear no peer, so that time
    /// is not counted as silence.
    pub(in crate::replica) fn tick(
        &mut self,
        now: Monotonic,
        stalled: Duration,
        heartbeat: Duration,
        dead_after: Duration,
    ) -> Tick {
        self.heard = self.heard.plus(stalled).min(now);
        self.answers = 0;
        debug_assert!((LEAST_PATIENCE..=MOST_PATIENCE).contains(&self.patience), "patience is out of its bounds");
        if now.since(self.heard) >= dead_after {
            return Tick::Silent;
        }
        if self.replica.is_none() {
            self.hello_due = true;
            return Tick::Lives;
        }
        self.progress_due = true;
        if self.in_flight.is_empty() {
            self.advanced = now;
        } else if now.since(self.advanced) >= heartbeat * self.patience {
            self.patience = (self.patience * 2).min(MOST_PATIENCE);
            self.advanced = now;
            self.send_again();
        }
        match self.round_trip {
            Some(RoundTrip { shortest, .. }) if shortest > heartbeat * 4 && !self.is_slow => {
                self.is_slow = true;
                Tick::IsSlow { round_trip: shortest }
            }
            _ => Tick::Lives,
        }
    }

    /// Whether our `Hello` is to be sent now.
    pub(in crate::replica) fn take_hello(&mut self) -> bool {
        std::mem::take(&mut self.hello_due)
    }

    /// Whether a `Progress` is to be sent now, with the origins that are to be sent again.
    pub(in crate::replica) fn take_progress(&mut self) -> Option<Vec<ReplicaId>> {
        debug_assert!(self.missing.is_empty() || self.progress_due, "a gap would not be told before a heartbeat");
        let is_due = self.replica.is_some() && std::mem::take(&mut self.progress_due);
        is_due.then(|| std::mem::take(&mut self.missing).into_iter().collect())
    }

    /// Whether the peer has greeted and fewer than `limit` bytes are in flight.
    pub(in crate::replica) fn takes_entries(&self, limit: usize) -> bool {
        self.replica.is_some() && self.bytes_in_flight < limit
    }

    /// Whether the peer compares and repairs rows.
    pub(in crate::replica) fn takes_checks(&self) -> bool {
        self.replica.is_some() && self.speaks.has_checks()
    }

    /// Whether one more question of the peer is answered before the next heartbeat.
    pub(in crate::replica) fn may_answer(&mut self) -> bool {
        self.answers += 1;
        self.answers <= MOST_ANSWERS
    }

    /// Frames that were sent and are not acknowledged.
    pub(in crate::replica) fn frames_in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Since when a partly filled frame waits for more entries.
    pub(in crate::replica) fn lingers(&self) -> Option<Monotonic> {
        self.lingers
    }

    /// When that frame is sent.
    pub(in crate::replica) fn lingers_until(&self) -> Option<Monotonic> {
        self.lingers.map(|since| since.plus(LINGER))
    }

    /// A partly filled frame waits since then, or none does.
    pub(in crate::replica) fn linger(&mut self, since: Option<Monotonic>) {
        self.lingers = since;
    }

    /// The seq through which this log was sent to the peer, or is known to it.
    pub(in crate::replica) fn sent_through(&self, origin: ReplicaId) -> u64 {
        self.acked.get(origin).max(self.sent.get(&origin).copied().unwrap_or(0))
    }

    /// A frame that goes through `through` in this log leaves.
    pub(in crate::replica) fn note_sent(&mut self, now: Monotonic, origin: ReplicaId, through: u64, bytes: usize) {
        debug_assert!(self.replica.is_some(), "entries go only to a peer that has greeted");
        debug_assert!(!self.leads_to(origin), "a log is not sent to the replica that writes it");
        debug_assert!(through > self.sent_through(origin), "a frame repeats what was sent");
        if self.in_flight.is_empty() {
            self.advanced = now;
        }
        self.lingers = None;
        self.sent.insert(origin, through);
        self.in_flight.push_back(Sent { origin, through, bytes, at: now });
        self.bytes_in_flight += bytes;
        debug_assert_eq!(self.sent_through(origin), through, "what was sent is not noted");
        self.assert_bytes_counted();
    }

    /// From now on this log is sent again from what the peer has acknowledged.
    fn rewind(&mut self, origin: ReplicaId) {
        self.sent.remove(&origin);
        self.in_flight.retain(|sent| sent.origin != origin);
        self.count_bytes();
        debug_assert_eq!(self.sent_through(origin), self.acked.get(origin), "a log that was rewound counts as sent");
    }

    /// From now on every log is sent again from what the peer has acknowledged.
    fn send_again(&mut self) {
        self.in_flight.clear();
        self.bytes_in_flight = 0;
        self.sent.clear();
        self.assert_bytes_counted();
    }

    fn count_bytes(&mut self) {
        self.bytes_in_flight = self.in_flight.iter().map(|sent| sent.bytes).sum();
    }

    pub(in crate::replica) fn forget_origin(&mut self, origin: ReplicaId) {
        self.acked.remove(origin);
        self.sent.remove(&origin);
        self.late.remove(&origin);
    }

    fn assert_bytes_counted(&self) {
        debug_assert_eq!(
            self.bytes_in_flight,
            self.in_flight.iter().map(|sent| sent.bytes).sum::<usize>(),
            "the bytes in flight are counted wrongly"
        );
    }
}
