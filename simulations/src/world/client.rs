//! Citizens and owners: they ask the nearest healthy region, wait, and ask the next one.
//!
//! A request is the same wherever and however often it is sent: ids and changes follow from the visit alone.

use std::time::Duration;

use registry::VISITS;
use replication::{Change, DocumentId, DocumentKey, Query, Reader, Reason, VersionVector, View, Write, WriteError};

use super::attempt::{Attempt, PendingOperation, WaitingRead};
use super::rot::telling;
use super::{CalendarEvent, Input, World, check, visits};
use crate::coverage::Coverage;
use crate::history::Record;
use crate::index::{AttemptNumber, NodeIndex, OperationIndex, VisitNumber};
use crate::invariant::Invariant;
use crate::model::VisitTruth;
use crate::reply::{Answer, Reply};
use crate::scenario::{Operation, OperationKind, Scenario, ScenarioError};

/// How long a client waits for one region.
const ATTEMPT: Duration = Duration::from_secs(3);
/// How often a client goes round before it gives up.
const ROUNDS: u32 = 2;
/// How long a region waits for the entries that a session has seen.
const SESSION_WAIT: Duration = Duration::from_secs(2);
/// Between a client and the region nearest to it.
const LAST_MILE: Duration = Duration::from_millis(8);
/// How many documents of a guest list are read to check their venue.
const LOOKED_INTO: usize = 32;
/// A guest list of the last hour.
const HOUR: Duration = Duration::from_hours(1);

#[derive(Clone, Debug, Default)]
struct Request {
    number: AttemptNumber,
    asked_at: Duration,
    ranking: Vec<NodeIndex>,
    over: bool,
}

/// All requests, by the index of their operation.
pub(super) struct Clients {
    requests: Vec<Request>,
    homes: Vec<NodeIndex>,
    next: usize,
}

impl Clients {
    pub(super) fn new(scenario: &Scenario, operations: &[Operation]) -> Result<Clients, ScenarioError> {
        let homes = operations.iter().map(|operation| scenario.region(&operation.from));
        let homes = homes.collect::<Result<_, _>>()?;
        Ok(Clients { requests: vec![Request::default(); operations.len()], homes, next: 0 })
    }

    /// The region nearest to the client.
    fn home(&self, operation: OperationIndex) -> NodeIndex {
        self.homes[operation.0]
    }

    /// The attempt that the client makes now. None if there is no region to ask.
    fn attempt(&self, operation: OperationIndex) -> Option<Attempt> {
        let request = &self.requests[operation.0];
        let node = *request.ranking.get(request.number.0 as usize % request.ranking.len().max(1))?;
        Some(Attempt { node, operation, number: request.number })
    }

    /// Whether the client still waits for the answer to an attempt.
    fn waits_for(&self, attempt: Attempt) -> bool {
        let request = &self.requests[attempt.operation.0];
        !request.over && request.number == attempt.number
    }

    /// Whether some region has not been asked yet.
    fn may_ask_another(&self, attempt: Attempt) -> bool {
        (attempt.number.0 as usize) + 1 < self.requests[attempt.operation.0].ranking.len()
    }

    /// Goes on to the next region. Returns whether the client has gone round too often.
    fn go_on(&mut self, operation: OperationIndex) -> bool {
        let request = &mut self.requests[operation.0];
        request.number.0 += 1;
        request.number.0 as usize >= request.ranking.len().max(1) * ROUNDS as usize
    }
}

impl World {
    /// Names all visits beforehand, because a request may name a visit that no region has seen yet.
    pub(super) fn introduce_visits(&mut self) {
        for operation in self.operations.clone().iter().filter(|operation| operation.kind.is_of_a_visit()) {
            if self.model.visits.contains_key(&operation.visit) {
                continue;
            }
            let arrived = self.calendar.wall_at(operation.arrived);
            let id = visits::visit_id(self.seed, operation.visit, arrived);

            // How long it is kept, the first region says that takes it.
            let kept =
                if self.scenario.owners.is_some() { self.scenario.replica.max_retention } else { operation.retention };
            let key = visits::key(id, operation.venue, kept);
            let truth = VisitTruth {
                key,
                keys: Vec::new(),
                contradicted: false,
                venue: operation.venue,
                taken: Vec::new(),
                erase_asked: false,
                erased: Vec::new(),
                again: Vec::new(),
            };
            self.model.visits.insert(operation.visit, truth);
            self.model.names.insert(key.name, operation.visit);
        }
    }

    /// Puts the next operation on the calendar; operations are in order of time.
    pub(super) fn next_operation(&mut self) {
        let next = self.clients.next;
        if let Some(operation) = self.operations.get(next) {
            self.clients.next += 1;
            self.calendar.schedule(operation.at, CalendarEvent::Ask(OperationIndex(next)));
        }
    }

    /// A client asks for the first time.
    pub(super) fn ask(&mut self, operation: OperationIndex) {
        if !self.open {
            return;
        }
        let ranking = self.router.ranking(self.clients.home(operation));
        let ranking = ranking.into_iter().filter(|region| self.nodes[*region].exists).collect();
        let (number, asked_at) = (AttemptNumber::default(), self.calendar.now());
        self.clients.requests[operation.0] = Request { number, asked_at, ranking, over: false };
        self.history
            .record(self.calendar.now(), || Record::Asked { operation, asked: self.operations[operation.0].clone() });
        self.try_region(operation);
    }

    fn way(&self, from: NodeIndex, to: NodeIndex) -> Duration {
        LAST_MILE + if from == to { Duration::ZERO } else { self.net.latency(from, to) }
    }

    fn try_region(&mut self, operation: OperationIndex) {
        let Some(attempt) = self.clients.attempt(operation) else { return self.over(operation, None) };
        let region = attempt.node;
        self.history.record(self.calendar.now(), || Record::Tried { operation, region });
        let home = self.clients.home(operation);
        if home == region || self.net.is_open(home, region) {
            let arrives = self.calendar.now() + self.way(home, region);
            self.calendar.schedule(arrives, CalendarEvent::Input { node: region, input: Input::Request(attempt) });
        }
        self.calendar.schedule(self.calendar.now() + ATTEMPT, CalendarEvent::GiveUp(attempt));
    }

    pub(super) fn attempt_timed_out(&mut self, attempt: Attempt) {
        if self.clients.waits_for(attempt) {
            self.record_answer(attempt, None);
            self.try_next(attempt.operation);
        }
    }

    /// Tells the history how an attempt ended.
    fn record_answer(&mut self, attempt: Attempt, reply: Option<Reply>) {
        let Attempt { node: region, operation, .. } = attempt;
        let in_time = self.clients.waits_for(attempt);
        self.history.record(self.calendar.now(), || Record::Answered { operation, region, reply, in_time });
    }

    fn try_next(&mut self, operation: OperationIndex) {
        if self.clients.go_on(operation) || !self.open {
            self.over(operation, None);
        } else {
            self.try_region(operation);
        }
    }

    /// A region answers: sends the answer on its way back to the client.
    pub(super) fn reply(&mut self, attempt: Attempt, answer: Answer) {
        let (node, home) = (attempt.node, self.clients.home(attempt.operation));
        // The write stands, whether or not its answer reaches the client.
        if home == node || self.net.is_open(node, home) {
            let arrives = self.calendar.now() + self.way(node, home);
            self.calendar.schedule(arrives, CalendarEvent::Answer { attempt, answer });
        }
    }

    pub(super) fn answered(&mut self, attempt: Attempt, answer: Answer) {
        self.record_answer(attempt, Some(answer.reply()));
        if !self.clients.waits_for(attempt) {
            return;
        }
        let operation = attempt.operation;
        match answer {
            Answer::Refused | Answer::Unfit => self.try_next(operation),
            // If the visit has not arrived there yet, the client asks the next region, then gives up.
            Answer::Unknown if self.clients.may_ask_another(attempt) => self.try_next(operation),
            answer => {
                self.remember(operation, &answer);
                self.over(operation, Some(answer));
            }
        }
    }

    /// Notes what the client has seen, for its next request.
    fn remember(&mut self, operation: OperationIndex, answer: &Answer) {
        let asked = self.operations[operation.0].clone();
        if matches!(asked.kind, OperationKind::Open | OperationKind::Retain) {
            return;
        }
        let sessions = if asked.kind == OperationKind::Read { &mut self.model.owners } else { &mut self.model.guests };
        let session = sessions.entry(asked.visit).or_default();
        match answer {
            Answer::Done { dot, needs } => {
                session.token.merge(needs);
                dot.iter().for_each(|dot| session.token.advance(dot.origin, dot.seq));
            }
            Answer::Shown { seen, vector } => {
                session.token.merge(vector);
                for (visit, hashes) in seen {
                    session.seen.entry(*visit).or_default().extend(hashes);
                }
            }
            _ => {}
        }
        self.meter.token(&session.token);
    }

    fn over(&mut self, operation: OperationIndex, answer: Option<Answer>) {
        self.clients.requests[operation.0].over = true;
        let home = self.clients.home(operation);
        let region = self.clients.attempt(operation).map(|attempt| attempt.node);
        let answered_by = answer.as_ref().and(region);
        if answered_by.is_some_and(|region| region != home) {
            self.coverage.insert(Coverage::Failover);
        }
        if matches!(answer, Some(Answer::Stale)) {
            self.coverage.insert(Coverage::Stale);
        }
        let kind = self.operations[operation.0].kind;
        let asked_at = self.clients.requests[operation.0].asked_at;
        let answered = answered_by.zip(answer.as_ref().map(Answer::reply));
        self.meter.request(self.calendar.now(), asked_at, kind, home, answered);
        let seen = if let Some(Answer::Shown { seen, .. }) = &answer { Some(seen.as_slice()) } else { None };
        self.history.record_over(self.calendar.now(), operation, answer.as_ref().map(Answer::reply), seen);
    }

    /// A region is asked.
    pub(super) fn serve(&mut self, attempt: Attempt) {
        let Attempt { node, operation, .. } = attempt;
        let full = self.nodes[node]
            .process
            .as_ref()
            .is_some_and(|process| process.replica.gathered() >= self.scenario.replica.batch_records);
        if let Some(process) = self.nodes[node].process.as_mut().filter(|_| full) {
            process.waiting.push_back(attempt);
            return;
        }
        self.trace.note(
            self.calendar.now(),
            b'r',
            node.0,
            &u64::try_from(operation.0).unwrap_or(u64::MAX).to_be_bytes(),
        );
        let asked = self.operations[operation.0].clone();
        let answer = match asked.kind {
            OperationKind::CheckIn if self.scenario.owners.is_none() => self.check_in(attempt),
            OperationKind::CheckIn | OperationKind::Contradict => self.check_in_at_venue(attempt),
            OperationKind::Open => self.open_venue(attempt),
            OperationKind::Retain => self.change_retention(attempt),
            OperationKind::Correct => self.correct(attempt),
            OperationKind::Erase => self.erase(attempt),
            OperationKind::Look | OperationKind::Read => self.read(attempt, self.calendar.now() + SESSION_WAIT),
        };
        if let Some(answer) = answer {
            self.reply(attempt, answer);
        }
    }

    pub(super) fn serve_waiting_writes(&mut self, node: NodeIndex) {
        while let Some(process) = &mut self.nodes[node].process {
            if process.replica.gathered() >= self.scenario.replica.batch_records {
                return;
            }
            let Some(attempt) = process.waiting.pop_front() else { return };
            self.serve(attempt);
        }
    }

    fn check_in(&mut self, attempt: Attempt) -> Option<Answer> {
        let visit = self.operations[attempt.operation.0].visit;
        let key = self.model.visits.get(&visit).map(|truth| truth.key);
        let Some((key, change)) = key.and_then(|key| Some((key, visits::check_in(visit, &key)?))) else {
            return Some(Answer::Unknown);
        };
        self.write_change(attempt, key, change, VersionVector::default())
    }

    /// Writes a change of a visit.
    pub(super) fn write_change(
        &mut self,
        attempt: Attempt,
        key: DocumentKey,
        change: Change,
        needs: VersionVector,
    ) -> Option<Answer> {
        let Attempt { node, operation, .. } = attempt;
        let visit = self.operations[operation.0].visit;
        let (hash, bytes) = (change.hash(), change.bytes().len());
        let now = self.now_of(node);
        let Some(process) = &mut self.nodes[node].process else { return Some(Answer::Refused) };
        match process.replica.handle_write(now, Write::Change { key, change }) {
            Ok(ticket) => {
                process
                    .tickets
                    .insert(ticket, PendingOperation { attempt, visit, venue: None, hash: Some(hash), needs });
                self.model.take(visit, (hash, bytes), node);
                None
            }
            Err(WriteError::Full) => {
                self.coverage.insert(Coverage::Full);
                self.check(check::bounds::document_is_full(self, node, visit, bytes));
                Some(Answer::Full)
            }
            Err(error) => self.refused(node, visit, &key, &error),
        }
    }

    fn refused(
        &mut self,
        node: NodeIndex,
        visit: VisitNumber,
        key: &DocumentKey,
        error: &WriteError,
    ) -> Option<Answer> {
        self.check(check::availability::had_reason_to_refuse(self, node, visit, key, error));
        match error {
            WriteError::Gone => Some(Answer::Gone),
            WriteError::Storage(_) => {
                self.fail(node);
                Some(Answer::Refused)
            }
            WriteError::TooLong => {
                self.require(Invariant::Clocks, Some(node), false, || "refused a visit as kept too long".to_owned());
                None
            }
            _ => Some(Answer::Unfit),
        }
    }

    fn correct(&mut self, attempt: Attempt) -> Option<Answer> {
        let Attempt { node, operation, .. } = attempt;
        let asked = &self.operations[operation.0];
        let bytes = asked.bytes as usize;
        let (visit, key) = (asked.visit, self.model.visits.get(&asked.visit)?.key);
        let machine = &self.nodes[node];
        let Some(process) = &machine.process else { return Some(Answer::Refused) };
        let now = self.now_of(node);
        let as_of = process.replica.status(now).dead_through(now.mono);
        let (tell, met) = telling();
        let reader = Reader::new(process.store.clone(), self.scenario.replica.max_retention).telling(tell);
        let view = View::durable(as_of, process.replica.durable());
        let row = match reader.row(&key, view) {
            Ok(Some(row)) => row,
            Ok(None) if key.expires_at <= as_of || reader.is_erased(&key.name, false, view).unwrap_or(false) => {
                return Some(Answer::Gone);
            }
            Ok(None) => return Some(Answer::Unknown),
            Err(error) => {
                self.read_failed(node, &error, met.try_iter());
                return Some(Answer::Refused);
            }
        };
        let Ok(document) = row.document() else {
            self.require(Invariant::Convergence, Some(node), false, || "stored changes do not merge".to_owned());
            return None;
        };
        if document.is_empty() {
            return Some(Answer::Unknown);
        }
        let needs = row.needs(process.replica.durable());
        match visits::correct(visit, operation, bytes, &key, &document) {
            Some(change) => {
                self.model.depends(change.hash(), document.heads());
                self.write_change(attempt, key, change, needs)
            }
            None => Some(Answer::Done { dot: None, needs }),
        }
    }

    fn erase(&mut self, attempt: Attempt) -> Option<Answer> {
        let Attempt { node, operation, .. } = attempt;
        let visit = self.operations[operation.0].visit;
        let now = self.now_of(node);
        let truth = self.model.visits.get_mut(&visit)?;
        let key = truth.key;
        let Some(process) = &mut self.nodes[node].process else { return Some(Answer::Refused) };
        let erase = Write::Erase { name: key.name, lasting: false, reason: Reason::Subject };
        match process.replica.handle_write(now, erase) {
            Ok(ticket) => {
                process.tickets.insert(
                    ticket,
                    PendingOperation { attempt, visit, venue: None, hash: None, needs: VersionVector::default() },
                );
                truth.erase_asked = true;
                let reader = self.nodes[node].reader();
                if reader.rows(&key.name, false, View::applied(replication::Wall(0))).is_ok_and(|rows| rows.is_empty())
                {
                    self.coverage.insert(Coverage::ErasedUnseen);
                }
                None
            }
            Err(error) => self.refused(node, visit, &key, &error),
        }
    }

    /// A read is answered at any moment from durable entries, whether or not a batch is in flight. It waits until the
    /// entries that its session has seen are durable.
    fn read(&mut self, attempt: Attempt, until: Duration) -> Option<Answer> {
        let Attempt { node, operation, .. } = attempt;
        let asked = self.operations[operation.0].clone();
        let sessions = if asked.kind == OperationKind::Read { &self.model.owners } else { &self.model.guests };
        let now = self.now_of(node);
        let token = sessions.get(&asked.visit).map(|session| session.token.clone()).unwrap_or_default();
        let Some(process) = &mut self.nodes[node].process else { return Some(Answer::Refused) };
        let covered = process.replica.durable().covers(&token);
        if !covered {
            if self.calendar.now() >= until {
                return Some(Answer::Stale);
            }
            process.readers.push(WaitingRead { attempt, until });
            return None;
        }
        let is_syncing = process.syncing.is_some();
        // As in a node, trusted time runs on, so that a process that was just woken shows nothing expired.
        let status = process.replica.status(now);
        let as_of = status.dead_through(now.mono);
        let vector = process.replica.durable().clone();
        let (tell, met) = telling();
        let reader = Reader::new(process.store.clone(), self.scenario.replica.max_retention).telling(tell);
        let view = View::durable(as_of, &vector);
        let rows = if asked.kind == OperationKind::Read {
            let now = self.calendar.true_wall();
            let query = Query {
                collection: VISITS,
                tenant: visits::venue_id(asked.venue).tenant(),
                from: DocumentId::first_of(now.minus(HOUR)),
                to: DocumentId::arriving(now.plus(HOUR), [0xff; 10]),
                limit: 10_000,
            };
            reader.scan(&query, view).map(|page| page.rows.into_values().flatten().collect::<Vec<_>>())
        } else {
            self.model
                .visits
                .get(&asked.visit)
                .map_or(Ok(Vec::new()), |truth| reader.rows(&truth.key.name, false, view))
        };
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => {
                self.read_failed(node, &error, met.try_iter());
                return Some(Answer::Refused);
            }
        };
        // A list that had to leave rows out says so, and the reader asks elsewhere.
        if self.note_met(node, met.try_iter()) {
            return Some(Answer::Refused);
        }
        let mut seen = Vec::new();
        // Reading a document is expensive, so only some of a long list are read, others each time.
        let every = rows.len().div_ceil(LOOKED_INTO).max(1);
        for (place, (key, row)) in rows.into_iter().enumerate() {
            seen.extend(self.model.names.get(&key.name).map(|visit| (*visit, self.model.visible(&row.hashes()))));
            if (place + operation.0).is_multiple_of(every) {
                let document = row.document().ok();
                if document.as_ref().is_some_and(|document| {
                    visits::shown(&key, document).is_some_and(|visit| !visit.conflicts().is_empty())
                }) {
                    self.coverage.insert(Coverage::Conflict);
                }
                self.check(check::session::list_is_of_one_venue(self, node, &asked, &key, document.as_ref()));
            }
        }
        if is_syncing {
            self.coverage.insert(Coverage::ReadWhileSyncing);
        }
        self.check(check::session::session_holds(self, node, &asked, &seen, as_of));
        self.check(check::completeness::list_is_complete(self, node, &asked, &seen, &status));
        self.check(check::forgetting::shows_no_expired(self, node, &seen));
        Some(Answer::Shown { seen, vector })
    }

    /// Entries became durable, or time has passed: answers the reads that waited for that.
    pub(super) fn serve_waiting_reads(&mut self, node: NodeIndex) {
        let Some(process) = &mut self.nodes[node].process else { return };
        if process.readers.is_empty() {
            return;
        }
        for WaitingRead { attempt, until } in std::mem::take(&mut process.readers) {
            if let Some(answer) = self.read(attempt, until) {
                self.reply(attempt, answer);
            }
        }
    }
}
