//! Which person of an array continues which, and which fields a correction writes.

use std::slice;

use proptest::collection::vec;
use proptest::prelude::{Strategy, proptest};
use proptest::{prop_assert, prop_assert_eq};

use super::{matched, updates};
use crate::person::Person;
use crate::visit::persons::tests::{Region, person};

fn mail(name: &str, email: &str) -> Person {
    Person { email: Some(email.into()), ..person(name, "") }
}

fn places(present: &[Person], wanted: &[Person]) -> Vec<Option<usize>> {
    matched(present, wanted)
}

#[test]
fn a_person_is_continued_by_content_then_by_name_then_by_place() {
    let (anna, ben, cleo) = (person("Anna", "1"), person("Ben", "2"), person("Cleo", "3"));
    let all = [anna.clone(), ben.clone(), cleo.clone()];
    for (what, wanted, expected) in [
        ("nothing changes", vec![anna.clone(), ben.clone(), cleo.clone()], vec![Some(0), Some(1), Some(2)]),
        ("a phone", vec![anna.clone(), person("Ben", "9"), cleo.clone()], vec![Some(0), Some(1), Some(2)]),
        (
            "an addition",
            vec![anna.clone(), ben.clone(), cleo.clone(), person("Dora", "4")],
            vec![Some(0), Some(1), Some(2), None],
        ),
        ("the first is removed", vec![ben.clone(), cleo.clone()], vec![Some(1), Some(2)]),
        ("removed and corrected", vec![person("Ben", "9"), cleo.clone()], vec![Some(1), Some(2)]),
        ("reordered", vec![cleo.clone(), anna.clone(), ben.clone()], vec![Some(2), Some(0), Some(1)]),
        ("a misspelt name", vec![person("Anne", "1"), ben.clone(), cleo.clone()], vec![Some(0), Some(1), Some(2)]),
        (
            "another guest in the place",
            vec![mail("Zoe", "z@z.de"), ben.clone(), cleo.clone()],
            vec![None, Some(1), Some(2)],
        ),
        (
            "inserted before all",
            vec![person("Zoe", "8"), anna.clone(), ben.clone(), cleo.clone()],
            vec![None, Some(0), Some(1), Some(2)],
        ),
        ("all are others", vec![mail("X", "x@x.de"), mail("Y", "y@y.de")], vec![None, None]),
    ] {
        assert_eq!(places(&all, &wanted), expected, "{what}");
    }
}

#[test]
fn of_equal_names_the_same_place_comes_first() {
    let (one, two) = (person("Max", "1"), person("Max", "2"));
    assert_eq!(places(&[one.clone(), two.clone()], &[person("Max", "8"), person("Max", "9")]), [Some(0), Some(1)]);
    assert_eq!(places(&[one.clone(), two.clone()], &[person("Max", "8"), one.clone()]), [Some(1), Some(0)]);
    assert_eq!(places(&[one.clone(), one.clone()], slice::from_ref(&one)), [Some(0)]);
    assert_eq!(places(slice::from_ref(&one), &[one.clone(), one.clone()]), [Some(0), None]);
}

#[test]
fn a_name_alone_may_be_misspelt() {
    let anna = person("Anna", "1");
    assert_eq!(places(&[anna.clone(), person("Benn", "")], &[anna, person("Ben", "")]), [Some(0), Some(1)]);
}

#[test]
fn a_correction_writes_the_person_that_it_changes_and_no_other() {
    let region = Region::checked_in(&[person("Anna", "1"), person("Ben", "2")]);
    let written = updates(&region.visit(), &[person("Anna", "1"), person("Ben", "9")]);
    assert!(
        written.iter().all(|(name, _)| name.starts_with('1')),
        "{:?}",
        written.iter().map(|u| &u.0).collect::<Vec<_>>()
    );
    assert!(updates(&region.visit(), &[person("Anna", "1"), person("Ben", "2")]).is_empty());
    let written = updates(&region.visit(), &[person("Ben", "2")]);
    assert_eq!(written.iter().map(|(name, _)| name.as_ref()).collect::<Vec<_>>(), ["0v"], "a removal is one field");
}

#[test]
fn equal_corrections_are_equal_changes() {
    let mut regions = [Region::checked_in(&[person("Anna", "1")]), Region::checked_in(&[person("Anna", "1")])];
    let wanted = [person("Ben", "2"), person("Anna", "9"), person("Ben", "2")];
    let hashes = regions.each_mut().map(|region| region.patch(&wanted));
    assert!(hashes[0].is_some());
    assert_eq!(hashes[0], hashes[1]);
    assert_eq!(regions[0].persons(), wanted, "two equal guests are two");
}

fn any_persons() -> impl Strategy<Value = Vec<Person>> {
    vec((0u8..3, 0u8..3), 0..6).prop_map(|all| {
        all.into_iter().map(|(name, phone)| person(&format!("N{name}"), ["", "1", "2"][usize::from(phone)])).collect()
    })
}

proptest! {
    /// Each present person is continued at most once, and an equal person is never taken for a new one while one is
    /// free.
    #[test]
    fn matching_is_one_to_one(present in any_persons(), wanted in any_persons()) {
        let places = matched(&present, &wanted);
        prop_assert_eq!(places.len(), wanted.len());
        let mut taken: Vec<usize> = places.iter().flatten().copied().collect();
        let count = taken.len();
        taken.sort_unstable();
        taken.dedup();
        prop_assert_eq!(taken.len(), count);
        for person in &wanted {
            let same = |place: &Option<usize>| place.is_some_and(|at| present[at] == *person);
            let continued = wanted.iter().zip(&places).filter(|(w, place)| *w == person && same(place)).count();
            let (here, there) = (present.iter().filter(|p| *p == person).count(), wanted.iter().filter(|p| *p == person).count());
            prop_assert_eq!(continued, here.min(there));
        }
        prop_assert!(places.iter().flatten().all(|at| *at < present.len()));
    }
}
