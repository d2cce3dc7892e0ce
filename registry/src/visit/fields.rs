//! The fields of a visit's document: the only place that names them.
//!
//! | name | holds |
//! | --- | --- |
//! | `a`, `l` | area, departure |
//! | `0n`, `0p` .. `bk` | the fields of the person who was written at that place at check-in |
//! | `1f0c33e2n` .. | the fields of a person whom a correction added: 8 hex digits, then the letter |
//! | `0l`, `1f0c33e2l` | when that person left, if it was before the rest of the party; earlier versions ignore it |
//! | `0v`, `1f0c33e2v` | what a correction made of that person as a whole, or that it removed the person |
//! | `o` | the order of the persons, if it is not that of their keys |
//!
//! Names are short, because every visit stores them in every region. The arrival is not a field, because the visit id
//! carries it. A check-in writes only the first two lines. Older versions also wrote these names, but their corrections
//! moved persons between places; when their documents are read, a place is simply a key.
//!
//! # Invariants
//! - Order and names never change, because equal check-ins must be equal changes in every version and region.

use std::borrow::Cow;
use std::fmt;

use crate::person::PersonField;

/// How many persons one visit may have.
pub(crate) const MAX_PERSONS: usize = 12;

/// The key of a person inside the document, for as long as the visit lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum PersonKey {
    /// Written at check-in, at this place; below [`MAX_PERSONS`].
    Place(u8),
    /// Added by a correction.
    Added(u32),
}

/// One field of a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Slot {
    /// Table or room: text.
    Area,
    /// Departure: Unix milliseconds.
    Left,
    /// The keys of the persons in order: text.
    Order,
    /// A person as one correction wrote it: text ([`crate::visit::persons`]).
    Version(PersonKey),
    /// A person's field: text.
    Person(PersonKey, PersonField),
}

/// One row per person: the index as one digit (base 36), then a letter per field in the order of [`PersonField`].
macro_rules! person_names {
    ($($index:literal)*) => {
        [$([
            concat!($index, "n"), concat!($index, "p"), concat!($index, "e"), concat!($index, "s"),
            concat!($index, "z"), concat!($index, "c"), concat!($index, "k"), concat!($index, "l"),
        ]),*]
    };
}

const PERSON_NAMES: [[&str; PersonField::ALL.len()]; MAX_PERSONS] =
    person_names!("0" "1" "2" "3" "4" "5" "6" "7" "8" "9" "a" "b");

/// One letter per field, in the order of [`PersonField`].
const LETTERS: [char; PersonField::ALL.len()] = ['n', 'p', 'e', 's', 'z', 'c', 'k', 'l'];
const VERSION: char = 'v';

impl PersonKey {
    /// Reads what `Display` writes.
    #[must_use]
    pub(crate) fn read(text: &str) -> Option<PersonKey> {
        let lower = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        match text.len() {
            1 => {
                let place = text.chars().next()?.to_digit(36).and_then(|place| u8::try_from(place).ok())?;
                (usize::from(place) < MAX_PERSONS && text.bytes().all(lower)).then_some(PersonKey::Place(place))
            }
            8 if text.bytes().all(lower) => u32::from_str_radix(text, 16).ok().map(PersonKey::Added),
            _ => None,
        }
    }
}

impl fmt::Display for PersonKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PersonKey::Place(place) => write!(f, "{place:x}"),
            PersonKey::Added(hash) => write!(f, "{hash:08x}"),
        }
    }
}

impl fmt::Debug for PersonKey {
    /// Omits the hash, which derives from what a guest typed, because `Debug` may reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PersonKey::Place(place) => write!(f, "Place({place})"),
            PersonKey::Added(_) => f.write_str("Added"),
        }
    }
}

impl Slot {
    /// The field's name in the document.
    #[must_use]
    pub(crate) fn name(self) -> Cow<'static, str> {
        match self {
            Slot::Area => "a".into(),
            Slot::Left => "l".into(),
            Slot::Order => "o".into(),
            Slot::Version(key) => format!("{key}{VERSION}").into(),
            Slot::Person(key, field) => format!("{key}{}", LETTERS[field as usize]).into(),
        }
    }

    /// The field with a name; `None` if no version of a visit has it.
    #[must_use]
    pub(crate) fn read(name: &str) -> Option<Slot> {
        match name {
            "a" => return Some(Slot::Area),
            "l" => return Some(Slot::Left),
            "o" => return Some(Slot::Order),
            _ => {}
        }
        let letter = name.chars().next_back()?;
        let key = PersonKey::read(&name[..name.len() - letter.len_utf8()])?;
        if letter == VERSION {
            return Some(Slot::Version(key));
        }
        let at = LETTERS.iter().position(|known| *known == letter)?;
        Some(Slot::Person(key, PersonField::ALL[at]))
    }

    /// The person to whom the field belongs.
    #[must_use]
    pub(crate) fn person(self) -> Option<PersonKey> {
        match self {
            Slot::Version(key) | Slot::Person(key, _) => Some(key),
            Slot::Area | Slot::Left | Slot::Order => None,
        }
    }
}

/// The name of a field of the person at this place of a check-in; `None` from [`MAX_PERSONS`] on.
#[must_use]
pub(crate) fn name_at(place: u8, field: PersonField) -> Option<&'static str> {
    PERSON_NAMES.get(usize::from(place)).map(|names| names[field as usize])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::{any, proptest};
    use proptest::prop_assert_eq;

    use super::{MAX_PERSONS, PersonKey, Slot, name_at};
    use crate::person::PersonField;

    #[test]
    fn names_of_a_check_in_are_stable_and_distinct() {
        assert_eq!(name_at(0, PersonField::Name), Some("0n"));
        assert_eq!(name_at(0, PersonField::PostalCode), Some("0z"));
        assert_eq!(name_at(11, PersonField::Country), Some("bk"));
        assert_eq!(name_at(0, PersonField::Left), Some("0l"));
        assert_eq!(name_at(12, PersonField::Name), None);
        let places = (0u8..).take(MAX_PERSONS);
        let names: BTreeSet<_> = places.flat_map(|place| PersonField::ALL.map(|field| name_at(place, field))).collect();
        assert_eq!(names.len(), MAX_PERSONS * PersonField::ALL.len());
    }

    #[test]
    fn every_field_has_a_name_that_reads_back() {
        let keys = [PersonKey::Place(0), PersonKey::Place(11), PersonKey::Added(0), PersonKey::Added(0x1f0c_33e2)];
        let persons = keys.into_iter().flat_map(|key| PersonField::ALL.map(|field| Slot::Person(key, field)));
        let slots = persons.chain(keys.map(Slot::Version)).chain([Slot::Area, Slot::Left, Slot::Order]);
        let mut names = BTreeSet::new();
        for slot in slots {
            assert_eq!(Slot::read(&slot.name()), Some(slot));
            assert!(names.insert(slot.name()));
        }
        assert_eq!(Slot::Person(keys[3], PersonField::Email).name(), "1f0c33e2e");
        assert_eq!(Slot::Version(keys[1]).name(), "bv");
    }

    #[test]
    fn other_names_are_not_fields() {
        for other in
            ["", "n", "0", "cn", "0x", "zz", "0N", "An", "1f0c33e2", "1F0C33E2n", "f0c33e2n", "01f0c33e2n", "ä"]
        {
            assert_eq!(Slot::read(other), None, "{other}");
        }
    }

    #[test]
    fn debug_shows_no_hash() {
        assert_eq!(format!("{:?}", Slot::Version(PersonKey::Added(7))), "Version(Added)");
    }

    proptest! {
        #[test]
        fn a_name_that_reads_is_written_the_same(name in "[0-9a-fnpeszckvo]{0,10}|.*", hash in any::<u32>()) {
            if let Some(slot) = Slot::read(&name) {
                prop_assert_eq!(slot.name(), name);
            }
            prop_assert_eq!(PersonKey::read(&PersonKey::Added(hash).to_string()), Some(PersonKey::Added(hash)));
        }
    }
}
