//! One turn of a machine, as the node's driver makes one after every input: timers, the next batch, frames, events.

use std::sync::Arc;

use rand::RngExt as _;
use rand_distr::{Distribution as _, Exp1};
use replication::frame::{Deltas, FrameKind};
use replication::{
    Action, BatchId, Event as Told, Frame, Outcome, ReplicaId, Storage as _, StorageError, Turn, VersionVector, View,
};

use super::client::{Answer, Asked};
use super::{Event, Input, Mark, Node, World};
use crate::check::Invariant;
use crate::history::{Machine, Record};
use crate::scenario::FaultKind;

impl World {
    /// Handles an input that has arrived.
    pub(super) fn handle(&mut self, at: usize, input: Input) {
        match input {
            Input::Frame { link, from, bytes, clock } => {
                self.trace.note(self.now, b'f', at, &bytes);
                let now = self.now_of(at);
                let Some(process) = &mut self.nodes[at].process else { return self.tell_lost(from, at, &bytes) };
                if !process.links.contains_key(&link) {
                    return self.tell_lost(from, at, &bytes);
                }
                let taken = process.replica.handle_frame(now, link, &bytes);
                if taken.is_ok() {
                    self.note_greeting(at, from, &bytes);
                }
                if let Some(recorder) = &mut self.recorder {
                    recorder.received(self.now, at, from, &bytes, clock.as_deref());
                }
                match taken {
                    Ok(()) => {}
                    Err(replication::LinkError::Storage(_)) => {
                        self.fail(at);
                        return;
                    }
                    Err(_) => self.close(at, link),
                }
            }
            Input::Closed { link } => self.lose_link(at, link),
            Input::Request { operation, attempt } => self.serve(at, operation, attempt),
        }
        self.turn(at);
    }

    /// The timer of a process is due.
    pub(super) fn timer(&mut self, at: usize, epoch: u64) {
        let node = &mut self.nodes[at];
        if node.epoch != epoch || node.paused > 0 {
            return;
        }
        let Some(process) = &mut node.process else { return };
        if process.timer_at.is_none_or(|due| due > self.now) {
            return;
        }
        process.timer_at = None;
        self.trace.note(self.now, b't', at, &[]);
        self.turn(at);
    }

    /// The disk says that a batch is durable.
    pub(super) fn synced(&mut self, at: usize, epoch: u64, batch: BatchId) {
        if self.nodes[at].epoch != epoch {
            return;
        }
        if self.nodes[at].paused > 0 {
            // The device goes on; the process learns of it later.
            let later = self.now + self.scenario.replica.heartbeat;
            self.schedule(later, Event::Synced { node: at, epoch, batch });
            return;
        }
        if self.nodes[at].hung {
            self.nodes[at].hung_sync = Some((epoch, batch));
            self.mark(FaultKind::HungDisk);
            self.watch_hang(at, epoch, batch);
            return;
        }
        self.trace.note(self.now, b's', at, &batch.0.to_be_bytes());
        let now = self.now_of(at);
        let node = &mut self.nodes[at];
        // A disk that lies reports a sync that it has not made.
        let synced = if node.lying { Ok(()) } else { node.disk.sync() };
        let Some(process) = &mut node.process else { return };
        // A replica that takes a new id makes its batches durable itself, so another batch may be in flight by now.
        process.syncing.take_if(|syncing| *syncing <= batch);
        if synced.and_then(|()| process.replica.handle_durable(now, batch)).is_err() {
            self.fail(at);
            return;
        }
        self.drain_events(at);
        self.serve_waiting_reads(at);
        self.meter_durable(at);
        self.turn(at);
    }

    /// Lets a process do everything that is due.
    pub(super) fn turn(&mut self, at: usize) {
        if self.broken.is_some() || self.nodes[at].paused > 0 {
            return;
        }
        if self.try_turn(at).is_err() {
            self.fail(at);
        }
    }

    fn try_turn(&mut self, at: usize) -> Result<(), StorageError> {
        let now = self.now_of(at);
        let mut turn = Turn::new(now);
        while let Some(process) = &mut self.nodes[at].process {
            match process.replica.drive(&mut turn)? {
                Some(Action::Timers { due }) => {
                    if due {
                        self.serve_waiting_reads(at);
                        self.is_fit_or_troubled(at);
                    }
                    self.serve_waiting_writes(at);
                }
                Some(Action::Batch(_)) => self.next_batch(at)?,
                Some(Action::Send(transmit)) => {
                    if let Some(peer) = process.links.get(&transmit.link).copied() {
                        self.transmit(at, peer, transmit);
                    }
                }
                Some(Action::Report(told)) => self.hear(at, told),
                None => break,
            }
        }
        // Sets its next timer.
        let elapsed = self.elapsed();
        let (awake, epoch) = (self.now, self.nodes[at].epoch);
        if let Some(process) = &mut self.nodes[at].process {
            let due = process.started + process.replica.poll_timeout().0;
            let due = awake + due.saturating_sub(elapsed);
            if process.timer_at != Some(due) {
                process.timer_at = Some(due);
                self.schedule(due, Event::Timer { node: at, epoch });
            }
        }
        Ok(())
    }

    fn next_batch(&mut self, at: usize) -> Result<(), StorageError> {
        let mean = self.scenario.disks.sync;
        let node = &mut self.nodes[at];
        let Some(process) = &mut node.process else { return Ok(()) };
        let (records, written) = (process.replica.gathered(), node.disk.written());
        let Some(batch) = process.replica.poll_batch()? else { return Ok(()) };
        process.syncing = Some(batch);
        process.syncing_since = self.now;
        let drawn: f64 = Exp1.sample(&mut node.sync_draws);
        let takes = node.slow_sync.unwrap_or_else(|| mean.mul_f64(drawn.clamp(0.1, 8.0)));
        self.meter.batch(records, node.disk.written() - written);
        let epoch = node.epoch;
        self.schedule(self.now + takes, Event::Synced { node: at, epoch, batch });
        Ok(())
    }

    fn transmit(&mut self, at: usize, peer: usize, transmit: replication::Transmit) {
        let bytes = transmit.frame;
        if Frame::kind(&bytes) == Some(FrameKind::Deltas) {
            let payload = if self.scenario.checks.deep { self.no_erased_in(at, &bytes) } else { 0 };
            self.meter.deltas(at, peer, bytes.len(), payload);
        } else {
            self.meter.control(at, peer, bytes.len());
            match Frame::decode(&bytes) {
                Ok(Frame::Hello(hello)) => self.nodes[at].told.merge(&hello.vector),
                Ok(Frame::Progress(progress)) => self.nodes[at].told.merge(&progress.vector),
                other => self.must(Invariant::Durability, Some(at), false, || format!("sends {other:?}")),
            }
        }
        let clock = self.recorder.as_mut().and_then(|recorder| recorder.sent(self.now, at, peer, &bytes));
        let arrivals = self.net.send(self.now, at, peer, bytes.len());
        if arrivals == [None, None] {
            self.meter.lost(at, peer, bytes.len());
            self.tell_lost(at, peer, &bytes);
        }
        for arrives in arrivals.into_iter().flatten() {
            let input = Input::Frame { link: transmit.link, from: at, bytes: Arc::clone(&bytes), clock: clock.clone() };
            self.schedule(arrives, Event::Input { node: peer, input });
        }
    }

    /// I4 for frames: once an erasure was acknowledged here, no change of its visit is sent. Returns the payload bytes.
    fn no_erased_in(&mut self, at: usize, bytes: &[u8]) -> usize {
        let entries = match Frame::decode(bytes) {
            Ok(Frame::Deltas(Deltas { entries, .. })) => entries,
            other => {
                let error = other.err().map(|error| error.to_string()).unwrap_or_default();
                self.must(Invariant::Erasure, Some(at), false, || {
                    format!("sends a frame that cannot be decoded: {error}")
                });
                return 0;
            }
        };
        let mut payload = 0;
        for delta in entries {
            let replication::log::Body::Change(change) = &delta.body else { continue };
            payload += change.bytes().len();
            let visit = self.model.names.get(&delta.key.name).copied();
            let erased_here = visit.is_some_and(|visit| self.erasure_acknowledged(at, visit));
            self.must(Invariant::Erasure, Some(at), !erased_here, || {
                format!("sends visit {} after its erasure was acknowledged here", visit.unwrap_or_default())
            });
        }
        payload
    }

    /// Handles the events of the replica.
    pub(super) fn drain_events(&mut self, at: usize) {
        while let Some(process) = &mut self.nodes[at].process {
            let Some(told) = process.replica.poll_event() else { return };
            self.hear(at, told);
        }
    }

    /// Handles one event of the replica.
    fn hear(&mut self, at: usize, told: Told) {
        match told {
            Told::Written { ticket, outcome } => {
                let Some(process) = &mut self.nodes[at].process else { return };
                let Some(asked) = process.tickets.remove(&ticket) else {
                    self.must(Invariant::Idempotence, Some(at), false, || "a write was reported twice".to_owned());
                    return;
                };
                self.acknowledge(at, &asked, outcome);
            }
            Told::RolledBack { origin, .. } => {
                let excused = self.nodes[at].gone_back.contains(&origin);
                self.must(Invariant::Durability, Some(at), excused, || {
                    "peers know more of its log than it does, and its disk did not go back".to_owned()
                });
            }
            Told::Reincarnated { new, .. } => {
                self.nodes[at].ids.insert(new);
                self.nodes[at].rolled_back = false;
                self.marks.insert(Mark::Reincarnated);
                self.tell(|| Record::Machine { node: at, what: Machine::Reincarnated });
            }
            Told::Filled => self.was_filled(at),
            Told::Retired(origin) => self.forget_origin(at, origin),
            // It may have told hearsay as known, and now says that it lacks those entries.
            Told::Contradicted { origin, .. } => {
                let told = self.nodes[at].told.iter().filter(|(other, _)| *other != origin).collect();
                self.nodes[at].told = told;
                self.marks.insert(Mark::Contradicted);
            }
            Told::CloseLink { link, silent } => {
                if silent && self.open {
                    self.marks.insert(Mark::SilentLink);
                }
                self.close(at, link);
            }
            Told::Changed(name) => self.no_resurrection(at, &name),
            Told::Clock(Some(_)) => {
                self.marks.insert(Mark::Doubt);
            }
            Told::Forgot(_) if self.open => {
                self.marks.insert(Mark::Forgot);
            }
            Told::DroppedTooEarly(true) => {
                self.marks.insert(Mark::ForgotEarly);
            }
            Told::HorizonRefused { .. } => {
                self.marks.insert(Mark::HorizonRefused);
            }
            Told::Refused { .. } => {
                self.must(Invariant::Isolation, Some(at), false, || "refused an entry of an honest peer".to_owned());
            }
            _ => {}
        }
    }

    /// All entries of an origin are over here, and its name is in no vector of this replica any more. Clients drop the
    /// origin from their tokens, as the node does, otherwise they would wait for entries that no store has. An origin
    /// that some node still writes under stays in tokens, because a replica that is not linked to that node may forget
    /// the name before it has seen the newest entries.
    fn forget_origin(&mut self, at: usize, origin: ReplicaId) {
        let node = &mut self.nodes[at];
        for vector in [&mut node.told, &mut node.acked] {
            *vector = vector.iter().filter(|(other, _)| *other != origin).collect();
        }
        let is_present = |node: &Node| {
            let runs_under = node.process.as_ref().map(|process| process.replica.id() == origin);
            node.exists && runs_under.unwrap_or_else(|| node.ids.contains(&origin))
        };
        if !self.nodes.iter().any(is_present) {
            self.model.forget_origin(origin);
        }
        self.marks.insert(Mark::Retired);
        self.retired_at = Some(self.now);
    }

    fn acknowledge(&mut self, at: usize, asked: &Asked, outcome: Outcome) {
        self.trace.note(self.now, b'a', at, &u64::try_from(asked.operation).unwrap_or(u64::MAX).to_be_bytes());
        let (now, wall) = (self.now, self.true_wall());
        let mut dot = None;
        let mut needs = asked.needs.clone();
        let result = match (asked.hash, outcome) {
            (Some(hash), Outcome::Created(made) | Outcome::Amended(made)) => {
                dot = Some(made);
                self.model.changed((now, wall), asked.visit, hash, at, made)
            }
            (Some(hash), Outcome::Repeat) => {
                self.model.repeated(asked.visit, Some(hash), at);
                needs.merge(&self.needs_of(at, asked.visit));
                Ok(())
            }
            (None, Outcome::Erased(made)) => {
                dot = Some(made);
                let done = self.model.erased((now, wall), asked.visit, at, made);
                self.erased_from_disk(at, asked.visit);
                done
            }
            (None, Outcome::AlreadyErased) => {
                // If the visit is over and has a tombstone, that may have come after the answer was made, and its rows
                // go with the next batch.
                if self.has_tombstone(at, asked.visit) && !self.is_over(at, asked.visit) {
                    self.model.repeated(asked.visit, None, at);
                }
                self.erased_from_disk(at, asked.visit);
                Ok(())
            }
            _ => {
                self.must(Invariant::Idempotence, Some(at), false, || format!("a write ended as {outcome:?}"));
                Ok(())
            }
        };
        self.breaks(result);
        if let Some(dot) = dot {
            self.nodes[at].acked.advance(dot.origin, dot.seq);
            self.meter.acknowledged(now, at, dot);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.acknowledged(now, at, asked.operation, dot);
        }
        self.reply(at, asked.operation, asked.attempt, Answer::Done { dot, needs });
    }

    /// The entries that a replica must know to show a visit as it is here: the token of a write that wrote nothing.
    fn needs_of(&self, at: usize, visit: u32) -> VersionVector {
        let (Some(process), Some(truth)) = (&self.nodes[at].process, self.model.visits.get(&visit)) else {
            return VersionVector::default();
        };
        let known = process.replica.durable();
        let view = View::durable(process.replica.dead_through(), known);
        let row = self.reader(at).row(&truth.key, view).ok().flatten();
        row.map(|row| row.needs(known)).unwrap_or_default()
    }

    /// Tells the meter and the history what is durable by now.
    fn meter_durable(&mut self, at: usize) {
        if let Some(process) = &self.nodes[at].process {
            self.meter.durable(self.now, at, process.replica.durable());
            if let Some(recorder) = &mut self.recorder {
                recorder.durable(self.now, at, process.replica.durable());
            }
        }
    }

    /// A fraction between 0 and 1 for a delay, from the stream of links.
    pub(super) fn link_draw(&mut self) -> f64 {
        self.links.draws.random()
    }
}
