//! Turns the written form into the checked one: checks bounds of single values, then contradictions between them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::RegionId;
use service::config::{self, Listen};

use super::{
    HealthSection, NodeSection, NodesConfig, NodesSection, OverrideSection, Peer, PeersSection, PolicySection,
    RegionSection, ResolveRules, RouterConfig, RouterFile, ValueError,
};
use crate::connector::TrustFiles;
use crate::dns::{DnsConfig, DnsSection};
use crate::edge::EdgeConfig;
use crate::endpoint::Endpoint;
use crate::fleet::{Fleet, Node, Region, RegionIndex};
use crate::health::HealthRules;
use crate::location::{Country, Override, Target};
use crate::policy::{Failover, Latency, LatencyRow, Nearest, Policy, Spill, Weighted};

/// Checks a whole file whose relative paths count from `folder`.
pub(super) fn router(file: RouterFile, folder: &Path) -> Result<RouterConfig, ValueError> {
    let fleet = fleet(file.regions)?;
    let mut listeners: Vec<(&'static str, &Listen)> = vec![("admin.listen", &file.admin.listen)];
    if let Some(edge) = &file.edge {
        listeners.push(("edge.listen", &edge.listen));
        listeners.extend(edge.tls.as_ref().map(|tls| ("edge.tls.listen", &tls.listen)));
    }
    if let Some(dns) = &file.dns {
        listeners.push(("dns.listen", &dns.listen));
        listeners.extend(dns.tls.as_ref().map(|tls| ("dns.tls.listen", &tls.listen)));
    }
    let addresses = listeners.iter().flat_map(|(key, listen)| listen.all().iter().map(|address| (*key, *address)));
    config::distinct(&addresses.collect::<Vec<_>>())?;
    for address in file.admin.listen.all() {
        config::admin("admin.listen", *address, file.admin.operators.is_some())?;
    }
    if file.dns.is_none() && file.edge.is_none() {
        return Err(ValueError::NothingToDo);
    }
    let seconds =
        |dns: &DnsSection| (Duration::from_secs(dns.ttl_min_s.into()), Duration::from_secs(dns.ttl_max_s.into()));
    let ttl = file.dns.as_ref().map_or((Duration::from_secs(5), Duration::from_mins(1)), seconds);
    // Without a name of its own, DNS tells that of the router.
    let named = |dns: DnsSection| DnsSection { nsid: dns.nsid.or_else(|| Some(file.name.to_string())), ..dns };
    let dns = file.dns.map(|dns| DnsConfig::check(named(dns), folder)).transpose()?;
    for (index, region) in fleet.regions.iter().enumerate() {
        if dns.as_ref().is_some_and(|dns| !dns.takes_region(&region.name)) {
            return Err(ValueError::RegionName {
                key: format!("regions[{index}].name"),
                name: region.name.to_string(),
            });
        }
    }
    if let Some(region) = &file.region {
        find(&fleet, "region", region)?;
    }
    Ok(RouterConfig {
        data: config::path("data", &file.data, folder)?,
        pid_file: file.pid_file.map(|path| config::path("pid_file", &path, folder)).transpose()?,
        admin: file.admin.listen,
        operators: file.admin.operators.map(|path| config::path("admin.operators", &path, folder)).transpose()?,
        access_log: file.log.access.map(|path| config::path("log.access", &path, folder)).transpose()?,
        dns,
        ttl,
        edge: file.edge.map(|edge| EdgeConfig::check(edge, folder)).transpose()?,
        database: file.location.database.map(|path| config::path("location.database", &path, folder)).transpose()?,
        overrides: overrides(file.location.overrides, &fleet)?,
        policy: policy(file.policy, &fleet)?,
        health: health(&file.health)?,
        key_file: key_file(&file.peers, folder)?,
        peers: peers(file.peers, file.name.as_str(), &fleet)?,
        nodes: nodes(file.nodes, folder)?,
        name: file.name,
        region: file.region.map(String::from),
        fleet: Arc::new(fleet),
    })
}

fn find(fleet: &Fleet, key: impl Into<String>, region: &RegionId) -> Result<RegionIndex, ValueError> {
    let missing = || ValueError::NoSuchRegion { key: key.into(), name: region.to_string() };
    fleet.find(region.as_str()).ok_or_else(missing)
}

fn fleet(written: Vec<RegionSection>) -> Result<Fleet, ValueError> {
    config::range("regions (their number)", written.len() as f64, 1.0, Fleet::MAX_REGIONS as f64)?;
    let mut names = BTreeSet::new();
    let mut nodes = BTreeSet::new();
    let mut regions = Vec::with_capacity(written.len());
    for (index, region) in written.into_iter().enumerate() {
        let key = format!("regions[{index}]");
        if !names.insert(region.name.clone()) {
            return Err(ValueError::Twice { key: format!("{key}.name"), name: region.name.to_string() });
        }
        if region.nodes.is_empty() {
            return Err(config::ValueError::Empty { key: format!("{key}.nodes") }.into());
        }
        for node in &region.nodes {
            config::range(format!("{key}.nodes.weight"), node.weight.into(), 1.0, 1_000.0)?;
            if !nodes.insert(node.name.clone()) {
                return Err(ValueError::Twice { key: format!("{key}.nodes.name"), name: node.name.to_string() });
            }
        }
        let capacity = region
            .capacity
            .map(|capacity| config::range(format!("{key}.capacity"), capacity, 0.001, 1e9))
            .transpose()?;
        regions.push(Region {
            position: region.position.check(&format!("{key}.position"))?,
            weight: config::range(format!("{key}.weight"), region.weight, 0.001, 1e6)?,
            capacity,
            nodes: region.nodes.into_iter().map(|one| node(one, &key)).collect::<Result<_, _>>()?,
            name: region.name,
        });
    }
    Ok(Fleet { regions })
}

/// `region` is the key of its region.
fn node(written: NodeSection, region: &str) -> Result<Node, ValueError> {
    let key = format!("{region}.nodes");
    let (host, listener) = match (written.https, written.http) {
        (Some(host), None) => (host, "https"),
        (None, Some(host)) => (host, "http"),
        (https, _) => return Err(ValueError::Listener { key, has_both: https.is_some() }),
    };
    if let Some(address) = host.literal().filter(|address| address.ip().is_unspecified()) {
        return Err(ValueError::NoAddress { key: format!("{key}.{listener}"), address });
    }
    let bad_name = |name: Option<String>| ValueError::ServerName { key: key.clone(), name: name.unwrap_or_default() };
    let at = match (listener, written.server_name) {
        ("https", name) => Endpoint::tls(host, name.as_deref(), &written.name).map_err(|_| bad_name(name))?,
        (_, None) => Endpoint::plain(host),
        (_, name) => return Err(bad_name(name)),
    };
    let addresses = match written.addresses {
        // Those of a name are known when it has resolved.
        none if none.is_empty() => at.sockets().iter().map(SocketAddr::ip).collect(),
        given => given,
    };
    Ok(Node { name: written.name, at, addresses, weight: written.weight })
}

fn nodes(written: NodesSection, folder: &Path) -> Result<NodesConfig, ValueError> {
    if written.ca.is_none() && written.revoked.is_some() {
        return Err(ValueError::RevokedAlone);
    }
    let file = |key: &str, path: Option<PathBuf>| path.map(|path| config::path(key, &path, folder)).transpose();
    let every = config::whole("nodes.resolve_every_s", written.resolve_every_s, 1, 3_600)?;
    Ok(NodesConfig {
        trust: TrustFiles { ca: file("nodes.ca", written.ca)?, revoked: file("nodes.revoked", written.revoked)? },
        resolve: ResolveRules { every: Duration::from_secs(every), servers: written.resolvers },
    })
}

fn overrides(written: Vec<OverrideSection>, fleet: &Fleet) -> Result<Vec<Override>, ValueError> {
    let checked = written.into_iter().enumerate().map(|(index, one)| {
        let key = format!("location.overrides[{index}]");
        let to = match (one.position, one.region) {
            (Some(at), None) => Target::Position(at.check(&format!("{key}.position"))?),
            (None, Some(region)) => Target::Region(find(fleet, format!("{key}.region"), &region)?),
            _ => return Err(ValueError::OverrideUnclear { index }),
        };
        Ok(Override { network: one.network, to })
    });
    checked.collect()
}

fn policy(written: PolicySection, fleet: &Fleet) -> Result<Arc<dyn Policy>, ValueError> {
    Ok(match written {
        PolicySection::Nearest {} => Arc::new(Nearest),
        PolicySection::Weighted {} => Arc::new(Weighted),
        PolicySection::Spill { limit } => {
            Arc::new(Spill { limit: config::range("policy.spill.limit", limit, 0.01, 1.0)? })
        }
        PolicySection::Failover { order } => {
            let order = order.iter().map(|region| find(fleet, "policy.failover.order", region));
            let order = order.collect::<Result<Vec<_>, _>>()?;
            let missing = fleet.indices().find(|region| !order.contains(region));
            if let Some(missing) = missing {
                return Err(ValueError::OrderIncomplete { missing: fleet.region(missing).name.to_string() });
            }
            if order.len() > fleet.regions.len() {
                return Err(ValueError::Twice { key: "policy.failover.order".to_owned(), name: "a region".to_owned() });
            }
            Arc::new(Failover { order })
        }
        PolicySection::Latency { table } => {
            let rows = table.into_iter().map(|(code, to)| {
                let from = Country::new(&code).ok_or(ValueError::NoSuchCountry { code: code.clone() })?;
                let to = to.iter().map(|(region, ms)| {
                    let key = format!("policy.latency.table.{code}.{region}");
                    Ok((find(fleet, key.as_str(), region)?, config::range(key.as_str(), *ms, 0.0, 60_000.0)?))
                });
                Ok(LatencyRow { from, to: to.collect::<Result<_, ValueError>>()? })
            });
            Arc::new(Latency { table: rows.collect::<Result<_, ValueError>>()? })
        }
    })
}

fn health(written: &HealthSection) -> Result<HealthRules, ValueError> {
    let whole = |key: &str, value: u64, min: u64, max: u64| {
        config::range(format!("health.{key}"), value as f64, min as f64, max as f64).map(|_| value)
    };
    let count = |key: &str, value: u64| whole(key, value, 1, 100).map(|value| value as u32);
    let interval = whole("interval_ms", written.interval_ms, 50, 60_000)?;
    // If a probe could outlast the interval, three failures would take as long as three timeouts.
    let timeout = whole("timeout_ms", written.timeout_ms, 10, interval)?;
    Ok(HealthRules {
        interval: Duration::from_millis(interval),
        timeout: Duration::from_millis(timeout),
        down_after: count("down_after", written.down_after)?,
        ok_after: count("ok_after", written.ok_after)?,
        up_after: count("up_after", written.up_after)?,
        hold_down: Duration::from_secs(whole("hold_down_s", written.hold_down_s, 0, 3_600)?),
        ramp: Duration::from_secs(whole("ramp_s", written.ramp_s, 0, 3_600)?),
        ..HealthRules::default()
    })
}

fn key_file(written: &PeersSection, folder: &Path) -> Result<Option<PathBuf>, ValueError> {
    if written.key_file.is_none() && !written.routers.is_empty() {
        return Err(ValueError::KeyFileMissing);
    }
    Ok(written.key_file.as_ref().map(|path| config::path("peers.key_file", path, folder)).transpose()?)
}

fn peers(written: PeersSection, own: &str, fleet: &Fleet) -> Result<Vec<Peer>, ValueError> {
    let mut names = BTreeSet::from([own.to_owned()]);
    let peers = written.routers.into_iter().enumerate().map(|(index, peer)| {
        let key = format!("peers.routers[{index}]");
        if !names.insert(peer.name.to_string()) {
            return Err(ValueError::Twice { key: format!("{key}.name"), name: peer.name.to_string() });
        }
        if let Some(region) = &peer.region {
            find(fleet, format!("{key}.region"), region)?;
        }
        Ok(Peer { name: peer.name, region: peer.region.map(String::from), admin: peer.admin })
    });
    peers.collect()
}
