//! Rounds over a store: what expires, what stays, what is erased, and what a first check-in writes.

use std::time::Duration;

use replication::{View, Wall};
use serde_json::json;

use super::super::testing::{Api, Venue, until};
use super::round;

const NOW: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_hours(24);

/// A node that closes venues as soon as a moment has passed without a check-in.
async fn api() -> Api {
    Api::with(|config| config.registry.unused_venues = Some(Duration::from_millis(1))).await
}

async fn status(api: &Api, venue: &Venue) -> u16 {
    api.ask("GET", venue.path(), &[], None).await.status
}

/// Makes rounds until the venue is closed.
async fn is_closed(api: &Api, venue: &Venue) {
    let closed = async {
        while status(api, venue).await != 410 {
            assert_eq!(round(&api.app, None).await, None, "one round reaches all");
        }
    };
    tokio::time::timeout(LIMIT, closed).await.expect("it is closed");
}

async fn check_in(api: &Api, venue: &Venue, number: u8) -> u16 {
    let body = json!({"persons": [{"name": "Anna", "phone": "0711 123"}]});
    venue.guest(number, NOW).ask(api, "PUT", Some(&body)).await.status
}

/// How many entries the node has written.
fn written(api: &Api) -> u64 {
    api.app.handle.status().durable.iter().map(|(_, seq)| seq).sum()
}

#[tokio::test]
async fn a_venue_that_no_guest_used_is_closed_and_a_used_one_stays() {
    let api = api().await;
    let (unused, used, posted) = (api.venue().await, api.venue().await, api.venue().await);
    assert_eq!(check_in(&api, &used, 1).await, 201);
    let body = json!({"persons": [{"name": "Anna", "phone": "0711 123"}]});
    assert_eq!(api.ask("POST", &format!("{}/visits", posted.path()), &[], Some(&body)).await.status, 201);
    is_closed(&api, &unused).await;
    assert_eq!((status(&api, &used).await, status(&api, &posted).await), (200, 200));
    let body = json!({"persons": [{"name": "Ben", "phone": "0711 123"}]});
    assert_eq!(unused.guest(2, Duration::ZERO).ask(&api, "PUT", Some(&body)).await.status, 410);
    assert_eq!(unused.list(&api, "/guests", "application/json").await.status, 200, "its list stays");
    let metrics = api.app.metrics.render().expect("renders");
    assert!(metrics.contains(r#"meridian_venue_upkeep_total{outcome="expired"} 1"#), "{metrics}");
    let trail = api.app.handle.reader().all(Wall(0)).expect("reads").into_values();
    let trail = trail.filter_map(|row| row.document().ok()).flat_map(|document| crate::audit::read(&document));
    let said: Vec<_> = trail.map(|entry| (entry.who, entry.from, entry.what)).collect();
    let [(who, from, what)] = &said[..] else { panic!("{said:?}") };
    assert_eq!(who, "registry.unused_venues_days");
    assert!(from.starts_with("by itself at ") && what.contains(&unused.id.to_string()), "{said:?}");
    // The closing and the entry of the audit trail are all that rounds have written.
    let before = written(&api);
    assert_eq!(round(&api.app, None).await, None);
    assert_eq!(written(&api), before);
    // The outbox of a phone brings a guest of before: the venue was used after all.
    assert_eq!(check_in(&api, &unused, 3).await, 201);
    assert_eq!(status(&api, &unused).await, 200);
    assert_eq!(round(&api.app, None).await, None);
    assert_eq!(status(&api, &unused).await, 200);
}

#[tokio::test]
async fn only_the_first_check_in_writes_to_the_venue() {
    let api = Api::start().await;
    let venue = api.venue().await;
    for number in 1..=20 {
        assert_eq!(check_in(&api, &venue, number).await, 201);
    }
    assert_eq!(written(&api), 1 + 1 + 20, "the venue, its mark, the visits");
}

/// A node of an older release took a check-in and left the mark.
#[tokio::test]
async fn a_venue_with_a_visit_stays_whatever_its_mark_says() {
    use registry::{VisitBody, VisitId};
    use replication::{Change, Write};
    let api = api().await;
    let venue = api.venue().await;
    let id: VisitId = venue.guest(1, NOW).id;
    let visit = VisitBody::parse(br#"{"persons": [{"name": "Anna"}]}"#).expect("reads");
    let key = id.name(venue.id).expiring(id.arrival().plus(DAY));
    let change = Change::create(&key, &visit.stored_forms(id)[0]);
    api.app.handle.write(Write::Change { key, change }).await.expect("writes");
    let before = written(&api);
    let marked = async {
        while written(&api) == before {
            round(&api.app, None).await;
        }
    };
    tokio::time::timeout(LIMIT, marked).await.expect("it is marked");
    assert_eq!(status(&api, &venue).await, 200);
    let metrics = api.app.metrics.render().expect("renders");
    assert!(metrics.contains(r#"meridian_venue_upkeep_total{outcome="used"} 1"#), "{metrics}");
}

#[tokio::test]
async fn a_closed_venue_is_erased_once_its_visits_have_expired() {
    let api = api().await;
    let (unused, owned, open) = (api.venue().await, api.venue().await, api.venue().await);
    for venue in [&owned, &open] {
        assert_eq!(check_in(&api, venue, 1).await, 201);
    }
    assert_eq!(owned.ask(&api, "DELETE", &[], None).await.status, 204);
    is_closed(&api, &unused).await;
    let erased = |venue: &Venue| {
        let reader = api.app.handle.reader();
        let (name, view) = (venue.id.name(), View::applied(Wall(0)));
        reader.rows(&name, true, view).expect("reads").is_empty() && reader.is_erased(&name, true, view).expect("reads")
    };
    for (days, gone) in [(29, false), (31, true)] {
        api.step_clock(DAY * days);
        let stated = api.app.handle.now().wall;
        api.app.handle.trust_wall_clock(stated, true).await.expect("is believed");
        until(|| api.app.now(&api.app.handle.status()) >= stated).await;
        let end = async {
            loop {
                round(&api.app, None).await;
                if !gone || (erased(&unused) && erased(&owned)) {
                    break;
                }
            }
        };
        tokio::time::timeout(LIMIT, end).await.expect("they are erased");
        assert_eq!((erased(&unused), erased(&owned), erased(&open)), (gone, gone, false), "after {days} days");
    }
    assert_eq!((status(&api, &unused).await, status(&api, &owned).await, status(&api, &open).await), (410, 410, 200));
}
