//! Writes with preconditions (RFC 9110, section 13): performed or refused, never performed regardless.

use std::sync::{Arc, Mutex};

use replication::{View, Wall};
use serde_json::{Value, json};

use super::super::testing::{Answer, Api, Guest, Pending, until};
use super::{NOW, body};

const OLD: &str = "\"AAAAAAAAAAAAAAAA\"";
const LONG_AGO: &str = "Thu, 01 Jan 1970 00:16:40 GMT";
const FAR_AHEAD: &str = "Fri, 01 Jan 2100 00:00:00 GMT";

/// What a request on a state with this tag must not be performed with.
fn unmet(etag: &str) -> Vec<(&'static str, String)> {
    vec![
        ("If-Match", OLD.to_owned()),
        ("If-Match", format!("W/{etag}")),
        ("If-None-Match", "*".to_owned()),
        ("If-None-Match", format!("{OLD}, {etag}")),
        ("If-Unmodified-Since", LONG_AGO.to_owned()),
    ]
}

/// What it must be performed with.
fn met(etag: &str) -> Vec<(&'static str, String)> {
    vec![
        ("If-Match", format!("{OLD}, {etag}")),
        ("If-Match", "*".to_owned()),
        ("If-None-Match", OLD.to_owned()),
        ("If-Unmodified-Since", FAR_AHEAD.to_owned()),
    ]
}

fn assert_refused(answer: &Answer, of: &str) {
    assert_eq!((answer.status, answer.kind().as_str()), (412, "precondition-failed"), "{of}: {answer:?}");
}

#[tokio::test]
async fn no_write_to_a_venue_is_performed_on_another_state_than_was_demanded() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let shown = async || venue.list(&api, "", "*/*").await;
    let patch = json!({"name": "Neu"});
    let etag = shown().await.header("etag").expect("a tag").to_owned();
    for (name, value) in unmet(&etag) {
        for (method, body) in [("PATCH", Some(&patch)), ("DELETE", None)] {
            assert_refused(
                &venue.ask(&api, method, &[(name, &value)], body).await,
                &format!("{method} {name}: {value}"),
            );
        }
    }
    let still = shown().await;
    assert_eq!((still.header("etag"), &still.json()["name"]), (Some(etag.as_str()), &json!("Zum Test")));

    for (number, (name, value)) in met(&etag).into_iter().enumerate() {
        let etag = shown().await.header("etag").expect("a tag").to_owned();
        let value = if value.contains(OLD) && name == "If-Match" { format!("{OLD}, {etag}") } else { value };
        let patch = json!({"name": format!("Neu {number}")});
        let answer = venue.ask(&api, "PATCH", &[(name, &value)], Some(&patch)).await;
        assert_eq!(answer.status, 200, "{name}: {value}: {answer:?}");
        let then = shown().await;
        assert_eq!((answer.header("etag"), &then.json()["name"]), (then.header("etag"), &patch["name"]));
    }
    let etag = shown().await.header("etag").expect("a tag").to_owned();
    assert_eq!(venue.ask(&api, "DELETE", &[("If-Match", &etag)], None).await.status, 204);
    // What the answer would be without the precondition comes first.
    assert_eq!(venue.ask(&api, "DELETE", &[("If-Match", OLD)], None).await.status, 410);
    assert_eq!(api.ask("DELETE", "/v1/venues/x", &[("If-Match", OLD)], None).await.status, 400);
}

#[tokio::test]
async fn no_write_to_a_visit_is_performed_on_another_state_than_was_demanded() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let guest = venue.guest(1, NOW);
    let ask = async |method: &str, header: Option<(&str, &str)>, body: Option<Value>| {
        guest.ask_with(&api, method, header.as_slice(), body.as_ref()).await
    };
    for (name, value) in [("If-Match", "*"), ("If-Match", OLD)] {
        assert_refused(&ask("PUT", Some((name, value)), Some(body("Anna"))).await, "PUT of what is not there");
        assert_refused(&ask("DELETE", Some((name, value)), None).await, "DELETE of what is not there");
        assert_eq!(ask("PATCH", Some((name, value)), Some(body("Anna"))).await.status, 404);
    }
    assert_eq!(ask("PUT", Some(("If-None-Match", "*")), Some(body("Anna"))).await.status, 201);
    let first = ask("GET", None, None).await;
    let etag = first.header("etag").expect("a tag").to_owned();
    let again = ask("GET", Some(("If-None-Match", &etag)), None).await;
    assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", Some(etag.as_str())));
    assert_eq!(again.header("cache-control"), Some("no-store"));

    for (name, value) in unmet(&etag) {
        for (method, body) in [("PUT", Some(body("Anna"))), ("PATCH", Some(body("Ben"))), ("DELETE", None)] {
            assert_refused(&ask(method, Some((name, &value)), body).await, &format!("{method} {name}: {value}"));
        }
    }
    assert_eq!(ask("GET", None, None).await.header("etag"), Some(etag.as_str()), "nothing was performed");
    for (name, value) in met(&etag) {
        assert_eq!(ask("PUT", Some((name, &value)), Some(body("Anna"))).await.status, 200, "{name}: {value}");
    }
    let corrected = ask("PATCH", Some(("If-Match", &etag)), Some(body("Anne"))).await;
    let shown = ask("GET", None, None).await;
    assert_eq!((corrected.status, corrected.header("etag")), (200, shown.header("etag")), "{corrected:?}");
    assert_ne!(shown.header("etag"), Some(etag.as_str()));
    assert_refused(&ask("DELETE", Some(("If-Match", &etag)), None).await, "an older state");

    let etag = shown.header("etag").expect("a tag");
    assert_eq!(ask("DELETE", Some(("If-Match", etag)), None).await.status, 204);
    // The repeat of a router that missed the answer.
    assert_eq!(ask("DELETE", Some(("If-Match", etag)), None).await.status, 204);
    for (method, body) in [("PUT", body("Anna")), ("PATCH", body("Ben"))] {
        assert_eq!(ask(method, Some(("If-Match", etag)), Some(body)).await.status, 410, "{method}");
    }
}

/// An erasure needs no record in this region. RFC 9110 (sections 13.1.1 and 13.1.2) says what a region without one answers:
/// `If-Match` demands a record, and `If-None-Match: *` demands that there is none.
#[tokio::test]
async fn an_erasure_of_what_this_region_has_not_seen_heeds_its_preconditions() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let (guest, other) = (venue.guest(1, NOW), venue.guest(2, NOW));
    for value in ["*", OLD] {
        assert_refused(&guest.ask_with(&api, "DELETE", &[("If-Match", value)], None).await, value);
    }
    for value in ["*", OLD] {
        let gone = if value == "*" { &guest } else { &other };
        assert_eq!(gone.ask_with(&api, "DELETE", &[("If-None-Match", value)], None).await.status, 204, "{value}");
        // The check-in that comes later is dead, and a repeat of the erasure succeeds.
        assert_eq!(gone.ask(&api, "PUT", Some(&body("Anna"))).await.status, 410, "{value}");
        assert_eq!(gone.ask_with(&api, "DELETE", &[("If-None-Match", value)], None).await.status, 204, "{value}");
        assert_eq!(gone.ask_with(&api, "DELETE", &[("If-Match", "*")], None).await.status, 204, "{value}");
    }
}

/// The collections that take `POST` have no representation.
#[tokio::test]
async fn a_post_on_a_state_that_does_not_exist_is_refused() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let new = json!({"name": "Zum Test", "timezone": "Europe/Berlin"});
    for (path, body) in [("/v1/venues".to_owned(), &new), (format!("/v1/venues/{}/visits", venue.id), &body("Anna"))] {
        for value in ["*", OLD] {
            assert_refused(&api.ask("POST", &path, &[("If-Match", value)], Some(body)).await, &path);
        }
        assert_eq!(api.ask("POST", &path, &[("If-None-Match", "*")], Some(body)).await.status, 201);
        assert_eq!(api.ask("POST", &path, &[("If-Match", "no tag")], Some(body)).await.status, 400);
    }
}

/// Both are evaluated on the same durable state, while the disk makes neither durable: the second is not performed.
#[tokio::test]
async fn of_two_writes_on_one_state_only_one_is_performed() {
    let api = Arc::new(Api::start().await);
    let venue = api.venue().await;
    let (old, new, late) = (venue.guest(1, NOW), venue.guest(2, NOW), venue.guest(3, NOW));
    assert_eq!(old.ask(&api, "PUT", Some(&body("Anna"))).await.status, 201);
    let etag = old.ask(&api, "GET", None).await.header("etag").expect("a tag").to_owned();
    let changes = |guest: &Guest| {
        let rows = api.app.handle.reader().rows(&guest.id.name(venue.id), false, View::applied(Wall(0)));
        rows.expect("reads").iter().map(|(_, row)| row.hashes().len()).sum::<usize>()
    };
    let run = |guest: &Guest, method: &'static str, header: (&'static str, String), body: Value| {
        let told = Arc::new(Mutex::new(None));
        let (api, guest, answered) = (api.clone(), guest.clone(), told.clone());
        let pending = Pending::run(async move {
            let answer = guest.ask_with(&api, method, &[(header.0, &header.1)], Some(&body)).await;
            *answered.lock().expect("no panic") = Some(answer.status);
        });
        (pending, told)
    };
    api.disk.hang(true);
    let first = run(&old, "PATCH", ("If-Match", etag.clone()), body("Anne"));
    until(|| changes(&old) == 2).await;
    // What comes now is gathered for the next batch, which no reader sees yet.
    let any = || ("If-None-Match", "*".to_owned());
    let others = [
        run(&old, "PATCH", ("If-Match", etag.clone()), body("Anja")),
        run(&new, "PUT", any(), body("Ben")),
        run(&new, "PUT", any(), body("Cem")),
        // One of the two comes first. An erasure that comes second finds a record; a check-in finds that it was erased.
        run(&late, "PUT", any(), body("Dua")),
        run(&late, "DELETE", any(), Value::Null),
    ];
    let all = || [&first].into_iter().chain(&others);
    assert!(all().all(|(pending, _)| !pending.has_ended()), "nothing is answered that a crash may undo");
    api.disk.hang(false);
    until(|| all().all(|(pending, _)| pending.has_ended())).await;
    let status = |told: &Arc<Mutex<Option<u16>>>| told.lock().expect("no panic").expect("answered");
    assert_eq!((status(&first.1), status(&others[0].1)), (200, 412));
    let mut puts = [status(&others[1].1), status(&others[2].1)];
    puts.sort_unstable();
    assert_eq!(puts, [201, 412]);
    let late = (status(&others[3].1), status(&others[4].1));
    assert!(matches!(late, (201, 412) | (410 | 412, 204)), "{late:?}");
    for guest in [&old, &new] {
        let shown = guest.ask(&api, "GET", None).await.json();
        assert_eq!(shown.get("conflicts"), None, "{shown}");
    }
    assert_eq!(old.ask(&api, "GET", None).await.json()["persons"], body("Anne")["persons"]);
}
