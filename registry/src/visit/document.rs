//! A visit as read from its document, concurrent values included.
//!
//! # Invariants
//! - `Debug` shows no text, because it may reach a log.
//! - Concurrent values are all shown: the winner as the visit's value, all of them in `conflicts`.
//! - [`Visit::merge`] is commutative, associative and idempotent, so every reader of two documents with one id (a retry
//!   that raced a change of retention) sees the same visit.
//!
//! # Not here
//! Persons: [`crate::visit::persons`]. Checks of what is written: [`crate::visit::body`], [`crate::visit::patch`].

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use replication::{Document, Value, Wall};
use serde::{Serialize, Serializer};

use crate::conflicts::Conflicts;
use crate::person::{Person, PersonField};
use crate::policy::{LONGEST_RETENTION, SHORTEST_STAY};
use crate::visit::fields::Slot;
use crate::visit::id::VisitId;
use api::Moment;

/// One check-in.
#[derive(Clone, PartialEq, Eq)]
pub struct Visit {
    /// Its id.
    pub id: VisitId,
    /// Each field's concurrent values, the winner first; never empty.
    values: BTreeMap<Slot, Vec<Written>>,
}

/// A value and the change that set it. Of concurrent values the greatest wins, as in Automerge.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Written {
    /// Lamport counter of the operation.
    pub(crate) counter: u64,
    /// The change; operations of one change have the same one.
    pub(crate) change: Vec<u8>,
    pub(crate) value: Value,
}

/// When a visit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Departure {
    /// The first moment at which the guest was no longer there.
    pub at: Wall,
    /// Whether it is an estimate, because no departure was recorded.
    pub estimated: bool,
}

impl Departure {
    /// The departure of a party: that of the person who stayed longest. Persons without a departure of their own left
    /// with the party.
    pub(crate) fn of(arrived: Wall, left: Option<Wall>, persons: &[Person], assumed_stay: Duration) -> Departure {
        let alone = persons.iter().filter_map(Person::left_at).max();
        let all_left = !persons.is_empty() && persons.iter().all(|person| person.left_at().is_some());
        match (left.max(alone), left.is_some() || all_left) {
            (Some(at), true) => Departure { at, estimated: false },
            (alone, _) => {
                let stay = assumed_stay.clamp(SHORTEST_STAY, LONGEST_RETENTION);
                Departure { at: arrived.plus(stay).max(alone.unwrap_or_default()), estimated: true }
            }
        }
    }
}

impl Visit {
    /// The visit that a document holds; `None` if none of it is visible (yet).
    #[must_use]
    pub fn from_document(id: VisitId, document: &Document) -> Option<Visit> {
        let mut values = BTreeMap::new();
        for name in document.fields() {
            let Some(slot) = Slot::read(name) else { continue };
            let fits = |value: &Value| match slot {
                Slot::Left => value.as_int().is_some_and(|ms| ms >= 0),
                Slot::Person(_, PersonField::Left) => value.as_text().is_some_and(|text| Moment::read(text).is_some()),
                Slot::Area | Slot::Order | Slot::Version(_) | Slot::Person(..) => value.as_text().is_some(),
            };
            let fitting = document.written(name).iter().filter(|(_, value)| fits(value));
            let found: Vec<Written> = fitting
                .map(|(op, value)| Written {
                    counter: op.counter(),
                    change: op.change().to_vec(),
                    value: value.clone(),
                })
                .collect();
            if !found.is_empty() {
                values.insert(slot, in_order(slot, found));
            }
        }
        (!values.is_empty()).then_some(Visit { id, values })
    }

    /// One visit out of two documents of the same id.
    #[must_use]
    pub fn merge(mut self, other: Visit) -> Visit {
        for (slot, theirs) in other.values {
            // Neither document has seen the other, so any fixed choice of winner is right.
            let mut all = self.values.remove(&slot).unwrap_or_default();
            all.extend(theirs);
            self.values.insert(slot, in_order(slot, all));
        }
        self
    }

    /// When the guests came.
    #[must_use]
    pub fn arrived(&self) -> Wall {
        self.id.arrival()
    }

    /// When the guests left, if it was recorded. Of concurrent values the latest counts, because a list with one guest
    /// too many is better than one that misses a guest.
    #[must_use]
    pub fn left(&self) -> Option<Wall> {
        self.winner(Slot::Left)?.as_int().and_then(|ms| u64::try_from(ms).ok()).map(Wall)
    }

    /// When the last of the party left, if that was recorded: for the party, or for each of its persons.
    #[must_use]
    pub fn ended(&self) -> Option<Wall> {
        let departure = self.departure(SHORTEST_STAY);
        (!departure.estimated).then_some(departure.at)
    }

    /// When the last of the party left: as it was recorded, or the estimate: `assumed_stay` after the arrival, but at least a
    /// minute and at most as long as any visit is kept.
    #[must_use]
    pub(crate) fn departure(&self, assumed_stay: Duration) -> Departure {
        // Few parties split, and to put persons together costs more than all the rest of a row.
        let splits = self.slots().any(|slot| matches!(slot, Slot::Person(_, PersonField::Left)));
        let persons = if splits { self.persons() } else { Vec::new() };
        Departure::of(self.arrived(), self.left(), &persons, assumed_stay)
    }

    /// The table or room.
    #[must_use]
    pub fn area(&self) -> Option<&str> {
        self.winner(Slot::Area)?.as_text()
    }

    /// Every area that the visit may have been in: several if it was corrected concurrently.
    pub fn areas(&self) -> impl Iterator<Item = &str> {
        self.written(Slot::Area).iter().filter_map(|written| written.value.as_text())
    }

    /// The concurrent changes, by JSON pointer into this visit's JSON. A field has all its values, the winner first. If
    /// more than one field of a person differs, there are whole persons, one for each change, so that a reader can tell
    /// which number belongs to which name. `null` means that the person was removed elsewhere.
    #[must_use]
    pub fn conflicts(&self) -> Conflicts {
        let mut conflicts = Conflicts::new();
        for (slot, pointer) in [(Slot::Area, "/area"), (Slot::Left, "/left")] {
            let values = self.distinct(slot);
            if values.len() > 1 {
                conflicts.insert(pointer.to_owned(), values.into_iter().map(shown).collect());
            }
        }
        for (place, guest) in self.guests().iter().enumerate() {
            conflicts.extend(guest.conflict(place));
        }
        conflicts
    }

    /// The concurrent values of a field, the winner first.
    pub(crate) fn written(&self, slot: Slot) -> &[Written] {
        self.values.get(&slot).map_or(&[], Vec::as_slice)
    }

    /// Every field that is set.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.values.keys().copied()
    }

    /// The values of a field without repetition, the winner first.
    fn distinct(&self, slot: Slot) -> Vec<&Value> {
        let mut values: Vec<&Value> = Vec::new();
        for written in self.written(slot) {
            if !values.contains(&&written.value) {
                values.push(&written.value);
            }
        }
        values
    }

    fn winner(&self, slot: Slot) -> Option<&Value> {
        self.written(slot).first().map(|written| &written.value)
    }
}

/// Concurrent values, the winner first: for a departure the latest value, otherwise the last operation. A person's
/// departure is text whose order is that of time.
fn in_order(slot: Slot, mut values: Vec<Written>) -> Vec<Written> {
    if matches!(slot, Slot::Left | Slot::Person(_, PersonField::Left)) {
        values.sort_by(|a, b| (&b.value, b).cmp(&(&a.value, a)));
    } else {
        values.sort_by(|a, b| b.cmp(a));
    }
    values.dedup();
    values
}

/// A value as JSON shows it.
fn shown(value: &Value) -> serde_json::Value {
    match value {
        Value::Text(text) => text.as_str().into(),
        Value::Int(ms) => Moment(Wall(u64::try_from(*ms).unwrap_or_default())).to_string().into(),
        Value::Bytes(_) => serde_json::Value::Null,
    }
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visit").field("id", &self.id).field("given", &self.values.keys()).finish()
    }
}

impl Serialize for Visit {
    /// `{ visit_id, area?, arrived, left?, persons, conflicts? }`: the guest's own record.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct FieldRecord<'a> {
            visit_id: VisitId,
            #[serde(skip_serializing_if = "Option::is_none")]
            area: Option<&'a str>,
            arrived: Moment,
            #[serde(skip_serializing_if = "Option::is_none")]
            left: Option<Moment>,
            persons: Vec<Person>,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            conflicts: Conflicts,
        }
        FieldRecord {
            visit_id: self.id,
            area: self.area(),
            arrived: Moment(self.arrived()),
            left: self.left().map(Moment),
            persons: self.persons(),
            conflicts: self.conflicts(),
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
pub(crate) mod tests;
