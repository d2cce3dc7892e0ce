//! One guest of a visit: the fields, their light checks, and their order.
//!
//! # Invariants
//! - `Debug` names the fields that are given and never their values, because it may reach a log.
//! - A check catches typing mistakes and accepts unusual persons: phones in any style, names in any script.
//! - What is accepted can be carried by the exporters and importers of the trade. What they cannot carry is refused at
//!   the door, because a guest can still correct it there.
//!
//! # Not here
//! Which fields must be given: [`crate::policy`]. Field names in documents: [`crate::visit::fields`].

mod email;
pub(crate) mod phone;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::invalid::{Code, Invalid};
use crate::text::clean;
use api::Moment;
use replication::Wall;

/// A field of a person, in the order in which all lists and documents have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PersonField {
    /// Full name, as the person writes it.
    Name,
    /// Telephone number in any style.
    Phone,
    /// E-mail address.
    Email,
    /// Street and house number.
    Street,
    /// Postal code.
    PostalCode,
    /// Town.
    City,
    /// ISO 3166-1 alpha-2.
    Country,
    /// When the person left, if that was before the rest of the party: RFC 3339, UTC, milliseconds.
    Left,
}

impl PersonField {
    /// All fields, in order.
    pub const ALL: [PersonField; 8] = [
        PersonField::Name,
        PersonField::Phone,
        PersonField::Email,
        PersonField::Street,
        PersonField::PostalCode,
        PersonField::City,
        PersonField::Country,
        PersonField::Left,
    ];

    /// The details that persons give of themselves: forms ask for them and tables have columns for them, in order.
    pub const DETAILS: [PersonField; 7] = {
        let [details @ .., _left] = PersonField::ALL;
        details
    };

    /// The field's name in JSON, in policy packs and in the CSV header.
    #[must_use]
    pub fn json(self) -> &'static str {
        match self {
            PersonField::Name => "name",
            PersonField::Phone => "phone",
            PersonField::Email => "email",
            PersonField::Street => "street",
            PersonField::PostalCode => "postal_code",
            PersonField::City => "city",
            PersonField::Country => "country",
            PersonField::Left => "left",
        }
    }

    /// The longest value, in grapheme clusters (Unicode UAX 29).
    #[must_use]
    pub(crate) fn max_chars(self) -> usize {
        match self {
            PersonField::Name | PersonField::Street => 120,
            PersonField::Phone | PersonField::Left => 40,
            // RFC 5321 section 4.5.3.1.3, less the angle brackets.
            PersonField::Email => 254,
            PersonField::PostalCode => 16,
            PersonField::City => 80,
            PersonField::Country => 2,
        }
    }
}

/// One person, as written in JSON and as shown in lists.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Person {
    /// Full name. `None` only if concurrent corrections left a person without one; such a person is still shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Telephone number as typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// E-mail address as typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Street and house number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub street: Option<String>,
    /// Postal code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<String>,
    /// Town.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    /// ISO 3166-1 alpha-2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// When the person left, if that was before the rest of the party: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
}

/// What a moment looks like.
pub(crate) const TIME: &str = "an RFC 3339 time with an offset, such as 2026-01-01T18:30:00+01:00";

impl Person {
    /// A field's text.
    #[must_use]
    pub fn get(&self, field: PersonField) -> Option<&str> {
        match field {
            PersonField::Name => self.name.as_deref(),
            PersonField::Phone => self.phone.as_deref(),
            PersonField::Email => self.email.as_deref(),
            PersonField::Street => self.street.as_deref(),
            PersonField::PostalCode => self.postal_code.as_deref(),
            PersonField::City => self.city.as_deref(),
            PersonField::Country => self.country.as_deref(),
            PersonField::Left => self.left.as_deref(),
        }
    }

    /// Sets a field, or removes it.
    pub fn set(&mut self, field: PersonField, text: Option<String>) {
        match field {
            PersonField::Name => self.name = text,
            PersonField::Phone => self.phone = text,
            PersonField::Email => self.email = text,
            PersonField::Street => self.street = text,
            PersonField::PostalCode => self.postal_code = text,
            PersonField::City => self.city = text,
            PersonField::Country => self.country = text,
            PersonField::Left => self.left = text,
        }
    }

    /// When the person left, if that was recorded for this person alone.
    #[must_use]
    pub fn left_at(&self) -> Option<Wall> {
        Moment::read(self.left.as_deref()?)
    }

    /// Whether the person gives any way of being reached.
    #[must_use]
    pub(crate) fn has_contact(&self) -> bool {
        PersonField::DETAILS[1..].iter().any(|&field| field != PersonField::Country && self.get(field).is_some())
    }

    /// The person in the stored form, judged. Errors are recorded under `pointer`, such as `/persons/0`; what a
    /// rule-maker asks for is checked by its pack.
    pub(crate) fn normalised(&self, pointer: &str, invalid: &mut Invalid) -> Person {
        let mut person = Person::default();
        for field in PersonField::ALL {
            let text = self.stored_field(field, pointer, invalid);
            if let Some((code, detail)) = text.as_deref().and_then(|text| judge(field, text)) {
                invalid.add(format!("{pointer}/{}", field.json()), code, detail);
            }
            person.set(field, text);
        }
        person
    }

    fn stored_field(&self, field: PersonField, pointer: &str, invalid: &mut Invalid) -> Option<String> {
        let at = || format!("{pointer}/{}", field.json());
        let unmarked = self.phone.as_deref().filter(|_| field == PersonField::Phone).map(phone::without_marks);
        let text = clean(unmarked.as_deref().or(self.get(field)), at, field.max_chars(), invalid)?;
        if field == PersonField::Left { moment(&text, at(), invalid) } else { Some(text) }
    }
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = PersonField::ALL.into_iter().filter(|&field| self.get(field).is_some());
        f.write_str("Person ")?;
        f.debug_set().entries(given).finish()
    }
}

/// A moment in its one stored form, so that equal moments are equal bytes.
fn moment(text: &str, pointer: String, invalid: &mut Invalid) -> Option<String> {
    let at = Moment::read(text);
    if at.is_none() {
        invalid.add(pointer, Code::Time, TIME);
    }
    at.map(|at| Moment(at).to_string())
}

/// Why a text cannot be this field's, if it cannot.
fn judge(field: PersonField, text: &str) -> Option<(Code, &'static str)> {
    match field {
        PersonField::Phone if !phone::is_phone(text) => Some((Code::Phone, phone::FORM)),
        PersonField::Email if !email::is_email(text) => Some((Code::Email, email::FORM)),
        PersonField::Country if !(text.len() == 2 && text.bytes().all(|b| b.is_ascii_alphabetic())) => {
            Some((Code::Country, "a country is two letters of ISO 3166-1, such as DE"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Person, PersonField};
    use crate::invalid::Invalid;

    #[test]
    fn every_field_is_set_and_read_and_named_as_in_json() {
        let mut person = Person::default();
        for field in PersonField::ALL {
            person.set(field, Some(field.json().to_owned()));
        }
        let json = serde_json::to_value(&person).expect("serialises");
        for field in PersonField::ALL {
            assert_eq!(person.get(field), Some(field.json()));
            assert_eq!(json[field.json()], field.json());
            assert_eq!(serde_json::to_value(field).expect("serialises"), field.json());
        }
        assert_eq!(json.as_object().map(serde_json::Map::len), Some(PersonField::ALL.len()));
        assert!(PersonField::ALL.starts_with(&PersonField::DETAILS));
    }

    #[test]
    fn marks_are_dropped_from_telephone_numbers_alone() {
        let marked = |text: &str| Some(format!("\u{200e}{text}\u{200f}"));
        let person =
            Person { name: marked("A"), phone: marked("0711 1"), email: marked("a@b.de"), ..Person::default() };
        let mut invalid = Invalid::default();
        let stored = person.normalised("/persons/0", &mut invalid);
        assert_eq!((stored.name, stored.phone.as_deref()), (marked("A"), Some("0711 1")));
        let errors: Vec<_> = invalid.errors.iter().map(|error| (error.pointer.as_str(), error.code.name())).collect();
        assert_eq!(errors, [("/persons/0/email", "email")]);
    }

    #[test]
    fn debug_shows_no_text() {
        let person = Person { name: Some("Donald".into()), phone: Some("0711 1".into()), ..Person::default() };
        assert_eq!(format!("{person:?}"), "Person {Name, Phone}");
    }

    #[test]
    fn a_country_alone_is_not_a_contact() {
        let person = Person { country: Some("DE".into()), ..Person::default() };
        assert!(!person.has_contact());
        assert!(Person { email: Some("a@b.de".into()), ..person }.has_contact());
    }
}
