//! What a fault does when it begins and when it ends.
//!
//! A fault is matched exhaustively wherever it matters, so that the compiler lists the places that a new one must fill.

use std::collections::BTreeSet;
use std::time::Duration;

use replication::VersionVector;
use replication::memory::Snapshot;

use super::{Event, Mark, World};
use crate::history::{Record, Turn};
use crate::scenario::FaultKind;

/// How much worse a path gets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Degradation {
    /// Share of messages that vanish.
    pub loss: f64,
    /// Share that arrives twice.
    pub duplicate: f64,
    /// Share that is overtaken.
    pub reorder: f64,
    /// Added to the one-way time.
    pub latency: Duration,
    /// Upper limit.
    pub bandwidth_mbps: Option<f64>,
}

/// A fault with regions as indices; see [`FaultKind`] for what each does.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Act {
    Cut { pairs: BTreeSet<(usize, usize)>, flap: Option<(Duration, Duration)> },
    Degrade { pairs: BTreeSet<(usize, usize)>, how: Degradation },
    Crash { region: usize },
    Kill { region: usize },
    Restart { region: usize },
    Pause { region: usize },
    SlowNode { region: usize, by: Duration },
    SlowDisk { region: usize, sync: Duration },
    FullDisk { region: usize },
    ReadErrors { region: usize, share: f64 },
    LyingDisk { region: usize },
    HungDisk { region: usize },
    LoseBucket { region: usize },
    OldBucket { region: usize, age: Duration },
    Flip { region: usize },
    Restarts { region: usize, every: Duration },
    Restore { region: usize, age: Duration },
    ClockStep { region: usize, by_ms: i64 },
    ClockDrift { region: usize, ppm: f64 },
    BelieveClock { region: usize },
    Add { region: usize },
    Remove { region: usize },
    Rejoin { region: usize },
    Night { lasts: Duration },
}

impl Act {
    /// Whether a machine may not answer while this goes on.
    fn stops(&self, at: usize) -> bool {
        match self {
            Act::Cut { .. } | Act::Degrade { .. } | Act::Night { .. } => false,
            Act::ClockStep { .. } | Act::ClockDrift { .. } | Act::BelieveClock { .. } => false,
            // All other machines are restarted, one after the other.
            Act::Add { .. } | Act::Remove { .. } | Act::Rejoin { .. } => true,
            Act::Crash { region }
            | Act::Kill { region }
            | Act::HungDisk { region }
            | Act::LoseBucket { region }
            | Act::OldBucket { region, .. }
            | Act::Flip { region }
            | Act::Restarts { region, .. }
            | Act::Restart { region }
            | Act::Pause { region }
            | Act::SlowNode { region, .. }
            | Act::SlowDisk { region, .. }
            | Act::FullDisk { region }
            | Act::ReadErrors { region, .. }
            | Act::LyingDisk { region }
            | Act::Restore { region, .. } => *region == at,
        }
    }

    /// Whether the fault makes the path between two machines worse.
    fn is_between(&self, a: usize, b: usize) -> bool {
        match self {
            Act::Cut { pairs, .. } | Act::Degrade { pairs, .. } => pairs.contains(&(a, b)) || pairs.contains(&(b, a)),
            _ => false,
        }
    }
}

/// A planned fault and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) kind: FaultKind,
    pub(super) act: Act,
    pub(super) lasts: Duration,
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
    pub(super) fn new(kind: FaultKind, act: Act, lasts: Duration) -> Planned {
        Planned { kind, act, lasts, on: false, cut: false, backup: None }
    }
}

/// Time between two restarts of a rolling change of configuration.
const ROLLING: Duration = Duration::from_secs(2);

impl World {
    /// Puts all faults of the scenario on the calendar.
    pub(super) fn plan_faults(&mut self, at: &[Duration]) {
        for (fault, at) in at.iter().enumerate() {
            if let Act::Restore { age, .. } | Act::OldBucket { age, .. } = &self.faults[fault].act {
                self.schedule(at.saturating_sub(*age), Event::Backup(fault));
            }
            self.schedule(*at, Event::FaultBegins(fault));
        }
    }

    pub(super) fn backup(&mut self, fault: usize) {
        if let Act::Restore { region, .. } | Act::OldBucket { region, .. } = self.faults[fault].act {
            let node = &self.nodes[region];
            let (made, disk, known) = (self.now, node.disk.snapshot(), self.known_at(region));
            self.faults[fault].backup = Some(Backup { made, disk, known });
        }
    }

    pub(super) fn fault_begins(&mut self, fault: usize) {
        let Planned { kind, act, lasts, .. } = self.faults[fault].clone();
        self.faults[fault].on = true;
        self.tell_fault(fault, Turn::Begins);
        match &act {
            Act::Cut { pairs, flap } => {
                self.net.cut(pairs.iter().copied());
                self.faults[fault].cut = true;
                if pairs.iter().any(|(from, to)| !pairs.contains(&(*to, *from))) {
                    self.marks.insert(Mark::OneWay);
                }
                if let Some((down, _)) = flap {
                    self.schedule(self.now + *down, Event::Flap(fault));
                }
                self.mark(kind);
            }
            Act::Degrade { pairs, how } => {
                self.net.degrade(fault, pairs.iter().copied(), *how);
                self.mark(kind);
            }
            Act::Crash { region } => {
                self.mark_if(kind, self.nodes[*region].process.is_some());
                self.kill(*region);
            }
            Act::Kill { region } => {
                self.mark_if(kind, self.nodes[*region].process.is_some());
                self.kill_process(*region);
            }
            Act::Restart { region } => {
                self.mark_if(kind, self.nodes[*region].process.is_some());
                self.stop(*region);
            }
            Act::Pause { region } => {
                self.mark_if(kind, self.nodes[*region].process.is_some());
                self.nodes[*region].paused += 1;
            }
            Act::SlowNode { region, by } => {
                // Marked when an input is late.
                self.nodes[*region].slow = *by;
            }
            Act::SlowDisk { region, sync } => {
                self.nodes[*region].slow_sync = Some(*sync);
                self.mark(kind);
            }
            // Marked when a sync does not return.
            Act::HungDisk { region } => self.nodes[*region].hung = true,
            Act::LoseBucket { region } => {
                self.stop(*region);
                if let Some(bucket) = self.nodes[*region].disk.some_bucket() {
                    self.mark(kind);
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
                    self.mark(kind);
                    self.nodes[*region].lost_bucket = true;
                    self.went_back(*region);
                }
            }
            // Marked when the value is read, or the bucket cut.
            Act::Flip { region } => {
                let damaged = self.nodes[*region].disk.flip();
                self.nodes[*region].damaged.extend(damaged);
            }
            Act::Restarts { .. } => self.restart_again(fault),
            // These two are marked when a call fails.
            Act::FullDisk { region } => self.nodes[*region].disk.set_full(true),
            Act::ReadErrors { region, share } => self.nodes[*region].disk.set_read_errors(*share),
            Act::LyingDisk { region } => {
                self.nodes[*region].lying = true;
                self.mark(kind);
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
                    self.mark(kind);
                    self.roll_back(*region, &backup.disk);
                }
            }
            Act::ClockStep { region, by_ms } => {
                self.nodes[*region].clock.stepped_ms += by_ms;
                self.clocks_touched.insert(*region);
                self.mark(kind);
            }
            Act::ClockDrift { region, ppm } => {
                self.nodes[*region].clock.drifting = Some((*ppm, self.elapsed()));
                self.clocks_touched.insert(*region);
                self.mark(kind);
            }
            Act::BelieveClock { region } => {
                let now = self.now_of(*region);
                let skew = self.scenario.replica.max_clock_skew.as_millis();
                self.nodes[*region].misled |= u128::from(self.clock_error(*region).unsigned_abs()) > skew;
                if let Some(process) = &mut self.nodes[*region].process {
                    // The word is forced, because an operator who is wrong may insist.
                    let _ = process.replica.trust_wall_clock(now, now.wall, true);
                    self.mark(kind);
                }
            }
            Act::Add { region } => {
                self.nodes[*region].exists = true;
                self.mark(kind);
                self.start(*region);
                self.reconfigure(*region);
            }
            Act::Remove { region } => {
                self.mark(kind);
                self.stop(*region);
                self.nodes[*region].exists = false;
                self.lost_by_contract(*region);
                self.reconfigure(*region);
            }
            Act::Rejoin { region } => {
                self.nodes[*region].exists = true;
                self.mark(kind);
                self.start(*region);
                self.reconfigure(*region);
            }
            Act::Night { lasts } => {
                self.slept += *lasts;
                self.mark(kind);
                self.wake_all();
            }
        }
        self.trace.note(self.now, b'F', kind as usize, &[]);
        let ends = !matches!(
            act,
            Act::BelieveClock { .. } | Act::Add { .. } | Act::Remove { .. } | Act::Rejoin { .. } | Act::Night { .. }
        );
        if ends {
            self.schedule(self.now + lasts, Event::FaultEnds(fault));
        }
    }

    /// The vector that a replica durably knows or, while it is down, has told.
    fn known_at(&self, region: usize) -> VersionVector {
        let node = &self.nodes[region];
        node.process.as_ref().map_or_else(|| node.told.clone(), |process| process.replica.durable().clone())
    }

    /// Whether a replica whose disk goes back is sure to learn of it at its next start (A8). A restarted replica keeps
    /// its id if a majority confirms it, even if some peers cannot be asked. So a peer with entries beyond the backup
    /// must be able to answer: it is a neighbour, and no other fault touches it or the path until the start is over. If
    /// no peer has such entries yet, entries in flight may still reach any linked neighbour.
    fn would_be_noticed(&self, region: usize, known: &VersionVector, lasts: Duration, this: usize) -> bool {
        // If greetings are lost often, a majority may answer, and the peer that has more may not.
        if self.scenario.network.loss > 0.1 {
            return false;
        }
        let over = self.now + lasts + self.scenario.replica.heartbeat * 18;
        let other = |number: usize| number != this;
        let others = self.scenario.faults.iter().zip(&self.faults).enumerate().filter(|(number, _)| other(*number));
        let during: Vec<&Act> = others
            .filter(|(_, (written, _))| written.at < over && written.at + written.lasts.unwrap_or_default() > self.now)
            .map(|(_, (_, planned))| &planned.act)
            .collect();
        if during.iter().any(|act| act.stops(region)) {
            return false;
        }
        // A removed region that comes back later brings its entries with it, and cannot be asked before.
        let comes_back =
            |at: usize| self.faults.iter().any(|f| matches!(f.act, Act::Rejoin { region } if region == at));
        let is_away = |at: usize| !self.nodes[at].exists && comes_back(at);
        let has_own = |at: usize| self.nodes[region].ids.iter().any(|id| self.known_at(at).get(*id) > known.get(*id));
        if (0..self.nodes.len()).any(|at| is_away(at) && has_own(at)) {
            return false;
        }
        let can_answer = |peer: usize| {
            let runs = self.nodes[peer].process.is_some() && self.nodes[peer].paused == 0;
            let is_open = self.net.is_open(peer, region) && self.net.is_open(region, peer);
            runs && is_open && !during.iter().any(|act| act.stops(peer) || act.is_between(peer, region))
        };
        let neighbours: Vec<usize> = (0..self.nodes.len()).filter(|peer| self.are_neighbours(region, *peer)).collect();
        let has_more = |peer: usize| {
            let theirs = self.known_at(peer);
            self.nodes[region].ids.iter().any(|id| theirs.get(*id) > known.get(*id))
        };
        let everywhere: Vec<usize> = (0..self.nodes.len())
            .filter(|peer| *peer != region && self.nodes[*peer].exists && has_more(*peer))
            .collect();
        if everywhere.is_empty() {
            neighbours.iter().filter(|peer| self.are_linked(region, **peer)).all(|peer| can_answer(*peer))
        } else {
            neighbours.iter().any(|peer| everywhere.contains(peer) && can_answer(*peer))
        }
    }

    pub(super) fn fault_ends(&mut self, fault: usize) {
        if !std::mem::take(&mut self.faults[fault].on) {
            return;
        }
        self.tell_fault(fault, Turn::Ends);
        let act = self.faults[fault].act.clone();
        match &act {
            Act::Cut { pairs, .. } => {
                if std::mem::take(&mut self.faults[fault].cut) {
                    self.net.mend(pairs.iter().copied());
                }
            }
            Act::Degrade { .. } => self.net.restore(fault),
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
            Act::ClockStep { region, by_ms } => self.nodes[*region].clock.stepped_ms -= by_ms,
            Act::ClockDrift { region, .. } => {
                let elapsed = self.elapsed();
                self.nodes[*region].clock.stop_drift(elapsed);
                self.nodes[*region].clock.heal();
            }
            Act::BelieveClock { .. }
            | Act::Add { .. }
            | Act::Remove { .. }
            | Act::Rejoin { .. }
            | Act::Night { .. } => {}
        }
        self.watch_recovery();
    }

    /// The disk answers again.
    pub(super) fn unhang(&mut self, at: usize) {
        self.nodes[at].hung = false;
        if let Some((epoch, batch)) = self.nodes[at].hung_sync.take() {
            self.schedule(self.now, Event::Synced { node: at, epoch, batch });
        }
    }

    /// One more restart of a region under repeated restarts.
    pub(super) fn restart_again(&mut self, fault: usize) {
        let Planned { kind, act: Act::Restarts { region, every }, on: true, .. } = self.faults[fault].clone() else {
            return;
        };
        self.mark_if(kind, self.nodes[region].process.is_some());
        self.stop(region);
        let epoch = self.nodes[region].epoch;
        self.schedule(self.now + every / 4, Event::Restart { node: region, epoch });
        self.schedule(self.now + every, Event::RestartAgain(fault));
    }

    /// A flapping partition opens or closes.
    pub(super) fn flap(&mut self, fault: usize) {
        let Act::Cut { pairs, flap: Some((down, up)) } = self.faults[fault].act.clone() else { return };
        if !self.faults[fault].on {
            return;
        }
        let cut = !self.faults[fault].cut;
        self.faults[fault].cut = cut;
        self.tell_fault(fault, if cut { Turn::Cuts } else { Turn::Opens });
        if cut {
            self.net.cut(pairs)
        } else {
            self.marks.insert(Mark::Flapping);
            self.net.mend(pairs)
        }
        self.schedule(self.now + if cut { down } else { up }, Event::Flap(fault));
    }

    /// All other regions learn of one that came or went: they restart with a new configuration, one after the other.
    fn reconfigure(&mut self, changed: usize) {
        let mut at = self.now;
        for node in 0..self.nodes.len() {
            if node == changed || !self.nodes[node].exists {
                continue;
            }
            at += ROLLING;
            self.schedule(at, Event::Reconfigure(node));
        }
    }

    /// The last phase begins: the core is healed for good; the other regions stay as they are and are cut off.
    pub(super) fn heal(&mut self, core: &BTreeSet<usize>) {
        self.tell(|| Record::Healed);
        for fault in 0..self.faults.len() {
            self.faults[fault].on = false;
        }
        self.net.heal(core);
        for region in core {
            let node = &mut self.nodes[*region];
            node.clock.heal();
            node.slow_sync = None;
            node.lying = false;
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
