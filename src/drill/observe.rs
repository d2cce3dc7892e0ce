//! Looks at the whole deployment, again and again: nodes, routers, DNS, and the requests that each region takes.
//!
//! # Invariants
//! - A look has a time limit, so a process that hangs delays the next look by a second at most.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::client::{Base, Call};
use api::status::{NodeStatus, RouterStatus};
use api::{NodeName, RegionId};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::clients;
use super::dns;
use super::plan::Plan;
use super::site::Site;

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(100);

/// How long one answer may take.
const LIMIT: Duration = Duration::from_secs(1);

/// Largest answer.
const LARGEST: usize = 1024 * 1024;

/// Counters of requests are read so often; rates are between two readings.
const RATES_EVERY: Duration = Duration::from_secs(1);

/// The metric of a node that counts requests.
const REQUESTS: &str = "meridian_http_requests_total";

/// One look. A process that did not answer is missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    /// When the look began, from the start of the drill.
    pub(crate) began: Duration,
    /// When it was complete.
    pub(crate) at: Duration,
    pub(crate) nodes: BTreeMap<NodeName, NodeStatus>,
    pub(crate) routers: BTreeMap<NodeName, RouterStatus>,
    /// The regions that each router's DNS gives to the clients' networks.
    pub(crate) dns: BTreeMap<NodeName, BTreeSet<RegionId>>,
    /// Requests per second of each region, as far as they are known.
    pub(crate) load: BTreeMap<RegionId, f64>,
}

impl Look {
    /// The largest lag between two nodes that both answered and are none of `without`, in seconds.
    pub(crate) fn lag(&self, without: &dyn Fn(&RegionId) -> bool) -> f64 {
        let nodes = self.nodes.values().filter(|node| !without(&node.region));
        let peers = nodes.flat_map(|node| &node.peers).filter(|peer| !without(&peer.region));
        peers.map(|peer| peer.lag_seconds).fold(0.0, f64::max)
    }

    /// The regions about which the routers say different things.
    pub(crate) fn disagreements(&self) -> BTreeSet<RegionId> {
        let mut said: BTreeMap<&RegionId, BTreeSet<bool>> = BTreeMap::new();
        for region in self.routers.values().flat_map(|router| &router.regions) {
            said.entry(&region.region).or_default().insert(region.state.serves());
        }
        said.into_iter().filter(|(_, states)| states.len() > 1).map(|(region, _)| region.clone()).collect()
    }
}

/// What is kept of a look for the report.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Brief {
    pub(crate) at: Duration,
    /// Whether every router that answered takes the disturbed region for out of service.
    pub(crate) routers_know: bool,
    /// Whether no name server that answered leads a client to the disturbed region.
    pub(crate) dns_elsewhere: bool,
    /// Requests per second of each region.
    pub(crate) load: BTreeMap<RegionId, f64>,
}

impl Brief {
    fn of(look: &Look, region: Option<&RegionId>) -> Brief {
        let states = look.routers.values().flat_map(|router| &router.regions);
        let mut states = states.filter(|seen| Some(&seen.region) == region).map(|seen| seen.state.serves()).peekable();
        let mut led = look.dns.values().map(|regions| region.is_some_and(|region| regions.contains(region))).peekable();
        Brief {
            at: look.at,
            routers_know: states.peek().is_some() && !states.any(|serves| serves),
            dns_elsewhere: led.peek().is_some() && !led.any(|led| led),
            load: look.load.clone(),
        }
    }
}

/// The observer's task and its looks.
pub(crate) struct Observer {
    task: JoinHandle<()>,
    /// The latest look.
    pub(crate) latest: watch::Receiver<Arc<Look>>,
    all: Arc<Mutex<Vec<Brief>>>,
}

impl Observer {
    /// Starts to look; times count from `start`.
    pub(crate) fn start(plan: &Plan, site: &Site, start: Instant) -> Observer {
        let (publish, latest) = watch::channel(Arc::default());
        let all = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&all);
        let (site, region) = (Arc::new(site.clone()), plan.region.clone());
        let networks = plan.clients.networks.len();
        let addresses: Arc<[IpAddr]> =
            (0..networks).map(|number| clients::address(&plan.clients.networks, number)).collect();
        let task = tokio::spawn(async move {
            let mut looks = tokio::time::interval(EVERY);
            looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut rates = Rates::default();
            loop {
                looks.tick().await;
                let began = start.elapsed();
                let (look, load) = tokio::join!(look(&site, &addresses), rates.read(&site));
                let look = Look { began, at: start.elapsed(), load, ..look };
                kept.lock().push(Brief::of(&look, region.as_ref()));
                publish.send_replace(Arc::new(look));
            }
        });
        Observer { task, latest, all }
    }

    /// All looks until now, in short.
    pub(crate) fn looks(&self) -> Vec<Brief> {
        self.all.lock().clone()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The answer of one process.
enum Seen {
    Node(NodeName, Box<NodeStatus>),
    Router(NodeName, Box<RouterStatus>),
    Dns(NodeName, Option<RegionId>),
    Nothing,
}

/// Asks all processes at once.
async fn look(site: &Arc<Site>, addresses: &Arc<[IpAddr]>) -> Look {
    let mut asking = JoinSet::new();
    for node in &site.nodes {
        let (name, admin) = (node.name.clone(), node.admin.clone());
        asking
            .spawn(async move { ask(&admin).await.map_or(Seen::Nothing, |status| Seen::Node(name, Box::new(status))) });
    }
    for router in &site.routers {
        let (name, admin) = (router.name.clone(), router.admin.clone());
        asking.spawn(
            async move { ask(&admin).await.map_or(Seen::Nothing, |status| Seen::Router(name, Box::new(status))) },
        );
        for at in 0..addresses.len() {
            let (name, server) = (router.name.clone(), router.dns);
            let (site, addresses) = (Arc::clone(site), Arc::clone(addresses));
            asking.spawn(async move {
                match dns::resolve(server, &site.service, addresses[at]).await {
                    Ok(resolved) => {
                        let node = resolved.addresses.first().and_then(|address| site.at(*address));
                        Seen::Dns(name, node.map(|node| node.region.clone()))
                    }
                    Err(_) => Seen::Nothing,
                }
            });
        }
    }
    let mut look = Look::default();
    while let Some(seen) = asking.join_next().await {
        match seen {
            Ok(Seen::Node(name, status)) => drop(look.nodes.insert(name, *status)),
            Ok(Seen::Router(name, status)) => drop(look.routers.insert(name, *status)),
            Ok(Seen::Dns(name, region)) => look.dns.entry(name).or_default().extend(region),
            Ok(Seen::Nothing) | Err(_) => {}
        }
    }
    look
}

async fn ask<S: DeserializeOwned>(admin: &Base) -> Option<S> {
    Call::get("/v1/admin/status").limits(LIMIT, LARGEST).send(admin).await.ok()?.json().ok()
}

/// Requests per second, from the counters of the nodes.
#[derive(Default)]
struct Rates {
    last: Option<Instant>,
    counts: BTreeMap<NodeName, (Instant, f64)>,
    rates: BTreeMap<NodeName, f64>,
}

impl Rates {
    async fn read(&mut self, site: &Site) -> BTreeMap<RegionId, f64> {
        if self.last.is_none_or(|last| last.elapsed() >= RATES_EVERY) {
            self.last = Some(Instant::now());
            self.count(site).await;
        }
        let mut load = BTreeMap::new();
        for node in &site.nodes {
            if let Some(rate) = self.rates.get(&node.name) {
                *load.entry(node.region.clone()).or_default() += rate;
            }
        }
        load
    }

    /// Reads the counters of all nodes at once.
    async fn count(&mut self, site: &Site) {
        let mut asking = JoinSet::new();
        for node in &site.nodes {
            let (name, admin) = (node.name.clone(), node.admin.clone());
            asking.spawn(async move {
                let answer = Call::get("/metrics").limits(LIMIT, LARGEST).send(&admin).await;
                let answer = answer.ok().filter(|answer| answer.status.is_success());
                (name, answer.map(|answer| requests(&answer.body)), Instant::now())
            });
        }
        while let Some(asked) = asking.join_next().await {
            let Ok((name, count, now)) = asked else { continue };
            let Some(count) = count else {
                // The rate of a node that does not answer is not known, and begins anew when it answers.
                self.rates.remove(&name);
                self.counts.remove(&name);
                continue;
            };
            if let Some((at, before)) = self.counts.get(&name).copied() {
                // A process that was started again counts from 0.
                let more = if count < before { count } else { count - before };
                self.rates.insert(name.clone(), more / (now - at).as_secs_f64());
            }
            self.counts.insert(name, (now, count));
        }
    }
}

/// The sum of one counter in the text format of Prometheus. `prometheus-parse` was passed over: it makes a sample of
/// each of some hundred lines to give this one sum.
fn requests(text: &[u8]) -> f64 {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().filter(|line| line.strip_prefix(REQUESTS).is_some_and(|rest| rest.starts_with('{')));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::requests;

    #[test]
    fn requests_of_all_routes_and_statuses_are_summed() {
        let text =
            b"# HELP meridian_http_requests_total x\nmeridian_http_requests_total{route=\"a b\",status=\"2xx\"} 3\n\
            meridian_http_requests_total{route=\"/\",status=\"5xx\"} 4\nmeridian_http_requests_total_x{a=\"\"} 9\n";
        assert!((requests(text) - 7.0).abs() < 1e-9);
        assert!(requests(b"<html>").abs() < 1e-9);
    }
}
