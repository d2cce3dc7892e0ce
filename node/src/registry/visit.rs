//! A visit as its document says it, concurrent values included.
//!
//! # Invariants
//! - `Debug` shows no text: it may reach a log.
//! - Concurrent values are shown, not dropped: the winner stands in the visit, all of them in `conflicts`.
//! - [`Visit::merge`] is commutative, associative and idempotent, so every reader of two documents of one id
//!   (a retry that raced a change of retention) sees the same visit.
//!
//! # Not here
//! Checking what is written: [`super::visit_body`], [`super::visit_patch`].

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use replication::{Document, Value, Wall};
use serde::{Serialize, Serializer};

use super::instant;
use super::person::{Person, PersonField};
use super::visit_fields::Slot;
use super::visit_id::VisitId;

/// The longest stay that can be recorded or estimated.
pub const LONGEST_STAY: Duration = Duration::from_secs(86_400);

/// The shortest stay that is estimated.
pub const SHORTEST_STAY: Duration = Duration::from_secs(60);

/// Concurrent values by JSON pointer, the winner first.
pub type Conflicts = BTreeMap<String, Vec<serde_json::Value>>;

/// One check-in.
#[derive(Clone, PartialEq, Eq)]
pub struct Visit {
    /// Its id.
    pub id: VisitId,
    /// Each field's concurrent values: the winner, then the others in descending order; never empty.
    values: BTreeMap<Slot, Vec<Value>>,
}

/// When a visit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The first moment at which the guest was no longer there.
    pub at: Wall,
    /// Whether it is an estimate because nobody said it.
    pub estimated: bool,
}

impl Visit {
    /// The visit that a document holds; `None` if nothing of it is visible (yet).
    #[must_use]
    pub fn from_document(id: VisitId, document: &Document) -> Option<Visit> {
        let mut values = BTreeMap::new();
        for slot in Slot::all() {
            let fits = |value: &&Value| match slot {
                Slot::Left => value.as_int().is_some_and(|ms| ms >= 0),
                Slot::Area | Slot::Person(..) => value.as_text().is_some(),
            };
            let found: Vec<Value> = document.all(slot.name()).into_iter().filter(fits).cloned().collect();
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
            match self.values.entry(slot) {
                Entry::Vacant(empty) => {
                    empty.insert(theirs);
                }
                Entry::Occupied(mut ours) => {
                    // Neither document knows of the other, so any fixed choice of winner will do: the greater one.
                    let (first, second) = (ours.get().clone(), theirs);
                    let all = if first.first() < second.first() {
                        second.into_iter().chain(first)
                    } else {
                        first.into_iter().chain(second)
                    };
                    ours.insert(in_order(slot, all.collect()));
                }
            }
        }
        self
    }

    /// When the guests came.
    #[must_use]
    pub fn arrived(&self) -> Wall {
        self.id.arrival()
    }

    /// When the guests left, if anybody said so. Of concurrent answers the latest counts: a list that names one
    /// guest too many is better than one that misses one.
    #[must_use]
    pub fn left(&self) -> Option<Wall> {
        self.winner(Slot::Left)?.as_int().and_then(|ms| u64::try_from(ms).ok()).map(Wall)
    }

    /// The recorded departure, or the estimate: after `max_stay`, but not before a minute or after a day.
    #[must_use]
    pub fn departure(&self, max_stay: Duration) -> Departure {
        match self.left() {
            Some(at) => Departure { at, estimated: false },
            None => {
                let stay = max_stay.clamp(SHORTEST_STAY, LONGEST_STAY);
                Departure { at: self.arrived().plus(stay), estimated: true }
            }
        }
    }

    /// The table or room.
    #[must_use]
    pub fn area(&self) -> Option<&str> {
        self.winner(Slot::Area)?.as_text()
    }

    /// Every area that the visit may have been in: several if it was corrected concurrently.
    pub fn areas(&self) -> impl Iterator<Item = &str> {
        self.values.get(&Slot::Area).into_iter().flatten().filter_map(Value::as_text)
    }

    /// The guests, in the order in which they were written.
    #[must_use]
    pub fn persons(&self) -> Vec<Person> {
        self.person_indices()
            .into_iter()
            .map(|index| {
                let mut person = Person::default();
                for field in PersonField::ALL {
                    let text = self.winner(Slot::Person(index, field)).and_then(Value::as_text);
                    person.set(field, text.map(str::to_owned));
                }
                person
            })
            .collect()
    }

    /// The fields that have several concurrent values, by JSON pointer into this visit's JSON.
    #[must_use]
    pub fn conflicts(&self) -> Conflicts {
        let indices = self.person_indices();
        let several = self.values.iter().filter(|(_, values)| values.len() > 1);
        several
            .map(|(slot, values)| {
                let pointer = match slot {
                    Slot::Area => "/area".to_owned(),
                    Slot::Left => "/left".to_owned(),
                    Slot::Person(index, field) => {
                        let position = indices.iter().position(|i| i == index).unwrap_or_default();
                        format!("/persons/{position}/{}", field.json())
                    }
                };
                (pointer, values.iter().map(shown).collect())
            })
            .collect()
    }

    fn winner(&self, slot: Slot) -> Option<&Value> {
        self.values.get(&slot)?.first()
    }

    /// Indices of the persons that have any field. They can have gaps: one correction took persons away while
    /// another one corrected the last of them.
    fn person_indices(&self) -> BTreeSet<u8> {
        let index = |slot: &Slot| if let Slot::Person(index, _) = slot { Some(*index) } else { None };
        self.values.keys().filter_map(index).collect()
    }
}

/// Concurrent values with the first as winner (for a departure: the latest), the others descending, each once.
fn in_order(slot: Slot, mut values: Vec<Value>) -> Vec<Value> {
    if slot != Slot::Left {
        let winner = values.remove(0);
        values.retain(|value| *value != winner);
        values.sort_by(|a, b| b.cmp(a));
        values.insert(0, winner);
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
        Value::Int(ms) => instant::show(Wall(u64::try_from(*ms).unwrap_or_default())).into(),
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
        struct Record<'a> {
            visit_id: VisitId,
            #[serde(skip_serializing_if = "Option::is_none")]
            area: Option<&'a str>,
            arrived: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            left: Option<String>,
            persons: Vec<Person>,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            conflicts: Conflicts,
        }
        Record {
            visit_id: self.id,
            area: self.area(),
            arrived: instant::show(self.arrived()),
            left: self.left().map(instant::show),
            persons: self.persons(),
            conflicts: self.conflicts(),
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
pub(crate) mod tests;
