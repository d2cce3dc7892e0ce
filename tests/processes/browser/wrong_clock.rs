//! A phone whose clock is wrong: its check-ins are stored with the right time, once, and its guest notices nothing.

use std::net::{Ipv4Addr, TcpListener};

use super::driver::{Browser, Reader};
use super::{SOON, names, venue};
use crate::common::proxy::Proxy;
use crate::common::{Up, Venue, guest, holds, net};

/// Sets the clock of the page wrong. The worker has a clock of its own, so it must not send in the page's place.
fn set_wrong(browser: &Browser, ahead_h: i64) {
    browser.script_async(
        "const done = arguments[arguments.length - 1];
        navigator.serviceWorker.getRegistrations()
          .then((all) => Promise.all(all.map((one) => one.unregister()))).then(() => done(null))",
    );
    browser.script(&format!("const own = Date.now; Date.now = () => own() + {ahead_h} * 3600000; return null"));
}

/// The one visit of this name is in the list, with an arrival in the last minute.
fn is_there_once(up: &Up, venue: &Venue, name: &str) {
    holds("it is there, once", SOON, || {
        let list = venue.list(up.public[0]);
        list.values().filter(|row| names(row) == [name]).count() == 1
    });
    let list = venue.list(up.public[0]);
    let row = list.values().find(|row| names(row) == [name]).unwrap();
    let arrived: api::Moment = row["arrived"].as_str().unwrap().parse().unwrap();
    assert!(arrived.0.0.abs_diff(guest::now().0) < 60_000, "{name}: {}", row["arrived"]);
}

#[test]
fn a_phone_whose_clock_is_wrong_checks_in_at_the_right_time() {
    let test = "a_phone_whose_clock_is_wrong_checks_in_at_the_right_time";
    let Some(browser) = Browser::start(test, Reader::default()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let venue = venue(&up);
    let listener = TcpListener::bind(net::free(Ipv4Addr::LOCALHOST.into(), 1)[0]).unwrap();
    let page = format!("http://{}/c/{}", listener.local_addr().unwrap(), venue.id);
    let network = Proxy::start(listener, up.edge());

    // A day, a month and more than any retention, in both directions.
    for (ahead_h, name) in [(72, "Ane O’Connor"), (-30, "Zoë Nguyễn"), (-24 * 400, "Ærø Straße")] {
        browser.open(&page);
        set_wrong(&browser, ahead_h);
        browser.write("#name-1", name);
        browser.write("#phone-1", "030 23125 001");
        browser.click("form.check-in button");
        browser.reads(".lines", name);
        is_there_once(&up, &venue, name);
    }

    // A check-in that waits on the device is corrected when it is sent.
    browser.open(&page);
    set_wrong(&browser, 72);
    browser.write("#name-1", "Ben Ötzi");
    browser.write("#phone-1", "030 23125 002");
    network.set_cut(true);
    browser.click("form.check-in button");
    browser.reads("main", "Noch nicht gesendet");
    network.set_cut(false);
    browser.reads(".lines", "Ben Ötzi");
    is_there_once(&up, &venue, "Ben Ötzi");
    assert_eq!(venue.list(up.public[0]).len(), 4);
    up.stop();
}
