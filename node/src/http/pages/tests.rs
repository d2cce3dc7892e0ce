//! The pages as a browser asks for them.

use std::time::Duration;

use api::Moment;
use registry::{PolicyPack, Secret, VisitId};
use replication::Wall;
use serde_json::json;

use crate::clock::{Clock, SystemClock};

use super::super::testing::{Answer, Api, Venue};
use super::assets;
use super::fields::{self, FormErrors};
use super::texts::Texts;

/// The value of a hidden field.
fn hidden<'a>(page: &'a Answer, name: &str) -> &'a str {
    let start = format!("name=\"{name}\" value=\"");
    let (_, rest) = page.body.split_once(&start).unwrap_or_else(|| panic!("{name}: {page:?}"));
    rest.split_once('"').expect("an end").0
}

fn path(venue: &Venue) -> String {
    format!("/c/{}", venue.id)
}

#[track_caller]
fn is_private(page: &Answer) {
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    for inline in ["<style", " style=", " onclick=", "javascript:"] {
        assert!(!page.body.contains(inline), "{inline}");
    }
}

#[tokio::test]
async fn the_form_is_small_private_and_in_the_readers_language() {
    let api = Api::start().await;
    let venue = api.venue_of(&json!({"name": "A & \"B\" <i>", "timezone": "Europe/Berlin", "areas": ["Bar"]})).await;
    let page = api.ask("GET", &path(&venue), &[("Accept-Language", "de-AT, en;q=0.5")], None).await;
    assert_eq!(page.status, 200);
    is_private(&page);
    assert!(page.body.contains("<html lang=\"de\">") && page.body.contains("Jetzt einchecken"), "{page:?}");
    assert!(page.body.contains("A &amp; &quot;B&quot; &lt;i&gt;") && !page.body.contains("<i>"));
    let style = include_str!("../../../assets/style.css").len();
    assert!(page.body.len() + style < 30_000, "{} and {style}", page.body.len());
    for token in ["name", "tel", "email"] {
        assert!(page.body.contains(&format!("autocomplete=\"{token}\"")), "{token}");
    }
    let english = api.ask("GET", &format!("{}?lang=en", path(&venue)), &[("Accept-Language", "de")], None).await;
    assert!(english.body.contains("Check in now"));
    // The area of the address, if the venue has it.
    let bar = api.ask("GET", &format!("{}/Bar", path(&venue)), &[], None).await;
    assert_eq!(hidden(&bar, "area"), "Bar");
    let none = api.ask("GET", &format!("{}/%3Cscript%3E", path(&venue)), &[], None).await;
    assert!(none.status == 200 && none.body.contains("<select") && !none.body.contains("script>\""));
    let head = api.ask("HEAD", &path(&venue), &[], None).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn a_form_that_is_sent_twice_is_one_visit_and_one_that_was_changed_is_a_correction() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let form = api.ask("GET", &path(&venue), &[], None).await;
    let (id, secret) = (hidden(&form, "visit").to_owned(), hidden(&form, "secret").to_owned());
    let send = async |phone: &str| {
        let fields = [("visit", &*id), ("secret", &*secret), ("name-1", "Zoë & Co"), ("phone-1", phone), ("x", "y")];
        api.form(&path(&venue), &fields).await
    };
    let receipt = send("030 1111").await;
    assert_eq!(receipt.status, 200, "{receipt:?}");
    is_private(&receipt);
    assert!(receipt.body.contains("Zoë &amp; Co"), "{receipt:?}");
    assert!(!receipt.head().contains(&secret), "no header has the secret");
    let again = send("030 1111").await;
    assert!(again.status == 200 && again.body.contains("the same visit"), "{again:?}");
    let changed = send("030 2222").await;
    assert!(changed.status == 200 && changed.body.contains("Your changes are stored"), "{changed:?}");
    let list = venue.list(&api, "/guests", "application/json").await.json();
    assert_eq!(list["visits"].as_array().expect("visits").len(), 1);
    assert_eq!(list["visits"][0]["persons"], json!([{"name": "Zoë & Co", "phone": "030 2222"}]));
}

/// The page of a phone whose clock is wrong learns the time, so that it can make a right id.
#[tokio::test]
async fn a_check_in_that_is_refused_for_its_time_learns_the_time() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let hours = |hours: i64| hours * 3_600_000;
    for (ahead_ms, status) in [(hours(72), 422), (hours(-25), 422), (hours(-24 * 400), 410), (0, 200)] {
        let now = SystemClock::start().now().wall;
        let secret = Secret([7; 16]);
        let id = VisitId::of(Wall(now.0.saturating_add_signed(ahead_ms)), &secret).to_string();
        let secret = secret.to_string();
        let fields = [("visit", &*id), ("secret", &*secret), ("name-1", "Zoë"), ("phone-1", "030 1111")];
        let page = api.form(&path(&venue), &fields).await;
        assert_eq!(page.status, status, "{page:?}");
        let told = page.header("meridian-now").map(|now| now.parse::<Moment>().expect("a time"));
        assert_eq!(told.is_some(), status != 200, "{page:?}");
        assert!(told.is_none_or(|told| told.0.0.abs_diff(now.0) < 60_000), "{page:?}");
        if status == 422 {
            assert_ne!(hidden(&page, "visit"), id, "the form has an id of the server's time");
        }
    }
}

/// A router may send a form to two nodes, and two ids would be two visits.
#[tokio::test]
async fn a_form_that_names_no_visit_is_not_accepted_and_comes_back_with_one() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let typed = [("name-1", "Zoë"), ("phone-1", "030 1111")];
    let wrong = [("visit", "01a2318b-1483-85ce-bc18-00bde9a33b81"), ("secret", "H7QetPkIM9WbTS8qNAXE7w")];
    for identity in [&wrong[..0], &wrong[..1], &wrong[..]] {
        let page = api.form(&path(&venue), &[identity, &typed[..]].concat()).await;
        assert_eq!((page.status, page.body.contains("did not arrive whole")), (422, true), "{page:?}");
        assert!(page.body.contains("value=\"Zoë\""), "{page:?}");
        let identity = [("visit", hidden(&page, "visit")), ("secret", hidden(&page, "secret"))];
        assert_ne!(identity[0], wrong[0]);
    }
    let page = api.form(&path(&venue), &typed).await;
    let identity = [("visit", hidden(&page, "visit")), ("secret", hidden(&page, "secret"))];
    assert_eq!(api.form(&path(&venue), &[&identity[..], &typed[..]].concat()).await.status, 200);
    let list = venue.list(&api, "/guests", "text/csv").await;
    assert_eq!(list.body.matches("Zoë").count(), 1, "{list:?}");
}

#[tokio::test]
async fn a_wrong_form_comes_back_with_what_was_typed() {
    let api = Api::start().await;
    let venue = api.venue_of(&json!({"name": "V", "timezone": "Europe/Berlin", "areas": ["Bar"]})).await;
    let form = api.ask("GET", &path(&venue), &[], None).await;
    let identity = [("visit", hidden(&form, "visit")), ("secret", hidden(&form, "secret"))];
    let typed = [("name-1", "<b>"), ("phone-1", "x"), ("name-3", "Third"), ("area", "Cellar")];
    let page = api.form(&path(&venue), &[&identity[..], &typed[..]].concat()).await;
    assert_eq!(page.status, 422);
    is_private(&page);
    for wanted in [
        "href=\"#phone-1\"",
        "href=\"#area\"",
        "value=\"&lt;b&gt;\"",
        "value=\"Third\"",
        "<title>Error: Check in: V",
        "aria-describedby=\"phone-1-error\"",
        "role=\"alert\"",
    ] {
        assert!(page.body.contains(wanted), "{wanted}: {}", page.body);
    }
    assert!(page.body.matches("<details class=\"person\" open>").count() == 1, "the third person is open");
    // Not a form, and one that is too large.
    assert_eq!(api.ask("POST", &path(&venue), &[], Some(&json!({}))).await.status, 415);
    assert_eq!(api.form(&path(&venue), &[("name-1", &"x".repeat(70_000))]).await.status, 413);
}

#[tokio::test]
async fn a_venue_that_is_not_there_is_said_so_in_words_and_in_the_head() {
    let api = Api::start().await;
    for (path, kind) in
        [("/c/00000000000000000000000000", Some("no-such-venue")), ("/c/x", None), ("/c/x/y", None), ("/r/x?v=y", None)]
    {
        let page = api.ask("GET", path, &[], None).await;
        assert_eq!((page.status, page.header("meridian-problem")), (404, kind), "{path}");
        is_private(&page);
        assert!(page.body.contains("not known"), "{page:?}");
    }
}

#[tokio::test]
async fn no_problem_of_a_page_is_json() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let receipt = format!("/r/01a225c7-5afa-853d-89eb-55b47d5c787d?v={}", venue.id);
    for path in [path(&venue), receipt, "/console/login".into(), "/console/register".into()] {
        let refused = api.ask("POST", &path, &[], Some(&json!({}))).await;
        assert_eq!((refused.status, refused.header("content-type")), (415, Some("text/html; charset=utf-8")), "{path}");
        is_private(&refused);
    }
    let other = api.ask("POST", "/v1/venues", &[], Some(&json!({}))).await;
    assert_eq!(other.header("content-type"), Some("application/problem+json"));
}

#[tokio::test]
async fn while_the_clock_is_in_doubt_the_form_says_what_to_do_and_loses_nothing() {
    let api = Api::start().await;
    let venue = api.venue().await;
    api.step_clock(Duration::from_secs(86_400));
    super::super::testing::until(|| api.app.handle.status().doubt.is_some()).await;
    let page = api.ask("GET", &path(&venue), &[], None).await;
    assert!(page.status == 200 && page.body.contains("paper slip"), "{page:?}");
    let (id, secret) = (hidden(&page, "visit"), hidden(&page, "secret"));
    let fields = [("visit", id), ("secret", secret), ("name-1", "Zoë"), ("phone-1", "030 1")];
    let refused = api.form(&path(&venue), &fields).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("30")));
    assert!(refused.body.contains("value=\"Zoë\""), "{refused:?}");
    assert_eq!(hidden(&refused, "visit"), id, "the same visit when it is sent again");
}

#[tokio::test]
async fn only_the_secret_opens_a_receipt() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let form = api.ask("GET", &path(&venue), &[], None).await;
    let (id, secret) = (hidden(&form, "visit"), hidden(&form, "secret"));
    let fields = [("visit", id), ("secret", secret), ("name-1", "Zoë"), ("phone-1", "030 1")];
    assert_eq!(api.form(&path(&venue), &fields).await.status, 200);
    let receipt = format!("/r/{id}?v={}", venue.id);
    let locked = api.ask("GET", &receipt, &[], None).await;
    assert!(locked.status == 200 && !locked.body.contains("Zoë"), "{locked:?}");
    let other = hidden(&api.ask("GET", &path(&venue), &[], None).await, "secret").to_owned();
    for wrong in ["", "x", &*other] {
        let refused = api.form(&receipt, &[("secret", wrong), ("do", "erase")]).await;
        assert!(refused.status == 403 && !refused.body.contains("Zoë"), "{refused:?}");
    }
    let opened = api.form(&receipt, &[("secret", &format!("#{secret}"))]).await;
    assert!(opened.status == 200 && opened.body.contains("Zoë"), "{opened:?}");
    let erased = api.form(&receipt, &[("secret", secret), ("do", "erase")]).await;
    assert!(erased.status == 200 && erased.body.contains("erased"), "{erased:?}");
    assert_eq!(api.form(&receipt, &[("secret", secret)]).await.status, 410);
    let again = api.form(&path(&venue), &fields).await;
    assert!(again.status == 410 && !again.body.contains("Zoë"), "an erased visit does not come back: {again:?}");
}

#[tokio::test]
async fn one_of_a_party_leaves_before_the_others() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let form = api.ask("GET", &path(&venue), &[], None).await;
    let (id, secret) = (hidden(&form, "visit").to_owned(), hidden(&form, "secret").to_owned());
    let party = [("visit", &*id), ("secret", &*secret), ("name-1", "Zoë"), ("phone-1", "030 1"), ("name-2", "Ben <b>")];
    let receipt = api.form(&path(&venue), &party).await;
    assert!(receipt.body.contains("Only Ben &lt;b&gt; is leaving") && receipt.body.contains("We are leaving now"));
    let address = format!("/r/{id}?v={}", venue.id);
    let act = async |more: &[(&str, &str)]| {
        let fields: Vec<_> = [("secret", &*secret)].into_iter().chain(more.iter().copied()).collect();
        api.form(&address, &fields).await
    };
    let one = [("do", "leave"), ("person", "1"), ("name", "Ben <b>")];
    let left = act(&one).await;
    assert!(left.body.contains("The departure of Ben &lt;b&gt; is stored"), "{left:?}");
    // The last one there leaves for the party.
    assert!(left.body.contains("Left: "), "{left:?}");
    assert!(!left.body.contains("is leaving<") && !left.body.contains("Only "), "{left:?}");
    let rows = async || venue.list(&api, "/guests", "application/json").await.json()["visits"].clone();
    let first = rows().await;
    assert!(first[0]["persons"][1]["left"].is_string() && first[0]["left_estimated"] == true, "{first}");
    // Sent again, for a person of another name, and for nobody: nothing changes.
    for repeat in
        [one, [("do", "leave"), ("person", "1"), ("name", "Ane")], [("do", "leave"), ("person", "0"), ("name", "")]]
    {
        assert_eq!(act(&repeat).await.status, 200);
        assert_eq!(rows().await, first);
    }
    // A correction keeps who left, be it from the receipt or from the form of the check-in.
    let edit = act(&[("do", "edit")]).await;
    assert_eq!(hidden(&edit, "left-2"), first[0]["persons"][1]["left"].as_str().expect("a time"));
    let changed =
        [("visit", &*id), ("secret", &*secret), ("name-1", "Zoë"), ("phone-1", "030 2"), ("name-2", "Ben <b>")];
    assert_eq!(api.form(&path(&venue), &changed).await.status, 200);
    let second = rows().await;
    assert_eq!(second[0]["persons"][0]["phone"], "030 2");
    assert_eq!(second[0]["persons"][1], first[0]["persons"][1]);
    let gone = act(&[("do", "leave")]).await;
    assert!(gone.body.contains("Goodbye!"), "{gone:?}");
    assert!(rows().await[0].get("left_estimated").is_none());
}

#[tokio::test]
async fn a_correction_marks_no_other_guest_as_gone_and_removes_one_who_left() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let form = api.ask("GET", &path(&venue), &[], None).await;
    let (id, secret) = (hidden(&form, "visit").to_owned(), hidden(&form, "secret").to_owned());
    let party =
        [("visit", &*id), ("secret", &*secret), ("name-1", "Müller"), ("phone-1", "030 1"), ("name-2", "Müller")];
    assert_eq!(api.form(&path(&venue), &party).await.status, 200);
    let address = format!("/r/{id}?v={}", venue.id);
    let act = async |more: &[(&str, &str)]| {
        let fields: Vec<_> = [("secret", &*secret)].into_iter().chain(more.iter().copied()).collect();
        api.form(&address, &fields).await
    };
    let persons = async || venue.list(&api, "/guests", "application/json").await.json()["visits"][0]["persons"].clone();
    assert_eq!(act(&[("do", "leave"), ("person", "1"), ("name", "Müller")]).await.status, 200);
    let left = persons().await[1]["left"].as_str().expect("a time").to_owned();
    // The answer was lost, and the form is sent again.
    assert_eq!(act(&[("do", "leave"), ("person", "1"), ("name", "Müller")]).await.status, 200);
    assert_eq!(persons().await[0].get("left"), None);
    // Two of one name: the other one stays, whichever form is sent.
    let edit =
        [("do", "correct"), ("name-1", "Müller"), ("phone-1", "030 2"), ("name-2", "Müller"), ("left-2", &*left)];
    assert_eq!(act(&edit).await.status, 200);
    assert_eq!(persons().await, json!([{"name": "Müller", "phone": "030 2"}, {"name": "Müller", "left": left}]));
    let party = party.map(|(name, value)| if name == "phone-1" { (name, "030 3") } else { (name, value) });
    assert_eq!(api.form(&path(&venue), &party).await.status, 200);
    assert_eq!(persons().await, json!([{"name": "Müller", "phone": "030 3"}, {"name": "Müller", "left": left}]));
    // Emptied fields are no person, though the departure is still in the form.
    let emptied = [("do", "correct"), ("name-1", "Müller"), ("phone-1", "030 1"), ("name-2", ""), ("left-2", &*left)];
    assert_eq!(act(&emptied).await.status, 200);
    assert_eq!(persons().await, json!([{"name": "Müller", "phone": "030 1"}]));
}

#[tokio::test]
async fn a_departure_that_waited_is_as_old_as_it_waited_and_never_before_the_arrival() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let hour = jiff::SignedDuration::from_hours(1);
    let depart = async |arrived: jiff::Timestamp, waited: &str| {
        let ago = Duration::try_from(jiff::Timestamp::now() - arrived).expect("the past");
        let guest = venue.guest(u8::try_from(waited.len()).expect("short"), ago);
        let body = json!({"persons": [{"name": "Zoë", "phone": "030 1"}]});
        assert_eq!(guest.ask(&api, "PUT", Some(&body)).await.status, 201);
        let leave = [("secret", &*guest.secret.to_string()), ("do", "leave"), ("waited", waited)];
        assert_eq!(api.form(&format!("/r/{}?v={}", guest.id, venue.id), &leave).await.status, 200);
        let left = guest.ask(&api, "GET", None).await.json()["left"].as_str().expect("a time").to_owned();
        left.parse::<jiff::Timestamp>().expect("a time")
    };
    let now = jiff::Timestamp::now();
    let left = depart(now - hour * 3, "3600000").await;
    assert!((left - (now - hour)).total(jiff::Unit::Second).expect("a length").abs() < 60.0, "{left}");
    let least = depart(now - hour, "999999999").await - (now - hour);
    assert!((0.5..60.0).contains(&least.total(jiff::Unit::Second).expect("a length")), "after the arrival");
    assert!(depart(now - hour, "-5").await >= now - jiff::SignedDuration::from_secs(1), "no time to come");
}

#[tokio::test]
async fn a_browser_at_a_wrong_address_gets_words() {
    let api = Api::start().await;
    let browser = [("Accept", "text/html,application/xhtml+xml"), ("Accept-Language", "de")];
    for path in ["/", "/console/", "/c", "/v1"] {
        let lost = api.ask("GET", path, &browser, None).await;
        assert!(lost.status == 404 && lost.body.contains("Diese Seite gibt es nicht"), "{path}: {lost:?}");
        is_private(&lost);
        assert_eq!(api.ask("GET", path, &[], None).await.header("content-type"), Some("application/problem+json"));
    }
    let other = api.ask("GET", "/v1/nothing", &browser, None).await;
    assert_eq!(other.header("content-type"), Some("application/problem+json"), "everything below it is for programs");
    // The answer to a form of the console that is reloaded.
    for path in ["/console/login", "/console/export", "/console/contacts", "/console/close"] {
        let back = api.ask("GET", path, &browser, None).await;
        assert_eq!((back.status, back.header("location")), (303, Some("/console")), "{path}");
    }
    let venue = api.venue().await;
    let refused = api.ask("DELETE", &path(&venue), &browser, None).await;
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, POST, OPTIONS")), "{refused:?}");
    is_private(&refused);
}

#[tokio::test]
async fn a_tablets_guest_takes_the_receipt_along() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let door = format!("{}?kiosk=1", path(&venue));
    let form = api.ask("GET", &door, &[], None).await;
    let (id, secret) = (hidden(&form, "visit"), hidden(&form, "secret"));
    let fields = [("visit", id), ("secret", secret), ("name-1", "Zoë"), ("phone-1", "030 1")];
    let receipt = api.form(&door, &fields).await;
    assert!(receipt.body.contains("class=\"qr\"") && !receipt.body.contains(secret), "{receipt:?}");
    is_private(&receipt);
}

#[tokio::test]
async fn assets_are_kept_for_ever_and_pages_name_them() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let page = api.ask("GET", &path(&venue), &[], None).await;
    for name in ["style.css", "page.js", "outbox.js", "icon.svg"] {
        let address = assets::address(name);
        assert!(page.body.contains(&address), "{address}");
        let asset = api.ask("GET", &address, &[], None).await;
        assert_eq!(asset.header("cache-control"), Some("public, max-age=31536000, immutable"));
        let etag = asset.header("etag").expect("a tag");
        assert_eq!(api.ask("GET", &address, &[("If-None-Match", etag)], None).await.status, 304);
    }
    // A page of another version, while a deployment is renewed: this version's file, which no cache keeps.
    let other = api.ask("GET", "/assets/style-0000000000000000.css", &[], None).await;
    assert_eq!((other.status, other.header("cache-control")), (200, Some("no-store")));
    for none in ["/assets/x-0000000000000000.css", "/assets/style.css", "/assets/x"] {
        assert_eq!(api.ask("GET", none, &[], None).await.status, 404, "{none}");
    }
    assert_eq!(api.ask("GET", "/worker.js", &[], None).await.header("cache-control"), Some("no-cache"));
}

/// Which fields a form has, for each pack that ships.
#[test]
fn a_form_asks_for_what_the_policy_pack_asks() {
    let texts = Texts::of("en").expect("English");
    for id in PolicyPack::built_in_ids() {
        let pack = PolicyPack::built_in(id).expect("a pack");
        let form =
            serde_json::to_value(fields::persons(texts, &pack, false, &[], &FormErrors::default())).expect("JSON");
        let of = |person: usize| {
            let fields = form["persons"][person]["fields"].as_array().expect("fields").iter();
            fields
                .map(|field| field["name"].as_str().expect("a name").rsplit_once('-').expect("a place").0.to_owned())
                .collect::<Vec<_>>()
        };
        let address = ["street", "postal_code", "city"].map(str::to_owned);
        let has_address = address.iter().all(|token| of(0).contains(token));
        assert_eq!(of(0)[0], "name", "{id}");
        assert_eq!(has_address, ["de-bw", "de-be", "de-by"].contains(&id), "{id}: {:?}", of(0));
        let each = pack.household == registry::Household::Each;
        assert_eq!(of(1), if each { of(0) } else { vec!["name".to_owned()] }, "{id}");
        assert_eq!(form["persons"].as_array().map(Vec::len), Some(12));
    }
}
