//! Corrections and check-outs, applied to a document.

use replication::{Change, Document, Value, Wall};
use serde_json::json;

use super::VisitPatch;
use crate::invalid::{Code, Invalid};
use crate::person::Person;
use crate::policy::PolicyPack;
use crate::venue::document::tests::venue;
use crate::visit::Visit;
use crate::visit::body::CheckedVisit;
use crate::visit::document::tests::BASE;
use crate::visit::id::{Secret, VisitId};

/// A visit with two persons at table 1, after a correction.
fn corrected(patch: &serde_json::Value) -> Result<Visit, Invalid> {
    let venue = venue(&["1", "2"]);
    let id = VisitId::of(Wall(BASE), &Secret([3; 16]));
    let person = |name: &str| Person { name: Some(name.into()), phone: Some("0711 1".into()), ..Person::default() };
    let checked = CheckedVisit {
        arrival: Wall(BASE),
        left: None,
        area: Some("1".into()),
        persons: vec![person("A"), person("B")],
    };
    let key = id.key(&venue);
    let mut changes = vec![Change::create(&key, &checked.to_fields())];
    let document = Document::of_changes(&changes).expect("reads");
    let current = Visit::from_document(id, &document).expect("visible");
    let pack = PolicyPack::built_in("default").expect("built in");
    let updates = VisitPatch::parse(patch.to_string().as_bytes())?.check(&current, &venue, &pack)?;
    let updates: Vec<_> = updates.iter().map(|(field, value)| (field.as_ref(), value.clone())).collect();
    changes.extend(document.amend(&key, &updates));
    Ok(Visit::from_document(id, &Document::of_changes(&changes).expect("merges")).expect("visible"))
}

fn refusal(patch: &serde_json::Value) -> (String, Code) {
    let refused = corrected(patch).expect_err("refused");
    let first = refused.errors.into_iter().next().expect("an error");
    (first.pointer, first.code)
}

#[test]
fn absent_fields_stay_and_null_removes() {
    let untouched = corrected(&json!({})).expect("passes");
    assert_eq!((untouched.area(), untouched.left(), untouched.persons().len()), (Some("1"), None, 2));
    let out = corrected(&json!({"left": "2026-01-01T02:00:00+01:00"})).expect("passes");
    assert_eq!((out.area(), out.left()), (Some("1"), Some(Wall(BASE + 3_600_000))));
    assert_eq!(out.persons(), untouched.persons());
    assert_eq!(corrected(&json!({"area": null})).expect("passes").area(), None);
    assert_eq!(corrected(&json!({"area": "2"})).expect("passes").area(), Some("2"));
}

#[test]
fn persons_are_replaced_whole() {
    let one = corrected(&json!({"persons": [{"name": "C", "email": "c@d.de"}]})).expect("passes");
    assert_eq!(one.persons(), [Person { name: Some("C".into()), email: Some("c@d.de".into()), ..Person::default() }]);
}

#[test]
fn a_check_out_writes_one_field() {
    let venue = venue(&[]);
    let pack = PolicyPack::built_in("default").expect("built in");
    let current = crate::visit::document::tests::visit(BASE, None, None, &["A"]);
    let patch = VisitPatch::parse(br#"{"left":"2026-01-01T00:00:01Z"}"#).expect("reads");
    let updates = patch.check(&current, &venue, &pack).expect("passes");
    assert_eq!(updates, [("l".into(), Some(Value::Int((BASE + 1_000) as i64)))]);
}

#[test]
fn the_arrival_may_be_repeated_and_not_changed() {
    assert!(corrected(&json!({"arrived": "2026-01-01T00:00:00.000Z"})).is_ok());
    let immutable = ("/arrived".to_owned(), Code::Immutable);
    assert_eq!(refusal(&json!({"arrived": "2026-01-01T00:00:00.001Z"})), immutable);
    assert_eq!(refusal(&json!({"arrived": null})), immutable);
}

#[test]
fn a_correction_is_checked_like_a_check_in() {
    assert_eq!(refusal(&json!({"area": "3"})), ("/area".to_owned(), Code::UnknownArea));
    assert_eq!(refusal(&json!({"left": "2026-01-01T00:00:00Z"})), ("/left".to_owned(), Code::NotAfterArrival));
    assert_eq!(refusal(&json!({"persons": null})), ("/persons".to_owned(), Code::Required));
    assert_eq!(refusal(&json!({"persons": [{"name": "C"}]})), ("/persons/0".to_owned(), Code::ContactRequired));
    assert_eq!(refusal(&json!({"persons": {"0": {"name": "C"}}})), (String::new(), Code::WrongType));
    assert_eq!(refusal(&json!({"visit_id": "x"})), (String::new(), Code::UnknownField));
    assert_eq!(refusal(&json!([])), (String::new(), Code::WrongType));
}

/// A correction that was accepted under other rules is one when it is sent again.
#[test]
fn a_correction_that_is_sent_again_is_recognised_whatever_the_rules_are() {
    let all = json!({
        "arrived": "2026-01-01T00:00:00Z",
        "area": "1",
        "left": null,
        "persons": [{"name": "A", "phone": "0711 1"}, {"name": "B", "phone": "0711 1\u{200e}"}],
    });
    let is_repeat = |patch: &serde_json::Value| {
        let current = corrected(&json!({})).expect("passes");
        VisitPatch::parse(patch.to_string().as_bytes()).expect("reads").is_repeat(&current)
    };
    assert!(is_repeat(&all) && is_repeat(&json!({})));
    for (field, other) in [
        ("arrived", json!("2026-01-01T00:00:01Z")),
        ("arrived", json!(null)),
        ("area", json!("2")),
        ("area", json!(null)),
        ("left", json!("2026-01-01T01:00:00Z")),
        ("left", json!("soon")),
        ("persons", json!(null)),
        ("persons", json!([{"name": "A", "phone": "0711 1"}])),
    ] {
        let mut patch = all.clone();
        patch[field] = other;
        assert!(!is_repeat(&patch), "{patch}");
    }
    let out = json!({"left": "2026-01-02T00:00:00Z"});
    let current = corrected(&out).expect("passes");
    let mut pack = PolicyPack::built_in("default").expect("built in");
    pack.longest_stay = std::time::Duration::from_hours(1);
    let patch = VisitPatch::parse(out.to_string().as_bytes()).expect("reads");
    assert!(patch.check(&current, &venue(&["1"]), &pack).is_err() && patch.is_repeat(&current));
}
