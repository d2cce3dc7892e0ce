//! The documents that are written: a check-in of one guest, some 230 bytes of JSON, and its key.

use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use registry::{Secret, VisitId};
use replication::Wall;
use serde_json::{Value, json};

const GIVEN: [&str; 12] = [
    "Annelies",
    "Bartholomäus",
    "Charlotte",
    "Dominik",
    "Eleonore",
    "Friederike",
    "Guðrún",
    "Heinrich",
    "Ilse",
    "Jérôme",
    "Katarzyna",
    "Leopold",
];
const FAMILY: [&str; 12] = [
    "Achterberg",
    "Brandstetter",
    "Czerny",
    "Dietrichsen",
    "Eichendorff",
    "Falkenhagen",
    "Grünewald",
    "Hohenfels",
    "Immermann",
    "Jørgensen",
    "Kowalczyk",
    "Lindqvist",
];
const STREETS: [&str; 8] = [
    "Am Alten Hafen",
    "Königsberger Straße",
    "Lindenallee",
    "Marktplatz",
    "Rue de la Fontaine",
    "Schillerstraße",
    "Unter den Kastanien",
    "Zum Weinberg",
];
const CITIES: [&str; 8] =
    ["Augsburg", "Bremerhaven", "Czernowitz", "Düsseldorf", "Freiburg", "Göteborg", "Kraków", "Lyon"];

/// The name of a document: a visit's id, in the same form for every store, and the secret that proves the right to it.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl Key {
    /// The key of a visit that begins now.
    pub(crate) fn new() -> Key {
        let secret = Secret(rand::rng().random());
        let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
        Key { id: VisitId::of(Wall(now), &secret).to_string(), secret: secret.to_string() }
    }
}

/// A check-in as a guest sends it.
pub(crate) fn check_in() -> Value {
    let rng = &mut rand::rng();
    let mut one = |of: &[&'static str]| of.choose(rng).copied().unwrap_or_default();
    let (given, family, street, city) = (one(&GIVEN), one(&FAMILY), one(&STREETS), one(&CITIES));
    let rng = &mut rand::rng();
    json!({ "persons": [{
        "name": format!("{given} {family}"),
        "phone": format!("+49 151 {:08}", rng.random_range(0..100_000_000)),
        "email": format!("guest.{:06}@mail.example.org", rng.random_range(0..1_000_000)),
        "street": format!("{street} {}", rng.random_range(1..300)),
        "postal_code": format!("{:05}", rng.random_range(1_000..99_999)),
        "city": city,
        "country": "DE",
    }] })
}
