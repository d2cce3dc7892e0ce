//! Which fields a form asks for, by the policy pack, and what a form shows of them: labels, values, errors.

use registry::{Household, Invalid, Person, PersonField, PolicyPack, Venue, VisitField};
use serde::Serialize;

use super::form::{MOST_PERSONS, name_of};
use super::texts::Texts;

/// The fields of one person.
#[derive(Serialize)]
pub(super) struct PersonFields {
    /// Counted from 1.
    number: usize,
    /// Whether the person has values or errors, so that its fields are shown at once.
    open: bool,
    fields: Vec<Field>,
}

/// One field.
#[derive(Serialize)]
pub(super) struct Field {
    name: String,
    label: String,
    /// `type` of the input.
    kind: &'static str,
    /// The standard token of HTML's `autocomplete`.
    token: &'static str,
    value: String,
    required: bool,
    optional: bool,
    error: Option<String>,
}

/// Where the guests sit.
#[derive(Serialize)]
pub(super) struct AreaField {
    /// `fixed` by the address, `choice` among the venue's areas, `free` text, or `none`.
    kind: &'static str,
    value: String,
    choices: Vec<String>,
    required: bool,
    error: Option<String>,
}

/// An error in the summary at the top: the words, and the field that it leads to.
#[derive(Clone, Serialize)]
pub(super) struct ErrorLink {
    field: String,
    words: String,
}

impl ErrorLink {
    /// An error of the field with this name.
    pub(super) fn new(field: String, words: String) -> ErrorLink {
        ErrorLink { field, words }
    }
}

/// The persons' part of a form.
#[derive(Serialize)]
pub(super) struct PersonsForm {
    persons: Vec<PersonFields>,
    /// Which ways to be reached are enough; empty if every way is asked for.
    ways: String,
    shared: bool,
    /// The first person's fields that must be given, for browsers without a network: names, separated by spaces.
    required: String,
    /// Groups of fields of which one must be given whole, separated by `|`.
    one_of: String,
}

/// The fields of a person that the pack asks for.
fn asked(pack: &PolicyPack, place: usize) -> Vec<PersonField> {
    let wanted = |field: &PersonField| {
        pack.required.person.contains(field) || pack.required.one_of.iter().any(|group| group.contains(field))
    };
    let answers = place == 0 || pack.household == Household::Each;
    let fields = PersonField::DETAILS.into_iter().filter(wanted);
    fields.filter(|field| answers || *field == PersonField::Name).collect()
}

/// The ways to be reached of which one is enough, in words.
fn ways(texts: &Texts, pack: &PolicyPack) -> String {
    let group = |group: &Vec<PersonField>| {
        let labels: Vec<String> = group.iter().map(|field| label(texts, *field)).collect();
        texts.joined("list-with", &labels)
    };
    let groups: Vec<String> = pack.required.one_of.iter().map(group).collect();
    texts.any_of(&groups)
}

fn label(texts: &Texts, field: PersonField) -> String {
    texts.text(&format!("field-{}", field.json())).into_owned()
}

/// The persons' part of a form with what was typed and what is wrong with it. `typed` has each person's place.
/// A `kiosk` is used by many persons, whose details the browser must not offer to each other.
pub(super) fn persons(
    texts: &Texts,
    pack: &PolicyPack,
    kiosk: bool,
    typed: &[(usize, Person)],
    errors: &FormErrors,
) -> PersonsForm {
    let ways = ways(texts, pack);
    let person = |place: usize| {
        let values = typed.iter().find(|(at, _)| *at == place).map(|(_, person)| person);
        // A correction must not lose what the form would not ask for.
        let given = |field: &PersonField| values.is_some_and(|person| person.get(*field).is_some());
        let asked = asked(pack, place);
        let asked = PersonField::ALL.into_iter().filter(|field| asked.contains(field) || given(field));
        let field = |field: PersonField| {
            let name = name_of(field, place);
            let required = pack.required.person.contains(&field);
            Field {
                label: label(texts, field),
                kind: kind(field),
                // The browser knows the details of one person only.
                token: if place == 0 && !kiosk { token(field) } else { "off" },
                value: values.and_then(|person| person.get(field)).unwrap_or_default().to_owned(),
                required,
                optional: !required && pack.required.one_of.is_empty(),
                error: errors.of(&name),
                name,
            }
        };
        let fields: Vec<Field> = asked.map(field).collect();
        let open = values.is_some() || fields.iter().any(|field| field.error.is_some());
        PersonFields { number: place + 1, open, fields }
    };
    PersonsForm {
        persons: (0..MOST_PERSONS).map(person).collect(),
        ways: if pack.required.one_of.len() > 1 { ways } else { String::new() },
        shared: pack.household == Household::Shared,
        required: names(&pack.required.person, " "),
        one_of: pack.required.one_of.iter().map(|group| names(group, " ")).collect::<Vec<_>>().join("|"),
    }
}

fn names(fields: &[PersonField], between: &str) -> String {
    fields.iter().map(|field| field.json()).collect::<Vec<_>>().join(between)
}

/// The area's part of a form. `fixed` is the area of the address.
pub(super) fn area(
    venue: &Venue,
    pack: &PolicyPack,
    fixed: Option<&str>,
    typed: &str,
    errors: &FormErrors,
) -> AreaField {
    let required = pack.required.visit.contains(&VisitField::Area);
    let kind = match fixed {
        Some(_) => "fixed",
        None if !venue.areas.is_empty() => "choice",
        None if required => "free",
        None => "none",
    };
    let value = fixed.unwrap_or(typed).to_owned();
    AreaField { kind, value, choices: venue.areas.clone(), required, error: errors.of("area") }
}

/// What is wrong with a form, in the words of a language.
#[derive(Default)]
pub(super) struct FormErrors(Vec<ErrorLink>);

impl FormErrors {
    /// The errors of a check-in. `places` are the form's places of the persons that were checked.
    pub(super) fn of_visit(texts: &Texts, pack: &PolicyPack, invalid: &Invalid, places: &[usize]) -> FormErrors {
        let link = |error: &registry::FieldError| {
            let first_way = pack.required.one_of.first().and_then(|group| group.first());
            let (field, label) = target(texts, &error.pointer, places, first_way.copied());
            let ways = ways(texts, pack);
            let key = format!("error-{}", error.code.name());
            let key = if texts.has(&key) { key } else { "error-other".to_owned() };
            ErrorLink { field, words: texts.with(&key, &[("field", &label), ("ways", &ways)]) }
        };
        FormErrors(invalid.errors.iter().map(link).collect())
    }

    fn of(&self, field: &str) -> Option<String> {
        self.0.iter().find(|error| error.field == field).map(|error| error.words.clone())
    }

    /// For the summary at the top of the form.
    pub(super) fn summary(&self) -> Vec<ErrorLink> {
        self.0.clone()
    }
}

/// The form's field that a JSON pointer means, and its label.
fn target(texts: &Texts, pointer: &str, places: &[usize], way: Option<PersonField>) -> (String, String) {
    let mut parts = pointer.split('/').skip(1);
    match (parts.next(), parts.next().and_then(|index| index.parse::<usize>().ok()), parts.next()) {
        (Some("persons"), Some(index), field) => {
            let place = places.get(index).copied().unwrap_or(index);
            let field = PersonField::ALL.into_iter().find(|known| Some(known.json()) == field);
            // A person that cannot be reached: the first way that the form has.
            // A departure has no field that is seen.
            let field = field.or(way).filter(|field| *field != PersonField::Left).unwrap_or(PersonField::Name);
            (name_of(field, place), label(texts, field))
        }
        (Some("area"), ..) => ("area".to_owned(), texts.text("field-area").into_owned()),
        _ => (name_of(PersonField::Name, 0), label(texts, PersonField::Name)),
    }
}

fn kind(field: PersonField) -> &'static str {
    match field {
        PersonField::Phone => "tel",
        PersonField::Email => "email",
        // Each person of a party leaves with a button of their own.
        PersonField::Left => "hidden",
        _ => "text",
    }
}

fn token(field: PersonField) -> &'static str {
    match field {
        PersonField::Name => "name",
        PersonField::Phone => "tel",
        PersonField::Email => "email",
        PersonField::Street => "street-address",
        PersonField::PostalCode => "postal-code",
        PersonField::City => "address-level2",
        PersonField::Country => "country",
        PersonField::Left => "off",
    }
}
