//! Corrects the persons of a visit: turns a whole new array into the fields that change.
//!
//! # Invariants
//! - A correction writes only the persons that it changes, so two corrections of different persons do not conflict.
//! - A correction that repeats what is shown resolves a conflict and changes nothing else.
//! - Equal corrections of equal visits are equal changes, because the keys of new persons derive from what is written.

use std::borrow::Cow;
use std::collections::BTreeSet;

use replication::Value;
use sha2::{Digest, Sha256};

use crate::invalid::Invalid;
use crate::person::{Person, PersonField};
use crate::visit::Visit;
use crate::visit::fields::{PersonKey, Slot};
use crate::visit::id::VisitId;
use crate::visit::persons::{Version, arranged, order};

/// Fields to set, or to remove (`None`).
pub(crate) type Updates = Vec<(Cow<'static, str>, Option<Value>)>;

/// The updates that turn the persons of `current` into `wanted`.
#[must_use]
pub(crate) fn updates(current: &Visit, wanted: &[Person]) -> Updates {
    let guests = current.guests();
    let shown: Vec<Person> = guests.iter().map(|guest| guest.person.clone()).collect();
    let places = matched(&shown, wanted);
    let mut updates = Updates::new();
    for (place, guest) in guests.iter().enumerate() {
        let kept = wanted.iter().zip(&places).find(|(_, matched)| **matched == Some(place)).map(|(person, _)| person);
        let person = kept.unwrap_or(&guest.person);
        if *person != guest.person || guest.is_in_conflict() {
            write_fields(guest.key, person, &mut updates);
        } else if kept.is_some() {
            continue;
        }
        let version = Version::new(guest.version + 1, person, kept.is_none());
        write_version(guest.key, version, &mut updates);
    }
    let mut used: BTreeSet<PersonKey> = current.slots().filter_map(Slot::person).collect();
    let mut keys = Vec::with_capacity(wanted.len());
    for (person, place) in wanted.iter().zip(&places) {
        let key = match place {
            Some(place) => guests[*place].key,
            None => {
                let key = key_of_new(current.id, person, &used);
                write_fields(key, person, &mut updates);
                write_version(key, Version::new(1, person, false), &mut updates);
                key
            }
        };
        used.insert(key);
        keys.push(key);
    }
    if arranged(keys.iter().copied().collect(), order(current)) != keys {
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        updates.push((Slot::Order.name(), Some(Value::Text(keys.join(" ")))));
    }
    updates
}

impl Visit {
    /// Gives persons who were typed into a form that does not know who left the departures that this visit has for
    /// them: each continues one person of the visit at most.
    pub fn keep_departures(&self, typed: &mut [Person]) {
        let bare = |person: &Person| Person { left: None, ..person.normalised("", &mut Invalid::default()) };
        let present = self.persons();
        let places =
            matched(&present.iter().map(bare).collect::<Vec<_>>(), &typed.iter().map(bare).collect::<Vec<_>>());
        for (person, place) in typed.iter_mut().zip(places) {
            person.left = place.and_then(|place| present[place].left.clone());
        }
    }
}

/// Whether a wanted person may be a present one.
type Fits = fn(&Person, &Person) -> bool;

/// For each wanted person, the place of the present person that it continues.
///
/// The first round matches persons that are equal in every field. The second matches persons with the same name,
/// because a correction mostly concerns another field. The third matches persons at the same place that may be one
/// person with a misspelt name. Each round prefers the person at the same place. A wanted person without a match is
/// new, and a present one without a match is removed.
#[must_use]
pub(crate) fn matched(present: &[Person], wanted: &[Person]) -> Vec<Option<usize>> {
    let mut places = vec![None; wanted.len()];
    let mut free = vec![true; present.len()];
    let rounds: [(Fits, bool); 5] = [
        (|a, b| a == b, true),
        (|a, b| a == b, false),
        (|a, b| a.name.is_some() && a.name == b.name, true),
        (|a, b| a.name.is_some() && a.name == b.name, false),
        (may_be_one, true),
    ];
    for (fits, in_place) in rounds {
        for (place, person) in
            wanted.iter().enumerate().filter(|(place, _)| places[*place].is_none()).collect::<Vec<_>>()
        {
            let candidates = if in_place { place..(place + 1).min(present.len()) } else { 0..present.len() };
            let found = candidates.into_iter().find(|&at| free[at] && fits(&present[at], person));
            if let Some(at) = found {
                free[at] = false;
                places[place] = Some(at);
            }
        }
    }
    places
}

/// Whether two persons with different names may be one: they share a number or an address, or one of them gives
/// neither.
fn may_be_one(a: &Person, b: &Person) -> bool {
    let same = |one: &Option<String>, two: &Option<String>| one.is_some() && one == two;
    let reachable = |person: &Person| person.phone.is_some() || person.email.is_some();
    same(&a.phone, &b.phone) || same(&a.email, &b.email) || !reachable(a) || !reachable(b)
}

/// A key that no other person of the visit has or had. Two concurrent additions have the same key only if they add the
/// same person.
fn key_of_new(id: VisitId, person: &Person, used: &BTreeSet<PersonKey>) -> PersonKey {
    let mut occurrence = 0u32;
    loop {
        let mut hasher = Sha256::new();
        hasher.update(b"meridian person 1");
        hasher.update(id.document_id().0);
        hasher.update(occurrence.to_be_bytes());
        for field in PersonField::DETAILS {
            let text = person.get(field).unwrap_or_default();
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text);
        }
        // Only if it is there, because older versions give the same person the same key.
        hasher.update(person.left.as_deref().unwrap_or_default());
        let hash = hasher.finalize();
        let key = PersonKey::Added(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]));
        if !used.contains(&key) {
            return key;
        }
        occurrence += 1;
    }
}

fn write_fields(key: PersonKey, person: &Person, updates: &mut Updates) {
    for field in PersonField::ALL {
        updates.push((Slot::Person(key, field).name(), person.get(field).map(|text| Value::Text(text.to_owned()))));
    }
}

fn write_version(key: PersonKey, version: Version, updates: &mut Updates) {
    updates.push((Slot::Version(key).name(), Some(Value::Text(version.write()))));
}

#[cfg(test)]
mod tests;
