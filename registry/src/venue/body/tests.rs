//! Venues opened and changed, accepted and refused.

use std::time::Duration;

use replication::{Value, Wall};
use serde_json::json;

use super::{NewVenue, VenuePatch};
use crate::invalid::{Code, Invalid};
use crate::policy::PolicyPack;
use crate::venue::Venue;
use crate::venue::id::{OwnerKey, VenueId};

fn pack() -> PolicyPack {
    PolicyPack::built_in("default").expect("built in")
}

fn opened(body: &serde_json::Value) -> Result<Venue, Invalid> {
    let checked = NewVenue::parse(body.to_string().as_bytes())?.check(&pack())?;
    Ok(checked.open(VenueId([1; 16]), &OwnerKey([2; 32])))
}

fn patched(body: &serde_json::Value) -> Result<Vec<(&'static str, Option<Value>)>, Invalid> {
    let venue = opened(&json!({"name": "A", "timezone": "UTC"}))?;
    VenuePatch::parse(body.to_string().as_bytes())?.check(&venue, &pack(), Wall(1_780_000_000_000))
}

fn codes<T: std::fmt::Debug>(result: Result<T, Invalid>) -> Vec<(String, Code)> {
    result.expect_err("refused").errors.into_iter().map(|error| (error.pointer, error.code)).collect()
}

#[test]
fn a_name_and_a_time_zone_are_enough() {
    let venue = opened(&json!({"name": " Café Ærø ", "timezone": "europe/berlin"})).expect("passes");
    assert_eq!((venue.name.as_str(), venue.timezone.as_str()), ("Café Ærø", "Europe/Berlin"));
    assert_eq!(venue.retention, Duration::from_secs(14 * 86_400));
    assert_eq!((venue.policy.as_str(), venue.areas.len()), ("default", 0));
    assert!(venue.owned_by(&OwnerKey([2; 32])));
}

#[test]
fn time_zones_take_their_usual_spelling() {
    for (typed, name) in [
        ("UTC", "UTC"),
        ("asia/kathmandu", "Asia/Kathmandu"),
        ("America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
    ] {
        assert_eq!(opened(&json!({"name": "A", "timezone": typed})).expect("passes").timezone, name);
    }
}

#[test]
fn an_error_names_its_key() {
    let required = |at: &str| (at.to_owned(), Code::Required);
    assert_eq!(codes(opened(&json!({}))), [required("/name"), required("/timezone")]);
    let with = |key: &str, value: serde_json::Value| {
        let mut body = json!({"name": "A", "timezone": "Europe/Berlin"});
        body[key] = value;
        let found = codes(opened(&body));
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().expect("one")
    };
    assert_eq!(with("timezone", json!("Europe/Atlantis")), ("/timezone".into(), Code::Timezone));
    assert_eq!(with("timezone", json!("Etc/Unknown")), ("/timezone".into(), Code::Timezone));
    assert_eq!(with("timezone", json!("CET-1CEST,M3.5.0,M10.5.0/3")), ("/timezone".into(), Code::Timezone));
    assert_eq!(with("timezone", json!("")), ("/timezone".into(), Code::Timezone));
    assert_eq!(with("timezone", json!("../../etc/passwd")), ("/timezone".into(), Code::Timezone));
    assert_eq!(with("retention", json!("two weeks")), ("/retention".into(), Code::Duration));
    assert_eq!(with("retention", json!("23h")), ("/retention".into(), Code::Retention));
    assert_eq!(with("retention", json!("29d")), ("/retention".into(), Code::Retention));
    assert_eq!(with("areas", json!(["1", "2", " 1"])), ("/areas/2".into(), Code::Repeated));
    assert_eq!(with("areas", json!(["1", " "])), ("/areas/1".into(), Code::Required));
    assert_eq!(with("areas", json!(["1", "\u{2800}"])), ("/areas/1".into(), Code::Required));
    assert_eq!(with("name", json!("\u{200b}\u{feff}")), ("/name".into(), Code::Required));
    assert_eq!(with("name", json!("A\u{2028}B")), ("/name".into(), Code::ControlCharacter));
    assert_eq!(with("areas", json!(["a\nb"])), ("/areas/0".into(), Code::ControlCharacter));
    assert_eq!(with("areas", json!(vec!["x"; 251])), ("/areas".into(), Code::TooMany));
    assert_eq!(with("name", json!("a".repeat(121))), ("/name".into(), Code::TooLong));
    assert_eq!(with("policy", json!("de-bw")), (String::new(), Code::UnknownField));
}

#[test]
fn a_patch_names_what_it_changes() {
    assert_eq!(patched(&json!({})), Ok(Vec::new()));
    let text = |text: &str| Some(Value::Text(text.into()));
    assert_eq!(
        patched(
            &json!({"name": "B", "address": null, "timezone": "Asia/Tokyo", "retention": "2d", "areas": ["1", "2"]})
        ),
        Ok(vec![
            ("n", text("B")),
            ("a", None),
            ("t", text("Asia/Tokyo")),
            ("r", Some(Value::Int(172_800))),
            ("h", Some(Value::Text("0:1209600 1780000000000:172800".into()))),
            ("s", text("1\n2")),
        ])
    );
    assert_eq!(
        patched(&json!({"retention": null, "areas": null})),
        Ok(vec![("r", Some(Value::Int(1_209_600))), ("s", None)])
    );
}

/// A form sends the retention with every change. The one that a venue has was within the bounds when it was chosen.
#[test]
fn the_present_retention_may_be_kept_although_the_bounds_are_narrower_now() {
    let venue = opened(&json!({"name": "A", "timezone": "UTC"})).expect("passes");
    let mut pack = pack();
    pack.max_retention = Duration::from_hours(24 * 7);
    let patch = |retention: &str| {
        let patch = json!({"name": "B", "retention": retention});
        let patch = VenuePatch::parse(patch.to_string().as_bytes()).expect("reads");
        patch.check(&venue, &pack, Wall(1_780_000_000_000)).map(|updates| updates.len()).map_err(|_| ())
    };
    assert_eq!((patch("14d"), patch("7d"), patch("8d")), (Ok(2), Ok(3), Err(())));
}

#[test]
fn a_patch_is_checked_like_a_new_venue() {
    assert_eq!(codes(patched(&json!({"name": null}))), [("/name".to_owned(), Code::Required)]);
    assert_eq!(codes(patched(&json!({"timezone": null}))), [("/timezone".to_owned(), Code::Required)]);
    assert_eq!(codes(patched(&json!({"retention": "99d"}))), [("/retention".to_owned(), Code::Retention)]);
    assert_eq!(codes(patched(&json!({"owner_key": "x"}))), [(String::new(), Code::UnknownField)]);
}
