//! What a fault does when it begins and when it ends.
//!
//! A fault is matched exhaustively wherever it matters, so that the compiler lists the places that a new one must fill.

use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};
use std::sync::Arc;
use std::time::Duration;

use replication::VersionVector;
use replication::memory::Snapshot;

use super::network::Degradation;
use super::{CalendarEvent, World};
use crate::coverage::Coverage;
use crate::history::{Record, Turn};
use crate::index::{FaultIndex, NodeIndex};
use crate::scenario::{Act, FaultKind, Flap, Links, Resolved, Touched};

/// Whether a machine may not answer while a fault goes on.
fn stops(act: &Act<NodeIndex>, node: NodeIndex) -> bool {
    match act.touched() {
        Touched::Links(..) | Touched::LinksPast(_) | Touched::Clock(_) | Touched::All => false,
        // All other machines are restarted, one after the other.
        Touched::Deployment(_) => true,
        Touched::Machine(region) => *region == node,
    }
}

/// A planned fault and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) at: Duration,
    pub(super) lasts: Duration,
    pub(super) act: Act<NodeIndex>,
    links: Arc<Links>,
    pub(super) on: bool,
    /// For a flapping partition: whether it is cut at this moment.
    cut: bool,
    /// For a restore: the state to which the disk goes back.
    backup: Option<Backup>,
}

/// A copy of a disk.
#[derive(Clone, Debug)]
struct Backup {
    made: Duration,
    disk: Snapshot,
    /// The vector that its replica knew.
    known: VersionVector,
}

impl Planned {
    pub(super) fn new(Resolved { at, lasts, act, links }: Resolved) -> Planned {
        Planned { at, lasts, act, links: Arc::new(links), on: false, cut: false, backup: None }
    }

    /// Whether the fault makes the path between two machines worse.
    fn is_between(&self, a: NodeIndex, b: NodeIndex) -> bool {
        self.links.contains(&(a, b)) || self.links.contains(&(b, a))
    }
}

/// All faults of the plan.
pub(super) struct Faults(Vec<Planned>);

impl Index<FaultIndex> for Faults {
    type Output = Planned;

    fn index(&self, fault: FaultIndex) -> &Planned {
        &self.0[fault.0]
    }
}

impl IndexMut<FaultIndex> for Faults {
    fn index_mut(&mut self, fault: FaultIndex) -> &mut Planned {
        &mut self.0[fault.0]
    }
}

impl Faults {
    pub(super) fn new(faults: Vec<Resolved>) -> Faults {
        Faults(faults.into_iter().map(Planned::new).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Planned> {
        self.0.iter()
    }

    fn indices(&self) -> impl Iterator<Item = FaultIndex> + use<> {
        (0..self.0.len()).map(FaultIndex)
    }

    /// What the faults do that have begun by then, those that are over included.
    pub(super) fn begun_by(&self, now: Duration) -> impl Iterator<Item = &Act<NodeIndex>> {
        self.iter().filter(move |fault| fault.at <= now).map(|fault| &fault.act)
    }

    /// Whether one of them loses frames on links that stay up.
    pub(super) fn lose_frames(&self) -> bool {
        self.iter().any(|fault| matches!(fault.act, Act::Degrade { loss, .. } if loss > 0.0))
    }
}

/// Time between two restarts of a rolling change of configuration.
const ROLLING: Duration = Duration::from_secs(2);

impl World {
    /// Puts all faults of the scenario on the calendar.
    pub(super) fn plan_faults(&mut self) {
        for fault in self.faults.indices() {
            let Planned { at, act, .. } = &self.faults[fault];
            let (at, before) =
                (*at, if let Act::Restore { by, .. } | Act::OldBucket { by, .. } = act { Some(*by) } else { None });
            if let Some(by) = before {
                self.calendar.schedule(at.saturating_sub(by), CalendarEvent::Backup(fault));
            }
            self.calendar.schedule(at, CalendarEvent::FaultBegins(fault));
        }
    }

    pub(super) fn backup(&mut self, fault: FaultIndex) {
        if let Act::Restore { region, .. } | Act::OldBucket { region, .. } = self.faults[fault].act {
            let node = &self.nodes[region];
            let (made, disk, known) = (self.calendar.now(), node.disk.snapshot(), self.nodes[region].known().clone());
            self.faults[fault].backup = Some(Backup { made, disk, known });
        }
    }

    pub(super) fn fault_begins(&mut self, fault: FaultIndex) {
        let Planned { act, lasts, links, .. } = self.faults[fault].clone();
        let kind = act.kind();
        self.faults[fault].on = true;
        self.history.record_fault(self.calendar.now(), fault, &self.scenario.faults[fault.0], Turn::Begins);
        match &act {
            Act::Partition { .. } | Act::Bridge { .. } => {
                self.net.cut(links.iter().copied());
                self.faults[fault].cut = true;
                if links.iter().any(|(from, to)| !links.contains(&(*to, *from))) {
                    self.coverage.insert(Coverage::OneWay);
                }
                if let Act::Partition { flap: Some(Flap { down, .. }), .. } = &act {
                    self.calendar.schedule(self.calendar.now() + *down, CalendarEvent::Flap(fault));
                }
                self.coverage.fault(kind);
            }
            Act::Degrade { loss, duplicate, reorder, latency, bandwidth_mbps, .. } => {
                let (loss, duplicate, reorder) = (*loss, *duplicate, *reorder);
                let how = Degradation { loss, duplicate, reorder, latency: *latency, bandwidth_mbps: *bandwidth_mbps };
                self.net.degrade(fault, links.iter().copied(), how);
                self.coverage.fault(kind);
            }
            Act::Crash { region } => {
                self.coverage.fault_if(kind, self.nodes[*region].process.is_some());
                self.kill(*region);
            }
            // Marked when the batch comes.
            Act::TornBatch { region } => self.nodes[*region].is_doomed = true,
            Act::Kill { region } => {
                self.coverage.fault_if(kind, self.nodes[*region].process.is_some());
                self.kill_process(*region);
            }
            Act::Restart { region } => {
                self.coverage.fault_if(kind, self.nodes[*region].process.is_some());
                self.stop(*region);
            }
            Act::Pause { region } => {
                self.coverage.fault_if(kind, self.nodes[*region].process.is_some());
                self.nodes[*region].paused += 1;
            }
            Act::SlowNode { region, by } => {
                // Marked when an input is late.
                self.nodes[*region].slow = *by;
            }
            Act::SlowDisk { region, by } => {
                self.nodes[*region].slow_sync = Some(*by);
                self.coverage.fault(kind);
            }
            // Marked when a sync does not return.
            Act::HungDisk { region } => self.nodes[*region].hung = true,
            Act::LoseBucket { region } => {
                self.stop(*region);
                if let Some(bucket) = self.nodes[*region].disk.some_bucket() {
                    self.coverage.fault(kind);
                    self.nodes[*region].disk.lose_bucket(bucket);
                    self.nodes[*region].lost_bucket = true;
                    self.went_back(*region);
                }
            }
            Act::OldBucket { region, .. } => {
                self.stop(*region);
                // As with a whole backup, its dots must not have been lost and used again since (A8).
                let lost_at = self.lost_at;
                let is_safe = |backup: &Backup| lost_at.is_none_or(|lost| lost < backup.made);
                let backup = self.faults[fault].backup.take().filter(is_safe);
                let bucket = self.nodes[*region].disk.some_bucket();
                if let (Some(backup), Some(bucket)) = (backup, bucket)
                    && self.nodes[*region].disk.revert_bucket(bucket, &backup.disk)
                {
                    self.coverage.fault(kind);
                    self.nodes[*region].lost_bucket = true;
                    self.went_back(*region);
                }
            }
            // Marked when the value is read, or the bucket cut.
            Act::Flip { region } => {
                let damaged = self.nodes[*region].disk.flip();
                self.nodes[*region].damaged.extend(damaged);
            }
            Act::Rot { region, share } => {
                let happened = self.rot(*region, *share);
                self.coverage.fault_if(kind, happened);
            }
            Act::Restarts { .. } => self.restart_again(fault),
            // These two are marked when a call fails.
            Act::FullDisk { region } => self.nodes[*region].disk.set_full(true),
            Act::ReadErrors { region, share } => self.nodes[*region].disk.set_read_errors(*share),
            Act::LyingDisk { region } => {
                self.nodes[*region].lying = true;
                self.coverage.fault(kind);
            }
            Act::Restore { region, .. } => {
                // A restore is skipped if it could bring back dots that were lost and used again since (A8): if an
                // earlier roll-back of this machine is still unnoticed, or if anything was lost since the backup was
                // made.
                let unnoticed = self.nodes[*region].rolled_back;
                let is_safe = |backup: &Backup| {
                    let is_older = self.lost_at.is_none_or(|lost| lost < backup.made);
                    !unnoticed && is_older && self.would_be_noticed(*region, &backup.known, lasts, fault)
                };
                let backup = self.faults[fault].backup.clone().filter(is_safe);
                if let Some(backup) = backup {
                    self.coverage.fault(kind);
                    self.roll_back(*region, &backup.disk);
                }
            }
            Act::ClockStep { region, by } => {
                self.nodes[*region].clock.stepped_ms += by.as_millis();
                self.clocks_touched.insert(*region);
                self.coverage.fault(kind);
            }
            Act::ClockDrift { region, ppm } => {
                self.nodes[*region].clock.drifting = Some((*ppm, self.calendar.elapsed()));
                self.clocks_touched.insert(*region);
                self.coverage.fault(kind);
            }
            Act::BelieveClock { region } => {
                let now = self.now_of(*region);
                let skew = self.scenario.replica.max_clock_skew.as_millis();
                self.nodes[*region].believed_wrong_clock |= u128::from(self.clock_error(*region).unsigned_abs()) > skew;
                if let Some(process) = &mut self.nodes[*region].process {
                    // The word is forced, because an operator who is wrong may insist.
                    let _ = process.replica.trust_wall_clock(now, now.wall, true);
                    self.coverage.fault(kind);
                }
            }
            Act::Add { region } => {
                self.nodes[*region].exists = true;
                self.coverage.fault(kind);
                self.start(*region);
                self.reconfigure(*region);
            }
            Act::Remove { region } => {
                self.coverage.fault(kind);
                self.stop(*region);
                self.nodes[*region].exists = false;
                self.lost_by_contract(*region);
                self.reconfigure(*region);
            }
            Act::Rejoin { region } => {
                self.nodes[*region].exists = true;
                self.coverage.fault(kind);
                self.start(*region);
                self.reconfigure(*region);
            }
            Act::Night {} => {
                self.calendar.sleep(lasts);
                self.coverage.fault(kind);
                self.wake_all();
            }
        }
        self.trace.note(self.calendar.now(), b'F', kind as usize, &[]);
        // When a night is over, the machines have been woken already.
        if kind.has_length() && kind != FaultKind::Night {
            self.calendar.schedule(self.calendar.now() + lasts, CalendarEvent::FaultEnds(fault));
        }
    }

    /// Whether a replica whose disk goes back is sure to learn of it at its next start (A8). A restarted replica keeps
    /// its id if a majority confirms it, even if some peers cannot be asked. So a peer with entries beyond the backup
    /// must be able to answer: it is a neighbour, and no other fault touches it or the path until the start is over. If
    /// no peer has such entries yet, entries in flight may still reach any linked neighbour.
    fn would_be_noticed(&self, region: NodeIndex, known: &VersionVector, lasts: Duration, this: FaultIndex) -> bool {
        // If greetings are lost often, a majority may answer, and the peer that has more may not.
        if self.scenario.network.loss > 0.1 {
            return false;
        }
        let over = self.calendar.now() + lasts + self.scenario.replica.heartbeat * 18;
        let others = self.faults.indices().filter(|fault| *fault != this).map(|fault| &self.faults[fault]);
        let during: Vec<&Planned> =
            others.filter(|fault| fault.at < over && fault.at + fault.lasts > self.calendar.now()).collect();
        if during.iter().any(|fault| stops(&fault.act, region)) {
            return false;
        }
        // A removed region that comes back later brings its entries with it, and cannot be asked before.
        let comes_back =
            |node: NodeIndex| self.faults.iter().any(|f| matches!(f.act, Act::Rejoin { region } if region == node));
        let is_away = |node: NodeIndex| !self.nodes[node].exists && comes_back(node);
        let has_own = |node: NodeIndex| {
            self.nodes[region].ids.iter().any(|id| self.nodes[node].known().get(*id) > known.get(*id))
        };
        if self.nodes.indices().any(|node| is_away(node) && has_own(node)) {
            return false;
        }
        let can_answer = |peer: NodeIndex| {
            let runs = self.nodes[peer].is_up();
            let is_open = self.net.is_open(peer, region) && self.net.is_open(region, peer);
            runs && is_open && !during.iter().any(|fault| stops(&fault.act, peer) || fault.is_between(peer, region))
        };
        let neighbours: Vec<NodeIndex> =
            self.nodes.indices().filter(|peer| self.nodes.are_neighbours(region, *peer)).collect();
        let has_more = |peer: NodeIndex| {
            let theirs = self.nodes[peer].known();
            self.nodes[region].ids.iter().any(|id| theirs.get(*id) > known.get(*id))
        };
        let everywhere: Vec<NodeIndex> = self
            .nodes
            .indices()
            .filter(|peer| *peer != region && self.nodes[*peer].exists && has_more(*peer))
            .collect();
        if everywhere.is_empty() {
            neighbours.iter().filter(|peer| self.nodes.are_linked(region, **peer)).all(|peer| can_answer(*peer))
        } else {
            neighbours.iter().any(|peer| everywhere.contains(peer) && can_answer(*peer))
        }
    }

    pub(super) fn fault_ends(&mut self, fault: FaultIndex) {
        if !std::mem::take(&mut self.faults[fault].on) {
            return;
        }
        self.history.record_fault(self.calendar.now(), fault, &self.scenario.faults[fault.0], Turn::Ends);
        let act = self.faults[fault].act.clone();
        match &act {
            Act::Partition { .. } | Act::Bridge { .. } => {
                if std::mem::take(&mut self.faults[fault].cut) {
                    let links = Arc::clone(&self.faults[fault].links);
                    self.net.mend(links.iter().copied());
                }
            }
            Act::Degrade { .. } => self.net.restore(fault),
            Act::TornBatch { region } => {
                self.nodes[*region].is_doomed = false;
                self.start(*region);
            }
            Act::Crash { region }
            | Act::Kill { region }
            | Act::Restart { region }
            | Act::Restore { region, .. }
            | Act::LoseBucket { region }
            | Act::OldBucket { region, .. }
            | Act::Restarts { region, .. } => self.start(*region),
            Act::HungDisk { region } => self.unhang(*region),
            Act::Flip { region } => {
                self.cut_damaged(*region);
                self.start(*region);
            }
            Act::Pause { region } => self.resume(*region),
            Act::SlowNode { region, .. } => self.speed_up(*region),
            Act::SlowDisk { region, .. } => self.nodes[*region].slow_sync = None,
            Act::FullDisk { region } => self.nodes[*region].disk.set_full(false),
            Act::ReadErrors { region, .. } => self.nodes[*region].disk.set_read_errors(0.0),
            // Batches that it did not sync before stay unsynced.
            Act::LyingDisk { region } => self.nodes[*region].lying = false,
            Act::ClockStep { region, by } => self.nodes[*region].clock.stepped_ms -= by.as_millis(),
            Act::ClockDrift { region, .. } => {
                let elapsed = self.calendar.elapsed();
                self.nodes[*region].clock.stop_drift(elapsed);
                self.nodes[*region].clock.heal();
            }
            Act::BelieveClock { .. }
            | Act::Add { .. }
            | Act::Remove { .. }
            | Act::Rejoin { .. }
            | Act::Rot { .. }
            | Act::Night {} => {}
        }
        self.watch_recovery();
    }

    /// The disk answers again.
    pub(super) fn unhang(&mut self, node: NodeIndex) {
        self.nodes[node].hung = false;
        if let Some((epoch, batch)) = self.nodes[node].hung_sync.take() {
            self.calendar.schedule(self.calendar.now(), CalendarEvent::Synced { node, epoch, batch });
        }
    }

    /// One more restart of a region under repeated restarts.
    pub(super) fn restart_again(&mut self, fault: FaultIndex) {
        let Planned { act: Act::Restarts { region, every }, on: true, .. } = self.faults[fault].clone() else { return };
        self.coverage.fault_if(FaultKind::Restarts, self.nodes[region].process.is_some());
        self.stop(region);
        let epoch = self.nodes[region].epoch;
        self.calendar.schedule(self.calendar.now() + every / 4, CalendarEvent::Restart { node: region, epoch });
        self.calendar.schedule(self.calendar.now() + every, CalendarEvent::RestartAgain(fault));
    }

    /// A flapping partition opens or closes.
    pub(super) fn flap(&mut self, fault: FaultIndex) {
        let Planned { act: Act::Partition { flap: Some(Flap { down, up }), .. }, links, .. } =
            self.faults[fault].clone()
        else {
            return;
        };
        if !self.faults[fault].on {
            return;
        }
        let cut = !self.faults[fault].cut;
        self.faults[fault].cut = cut;
        self.history.record_fault(
            self.calendar.now(),
            fault,
            &self.scenario.faults[fault.0],
            if cut { Turn::Cuts } else { Turn::Opens },
        );
        if cut {
            self.net.cut(links.iter().copied())
        } else {
            self.coverage.insert(Coverage::Flapping);
            self.net.mend(links.iter().copied())
        }
        self.calendar.schedule(self.calendar.now() + if cut { down } else { up }, CalendarEvent::Flap(fault));
    }

    /// All other regions learn of one that came or went, one after the other.
    fn reconfigure(&mut self, changed: NodeIndex) {
        let mut at = self.calendar.now();
        for node in self.nodes.indices() {
            if node == changed || !self.nodes[node].exists {
                continue;
            }
            at += ROLLING;
            self.calendar.schedule(at, CalendarEvent::Reconfigure(node));
        }
    }

    /// The last phase begins: the core is healed for good; the other regions stay as they are and are cut off.
    pub(super) fn heal(&mut self, core: &BTreeSet<NodeIndex>) {
        self.history.record(self.calendar.now(), || Record::Healed);
        for fault in self.faults.indices() {
            self.faults[fault].on = false;
        }
        self.net.heal(core);
        for region in core {
            let node = &mut self.nodes[*region];
            node.clock.heal();
            node.slow_sync = None;
            node.lying = false;
            node.is_doomed = false;
            node.disk.set_full(false);
            node.disk.set_read_errors(0.0);
            self.unhang(*region);
            self.cut_damaged(*region);
            self.speed_up(*region);
            while self.nodes[*region].paused > 0 {
                self.resume(*region);
            }
            if self.nodes[*region].process.is_none() {
                self.start(*region);
            }
        }
    }
}
