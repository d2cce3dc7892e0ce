//! Persons under concurrent corrections, made by two regions that do not hear each other.

use std::collections::BTreeSet;
use std::slice;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::sample::Index;
use proptest::{prop_assert, prop_assert_eq};
use replication::{Change, ChangeHash, Document, DocumentKey, Wall};
use serde_json::{Value as Json, json};

use crate::person::Person;
use crate::venue::id::VenueId;
use crate::visit::Visit;
use crate::visit::body::CheckedVisit;
use crate::visit::document::tests::BASE;
use crate::visit::fields::{MAX_PERSONS, PersonKey};
use crate::visit::id::{Secret, VisitId};
use crate::visit::persons_patch::updates;

/// One region's copy of a visit.
#[derive(Clone)]
pub(crate) struct Region {
    pub(crate) changes: Vec<Change>,
}

fn id() -> VisitId {
    VisitId::of(Wall(BASE), &Secret([3; 16]))
}

fn key() -> DocumentKey {
    id().name(VenueId([1; 16])).expiring(Wall(BASE + 86_400_000))
}

pub(crate) fn person(name: &str, phone: &str) -> Person {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Person { name: given(name), phone: given(phone), ..Person::default() }
}

impl Region {
    pub(crate) fn checked_in(persons: &[Person]) -> Region {
        let checked = CheckedVisit { arrival: Wall(BASE), left: None, area: None, persons: persons.to_vec() };
        Region { changes: vec![Change::create(&key(), &checked.to_fields())] }
    }

    fn document(&self) -> Document {
        Document::of_changes(&self.changes).expect("merges")
    }

    pub(crate) fn visit(&self) -> Visit {
        Visit::from_document(id(), &self.document()).expect("visible")
    }

    pub(crate) fn persons(&self) -> Vec<Person> {
        self.visit().persons()
    }

    fn keyed(&self) -> Vec<(PersonKey, Person)> {
        self.visit().guests().into_iter().map(|guest| (guest.key, guest.person)).collect()
    }

    pub(crate) fn conflicts(&self) -> Json {
        serde_json::to_value(self.visit().conflicts()).expect("serialises")
    }

    /// Replaces the whole array, as `PATCH` does. Returns the change's hash, if it changes anything.
    pub(crate) fn patch(&mut self, persons: &[Person]) -> Option<ChangeHash> {
        let updates = updates(&self.visit(), persons);
        let updates: Vec<_> = updates.iter().map(|(field, value)| (field.as_ref(), value.clone())).collect();
        let change = self.document().amend(&key(), &updates)?;
        self.changes.push(change.clone());
        Some(change.hash())
    }

    pub(crate) fn hear(&mut self, other: &Region) {
        for change in &other.changes {
            if !self.changes.iter().any(|known| known.hash() == change.hash()) {
                self.changes.push(change.clone());
            }
        }
    }
}

/// Both regions after concurrent corrections that both then heard.
fn at_once(persons: &[Person], one: &[Person], two: &[Person]) -> Region {
    let mut regions = [Region::checked_in(persons), Region::checked_in(persons)];
    regions[0].patch(one);
    regions[1].patch(two);
    let [mut first, mut second] = regions;
    first.hear(&second);
    second.hear(&first);
    assert_eq!(first.visit(), second.visit(), "the order of arrival does not matter");
    first
}

fn anna() -> Person {
    person("Anna", "111")
}

fn ben() -> Person {
    person("Ben", "222")
}

#[test]
fn a_correction_and_an_addition_at_once_do_not_conflict() {
    let (new_anna, cleo) = (person("Anna", "999"), person("Cleo", "333"));
    let seen = at_once(&[anna()], slice::from_ref(&new_anna), &[anna(), cleo.clone()]);
    assert_eq!(seen.persons(), [new_anna, cleo]);
    assert_eq!(seen.conflicts(), json!({}));
}

#[test]
fn two_additions_at_once_are_two_guests() {
    let cleo = person("Cleo", "333");
    let dora = Person { email: Some("d@e.de".into()), ..person("Dora", "") };
    let seen = at_once(&[anna()], &[anna(), cleo.clone()], &[anna(), dora.clone()]);
    let persons = seen.persons();
    assert_eq!(persons.len(), 3);
    assert!(persons.contains(&cleo) && persons.contains(&dora) && persons[0] == anna());
    assert_eq!(seen.conflicts(), json!({}));
    // The same addition in both regions is one guest.
    assert_eq!(at_once(&[anna()], &[anna(), cleo.clone()], &[anna(), cleo.clone()]).persons(), [anna(), cleo]);
}

#[test]
fn the_first_is_removed_while_the_second_is_corrected() {
    let new_ben = person("Ben", "888");
    let seen = at_once(&[anna(), ben()], &[ben()], &[anna(), new_ben.clone()]);
    assert_eq!(seen.persons(), [new_ben]);
    assert_eq!(seen.conflicts(), json!({}));
}

#[test]
fn a_person_removed_and_corrected_at_once_stays_whole() {
    let new_ben = person("Ben", "888");
    let mut seen = at_once(&[anna(), ben()], &[anna()], &[anna(), new_ben.clone()]);
    assert_eq!(seen.persons(), [anna(), new_ben.clone()]);
    assert_eq!(seen.conflicts(), json!({"/persons/1": [{"name": "Ben", "phone": "888"}, null]}));
    // Either answer resolves the conflict.
    let mut kept = seen.clone();
    assert!(kept.patch(&[anna(), new_ben.clone()]).is_some());
    assert_eq!((kept.persons(), kept.conflicts()), (vec![anna(), new_ben], json!({})));
    assert!(seen.patch(&[anna()]).is_some());
    assert_eq!((seen.persons(), seen.conflicts()), (vec![anna()], json!({})));
}

#[test]
fn two_removals_at_once_do_not_leave_a_visit_without_guests() {
    let mut seen = at_once(&[anna(), ben()], &[anna()], &[ben()]);
    assert_eq!(seen.persons(), [anna(), ben()]);
    assert_eq!(seen.conflicts()["/persons/0"], json!([{"name": "Anna", "phone": "111"}, null]));
    assert!(seen.patch(&[ben()]).is_some());
    assert_eq!((seen.persons(), seen.conflicts()), (vec![ben()], json!({})));
    // Of three persons both removals take effect.
    let cleo = person("Cleo", "333");
    let seen = at_once(&[anna(), ben(), cleo.clone()], &[anna(), cleo.clone()], &[ben(), cleo.clone()]);
    assert_eq!((seen.persons(), seen.conflicts()), (vec![cleo], json!({})));
}

#[test]
fn one_field_corrected_twice_has_both_values() {
    let seen = at_once(&[anna()], &[person("Anna", "998")], &[person("Anna", "999")]);
    let shown = seen.conflicts();
    let values = shown["/persons/0/phone"].as_array().expect("values");
    assert_eq!(values.iter().filter_map(Json::as_str).collect::<BTreeSet<_>>(), ["998", "999"].into());
    assert_eq!(seen.persons()[0].phone.as_deref(), values[0].as_str());
}

#[test]
fn a_number_stays_with_its_name() {
    let seen = at_once(&[anna()], &[person("Anne", "111")], &[person("Anna", "999")]);
    let alternatives = &seen.conflicts()["/persons/0"];
    assert_eq!(alternatives.as_array().map(Vec::len), Some(2));
    for version in [json!({"name": "Anne", "phone": "111"}), json!({"name": "Anna", "phone": "999"})] {
        assert!(alternatives.as_array().is_some_and(|all| all.contains(&version)), "{alternatives}");
    }
    assert_eq!(serde_json::to_value(&seen.persons()[0]).expect("serialises"), alternatives[0], "no third person");
}

#[test]
fn two_fields_corrected_at_once_both_count_and_both_versions_are_shown() {
    let mail = Person { email: Some("a@b.de".into()), ..anna() };
    let seen = at_once(&[anna()], &[person("Anna", "999")], &[mail]);
    assert_eq!(seen.persons(), [Person { email: Some("a@b.de".into()), ..person("Anna", "999") }]);
    assert_eq!(seen.conflicts()["/persons/0"].as_array().map(Vec::len), Some(2));
}

#[test]
fn an_order_lasts_and_additions_come_after_it() {
    let cleo = person("Cleo", "333");
    let seen = at_once(&[anna(), ben()], &[ben(), anna()], &[anna(), ben(), cleo.clone()]);
    assert_eq!(seen.persons(), [ben(), anna(), cleo]);
    assert_eq!(seen.conflicts(), json!({}));
}

/// A check-in that two regions took with different bodies has two first versions.
#[test]
fn two_check_ins_under_one_id_are_two_alternatives() {
    let mut seen = Region::checked_in(&[anna()]);
    let zoe = Person { email: Some("z@z.de".into()), ..person("Zoe", "") };
    seen.hear(&Region::checked_in(slice::from_ref(&zoe)));
    let shown = seen.persons();
    assert!(shown == [anna()] || shown == [zoe], "no mixture");
    assert_eq!(seen.conflicts()["/persons/0"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_removed_person_can_come_back_and_be_removed_again() {
    let mut region = Region::checked_in(&[anna(), ben()]);
    for _ in 0..3 {
        region.patch(&[anna()]);
        assert_eq!(region.persons(), [anna()]);
        region.patch(&[anna(), ben()]);
        assert_eq!(region.persons(), [anna(), ben()]);
        assert_eq!(region.patch(&[anna(), ben()]), None, "a repeat changes nothing");
    }
}

/// Documents of versions without person keys: a place was emptied by removing its fields.
#[test]
fn an_old_document_accepts_corrections() {
    let mut region = Region::checked_in(&[anna(), ben(), person("Cleo", "333")]);
    let moved =
        [("1n", "Cleo"), ("1p", "333")].map(|(field, text)| (field, Some(replication::Value::Text(text.into()))));
    let updates = [&moved[..], &[("2n", None), ("2p", None)]].concat();
    let change = region.document().amend(&key(), &updates).expect("a change");
    region.changes.push(change);
    assert_eq!((region.persons(), region.conflicts()), (vec![anna(), person("Cleo", "333")], json!({})));
    region.patch(&[person("Cleo", "444"), ben()]);
    assert_eq!((region.persons(), region.conflicts()), (vec![person("Cleo", "444"), ben()], json!({})));
}

#[test]
fn of_one_persons_concurrent_departures_the_latest_counts_and_others_are_untouched() {
    let left = |minutes| Person { left: Some(moment(minutes)), ..anna() };
    for (one, two) in [(10, 20), (20, 10)] {
        let seen = at_once(&[anna(), ben()], &[left(one), ben()], &[left(two), ben()]);
        assert_eq!(seen.persons(), [left(20), ben()]);
        assert_eq!(seen.conflicts(), json!({"/persons/0/left": [moment(20), moment(10)]}));
    }
    let ben_left = Person { left: Some(moment(30)), ..ben() };
    let seen = at_once(&[anna(), ben()], &[left(10), ben()], &[anna(), ben_left.clone()]);
    assert_eq!((seen.persons(), seen.conflicts()), (vec![left(10), ben_left], json!({})));
    assert_eq!(seen.visit().ended(), Some(Wall(BASE + 30 * 60_000)), "the last of them");
}

/// Each region corrected twice. The first correction of one region has no version any more, and what it wrote must not be
/// put together with what the other region wrote meanwhile.
#[test]
fn a_correction_that_was_corrected_again_is_no_person_of_its_own() {
    let mail = |person: Person| Person { email: Some("a@b.de".into()), ..person };
    let left = |person: Person| Person { left: Some(moment(1)), ..person };
    for other in [&mail as &dyn Fn(Person) -> Person, &left] {
        let mut regions = [Region::checked_in(&[anna()]), Region::checked_in(&[anna()])];
        regions[0].patch(&[person("Annika", "111")]);
        regions[0].patch(&[person("Annika", "333")]);
        regions[1].patch(&[other(anna())]);
        regions[1].patch(&[other(person("Anne", "111"))]);
        let [mut one, two] = regions;
        one.hear(&two);
        let as_json = |person: Person| serde_json::to_value(person).expect("serialises");
        let mut told = one.conflicts()["/persons/0"].as_array().expect("a conflict").clone();
        told.sort_by_key(ToString::to_string);
        let mut wanted = [as_json(other(person("Anne", "111"))), as_json(person("Annika", "333"))];
        wanted.sort_by_key(ToString::to_string);
        assert_eq!(told, wanted);
    }
}

/// What versions before departures of one person read a version as.
#[test]
fn an_earlier_version_reads_the_version_of_a_person_who_left() {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct OldPerson {
        name: String,
        #[serde(rename = "phone")]
        _phone: String,
    }
    #[derive(serde::Deserialize)]
    struct OldVersion {
        n: u64,
        p: OldPerson,
    }
    let left = Person { left: Some(moment(10)), ..anna() };
    let mut region = Region::checked_in(&[anna(), ben()]);
    region.patch(&[left.clone(), ben()]);
    let document = region.document();
    let text = document.get("0v").and_then(replication::Value::as_text).expect("a version");
    let old: OldVersion = serde_json::from_str(text).expect("reads");
    assert_eq!((old.n, old.p.name.as_str()), (1, "Anna"));
    // A removal that an earlier version made is a removal, and one that this version made is one there.
    region.patch(&[ben()]);
    assert_eq!(region.persons(), [ben()]);
    region.patch(&[left.clone(), ben()]);
    assert_eq!(region.persons(), [left, ben()]);
}

#[test]
fn a_form_that_does_not_know_who_left_keeps_it_for_the_right_one() {
    let (same, left) = (person("Anna", "222"), Person { left: Some(moment(10)), ..anna() });
    let region = Region::checked_in(&[left.clone(), same.clone()]);
    let kept = |typed: &[Person]| {
        let mut typed = typed.to_vec();
        region.visit().keep_departures(&mut typed);
        typed.iter().map(|person| person.left.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(kept(&[anna(), same.clone()]), [true, false], "two of one name");
    assert_eq!(kept(&[person(" Anna ", "111"), person("Anna", "333")]), [true, false], "as it was typed");
    assert_eq!(kept(&[same.clone(), anna()]), [false, true]);
    assert_eq!(kept(&[same, person("Cleo", "4"), person("Dora", "5")]), [false, false, false]);
}

/// A guest's change to the list that is shown.
#[derive(Clone, Debug)]
enum Edit {
    Phone(Index, u8),
    Email(Index, u8),
    Rename(Index, u8),
    Remove(Index),
    Add(u8, u8),
    Swap(Index, Index),
    Leave(Index, u8),
    Nothing,
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (any::<Index>(), 0u8..4).prop_map(|(at, n)| Edit::Phone(at, n)),
        (any::<Index>(), 0u8..4).prop_map(|(at, n)| Edit::Email(at, n)),
        (any::<Index>(), 0u8..4).prop_map(|(at, n)| Edit::Rename(at, n)),
        any::<Index>().prop_map(Edit::Remove),
        (0u8..4, 0u8..4).prop_map(|(name, phone)| Edit::Add(name, phone)),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Edit::Swap(a, b)),
        (any::<Index>(), 1u8..4).prop_map(|(at, n)| Edit::Leave(at, n)),
        Just(Edit::Nothing),
    ]
}

fn edited(mut persons: Vec<Person>, edit: &Edit) -> Vec<Person> {
    let len = persons.len();
    match edit {
        Edit::Phone(at, n) => persons[at.index(len)].phone = Some(format!("55{n}")),
        Edit::Email(at, n) => persons[at.index(len)].email = Some(format!("guest{n}@b.de")),
        Edit::Rename(at, n) => persons[at.index(len)].name = Some(format!("Name {n}")),
        Edit::Remove(at) if len > 1 => drop(persons.remove(at.index(len))),
        Edit::Add(name, phone) if len < MAX_PERSONS / 2 => {
            persons.push(person(&format!("Name {name}"), &format!("55{phone}")));
        }
        Edit::Leave(at, n) => persons[at.index(len)].left = Some(moment(*n)),
        Edit::Swap(a, b) => persons.swap(a.index(len), b.index(len)),
        Edit::Remove(_) | Edit::Add(..) | Edit::Nothing => {}
    }
    persons
}

/// So many minutes after the arrival.
fn moment(minutes: u8) -> String {
    api::Moment(Wall(BASE + u64::from(minutes) * 60_000)).to_string()
}

/// Everything that a reader is shown: the persons and every alternative.
fn told(region: &Region) -> Vec<Json> {
    let as_json = |person: &Person| serde_json::to_value(person).expect("serialises");
    let mut told: Vec<Json> = region.persons().iter().map(as_json).collect();
    let persons = told.clone();
    for (pointer, values) in region.visit().conflicts() {
        let mut parts = pointer.split('/').skip(2);
        let place: usize = parts.next().and_then(|place| place.parse().ok()).expect("a place");
        match parts.next() {
            None => told.extend(values),
            Some(field) => told.extend(values.into_iter().map(|value| {
                let mut person = persons[place].clone();
                match value {
                    Json::Null => drop(person.as_object_mut().expect("an object").remove(field)),
                    value => person[field] = value,
                }
                person
            })),
        }
    }
    told
}

proptest! {
    /// Rounds of concurrent corrections in two regions, which hear each other after each round. Both regions end equal.
    /// No person is lost that one region showed and the other did not touch or remove. Each person that is shown was
    /// written by some correction or check-in, or a conflict lists what each of them wrote.
    #[test]
    fn two_regions_end_equal_and_lose_or_mix_no_person(
        first in vec((0u8..4, 0u8..4), 1..4),
        rounds in vec((vec(edit(), 0..4), vec(edit(), 0..4)), 1..4),
    ) {
        let first: Vec<Person> = first.iter().map(|(name, phone)| person(&format!("Name {name}"), &format!("55{phone}"))).collect();
        let mut written: Vec<Person> = first.clone();
        let mut one = Region::checked_in(&first);
        for (here, there) in &rounds {
            let mut two = one.clone();
            // Everything that each region has shown in this round, because equal corrections are one change, which may
            // be corrected again.
            let mut shown_by = [one.keyed(), one.keyed()];
            for (region, edits, shown) in [(&mut one, here, 0), (&mut two, there, 1)] {
                for edit in edits {
                    let wanted = edited(region.persons(), edit);
                    region.patch(&wanted);
                    prop_assert_eq!(region.persons(), wanted.clone(), "a correction does what it says");
                    prop_assert_eq!(region.patch(&wanted), None, "and a repeat does nothing");
                    shown_by[shown].extend(region.keyed());
                    written.extend(wanted);
                }
            }
            let (alone, other) = (one.clone(), two.clone());
            one.hear(&other);
            two.hear(&alone);
            prop_assert_eq!(one.visit(), two.visit());

            let told = told(&one);
            for (shows, else_where, had) in [(&alone, &other, &shown_by[1]), (&other, &alone, &shown_by[0])] {
                for keyed in shows.keyed() {
                    let known = serde_json::to_value(&keyed.1).expect("serialises");
                    // The other region may have removed or corrected the same person.
                    let replaced = had.contains(&keyed) && !else_where.keyed().contains(&keyed);
                    prop_assert!(replaced || told.contains(&known), "lost: {known}, told: {told:?}");
                }
            }
            let conflicts = one.visit().conflicts();
            for (place, person) in one.persons().iter().enumerate() {
                let said = conflicts.keys().any(|pointer| pointer.split('/').nth(2) == Some(&place.to_string()));
                prop_assert!(person.name.is_some(), "a nameless remainder");
                prop_assert!(said || written.contains(person), "a mixture of several persons at {place}");
            }
            for (pointer, values) in conflicts.iter().filter(|(pointer, _)| pointer.split('/').count() == 3) {
                for value in values.iter().filter(|value| !value.is_null()) {
                    let person: Person = serde_json::from_value(value.clone()).expect("a person");
                    prop_assert!(written.contains(&person), "{pointer} names a person never written: {value}");
                }
            }
        }
    }
}
