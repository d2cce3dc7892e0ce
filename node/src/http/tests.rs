//! The API over a store whose disk hangs, whose clock jumps and whose rows are damaged.

mod authors;
mod conditional;
mod cors;
mod repeats;
mod space;
mod waiting;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use api::Moment;
use api::problem::ClockDifference;
use registry::{Secret, VisitId};
use replication::{Bounds, View, Wall};
use serde_json::{Value, json};

use crate::clock::{Clock, SystemClock};

use super::testing::{Answer, Api, Guest, Pending, Venue, until};

const NOW: Duration = Duration::from_secs(60);

fn body(name: &str) -> Value {
    json!({"persons": [{"name": name, "phone": "0711 123"}]})
}

/// Whether the visit is applied, durable or not.
fn is_applied(api: &Api, venue: &Venue, guest: &Guest) -> bool {
    let rows = api.app.handle.reader().rows(&guest.id.name(venue.id), false, View::applied(Wall(0)));
    !rows.expect("reads").is_empty()
}

/// Sends a request in the background; returns the task and the status that it will be answered with.
fn beside(
    api: &Arc<Api>,
    guest: Guest,
    method: &'static str,
    body: Value,
) -> (Pending, Arc<std::sync::Mutex<Option<u16>>>) {
    let answered = Arc::new(std::sync::Mutex::new(None));
    let (api, told) = (api.clone(), answered.clone());
    let pending = Pending::run(async move {
        let answer = guest.ask(&api, method, Some(&body)).await;
        *told.lock().expect("no panic") = Some(answer.status);
    });
    (pending, answered)
}

fn ids(list: &Answer) -> Vec<String> {
    let list = list.json();
    let visits = list["visits"].as_array().expect("visits").iter();
    visits.map(|visit| visit["visit_id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn while_the_disk_hangs_every_read_answers_what_is_durable() {
    let api = Arc::new(Api::start().await);
    let venue = api.venue().await;
    let old = venue.guest(1, NOW);
    assert_eq!(old.ask(&api, "PUT", Some(&body("Anna"))).await.status, 201);

    api.disk.hang(true);
    let new = venue.guest(2, NOW);
    let (taken, answered) = beside(&api, new.clone(), "PUT", body("Ben"));
    let (corrected, _) = beside(&api, old.clone(), "PATCH", body("Anne"));
    until(|| is_applied(&api, &venue, &new)).await;

    let reads = async {
        let own = old.ask(&api, "GET", None).await;
        assert_eq!((own.status, &own.json()["persons"][0]["name"]), (200, &json!("Anna")), "{own:?}");
        assert_eq!(new.ask(&api, "GET", None).await.status, 404);
        for accept in ["application/x-ndjson", "text/csv"] {
            let list = venue.list(&api, "/guests", accept).await;
            assert!(list.status == 200 && list.body.contains("Anna") && !list.body.contains("Ben"), "{list:?}");
        }
        let list = venue.list(&api, "/guests", "application/json").await;
        assert_eq!(ids(&list), [old.id.to_string()]);
        assert_eq!(list.covers(), api.app.handle.status().durable, "what the list shows and nothing else");
        let contacts = venue.list(&api, &format!("/contacts?visit={}", old.id), "*/*").await;
        assert_eq!((contacts.status, contacts.json()["contacts"].clone()), (200, json!([])));
        for path in ["/v1/cluster".to_owned(), format!("/v1/venues/{}", venue.id)] {
            assert_eq!(api.ask("GET", &path, &[], None).await.status, 200, "{path}");
        }
        list
    };
    let before = tokio::time::timeout(Duration::from_secs(10), reads).await.expect("no read waits for the disk");
    assert!(!taken.has_ended() && !corrected.has_ended(), "no write is answered");

    api.disk.hang(false);
    until(|| taken.has_ended() && corrected.has_ended()).await;
    assert_eq!(*answered.lock().expect("no panic"), Some(201));
    let list = venue.list(&api, "/guests", "application/json").await;
    assert!(list.body.contains("Ben") && list.body.contains("Anne"), "{list:?}");
    assert!(list.covers().covers(&before.covers()) && !before.covers().covers(&list.covers()));
}

#[tokio::test]
async fn a_repeat_is_answered_once_the_first_is_durable() {
    let api = Arc::new(Api::start().await);
    let venue = api.venue().await;
    api.disk.hang(true);
    let guest = venue.guest(1, NOW);
    let (first, first_answer) = beside(&api, guest.clone(), "PUT", body("Anna"));
    until(|| is_applied(&api, &venue, &guest)).await;
    let (again, again_answer) = beside(&api, guest.clone(), "PUT", body("Anna"));
    // Other content: whether it is a conflict is known only once the first write is durable.
    let other = guest.ask(&api, "PUT", Some(&body("Ben"))).await;
    assert_eq!((other.status, other.header("retry-after")), (503, Some("1")), "{other:?}");
    assert!(other.body.contains("not-durable-yet"), "{other:?}");
    assert!(!first.has_ended() && !again.has_ended());

    api.disk.hang(false);
    until(|| first.has_ended() && again.has_ended()).await;
    let answers = [first_answer, again_answer].map(|answer| answer.lock().expect("no panic").expect("answered"));
    assert_eq!(answers, [201, 200]);
    assert_eq!(guest.ask(&api, "PUT", Some(&body("Ben"))).await.status, 409);
    let list = venue.list(&api, "/guests", "application/json").await;
    assert_eq!(list.json()["visits"][0]["persons"], body("Anna")["persons"], "one visit as it was first written");
}

/// The retention is part of the key of a visit, and an owner may change it.
#[tokio::test]
async fn a_repeat_is_recognised_after_the_retention_has_changed() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let guest = venue.guest(1, NOW);
    let made = guest.ask(&api, "PUT", Some(&body("Anna"))).await;
    assert_eq!(made.status, 201);
    assert_eq!(guest.ask(&api, "PATCH", Some(&body("Anne"))).await.status, 200);
    let changed = venue.change(&api, &json!({"retention": "20d"})).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let again = guest.ask(&api, "PUT", Some(&body("Anna"))).await;
    assert_eq!((again.status, &again.json()["expires_at"]), (200, &made.json()["expires_at"]), "{again:?}");
    let list = venue.list(&api, "/guests", "application/json").await;
    assert_eq!(list.json()["visits"][0]["persons"], body("Anne")["persons"], "{list:?}");
}

/// A visit has the retention that held when its guests arrived. A repeat after a change is a repeat, in both directions,
/// and what has expired stays expired.
#[tokio::test]
async fn a_change_of_retention_moves_no_visit_and_brings_none_back() {
    let api = Api::under("development").await;
    let about = |retention: &str| json!({"name": "Adler", "timezone": "Europe/Berlin", "retention": retention});
    let venue = api.venue_of(&about("1h")).await;
    let guest = venue.guest(1, NOW);
    let first = guest.ask(&api, "PUT", Some(&body("Anna"))).await;
    let expires = first.json()["expires_at"].clone();
    for retention in ["2h", "61s", "14d"] {
        assert_eq!(venue.change(&api, &json!({"retention": retention})).await.status, 200);
        let again = guest.ask(&api, "PUT", Some(&body("Anna"))).await;
        assert_eq!((again.status, &again.json()["expires_at"]), (200, &expires), "{retention}: {again:?}");
        assert_eq!(guest.ask(&api, "PUT", Some(&body("Ben"))).await.status, 409, "{retention}");
        assert_eq!(guest.ask(&api, "GET", None).await.json()["expires_at"], expires, "{retention}");
        // One that never came here before has the retention of its arrival as well: an outbox that was offline.
        let late = venue.guest(retention.len() as u8 + 1, NOW * 2);
        let taken = late.ask(&api, "PUT", Some(&body("Cem"))).await;
        assert_eq!(taken.status, 201, "{retention}");
        let kept = |answer: &Answer, at: Wall| {
            let until: api::Moment = answer.json()["expires_at"].as_str().expect("a time").parse().expect("a time");
            until.0.since(at)
        };
        assert_eq!(kept(&taken, late.id.arrival()), Duration::from_hours(1), "{retention}");
        let new = venue.guest(retention.len() as u8 + 10, Duration::ZERO);
        let taken = new.ask(&api, "PUT", Some(&body("Dua"))).await;
        assert_eq!(api::duration::show(kept(&taken, new.id.arrival())), retention, "{taken:?}");
    }

    let short = api.venue_of(&about("62s")).await;
    let guest = short.guest(1, NOW);
    assert_eq!(guest.ask(&api, "PUT", Some(&body("Anna"))).await.status, 201);
    let expired = async {
        while guest.ask(&api, "GET", None).await.status != 410 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), expired).await.expect("it expires");
    assert_eq!(short.change(&api, &json!({"retention": "14d"})).await.status, 200);
    let back = guest.ask(&api, "PUT", Some(&body("Anna"))).await;
    assert_eq!(back.json()["type"], "urn:meridian:problem:expired", "{back:?}");
    assert_eq!(guest.ask(&api, "GET", None).await.status, 410);
}

#[tokio::test]
async fn while_the_clock_is_in_doubt_no_write_is_judged_by_the_time() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let (fresh, long_ago) = (venue.guest(1, NOW), venue.guest(2, Duration::from_hours(40 * 24)));
    assert_eq!(fresh.ask(&api, "PUT", Some(&body("Anna"))).await.status, 201);
    let late = json!({"persons": [{"name": "A", "phone": "0711 1"}], "arrived": "2020-01-01T00:00:00Z"});
    let visits = format!("/v1/venues/{}/visits", venue.id);
    let answers = async || {
        [
            long_ago.ask(&api, "PUT", Some(&body("Ben"))).await.status,
            long_ago.ask(&api, "PATCH", Some(&body("Ben"))).await.status,
            long_ago.ask(&api, "DELETE", None).await.status,
            api.ask("POST", &visits, &[], Some(&late)).await.status,
        ]
    };
    assert_eq!(answers().await, [410, 410, 410, 422]);
    api.step_clock(Duration::from_hours(90 * 24));
    until(|| api.app.handle.status().doubt.is_some()).await;
    assert_eq!(answers().await, [503; 4]);
    assert_eq!(fresh.ask(&api, "PUT", Some(&body("Anna"))).await.status, 503, "a repeat as well: it may be expired");
    assert_eq!(venue.change(&api, &json!({"name": "Neu"})).await.status, 503);
    assert_eq!(fresh.ask(&api, "GET", None).await.status, 200, "readers go by the time that is believed");
}

/// A phone whose clock is wrong learns the time and by how much its own differs, whatever it asks for.
#[tokio::test]
async fn a_wrong_clock_of_a_phone_is_told_the_time() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let hours = |hours: i64| hours * 3_600_000;
    let secret = Secret([9; 16]);
    let ask = async |method: &str, ahead_ms: i64, body: Option<&Value>| {
        let arrival = Wall(SystemClock::start().now().wall.0.saturating_add_signed(ahead_ms));
        let path = format!("/v1/venues/{}/visits/{}", venue.id, VisitId::of(arrival, &secret));
        api.ask(method, &path, &[("Meridian-Secret", &secret.to_string())], body).await
    };
    let differs = |problem: &Value, ahead_ms: i64| {
        let clock: ClockDifference = serde_json::from_value(problem["clock"].clone()).expect("a difference");
        let now = SystemClock::start().now().wall;
        clock.ahead_ms.abs_diff(ahead_ms) < 60_000 && clock.now.0.0.abs_diff(now.0) < 60_000
    };
    for (ahead_ms, code) in [(hours(72), "too_early"), (hours(-25), "too_old")] {
        let refused = ask("PUT", ahead_ms, Some(&body("Anna"))).await;
        let problem = refused.json();
        assert_eq!((refused.status, &problem["errors"][0]["code"]), (422, &json!(code)), "{refused:?}");
        assert_eq!(problem["errors"][0]["pointer"], "/visit_id");
        assert!(differs(&problem, ahead_ms), "{refused:?}");
    }
    // As far behind as a visit that has expired.
    let refused = ask("PUT", hours(-24 * 400), Some(&body("Anna"))).await;
    assert!(refused.status == 410 && differs(&refused.json(), hours(-24 * 400)), "{refused:?}");
    let refused = ask("DELETE", hours(72), None).await;
    assert!(refused.status == 422 && differs(&refused.json(), hours(72)), "{refused:?}");
    // Without an id the arrival is in the body.
    let mut early = body("Anna");
    early["arrived"] = json!("9999-12-31T23:59:59Z");
    let refused = api.ask("POST", &format!("/v1/venues/{}/visits", venue.id), &[], Some(&early)).await.json();
    assert_eq!(refused["errors"][0]["pointer"], "/arrived");
    assert!(refused["clock"].is_object(), "{refused}");
    // What is wrong with something else says nothing of clocks.
    let refused = ask("PUT", 0, Some(&json!({"persons": []}))).await;
    assert!(refused.status == 422 && refused.json().get("clock").is_none(), "{refused:?}");
    assert_eq!(ask("PUT", hours(-23), Some(&body("Anna"))).await.status, 201);
}

#[tokio::test]
async fn a_list_says_how_many_rows_do_not_read() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let guests: Vec<Guest> = (1..=5).map(|n| venue.guest(n, NOW * (10 - u32::from(n)))).collect();
    for guest in &guests {
        assert_eq!(guest.ask(&api, "PUT", Some(&body("Anna"))).await.status, 201);
    }
    let whole = venue.list(&api, "/guests", "application/json").await.json();
    assert!(whole.get("unreadable").is_none(), "{whole}");
    for damaged in [&guests[1], &guests[4]] {
        api.disk.damage(&damaged.id.name(venue.id));
    }
    let list = venue.list(&api, "/guests", "application/json").await.json();
    assert_eq!((list["visits"].as_array().map(Vec::len), &list["unreadable"]), (Some(3), &json!(2)));
    let lines = venue.list(&api, "/guests", "application/x-ndjson").await.body;
    let last: Value = serde_json::from_str(lines.trim_end().lines().last().expect("a line")).expect("JSON");
    assert!(last["unreadable"] == 2 && last["completeness"].is_object(), "{last}");
    let table = venue.list(&api, "/guests", "text/csv").await.body;
    assert!(table.trim_end().lines().last().expect("a line").starts_with("unreadable,2,"), "{table}");
    let contacts = venue.list(&api, &format!("/contacts?visit={}", guests[0].id), "*/*").await.json();
    assert_eq!((contacts["contacts"].as_array().map(Vec::len), &contacts["unreadable"]), (Some(2), &json!(2)));

    // Each row is counted on one page only, whatever the size of the pages.
    for limit in 1..=4 {
        let (mut cursor, mut visits, mut unreadable) = (String::new(), 0, 0);
        loop {
            let page = venue.list(&api, &format!("/guests?limit={limit}{cursor}"), "application/json").await.json();
            visits += page["visits"].as_array().expect("visits").len();
            unreadable += page["unreadable"].as_u64().unwrap_or(0);
            let Some(next) = page["cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!((visits, unreadable), (3, 2), "limit {limit}");
    }
}

#[tokio::test]
async fn later_pages_carry_the_completeness_of_the_first() {
    let api = Api::start().await;
    let venue = api.venue().await;
    for number in 1..=3 {
        assert_eq!(venue.guest(number, NOW).ask(&api, "PUT", Some(&body("Anna"))).await.status, 201);
    }
    let first = venue.list(&api, "/guests?limit=1", "application/json").await.json();
    let then = api.app.handle.status().complete_through.clone();
    until(|| api.app.handle.status().complete_through != then).await;
    let cursor = first["cursor"].as_str().expect("there is more");
    let second = venue.list(&api, &format!("/guests?limit=1&cursor={cursor}"), "application/json").await.json();
    assert_eq!(second["completeness"], first["completeness"]);
    let cursor = second["cursor"].as_str().expect("there is more");
    let third = venue.list(&api, &format!("/guests?limit=1&cursor={cursor}"), "application/json").await.json();
    assert_eq!(third["completeness"], first["completeness"]);
    let anew = venue.list(&api, "/guests?limit=1", "application/json").await.json();
    assert_ne!(anew["completeness"], first["completeness"]);
}

/// A cursor continues its own list: with another window or area it would give an empty or a wrong page.
#[tokio::test]
async fn a_cursor_belongs_to_the_list_that_gave_it() {
    let api = Api::start().await;
    let venue = api.venue().await;
    for number in 1..=3 {
        let guest = venue.guest(number, NOW * u32::from(number));
        assert_eq!(guest.ask(&api, "PUT", Some(&body("Anna"))).await.status, 201);
    }
    let now = SystemClock::start().now().wall;
    let (from, to) = (Moment(now.minus(NOW * 60)), Moment(now.plus(NOW)));
    let page = async |rest: &str| venue.list(&api, &format!("/guests?limit=1{rest}"), "application/json").await;
    for window in [String::new(), format!("&from={from}"), format!("&to={to}"), format!("&from={from}&to={to}")] {
        let (mut ids, mut rest) = (Vec::new(), String::new());
        loop {
            let list = page(&format!("{window}{rest}")).await.json();
            ids.push(list["visits"][0]["visit_id"].as_str().expect("an id").to_owned());
            let Some(cursor) = list["cursor"].as_str() else { break };
            rest = format!("&cursor={cursor}");
        }
        assert!(ids.len() == 3 && ids.is_sorted(), "{window}: {ids:?}");
        for other in ["&area=1", "&from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z"] {
            let other = if other.starts_with("&area") { window.clone() + other } else { other.to_owned() };
            let refused = page(&format!("{other}{rest}")).await;
            assert_eq!((refused.status, &refused.json()["errors"][0]["parameter"]), (400, &json!("cursor")));
        }
    }
}

/// RFC 9562 leaves the case of a UUID to its writer. What the node writes is lower case.
#[tokio::test]
async fn a_visit_is_found_in_either_case_of_its_id() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let guest = venue.guest(1, NOW);
    assert_eq!(guest.ask(&api, "PUT", Some(&body("Anna"))).await.status, 201);
    let upper = guest.id.to_string().to_uppercase();
    let path = format!("/v1/venues/{}/visits/{upper}", venue.id);
    let secret = [("Meridian-Secret", guest.secret.as_str())];
    let again = api.ask("PUT", &path, &secret, Some(&body("Anna"))).await;
    assert_eq!((again.status, &again.json()["visit_id"]), (200, &json!(guest.id.to_string())), "{again:?}");
    let shown = api.ask("GET", &path, &secret, None).await;
    assert_eq!((shown.status, &shown.json()["visit_id"]), (200, &json!(guest.id.to_string())), "{shown:?}");
    let contacts = venue.list(&api, &format!("/contacts?visit={upper}"), "*/*").await;
    assert_eq!(contacts.json()["visit"]["visit_id"], guest.id.to_string());
    let receipt = api.form(&format!("/r/{upper}?v={}", venue.id), &[("secret", &guest.secret)]).await;
    assert!(receipt.status == 200 && receipt.body.contains(&guest.id.to_string()), "{receipt:?}");
}

/// Two credentials have two meanings, and which one counts would depend on the server.
#[tokio::test]
async fn a_credential_that_is_given_twice_is_refused() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let path = format!("/v1/venues/{}/guests", venue.id);
    for name in ["Authorization", "Meridian-Secret", "Meridian-Session", "Content-Type"] {
        let refused = api.ask("GET", &path, &[(name, "Bearer x"), (name, "Bearer x")], None).await;
        assert_eq!(refused.status, 400, "{name}: {refused:?}");
        assert!(refused.body.contains("bad-request"), "{refused:?}");
    }
}

#[tokio::test]
async fn few_searches_for_contacts_run_at_a_time() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let guest = venue.guest(1, NOW);
    assert_eq!(guest.ask(&api, "PUT", Some(&body("Anna"))).await.status, 201);
    let path = format!("/contacts?visit={}", guest.id);
    let running = api.app.contact_searches.try_acquire_many(2).expect("none runs");
    let refused = venue.list(&api, &path, "*/*").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
    assert!(refused.body.contains("urn:meridian:problem:busy"), "{refused:?}");
    drop(running);
    for _ in 0..4 {
        assert_eq!(venue.list(&api, &path, "*/*").await.status, 200, "a search gives its place back");
    }
}

/// A row is written whole at each change, so it is bounded.
#[tokio::test]
async fn a_full_visit_takes_no_correction_and_can_still_be_read_and_erased() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let guest = venue.guest(1, NOW);
    assert_eq!(guest.ask(&api, "PUT", Some(&body("Anna"))).await.status, 201);
    let mut last = 0;
    let refused = loop {
        let answer = guest.ask(&api, "PATCH", Some(&body(&format!("Anna {}", last + 1)))).await;
        if answer.status != 200 {
            break answer;
        }
        last += 1;
        assert!(last < Bounds::EXPIRING.changes, "it has bounds");
    };
    assert_eq!(refused.status, 409, "{refused:?}");
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert!(refused.json()["type"].as_str().expect("a type").ends_with("document-full"), "{refused:?}");
    let shown = guest.ask(&api, "GET", None).await;
    assert_eq!((shown.status, &shown.json()["persons"][0]["name"]), (200, &json!(format!("Anna {last}"))), "{shown:?}");
    assert_eq!(guest.ask(&api, "DELETE", None).await.status, 204);
    assert_eq!(guest.ask(&api, "GET", None).await.status, 410);
}
