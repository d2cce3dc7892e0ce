//! The persons of a visit, read from its fields, concurrent corrections included.
//!
//! # The problem
//! Two concurrent corrections must not merge two guests into one, lose a guest, or give a name the number of another
//! guest. A person is therefore not a place in an array: it has a key for as long as the visit lives, and its fields
//! are merged under that key. That alone is not enough. If one correction removes a person while another gives that
//! person a new number, the fields do not show that the corrections were concurrent.
//!
//! # The algorithm
//! Every correction that touches a person also writes the person's *version*: the whole person as that correction left
//! it, or as it was when the correction removed it. A version replaces all versions that its correction saw. Several
//! versions are visible if and only if several corrections touched the person concurrently.
//!
//! - A person is shown unless every visible version removed it. A correction wins over a removal that did not see it,
//!   because a list with one guest too many is better than one that misses a guest. The conflict then contains `null`.
//! - If concurrent corrections together removed all persons, every removed person is shown with such a conflict,
//!   because each of the corrections left at least one person.
//! - Fields are merged, so two corrections of different fields both take effect. The versions are shown as
//!   alternatives.
//! - If the alternatives differ in the name, fields are not mixed: the person is shown as the last alternative.
//!
//! Persons without a version were written only at check-in, or by versions of this program without person versions. If
//! they have concurrent values, the alternatives are assembled from what each change wrote.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::person::{Person, PersonField};
use crate::visit::document::{Visit, Written};
use crate::visit::fields::{PersonKey, Slot};

/// A person of a visit.
#[derive(Clone)]
pub(crate) struct Guest {
    pub(crate) key: PersonKey,
    /// The person as it is shown.
    pub(crate) person: Person,
    /// The person as each of several concurrent changes made it, the winner first. At most one without a conflict.
    pub(crate) alternatives: Vec<Person>,
    /// Whether a visible version removed the person.
    pub(crate) removed: bool,
    /// Whether all visible versions removed the person.
    gone: bool,
    /// The number of the newest version; 0 if there is none.
    pub(crate) version: u64,
}

/// A version as it is stored in its field: what one correction made of a person.
#[derive(Serialize, Deserialize)]
pub(crate) struct Version {
    /// One more than the number of any version that the correction saw, so that none writes what is there already.
    #[serde(rename = "n")]
    pub(crate) number: u64,
    /// The whole person. In the text without the departure, because earlier versions refuse a person with a key that
    /// they do not know.
    #[serde(rename = "p")]
    pub(crate) person: Person,
    /// The departure of the person, in the text alone.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    left: Option<String>,
    /// Whether the correction removed the person.
    #[serde(rename = "x", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) removed: bool,
}

impl Version {
    fn read(written: &Written) -> Option<Version> {
        let mut version: Version = serde_json::from_str(written.value.as_text()?).ok()?;
        version.person.left = version.left.take();
        Some(version)
    }

    /// What a correction made of a person.
    pub(crate) fn new(number: u64, person: &Person, removed: bool) -> Version {
        Version { number, person: person.clone(), left: None, removed }
    }

    /// The version as text.
    pub(crate) fn write(mut self) -> String {
        self.left = self.person.left.take();
        // The JSON holds only text and numbers, so this cannot fail.
        serde_json::to_string(&self).unwrap_or_default()
    }
}

impl Visit {
    /// The guests in their order.
    #[must_use]
    pub fn persons(&self) -> Vec<Person> {
        self.guests().into_iter().map(|guest| guest.person).collect()
    }

    /// The guests in their order, with the concurrent versions of each.
    pub(crate) fn guests(&self) -> Vec<Guest> {
        let keys: BTreeSet<PersonKey> = self.slots().filter_map(Slot::person).collect();
        let all = keys.into_iter().filter_map(|key| Some((key, guest(self, key)?)));
        let (gone, mut guests): (BTreeMap<PersonKey, Guest>, _) = all.partition(|(_, guest)| guest.gone);
        if guests.is_empty() {
            guests = gone;
        }
        let order = arranged(guests.keys().copied().collect(), order(self));
        order.into_iter().filter_map(|key| guests.remove(&key)).collect()
    }
}

/// The order that is written, if any. Of concurrent orders the winner counts, because an order holds no data of a
/// guest.
pub(crate) fn order(visit: &Visit) -> Option<&str> {
    visit.written(Slot::Order).first()?.value.as_text()
}

/// First the keys in the written order, then all other keys in their own order.
pub(crate) fn arranged(mut keys: BTreeSet<PersonKey>, order: Option<&str>) -> Vec<PersonKey> {
    let listed = order.unwrap_or_default().split(' ').filter_map(PersonKey::read);
    let mut arranged: Vec<PersonKey> = listed.filter(|key| keys.remove(key)).collect();
    arranged.extend(keys);
    arranged
}

fn guest(visit: &Visit, key: PersonKey) -> Option<Guest> {
    let fields = PersonField::ALL.map(|field| visit.written(Slot::Person(key, field)));
    let versions: Vec<(&Written, Version)> = visit
        .written(Slot::Version(key))
        .iter()
        .filter_map(|written| Some((written, Version::read(written)?)))
        .collect();
    if fields.iter().all(|values| values.is_empty()) {
        return None;
    }
    let removed = versions.iter().any(|(_, version)| version.removed);
    let gone = removed && versions.iter().all(|(_, version)| version.removed);
    let alternatives = alternatives(&fields, &versions);
    let mut person = put_together(&fields, |values| values.first());
    if let Some(last) = alternatives.first()
        && alternatives.iter().any(|other| other.name != last.name)
    {
        person = last.clone();
        // A list with one guest too many is better than one that misses a guest.
        person.left = alternatives.iter().filter_map(|other| other.left.clone()).max();
    }
    let version = versions.iter().map(|(_, version)| version.number).max().unwrap_or(0);
    Some(Guest { key, person, alternatives, removed, gone, version })
}

type Fields<'a> = [&'a [Written]; PersonField::ALL.len()];

fn put_together<'a>(fields: &Fields<'a>, pick: impl Fn(&'a [Written]) -> Option<&'a Written>) -> Person {
    let mut person = Person::default();
    for (field, values) in PersonField::ALL.into_iter().zip(fields) {
        person.set(field, pick(values).and_then(|written| written.value.as_text()).map(str::to_owned));
    }
    person
}

/// The person as each concurrent change made it, the last operation first, without repetition.
fn alternatives(fields: &Fields<'_>, versions: &[(&Written, Version)]) -> Vec<Person> {
    let in_conflict = |values: &&&[Written]| values.iter().any(|other| other.value != values[0].value);
    let of_fields = fields.iter().filter(in_conflict).flat_map(|values| values.iter());
    let mut writers: BTreeMap<&[u8], u64> = BTreeMap::new();
    for written in versions.iter().map(|(written, _)| *written).chain(of_fields) {
        let counter = writers.entry(&written.change).or_insert(0);
        *counter = written.counter.max(*counter);
    }
    let mut latest: Vec<(u64, &[u8])> = writers.iter().map(|(change, counter)| (*counter, *change)).collect();
    latest.sort_unstable_by(|a, b| b.cmp(a));
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    for (_, change) in latest {
        match versions.iter().find(|(written, _)| written.change == change) {
            Some((_, version)) if version.removed => {}
            Some((_, version)) => whole.push(version.person.clone()),
            None => {
                let own = |values: &'_ [Written]| values.iter().position(|written| written.change == change);
                // A value that another of these changes set was not there when this change was made.
                let present = |values: &'_ [Written]| {
                    values.iter().position(|written| !writers.contains_key(written.change.as_slice()))
                };
                let written = put_together(fields, |values| own(values).map(|at| &values[at]));
                let whole =
                    put_together(fields, |values| own(values).or_else(|| present(values)).map(|at| &values[at]));
                parts.push((written, whole));
            }
        }
    }
    let mut each: Vec<Person> = Vec::new();
    for person in whole {
        if !each.contains(&person) {
            each.push(person);
        }
    }
    for (written, part) in parts {
        let says = |person: &Person| {
            PersonField::ALL
                .iter()
                .all(|&field| written.get(field).is_none() || written.get(field) == person.get(field))
        };
        // A later change of the same region started from what this one wrote, and that change's version contains it. What
        // else is assembled may be another region's, which neither of the two has seen.
        if !each.iter().chain(versions.iter().map(|(_, version)| &version.person)).any(says) {
            each.push(part);
        }
    }
    each
}

impl Guest {
    /// Whether concurrent changes left more than one version of the person.
    pub(crate) fn is_in_conflict(&self) -> bool {
        self.removed || self.alternatives.len() > 1
    }

    /// The concurrent versions of the person at this place: a JSON pointer and its values.
    pub(crate) fn conflict(&self, place: usize) -> Option<(String, Vec<Json>)> {
        if !self.is_in_conflict() {
            return None;
        }
        let differ =
            |&field: &PersonField| self.alternatives.iter().any(|a| a.get(field) != self.alternatives[0].get(field));
        let differing: Vec<PersonField> = PersonField::ALL.into_iter().filter(differ).collect();
        if let ([field], false) = (differing.as_slice(), self.removed) {
            let mut values = vec![Json::from(self.person.get(*field))];
            for value in self.alternatives.iter().map(|person| Json::from(person.get(*field))) {
                if !values.contains(&value) {
                    values.push(value);
                }
            }
            return Some((format!("/persons/{place}/{}", field.json()), values));
        }
        let mut persons = self.alternatives.clone();
        if persons.is_empty() {
            persons.push(self.person.clone());
        }
        // The JSON holds only text, so this cannot fail.
        let mut values: Vec<Json> = persons.iter().map(|p| serde_json::to_value(p).unwrap_or_default()).collect();
        values.extend(self.removed.then_some(Json::Null));
        Some((format!("/persons/{place}"), values))
    }
}

#[cfg(test)]
pub(crate) mod tests;
