//! Venues as documents: owners open them and change how long visits are kept, and a check-in takes the retention from the
//! document that its region has. Documents, patches, keys and the recognition of a repeat are the registry's own; where a
//! check-in is looked for is as in the node (`http/visits/check_in.rs`).
//!
//! # Not here
//! The node's cache of venues, which may be a second old: a region here knows what is durable in it.

use std::collections::BTreeSet;

use api::duration::show_exactly;
use registry::{NewVenue, OwnerKey, Venue, VenuePatch, VisitId};
use replication::{
    Change, ChangeHash, Document, DocumentKey, Outcome, Reader, Row, StorageError, VersionVector, View, Write,
    WriteError,
};

use super::attempt::{Attempt, PendingOperation};
use super::rot::{Tell, telling};
use super::{World, check, visits};
use crate::coverage::Coverage;
use crate::index::{NodeIndex, VisitNumber};
use crate::invariant::Invariant;
use crate::reply::Answer;
use crate::scenario::OperationKind;

/// A venue as a region has it.
struct Known {
    venue: Venue,
    document: Document,
    /// Its visible changes.
    changes: BTreeSet<ChangeHash>,
}

impl World {
    /// The venue as it is durable in a region; `None` if it has not arrived there.
    fn venue_at(&self, node: NodeIndex, number: u32, tell: &Tell) -> Result<Option<Known>, StorageError> {
        let Some(process) = &self.nodes[node].process else { return Ok(None) };
        let status = process.replica.status(self.now_of(node));
        let as_of = status.dead_through(self.now_of(node).mono);
        let id = visits::venue_id(number);
        let reader = self.nodes[node].reader().telling(tell.clone());
        let rows = reader.rows(&id.name(), true, View::durable(as_of, process.replica.durable()))?;
        let Some((_, row)) = rows.into_iter().next() else { return Ok(None) };
        let Ok(document) = row.document() else { return Ok(None) };
        let changes = self.model.visible(&row.hashes());
        Ok(Venue::from_document(id, &document).map(|venue| Known { venue, document, changes }))
    }

    /// An owner opens the venue: the same wherever and however often it is asked for.
    pub(super) fn open_venue(&mut self, attempt: Attempt) -> Option<Answer> {
        let asked = self.operations[attempt.operation.0].clone();
        let (id, owner) = (visits::venue_id(asked.venue), OwnerKey([0x4f; 32]));
        let new = NewVenue {
            name: Some(format!("Venue {}", asked.venue)),
            timezone: Some("Europe/Berlin".to_owned()),
            retention: Some(show_exactly(asked.retention)),
            ..NewVenue::default()
        };
        let Ok(checked) = new.check(&visits::PACK) else { return Some(Answer::Unknown) };
        let venue = checked.open(id, &owner);
        self.model.venues.entry(asked.venue).or_default().opened = asked.retention;
        let change = Change::create(&venue.key(), &venue.to_fields());
        self.write_venue(attempt, asked.venue, venue.key(), change)
    }

    /// An owner changes how long visits are kept, by what the region knows of the venue.
    pub(super) fn change_retention(&mut self, attempt: Attempt) -> Option<Answer> {
        let Attempt { node, operation, .. } = attempt;
        let asked = self.operations[operation.0].clone();
        let now = self.now_of(node);
        let Some(process) = &self.nodes[node].process else { return Some(Answer::Refused) };
        // As the node judges a request: by the trusted time.
        let moment = process.replica.status(now).clock.at(now.mono);
        let (tell, met) = telling();
        let known = match self.venue_at(node, asked.venue, &tell) {
            Ok(Some(known)) => known,
            Ok(None) => return Some(Answer::Unknown),
            Err(error) => {
                self.read_failed(node, &error, met.try_iter());
                return Some(Answer::Refused);
            }
        };
        let body = format!(r#"{{"retention": "{}"}}"#, show_exactly(asked.retention));
        let patch =
            VenuePatch::parse(body.as_bytes()).and_then(|patch| patch.check(&known.venue, &visits::PACK, moment));
        let Ok(updates) = patch else { return Some(Answer::Unknown) };
        let key = known.venue.key();
        let Some(change) = known.document.amend(&key, &updates) else {
            return Some(Answer::Done { dot: None, needs: VersionVector::default() });
        };
        self.model.depends(change.hash(), known.document.heads());
        let is_change = known.venue.retentions.present() != asked.retention;
        if let Some(truth) = self.model.venues.get_mut(&asked.venue).filter(|_| is_change) {
            let since = truth.next_moment(moment, &known.changes);
            if truth.changes.keys().any(|other| !known.changes.contains(other)) {
                self.coverage.insert(Coverage::ChangedAtOnce);
            }
            truth.changes.insert(change.hash(), (since, asked.retention));
        }
        self.write_venue(attempt, asked.venue, key, change)
    }

    fn write_venue(&mut self, attempt: Attempt, venue: u32, key: DocumentKey, change: Change) -> Option<Answer> {
        let Attempt { node, .. } = attempt;
        let (hash, bytes, now) = (change.hash(), change.bytes().len(), self.now_of(node));
        let Some(process) = &mut self.nodes[node].process else { return Some(Answer::Refused) };
        match process.replica.handle_write(now, Write::Change { key, change }) {
            Ok(ticket) => {
                let visit = VisitNumber::default();
                let needs = VersionVector::default();
                let pending = PendingOperation { attempt, visit, venue: Some(venue), hash: Some(hash), needs };
                process.tickets.insert(ticket, pending);
                self.model.take_venue(venue, (hash, bytes), node);
                None
            }
            Err(WriteError::Full) => Some(Answer::Full),
            Err(WriteError::Storage(_)) => {
                self.fail(node);
                Some(Answer::Refused)
            }
            Err(_) => Some(Answer::Unfit),
        }
    }

    /// A change of a venue is durable.
    pub(super) fn acknowledge_venue(
        &mut self,
        node: NodeIndex,
        venue: u32,
        asked: &PendingOperation,
        outcome: Outcome,
    ) {
        let (now, wall) = (self.calendar.now(), self.calendar.true_wall());
        let mut dot = None;
        match (asked.hash, outcome) {
            (Some(hash), Outcome::Created(made) | Outcome::Amended(made)) => {
                dot = Some(made);
                let noted = self.model.venue_changed((now, wall), venue, hash, node, made);
                self.check(noted);
                self.nodes[node].acked.advance(made.origin, made.seq);
                self.meter.acknowledged(now, node, made);
            }
            (Some(_), Outcome::Repeat) => {}
            _ => {
                let what = || format!("a change of a venue ended as {outcome:?}");
                self.require(Invariant::Idempotence, Some(node), false, what);
            }
        }
        self.history.record_acknowledged(now, node, asked.attempt.operation, dot);
        self.reply(asked.attempt, Answer::Done { dot, needs: VersionVector::default() });
    }

    /// A check-in, or another one under the id of a visit, at a venue that is a document.
    pub(super) fn check_in_at_venue(&mut self, attempt: Attempt) -> Option<Answer> {
        let (tell, met) = telling();
        match self.try_check_in(attempt, &tell) {
            Ok(answer) => answer,
            Err(error) => {
                self.read_failed(attempt.node, &error, met.try_iter());
                Some(Answer::Refused)
            }
        }
    }

    fn try_check_in(&mut self, attempt: Attempt, tell: &Tell) -> Result<Option<Answer>, StorageError> {
        let Attempt { node, operation, .. } = attempt;
        let asked = self.operations[operation.0].clone();
        let (visit, other) = (asked.visit, asked.kind == OperationKind::Contradict);
        let id = self.model.visits.get(&visit).and_then(|truth| VisitId::from_document_id(truth.key.name.id));
        let (Some(id), Some(known)) = (id, self.venue_at(node, asked.venue, tell)?) else {
            return Ok(Some(Answer::Unknown));
        };
        let body = visits::body(visit, other);
        let stored = self.stored(node, id, &known.venue, tell)?;
        if let Some((key, _, change)) = body.repeated(id, &stored) {
            if known.venue.retentions.at(id.arrival()) != known.venue.retentions.present() {
                self.coverage.insert(Coverage::RepeatAfterChange);
            }
            // The replica answers a repeat once the first one is durable.
            return Ok(self.write_change(attempt, *key, change, VersionVector::default()));
        }
        let is_there = |(key, row): &(DocumentKey, Row)| {
            row.document().is_ok_and(|document| visits::shown(key, &document).is_some())
        };
        if stored.iter().any(is_there) {
            self.coverage.insert(Coverage::OtherContent);
            return Ok(Some(Answer::Conflict));
        }
        let key = id.key(&known.venue);
        let Some(fields) = body.stored_forms(id).into_iter().next() else { return Ok(Some(Answer::Unknown)) };
        let answer = self.write_change(attempt, key, Change::create(&key, &fields), VersionVector::default());
        match &answer {
            None => {
                self.check(check::retention::is_kept_as_at_its_arrival(self, node, visit, &key, &known.changes));
                if let Some(truth) = self.model.visits.get_mut(&visit) {
                    truth.contradicted |= other;
                    if truth.take_as(key) {
                        self.coverage.insert(Coverage::SecondKey);
                    }
                }
            }
            Some(Answer::Gone) if !other && !check::erasure::has_tombstone(self, node, visit) => {
                self.coverage.insert(Coverage::RepeatAfterExpiry);
            }
            _ => {}
        }
        Ok(answer)
    }

    /// The rows among which a region looks for a repeat, durable or not: under the key of the venue's retention if that
    /// never changed, otherwise under every key.
    fn stored(
        &self,
        node: NodeIndex,
        id: VisitId,
        venue: &Venue,
        tell: &Tell,
    ) -> Result<Vec<(DocumentKey, Row)>, StorageError> {
        let Some(process) = &self.nodes[node].process else { return Ok(Vec::new()) };
        let now = self.now_of(node);
        let applied = View::applied(process.replica.status(now).dead_through(now.mono));
        let reader: Reader<_> = self.nodes[node].reader().telling(tell.clone());
        if venue.retentions.have_changed() {
            return reader.rows(&id.name(venue.id), false, applied);
        }
        let key = id.key(venue);
        Ok(reader.row(&key, applied)?.map(|row| (key, row)).into_iter().collect())
    }
}
