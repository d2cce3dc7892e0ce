//! The console as a browser asks for it.

use serde_json::json;

use crate::http::testing::{Answer, Api, Venue};

/// A venue, and the cookie of its owner.
async fn registered(api: &Api) -> (String, String, String) {
    let page = api.ask("GET", "/console/register", &[], None).await;
    let (_, seed) = page.body.split_once("name=\"seed\" value=\"").expect("a seed");
    let seed = seed.split_once('"').expect("an end").0;
    let fields = [("seed", seed), ("name", "Café"), ("timezone", "Europe/Berlin"), ("areas", "Bar\r\nHof")];
    let made = api.form("/console/register", &fields).await;
    let again = api.form("/console/register", &fields).await;
    assert_eq!(again.body, made.body, "a form that is sent twice is one venue");
    assert_eq!(made.status, 201, "{made:?}");
    let between = |start: &str| {
        let (_, rest) = made.body.split_once(start).expect("is there");
        rest.split_once('<').expect("an end").0.to_owned()
    };
    let cookie = made.header("set-cookie").expect("a cookie");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/console"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = cookie.split(';').next().expect("a pair").to_owned();
    (between("id=\"venue-code\">"), between("id=\"owner-key\">"), cookie)
}

async fn get(api: &Api, path: &str, cookie: &str) -> Answer {
    api.ask("GET", path, &[("Cookie", cookie)], None).await
}

#[tokio::test]
async fn only_the_owners_key_opens_the_console_and_the_cookie_stands_for_it() {
    let api = Api::start().await;
    let (venue, key, cookie) = registered(&api).await;
    let login = async |venue: &str, key: &str| api.form("/console/login", &[("venue", venue), ("key", key)]).await;
    let entered = login(&venue, &key).await;
    assert_eq!((entered.status, entered.header("location")), (303, Some("/console")));
    let (other, _, _) = registered(&api).await;
    for (venue, key) in [(&*venue, "x"), (&*other, &*key), ("x", &*key), ("", "")] {
        let refused = login(venue, key).await;
        assert!(refused.status == 403 && refused.header("set-cookie").is_none(), "{refused:?}");
        assert!(key.is_empty() || key == "x" || !refused.body.contains(key), "the key is not repeated");
    }
    assert!(get(&api, "/console", &cookie).await.body.contains("id=\"here\""));
    for path in ["/console/guests", "/console/settings", "/console/slips", "/console/poster/a4.pdf"] {
        let closed = api.ask("GET", path, &[], None).await;
        assert_eq!((closed.status, closed.header("location")), (303, Some("/console")), "{path}");
        let evil = api.ask("GET", path, &[("Cookie", &cookie), ("Sec-Fetch-Site", "cross-site")], None).await;
        assert_eq!(evil.status, 303, "{path}: another site made the request");
    }
    // The language that was chosen stays, on answers to forms as well.
    let chosen = get(&api, "/console/language?lang=de&page=settings", &cookie).await;
    assert_eq!((chosen.status, chosen.header("location")), (303, Some("/console/settings")));
    let language = chosen.header("set-cookie").expect("a cookie").split(';').next().expect("a pair").to_owned();
    let german =
        api.form_with("/console/guests", &[("Cookie", &format!("{cookie}; {language}"))], &[("date", "x")]).await;
    assert!(german.body.contains("Bitte geben Sie einen Tag ein") && german.body.contains("lang=en&amp;page=guests"));
    let elsewhere = get(&api, "/console/language?lang=xx&page=//evil.example", &cookie).await;
    assert_eq!((elsewhere.header("location"), elsewhere.header("set-cookie")), (Some("/console"), None));
    let area = get(&api, "/console/poster/tent.svg?area=1&lang=de", &cookie).await;
    assert!(area.status == 200 && area.body.contains("Hof") && area.body.contains("Bitte einchecken"), "{area:?}");
    let poster = api.ask_bytes("GET", "/console/poster/a4.pdf?areas=all", &[("Cookie", &cookie)], None).await;
    assert!(poster.status == 200 && poster.body.starts_with(b"%PDF-"));
}

#[tokio::test]
async fn names_are_shown_and_handed_out_only_for_a_reason() {
    let api = Api::start().await;
    let (venue, _, cookie) = registered(&api).await;
    let guests = json!({"area": "Bar", "persons": [{"name": "=Zoë <b>", "phone": "030 1"}, {"name": "Ane"}]});
    assert_eq!(api.ask("POST", &format!("/v1/venues/{venue}/visits"), &[], Some(&guests)).await.status, 201);
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::get("Europe/Berlin").expect("a zone"));
    let date = today.date().to_string();
    let post = async |path: &str, more: &[(&str, &str)]| {
        let fields: Vec<(&str, &str)> = [("date", &*date)].into_iter().chain(more.iter().copied()).collect();
        api.form_with(path, &[("Cookie", &cookie)], &fields).await
    };
    let count = post("/console/guests", &[]).await;
    assert!(count.body.contains("One visit, 2 persons") && !count.body.contains("Zoë"), "{count:?}");
    for path in ["/console/guests", "/console/export"] {
        let none = post(path, &[("reason", "curious")]).await;
        assert!(none.status == 200 && !none.body.contains("Zoë"), "{none:?}");
    }
    let list = post("/console/guests", &[("reason", "infection")]).await;
    assert!(list.body.contains("=Zoë &lt;b&gt;") && list.body.contains("end estimated"), "{list:?}");
    assert!(list.body.contains("Complete up to") && !list.body.contains("since your last look"));
    let look = list.header("set-cookie").expect("the look").split(';').next().expect("a pair").to_owned();
    let both = format!("{cookie}; {look}");
    let again = api.form_with("/console/guests", &[("Cookie", &both)], &[("date", &date), ("reason", "check")]).await;
    assert!(again.body.contains("Nothing was added since your last look"), "{again:?}");
    let other_area = post("/console/guests", &[("reason", "check"), ("area", "Hof")]).await;
    assert!(other_area.body.contains("No visits in this time"), "{other_area:?}");
    let csv = post("/console/export", &[("reason", "health-office"), ("format", "csv")]).await;
    assert_eq!(csv.header("content-disposition"), Some("attachment; filename=\"guests.csv\""));
    assert!(csv.body.starts_with('\u{feff}') && csv.body.contains(";'=Zoë <b>;"), "{csv:?}");
    let lines = post("/console/export", &[("reason", "check"), ("format", "ndjson")]).await;
    assert!(lines.body.contains("\"completeness\""), "{lines:?}");
    for wrong in ["", "2026-02-30", "x"] {
        let refused = api.form_with("/console/guests", &[("Cookie", &cookie)], &[("date", wrong)]).await;
        assert!(refused.status == 422 && refused.body.contains("Please enter a day"), "{wrong}");
    }
    let metrics = api.app.metrics.render().expect("renders");
    assert!(metrics.contains("meridian_releases_total{reason=\"infection\"} 1"), "{metrics}");
}

#[tokio::test]
async fn a_slip_has_its_own_time_and_is_stored_once() {
    let api = Api::start().await;
    let (venue, _, cookie) = registered(&api).await;
    let page = get(&api, "/console/slips", &cookie).await;
    let (_, secret) = page.body.split_once("name=\"secret\" value=\"").expect("a secret");
    let secret = secret.split_once('"').expect("an end").0.to_owned();
    let zone = jiff::tz::TimeZone::get("Europe/Berlin").expect("a zone");
    let then = (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(3)).to_zoned(zone.clone());
    let (date, time) = (then.date().to_string(), format!("{:02}:{:02}", then.hour(), then.minute()));
    let send = async |time: &str, name: &str| {
        let fields = [("secret", &*secret), ("date", &*date), ("time", time), ("name-1", name), ("phone-1", "030 1")];
        api.form_with("/console/slips", &[("Cookie", &cookie)], &fields).await
    };
    for _ in 0..2 {
        let stored = send(&time, "Zoë").await;
        assert!(stored.status == 200 && stored.body.contains("Stored:"), "{stored:?}");
    }
    assert_eq!(send(&time, "Ane").await.status, 409);
    assert_eq!(send("x", "Zoë").await.status, 422);
    let fields = [("date", &*date), ("reason", "check")];
    let list = api.form_with("/console/guests", &[("Cookie", &cookie)], &fields).await;
    assert_eq!(list.body.matches("Zoë").count(), 1, "{list:?}");
    assert!(list.body.contains("recorded later"), "{list:?}");
    let _ = venue;
}

#[tokio::test]
async fn a_closed_venue_takes_no_check_ins_and_keeps_its_list_for_its_owner() {
    let api = Api::start().await;
    let (venue, key, cookie) = registered(&api).await;
    let guests = json!({"area": "Bar", "persons": [{"name": "Zoë", "phone": "030 1"}]});
    let visits = format!("/v1/venues/{venue}/visits");
    assert_eq!(api.ask("POST", &visits, &[], Some(&guests)).await.status, 201);
    let post = async |path: &str, fields: &[(&str, &str)]| api.form_with(path, &[("Cookie", &cookie)], fields).await;
    // Not without the tick.
    assert_eq!(post("/console/close", &[("sure", "")]).await.header("location"), Some("/console/settings"));
    assert_eq!(api.ask("GET", &format!("/c/{venue}"), &[], None).await.status, 200);
    assert_eq!(post("/console/close", &[("sure", "yes")]).await.header("location"), Some("/console"));
    for closed in [format!("/c/{venue}"), format!("/v1/venues/{venue}")] {
        assert_eq!(api.ask("GET", &closed, &[], None).await.status, 410, "{closed}");
    }
    assert_eq!(api.ask("POST", &visits, &[], Some(&guests)).await.status, 410);
    // One that was made before the closing and waited on a phone is not lost.
    let check_in = async |number: u8, ago: std::time::Duration| {
        let known = Venue::known(&venue, &key);
        known
            .guest(number, ago)
            .ask(&api, "PUT", Some(&json!({"persons": [{"name": "Ane", "phone": "030 2"}]})))
            .await
            .status
    };
    assert_eq!(check_in(1, std::time::Duration::from_secs(60)).await, 201);
    assert_eq!(check_in(2, std::time::Duration::ZERO).await, 410);
    // The list stays, in the console and in the API; what would change the venue is gone.
    assert!(get(&api, "/console", &cookie).await.body.contains("This venue is closed"));
    let date =
        jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::get("Europe/Berlin").expect("a zone")).date().to_string();
    let list = post("/console/guests", &[("date", &date), ("reason", "health-office")]).await;
    assert!(list.body.contains("Zoë"), "{list:?}");
    for path in ["/console/settings", "/console/slips", "/console/poster/a4.pdf"] {
        assert_eq!(get(&api, path, &cookie).await.header("location"), Some("/console"), "{path}");
    }
    assert_eq!(api.form("/console/login", &[("venue", &venue), ("key", &key)]).await.status, 303);
    let owner = format!("Bearer {key}");
    let owned = async |method: &str, path: &str, body: Option<&serde_json::Value>| {
        api.ask(method, path, &[("Authorization", &owner)], body).await
    };
    let day = jiff::SignedDuration::from_hours(24);
    let (before, after) = (jiff::Timestamp::now() - day, jiff::Timestamp::now() + day);
    let today = format!(
        "/v1/venues/{venue}/guests?from={}&to={}",
        before.strftime("%Y-%m-%dT00:00:00Z"),
        after.strftime("%Y-%m-%dT00:00:00Z")
    );
    let listed = owned("GET", &today, None).await;
    assert!(listed.status == 200 && listed.body.contains("Zoë"), "{listed:?}");
    let itself = format!("/v1/venues/{venue}");
    assert_eq!(owned("DELETE", &itself, None).await.status, 410);
    assert_eq!(owned("PATCH", &itself, Some(&json!({"name": "B"}))).await.status, 410);
}

#[tokio::test]
async fn each_list_has_a_last_look_of_its_own() {
    let api = Api::start().await;
    let (_, _, cookie) = registered(&api).await;
    let look = async |looks: &str, area: &str| {
        let cookies = format!("{cookie}; {looks}");
        let fields = [("date", "2026-11-28"), ("reason", "check"), ("area", area)];
        let page = api.form_with("/console/guests", &[("Cookie", &cookies)], &fields).await;
        let looks = page.header("set-cookie").expect("the look").split(';').next().expect("a pair").to_owned();
        (page.body.contains("since your last look"), looks)
    };
    let (first, looks) = look("", "Bar").await;
    let (second, looks) = look(&looks, "Hof").await;
    assert!(!first && !second);
    assert!(look(&looks, "Bar").await.0 && look(&looks, "Hof").await.0);
    let mut looks = looks;
    for number in 0..20 {
        looks = look(&looks, &format!("Table {number}")).await.1;
        assert!(looks.len() < 4_000, "a cookie is bounded");
    }
    assert!(!look(&looks, "Bar").await.0 && look(&looks, "Table 19").await.0, "the oldest look is forgotten");
}

#[tokio::test]
async fn who_left_alone_is_not_here_any_more() {
    let api = Api::start().await;
    let (venue, key, cookie) = registered(&api).await;
    let guest = Venue::known(&venue, &key).guest(1, std::time::Duration::from_secs(600));
    let left = (jiff::Timestamp::now() - jiff::SignedDuration::from_secs(60)).to_string();
    let party = json!({"area": "Bar", "persons": [
        {"name": "A", "phone": "030 1"}, {"name": "B", "left": left}, {"name": "C", "left": left}]});
    assert_eq!(guest.ask(&api, "PUT", Some(&party)).await.status, 201);
    let page = get(&api, "/console", &cookie).await;
    assert!(page.body.contains("id=\"here\">1<"), "{page:?}");
    assert!(page.body.contains("<bdi>Bar</bdi>: 1"), "{page:?}");
}
