//! A router whose regions and nodes change while it runs: its configuration file is read again on SIGHUP, and nodes show
//! what operators added, moved and removed. Clients notice nothing but the other region.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::fake::FakeNode;
use crate::common::process::Process;
use crate::common::{Call, MERIDIAN, client, dns, holds, net, within};

/// Time limit of steps that take some seconds, on a busy machine: each change folds the location database in a debug
/// build.
const SOON: Duration = Duration::from_secs(120);

/// Clients near Frankfurt, Ashburn and São Paulo, by the overrides of every file here.
const EUROPEAN: &str = "10.1.0.1";
const AMERICAN: &str = "10.2.0.1";
const BRAZILIAN: &str = "10.3.0.1";
const PLACES: [(&str, &str, &str); 3] = [
    ("eu", "latitude = 50.11, longitude = 8.68", "10.1.0.0/16"),
    ("us", "latitude = 39.04, longitude = -77.49", "10.2.0.0/16"),
    ("sa", "latitude = -23.55, longitude = -46.63", "10.3.0.0/16"),
];

/// A router process of its own.
struct Router {
    folder: TempDir,
    at: Vec<SocketAddr>,
    process: Process,
}

impl Router {
    /// A router with these nodes, each its own region.
    fn start(nodes: &[&FakeNode]) -> Router {
        let folder = tempfile::tempdir().unwrap();
        let at = net::free(net::address(), 3);
        std::fs::write(folder.path().join("router.toml"), file(&at, nodes)).unwrap();
        let process = Router::process(&folder);
        let router = Router { folder, at, process };
        router.wait();
        router
    }

    fn process(folder: &TempDir) -> Process {
        let mut command = Command::new(MERIDIAN);
        command.args(["router", "--config"]).arg(folder.path().join("router.toml"));
        Process::logged(&mut command, &folder.path().join("log"))
    }

    fn start_again(&mut self) {
        self.process.signal(Signal::SIGTERM);
        assert!(self.process.ended(SOON).0.success());
        self.process = Router::process(&self.folder);
        self.wait();
    }

    fn wait(&self) {
        holds("the router runs", SOON, || Call::new("GET", "/readyz").send(self.at[0]).is_ok());
    }

    /// Writes the file and tells the router to read it.
    fn reload(&mut self, text: &str) {
        std::fs::write(self.folder.path().join("router.toml"), text).unwrap();
        self.process.signal(Signal::SIGHUP);
    }

    fn log(&self) -> String {
        let log: PathBuf = self.folder.path().join("log");
        std::fs::read_to_string(log).unwrap()
    }

    fn status(&self) -> Value {
        Call::new("GET", "/v1/admin/status").to(self.at[0]).expect(200).json()
    }

    /// Region and state, in the router's order.
    fn regions(&self) -> Vec<String> {
        let status = self.status();
        let regions = status["regions"].as_array().unwrap().iter();
        regions.map(|one| format!("{} {}", one["region"].as_str().unwrap(), one["state"].as_str().unwrap())).collect()
    }

    fn metrics(&self) -> String {
        Call::new("GET", "/metrics").to(self.at[0]).expect(200).text().to_owned()
    }

    /// The node that answers a client at the edge.
    fn answered(&self, client: &str) -> String {
        Call::new("GET", "/").header("X-Forwarded-For", client).to(self.at[1]).expect(200).text().to_owned()
    }

    /// Whether DNS sends a client to this node.
    fn resolves(&self, client: &str, node: &FakeNode) -> bool {
        dns::addresses(self.at[2], "checkin.meridian.test.", client) == [node.address.ip()]
    }
}

/// A configuration with these nodes, each its own region. Regions return at once, and a node that is slow on a busy machine
/// is not down.
fn file(at: &[SocketAddr], nodes: &[&FakeNode]) -> String {
    let mut text = format!(
        r#"
        name = "router-1"
        data = "store"
        [admin]
        listen = "{}"
        [edge]
        listen = "{}"
        trusted_proxies = ["127.0.0.0/8"]
        [dns]
        listen = "{}"
        zone = "meridian.test"
        service = "checkin"
        nameservers = [{{ name = "ns1", addresses = ["127.0.0.1"] }}]
        [health]
        interval_ms = 1000
        timeout_ms = 900
        down_after = 10
        hold_down_s = 0
        ramp_s = 0
        "#,
        at[0], at[1], at[2]
    );
    for (_, place, network) in PLACES {
        text.push_str(&format!("[[location.overrides]]\nnetwork = \"{network}\"\nposition = {{ {place} }}\n"));
    }
    for node in nodes {
        let (name, place, _) = PLACES.into_iter().find(|(name, ..)| *name == node.name).unwrap();
        text.push_str(&format!("[[regions]]\nname = \"{name}\"\nposition = {{ {place} }}\n"));
        text.push_str(&format!("[[regions.nodes]]\nname = \"{name}\"\nhttp = \"{}\"\n", node.address));
    }
    text
}

/// Clients that keep their connections and send one request after the other.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(edge: SocketAddr) -> Load {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let clients = [EUROPEAN, AMERICAN, BRAZILIAN].into_iter().cycle().take(6).map(|address| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            std::thread::spawn(move || {
                // One connection for the whole load: if the router dropped it, the next request would fail.
                let mut stream = client::connect(edge).unwrap();
                let request = format!("GET / HTTP/1.1\r\nHost: meridian.test\r\nX-Forwarded-For: {address}\r\n\r\n");
                while !stop.load(Ordering::Relaxed) {
                    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
                    client::read(&mut stream).unwrap().expect(200);
                    answered.fetch_add(1, Ordering::Relaxed);
                    // The router and its probes need processor time as well.
                    std::thread::sleep(Duration::from_millis(2));
                }
            })
        });
        let clients = clients.collect();
        let load = Load { stop, answered, clients };
        load.goes_on();
        load
    }

    /// Waits until some more requests were answered.
    #[track_caller]
    fn goes_on(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        holds("the load goes on", SOON, || self.answered.load(Ordering::Relaxed) >= before + 200);
    }

    /// Ends the load; fails if one request failed.
    #[track_caller]
    fn ends_without_a_failure(self) {
        self.goes_on();
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
    }
}

/// Begins a request that its node holds; the answer is read by the returned closure.
fn hold(edge: SocketAddr, address: &str) -> impl FnOnce() -> client::Answer {
    // The edge waits as long as the request says.
    let call = Call::new("GET", "/held?wait=30s").header("X-Forwarded-For", address);
    let mut stream = client::connect(edge).unwrap();
    std::io::Write::write_all(&mut stream, &call.render("meridian.test")).unwrap();
    move || client::read(&mut stream).unwrap()
}

#[test]
fn a_file_is_read_again_on_sighup_and_no_request_fails() {
    let (eu, us, sa) = (FakeNode::start("eu"), FakeNode::start("us"), FakeNode::start("sa"));
    let mut router = Router::start(&[&eu, &us]);
    holds("both regions are up", SOON, || router.regions() == ["eu up", "us up"]);
    assert_eq!([EUROPEAN, AMERICAN, BRAZILIAN].map(|client| router.answered(client)), ["eu", "us", "us"]);
    let load = Load::start(router.at[1]);
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
    load.goes_on();
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
        if log.contains("edge.listen") && log.contains("dns.nameservers") { Ok(()) } else { Err(log) }
    });
    assert_eq!(router.answered(BRAZILIAN), "sa");
    load.ends_without_a_failure();
    assert!(router.process.runs());
    router.process.signal(Signal::SIGTERM);
    assert!(router.process.ended(SOON).0.success());
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
    let load = Load::start(router.at[1]);
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
    load.goes_on();
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
    load.goes_on();
    load.ends_without_a_failure();
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
