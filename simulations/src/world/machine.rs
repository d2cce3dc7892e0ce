//! A machine: its disk and clock, and the process that runs on it or does not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::RngExt as _;
use replication::memory::Snapshot;
use replication::{
    BatchId, Bucket, ChangeHash, DocumentKey, DocumentName, Dot, Frame, LinkId, MemoryKeys, NodeName, Reader, RegionId,
    Replica, ReplicaId, Storage as _, Ticket, VersionVector, View, Wall, log_key,
};

use super::attempt::{Attempt, PendingOperation, WaitingRead};
use super::clock::WallClock;
use super::disk::{Crash, Disk, Engine};
use super::sealed::{self, Store, Undisturbed};
use super::{CalendarEvent, Input, World};
use crate::coverage::Coverage;
use crate::history::{MachineEvent, Record};
use crate::index::{NodeIndex, VisitNumber};
use crate::invariant::Invariant;
use crate::scenario::{Act, FaultKind, Scenario};
use crate::seed::{Stream, stream};

/// After this time a supervisor restarts a process that stopped because of its disk.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// The documents that a reader sees, with the changes in each.
pub(super) type Live = BTreeMap<DocumentKey, BTreeSet<ChangeHash>>;

/// One machine; a region has one unless the scenario says otherwise.
pub(crate) struct Machine {
    pub(crate) name: NodeName,
    pub(crate) region: RegionId,
    pub(crate) disk: Disk,
    pub(crate) keys: MemoryKeys,
    pub(super) clock: WallClock,
    pub(crate) process: Option<Process>,
    /// Whether the region is part of the deployment.
    pub(crate) exists: bool,
    /// Counts starts and stops, so that an event for an earlier process does not reach a later one.
    pub(super) epoch: u64,
    /// How many faults hold the process still.
    pub(super) paused: u32,
    /// The inputs that arrived meanwhile.
    backlog: VecDeque<Input>,
    /// Time that each input takes, and when the last one is done.
    pub(super) slow: Duration,
    busy_until: Duration,
    pub(super) slow_sync: Option<Duration>,
    /// It dies with its next batch.
    pub(super) is_doomed: bool,
    pub(super) lying: bool,
    /// Syncs do not return.
    pub(super) hung: bool,
    /// The sync that has not returned, with the epoch of its process.
    pub(super) hung_sync: Option<(u64, BatchId)>,
    /// The buckets in which a value cannot be read.
    pub(super) damaged: BTreeSet<Bucket>,
    /// Documents of its store have decayed.
    pub(super) rotten: bool,
    /// A bucket of its store was gone, or older than the others, at some time.
    pub(crate) lost_bucket: bool,
    /// If it began empty and has not been ready yet: the vector of each peer at its greeting.
    pub(crate) filling: Option<BTreeMap<NodeIndex, VersionVector>>,
    /// Errors of the device that were counted so far.
    failures_seen: u64,
    max_retention: Duration,
    pub(super) sync_draws: Stream,
    /// The vector that it told peers as durable. A crash must not lose any of it.
    pub(super) told: VersionVector,
    /// Own entries that were acknowledged to clients, by incarnation.
    pub(super) acked: VersionVector,
    /// Its disk went back in time and it has not taken a new id since.
    pub(super) rolled_back: bool,
    /// Ids under which it ran when its disk went back. A new id becomes durable only with its first entry, so after
    /// another crash the same roll-back may be noticed again.
    pub(super) gone_back: BTreeSet<ReplicaId>,
    /// Every id under which it ran.
    pub(super) ids: BTreeSet<ReplicaId>,
    /// When its disk last went back in time, in true time.
    pub(crate) restored_at: Option<Wall>,
    /// Visits that were dead here, since the disk last went back.
    pub(crate) dead: BTreeSet<VisitNumber>,
    /// An operator confirmed its clock while that was wrong, or the node had no peers and believed a wrong clock at its
    /// start.
    pub(crate) believed_wrong_clock: bool,
    /// When it last went down, awake time.
    pub(super) down_since: Option<Duration>,
}

/// A running process.
pub(crate) struct Process {
    pub(crate) replica: Replica<Store>,
    pub(super) store: Store,
    /// Zero of its monotonic clock, in elapsed time.
    pub(super) started: Duration,
    pub(crate) syncing: Option<BatchId>,
    /// Since when a batch is on its way to the disk.
    pub(super) syncing_since: Duration,
    pub(super) timer_at: Option<Duration>,
    pub(super) tickets: BTreeMap<Ticket, PendingOperation>,
    pub(super) links: BTreeMap<LinkId, NodeIndex>,
    /// Requests that wait for room in a batch.
    pub(super) waiting: VecDeque<Attempt>,
    pub(super) readers: Vec<WaitingRead>,
}

impl Machine {
    pub(super) fn all(
        scenario: &Scenario,
        seed: u64,
        added_later: &BTreeSet<NodeIndex>,
        engine: Engine,
    ) -> Vec<Machine> {
        let mut nodes = Vec::new();
        for (index, name) in scenario.regions.iter().enumerate() {
            let mut draws = stream(seed, "clock", index as u64);
            let skew = i64::try_from(scenario.clocks.skew.as_millis()).unwrap_or(0);
            let off = draws.random_range(-skew..=skew);
            let ppm = scenario.clocks.drift_ppm * draws.random_range(-1.0..=1.0);
            // Checked when the scenario was read.
            let (Ok(node), Ok(region)) = (name.parse(), scenario.region_of(name).parse()) else { continue };
            nodes.push(Machine {
                name: node,
                region,
                disk: Disk::new(stream(seed, "disk", index as u64), engine),
                keys: MemoryKeys::default(),
                clock: WallClock::new(off, ppm),
                process: None,
                exists: !added_later.contains(&NodeIndex(index)),
                epoch: 0,
                paused: 0,
                backlog: VecDeque::new(),
                slow: Duration::ZERO,
                busy_until: Duration::ZERO,
                slow_sync: None,
                is_doomed: false,
                lying: false,
                hung: false,
                hung_sync: None,
                damaged: BTreeSet::new(),
                rotten: false,
                lost_bucket: false,
                filling: added_later.contains(&NodeIndex(index)).then(BTreeMap::new),
                failures_seen: 0,
                max_retention: scenario.replica.max_retention,
                sync_draws: stream(seed, "sync", index as u64),
                told: VersionVector::default(),
                acked: VersionVector::default(),
                rolled_back: false,
                gone_back: BTreeSet::new(),
                ids: BTreeSet::new(),
                restored_at: None,
                dead: BTreeSet::new(),
                believed_wrong_clock: false,
                down_since: None,
            });
        }
        nodes
    }

    /// Whether its process runs and does not stand still.
    pub(super) fn is_up(&self) -> bool {
        self.process.is_some() && self.paused == 0
    }

    /// Whether its visible state is exactly what its vector covers: no batch is gathered or in flight, and no entry of its
    /// own waits for the word of peers, as those of half a batch do after a crash.
    pub(super) fn is_settled(&self) -> bool {
        let is_settled = |replica: &Replica<Store>| replica.gathered() == 0 && !replica.is_starting();
        self.process.as_ref().is_some_and(|process| is_settled(&process.replica) && process.syncing.is_none())
    }

    pub(super) fn has_link_to(&self, peer: NodeIndex) -> bool {
        self.process.as_ref().is_some_and(|process| process.links.values().any(|other| *other == peer))
    }

    /// The vector that its replica durably knows or, while it is down, has told.
    pub(super) fn known(&self) -> &VersionVector {
        self.process.as_ref().map_or(&self.told, |process| process.replica.durable())
    }

    /// What its replica durably knows of these origins.
    pub(super) fn known_of(&self, origins: &BTreeSet<ReplicaId>) -> Option<VersionVector> {
        let known = self.process.as_ref()?.replica.durable();
        Some(known.iter().filter(|(origin, _)| origins.contains(origin)).collect())
    }

    /// A reader of its disk, as the node has it, but without errors of the device.
    pub(super) fn reader(&self) -> Reader<Undisturbed> {
        let store = match &self.process {
            Some(process) => Undisturbed::of(&self.disk, &process.store),
            None => Undisturbed::at_rest(&self.disk, &self.keys, self.max_retention),
        };
        Reader::new(store, self.max_retention)
    }

    /// What readers of its replica see, by change.
    pub(super) fn live(&self) -> Option<Live> {
        let process = self.process.as_ref()?;
        let rows = self.reader().all(process.replica.dead_through()).ok()?;
        Some(rows.into_iter().map(|(key, row)| (key, row.hashes())).collect())
    }

    /// Whether the device has reported an error since the last call.
    fn disk_has_failed(&mut self) -> bool {
        let failed = self.disk.failed();
        std::mem::replace(&mut self.failures_seen, failed) < failed
    }

    /// A peer greets: if the region began empty, it must have what the peer has now before it is ready.
    pub(super) fn note_greeting(&mut self, from: NodeIndex, bytes: &[u8]) {
        if let Some(filling) = &mut self.filling
            && let Ok(Frame::Hello(hello)) = Frame::decode(bytes)
        {
            filling.entry(from).or_insert(hello.vector);
        }
    }
}

impl World {
    /// Starts the process, unless it runs or its region does not exist.
    pub(super) fn start(&mut self, node: NodeIndex) {
        if self.nodes[node].process.is_some() || !self.nodes[node].exists {
            return;
        }
        if self.nodes[node].hung {
            // A start forces the store to the disk first, and that sync would not return.
            let epoch = self.nodes[node].epoch;
            self.calendar.schedule(self.calendar.now() + RESTART_AFTER, CalendarEvent::Restart { node, epoch });
            return;
        }
        self.nodes[node].epoch += 1;
        if let Some(filling) = &mut self.nodes[node].filling {
            filling.clear();
        }
        let config = self.nodes.config(node, &self.scenario.replica);
        // A replica without peers believes its clock at a start, so it may drop its own entries by a wrong one.
        let skew = self.scenario.replica.max_clock_skew.as_millis();
        self.nodes[node].believed_wrong_clock |=
            config.peers.is_empty() && u128::from(self.clock_error(node).unsigned_abs()) > skew;
        let now = self.now_of(node);
        let started = self.calendar.elapsed();
        let epoch = self.nodes[node].epoch;
        let mut ids = stream(self.seed, "ids", (node.0 as u64) << 32 | epoch);
        let mint = Box::new(move || ReplicaId(ids.random()));
        let machine = &self.nodes[node];
        let draws = stream(self.seed, "keys", (node.0 as u64) << 32 | epoch);
        let opened = sealed::open(&machine.disk, &machine.keys, machine.max_retention, draws);
        let opened = opened.and_then(|store| Ok((Replica::open(config, store.clone(), mint, now)?, store)));
        let Ok((replica, store)) = opened else {
            // After an error of the device the supervisor tries again. Without one the store must open.
            let excused = self.nodes[node].disk_has_failed();
            self.require(Invariant::Durability, Some(node), excused, || "its store does not open any more".to_owned());
            self.note_disk_failures(node);
            self.calendar.schedule(self.calendar.now() + RESTART_AFTER, CalendarEvent::Restart { node, epoch });
            return;
        };
        let known = replica.durable().clone();
        let id = replica.id();
        let machine = &mut self.nodes[node];
        if machine.rolled_back {
            // Under a new id the roll-back need not be noticed any more.
            machine.rolled_back = machine.ids.contains(&id);
            machine.gone_back.insert(id);
        }
        machine.ids.insert(id);
        machine.process = Some(Process {
            replica,
            store,
            started,
            syncing: None,
            syncing_since: Duration::ZERO,
            timer_at: None,
            tickets: BTreeMap::new(),
            links: BTreeMap::new(),
            waiting: VecDeque::new(),
            readers: Vec::new(),
        });
        machine.down_since = None;
        let kept = (known.covers(&machine.told), known.covers(&machine.acked));
        let expected = !machine.rolled_back && !machine.lying;
        self.trace.note(self.calendar.now(), b'S', node.0, &epoch.to_be_bytes());
        self.history.record(self.calendar.now(), || Record::Machine { node, what: MachineEvent::Starts });
        if expected {
            self.require(Invariant::Durability, Some(node), kept.1, || {
                "a crash took what it had acknowledged".to_owned()
            });
            self.require(Invariant::Durability, Some(node), kept.0, || {
                "a crash took what it had told its peers".to_owned()
            });
        } else if !kept.1 && !self.nodes[node].rolled_back {
            self.require(Invariant::Durability, Some(node), false, || {
                "a crash took what it had acknowledged: its disk lied".to_owned()
            });
        }
        self.dial_all(node);
        self.turn(node);
    }

    /// The machine learns of a region that came or went. Every other one restarts with a new configuration, and the
    /// rest take up the new peers while they run: a deployment may do either.
    pub(super) fn reconfigured(&mut self, node: NodeIndex) {
        let (now, config) = (self.now_of(node), self.nodes.config(node, &self.scenario.replica));
        let Some(process) = &mut self.nodes[node].process else { return };
        if node.0 % 2 == 1 {
            self.stop(node);
            return self.start(node);
        }
        if process.replica.set_peers(now, config.peers).is_err() {
            return self.fail(node);
        }
        self.dial_all(node);
        self.turn(node);
    }

    /// The machine dies. Unsynced batches are lost in part.
    pub(super) fn kill(&mut self, node: NodeIndex) {
        self.die(node, false);
    }

    /// The process dies, and the machine goes on. Unsynced batches stay in the page cache in part.
    pub(super) fn kill_process(&mut self, node: NodeIndex) {
        self.die(node, true);
    }

    fn die(&mut self, node: NodeIndex, machine_goes_on: bool) {
        let Some(process) = self.nodes[node].process.take() else {
            // The machine loses what an earlier process left in the page cache.
            if !machine_goes_on {
                self.nodes[node].disk.crash();
            }
            return;
        };
        self.trace.note(self.calendar.now(), b'K', node.0, &[]);
        self.history.record(self.calendar.now(), || Record::Machine { node, what: MachineEvent::Down });
        let now = self.calendar.now();
        let machine = &mut self.nodes[node];
        let crash = if machine_goes_on {
            machine.disk.kill();
            Crash::default()
        } else {
            machine.disk.crash()
        };
        machine.epoch += 1;
        machine.paused = 0;
        machine.backlog.clear();
        machine.busy_until = now;
        machine.down_since = Some(now);
        // If an erasure was not durable, its visit may be alive again. Erasures that were acknowledged or told must
        // stay.
        let (told, visits) = (&machine.told, &self.model.visits);
        machine.dead.retain(|visit| {
            let truth = visits.get(visit);
            truth.is_some_and(|truth| {
                truth.erased.iter().any(|erased| !erased.lost && (erased.node == node || told.contains(erased.dot)))
                    || truth.again.iter().any(|again| again.hash.is_none() && !again.lost && again.node == node)
            })
        });
        let epoch = machine.epoch;
        if crash.lost {
            self.coverage.insert(if crash.kept { Coverage::BatchTorn } else { Coverage::BatchLost });
        }
        for (link, peer) in process.links {
            self.say_closed(node, peer, link);
        }
        self.watch_detection(node, epoch);
    }

    /// The process stops cleanly: it makes everything durable first.
    pub(super) fn stop(&mut self, node: NodeIndex) {
        if self.nodes[node].hung {
            return self.kill_process(node);
        }
        let now = self.now_of(node);
        if let Some(process) = &mut self.nodes[node].process {
            process.replica.handle_stop(now);
            let store = process.store.clone();
            // One batch may be in flight, one is gathered, and the removals of erased rows make a third.
            for _ in 0..4 {
                let syncing = process.syncing.take();
                let done = syncing
                    .map_or(Ok(()), |batch| store.sync().and_then(|()| process.replica.handle_durable(now, batch)));
                match done.and_then(|()| process.replica.poll_batch()) {
                    Ok(next) => process.syncing = next,
                    Err(_) => break,
                }
            }
            self.drain_events(node);
            self.history.record(self.calendar.now(), || Record::Machine { node, what: MachineEvent::Stops });
        }
        self.kill(node);
    }

    /// The process stops because of an error of its disk, which must have reported one.
    pub(super) fn fail(&mut self, node: NodeIndex) {
        self.note_disk_failures(node);
        let excused = self.nodes[node].disk_has_failed();
        self.require(Invariant::Durability, Some(node), excused, || {
            "the replica gave its store up for corrupt".to_owned()
        });
        self.history.record(self.calendar.now(), || Record::Machine { node, what: MachineEvent::DiskFailed });
        self.kill(node);
        let epoch = self.nodes[node].epoch;
        self.calendar.schedule(self.calendar.now() + RESTART_AFTER, CalendarEvent::Restart { node, epoch });
    }

    fn note_disk_failures(&mut self, node: NodeIndex) {
        let mut kinds = Vec::new();
        for fault in self.faults.iter().filter(|fault| fault.on) {
            match fault.act {
                Act::FullDisk { region } | Act::ReadErrors { region, .. } | Act::Flip { region } if region == node => {
                    kinds.push(fault.act.kind())
                }
                _ => {}
            }
        }
        for kind in kinds {
            self.coverage.fault(kind);
        }
    }

    /// The process dies and its disk goes back in time.
    pub(super) fn roll_back(&mut self, node: NodeIndex, to: &Snapshot) {
        self.kill(node);
        self.nodes[node].disk.restore(to);
        let machine = &mut self.nodes[node];
        machine.damaged.retain(|bucket| machine.disk.is_damaged(*bucket));
        self.went_back(node);
    }

    /// The disk, or a part of it, went back to an older state or is gone.
    pub(super) fn went_back(&mut self, node: NodeIndex) {
        self.history.record(self.calendar.now(), || Record::Machine { node, what: MachineEvent::RolledBack });
        self.nodes[node].told = VersionVector::default();
        self.nodes[node].acked = VersionVector::default();
        self.nodes[node].rolled_back = true;
        self.nodes[node].restored_at = Some(self.calendar.true_wall());
        self.nodes[node].dead.clear();
        self.lost_by_contract(node);
    }

    /// The operator removes the buckets with a value that cannot be read.
    pub(super) fn cut_damaged(&mut self, node: NodeIndex) {
        for bucket in std::mem::take(&mut self.nodes[node].damaged) {
            if self.nodes[node].disk.is_damaged(bucket) {
                self.kill_process(node);
                self.nodes[node].disk.lose_bucket(bucket);
                self.nodes[node].lost_bucket = true;
                self.went_back(node);
                self.coverage.fault(FaultKind::Flip);
            }
        }
    }

    /// This machine's disk went back or away: entries that no machine has any longer are lost by contract.
    pub(super) fn lost_by_contract(&mut self, went_back: NodeIndex) {
        let known = self.nodes.known_anywhere();
        // A store keeps the entries of its own log. Entries of other logs beyond its vector it may take out again.
        let logs: Vec<_> = self.nodes.iter().map(|machine| machine.exists.then(|| machine.disk.contents())).collect();
        let has = |by: NodeIndex, dot: Dot| {
            logs[by.0].as_ref().is_some_and(|storage| {
                let entry = |bucket| storage.get(bucket, &log_key(dot));
                storage.buckets().into_iter().any(|bucket| entry(bucket).is_ok_and(|entry| entry.is_some()))
            })
        };
        if self.model.lose(went_back, |dot, by| known.contains(dot) || has(by, dot)) {
            self.lost_at = Some(self.calendar.now());
        }
        let readers: Vec<_> = self
            .nodes
            .indices()
            .filter(|node| self.nodes[*node].exists)
            .map(|node| self.nodes[node].reader())
            .collect();
        let view = View::applied(self.calendar.true_wall());
        let is_shown = |name: &DocumentName| {
            readers.iter().any(|reader| reader.rows(name, false, view).is_ok_and(|rows| !rows.is_empty()))
        };
        self.model.count_losses(self.calendar.true_wall(), is_shown);
    }

    /// An input reaches the machine.
    pub(super) fn arrive(&mut self, node: NodeIndex, input: Input) {
        let machine = &mut self.nodes[node];
        if machine.paused > 0 {
            machine.backlog.push_back(input);
            return;
        }
        if !machine.slow.is_zero() || machine.busy_until > self.calendar.now() {
            let begins = machine.busy_until.max(self.calendar.now());
            machine.busy_until = begins + machine.slow;
            machine.backlog.push_back(input);
            let (ready, epoch) = (machine.busy_until, machine.epoch);
            self.calendar.schedule(ready, CalendarEvent::Ready { node, epoch });
            return;
        }
        self.handle(node, input);
    }

    /// A slow machine is done with one input.
    pub(super) fn work_off(&mut self, node: NodeIndex, epoch: u64) {
        if self.nodes[node].epoch != epoch || self.nodes[node].paused > 0 {
            return;
        }
        if let Some(input) = self.nodes[node].backlog.pop_front() {
            self.coverage.fault(FaultKind::SlowNode);
            self.handle(node, input);
        }
    }

    /// A machine is as fast again as before: it handles the waiting inputs at once.
    pub(super) fn speed_up(&mut self, node: NodeIndex) {
        self.nodes[node].slow = Duration::ZERO;
        self.nodes[node].busy_until = self.calendar.now();
        if self.nodes[node].paused == 0 {
            for input in std::mem::take(&mut self.nodes[node].backlog) {
                self.handle(node, input);
            }
        }
    }

    /// A process that stood still goes on.
    pub(super) fn resume(&mut self, node: NodeIndex) {
        self.nodes[node].paused = self.nodes[node].paused.saturating_sub(1);
        if self.nodes[node].paused > 0 {
            return;
        }
        for input in std::mem::take(&mut self.nodes[node].backlog) {
            self.handle(node, input);
        }
        if let Some(process) = &mut self.nodes[node].process {
            process.timer_at = None;
        }
        self.turn(node);
    }

    /// After a night every timer is due.
    pub(super) fn wake_all(&mut self) {
        for node in self.nodes.indices() {
            if let Some(process) = &mut self.nodes[node].process {
                process.timer_at = None;
                self.turn(node);
            }
        }
    }
}
