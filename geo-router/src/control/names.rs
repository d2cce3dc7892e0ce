//! Host names of nodes: the addresses to which they lead, asked again and again.
//!
//! # Invariants
//! - A name that does not resolve keeps the addresses that it had last, also over a restart of the router.
//! - Names are asked at a fixed rate, each with a deadline, so a name server that is silent adds no load.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use api::HostPort;
use serde::{Deserialize, Serialize};
use service::resolve::resolve;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Observation;
use crate::config::ResolveRules;
use crate::endpoint::leads_nowhere;
use crate::fleet::{Fleet, Node, Region};
use crate::view::View;

/// How long one name may take.
const LIMIT: Duration = Duration::from_secs(4);

/// The addresses to which names led last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Names(BTreeMap<String, Vec<IpAddr>>);

impl Names {
    /// Takes an answer. Returns whether it is another one than before.
    pub(super) fn take(&mut self, host: String, addresses: Vec<IpAddr>) -> bool {
        let before = self.0.insert(host, addresses.clone());
        before.as_ref() != Some(&addresses)
    }

    /// The hosts of a fleet of which no address was ever known.
    pub(super) fn unknown(&self, fleet: &Fleet) -> BTreeSet<HostPort> {
        wanted(fleet).into_iter().filter(|name| !self.0.contains_key(name.host())).collect()
    }

    /// Takes the addresses of hosts that are not known here.
    pub(super) fn adopt(&mut self, other: Names) {
        for (host, addresses) in other.0 {
            self.0.entry(host).or_insert(addresses);
        }
    }

    /// Forgets what no node of these fleets has.
    pub(super) fn keep(&mut self, fleets: &[&Fleet]) {
        let wanted: BTreeSet<HostPort> = fleets.iter().flat_map(|fleet| wanted(fleet)).collect();
        self.0.retain(|host, _| wanted.iter().any(|one| one.host() == host));
    }

    /// The fleet with the addresses of its nodes. A node that names none for DNS is published with those.
    pub(super) fn fill(&self, fleet: Fleet) -> Fleet {
        let node = |mut node: Node| {
            if let Some(found) = node.at.name().and_then(|name| self.0.get(name.host())) {
                let port = node.at.host().port();
                node.at = node.at.resolved(found.iter().map(|ip| SocketAddr::new(*ip, port)).collect());
                if node.addresses.is_empty() {
                    node.addresses.clone_from(found);
                }
            }
            node
        };
        let region = |region: Region| Region { nodes: region.nodes.into_iter().map(node).collect(), ..region };
        Fleet { regions: fleet.regions.into_iter().map(region).collect() }
    }
}

/// The hosts of a fleet that have to be resolved.
pub(super) fn wanted(fleet: &Fleet) -> BTreeSet<HostPort> {
    fleet.nodes().filter_map(|id| fleet.node(id).at.name().cloned()).collect()
}

/// The addresses of these names, each asked once at the same time, or why there are none.
async fn ask_all(wanted: BTreeSet<HostPort>, servers: &[SocketAddr]) -> Vec<(String, Result<Vec<IpAddr>, String>)> {
    let asked = wanted.into_iter().map(|name| async move {
        let found = match tokio::time::timeout(LIMIT, resolve(&name, servers)).await {
            Ok(Ok(found)) => leading(found.iter().map(SocketAddr::ip).collect()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no name server answers".to_owned()),
        };
        (name.host().to_owned(), found)
    });
    futures_util::future::join_all(asked).await
}

/// The addresses at which a node can be. A name server that blocks a name answers 0.0.0.0, and a router that connects to
/// that reaches itself.
fn leading(found: Vec<IpAddr>) -> Result<Vec<IpAddr>, String> {
    let (nowhere, leading): (Vec<IpAddr>, Vec<IpAddr>) = found.into_iter().partition(leads_nowhere);
    match nowhere.first() {
        Some(ip) if leading.is_empty() => Err(format!("the name server answers {ip}, which leads nowhere")),
        _ => Ok(leading),
    }
}

/// Asks for these names at once, before a view with them. Returns those that have no address, and why. Call it on a
/// blocking thread of a runtime.
pub(super) fn ask_now(
    wanted: BTreeSet<HostPort>,
    servers: &[SocketAddr],
    names: &mut Names,
) -> BTreeMap<String, String> {
    let mut unresolved = BTreeMap::new();
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return unresolved };
    if wanted.is_empty() {
        return unresolved;
    }
    for (host, found) in runtime.block_on(ask_all(wanted, servers)) {
        match found {
            Ok(addresses) => _ = names.take(host, addresses),
            Err(why) => _ = unresolved.insert(host, why),
        }
    }
    unresolved
}

/// Starts the task that asks for the names of the latest view.
pub(super) fn spawn(
    tasks: &mut JoinSet<()>,
    rules: watch::Receiver<ResolveRules>,
    views: watch::Receiver<Arc<View>>,
    events: mpsc::Sender<Observation>,
) {
    tasks.spawn(async move {
        let mut round = Instant::now();
        loop {
            tokio::time::sleep_until(round).await;
            let rules = rules.borrow().clone();
            round = Instant::now() + rules.every;
            let wanted = wanted(&views.borrow().fleet);
            for (host, found) in ask_all(wanted, &rules.servers).await {
                if events.send(Observation::Resolved { host, found }).await.is_err() {
                    return;
                }
            }
        }
    });
}

/// Tells operators that a name does not resolve.
pub(super) fn told_unresolved(host: &str, why: &str) {
    tracing::warn!(
        host,
        why,
        action = "check the name and the name servers (`nodes.resolvers`, otherwise those of the system)",
        "a host name of a node does not resolve: the node is reached at the addresses known before, if there are any"
    );
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use api::Position;

    use super::Names;
    use crate::endpoint::Endpoint;
    use crate::fleet::{Fleet, Node, Region};

    fn fleet(host: &str, addresses: &[&str]) -> Fleet {
        let node = Node {
            name: "a".parse().unwrap(),
            at: Endpoint::plain(host.parse().unwrap()),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            weight: 1,
        };
        let position = Position { latitude: 0.0, longitude: 0.0 };
        let region = Region { name: "a".parse().unwrap(), position, weight: 1.0, capacity: None, nodes: vec![node] };
        Fleet { regions: vec![region] }
    }

    #[test]
    fn an_address_that_leads_nowhere_is_none() {
        let leading = |found: &[&str]| super::leading(found.iter().map(|ip| ip.parse().unwrap()).collect());
        for nowhere in ["0.0.0.0", "::", "::ffff:0.0.0.0", "224.0.0.1", "ff02::1"] {
            assert!(leading(&[nowhere]).unwrap_err().contains("leads nowhere"), "{nowhere}");
            assert_eq!(leading(&[nowhere, "192.0.2.1"]).unwrap().len(), 1, "{nowhere}");
        }
        assert_eq!(leading(&["127.0.0.1", "::1"]).unwrap().len(), 2);
    }

    #[test]
    fn a_node_is_where_its_name_leads() {
        let mut names = Names::default();
        let found = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert!(
            names.take("a.example".to_owned(), found.clone()) && !names.take("a.example".to_owned(), found.clone())
        );
        let node = names.fill(fleet("a.example:7443", &[])).regions[0].nodes[0].clone();
        let sockets: Vec<SocketAddr> = vec!["192.0.2.1:7443".parse().unwrap(), "[2001:db8::1]:7443".parse().unwrap()];
        assert_eq!((node.at.sockets(), &node.addresses), (&*sockets, &found));
        let published = names.fill(fleet("a.example:7443", &["198.51.100.1"])).regions[0].nodes[0].addresses.clone();
        assert_eq!(published, ["198.51.100.1".parse::<std::net::IpAddr>().unwrap()]);
        assert!(names.fill(fleet("b.example:7443", &[])).regions[0].nodes[0].at.sockets().is_empty());
        names.keep(&[&fleet("b.example:7443", &[]), &fleet("a.example:1", &[])]);
        assert_ne!(names, Names::default());
        names.keep(&[&fleet("b.example:7443", &[])]);
        assert_eq!(names, Names::default());
    }
}
