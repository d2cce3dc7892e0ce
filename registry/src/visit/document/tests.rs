//! Visits read from documents, with and without conflicts, and merged.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::prelude::{Strategy, any, proptest};
use proptest::{prop_assert_eq, prop_assume};
use replication::{Change, Document, Value, Wall};

use super::{Visit, Written, in_order};
use crate::person::{Person, PersonField};
use crate::venue::id::VenueId;
use crate::visit::body::CheckedVisit;
use crate::visit::fields::{PersonKey, Slot};
use crate::visit::id::{Secret, VisitId};

/// 2026-01-01T00:00:00Z.
pub(crate) const BASE: u64 = 1_767_225_600_000;

const VENUE: VenueId = VenueId([1; 16]);

/// A visit of persons with these names, as a document of one change gives it.
pub(crate) fn visit(arrived: u64, left: Option<u64>, area: Option<&str>, names: &[&str]) -> Visit {
    let (id, document, _) = stored(arrived, left, area, names);
    Visit::from_document(id, &document).expect("visible")
}

/// A visit as a document of one change gives it.
pub(crate) fn visit_of(checked: CheckedVisit) -> Visit {
    let id = VisitId::of(checked.arrival, &Secret([9; 16]));
    let change = Change::create(&key(id), &checked.to_fields());
    Visit::from_document(id, &Document::of_changes(&[change]).expect("reads")).expect("visible")
}

fn stored(arrived: u64, left: Option<u64>, area: Option<&str>, names: &[&str]) -> (VisitId, Document, Vec<Change>) {
    let mut secret = [7; 16];
    secret[..8].copy_from_slice(&(left.unwrap_or_default() ^ area.map_or(0, |a| a.len() as u64)).to_be_bytes());
    let id = VisitId::of(Wall(arrived), &Secret(secret));
    let person = |name: &&str| Person { name: Some((*name).into()), phone: Some("0711 1".into()), ..Person::default() };
    let checked = CheckedVisit {
        arrival: Wall(arrived),
        left: left.map(Wall),
        area: area.map(str::to_owned),
        persons: names.iter().map(person).collect(),
    };
    let changes = vec![Change::create(&key(id), &checked.to_fields())];
    (id, Document::of_changes(&changes).expect("reads"), changes)
}

fn key(id: VisitId) -> replication::DocumentKey {
    id.name(VENUE).expiring(id.arrival().plus(Duration::from_secs(86_400)))
}

/// The visit after these concurrent amendments.
fn amended(names: &[&str], amendments: &[&[(&str, Option<Value>)]]) -> Visit {
    let (id, document, mut changes) = stored(BASE, None, Some("1"), names);
    changes.extend(amendments.iter().filter_map(|updates| document.amend(&key(id), updates)));
    Visit::from_document(id, &Document::of_changes(&changes).expect("merges")).expect("visible")
}

fn text(text: &str) -> Option<Value> {
    Some(Value::Text(text.into()))
}

#[test]
fn an_empty_document_is_not_a_visit() {
    let id = VisitId::of(Wall(BASE), &Secret([0; 16]));
    assert_eq!(Visit::from_document(id, &Document::default()), None);
}

#[test]
fn concurrent_corrections_are_both_shown() {
    let seen = amended(&["A", "B"], &[&[("1p", text("2"))], &[("1p", text("3")), ("a", text("9"))]]);
    let conflicts = seen.conflicts();
    assert_eq!(conflicts.keys().collect::<Vec<_>>(), ["/persons/1/phone"]);
    let shown = &conflicts["/persons/1/phone"];
    assert_eq!(shown.len(), 2);
    assert!(shown.contains(&"2".into()) && shown.contains(&"3".into()));
    assert_eq!(seen.persons()[1].phone.as_deref(), shown[0].as_str());
    assert_eq!(seen.area(), Some("9"));
}

#[test]
fn of_concurrent_departures_the_latest_counts() {
    for order in [[10, 20], [20, 10]] {
        let [a, b] = order.map(|min| Some(Value::Int((BASE + min * 60_000) as i64)));
        let seen = amended(&["A"], &[&[("l", a)], &[("l", b)]]);
        assert_eq!(seen.left(), Some(Wall(BASE + 20 * 60_000)));
        let shown = &seen.conflicts()["/left"];
        assert_eq!(shown, &["2026-01-01T00:20:00.000Z", "2026-01-01T00:10:00.000Z"].map(serde_json::Value::from));
    }
}

/// Documents of versions whose corrections moved persons between places read as they did.
#[test]
fn a_place_that_was_emptied_and_corrected_at_once_is_shown() {
    let away: Vec<_> = ["1n", "1p", "2n", "2p"].into_iter().map(|name| (name, None)).collect();
    let seen = amended(&["A", "B", "C"], &[&away, &[("2p", text("2"))], &[("2p", text("3"))]]);
    let persons = seen.persons();
    assert_eq!(persons.len(), 2);
    assert_eq!(persons[1].name, None);
    assert_eq!(seen.conflicts()["/persons/1/phone"].len(), 2);
}

#[test]
fn values_of_a_wrong_type_are_not_shown() {
    let seen = amended(&["A"], &[&[("l", Some(Value::Int(-5))), ("a", Some(Value::Int(1))), ("zz", text("new"))]]);
    assert_eq!((seen.left(), seen.area()), (None, None));
}

#[test]
fn the_guests_own_record() {
    let (id, ..) = stored(BASE, Some(BASE + 1), Some("1"), &["A"]);
    let json = serde_json::to_value(visit(BASE, Some(BASE + 1), Some("1"), &["A"])).expect("serialises");
    assert_eq!(
        json,
        serde_json::json!({
            "visit_id": id.to_string(), "area": "1", "arrived": "2026-01-01T00:00:00.000Z",
            "left": "2026-01-01T00:00:00.001Z", "persons": [{"name": "A", "phone": "0711 1"}],
        })
    );
}

/// Any visit of one id: any fields, each with one to three concurrent values.
fn any_visit() -> impl Strategy<Value = Visit> {
    let place = PersonKey::Place;
    let person = |key, field| Slot::Person(key, field);
    let slots = [
        Slot::Area,
        Slot::Left,
        Slot::Order,
        Slot::Version(place(0)),
        person(place(0), PersonField::Name),
        person(PersonKey::Added(7), PersonField::Phone),
    ];
    btree_map(0..slots.len(), vec((0u8..4, 0u64..3), 1..4), 0..6).prop_map(move |fields| {
        let values = fields.into_iter().map(|(at, values)| {
            let slot = slots[at];
            let written = |(v, counter): (u8, u64)| {
                let value = match slot {
                    Slot::Left => Value::Int(i64::from(v)),
                    Slot::Version(_) => Value::Text(format!("{{\"n\":{v},\"p\":{{}}}}")),
                    Slot::Area | Slot::Order | Slot::Person(..) => Value::Text(v.to_string()),
                };
                Written { counter, change: vec![v], value }
            };
            (slot, in_order(slot, values.into_iter().map(written).collect()))
        });
        Visit { id: VisitId::of(Wall(BASE), &Secret([0; 16])), values: values.collect::<BTreeMap<_, _>>() }
    })
}

proptest! {
    #[test]
    fn merging_has_no_order(a in any_visit(), b in any_visit(), c in any_visit()) {
        prop_assert_eq!(a.clone().merge(a.clone()), a.clone());
        prop_assert_eq!(a.clone().merge(b.clone()), b.clone().merge(a.clone()));
        let left_first = a.clone().merge(b.clone()).merge(c.clone());
        prop_assert_eq!(left_first, a.merge(b.merge(c)));
    }

    /// Everything that either document holds is still there after a merge.
    #[test]
    fn merging_drops_nothing(a in any_visit(), b in any_visit(), pick in any::<proptest::sample::Index>()) {
        let all: Vec<_> = [&a, &b].into_iter().flat_map(|v| v.values.iter()).collect();
        prop_assume!(!all.is_empty());
        let (slot, values) = all[pick.index(all.len())];
        let (slot, values) = (*slot, values.clone());
        let merged = a.clone().merge(b.clone());
        for value in values {
            prop_assert_eq!(merged.values[&slot].iter().filter(|v| **v == value).count(), 1);
        }
    }
}
