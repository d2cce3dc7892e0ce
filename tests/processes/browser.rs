//! The pages in a real browser, against `meridian up` through its edge: with scripts and without, with errors, without a
//! network, and while a region is dead.

mod driver;
mod wrong_clock;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::common::proxy::Proxy;
use crate::common::up::REGIONS;
use crate::common::{Call, Up, Venue, guest, holds, net, within};
use driver::{Browser, Reader};

/// The name of the venue.
const NAME: &str = "Café Prüfstein";

/// The Tab key (WebDriver, section 17.4.2).
const TAB: &str = "\u{E004}";

/// The Enter key.
const ENTER: &str = "\u{E007}";

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
    by_keyboard(&browser);
    fits(&browser);
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
    // Another language keeps what was typed.
    browser.click("nav a[hreflang=en]");
    browser.reads("form.check-in button", "Check in now");
    assert_eq!(
        (browser.value("#name-1").as_str(), browser.value("#name-3").as_str()),
        ("Zoë Nguyễn", "Παπαδόπουλος Γιώργος")
    );
    browser.click("nav a[hreflang=de]");
    browser.reads("form.check-in button", "Jetzt einchecken");
    browser.click("form.check-in button");

    browser.reads(".code", NAME);
    let receipt = browser.address();
    assert!(
        receipt.contains("/r/") && receipt.contains(&format!("?v={}", venue.id)) && receipt.contains('#'),
        "{receipt}"
    );
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
    // One of the three leaves, then the others.
    browser.click("form:has(input[name=name][value^=Ane]) button");
    browser.reads("[role=status]", "Das Ende für Ane O’Connor ist gespeichert");
    browser.accessible("the receipt after one has left");
    browser.picture("receipt-one-left");
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
    // Not to be seen any more in the browser itself either.
    browser.open("about:blank");
    browser.open(&receipt);
    browser.reads("main", "gelöscht");
    let secret = receipt.split('#').nth(1).unwrap();
    browser.kept_private(&["Zoë", "O’Connor", "2345678", "030 1111", secret]);
    up.logged_nothing_of(&["Zoë", "O’Connor", "Παπαδόπουλος", "2345678", "030 1111", secret]);
    up.stop();
}

/// The form can be reached and left with the Tab key alone, in the order in which it is read.
fn by_keyboard(browser: &Browser) {
    let mut order: Vec<Value> = Vec::new();
    browser.script("document.activeElement.blur()");
    let begun = Instant::now();
    while order.last().is_none_or(|last| last[0] != "button") && begun.elapsed() < SOON {
        browser.press(TAB);
        let focus = browser.script(
            "const e = document.activeElement; return [e.id || e.hreflang || e.localName, \
             [...document.querySelectorAll('*')].indexOf(e), getComputedStyle(e).outlineStyle]",
        );
        // A busy browser may swallow a key: the focus is where it was.
        if focus[0] != "body" && order.last() != Some(&focus) {
            assert!(focus[0] == "button" || focus[2] == "solid", "the focus is seen: {order:?}, {focus}");
            order.push(focus);
        }
    }
    let order: Vec<&str> = order.iter().map(|focus| focus[0].as_str().unwrap()).collect();
    assert_eq!(order, ["en", "area", "name-1", "phone-1", "email-1", "summary", "remember", "button"]);
}

/// The page needs no scrolling to the side: on a narrow phone, and at 200 % and 400 % zoom of 1280 pixels (WCAG 1.4.10).
fn fits(browser: &Browser) {
    for width in [320, 640] {
        browser.narrow(width);
        let wide = browser.script("return document.documentElement.scrollWidth");
        assert!(wide.as_u64().unwrap() <= u64::from(width), "{wide} at {width}");
    }
    browser.narrow(400);
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
    // With every region down the edge still speaks to a person.
    for region in REGIONS {
        up.kill(region);
    }
    browser.open(&format!("http://{}/c/{}/Terrasse", up.edge(), venue.id));
    browser.reads("main", "Please try again in a minute");
    browser.reads("main", "Bitte versuchen Sie es in einer Minute noch einmal");
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
    let waits = guest::now();
    browser.accessible("not sent yet");
    browser.picture("not-sent");
    let shown = browser.text("h1");
    assert!(up.public.iter().all(|at| venue.list(*at).is_empty()));
    // The region that would have been the nearest dies before the network is back.
    let nearest = up.answered("127.0.0.1");
    up.kill(&nearest);
    network.set_cut(false);
    browser.reads(".code:not(.waiting)", NAME);
    assert_eq!(browser.text("h1"), shown, "the code that the staff saw");
    let alive: Vec<_> = up.public.into_iter().zip(REGIONS).filter(|(_, region)| *region != nearest).collect();
    for (at, _) in alive.iter().copied() {
        holds("it is there, once", SOON, || venue.list(at).len() == 1);
        let list = venue.list(at);
        let arrived: jiff::Timestamp = list.values().next().unwrap()["arrived"].as_str().unwrap().parse().unwrap();
        let arrived = u64::try_from(arrived.as_millisecond()).unwrap();
        assert!((begun.0..=waits.0).contains(&arrived), "with the time at which it was made: {arrived}");
    }
    // Without a network the guest leaves with the time of the device.
    network.set_cut(true);
    browser.click("form:has(input[value=leave]) button");
    browser.reads("main > .panel", "gemerkt");
    browser.accessible("a departure that is not sent yet");
    let departed = guest::now();
    network.set_cut(false);
    browser.reads(".code", "Besuch beendet");
    let at = alive[0].0;
    holds("the departure is known", SOON, || venue.list(at).values().all(|row| row.get("left_estimated").is_none()));
    let list = venue.list(at);
    let left: jiff::Timestamp = list.values().next().unwrap()["left"].as_str().unwrap().parse().unwrap();
    assert!(u64::try_from(left.as_millisecond()).unwrap() <= departed.0, "with the time at which it was said");
    // What the guest asked to be remembered is there again, and nothing else is.
    browser.open(&format!("http://{address}/c/{}", venue.id));
    assert_eq!(browser.value("#phone-1"), "030 23125 001");
    browser.click("#remember");
    assert_eq!(browser.script("return localStorage.length"), 0);
    // Without a name and a way to be reached nothing is kept, and nobody is told that it was.
    network.set_cut(true);
    browser.write("#name-1", "Zoë Nguyễn");
    browser.write("#phone-1", "");
    browser.click("form.check-in button");
    browser.reads(".summary", "wie wir Sie erreichen");
    // One that waited and is refused later is not lost: the guest finds it in the form again.
    browser.write("#phone-1", "?");
    browser.click("form.check-in button");
    browser.reads("main", "Noch nicht gesendet");
    browser.open("about:blank");
    network.set_cut(false);
    let page = format!("http://{address}/c/{}", venue.id);
    within("the guest is told that it was refused", SOON, || {
        browser.open(&page);
        if browser.has("main > .summary") { Ok(()) } else { Err("not yet") }
    });
    browser.reads("main > .summary", "nicht angenommen");
    assert_eq!((browser.value("#name-1").as_str(), browser.value("#phone-1").as_str()), ("Zoë Nguyễn", "?"));
    // One that is sent while its page is closed leaves its receipt behind.
    network.set_cut(true);
    browser.write("#phone-1", "030 23125 002");
    browser.click("form.check-in button");
    browser.reads("main", "Noch nicht gesendet");
    browser.open("about:blank");
    network.set_cut(false);
    within("the guest is told that it was sent", SOON, || {
        browser.open(&page);
        if browser.has("[data-entry] a") { Ok(()) } else { Err("not yet") }
    });
    browser.accessible("the notice of a check-in that was sent");
    browser.click("[data-entry] a");
    browser.reads(".lines", "030 23125 002");
    browser.open(&page);
    browser.reads("h1", NAME);
    assert!(!browser.has("[data-entry]"), "the guest has seen it");
    browser.kept_private(&["O’Connor", "Nguyễn", "23125 00", "2312500"]);
    up.logged_nothing_of(&["O’Connor", "Nguyễn", "23125 00", "2312500"]);
    up.stop();
}

#[test]
fn an_owner_registers_prints_posters_and_pulls_a_list_during_a_partition() {
    let test = "an_owner_registers_prints_posters_and_pulls_a_list_during_a_partition";
    let Some(browser) = Browser::start(test, Reader { width: 1280, ..Reader::default() }) else { return };
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let console = format!("http://{}/console", up.edge());
    browser.open(&console);
    browser.accessible("the login");
    browser.click("main a");
    browser.click("main button");
    browser.reads("#errors", "Name des Betriebs");
    browser.accessible("the registration with errors");
    browser.write("#name", NAME);
    browser.write("#areas", "Terrasse\nBar 1/2");
    browser.accessible("the registration");
    browser.click("main button");
    let (id, key) = (browser.text("#venue-code"), browser.text("#owner-key"));
    browser.accessible("the new venue");
    browser.picture("console-made");
    let venue = Venue { path: format!("/v1/venues/{id}"), id: id.clone(), key: key.clone() };
    holds("the venue is known in all regions", SOON, || {
        up.public.iter().all(|at| Call::new("GET", &venue.path).to(*at).status == 200)
    });
    // The cookie is accepted by every region's node; a node without a login asks for one.
    browser.open(&console);
    browser.reads("h1", NAME);
    browser.accessible("the overview");
    browser.picture("console-overview");
    // Two guests, in two regions; then one region is cut off, and takes a third when it is back.
    let visit = |name: &str| venue.visit(name, "030 23125 001");
    visit("Jürgen Groß").check_in(up.public[0]);
    let zoe = visit("Zoë Nguyễn");
    zoe.check_in(up.public[1]);
    holds("both are known", SOON, || up.public.iter().all(|at| venue.list(*at).len() == 2));
    let pulls = |reason: bool| {
        browser.open(&format!("{console}/guests"));
        browser.click("form.ask button");
        browser.reads("#count", "");
        if reason {
            browser.accessible("the count and the reason");
            browser.picture("console-count");
        }
        browser.click("form:has(input[name=reason]) button");
        browser.reads("table", "Jürgen Groß");
    };
    pulls(true);
    browser.reads(".panel", "Vollständig bis");
    browser.accessible("the list");
    browser.picture("console-list");
    browser.click("form[action='/console/contacts'] button");
    browser.reads("main", "Zoë Nguyễn");
    browser.accessible("the contacts");
    browser.picture("console-contacts");

    // Singapore is frozen: the list says until when it is complete there. A guest checks in there once it goes on.
    let late = visit("Søren Ærø");
    let singapore = up.pid(REGIONS[2]);
    for at in &up.public[..2] {
        assert!(venue.list(*at).len() == 2);
    }
    kill(singapore, Signal::SIGSTOP).unwrap();
    within("the list says what is missing", Duration::from_secs(90), || {
        pulls(false);
        let words = browser.text(".panel");
        if words.contains("Singapur nur bis") { Ok(()) } else { Err(words) }
    });
    browser.picture("console-list-partition");
    kill(singapore, Signal::SIGCONT).unwrap();
    late.check_in(up.public[2]);
    holds("it is known", SOON, || up.public.iter().all(|at| venue.list(*at).len() == 3));
    within("the list says what was added", SOON, || {
        browser.click("form:has(input[name=reason]) button");
        let words = browser.text("#since");
        if words.contains("ein Besuch dazu") && browser.has("tr.new") { Ok(()) } else { Err(words) }
    });
    browser.reads("tr.new", "Søren Ærø");
    browser.picture("console-list-added");

    // Settings and posters.
    browser.open(&format!("{console}/settings"));
    browser.accessible("the settings");
    browser.picture("console-settings");
    // The poster's code leads to the check-in page.
    let decoded = browser.scan(&format!("{console}/poster/a4.svg"));
    if let Some(decoded) = decoded {
        assert_eq!(decoded, format!("http://{}/c/{id}", up.edge()));
        browser.open(&decoded);
        browser.reads("h1", NAME);
    }
    // A paper slip with its own time.
    browser.open(&format!("{console}/slips"));
    browser.accessible("the slips");
    browser.write("#name-1", "Παπαδόπουλος Γιώργος");
    browser.write("#phone-1", "030 1");
    browser.click("main button");
    browser.reads("#bad-time", "höchstens 24 Stunden");
    browser.script("document.getElementById('time').value = '00:01'");
    browser.click("main button");
    browser.reads("[role=status]", "Gespeichert:");
    holds("the slip is in the list", SOON, || venue.list(up.public[2]).len() == 4);
    browser.kept_private(&["Groß", "Nguyễn", "Søren", "23125 001", "23125001", &key]);
    // The tablet at the door keeps nothing, and its guest takes the receipt along.
    browser.open(&format!("http://{}/c/{id}?kiosk=1", up.edge()));
    browser.write("#name-1", "Ane O’Connor");
    browser.write("#phone-1", "030 2");
    browser.click("form.check-in button");
    browser.reads(".panel", "leert sich");
    browser.accessible("the receipt of the tablet");
    assert!(!browser.address().contains('#') && !browser.has("form"));
    if let Some(receipt) = browser.decode() {
        assert!(receipt.starts_with(&format!("http://{}/r/", up.edge())) && receipt.contains('#'), "{receipt}");
        browser.open(&receipt);
        browser.reads(".lines", "Ane O’Connor");
        browser.open(&format!("http://{}/c/{id}?kiosk=1", up.edge()));
        browser.write("#name-1", "Ane O’Connor");
        browser.write("#phone-1", "030 2");
        browser.click("form.check-in button");
        browser.reads(".panel", "leert sich");
    }
    browser.reads("form.check-in", "Vor- und Nachname");
    assert_eq!(browser.value("#name-1"), "");
    up.logged_nothing_of(&["Groß", "Nguyễn", "Søren", "O’Connor", "23125 001", "23125001", &key, &key[..12]]);
    // Log out: the list is closed.
    browser.open(&console);
    browser.click("nav form button");
    browser.open(&format!("{console}/guests"));
    browser.reads("h1", "anmelden");
    up.stop();
}

/// Every page in both languages, light and dark, on a narrow phone, at a desk, and at 200 % zoom of that.
#[test]
fn every_page_fits_and_can_be_read_in_both_languages_light_and_dark() {
    let test = "every_page_fits_and_can_be_read_in_both_languages_light_and_dark";
    let Some(browser) = Browser::start(test, Reader::default()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let venue = venue(&up);
    let guest =
        venue.visit("Prof. Dr. Maximiliane-Friederike von Hohenlohe-Waldenburg-Schillingsfürst", "030 23125 001");
    guest.check_in(up.public[0]);
    let (door, console) = (format!("http://{}/c/{}", up.edge(), venue.id), format!("http://{}/console", up.edge()));
    for language in ["de", "en"] {
        let seen = |name: &str| look_at(&browser, &format!("{name}-{language}"));
        let open = |address: &str| {
            let joint = if address.contains('?') { '&' } else { '?' };
            browser.open(&format!("{address}{joint}lang={language}"));
        };
        open(&door);
        seen("check-in");
        browser.click("form.check-in button");
        browser.reads("#errors", "");
        seen("check-in-errors");
        open(&format!("{door}?kiosk=1"));
        seen("tablet");
        open(&format!("http://{}/r/{}?v={}", up.edge(), guest.id, venue.id));
        seen("locked");
        browser.write("#secret", &guest.secret);
        browser.click("form button");
        browser.reads(".lines", "Hohenlohe");
        seen("receipt");
        open(&format!("http://{}/nothing", up.edge()));
        seen("lost");
        browser.open(&format!("{console}/language?lang={language}&page="));
        if browser.has("#key") {
            seen("console-login");
            browser.click("main p a");
            seen("console-register");
            browser.open(&console);
            browser.write("#venue", &venue.id);
            browser.write("#key", &venue.key);
            browser.press(ENTER);
        }
        browser.reads("h1", NAME);
        seen("console-overview");
        browser.open(&format!("{console}/settings"));
        seen("console-settings");
        browser.open(&format!("{console}/slips"));
        browser.click("main form:not([action*=logout]) button");
        browser.reads("#errors, #bad-time", "");
        seen("console-slips-errors");
        browser.open(&format!("{console}/guests"));
        seen("console-ask");
        browser.press_at("form.ask button", ENTER);
        browser.reads("#count", "");
        seen("console-count");
        browser.press_at("form:has(input[name=reason]) button", ENTER);
        browser.reads("table", "Hohenlohe");
        seen("console-list");
        browser.press_at("form[action='/console/contacts'] button", ENTER);
        browser.reads("h1", if language == "de" { "Kontakte" } else { "Contacts" });
        seen("console-contacts");
    }
    up.stop();
}

/// The page as it is, in each size and each colour scheme. Only the table of a list may be wider than the screen, and it
/// scrolls by itself.
fn look_at(browser: &Browser, name: &str) {
    for scheme in ["light", "dark"] {
        browser.prefers(scheme);
        for width in [360, 640, 1280] {
            browser.narrow(width);
            let wide = browser.script("return document.documentElement.scrollWidth");
            assert!(wide.as_u64().unwrap() <= u64::from(width), "{name} is {wide} wide at {width}");
            browser.picture(&format!("{name}-{width}-{scheme}"));
        }
        browser.accessible(&format!("{name}, {scheme}"));
    }
    browser.prefers("light");
    browser.narrow(360);
    every_control_is_reached(browser, name);
}

/// The Tab key reaches everything that can be used, and the focus is seen.
fn every_control_is_reached(browser: &Browser, name: &str) {
    let controls = browser.script(
        "document.activeElement.blur(); \
         return [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex=\"0\"]')] \
         .filter(e => e.type !== 'hidden' && !e.disabled && e.checkVisibility({checkVisibilityCSS: true})).length",
    );
    // Radio buttons of one group are one stop.
    let radios = browser.script(
        "const all = [...document.querySelectorAll('input[type=radio]')]; \
         return all.length - new Set(all.map(e => e.name)).size",
    );
    let wanted = controls.as_u64().unwrap() - radios.as_u64().unwrap();
    let mut reached = BTreeMap::new();
    // A field for a day or a time has a stop for each of its parts, and a busy browser may swallow a key.
    let begun = Instant::now();
    while (reached.len() as u64) < wanted && begun.elapsed() < SOON {
        browser.press(TAB);
        let focus = browser.script(
            "const e = document.activeElement; if (e === document.body) return null; \
             const style = getComputedStyle(e); \
             return [[...document.querySelectorAll('*')].indexOf(e), style.outlineStyle !== 'none' || style.boxShadow !== 'none', \
             e.outerHTML.slice(0, 200)]",
        );
        let Some(focus) = focus.as_array() else { continue };
        assert_eq!(focus[1], true, "{name}: the focus is seen at {}", focus[2]);
        reached.insert(focus[0].as_u64().unwrap(), focus[2].to_string());
    }
    assert_eq!(reached.len() as u64, wanted, "{name}: the Tab key reaches {reached:?}");
}
