//! The pages in a real browser, against `meridian up` through its edge: with scripts and without, with errors, without a
//! network, and while a region is dead.

mod driver;

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::proxy::Proxy;
use crate::common::up::REGIONS;
use crate::common::{Call, Up, Venue, guest, holds, net};
use driver::{Browser, Reader};

/// The name of the venue.
const NAME: &str = "Café Prüfstein";

const SOON: Duration = Duration::from_secs(30);

/// A venue that all regions know.
fn venue(up: &Up) -> Venue {
    let body = json!({"name": NAME, "timezone": "Europe/Berlin", "areas": ["Terrasse", "Bar"]});
    let venue = Venue::make_of(up.public[0], &body);
    holds("the venue is known in all regions", SOON, || {
        up.public.iter().all(|at| Call::new("GET", &venue.path).to(*at).status == 200)
    });
    venue
}

fn names(row: &Value) -> Vec<&str> {
    row["persons"].as_array().unwrap().iter().map(|person| person["name"].as_str().unwrap()).collect()
}

#[test]
fn a_guest_checks_in_corrects_leaves_and_erases() {
    let Some(browser) = Browser::start("a_guest_checks_in_corrects_leaves_and_erases", Reader::default()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let venue = venue(&up);
    let page = format!("http://{}/c/{}", up.edge(), venue.id);

    browser.open(&page);
    browser.reads("h1", NAME);
    browser.accessible("the form");
    browser.picture("check-in");
    // Nothing filled in: the summary has the focus and leads to the field.
    browser.click("form.check-in button");
    browser.reads("#errors", "Bitte ausfüllen: Vor- und Nachname.");
    assert_eq!(browser.script("return document.activeElement.id"), "errors");
    assert!(browser.title().starts_with("Fehler: "), "{}", browser.title());
    browser.accessible("the form with errors");
    browser.picture("check-in-errors");
    browser.click("#errors a");
    assert_eq!(browser.script("return document.activeElement.id"), "name-1");
    // What was typed stays.
    browser.write("#name-1", "Zoë Nguyễn");
    browser.write("#phone-1", "?");
    browser.click("form.check-in button");
    browser.reads("#phone-1-error", "Telefonnummer");
    assert_eq!(browser.value("#name-1"), "Zoë Nguyễn");
    browser.write("#phone-1", "+49 151 2345678");
    for (number, name) in [(2, "Ane O’Connor"), (3, "Παπαδόπουλος Γιώργος")] {
        browser.click(&format!("details.person:has(> fieldset > .field > #name-{number}) > summary"));
        browser.write(&format!("#name-{number}"), name);
    }
    browser.accessible("three persons");
    browser.picture("check-in-three");
    browser.click("form.check-in button");

    browser.reads(".code", NAME);
    let receipt = browser.address();
    assert!(receipt.contains("/r/") && receipt.contains(&format!("?v={}#", venue.id)), "{receipt}");
    let id = receipt.split("/r/").nth(1).unwrap()[..36].to_owned();
    browser.accessible("the receipt");
    browser.picture("receipt");
    for at in up.public {
        holds("every region lists three persons", SOON, || {
            venue
                .list(at)
                .get(&id)
                .is_some_and(|row| names(row) == ["Zoë Nguyễn", "Ane O’Connor", "Παπαδόπουλος Γιώργος"])
        });
    }

    // The receipt's address opens it again, in another tab and at another time.
    browser.open("about:blank");
    browser.open(&receipt);
    browser.reads(".lines", "Zoë Nguyễn");
    assert_eq!(browser.address(), receipt);
    // Correct.
    browser.click("form:has(input[value=edit]) button");
    browser.write("#phone-1", "030 1111");
    browser.accessible("the correction");
    browser.click("form:has(input[value=correct]) button");
    browser.reads("[role=status]", "Ihre Änderungen sind gespeichert.");
    browser.reads(".lines", "030 1111");
    // Leave.
    browser.click("form:has(input[value=leave]) button");
    browser.reads("[role=status]", "Auf Wiedersehen!");
    browser.accessible("the receipt after the departure");
    holds("the departure is in the list", SOON, || {
        venue.list(up.public[2]).get(&id).is_some_and(|row| row.get("left_estimated").is_none())
    });
    // Erase, with a second step that says what it means.
    browser.click("details.erase summary");
    browser.picture("receipt-erase");
    browser.click("details.erase button");
    browser.reads("h1", "Gelöscht");
    browser.accessible("the erasure");
    browser.picture("erased");
    for region in ["Frankfurt", "Ashburn", "Singapur"] {
        browser.reads(&format!("[data-region={region}]"), "ja");
    }
    for at in up.public {
        holds("it is gone in every region", SOON, || !venue.list(at).contains_key(&id));
    }
    browser.open("about:blank");
    browser.open(&receipt);
    browser.reads("main", "gelöscht");
    up.stop();
}

#[test]
fn a_guest_without_javascript_checks_in_once_however_often_the_form_is_sent() {
    let test = "a_guest_without_javascript_checks_in_once_however_often_the_form_is_sent";
    let Some(browser) = Browser::start(test, Reader { scripts: false, language: "en", ..Reader::default() }) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let venue = venue(&up);
    browser.open(&format!("http://{}/c/{}/Terrasse", up.edge(), venue.id));
    browser.reads("main", "Terrasse");
    let (id, secret) = (browser.value("[name=visit]"), browser.value("[name=secret]"));
    browser.click("form.check-in button");
    browser.reads("#errors", "Please fill in: First and last name.");
    browser.write("#name-1", "Jürgen <b>Groß</b>");
    browser.write("#email-1", "juergen@example.com");
    browser.picture("check-in-plain");
    browser.click("form.check-in button");
    browser.reads(".code", "Terrasse");
    assert!(!browser.address().contains(&secret), "{}", browser.address());
    browser.reads("code", &secret);
    browser.picture("receipt-plain");
    // The guest reloads the answer: the same visit.
    browser.command("Page.reload", json!({}));
    browser.reads(".code", "Terrasse");
    holds("every region lists one visit", SOON, || {
        up.public.iter().all(|at| {
            let list = venue.list(*at);
            list.len() == 1 && list.get(&id).is_some_and(|row| names(row) == ["Jürgen <b>Groß</b>"])
        })
    });
    // Without scripts the receipt is opened with its code.
    browser.open(&format!("http://{}/r/{id}?v={}", up.edge(), venue.id));
    browser.write("#secret", "AAAAAAAAAAAAAAAAAAAAAA");
    browser.click("form button");
    browser.reads("#errors", "does not belong to this receipt");
    browser.write("#secret", &secret);
    browser.click("form button");
    browser.reads(".lines", "Jürgen <b>Groß</b>");
    browser.click("form:has(input[value=leave]) button");
    browser.reads("[role=status]", "Goodbye!");
    browser.click("details.erase summary");
    browser.click("details.erase button");
    browser.reads("h1", "Erased");
    for at in up.public {
        holds("it is gone in every region", SOON, || venue.list(at).is_empty());
    }
    up.stop();
}

#[test]
fn a_check_in_without_a_network_is_sent_later_with_its_own_time_and_once() {
    let test = "a_check_in_without_a_network_is_sent_later_with_its_own_time_and_once";
    let Some(browser) = Browser::start(test, Reader::default()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let venue = venue(&up);
    // Between the phone and the edge; a cut is a phone without a network.
    let listener = TcpListener::bind(net::free(Ipv4Addr::LOCALHOST.into(), 1)[0]).unwrap();
    let address = listener.local_addr().unwrap();
    let network = Proxy::start(listener, up.edge());
    browser.open(&format!("http://{address}/c/{}", venue.id));
    browser.write("#name-1", "Ane O’Connor");
    browser.write("#phone-1", "030 23125 001");
    browser.click("#remember");
    network.set_cut(true);
    let begun = guest::now();
    browser.click("form.check-in button");
    browser.reads("main", "Noch nicht gesendet");
    browser.accessible("not sent yet");
    browser.picture("not-sent");
    let shown = browser.text("h1");
    assert!(up.public.iter().all(|at| venue.list(*at).is_empty()));
    // The region that would have been the nearest dies before the network is back.
    let nearest = up.answered("127.0.0.1");
    up.kill(&nearest);
    network.set_cut(false);
    browser.reads(".code", NAME);
    assert_eq!(browser.text("h1"), shown, "the code that the staff saw");
    let alive: Vec<_> = up.public.into_iter().zip(REGIONS).filter(|(_, region)| *region != nearest).collect();
    for (at, _) in alive {
        holds("it is there, once", SOON, || venue.list(at).len() == 1);
        let list = venue.list(at);
        let arrived: jiff::Timestamp = list.values().next().unwrap()["arrived"].as_str().unwrap().parse().unwrap();
        let arrived = u64::try_from(arrived.as_millisecond()).unwrap();
        assert!(arrived.abs_diff(begun.0) < 5_000, "with the time at which it was made");
    }
    // What the guest asked to be remembered is there again, and nothing else is.
    browser.open(&format!("http://{address}/c/{}", venue.id));
    assert_eq!(browser.value("#phone-1"), "030 23125 001");
    browser.click("#remember");
    assert_eq!(browser.script("return localStorage.length"), 0);
}
