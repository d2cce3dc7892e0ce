//! The fields of a visit's document, in their one order: the only place that names them.
//!
//! Names are one or two letters because every visit pays for them in every region. The arrival is no field: the
//! visit id carries it.
//!
//! # Invariants
//! - Order and names never change: equal check-ins must be equal changes, in every version and region.

use super::person::PersonField;

/// How many persons one visit may have.
pub const MAX_PERSONS: usize = 12;

/// One field of a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// Table or room: text.
    Area,
    /// Departure: Unix milliseconds.
    Left,
    /// A person's field: text. The index is below [`MAX_PERSONS`].
    Person(u8, PersonField),
}

/// One row per person: the index as one digit (base 36), then a letter per field in the order of [`PersonField`].
macro_rules! person_names {
    ($($index:literal)*) => {
        [$([
            concat!($index, "n"), concat!($index, "p"), concat!($index, "e"), concat!($index, "s"),
            concat!($index, "z"), concat!($index, "c"), concat!($index, "k"),
        ]),*]
    };
}

const PERSON_NAMES: [[&str; PersonField::ALL.len()]; MAX_PERSONS] =
    person_names!("0" "1" "2" "3" "4" "5" "6" "7" "8" "9" "a" "b");

impl Slot {
    /// All fields, in the order in which a document is written.
    pub fn all() -> impl Iterator<Item = Slot> {
        [Slot::Area, Slot::Left].into_iter().chain(Slot::all_of_persons())
    }

    /// All fields of persons, in the order in which a document is written.
    pub fn all_of_persons() -> impl Iterator<Item = Slot> {
        (0u8..).take(MAX_PERSONS).flat_map(|index| PersonField::ALL.map(|field| Slot::Person(index, field)))
    }

    /// The field's name in the document.
    ///
    /// # Panics
    /// If a person's index is not below [`MAX_PERSONS`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Slot::Area => "a",
            Slot::Left => "l",
            Slot::Person(index, field) => PERSON_NAMES[usize::from(index)][field as usize],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{MAX_PERSONS, Slot};
    use crate::registry::person::PersonField;

    #[test]
    fn names_are_stable_and_distinct() {
        assert_eq!(Slot::Person(0, PersonField::Name).name(), "0n");
        assert_eq!(Slot::Person(0, PersonField::PostalCode).name(), "0z");
        assert_eq!(Slot::Person(11, PersonField::Country).name(), "bk");
        let names: BTreeSet<_> = Slot::all().map(Slot::name).collect();
        assert_eq!(names.len(), 2 + MAX_PERSONS * PersonField::ALL.len());
    }

    #[test]
    fn the_written_order_is_the_order_of_slots() {
        assert!(Slot::all().is_sorted());
    }
}
