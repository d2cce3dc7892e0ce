//! Check-ins accepted and refused. The data set in `tests/data` has many more.

use std::time::Duration;

use api::Moment;
use proptest::prelude::proptest;
use proptest::prop_assert_eq;
use replication::{Value, Wall};
use serde_json::json;

use super::{CheckAt, CheckedVisit, VisitBody};
use crate::invalid::{Code, Invalid};
use crate::policy::PolicyPack;
use crate::venue::Venue;
use crate::venue::document::tests::venue;
use crate::venue::retention::Retentions;
use crate::visit::document::tests::BASE;
use crate::visit::id::{Secret, VisitId};

const NOW: CheckAt = CheckAt { now: Wall(BASE), arrival: None };

fn check_under(pack: &str, venue: &Venue, at: CheckAt, body: &serde_json::Value) -> Result<CheckedVisit, Invalid> {
    let pack = PolicyPack::built_in(pack).expect("built in");
    VisitBody::parse(body.to_string().as_bytes())?.check(venue, &pack, at)
}

fn check(body: &serde_json::Value) -> Result<CheckedVisit, Invalid> {
    check_under("default", &venue(&[]), NOW, body)
}

fn refusals(result: Result<CheckedVisit, Invalid>) -> Vec<(String, Code)> {
    result.expect_err("refused").errors.into_iter().map(|error| (error.pointer, error.code)).collect()
}

fn with_times(arrived: Option<&str>, left: Option<&str>) -> serde_json::Value {
    json!({"arrived": arrived, "left": left, "persons": [{"name": "A", "phone": "0711 1"}]})
}

#[test]
fn fields_are_in_one_order_whatever_the_order_of_the_body() {
    let one =
        VisitBody::parse(br#"{"persons":[{"phone":"0711 1","name":"A"},{"name":"B"}],"area":"1"}"#).expect("reads");
    let two = VisitBody::parse(br#"{"area":" 1","persons":[{"name":"A","phone":"0711 1","email":""},{"name":"B"}]}"#)
        .expect("reads");
    let pack = PolicyPack::built_in("default").expect("built in");
    let fields = one.check(&venue(&[]), &pack, NOW).expect("passes").to_fields();
    let text = |text: &str| Value::Text(text.into());
    assert_eq!(fields, [("a", text("1")), ("0n", text("A")), ("0p", text("0711 1")), ("1n", text("B"))]);
    assert_eq!(two.check(&venue(&[]), &pack, NOW).expect("passes").to_fields(), fields);
}

#[test]
fn the_arrival_is_the_ids_or_now() {
    let arrival = |at, body: &serde_json::Value| check_under("default", &venue(&[]), at, body).expect("passes").arrival;
    let in_id = CheckAt { arrival: Some(Wall(BASE - 5)), ..NOW };
    assert_eq!(arrival(NOW, &with_times(None, None)), Wall(BASE));
    assert_eq!(arrival(in_id, &with_times(None, None)), Wall(BASE - 5));
    assert_eq!(arrival(in_id, &with_times(Some("2026-01-01T00:59:59.995+01:00"), None)), Wall(BASE - 5));
    assert_eq!(arrival(NOW, &with_times(Some("2025-12-31T23:00:00Z"), None)), Wall(BASE - 3_600_000));
    let other = check_under("default", &venue(&[]), in_id, &with_times(Some("2026-01-01T00:00:00Z"), None));
    assert_eq!(refusals(other), [("/arrived".to_owned(), Code::ArrivalMismatch)]);
}

#[test]
fn an_arrival_is_accepted_for_a_day_and_a_little_ahead() {
    let arriving = |ms: u64| {
        let at = CheckAt { arrival: Some(Wall(ms)), ..NOW };
        check_under("default", &venue(&[]), at, &with_times(None, None))
    };
    assert!(arriving(BASE - 86_400_000).is_ok());
    assert!(arriving(BASE + 300_000).is_ok());
    assert_eq!(refusals(arriving(BASE - 86_400_001)), [("/visit_id".to_owned(), Code::TooOld)]);
    assert_eq!(refusals(arriving(BASE + 300_001)), [("/visit_id".to_owned(), Code::TooEarly)]);
}

#[test]
fn a_departure_is_after_the_arrival_and_within_a_day() {
    let leaving = |left| check(&with_times(None, Some(left)));
    assert_eq!(leaving("2026-01-01T00:00:00.001Z").expect("passes").left, Some(Wall(BASE + 1)));
    assert!(leaving("2026-01-02T00:00:00Z").is_ok());
    assert_eq!(refusals(leaving("2026-01-01T00:00:00Z")), [("/left".to_owned(), Code::NotAfterArrival)]);
    assert_eq!(refusals(leaving("2026-01-02T00:00:00.001Z")), [("/left".to_owned(), Code::StayTooLong)]);
    assert_eq!(refusals(leaving("soon")), [("/left".to_owned(), Code::Time)]);
}

#[test]
fn an_area_is_one_of_the_venues() {
    let in_area = |areas: &[&str], area: &str| {
        check_under(
            "default",
            &venue(areas),
            NOW,
            &json!({"area": area, "persons": [{"name": "A", "email": "a@b.de"}]}),
        )
    };
    assert_eq!(in_area(&["Table 1", "Cafe\u{301}"], "Café").expect("passes").area.as_deref(), Some("Café"));
    assert_eq!(in_area(&[], "Anywhere").expect("passes").area.as_deref(), Some("Anywhere"));
    assert_eq!(refusals(in_area(&["Table 1"], "Table 2")), [("/area".to_owned(), Code::UnknownArea)]);
    assert_eq!(refusals(in_area(&[], &"x".repeat(33))), [("/area".to_owned(), Code::TooLong)]);
}

#[test]
fn the_household_rule_says_who_must_be_reachable() {
    let family = json!({"area": "1", "persons": [{"name": "A", "phone": "0711 1", "email": "a@b.de"}, {"name": "B"}]});
    for pack in ["default", "de-by"] {
        assert!(check_under(pack, &venue(&[]), NOW, &family).is_ok(), "{pack}");
    }
    assert_eq!(
        refusals(check_under("de-be", &venue(&[]), NOW, &family)),
        [("/persons/1/phone".to_owned(), Code::Required), ("/persons/1".to_owned(), Code::ContactRequired)]
    );
    let turned = json!({"persons": [{"name": "A"}, {"name": "B", "phone": "0711 1"}]});
    assert_eq!(refusals(check(&turned)), [("/persons/0".to_owned(), Code::ContactRequired)]);
}

#[test]
fn an_address_counts_only_whole() {
    let at = |person: serde_json::Value| check_under("de-bw", &venue(&[]), NOW, &json!({"persons": [person]}));
    assert!(at(json!({"name": "A", "street": "Markt 1", "postal_code": "06108", "city": "Halle (Saale)"})).is_ok());
    assert_eq!(
        refusals(at(json!({"name": "A", "street": "Markt 1", "city": "Halle (Saale)"}))),
        [("/persons/0".to_owned(), Code::ContactRequired)]
    );
}

#[test]
fn a_rule_can_ask_for_the_table() {
    let body = json!({"persons": [{"name": "A", "phone": "030 1", "email": "a@b.de"}]});
    assert_eq!(refusals(check_under("de-be", &venue(&[]), NOW, &body)), [("/area".to_owned(), Code::Required)]);
}

#[test]
fn all_that_is_wrong_is_said_at_once_and_nothing_is_quoted() {
    let body = json!({
        "left": "Donald", "area": "Donald\u{0}",
        "persons": [{"name": "", "phone": "Donald"}, {"name": "Do\u{202E}nald", "email": "Donald", "country": "Donald"}],
    });
    let refused = check(&body).expect_err("refused");
    assert!(!format!("{refused} {refused:?}").contains("Donald"));
    let found: Vec<_> = refused.errors.iter().map(|error| (error.pointer.as_str(), error.code)).collect();
    assert_eq!(
        found,
        [
            ("/left", Code::Time),
            ("/area", Code::ControlCharacter),
            ("/persons/0/phone", Code::Phone),
            ("/persons/0/name", Code::Required),
            ("/persons/1/name", Code::BidiCharacter),
            ("/persons/1/email", Code::Email),
            ("/persons/1/country", Code::TooLong),
        ]
    );
}

#[test]
fn a_visit_has_one_to_twelve_persons() {
    let persons = |count: usize| check(&json!({"persons": vec![json!({"name": "A", "phone": "0711 1"}); count]}));
    assert_eq!(persons(12).expect("passes").persons.len(), 12);
    assert_eq!(refusals(persons(0)), [("/persons".to_owned(), Code::Required)]);
    assert_eq!(refusals(persons(13)), [("/persons".to_owned(), Code::TooMany)]);
}

proptest! {
    /// A name of letters of any script is stored as it was typed.
    #[test]
    fn names_are_kept(name in "[\\p{L}][\\p{L}'’ .-]{0,60}[\\p{L}]") {
        use unicode_normalization::UnicodeNormalization;
        let stored = check(&json!({"persons": [{"name": name, "phone": "0711 1"}]})).expect("passes");
        prop_assert_eq!(stored.persons[0].name.clone(), Some(name.nfc().collect::<String>()));
    }
}

#[test]
fn one_of_a_party_may_leave_before_the_others() {
    let leaving = |left: &str| {
        let persons = json!([{"name": "A", "phone": "0711 1"}, {"name": "B", "left": left}]);
        check(&json!({"persons": persons}))
    };
    assert_eq!(refusals(leaving("2026-01-01T01:00:00+01:00")), [("/persons/1/left".to_owned(), Code::NotAfterArrival)]);
    let written = leaving("2026-01-01T01:00:01+01:00").expect("passes");
    assert_eq!(written.persons[1].left.as_deref(), Some("2026-01-01T00:00:01.000Z"), "one form for each moment");
    assert!(written.to_fields().contains(&("1l", Value::Text("2026-01-01T00:00:01.000Z".into()))));
    assert_eq!(refusals(leaving("2026-01-02T00:00:00.001Z")), [("/persons/1/left".to_owned(), Code::StayTooLong)]);
    assert_eq!(refusals(leaving("soon")), [("/persons/1/left".to_owned(), Code::Time)]);
}

/// Rules decide whether a body is accepted, and have no say in its stored form.
#[test]
fn what_an_earlier_version_accepted_keeps_its_stored_form() {
    let id = VisitId::of(Wall(BASE), &Secret([1; 16]));
    let forms = |more: &str| {
        let body = format!("{{\"persons\": [{{\"name\": \"A\", \"email\": \"a@b.c\"}}], {more}}}");
        VisitBody::parse(body.as_bytes()).expect("reads").stored_forms(id)
    };
    let with = |field: &str, value: Value| {
        let mut fields = forms("\"area\": null").remove(0);
        fields.insert(0, (if field == "l" { "l" } else { "a" }, value));
        fields
    };
    let text = |text: &str| Value::Text(text.into());
    // A blank by today's rules, which 0.1 stored as typed.
    assert_eq!(forms("\"area\": \"\\u200b\""), [forms("\"area\": null").remove(0), with("a", text("\u{200b}"))]);
    // What is refused today has the form that it had.
    assert_eq!(forms("\"area\": \"a\\u2028b\""), [with("a", text("a\u{2028}b"))]);
    let long = "x".repeat(33);
    assert_eq!(forms(&format!("\"area\": \"{long}\"")), [with("a", text(&long))]);
    let left = i64::try_from(BASE + 3_600_000).expect("small");
    assert_eq!(forms("\"left\": \"2026-01-01T01:00Z\""), [with("l", Value::Int(left))]);
    assert_eq!(forms("\"arrived\": \"2026-01-01T00Z\""), forms("\"area\": null"));
    // No release has accepted these.
    for never in ["\"left\": \"soon\"", "\"arrived\": \"soon\"", "\"arrived\": \"2026-01-01T00:00:01Z\""] {
        assert!(forms(never).is_empty(), "{never}");
    }
    for persons in ["[]".to_owned(), "[{}]".to_owned(), format!("[{}]", vec!["{\"name\": \"A\"}"; 13].join(","))] {
        let body = VisitBody::parse(format!("{{\"persons\": {persons}}}").as_bytes()).expect("reads");
        assert!(body.stored_forms(id).is_empty(), "{persons}");
    }
}

proptest! {
    /// The present edition makes what a check makes.
    #[test]
    fn what_is_accepted_has_its_stored_form(
        name in "\\PC{1,20}",
        phone in "[+0-9\u{200e}\u{202a} ]{0,12}",
        area in "[A-Za-z\u{301}\u{200b} ]{0,12}",
        minutes in proptest::option::of(0..3_000u64),
    ) {
        let left = minutes.map(|minutes| Moment(Wall(BASE + minutes * 60_000)).to_string());
        let person = json!({"name": name, "phone": phone, "email": "a@b.de", "left": left});
        let body = json!({"area": area, "left": left, "persons": [person]});
        let body = VisitBody::parse(body.to_string().as_bytes()).expect("reads");
        let id = VisitId::of(Wall(BASE), &Secret([1; 16]));
        let pack = PolicyPack::built_in("default").expect("built in");
        if let Ok(checked) = body.check(&venue(&[]), &pack, CheckAt { now: NOW.now, arrival: Some(id.arrival()) }) {
            prop_assert_eq!(body.stored_forms(id).into_iter().next(), Some(checked.to_fields()));
        }
    }
}

/// A hotel's guests stay for nights. The retention counts from their arrival, so their stay ends before it does.
#[test]
fn a_stay_is_as_long_as_the_pack_and_the_retention_allow() {
    let days = |days: u64| Duration::from_hours(24 * days);
    let mut pack = PolicyPack::built_in("default").expect("built in");
    let mut venue = venue(&[]);
    let longest = |venue: &Venue, pack: &PolicyPack| {
        let stays = |stay: Duration| {
            let body = with_times(None, Some(&Moment(NOW.now.plus(stay)).to_string()));
            let body = VisitBody::parse(body.to_string().as_bytes()).expect("reads");
            body.check(venue, pack, NOW).is_ok()
        };
        (1..=30).map(days).filter(|stay| stays(*stay) && !stays(*stay + Duration::from_millis(1))).collect::<Vec<_>>()
    };
    assert_eq!(longest(&venue, &pack), [days(1)]);
    pack.longest_stay = days(21);
    assert_eq!((venue.retention, longest(&venue, &pack)), (days(14), vec![days(14)]));
    venue.retentions = Retentions::always(days(28));
    assert_eq!(longest(&venue, &pack), [days(21)]);

    // A repeat is recognised although the pack allows less now.
    let body = with_times(None, Some(&Moment(NOW.now.plus(days(20))).to_string()));
    let body = VisitBody::parse(body.to_string().as_bytes()).expect("reads");
    let checked = body.check(&venue, &pack, NOW).expect("passes");
    pack.longest_stay = days(1);
    assert_eq!(refusals(body.check(&venue, &pack, NOW)), [("/left".to_owned(), Code::StayTooLong)]);
    assert_eq!(body.stored_forms(VisitId::of(NOW.now, &Secret([1; 16]))), [checked.to_fields()]);
}
