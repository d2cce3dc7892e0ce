//! One `meridian router` in front of nodes that the test plays.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::fake::FakeNode;
use super::process::Process;
use super::{Call, MERIDIAN, client, dns, holds, net, within};

/// Time limit of steps that take some seconds, on a busy machine: each change folds the location database in a debug
/// build.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// Clients near Frankfurt, Ashburn and São Paulo, by the overrides of every file here.
pub(crate) const EUROPEAN: &str = "10.1.0.1";
pub(crate) const AMERICAN: &str = "10.2.0.1";
pub(crate) const BRAZILIAN: &str = "10.3.0.1";
pub(crate) const PLACES: [(&str, &str, &str); 3] = [
    ("eu", "latitude = 50.11, longitude = 8.68", "10.1.0.0/16"),
    ("us", "latitude = 39.04, longitude = -77.49", "10.2.0.0/16"),
    ("sa", "latitude = -23.55, longitude = -46.63", "10.3.0.0/16"),
];

/// A router process of its own.
pub(crate) struct Router {
    pub(crate) folder: TempDir,
    /// Admin, edge and DNS.
    pub(crate) at: Vec<SocketAddr>,
    pub(crate) process: Process,
}

impl Router {
    /// A router with these nodes, each its own region.
    pub(crate) fn start(nodes: &[&FakeNode]) -> Router {
        Router::start_with(nodes, |text| text)
    }

    /// The same, with a configuration that is changed before.
    pub(crate) fn start_with(nodes: &[&FakeNode], change: impl FnOnce(String) -> String) -> Router {
        let folder = tempfile::tempdir().unwrap();
        let at = net::free(net::address(), 3);
        std::fs::write(folder.path().join("router.toml"), change(file(&at, nodes))).unwrap();
        let process = Router::process(&folder);
        let router = Router { folder, at, process };
        router.wait();
        router
    }

    pub(crate) fn process(folder: &TempDir) -> Process {
        let mut command = Command::new(MERIDIAN);
        command.args(["router", "--config"]).arg(folder.path().join("router.toml"));
        Process::logged(&mut command, &folder.path().join("log"))
    }

    /// Replaces the router. Returns the process that is replaced.
    pub(crate) fn replace(&mut self) -> Process {
        let seen = self.log().matches("this router has replaced the one that ran").count();
        let new = self.replacement(&self.folder.path().join("router.toml"));
        let old = std::mem::replace(&mut self.process, new);
        within("the new router has taken over", SOON, || {
            let log = self.log();
            let is_there = log.matches("this router has replaced the one that ran").count() > seen;
            if is_there { Ok(()) } else { Err(log) }
        });
        old
    }

    pub(crate) fn replacement(&self, config: &Path) -> Process {
        let mut command = Command::new(MERIDIAN);
        command.args(["router", "--replace", "--config"]).arg(config);
        Process::logged(&mut command, &self.folder.path().join("log"))
    }

    pub(crate) fn start_again(&mut self) {
        self.process.signal(Signal::SIGTERM);
        assert!(self.process.ended(SOON).0.success());
        self.process = Router::process(&self.folder);
        self.wait();
    }

    pub(crate) fn wait(&self) {
        holds("the router runs", SOON, || Call::new("GET", "/readyz").send(self.at[0]).is_ok());
    }

    /// Writes the file and tells the router to read it.
    pub(crate) fn reload(&mut self, text: &str) {
        std::fs::write(self.folder.path().join("router.toml"), text).unwrap();
        self.process.signal(Signal::SIGHUP);
    }

    pub(crate) fn log(&self) -> String {
        let log: PathBuf = self.folder.path().join("log");
        std::fs::read_to_string(log).unwrap()
    }

    pub(crate) fn status(&self) -> Value {
        Call::new("GET", "/v1/admin/status").to(self.at[0]).expect(200).json()
    }

    /// Region and state, in the router's order.
    pub(crate) fn regions(&self) -> Vec<String> {
        let status = self.status();
        let regions = status["regions"].as_array().unwrap().iter();
        regions.map(|one| format!("{} {}", one["region"].as_str().unwrap(), one["state"].as_str().unwrap())).collect()
    }

    pub(crate) fn metrics(&self) -> String {
        Call::new("GET", "/metrics").to(self.at[0]).expect(200).text().to_owned()
    }

    /// The node that answers a client at the edge.
    pub(crate) fn answered(&self, client: &str) -> String {
        Call::new("GET", "/").header("X-Forwarded-For", client).to(self.at[1]).expect(200).text().to_owned()
    }

    /// Whether DNS sends a client to this node.
    pub(crate) fn resolves(&self, client: &str, node: &FakeNode) -> bool {
        dns::addresses(self.at[2], "checkin.meridian.test.", client) == [node.address.ip()]
    }
}

/// The beginning of the configuration of a router with an admin listener and an edge.
pub(crate) fn head(admin: SocketAddr, edge: SocketAddr) -> String {
    format!(
        r#"
        name = "router-1"
        data = "store"
        [admin]
        listen = "{admin}"
        [edge]
        listen = "{edge}"
        trusted_proxies = ["127.0.0.0/8"]
        "#
    )
}

/// A configuration with these nodes, each its own region. Regions return at once, and a node that is slow on a busy machine
/// is not down.
pub(crate) fn file(at: &[SocketAddr], nodes: &[&FakeNode]) -> String {
    let mut text = head(at[0], at[1]);
    text.push_str(&format!(
        r#"
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
        at[2]
    ));
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

/// Begins a request that its node holds; the answer is read by the returned closure.
pub(crate) fn hold(edge: SocketAddr, address: &str) -> impl FnOnce() -> client::Answer {
    // The edge waits as long as the request says.
    let call = Call::new("GET", "/held?wait=30s").header("X-Forwarded-For", address);
    let mut stream = client::connect(edge).unwrap();
    std::io::Write::write_all(&mut stream, &call.render("meridian.test")).unwrap();
    move || client::read(&mut stream).unwrap()
}
