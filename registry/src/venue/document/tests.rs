//! Venues read from documents, and their public profile.

use std::collections::BTreeMap;
use std::time::Duration;

use replication::{Change, Document, Value, Wall};

use super::{Venue, field};
use crate::policy::PolicyPack;
use crate::venue::id::{OwnerKey, VenueId};
use crate::venue::retention::Retentions;

const OWNER: OwnerKey = OwnerKey([5; 32]);

/// A venue with these areas.
pub(crate) fn venue(areas: &[&str]) -> Venue {
    use unicode_normalization::UnicodeNormalization;
    Venue {
        id: VenueId([9; 16]),
        name: "Zum Goldenen Anker".into(),
        address: None,
        timezone: "Europe/Berlin".into(),
        retention: Duration::from_secs(14 * 86_400),
        retentions: Retentions::always(Duration::from_secs(14 * 86_400)),
        areas: areas.iter().map(|area| area.nfc().collect()).collect(),
        policy: "default".into(),
        owner_key_hashes: vec![OWNER.hash()],
        closed: None,
        unused: false,
        conflicts: BTreeMap::new(),
    }
}

#[test]
fn a_venue_comes_back_from_its_document() {
    let full = Venue { address: Some("Am Markt 1, Halle (Saale)".into()), ..venue(&["Table 1", "Garden, left"]) };
    for opened in [venue(&[]), full, Venue { unused: true, ..venue(&[]) }] {
        let change = Change::create(&opened.key(), &opened.to_fields());
        let document = Document::of_changes(&[change]).expect("reads");
        assert_eq!(Venue::from_document(opened.id, &document), Some(opened));
    }
    assert_eq!(Venue::from_document(VenueId([9; 16]), &Document::default()), None);
}

#[test]
fn only_the_owners_key_is_accepted() {
    assert!(venue(&[]).owned_by(&OWNER));
    assert!(!venue(&[]).owned_by(&OwnerKey([6; 32])));
    assert!(!Venue { owner_key_hashes: Vec::new(), ..venue(&[]) }.owned_by(&OWNER));
}

#[test]
fn conflicts_are_shown() {
    let opened = venue(&["1"]);
    let key = opened.key();
    let mut changes = vec![Change::create(&key, &opened.to_fields())];
    let document = Document::of_changes(&changes).expect("reads");
    for days in [6u8, 7] {
        let updates = [
            (field::RETENTION, Some(Value::Int(i64::from(days) * 86_400))),
            (field::AREAS, Some(Value::Text(format!("1\n{days}")))),
        ];
        changes.extend(document.amend(&key, &updates));
    }
    let merged = Venue::from_document(opened.id, &Document::of_changes(&changes).expect("merges")).expect("visible");
    assert_eq!(merged.conflicts.keys().collect::<Vec<_>>(), ["/areas", "/retention"]);
    assert!(merged.conflicts["/retention"].contains(&"6d".into()));
    assert!(merged.conflicts["/areas"].contains(&serde_json::json!(["1", "7"])));
}

/// A venue that no guest ever used expires. A check-in in a region that had not heard of it wins.
#[test]
fn a_venue_that_expired_is_open_again_once_it_was_used() {
    let opened = Venue { unused: true, ..venue(&[]) };
    let key = opened.key();
    let mut changes = vec![Change::create(&key, &opened.to_fields())];
    let read = |changes: &[Change]| {
        Venue::from_document(opened.id, &Document::of_changes(changes).expect("merges")).expect("visible")
    };
    let created = Document::of_changes(&changes).expect("reads");
    let expired = created.amend(&key, &Venue::expiring(Wall(5))).expect("a change");
    let used = created.amend(&key, &Venue::used()).expect("a change");
    let again = created.amend(&key, &Venue::expiring(Wall(5))).expect("a change");
    assert_eq!(expired.hash(), again.hash(), "the same in every region");
    changes.push(expired);
    assert_eq!((read(&changes).closed, read(&changes).unused), (Some(Wall(5)), true));
    changes.push(used);
    assert_eq!((read(&changes).closed, read(&changes).unused), (None, false));
    // An owner's closing stays, whatever comes.
    let merged = Document::of_changes(&changes).expect("merges");
    changes.extend(merged.amend(&key, &Venue::closing(Wall(7))));
    assert_eq!(read(&changes).closed, Some(Wall(7)));
    // No later change makes it unused.
    let merged = Document::of_changes(&changes).expect("merges");
    changes.extend(merged.amend(&key, &[(field::UNUSED, Some(Value::Int(1)))]));
    assert!(!read(&changes).unused);
}

/// A hostile peer can change a venue, but can neither take it over nor lock its owner out.
#[test]
fn a_later_change_does_not_change_the_owner_of_a_venue() {
    let opened = venue(&[]);
    let key = opened.key();
    let creation = Change::create(&key, &opened.to_fields());
    let document = Document::of_changes(std::slice::from_ref(&creation)).expect("reads");
    let thief = OwnerKey([6; 32]);
    for stolen in [Some(Value::Bytes(thief.hash().to_vec())), None] {
        let hostile = document.amend(&key, &[(field::OWNER, stolen)]).expect("it changes something");
        let merged = Document::of_changes(&[creation.clone(), hostile]).expect("merges");
        let venue = Venue::from_document(opened.id, &merged).expect("visible");
        assert!(venue.owned_by(&OWNER) && !venue.owned_by(&thief));
    }
    // An owner who creates the venue again has a key as well, because nothing shows which of two creations was first.
    let again = Venue { owner_key_hashes: vec![thief.hash()], ..opened.clone() };
    let twice = [creation, Change::create(&key, &again.to_fields())];
    let venue = Venue::from_document(opened.id, &Document::of_changes(&twice).expect("merges")).expect("visible");
    assert!(venue.owned_by(&OWNER) && venue.owned_by(&thief));
}

#[test]
fn the_profile_is_public_and_says_nothing_of_the_key() {
    let opened = venue(&["1"]);
    let pack = PolicyPack::built_in("de-bw").expect("built in");
    let json = serde_json::to_value(opened.profile(&pack)).expect("serialises");
    assert_eq!(json["venue_id"], opened.id.to_string());
    assert_eq!(json["retention"], "14d");
    assert_eq!(json["areas"], serde_json::json!(["1"]));
    assert_eq!(json["policy"]["id"], "de-bw");
    assert_eq!(json["policy"]["household"], "shared");
    assert_eq!(
        json["policy"]["required"],
        serde_json::json!({"person": ["name"], "one_of": [["phone"], ["street", "postal_code", "city"]], "visit": []})
    );
    assert!(json["policy"]["notice"]["de"].as_str().is_some_and(|text| text.contains("DSGVO")));
    let keys: Vec<_> = json.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["areas", "name", "policy", "retention", "timezone", "venue_id"]);
}
