//! The pages in a real browser, against `meridian up` through its edge: with scripts and without, with errors, without a
//! network, and while a region is dead.

mod driver;

use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::proxy::Proxy;
use crate::common::{Call, Up, Venue, holds};
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
