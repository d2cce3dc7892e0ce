//! One turn of a machine, as the node's driver makes one after every input: timers, the next batch, frames, events.

use std::sync::Arc;

use rand_distr::{Distribution as _, Exp1};
use replication::{
    Action, BatchId, Check, Deltas, Event as ReplicaEvent, Frame, FrameKind, Outcome, ReplicaId, Storage as _,
    StorageError, Turn, VersionVector, View,
};

use super::attempt::PendingOperation;
use super::{CalendarEvent, Input, Machine, World, check};
use crate::coverage::Coverage;
use crate::history::{MachineEvent, Record};
use crate::index::{NodeIndex, VisitNumber};
use crate::invariant::Invariant;
use crate::reply::Answer;
use crate::scenario::FaultKind;

impl World {
    /// Handles an input that has arrived.
    pub(super) fn handle(&mut self, node: NodeIndex, input: Input) {
        match input {
            Input::Frame { link, from, bytes, clock } => {
                self.trace.note(self.calendar.now(), b'f', node.0, &bytes);
                let now = self.now_of(node);
                let Some(process) = &mut self.nodes[node].process else {
                    return self.history.record_lost(self.calendar.now(), from, node, &bytes);
                };
                if !process.links.contains_key(&link) {
                    return self.history.record_lost(self.calendar.now(), from, node, &bytes);
                }
                let taken = process.replica.handle_frame(now, link, &bytes);
                if taken.is_ok() {
                    self.nodes[node].note_greeting(from, &bytes);
                }
                self.history.record_received(self.calendar.now(), node, from, &bytes, clock.as_deref());
                match taken {
                    Ok(()) => {}
                    Err(replication::LinkError::Storage(_)) => {
                        self.fail(node);
                        return;
                    }
                    Err(_) => self.close(node, link),
                }
            }
            Input::Closed { link } => self.lose_link(node, link),
            Input::Request(attempt) => self.serve(attempt),
        }
        self.turn(node);
    }

    /// The timer of a process is due.
    pub(super) fn timer(&mut self, node: NodeIndex, epoch: u64) {
        let machine = &mut self.nodes[node];
        if machine.epoch != epoch || machine.paused > 0 {
            return;
        }
        let Some(process) = &mut machine.process else { return };
        if process.timer_at.is_none_or(|due| due > self.calendar.now()) {
            return;
        }
        process.timer_at = None;
        self.trace.note(self.calendar.now(), b't', node.0, &[]);
        self.turn(node);
    }

    /// The disk says that a batch is durable.
    pub(super) fn synced(&mut self, node: NodeIndex, epoch: u64, batch: BatchId) {
        if self.nodes[node].epoch != epoch {
            return;
        }
        if self.nodes[node].paused > 0 {
            // The device goes on; the process learns of it later.
            let later = self.calendar.now() + self.scenario.replica.heartbeat;
            self.calendar.schedule(later, CalendarEvent::Synced { node, epoch, batch });
            return;
        }
        if self.nodes[node].hung {
            self.nodes[node].hung_sync = Some((epoch, batch));
            self.coverage.fault(FaultKind::HungDisk);
            self.watch_hang(node, epoch, batch);
            return;
        }
        self.trace.note(self.calendar.now(), b's', node.0, &batch.0.to_be_bytes());
        let now = self.now_of(node);
        let machine = &mut self.nodes[node];
        // A disk that lies reports a sync that it has not made.
        let Some(process) = &mut machine.process else { return };
        let synced = if machine.lying { Ok(()) } else { process.store.sync() };
        // A replica that takes a new id makes its batches durable itself, so another batch may be in flight by now.
        process.syncing.take_if(|syncing| *syncing <= batch);
        if synced.and_then(|()| process.replica.handle_durable(now, batch)).is_err() {
            self.fail(node);
            return;
        }
        self.drain_events(node);
        self.serve_waiting_reads(node);
        self.meter_durable(node);
        self.turn(node);
    }

    /// Lets a process do everything that is due.
    pub(super) fn turn(&mut self, node: NodeIndex) {
        if self.broken.is_some() || self.nodes[node].paused > 0 {
            return;
        }
        if self.try_turn(node).is_err() {
            self.fail(node);
        }
    }

    fn try_turn(&mut self, node: NodeIndex) -> Result<(), StorageError> {
        let now = self.now_of(node);
        let mut turn = Turn::new(now);
        while let Some(process) = &mut self.nodes[node].process {
            match process.replica.drive(&mut turn)? {
                Some(Action::Timers { due }) => {
                    if due {
                        self.serve_waiting_reads(node);
                        self.check(check::availability::is_fit_unless_troubled(self, node));
                    }
                    self.serve_waiting_writes(node);
                }
                Some(Action::Batch(_)) => self.next_batch(node)?,
                Some(Action::Send(transmit)) => {
                    if let Some(peer) = process.links.get(&transmit.link).copied() {
                        self.transmit(node, peer, transmit);
                    }
                }
                Some(Action::Report(told)) => self.hear(node, told),
                None => break,
            }
        }
        // Sets its next timer.
        let elapsed = self.calendar.elapsed();
        let (awake, epoch) = (self.calendar.now(), self.nodes[node].epoch);
        if let Some(process) = &mut self.nodes[node].process {
            let due = process.started + process.replica.poll_timeout().0;
            let due = awake + due.saturating_sub(elapsed);
            if process.timer_at != Some(due) {
                process.timer_at = Some(due);
                self.calendar.schedule(due, CalendarEvent::Timer { node, epoch });
            }
        }
        Ok(())
    }

    fn next_batch(&mut self, node: NodeIndex) -> Result<(), StorageError> {
        let mean = self.scenario.disks.sync;
        let machine = &mut self.nodes[node];
        let Some(process) = &mut machine.process else { return Ok(()) };
        let (records, written) = (process.replica.gathered(), machine.disk.written());
        let Some(batch) = process.replica.poll_batch()? else { return Ok(()) };
        process.syncing = Some(batch);
        process.syncing_since = self.calendar.now();
        let drawn: f64 = Exp1.sample(&mut machine.sync_draws);
        let takes = machine.slow_sync.unwrap_or_else(|| mean.mul_f64(drawn.clamp(0.1, 8.0)));
        self.meter.batch(records, machine.disk.written() - written);
        let epoch = machine.epoch;
        if std::mem::take(&mut machine.is_doomed) {
            self.coverage.fault(FaultKind::TornBatch);
            self.kill(node);
            return Ok(());
        }
        self.calendar.schedule(self.calendar.now() + takes, CalendarEvent::Synced { node, epoch, batch });
        Ok(())
    }

    fn transmit(&mut self, node: NodeIndex, peer: NodeIndex, transmit: replication::Transmit) {
        let bytes = transmit.frame;
        if Frame::kind(&bytes) == Some(FrameKind::Deltas) {
            let payload = if self.scenario.checks.deep { self.no_erased_in(node, &bytes) } else { 0 };
            self.meter.deltas(node, peer, bytes.len(), payload);
        } else {
            match Frame::kind(&bytes) {
                Some(FrameKind::Check) => self.meter.check(node, peer, bytes.len()),
                _ => self.meter.control(node, peer, bytes.len()),
            }
            match Frame::decode(&bytes) {
                Ok(Frame::Hello(hello)) => self.nodes[node].told.merge(&hello.vector),
                Ok(Frame::Progress(progress)) => self.nodes[node].told.merge(&progress.vector),
                Ok(Frame::Check(check)) => self.no_erased_repaired(node, &check),
                other => self.require(Invariant::Durability, Some(node), false, || format!("sends {other:?}")),
            }
        }
        let clock = self.history.record_sent(self.calendar.now(), node, peer, &bytes);
        let arrivals = self.net.send(self.calendar.now(), node, peer, bytes.len());
        if arrivals == [None, None] {
            self.meter.lost(node, peer, bytes.len());
            self.history.record_lost(self.calendar.now(), node, peer, &bytes);
        }
        for arrives in arrivals.into_iter().flatten() {
            let input =
                Input::Frame { link: transmit.link, from: node, bytes: Arc::clone(&bytes), clock: clock.clone() };
            self.calendar.schedule(arrives, CalendarEvent::Input { node: peer, input });
        }
    }

    /// I4 for repairs: once an erasure was acknowledged here, no change of its visit is sent.
    fn no_erased_repaired(&mut self, node: NodeIndex, check: &Check) {
        for name in check.sends_changes_of() {
            let visit = self.model.names.get(&name).copied();
            let erased_here = visit.is_some_and(|visit| check::erasure::erasure_acknowledged(self, node, visit));
            self.require(Invariant::Erasure, Some(node), !erased_here, || {
                format!("repairs visit {} after its erasure was acknowledged here", visit.unwrap_or_default())
            });
        }
    }

    /// I4 for frames: once an erasure was acknowledged here, no change of its visit is sent. Returns the payload bytes.
    fn no_erased_in(&mut self, node: NodeIndex, bytes: &[u8]) -> usize {
        let entries = match Frame::decode(bytes) {
            Ok(Frame::Deltas(Deltas { entries, .. })) => entries,
            other => {
                let error = other.err().map(|error| error.to_string()).unwrap_or_default();
                self.require(Invariant::Erasure, Some(node), false, || {
                    format!("sends a frame that cannot be decoded: {error}")
                });
                return 0;
            }
        };
        let mut payload = 0;
        for delta in entries {
            let replication::Body::Change(change) = &delta.body else { continue };
            payload += change.bytes().len();
            let visit = self.model.names.get(&delta.key.name).copied();
            let erased_here = visit.is_some_and(|visit| check::erasure::erasure_acknowledged(self, node, visit));
            self.require(Invariant::Erasure, Some(node), !erased_here, || {
                format!("sends visit {} after its erasure was acknowledged here", visit.unwrap_or_default())
            });
        }
        payload
    }

    /// Handles the events of the replica.
    pub(super) fn drain_events(&mut self, node: NodeIndex) {
        while let Some(process) = &mut self.nodes[node].process {
            let Some(told) = process.replica.poll_event() else { return };
            self.hear(node, told);
        }
    }

    /// Handles one event of the replica.
    fn hear(&mut self, node: NodeIndex, told: ReplicaEvent) {
        match told {
            ReplicaEvent::Written { ticket, outcome } => {
                let Some(process) = &mut self.nodes[node].process else { return };
                let Some(asked) = process.tickets.remove(&ticket) else {
                    self.require(Invariant::Idempotence, Some(node), false, || "a write was reported twice".to_owned());
                    return;
                };
                self.acknowledge(node, &asked, outcome);
            }
            ReplicaEvent::RolledBack { origin, .. } => {
                let excused = self.nodes[node].gone_back.contains(&origin);
                self.require(Invariant::Durability, Some(node), excused, || {
                    "peers know more of its log than it does, and its disk did not go back".to_owned()
                });
            }
            ReplicaEvent::Reincarnated { new, .. } => {
                self.nodes[node].ids.insert(new);
                self.nodes[node].rolled_back = false;
                self.coverage.insert(Coverage::Reincarnated);
                self.history.record(self.calendar.now(), || Record::Machine { node, what: MachineEvent::Reincarnated });
            }
            ReplicaEvent::Filled => self.check_filled(node),
            ReplicaEvent::Retired(origin) => self.forget_origin(node, origin),
            // It may have told hearsay as known, and now says that it lacks those entries.
            ReplicaEvent::Contradicted { origin, .. } => {
                let told = self.nodes[node].told.iter().filter(|(other, _)| *other != origin).collect();
                self.nodes[node].told = told;
                self.coverage.insert(Coverage::Contradicted);
            }
            ReplicaEvent::CloseLink { link, silent } => {
                if silent && self.open {
                    self.coverage.insert(Coverage::SilentLink);
                }
                self.close(node, link);
            }
            ReplicaEvent::Changed(name) => {
                let dead = check::resurrection::dead_stays_dead(self, node, &name);
                self.note_dead(node, dead);
            }
            ReplicaEvent::Clock(Some(_)) => {
                self.coverage.insert(Coverage::Doubt);
            }
            ReplicaEvent::Forgot(_) if self.open => {
                self.coverage.insert(Coverage::Forgot);
            }
            ReplicaEvent::DroppedTooEarly(Some(_)) => {
                self.coverage.insert(Coverage::ForgotEarly);
            }
            ReplicaEvent::HorizonRefused { .. } => {
                self.coverage.insert(Coverage::HorizonRefused);
            }
            ReplicaEvent::Refused { .. } => {
                self.require(Invariant::Isolation, Some(node), false, || {
                    "refused an entry of an honest peer".to_owned()
                });
            }
            _ => {}
        }
    }

    /// All entries of an origin are over here, and its name is in no vector of this replica any more. Clients drop the
    /// origin from their tokens, as the node does, otherwise they would wait for entries that no store has. An origin
    /// that some node still writes under stays in tokens, because a replica that is not linked to that node may forget
    /// the name before it has seen the newest entries.
    fn forget_origin(&mut self, node: NodeIndex, origin: ReplicaId) {
        let machine = &mut self.nodes[node];
        for vector in [&mut machine.told, &mut machine.acked] {
            *vector = vector.iter().filter(|(other, _)| *other != origin).collect();
        }
        let is_present = |machine: &Machine| {
            let runs_under = machine.process.as_ref().map(|process| process.replica.id() == origin);
            machine.exists && runs_under.unwrap_or_else(|| machine.ids.contains(&origin))
        };
        if !self.nodes.iter().any(is_present) {
            self.model.forget_origin(origin);
        }
        self.coverage.insert(Coverage::Retired);
        self.retired_at = Some(self.calendar.now());
    }

    fn acknowledge(&mut self, node: NodeIndex, asked: &PendingOperation, outcome: Outcome) {
        self.trace.note(
            self.calendar.now(),
            b'a',
            node.0,
            &u64::try_from(asked.attempt.operation.0).unwrap_or(u64::MAX).to_be_bytes(),
        );
        if let Some(venue) = asked.venue {
            return self.acknowledge_venue(node, venue, asked, outcome);
        }
        let (now, wall) = (self.calendar.now(), self.calendar.true_wall());
        let mut dot = None;
        let mut needs = asked.needs.clone();
        let result = match (asked.hash, outcome) {
            (Some(hash), Outcome::Created(made) | Outcome::Amended(made)) => {
                dot = Some(made);
                self.model.changed((now, wall), asked.visit, hash, node, made)
            }
            (Some(hash), Outcome::Repeat) => {
                self.model.repeated(asked.visit, Some(hash), node);
                needs.merge(&self.needs_of(node, asked.visit));
                Ok(())
            }
            (None, Outcome::Erased(made)) => {
                dot = Some(made);
                let done = self.model.erased((now, wall), asked.visit, node, made);
                self.check(check::erasure::erased_from_disk(self, node, asked.visit));
                done
            }
            (None, Outcome::AlreadyErased) => {
                // If the visit is over and has a tombstone, that may have come after the answer was made, and its rows
                // go with the next batch.
                let has_tombstone = check::erasure::has_tombstone(self, node, asked.visit);
                if has_tombstone && !check::erasure::is_over(self, node, asked.visit) {
                    self.model.repeated(asked.visit, None, node);
                }
                self.check(check::erasure::erased_from_disk(self, node, asked.visit));
                Ok(())
            }
            _ => {
                self.require(Invariant::Idempotence, Some(node), false, || format!("a write ended as {outcome:?}"));
                Ok(())
            }
        };
        self.check(result);
        if let Some(dot) = dot {
            self.nodes[node].acked.advance(dot.origin, dot.seq);
            self.meter.acknowledged(now, node, dot);
        }
        self.history.record_acknowledged(now, node, asked.attempt.operation, dot);
        self.reply(asked.attempt, Answer::Done { dot, needs });
    }

    /// The entries that a replica must know to show a visit as it is here: the token of a write that wrote nothing.
    fn needs_of(&self, node: NodeIndex, visit: VisitNumber) -> VersionVector {
        let (Some(process), Some(truth)) = (&self.nodes[node].process, self.model.visits.get(&visit)) else {
            return VersionVector::default();
        };
        let known = process.replica.durable();
        let view = View::durable(process.replica.dead_through(), known);
        let row = self.nodes[node].reader().row(&truth.key, view).ok().flatten();
        row.map(|row| row.needs(known)).unwrap_or_default()
    }

    /// Tells the meter and the history what is durable by now.
    fn meter_durable(&mut self, node: NodeIndex) {
        if let Some(process) = &self.nodes[node].process {
            self.meter.durable(self.calendar.now(), node, process.replica.durable());
            self.history.record_durable(self.calendar.now(), node, process.replica.durable());
        }
    }
}
