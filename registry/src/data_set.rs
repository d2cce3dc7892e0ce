//! Checks every line of the data set in `tests/data`: accepted bodies come back byte for byte, and hostile bodies are
//! refused with the code that their line names.

use std::collections::BTreeMap;

use replication::{Change, Document, Wall};
use serde::Deserialize;
use serde_json::{Value, json};
use unicode_normalization::UnicodeNormalization;

use crate::guests::csv as guest_csv;
use crate::guests::list::GuestRow;
use crate::invalid::Invalid;
use crate::policy::PolicyPack;
use crate::venue::Venue;
use crate::venue::body::NewVenue;
use crate::venue::id::{OwnerKey, VenueId};
use crate::visit::Visit;
use crate::visit::body::{CheckAt, CheckedVisit, VisitBody};
use crate::visit::id::{Secret, VisitId};
use crate::visit::persons_patch::updates;
use api::Moment;

const VENUES: &str = include_str!("../../tests/data/venues.json");
const CHECKINS: &str = include_str!("../../tests/data/checkins.ndjson");
const HOSTILE: &str = include_str!("../../tests/data/hostile.ndjson");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VenueLine {
    label: String,
    policy: String,
    venue: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkin {
    label: String,
    venue: String,
    arrived: String,
    left: Option<String>,
    visit: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hostile {
    label: String,
    venue: String,
    now: String,
    id_arrived: Option<String>,
    code: String,
    pointer: String,
    visit: Option<Value>,
    raw: Option<String>,
}

/// The venues of the data set, opened, with their packs.
fn venues() -> BTreeMap<String, (Venue, PolicyPack)> {
    let lines: Vec<VenueLine> = serde_json::from_str(VENUES).expect("venues.json reads");
    let open = |(index, line): (usize, VenueLine)| {
        let pack = PolicyPack::built_in(&line.policy).expect("a built-in pack");
        let checked = NewVenue::parse(line.venue.to_string().as_bytes()).and_then(|body| body.check(&pack));
        let checked = checked.unwrap_or_else(|error| panic!("{}: {error}", line.label));
        (line.label, (checked.open(VenueId([index as u8; 16]), &OwnerKey([7; 32])), pack))
    };
    let opened: BTreeMap<_, _> = lines.into_iter().enumerate().map(open).collect();
    assert!(opened.len() >= 12);
    opened
}

fn lines<'a, T: Deserialize<'a>>(text: &'a str) -> impl Iterator<Item = T> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
}

/// All text of a JSON value in NFC.
fn composed(value: &Value) -> Value {
    match value {
        Value::String(text) => text.nfc().collect::<String>().into(),
        Value::Array(items) => items.iter().map(composed).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), composed(value))).collect(),
        other => other.clone(),
    }
}

fn check(line: &Checkin, venue: &Venue, pack: &PolicyPack) -> Result<(VisitId, CheckedVisit), Invalid> {
    let arrived = Moment::read(&line.arrived).expect("a time");
    let mut body = line.visit.clone();
    body["arrived"] = json!(line.arrived);
    body["left"] = json!(line.left);
    let at = CheckAt { now: Wall(arrived.0 + 60_000), arrival: Some(arrived) };
    let checked = VisitBody::parse(body.to_string().as_bytes())?.check(venue, pack, at)?;
    Ok((VisitId::of(arrived, &Secret([9; 16])), checked))
}

#[test]
fn every_check_in_is_accepted_and_comes_back_as_typed() {
    let venues = venues();
    let mut labels = Vec::new();
    for line in lines::<Checkin>(CHECKINS) {
        let (venue, pack) = &venues[&line.venue];
        let (id, checked) = check(&line, venue, pack).unwrap_or_else(|error| panic!("{}: {error}", line.label));
        let key = id.key(venue);
        let change = Change::create(&key, &checked.to_fields());
        let again = check(&line, venue, pack).expect("passes").1;
        assert_eq!(Change::create(&key, &again.to_fields()).hash(), change.hash(), "{}", line.label);
        let document = Document::of_changes(std::slice::from_ref(&change)).expect("reads");
        let visit = Visit::from_document(id, &document).expect("visible");
        assert_eq!(visit.left(), line.left.as_deref().and_then(Moment::read), "{}", line.label);
        let shown = serde_json::to_value(&visit).expect("serialises");
        let typed = composed(&line.visit);
        assert_eq!(shown["persons"], typed["persons"], "{}", line.label);
        assert_eq!(shown.get("area"), typed.get("area"), "{}", line.label);
        assert!(guest_csv::lines(&GuestRow::of(&visit, "eu-central", pack.assumed_stay)).is_ok());
        labels.push(line.label);
    }
    assert_eq!(labels.len(), 300);
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), 300, "labels are distinct");
}

/// For every check-in: the persons can be reversed, one can be removed and come back, and each text stays as it was.
#[test]
fn the_persons_of_every_check_in_can_be_corrected() {
    let venues = venues();
    let mut parties = 0;
    for line in lines::<Checkin>(CHECKINS) {
        let (venue, pack) = &venues[&line.venue];
        let (id, checked) = check(&line, venue, pack).expect("passes");
        let key = id.key(venue);
        let mut changes = vec![Change::create(&key, &checked.to_fields())];
        let typed = checked.persons.clone();
        let reversed: Vec<_> = typed.iter().rev().cloned().collect();
        parties += usize::from(typed.len() > 1);
        for wanted in [&reversed[..], &reversed[..1], &typed[..], &reversed[..]] {
            let document = Document::of_changes(&changes).expect("merges");
            let updates = updates(&Visit::from_document(id, &document).expect("visible"), wanted);
            let updates: Vec<_> = updates.iter().map(|(field, value)| (field.as_ref(), value.clone())).collect();
            changes.extend(document.amend(&key, &updates));
            let document = Document::of_changes(&changes).expect("merges");
            let visit = Visit::from_document(id, &document).expect("visible");
            assert_eq!(visit.persons(), wanted, "{}", line.label);
            assert!(visit.conflicts().is_empty(), "{}", line.label);
        }
    }
    assert!(parties > 10, "{parties} check-ins with several persons");
}

#[test]
fn every_hostile_body_is_refused_with_its_code() {
    let venues = venues();
    let mut count = 0;
    for line in lines::<Hostile>(HOSTILE) {
        count += 1;
        let (venue, pack) = &venues[&line.venue];
        let now = Moment::read(&line.now).expect("a time");
        let at = CheckAt { now, arrival: line.id_arrived.as_deref().map(|text| Moment::read(text).expect("a time")) };
        let body = line.raw.clone().unwrap_or_else(|| line.visit.as_ref().expect("visit or raw").to_string());
        let refused =
            VisitBody::parse(body.as_bytes()).and_then(|body| body.check(venue, pack, at)).expect_err(&line.label);
        let json = serde_json::to_value(&refused).expect("serialises");
        let expected =
            |error: &&Value| error["code"] == line.code.as_str() && error["pointer"] == line.pointer.as_str();
        assert!(
            json["errors"].as_array().is_some_and(|errors| errors.iter().find(expected).is_some()),
            "{}: {json}",
            line.label
        );
        // Every hostile body has this word where a value is wrong, and no answer may repeat it.
        assert!(!json.to_string().contains("Quux"), "{}: {json}", line.label);
    }
    assert!(count >= 60, "{count}");
}

#[test]
fn nights_of_changing_clocks_have_their_true_length() {
    let stays: BTreeMap<String, u64> = lines::<Checkin>(CHECKINS)
        .filter(|line| line.label.starts_with("dst "))
        .filter_map(|line| {
            let left = Moment::read(line.left.as_deref()?)?;
            Some((line.label, left.since(Moment::read(&line.arrived)?).as_secs() / 60))
        })
        .collect();
    assert_eq!(stays["dst autumn: 02:30 to the second 02:30"], 60);
    assert_eq!(stays["dst autumn: 01:30 to 03:30"], 180);
    assert_eq!(stays["dst spring: 01:30 to 03:30"], 60);
}
