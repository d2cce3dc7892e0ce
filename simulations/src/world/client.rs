//! Citizens and owners: they ask the nearest healthy region, wait, and ask the next one.
//!
//! A request is the same wherever and however often it is sent: ids and changes follow from the visit alone.

use std::collections::BTreeSet;
use std::hash::Hasher as _;
use std::time::Duration;

use replication::read::{Query, View};
use replication::{
    Change, ChangeHash, Collection, DocumentId, DocumentName, Dot, Reader, Reason, TenantId, Value, VersionVector,
    Write, WriteError,
};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::{Event, Input, Mark, World, content};
use crate::check::Invariant;
use crate::history::Record;
use crate::model::VisitTruth;
use crate::reply::Reply;
use crate::scenario::{Operation, OperationKind, Scenario, ScenarioError};

/// Kind of document: visits.
const VISITS: Collection = Collection(2);
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

/// The request of a ticket.
#[derive(Clone, Debug)]
pub struct Asked {
    pub(super) operation: usize,
    pub(super) attempt: u32,
    pub(super) visit: u32,
    /// `None` for an erasure.
    pub(super) hash: Option<ChangeHash>,
    /// The entries that a replica must know to show the change.
    pub(super) needs: VersionVector,
}

/// A read that waits for the entries that its session has seen.
#[derive(Clone, Debug)]
pub struct WaitingRead {
    operation: usize,
    attempt: u32,
    until: Duration,
}

/// The answer of a region.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// A write is durable.
    Done { dot: Option<Dot>, needs: VersionVector },
    /// The visits that a reader was shown, and the vector that the region knew.
    Shown { seen: Vec<(u32, BTreeSet<ChangeHash>)>, vector: VersionVector },
    /// Erased or expired.
    Gone,
    /// Not known here (yet).
    Unknown,
    /// The session has seen more than this region has.
    Stale,
    /// The document is at its bounds.
    Full,
    /// Not fit to serve.
    Unfit,
    /// No process listens.
    Refused,
}

impl Answer {
    fn reply(&self) -> Reply {
        match self {
            Answer::Done { .. } => Reply::Done,
            Answer::Shown { .. } => Reply::Shown,
            Answer::Gone => Reply::Gone,
            Answer::Unknown => Reply::Unknown,
            Answer::Stale => Reply::Stale,
            Answer::Full => Reply::Full,
            Answer::Unfit => Reply::Unfit,
            Answer::Refused => Reply::Refused,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Request {
    attempt: u32,
    asked_at: Duration,
    ranking: Vec<usize>,
    over: bool,
}

/// All requests, by the number of their operation.
pub(super) struct Clients {
    requests: Vec<Request>,
    homes: Vec<usize>,
    next: usize,
}

impl Clients {
    pub(super) fn new(scenario: &Scenario, operations: &[Operation]) -> Result<Clients, ScenarioError> {
        let homes = operations.iter().map(|operation| scenario.region(&operation.from));
        let homes = homes.collect::<Result<_, _>>()?;
        Ok(Clients { requests: vec![Request::default(); operations.len()], homes, next: 0 })
    }
}

fn id_of(seed: u64, visit: u32, arrival_ms: u64) -> DocumentId {
    let mut hasher = SipHasher13::new_with_keys(seed, u64::from(visit));
    hasher.write_u64(arrival_ms);
    let [_, _, _, _, _, _, rest @ ..] = hasher.finish128().as_bytes();
    DocumentId::arriving(replication::Wall(arrival_ms), rest)
}

fn venue_id(venue: u32) -> TenantId {
    let mut id = [0x56; 16];
    id[12..].copy_from_slice(&venue.to_be_bytes());
    TenantId(id)
}

/// The mark that every payload of a visit carries, so that a byte of it is recognised wherever it lies.
pub(crate) fn canary(visit: u32) -> String {
    format!("canary-{visit:08x};")
}

impl World {
    /// Names all visits beforehand, because a request may name a visit that no region has seen yet.
    pub(super) fn introduce_visits(&mut self) {
        for operation in self.operations.clone().iter().filter(|operation| operation.kind != OperationKind::Read) {
            if self.model.visits.contains_key(&operation.visit) {
                continue;
            }
            let arrived = self.wall_at(operation.arrived);
            let id = id_of(self.seed, operation.visit, arrived.0);
            let name = DocumentName { collection: VISITS, tenant: venue_id(operation.venue), id };
            let key = name.expiring(arrived.plus(operation.retention));
            let truth = VisitTruth {
                key,
                venue: operation.venue,
                taken: Vec::new(),
                erase_asked: false,
                erased: Vec::new(),
                again: Vec::new(),
            };
            self.model.visits.insert(operation.visit, truth);
            self.model.names.insert(name, operation.visit);
        }
    }

    /// Puts the next operation on the calendar; operations are in order of time.
    pub(super) fn next_operation(&mut self) {
        let next = self.clients.next;
        if let Some(operation) = self.operations.get(next) {
            self.clients.next += 1;
            self.schedule(operation.at, Event::Ask(next));
        }
    }

    /// A client asks for the first time.
    pub(super) fn ask(&mut self, operation: usize) {
        if !self.open {
            return;
        }
        let home = self.clients.homes[operation];
        let ranking = self.router.ranking(home);
        let ranking: Vec<usize> = ranking.into_iter().filter(|region| self.nodes[*region].exists).collect();
        self.clients.requests[operation] = Request { attempt: 0, asked_at: self.now, ranking, over: false };
        if let Some(recorder) = &mut self.recorder {
            recorder.asked(self.now, operation, &self.operations[operation]);
        }
        self.attempt(operation);
    }

    fn region_of(&self, operation: usize) -> Option<usize> {
        let request = &self.clients.requests[operation];
        request.ranking.get(request.attempt as usize % request.ranking.len().max(1)).copied()
    }

    fn way(&self, from: usize, to: usize) -> Duration {
        LAST_MILE + if from == to { Duration::ZERO } else { self.net.latency(from, to) }
    }

    fn attempt(&mut self, operation: usize) {
        let attempt = self.clients.requests[operation].attempt;
        let Some(region) = self.region_of(operation) else { return self.over(operation, None) };
        self.tell(|| Record::Tried { operation, region });
        let home = self.clients.homes[operation];
        if home == region || self.net.is_open(home, region) {
            let arrives = self.now + self.way(home, region);
            self.schedule(arrives, Event::Input { node: region, input: Input::Request { operation, attempt } });
        }
        self.schedule(self.now + ATTEMPT, Event::GiveUp { operation, attempt });
    }

    pub(super) fn attempt_timed_out(&mut self, operation: usize, attempt: u32) {
        let request = &self.clients.requests[operation];
        if !request.over && request.attempt == attempt {
            self.tell_answer(operation, attempt, None);
            self.try_next(operation);
        }
    }

    /// Tells the history how an attempt ended.
    fn tell_answer(&mut self, operation: usize, attempt: u32, reply: Option<Reply>) {
        let request = &self.clients.requests[operation];
        let in_time = !request.over && request.attempt == attempt;
        let region = request.ranking.get(attempt as usize % request.ranking.len().max(1)).copied();
        if let Some(region) = region {
            self.tell(|| Record::Answered { operation, region, reply, in_time });
        }
    }

    fn try_next(&mut self, operation: usize) {
        let regions = self.clients.requests[operation].ranking.len().max(1);
        self.clients.requests[operation].attempt += 1;
        if !self.open || self.clients.requests[operation].attempt as usize >= regions * ROUNDS as usize {
            self.over(operation, None);
        } else {
            self.attempt(operation);
        }
    }

    /// A region answers: sends the answer on its way back to the client.
    pub(super) fn reply(&mut self, at: usize, operation: usize, attempt: u32, answer: Answer) {
        let home = self.clients.homes[operation];
        // The write stands, whether or not its answer reaches the client.
        if home == at || self.net.is_open(at, home) {
            self.schedule(self.now + self.way(at, home), Event::Answer { operation, attempt, answer });
        }
    }

    pub(super) fn answered(&mut self, operation: usize, attempt: u32, answer: Answer) {
        self.tell_answer(operation, attempt, Some(answer.reply()));
        let request = &self.clients.requests[operation];
        if request.over || request.attempt != attempt {
            return;
        }
        match answer {
            Answer::Refused | Answer::Unfit => self.try_next(operation),
            // If the visit has not arrived there yet, the client asks the next region, then gives up.
            Answer::Unknown if (attempt as usize) + 1 < request.ranking.len() => self.try_next(operation),
            answer => {
                self.remember(operation, &answer);
                self.over(operation, Some(answer));
            }
        }
    }

    /// Notes what the client has seen, for its next request.
    fn remember(&mut self, operation: usize, answer: &Answer) {
        let asked = self.operations[operation].clone();
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

    fn over(&mut self, operation: usize, answer: Option<Answer>) {
        self.clients.requests[operation].over = true;
        let home = self.clients.homes[operation];
        let region = self.region_of(operation);
        let answered_by = answer.as_ref().and(region);
        if answered_by.is_some_and(|region| region != home) {
            self.marks.insert(Mark::Failover);
        }
        if matches!(answer, Some(Answer::Stale)) {
            self.marks.insert(Mark::Stale);
        }
        let kind = self.operations[operation].kind;
        let asked_at = self.clients.requests[operation].asked_at;
        let answered = answered_by.zip(answer.as_ref().map(Answer::reply));
        self.meter.request(self.now, asked_at, kind, home, answered);
        if let Some(recorder) = &mut self.recorder {
            let seen = if let Some(Answer::Shown { seen, .. }) = &answer { Some(seen.as_slice()) } else { None };
            recorder.over(self.now, operation, answer.as_ref().map(Answer::reply), seen);
        }
    }

    /// A region is asked.
    pub(super) fn serve(&mut self, at: usize, operation: usize, attempt: u32) {
        let full = self.nodes[at]
            .process
            .as_ref()
            .is_some_and(|process| process.replica.gathered() >= self.scenario.replica.batch_records);
        if let Some(process) = self.nodes[at].process.as_mut().filter(|_| full) {
            process.waiting.push_back((operation, attempt));
            return;
        }
        self.trace.note(self.now, b'r', at, &u64::try_from(operation).unwrap_or(u64::MAX).to_be_bytes());
        let asked = self.operations[operation].clone();
        let answer = match asked.kind {
            OperationKind::CheckIn => {
                let change = self.check_in(asked.visit);
                self.write_change(at, operation, attempt, change, VersionVector::default())
            }
            OperationKind::Correct => self.correct(at, operation, attempt),
            OperationKind::Erase => self.erase(at, operation, attempt),
            OperationKind::Look | OperationKind::Read => self.read(at, operation, attempt, self.now + SESSION_WAIT),
        };
        if let Some(answer) = answer {
            self.reply(at, operation, attempt, answer);
        }
    }

    pub(super) fn serve_waiting_writes(&mut self, at: usize) {
        while let Some(process) = &mut self.nodes[at].process {
            if process.replica.gathered() >= self.scenario.replica.batch_records {
                return;
            }
            let Some((operation, attempt)) = process.waiting.pop_front() else { return };
            self.serve(at, operation, attempt);
        }
    }

    fn check_in(&self, visit: u32) -> Option<Change> {
        let truth = self.model.visits.get(&visit)?;
        let fields = [
            ("name", Value::Text(format!("{}Maria Musterfrau", canary(visit)))),
            ("phone", Value::Text(format!("{}+49 30 {visit:06}", canary(visit)))),
            ("venue", Value::Int(i64::from(truth.venue))),
        ];
        Some(Change::create(&truth.key, &fields))
    }

    fn write_change(
        &mut self,
        at: usize,
        operation: usize,
        attempt: u32,
        change: Option<Change>,
        needs: VersionVector,
    ) -> Option<Answer> {
        let visit = self.operations[operation].visit;
        let (Some(change), Some(truth)) = (change, self.model.visits.get(&visit)) else { return Some(Answer::Unknown) };
        let (key, hash, bytes) = (truth.key, change.hash(), change.bytes().len());
        let now = self.now_of(at);
        let Some(process) = &mut self.nodes[at].process else { return Some(Answer::Refused) };
        match process.replica.handle_write(now, Write::Change { key, change }) {
            Ok(ticket) => {
                process.tickets.insert(ticket, Asked { operation, attempt, visit, hash: Some(hash), needs });
                self.model.take(visit, (hash, bytes), at);
                None
            }
            Err(WriteError::Full) => {
                self.is_really_full(at, visit, bytes);
                Some(Answer::Full)
            }
            Err(error) => self.refused(at, visit, &error),
        }
    }

    fn refused(&mut self, at: usize, visit: u32, error: &WriteError) -> Option<Answer> {
        self.may_refuse(at, visit, error);
        match error {
            WriteError::Gone => Some(Answer::Gone),
            WriteError::Storage(_) => {
                self.fail(at);
                Some(Answer::Refused)
            }
            WriteError::TooLong => {
                self.must(Invariant::Clocks, Some(at), false, || "refused a visit as kept too long".to_owned());
                None
            }
            _ => Some(Answer::Unfit),
        }
    }

    fn correct(&mut self, at: usize, operation: usize, attempt: u32) -> Option<Answer> {
        let asked = &self.operations[operation];
        let bytes = asked.bytes as usize;
        let (visit, key) = (asked.visit, self.model.visits.get(&asked.visit)?.key);
        let node = &self.nodes[at];
        let Some(process) = &node.process else { return Some(Answer::Refused) };
        let now = self.now_of(at);
        let as_of = process.replica.status(now).dead_through(now.mono);
        let reader = Reader::new(node.disk.clone(), self.scenario.replica.max_retention);
        let view = View::durable(as_of, process.replica.durable());
        let row = match reader.row(&key, view) {
            Ok(Some(row)) => row,
            Ok(None) if key.expires_at <= as_of || reader.is_erased(&key.name, false, view).unwrap_or(false) => {
                return Some(Answer::Gone);
            }
            Ok(None) => return Some(Answer::Unknown),
            Err(_) => {
                self.fail(at);
                return Some(Answer::Refused);
            }
        };
        let Ok(document) = row.document() else {
            self.must(Invariant::Convergence, Some(at), false, || "stored changes do not merge".to_owned());
            return None;
        };
        if document.is_empty() {
            return Some(Answer::Unknown);
        }
        let needs = row.needs(process.replica.durable());
        let phone = Value::Text(format!("{}0171 {operation}{}", canary(visit), content::filler(operation, bytes)));
        match document.amend(&key, &[("phone", Some(phone))]) {
            Some(change) => {
                self.model.depends(change.hash(), document.heads());
                self.write_change(at, operation, attempt, Some(change), needs)
            }
            None => Some(Answer::Done { dot: None, needs }),
        }
    }

    fn erase(&mut self, at: usize, operation: usize, attempt: u32) -> Option<Answer> {
        let visit = self.operations[operation].visit;
        let now = self.now_of(at);
        let truth = self.model.visits.get_mut(&visit)?;
        let key = truth.key;
        let Some(process) = &mut self.nodes[at].process else { return Some(Answer::Refused) };
        let erase = Write::Erase { name: key.name, lasting: false, reason: Reason::Subject };
        match process.replica.handle_write(now, erase) {
            Ok(ticket) => {
                process
                    .tickets
                    .insert(ticket, Asked { operation, attempt, visit, hash: None, needs: VersionVector::default() });
                truth.erase_asked = true;
                let reader = self.reader(at);
                if reader.rows(&key.name, false, View::applied(replication::Wall(0))).is_ok_and(|rows| rows.is_empty())
                {
                    self.marks.insert(Mark::ErasedUnseen);
                }
                None
            }
            Err(error) => self.refused(at, visit, &error),
        }
    }

    /// A read is answered at any moment from durable entries, whether or not a batch is in flight. It waits until the
    /// entries that its session has seen are durable.
    fn read(&mut self, at: usize, operation: usize, attempt: u32, until: Duration) -> Option<Answer> {
        let asked = self.operations[operation].clone();
        let sessions = if asked.kind == OperationKind::Read { &self.model.owners } else { &self.model.guests };
        let now = self.now_of(at);
        let token = sessions.get(&asked.visit).map(|session| session.token.clone()).unwrap_or_default();
        let Some(process) = &mut self.nodes[at].process else { return Some(Answer::Refused) };
        let covered = process.replica.durable().covers(&token);
        if !covered {
            if self.now >= until {
                return Some(Answer::Stale);
            }
            process.readers.push(WaitingRead { operation, attempt, until });
            return None;
        }
        let is_syncing = process.syncing.is_some();
        // As in a node, trusted time runs on, so that a process that was just woken shows nothing expired.
        let status = process.replica.status(now);
        let as_of = status.dead_through(now.mono);
        let vector = process.replica.durable().clone();
        let reader = Reader::new(self.nodes[at].disk.clone(), self.scenario.replica.max_retention);
        let view = View::durable(as_of, &vector);
        let rows = if asked.kind == OperationKind::Read {
            let now = self.true_wall();
            let query = Query {
                collection: VISITS,
                tenant: venue_id(asked.venue),
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
        let Ok(rows) = rows else {
            self.fail(at);
            return Some(Answer::Refused);
        };
        let mut seen = Vec::new();
        // Reading a document is expensive, so only some of a long list are read, others each time.
        let every = rows.len().div_ceil(LOOKED_INTO).max(1);
        for (place, (key, row)) in rows.into_iter().enumerate() {
            seen.extend(self.model.names.get(&key.name).map(|visit| (*visit, self.model.visible(&row.hashes()))));
            if (place + operation).is_multiple_of(every) {
                self.only_its_own(at, &asked, &key, &row);
            }
        }
        if is_syncing {
            self.marks.insert(Mark::ReadWhileSyncing);
        }
        self.session_holds(at, &asked, &seen, as_of);
        self.list_is_complete(at, &asked, &seen, &status);
        self.shows_no_expired(at, &seen);
        Some(Answer::Shown { seen, vector })
    }

    /// Entries became durable, or time has passed: answers the reads that waited for that.
    pub(super) fn serve_waiting_reads(&mut self, at: usize) {
        let Some(process) = &mut self.nodes[at].process else { return };
        if process.readers.is_empty() {
            return;
        }
        for WaitingRead { operation, attempt, until } in std::mem::take(&mut process.readers) {
            if let Some(answer) = self.read(at, operation, attempt, until) {
                self.reply(at, operation, attempt, answer);
            }
        }
    }
}
