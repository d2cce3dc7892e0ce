//! What each step of a history does to the world.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;
use replication::{
    Change, ChangeHash, Collection, DocumentId, DocumentKey, DocumentName, Dot, Reason, TenantId, Value, VersionVector,
    View, Wall, Write,
};

use crate::model::Taken;
use crate::steps::{Ending, Step, Wrong};
use crate::world::{MAX_RETENTION, MONTH, PendingWrite, SKEW, World, payload};

impl World {
    /// Makes one step.
    pub(crate) fn step(&mut self, step: &Step) -> Result<(), String> {
        match self.folded(step) {
            Step::Create { at, slot, content, lifetime } => {
                let key = self.key(slot, lifetime);
                let text = Value::Text(payload(&key.name, content));
                let change = Change::create(&key, &[("a", text), ("b", Value::Int(i64::from(content)))]);
                self.write(at, key, change);
            }
            Step::Repeat { at, pick } => {
                if let Some(key) = self.pick(pick) {
                    let text = Value::Text(payload(&key.name, 0));
                    self.write(at, key, Change::create(&key, &[("a", text), ("b", Value::Int(0))]));
                }
            }
            Step::Amend { at, pick, content } => {
                if let Some(key) = self.pick(pick)
                    && let Some(change) = self.amendment(at, &key, content)
                {
                    self.write(at, key, change);
                }
            }
            Step::Erase { at, pick } => {
                if let Some(key) = self.pick(pick) {
                    self.erase(at, key);
                }
            }
            Step::Run { ticks } => {
                for _ in 0..ticks {
                    self.tick()?;
                }
            }
            Step::Sleep { hours } => {
                self.elapsed += Duration::from_hours(u64::from(hours));
                self.tick()?;
            }
            Step::Cut { a, b } if a != b => {
                self.cut(a, b);
            }
            Step::Cut { .. } => {}
            Step::Heal => self.cuts.clear(),
            Step::Lossy { percent } => self.lossy = percent,
            Step::Crash { at, wrong } => {
                self.crash(at);
                self.set_clock(at, wrong);
                self.start(at)?;
            }
            Step::Backup { at } => {
                let snapshot = self.nodes[at].storage.snapshot();
                self.nodes[at].backup = Some((snapshot, self.model.changes.len()));
            }
            Step::RollBack { at } => self.roll_back(at)?,
            Step::Clock { at, wrong } => self.set_clock(at, wrong),
            Step::Pause { at } => self.nodes[at].paused = true,
            Step::Resume { at } => self.nodes[at].paused = false,
            Step::SlowDisk { at, slow } => self.nodes[at].slow_disk = slow,
            Step::EraseThenCrash { at, pick } => {
                if let Some(key) = self.pick(pick) {
                    self.erase(at, key);
                    self.run_node(at)?;
                    self.crash(at);
                    self.start(at)?;
                }
            }
            Step::ForgetTooEarly { at, hours } => self.forget_too_early(at, hours)?,
        }
        Ok(())
    }

    /// Keeps an assumption of safety: no two clocks are wrong beyond the skew at once, nor within the time for which a
    /// peer's clock counts as heard.
    fn set_clock(&mut self, at: usize, wrong: Option<Wrong>) {
        let is_beyond = |error: i64| u128::from(error.unsigned_abs()) > SKEW.as_millis();
        for node in 0..self.nodes.len() {
            if is_beyond(self.nodes[node].clock_error_ms) {
                self.nodes[node].wrong_until = self.elapsed + Duration::from_secs(6);
            }
        }
        let other = (0..self.nodes.len()).any(|o| o != at && self.nodes[o].wrong_until > self.elapsed);
        let error = error(wrong);
        // A replica without peers believes a clock that is wrong at its start, because it can ask no other.
        let excluded = other || self.nodes.len() == 1;
        self.nodes[at].clock_error_ms = if excluded && is_beyond(error) { 0 } else { error };
    }

    /// The step with its replicas folded onto those that exist.
    fn folded(&self, step: &Step) -> Step {
        let mut step = step.clone();
        let fold = |at: &mut usize| *at %= self.nodes.len();
        match &mut step {
            Step::Cut { a, b } => {
                fold(a);
                fold(b);
            }
            Step::Create { at, .. }
            | Step::Amend { at, .. }
            | Step::Repeat { at, .. }
            | Step::Erase { at, .. }
            | Step::Crash { at, .. }
            | Step::Backup { at }
            | Step::RollBack { at }
            | Step::Clock { at, .. }
            | Step::Pause { at }
            | Step::Resume { at }
            | Step::SlowDisk { at, .. }
            | Step::EraseThenCrash { at, .. }
            | Step::ForgetTooEarly { at, .. } => fold(at),
            Step::Run { .. } | Step::Sleep { .. } | Step::Heal | Step::Lossy { .. } => {}
        }
        step
    }

    /// See [`Step::ForgetTooEarly`]. The replica may lose its own buckets; no other replica may lose anything (I6).
    fn forget_too_early(&mut self, at: usize, hours: u8) -> Result<(), String> {
        let others: Vec<usize> = (0..self.nodes.len()).filter(|other| *other != at).collect();
        self.heal(Ending::Mesh);
        if others.is_empty() || !self.converges(150)? {
            return Ok(());
        }
        for other in &others {
            self.cut(at, *other);
        }
        self.crash(at);
        self.nodes[at].clock_error_ms = i64::from(hours) * 3_600_000;
        self.start(at)?;
        let now = self.now(at);
        if let Some(replica) = &mut self.nodes[at].replica {
            // No peer is heard, so none contradicts it.
            replica.trust_wall_clock(now, now.wall, true).expect("it states what the clock shows");
        }
        self.elapsed += Duration::from_hours(1);
        self.tick()?;
        self.nodes[at].clock_error_ms = 0;
        self.cuts.clear();
        for _ in 0..15 {
            self.tick()?;
        }
        for other in others {
            self.shows_what_it_must(other).map_err(|why| format!("I6: a clock of replica {at} harms: {why}"))?;
        }
        // After the wrong statement it cannot give back what it forgot to a disk that goes back beyond this moment.
        for node in &mut self.nodes {
            node.backup = None;
        }
        // Until the time of its horizon has come the replica takes live entries for dead ones.
        self.elapsed += Duration::from_hours(u64::from(hours));
        self.tick()
    }

    fn key(&self, slot: u8, lifetime: u8) -> DocumentKey {
        if lifetime == 4 {
            let id = [slot; 16];
            let name = DocumentName { collection: Collection(1), tenant: TenantId(id), id: DocumentId(id) };
            return name.expiring(Wall::NEVER);
        }
        // One id per slot and hour, so that the same document is created in several places.
        let arrival = Wall(self.true_time().0 / 3_600_000 * 3_600_000);
        let id = DocumentId::arriving(arrival, [slot; 10]);
        let name = DocumentName { collection: Collection(2), tenant: TenantId([9; 16]), id };
        name.expiring(
            arrival.plus([Duration::from_hours(2), Duration::from_hours(24), MAX_RETENTION][usize::from(lifetime) % 3]),
        )
    }

    fn pick(&self, pick: u8) -> Option<DocumentKey> {
        let recent = self.created.len().min(8);
        (recent > 0).then(|| self.created[self.created.len() - 1 - usize::from(pick) % recent])
    }

    fn amendment(&self, at: usize, key: &DocumentKey, content: u8) -> Option<Change> {
        let replica = self.nodes[at].replica.as_ref()?;
        let lasting = key.expires_at == Wall::NEVER;
        let rows = self.reader(at).rows(&key.name, lasting, View::applied(replica.dead_through())).expect("readable");
        let (_, row) = rows.into_iter().find(|(found, _)| found == key)?;
        let document = row.document().expect("stored changes merge");
        document.amend(key, &[("a", Some(Value::Text(payload(&key.name, content))))])
    }

    fn write(&mut self, at: usize, key: DocumentKey, change: Change) {
        let now = self.now(at);
        let node = &mut self.nodes[at];
        if node.paused {
            return;
        }
        let Some(replica) = &mut node.replica else { return };
        let hash = change.hash();
        if let Ok(ticket) = replica.handle_write(now, Write::Change { key, change }) {
            node.tickets.insert(ticket, PendingWrite::Change(key, hash));
            if !self.created.contains(&key) {
                self.created.push(key);
            }
            let dot = Dot { origin: replica.id(), seq: 0 };
            self.model.changes.push(Taken { key, hash, dot, at, acknowledged: false, lost: false });
        }
    }

    fn erase(&mut self, at: usize, key: DocumentKey) {
        let now = self.now(at);
        let node = &mut self.nodes[at];
        if node.paused {
            return;
        }
        let Some(replica) = &mut node.replica else { return };
        let lasting = key.expires_at == Wall::NEVER;
        let erase = Write::Erase { name: key.name, lasting, reason: Reason::Subject };
        if let Ok(ticket) = replica.handle_write(now, erase) {
            node.tickets.insert(ticket, PendingWrite::Erase(key.name));
            self.model.erased.entry(key.name).or_default();
        }
    }

    fn crash(&mut self, at: usize) {
        self.stop(at);
        let rng = &mut self.rng;
        self.nodes[at].storage.crash(|_, count| rng.random_range(0..=count));
    }

    fn roll_back(&mut self, at: usize) -> Result<(), String> {
        let Some((snapshot, _)) = self.nodes[at].backup.clone() else { return Ok(()) };
        self.stop(at);
        self.nodes[at].storage.restore(&snapshot);
        self.nodes[at].told = VersionVector::default();
        // Entries that no other replica has durably are lost by contract.
        let others: Vec<_> =
            (0..self.nodes.len()).filter(|o| *o != at).filter_map(|o| self.durable_vector(o)).collect();
        let kept = self.held(at);
        let known = |dot: Dot| others.iter().any(|v| v.contains(dot));
        for taken in self.model.changes.iter_mut().filter(|t| t.at == at && t.acknowledged) {
            taken.lost |= !known(taken.dot) && !kept.contains(&(taken.key, taken.hash));
        }
        let changes = &self.model.changes;
        self.model
            .sessions
            .retain(|(_, key, hash)| !changes.iter().any(|t| t.lost && t.key == *key && t.hash == *hash));
        for erasure in self.model.erased.values_mut().flatten().filter(|e| e.at == at) {
            erasure.lost |= !known(erasure.dot);
        }
        self.start(at)?;
        let id = self.nodes[at].replica.as_ref().map(replication::Replica::id);
        self.nodes[at].rolled_back.extend(id);
        let kept = self.durable_vector(at).unwrap_or_default();
        self.model.forget_dots(|dot| known(dot) || kept.contains(dot));
        Ok(())
    }

    fn durable_vector(&self, at: usize) -> Option<VersionVector> {
        self.nodes[at].replica.as_ref().map(|replica| replica.durable().clone())
    }

    /// Every change in a store, dead or alive.
    fn held(&self, at: usize) -> BTreeSet<(DocumentKey, ChangeHash)> {
        let rows = self.reader(at).all(Wall(0)).expect("readable");
        rows.into_iter().flat_map(|(key, row)| row.hashes().into_iter().map(move |hash| (key, hash))).collect()
    }
}

fn error(wrong: Option<Wrong>) -> i64 {
    match wrong {
        None => 0,
        Some(Wrong::Seconds(seconds)) => i64::from(seconds) * 1_000,
        Some(Wrong::HoursAhead(hours)) => i64::from(hours) * 3_600_000,
        Some(Wrong::MonthAhead) => MONTH,
        Some(Wrong::MonthBehind) => -MONTH,
    }
}
