//! A machine: its disk and clock, and the process that runs on it or does not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::RngExt as _;
use replication::memory::Snapshot;
use replication::storage::log_key;
use replication::{
    BatchId, Bucket, DocumentName, Dot, Frame, LinkId, NodeName, RegionId, Replica, ReplicaConfig, ReplicaId,
    Storage as _, Ticket, VersionVector, View, Wall,
};

use super::clock::WallClock;
use super::disk::{Crash, Disk};
use super::{Event, Input, Mark, World};
use crate::history::{Machine, Record};
use crate::invariant::Invariant;
use crate::scenario::{Act, FaultKind, Scenario};
use crate::seed::{Stream, stream};

/// After this time a supervisor restarts a process that stopped because of its disk.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// One machine; a region has one unless the scenario says otherwise.
pub struct Node {
    pub(crate) name: NodeName,
    pub(crate) region: RegionId,
    pub(crate) disk: Disk,
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
    pub(super) lying: bool,
    /// Syncs do not return.
    pub(super) hung: bool,
    /// The sync that has not returned, with the epoch of its process.
    pub(super) hung_sync: Option<(u64, BatchId)>,
    /// The buckets in which a value cannot be read.
    pub(super) damaged: BTreeSet<Bucket>,
    /// A bucket of its store was gone, or older than the others, at some time.
    pub(crate) lost_bucket: bool,
    /// If it began empty and has not been ready yet: the vector of each peer at its greeting.
    pub(crate) filling: Option<BTreeMap<usize, VersionVector>>,
    /// Errors of the device that were counted so far.
    failures_seen: u64,
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
    pub(crate) dead: BTreeSet<u32>,
    /// An operator confirmed its clock while that was wrong, or the node had no peers and believed a wrong clock at its
    /// start.
    pub(crate) misled: bool,
    /// When it last went down, awake time.
    pub(super) down_since: Option<Duration>,
}

/// A running process.
pub struct Process {
    pub(crate) replica: Replica<Disk>,
    /// Zero of its monotonic clock, in elapsed time.
    pub(super) started: Duration,
    pub(crate) syncing: Option<BatchId>,
    /// Since when a batch is on its way to the disk.
    pub(super) syncing_since: Duration,
    pub(super) timer_at: Option<Duration>,
    pub(super) tickets: BTreeMap<Ticket, super::client::Asked>,
    pub(super) links: BTreeMap<LinkId, usize>,
    /// Requests that wait for room in a batch.
    pub(super) waiting: VecDeque<(usize, u32)>,
    pub(super) readers: Vec<super::client::WaitingRead>,
}

impl Node {
    pub(super) fn all(scenario: &Scenario, seed: u64, added_later: &BTreeSet<usize>) -> Vec<Node> {
        let mut nodes = Vec::new();
        for (index, name) in scenario.regions.iter().enumerate() {
            let mut draws = stream(seed, "clock", index as u64);
            let skew = i64::try_from(scenario.clocks.skew.as_millis()).unwrap_or(0);
            let off = draws.random_range(-skew..=skew);
            let ppm = scenario.clocks.drift_ppm * draws.random_range(-1.0..=1.0);
            // Checked when the scenario was read.
            let (Ok(node), Ok(region)) = (name.parse(), scenario.region_of(name).parse()) else { continue };
            nodes.push(Node {
                name: node,
                region,
                disk: Disk::new(stream(seed, "disk", index as u64)),
                clock: WallClock::new(off, ppm),
                process: None,
                exists: !added_later.contains(&index),
                epoch: 0,
                paused: 0,
                backlog: VecDeque::new(),
                slow: Duration::ZERO,
                busy_until: Duration::ZERO,
                slow_sync: None,
                lying: false,
                hung: false,
                hung_sync: None,
                damaged: BTreeSet::new(),
                lost_bucket: false,
                filling: added_later.contains(&index).then(BTreeMap::new),
                failures_seen: 0,
                sync_draws: stream(seed, "sync", index as u64),
                told: VersionVector::default(),
                acked: VersionVector::default(),
                rolled_back: false,
                gone_back: BTreeSet::new(),
                ids: BTreeSet::new(),
                restored_at: None,
                dead: BTreeSet::new(),
                misled: false,
                down_since: None,
            });
        }
        #[cfg(test)]
        if scenario.name == crate::canary::NAME {
            nodes.iter().for_each(|node| node.disk.make_the_mistake());
        }
        nodes
    }

    /// A peer greets: if the region began empty, it must have what the peer has now before it is ready.
    pub(super) fn note_greeting(&mut self, from: usize, bytes: &[u8]) {
        if let Some(filling) = &mut self.filling
            && let Ok(Frame::Hello(hello)) = Frame::decode(bytes)
        {
            filling.entry(from).or_insert(hello.vector);
        }
    }
}

impl World {
    /// Whether two regions can have a link.
    pub(crate) fn are_neighbours(&self, a: usize, b: usize) -> bool {
        let exist: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].exists).collect();
        let place = |node| exist.iter().position(|other| *other == node);
        let (Some(a), Some(b)) = (place(a), place(b)) else { return false };
        a != b && self.scenario.network.topology.links(a, b, exist.len())
    }

    fn config(&self, node: usize) -> ReplicaConfig {
        let settings = &self.scenario.replica;
        // All others, linked or not. After a roll-back any of them may hold entries of the log, so all must be asked.
        let peers = (0..self.nodes.len()).filter(|peer| *peer != node && self.nodes[*peer].exists);
        let peers = peers.map(|peer| (self.nodes[peer].name.clone(), self.nodes[peer].region.clone())).collect();
        ReplicaConfig {
            // Differs for each process.
            boot: (node as u64) << 32 | self.nodes[node].epoch,
            max_retention: settings.max_retention,
            max_clock_skew: settings.max_clock_skew,
            heartbeat: settings.heartbeat,
            relay_after: settings.relay_after,
            in_flight_bytes: settings.in_flight_kib * 1024,
            ..ReplicaConfig::new(self.nodes[node].name.clone(), self.nodes[node].region.clone(), peers)
        }
    }

    /// Starts the process, unless it runs or its region does not exist.
    pub(super) fn start(&mut self, at: usize) {
        if self.nodes[at].process.is_some() || !self.nodes[at].exists {
            return;
        }
        if self.nodes[at].hung {
            // A start forces the store to the disk first, and that sync would not return.
            let epoch = self.nodes[at].epoch;
            self.calendar.schedule(self.calendar.now() + RESTART_AFTER, Event::Restart { node: at, epoch });
            return;
        }
        self.nodes[at].epoch += 1;
        if let Some(filling) = &mut self.nodes[at].filling {
            filling.clear();
        }
        let config = self.config(at);
        // A replica without peers believes its clock at a start, so it may drop its own entries by a wrong one.
        let skew = self.scenario.replica.max_clock_skew.as_millis();
        self.nodes[at].misled |= config.peers.is_empty() && u128::from(self.clock_error(at).unsigned_abs()) > skew;
        let now = self.now_of(at);
        let started = self.calendar.elapsed();
        let epoch = self.nodes[at].epoch;
        let mut ids = stream(self.seed, "ids", (at as u64) << 32 | epoch);
        let mint = Box::new(move || ReplicaId(ids.random()));
        let disk = self.nodes[at].disk.clone();
        let Ok(replica) = Replica::open(config, disk, mint, now) else {
            // After an error of the device the supervisor tries again. Without one the store must open.
            let excused = self.disk_has_failed(at);
            self.require(Invariant::Durability, Some(at), excused, || "its store does not open any more".to_owned());
            self.note_disk_failures(at);
            self.calendar.schedule(self.calendar.now() + RESTART_AFTER, Event::Restart { node: at, epoch });
            return;
        };
        let known = replica.durable().clone();
        let id = replica.id();
        let node = &mut self.nodes[at];
        if node.rolled_back {
            // Under a new id the roll-back need not be noticed any more.
            node.rolled_back = node.ids.contains(&id);
            node.gone_back.insert(id);
        }
        node.ids.insert(id);
        node.process = Some(Process {
            replica,
            started,
            syncing: None,
            syncing_since: Duration::ZERO,
            timer_at: None,
            tickets: BTreeMap::new(),
            links: BTreeMap::new(),
            waiting: VecDeque::new(),
            readers: Vec::new(),
        });
        node.down_since = None;
        let kept = (known.covers(&node.told), known.covers(&node.acked));
        let expected = !node.rolled_back && !node.lying;
        self.trace.note(self.calendar.now(), b'S', at, &epoch.to_be_bytes());
        self.history.record(self.calendar.now(), || Record::Machine { node: at, what: Machine::Starts });
        if expected {
            self.require(Invariant::Durability, Some(at), kept.1, || {
                "a crash took what it had acknowledged".to_owned()
            });
            self.require(Invariant::Durability, Some(at), kept.0, || {
                "a crash took what it had told its peers".to_owned()
            });
        } else if !kept.1 && !self.nodes[at].rolled_back {
            self.require(Invariant::Durability, Some(at), false, || {
                "a crash took what it had acknowledged: its disk lied".to_owned()
            });
        }
        self.dial_all(at);
        self.turn(at);
    }

    /// The machine dies. Unsynced batches are lost in part.
    pub(super) fn kill(&mut self, at: usize) {
        self.die(at, false);
    }

    /// The process dies, and the machine goes on. Unsynced batches stay in the page cache in part.
    pub(super) fn kill_process(&mut self, at: usize) {
        self.die(at, true);
    }

    fn die(&mut self, at: usize, machine_goes_on: bool) {
        let Some(process) = self.nodes[at].process.take() else {
            // The machine loses what an earlier process left in the page cache.
            if !machine_goes_on {
                self.nodes[at].disk.crash();
            }
            return;
        };
        self.trace.note(self.calendar.now(), b'K', at, &[]);
        self.history.record(self.calendar.now(), || Record::Machine { node: at, what: Machine::Down });
        let now = self.calendar.now();
        let node = &mut self.nodes[at];
        let crash = if machine_goes_on {
            node.disk.kill();
            Crash::default()
        } else {
            node.disk.crash()
        };
        node.epoch += 1;
        node.paused = 0;
        node.backlog.clear();
        node.busy_until = now;
        node.down_since = Some(now);
        // If an erasure was not durable, its visit may be alive again. Erasures that were acknowledged or told must
        // stay.
        let (told, visits) = (&node.told, &self.model.visits);
        node.dead.retain(|visit| {
            let truth = visits.get(visit);
            truth.is_some_and(|truth| {
                truth.erased.iter().any(|erased| !erased.lost && (erased.node == at || told.contains(erased.dot)))
                    || truth.again.iter().any(|again| again.hash.is_none() && !again.lost && again.node == at)
            })
        });
        let epoch = node.epoch;
        if crash.lost {
            self.marks.insert(if crash.kept { Mark::BatchTorn } else { Mark::BatchLost });
        }
        for (link, peer) in process.links {
            self.say_closed(at, peer, link);
        }
        self.watch_detection(at, epoch);
    }

    /// The process stops cleanly: it makes everything durable first.
    pub(super) fn stop(&mut self, at: usize) {
        if self.nodes[at].hung {
            return self.kill_process(at);
        }
        let now = self.now_of(at);
        if let Some(process) = &mut self.nodes[at].process {
            process.replica.handle_stop(now);
            let disk = self.nodes[at].disk.clone();
            let Some(process) = &mut self.nodes[at].process else { return };
            // One batch may be in flight, one is gathered, and the removals of erased rows make a third.
            for _ in 0..4 {
                let syncing = process.syncing.take();
                let done = syncing
                    .map_or(Ok(()), |batch| disk.sync().and_then(|()| process.replica.handle_durable(now, batch)));
                match done.and_then(|()| process.replica.poll_batch()) {
                    Ok(next) => process.syncing = next,
                    Err(_) => break,
                }
            }
            self.drain_events(at);
            self.history.record(self.calendar.now(), || Record::Machine { node: at, what: Machine::Stops });
        }
        self.kill(at);
    }

    /// The process stops because of an error of its disk, which must have reported one.
    pub(super) fn fail(&mut self, at: usize) {
        self.note_disk_failures(at);
        let excused = self.disk_has_failed(at);
        self.require(Invariant::Durability, Some(at), excused, || {
            "the replica gave its store up for corrupt".to_owned()
        });
        self.history.record(self.calendar.now(), || Record::Machine { node: at, what: Machine::DiskFailed });
        self.kill(at);
        let epoch = self.nodes[at].epoch;
        self.calendar.schedule(self.calendar.now() + RESTART_AFTER, Event::Restart { node: at, epoch });
    }

    /// Whether the device has reported an error since the last call.
    fn disk_has_failed(&mut self, at: usize) -> bool {
        let failed = self.nodes[at].disk.failed();
        std::mem::replace(&mut self.nodes[at].failures_seen, failed) < failed
    }

    fn note_disk_failures(&mut self, at: usize) {
        let mut kinds = Vec::new();
        for fault in self.faults.iter().filter(|fault| fault.on) {
            match fault.act {
                Act::FullDisk { region } | Act::ReadErrors { region, .. } | Act::Flip { region } if region == at => {
                    kinds.push(fault.act.kind())
                }
                _ => {}
            }
        }
        for kind in kinds {
            self.mark(kind);
        }
    }

    /// The process dies and its disk goes back in time.
    pub(super) fn roll_back(&mut self, at: usize, to: &Snapshot) {
        self.kill(at);
        self.nodes[at].disk.restore(to);
        let node = &mut self.nodes[at];
        node.damaged.retain(|bucket| node.disk.is_damaged(*bucket));
        self.went_back(at);
    }

    /// The disk, or a part of it, went back to an older state or is gone.
    pub(super) fn went_back(&mut self, at: usize) {
        self.history.record(self.calendar.now(), || Record::Machine { node: at, what: Machine::RolledBack });
        self.nodes[at].told = VersionVector::default();
        self.nodes[at].acked = VersionVector::default();
        self.nodes[at].rolled_back = true;
        self.nodes[at].restored_at = Some(self.calendar.true_wall());
        self.nodes[at].dead.clear();
        self.lost_by_contract(at);
    }

    /// The operator removes the buckets with a value that cannot be read.
    pub(super) fn cut_damaged(&mut self, at: usize) {
        for bucket in std::mem::take(&mut self.nodes[at].damaged) {
            if self.nodes[at].disk.is_damaged(bucket) {
                self.kill_process(at);
                self.nodes[at].disk.lose_bucket(bucket);
                self.nodes[at].lost_bucket = true;
                self.went_back(at);
                self.mark(FaultKind::Flip);
            }
        }
    }

    /// This machine's disk went back or away: entries that no machine has any longer are lost by contract.
    pub(super) fn lost_by_contract(&mut self, went_back: usize) {
        let mut known = VersionVector::default();
        for node in self.nodes.iter().filter(|node| node.exists) {
            // A stopped process still has its disk, with all that it told.
            match &node.process {
                Some(process) => known.merge(process.replica.durable()),
                None => known.merge(&node.told),
            }
        }
        // A store keeps the entries of its own log. Entries of other logs beyond its vector it may take out again.
        let logs: Vec<_> = self.nodes.iter().map(|node| node.exists.then(|| node.disk.contents())).collect();
        let has = |by: usize, dot: Dot| {
            logs[by].as_ref().is_some_and(|storage| {
                let entry = |bucket| storage.get(bucket, &log_key(dot));
                storage.buckets().into_iter().any(|bucket| entry(bucket).is_ok_and(|entry| entry.is_some()))
            })
        };
        if self.model.lose(went_back, |dot, by| known.contains(dot) || has(by, dot)) {
            self.lost_at = Some(self.calendar.now());
        }
        let readers: Vec<_> =
            (0..self.nodes.len()).filter(|at| self.nodes[*at].exists).map(|at| self.reader(at)).collect();
        let view = View::applied(self.calendar.true_wall());
        let is_shown = |name: &DocumentName| {
            readers.iter().any(|reader| reader.rows(name, false, view).is_ok_and(|rows| !rows.is_empty()))
        };
        self.model.count_losses(self.calendar.true_wall(), is_shown);
    }

    /// An input reaches the machine.
    pub(super) fn arrive(&mut self, at: usize, input: Input) {
        let node = &mut self.nodes[at];
        if node.paused > 0 {
            node.backlog.push_back(input);
            return;
        }
        if !node.slow.is_zero() || node.busy_until > self.calendar.now() {
            let begins = node.busy_until.max(self.calendar.now());
            node.busy_until = begins + node.slow;
            node.backlog.push_back(input);
            let (ready, epoch) = (node.busy_until, node.epoch);
            self.calendar.schedule(ready, Event::Ready { node: at, epoch });
            return;
        }
        self.handle(at, input);
    }

    /// A slow machine is done with one input.
    pub(super) fn work_off(&mut self, at: usize, epoch: u64) {
        if self.nodes[at].epoch != epoch || self.nodes[at].paused > 0 {
            return;
        }
        if let Some(input) = self.nodes[at].backlog.pop_front() {
            self.mark(FaultKind::SlowNode);
            self.handle(at, input);
        }
    }

    /// A machine is as fast again as before: it handles the waiting inputs at once.
    pub(super) fn speed_up(&mut self, at: usize) {
        self.nodes[at].slow = Duration::ZERO;
        self.nodes[at].busy_until = self.calendar.now();
        if self.nodes[at].paused == 0 {
            for input in std::mem::take(&mut self.nodes[at].backlog) {
                self.handle(at, input);
            }
        }
    }

    /// A process that stood still goes on.
    pub(super) fn resume(&mut self, at: usize) {
        self.nodes[at].paused = self.nodes[at].paused.saturating_sub(1);
        if self.nodes[at].paused > 0 {
            return;
        }
        for input in std::mem::take(&mut self.nodes[at].backlog) {
            self.handle(at, input);
        }
        if let Some(process) = &mut self.nodes[at].process {
            process.timer_at = None;
        }
        self.turn(at);
    }

    /// After a night every timer is due.
    pub(super) fn wake_all(&mut self) {
        for at in 0..self.nodes.len() {
            if let Some(process) = &mut self.nodes[at].process {
                process.timer_at = None;
                self.turn(at);
            }
        }
    }
}
