//! Requests that were accepted under other rules, or by an earlier release, and are sent again.

use std::time::Duration;

use api::Moment;
use registry::{CheckAt, PolicyPack, VisitBody};
use replication::{Change, Value as Stored, Write};
use serde_json::{Value, json};

use super::super::testing::{Api, Guest, Venue};
use super::NOW;

/// Stores these fields as the visit of a guest, as another release or another pack let it be stored.
async fn store(api: &Api, venue: &Venue, guest: &Guest, fields: &[(&str, Stored)]) {
    let key = guest.id.name(venue.id).expiring(guest.id.arrival().plus(Duration::from_hours(14 * 24)));
    let write = Write::Change { key, change: Change::create(&key, fields) };
    api.app.handle.write(write).await.expect("stored");
}

/// The fields of release 0.1: texts as they were typed, departures in milliseconds.
fn fields_of_release_0_1(name: &str, phone: &str, area: &str, left: Option<i64>) -> Vec<(&'static str, Stored)> {
    let text = |text: &str| Stored::Text(text.to_owned());
    let area = (!area.is_empty()).then(|| ("a", text(area)));
    let left = left.map(|left| ("l", Stored::Int(left)));
    area.into_iter().chain(left).chain([("0n", text(name)), ("0p", text(phone))]).collect()
}

/// Names of invisible characters, telephone numbers with marks, breaks of lines and times beyond RFC 3339 were accepted once.
/// A node answers a body that it accepted as a repeat, and judges any other body by the rules of today.
#[tokio::test]
async fn what_release_0_1_accepted_is_answered_as_a_repeat() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let cases: [(&str, &str, &str, bool); 4] = [
        ("\u{200b}", "0711 1", "", false),
        ("Anna", "\u{202a}0711 1\u{202c}", "", false),
        ("Anna\u{2028}B", "\u{bd}\u{bd}\u{bd}", "\u{2800}", false),
        ("Anna", "0711 1", "", true),
    ];
    for (number, (name, phone, area, leaves)) in (1u8..).zip(cases) {
        let guest = venue.guest(number, NOW);
        let at = Moment(guest.id.arrival()).to_string();
        // The whole second after the arrival, in the spelling of ISO 8601.
        let left = leaves.then(|| (guest.id.arrival().0 / 60_000 + 2) * 60_000);
        let said = left.map(|left| Moment(replication::Wall(left)).to_string().replace(":00.000Z", "Z"));
        let mut body = json!({"arrived": at, "area": area, "persons": [{"name": name, "phone": phone}]});
        if let Some(said) = &said {
            body["left"] = json!(said);
        }
        let fields = fields_of_release_0_1(name, phone, area, left.map(|left| i64::try_from(left).expect("fits")));
        store(&api, &venue, &guest, &fields).await;
        for _ in 0..2 {
            let again = guest.ask(&api, "PUT", Some(&body)).await;
            assert_eq!(again.status, 200, "{body}: {again:?}");
        }
        let mut other = body.clone();
        other["persons"][0]["name"] = json!("Ben");
        assert_eq!(guest.ask(&api, "PUT", Some(&other)).await.status, 409, "{body}");
        // The same correction again is the same as none.
        body.as_object_mut().expect("an object").remove("arrived");
        let patched = guest.ask(&api, "PATCH", Some(&body)).await;
        assert_eq!(patched.status, 200, "{body}: {patched:?}");
    }
    // Nothing is stored under this id.
    let new = venue.guest(9, NOW);
    let blank = json!({"persons": [{"name": "\u{200b}", "phone": "0711 1"}]});
    assert_eq!(new.ask(&api, "PUT", Some(&blank)).await.status, 422);
    let list = venue.list(&api, "/guests", "application/json").await.json();
    assert_eq!(list["visits"].as_array().map(Vec::len), Some(4), "{list}");
}

/// A pack's bounds are narrower now than when these were accepted.
#[tokio::test]
async fn a_narrower_pack_turns_no_repeat_into_an_error() {
    let days = |days: u64| Duration::from_hours(24 * days);
    let mut pack = PolicyPack::built_in("default").expect("a pack");
    pack.longest_stay = days(10);
    let of_then = |venue: &registry::Venue, guest: &Guest, body: &Value| {
        let at = CheckAt { now: guest.id.arrival(), arrival: Some(guest.id.arrival()) };
        let body = VisitBody::parse(body.to_string().as_bytes()).expect("reads");
        body.check(venue, &pack, at).expect("accepted then").to_fields()
    };
    // Now the pack takes shorter stays, or asks for the area.
    for line in ["longest_stay = \"6h\"", "visit = [\"area\"]"] {
        let api = Api::under_default_with(line).await;
        let venue = api.venue().await;
        let guest = venue.guest(1, NOW);
        let at = |stay: Duration| Moment(guest.id.arrival().plus(stay)).to_string();
        let body = json!({"left": at(days(9)), "persons": [{"name": "Anna", "phone": "0711 1", "left": at(days(2))}]});
        let placeholder = registry::Venue::placeholder(venue.id);
        store(&api, &venue, &guest, &of_then(&placeholder, &guest, &body)).await;
        let again = guest.ask(&api, "PUT", Some(&body)).await;
        assert_eq!(again.status, 200, "{line}: {again:?}");
        let corrected = guest.ask(&api, "PATCH", Some(&body)).await;
        assert_eq!(corrected.status, 200, "{line}: {corrected:?}");
        let new = venue.guest(2, NOW);
        assert_eq!(new.ask(&api, "PUT", Some(&body)).await.status, 422, "{line}");
        let longer = json!({"left": at(days(10))});
        let refused = guest.ask(&api, "PATCH", Some(&longer)).await;
        assert_eq!(refused.status, 422, "{line}: {refused:?}");
    }
}
