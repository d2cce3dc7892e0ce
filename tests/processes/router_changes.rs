//! A router whose regions and nodes change while it runs: its configuration file is read again on SIGHUP, and nodes show
//! what operators added, moved and removed. Clients notice nothing but the other region.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::common::clients::Clients;
use crate::common::fake::FakeNode;
use crate::common::router::{AMERICAN, BRAZILIAN, EUROPEAN, Router, SOON, file, hold};
use crate::common::{Call, dns, holds, net, within};

#[test]
fn a_file_is_read_again_on_sighup_and_no_request_fails() {
    let (eu, us, sa) = (FakeNode::start("eu"), FakeNode::start("us"), FakeNode::start("sa"));
    let mut router = Router::start(&[&eu, &us]);
    holds("both regions are up", SOON, || router.regions() == ["eu up", "us up"]);
    assert_eq!([EUROPEAN, AMERICAN, BRAZILIAN].map(|client| router.answered(client)), ["eu", "us", "us"]);
    let clients = Clients::start(router.at[1], "/", &[EUROPEAN, AMERICAN, BRAZILIAN]);
    let held = hold(router.at[1], AMERICAN);
    holds("a request is under way in America", SOON, || us.held() == 1);

    // One region goes and one comes.
    let changed = file(&router.at, &[&sa, &eu]);
    router.reload(&changed);
    holds("the router follows", SOON, || router.regions() == ["sa up", "eu up"]);
    assert_eq!([EUROPEAN, AMERICAN, BRAZILIAN].map(|client| router.answered(client)), ["eu", "eu", "sa"]);
    holds("its DNS follows", SOON, || router.resolves(BRAZILIAN, &sa) && router.resolves(AMERICAN, &eu));
    let explained = Call::new("GET", format!("/v1/admin/explain?address={BRAZILIAN}")).to(router.at[0]).expect(200);
    assert_eq!(
        (explained.json()["region"].as_str(), explained.json()["ranking"].as_array().unwrap().len()),
        (Some("sa"), 2)
    );
    clients.go_on();
    let gone = |text: &str| !text.contains("region=\"us\"") && !text.contains("node=\"us\"");
    holds("the series of the region that went are gone", SOON, || gone(&router.metrics()));
    // The request that was under way there ends in peace.
    us.release();
    let answer = held().expect(200);
    assert_eq!((answer.text(), answer.header("meridian-region")), ("us", Some("us")));

    // A bad file changes nothing, whatever is bad about it.
    for (number, bad, key) in [
        (1, changed.replace("interval_ms = 1000", "interval_ms = 1"), "health.interval_ms = 1"),
        (2, changed.replace("name = \"sa\"", "name = \"explain\""), "regions[0].name"),
        (3, "name = ".to_owned(), "cannot be parsed"),
        (4, format!("{changed}\n[location]\ndatabase = \"missing.mmdb\""), "location.database"),
    ] {
        router.reload(&bad);
        let refused = format!("meridian_router_reloads_total{{result=\"refused\"}} {number}\n");
        holds("the file is refused", SOON, || router.metrics().contains(&refused));
        within("the log says why", SOON, || {
            let log = router.log();
            if log.contains(key) { Ok(()) } else { Err((key, log)) }
        });
        assert_eq!(router.regions(), ["sa up", "eu up"]);
    }
    // What needs a restart is named, and stays.
    let elsewhere = net::free(net::address(), 1)[0].to_string();
    router.reload(&changed.replace(&router.at[1].to_string(), &elsewhere).replace("name = \"ns1\"", "name = \"ns2\""));
    let taken = "meridian_router_reloads_total{result=\"taken\"} 2\n";
    holds("the file is taken up", SOON, || router.metrics().contains(taken));
    within("the log names it", SOON, || {
        let log = router.log();
        let named = ["edge.listen", "dns.nameservers", "meridian router --replace"];
        if named.iter().all(|named| log.contains(named)) { Ok(()) } else { Err(log) }
    });
    assert_eq!(router.answered(BRAZILIAN), "sa");
    clients.end_without_a_failure();
    assert!(router.process.runs());
    router.process.signal(Signal::SIGTERM);
    assert!(router.process.ended(SOON).0.success());
}

/// The database of the next month at the same path is taken up; a broken one is refused.
#[test]
fn a_location_database_that_changes_is_read_again_on_sighup() {
    const GERMAN: &str = "46.4.0.1";
    let (eu, sa) = (FakeNode::start("eu"), FakeNode::start("sa"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("country.mmdb");
    let shipped = std::fs::read("config/geo/dbip-country.mmdb").unwrap();
    std::fs::write(&path, &shipped).unwrap();
    let mut router = Router::start_with(&[&eu, &sa], |text| {
        text.replace("[health]", &format!("[location]\ndatabase = {path:?}\n[health]"))
    });
    let text = std::fs::read_to_string(router.folder.path().join("router.toml")).unwrap();
    holds("both regions are up", SOON, || router.regions() == ["eu up", "sa up"]);
    assert_eq!(router.answered(GERMAN), "eu");
    let clients = Clients::start(router.at[1], "/", &[EUROPEAN, AMERICAN, BRAZILIAN]);
    std::fs::write(&path, &shipped[..shipped.len() / 2]).unwrap();
    router.reload(&text);
    holds("the broken one is refused", SOON, || {
        router.metrics().contains("meridian_router_reloads_total{result=\"refused\"} 1\n")
    });
    assert!(router.log().contains("location.database"), "{}", router.log());
    assert_eq!(router.answered(GERMAN), "eu");
    // Germany has moved to Brazil. A string of two octets begins with 0x42 in this format.
    let (from, to) = (b"\x42DE", b"\x42BR");
    let mut moved = shipped;
    let at: Vec<usize> = (0..moved.len() - 3).filter(|at| moved[*at..].starts_with(from)).collect();
    assert!(!at.is_empty());
    at.into_iter().for_each(|at| moved[at..at + 3].copy_from_slice(to));
    std::fs::write(&path, moved).unwrap();
    router.reload(&text);
    holds("the new one is used", SOON, || router.answered(GERMAN) == "sa");
    clients.end_without_a_failure();
}

fn member(node: &FakeNode, membership: &str, since: &str) -> Value {
    let (region, position) = (node.name, json!({"latitude": -23.55, "longitude": -46.63}));
    let public = (membership == "member").then(|| node.address.to_string());
    json!({"name": node.name, "region": region, "membership": membership, "since": since, "position": position,
        "public": public})
}

#[test]
fn members_that_nodes_show_are_followed_and_no_request_fails() {
    let (eu, us, sa, moved) =
        (FakeNode::start("eu"), FakeNode::start("us"), FakeNode::start("sa"), FakeNode::start("us"));
    let mut router = Router::start(&[&eu, &us]);
    holds("both regions are up", SOON, || router.regions() == ["eu up", "us up"]);
    let clients = Clients::start(router.at[1], "/", &[EUROPEAN, AMERICAN, BRAZILIAN]);
    // A region comes, and values that cannot be followed come with it.
    let added = member(&sa, "member", "2026-05-01T10:00:00Z");
    let nowhere = json!({"name": "x", "region": "x", "membership": "member", "since": "2026-05-01T10:00:00Z",
        "public": "0.0.0.0:0"});
    let explain = json!({"name": "y", "region": "explain", "membership": "member", "since": "2026-05-01T10:00:00Z",
        "public": "127.0.0.1:9"});
    eu.shows(&[added.clone(), nowhere, explain]);
    holds("the region is taken up", SOON, || router.regions() == ["eu up", "us up", "sa up"]);
    assert_eq!(router.answered(BRAZILIAN), "sa");
    holds("its DNS follows", SOON, || router.resolves(BRAZILIAN, &sa));
    clients.go_on();
    // A node moves to another address.
    let shown = json!({"name": "us", "region": "us", "membership": "member", "since": "2026-05-02T10:00:00Z",
        "public": moved.address.to_string()});
    us.shows(&[shown]);
    holds("its DNS follows", SOON, || router.resolves(AMERICAN, &moved));
    assert_eq!(router.regions(), ["eu up", "us up", "sa up"], "the region that stays does not change its state");
    // The region goes again, although one node still shows the earlier order.
    let removed = member(&sa, "removed", "2026-05-03T10:00:00Z");
    moved.shows(&[removed]);
    holds("the region is gone", SOON, || router.regions() == ["eu up", "us up"]);
    assert_eq!(router.answered(BRAZILIAN), "us");
    clients.go_on();
    clients.end_without_a_failure();
    assert!(router.log().matches("0.0.0.0:0 is not an address").count() == 1, "{}", router.log());
    // After a restart the router knows it all, though no node shows anything.
    for node in [&eu, &us, &moved] {
        node.is_silent(true);
    }
    router.start_again();
    let status = router.status();
    let names: Vec<&str> =
        status["regions"].as_array().unwrap().iter().filter_map(|one| one["region"].as_str()).collect();
    assert_eq!(names, ["eu", "us"]);
    holds("its DNS knows where the node is", SOON, || router.resolves(AMERICAN, &moved));
    // Every node is removed: the last ones stay.
    for node in [&eu, &moved] {
        node.is_silent(false);
    }
    let all = [member(&eu, "removed", "2026-05-04T10:00:00Z"), member(&us, "removed", "2026-05-04T10:00:00Z")];
    eu.shows(&all);
    holds("it is refused", SOON, || router.log().contains("every node was removed"));
    assert_eq!(router.status()["regions"].as_array().unwrap().len(), 2);
    holds("its edge goes on", SOON, || router.answered(EUROPEAN) == "eu");
}

/// Each listener of a router may have several addresses.
#[test]
fn a_router_listens_at_several_addresses() {
    let eu = FakeNode::start("eu");
    let folder = tempfile::tempdir().unwrap();
    let (at, more) = (net::free(net::address(), 3), net::free(net::address(), 3));
    let mut text = file(&at, &[&eu]);
    for (one, other) in at.iter().zip(&more) {
        text = text.replace(&format!("listen = \"{one}\""), &format!("listen = [\"{one}\", \"{other}\"]"));
    }
    std::fs::write(folder.path().join("router.toml"), text).unwrap();
    let process = Router::process(&folder);
    let mut router = Router { folder, at, process };
    router.wait();
    for at in [router.at.clone(), more] {
        assert_eq!(Call::new("GET", "/readyz").to(at[0]).status, 200);
        assert_eq!(Call::new("GET", "/").to(at[1]).expect(200).text(), "eu");
        holds("DNS answers", SOON, || dns::addresses(at[2], "checkin.meridian.test.", EUROPEAN) == [eu.address.ip()]);
    }
    router.process.signal(Signal::SIGTERM);
    assert!(router.process.ended(SOON).0.success());
}
