//! A running router reads its configuration file again: some keys are taken up, and the others wait for the process that
//! replaces it (`meridian router --replace`).
//!
//! Regions, nodes and how they are found and trusted, policy, overrides, database, health rules and the bounds of the TTL
//! are taken up. Listeners, the data folder, names and everything else that sockets, connections and other routers depend
//! on need another process: their old values stay, and their keys are named. Certificates and operators need neither,
//! because their files are looked at again and again.
//!
//! # Invariants
//! - The new configuration and the fields that are compared are written out. So a new field does not compile before it
//!   is decided whether a running router takes it up.

use super::RouterConfig;
use crate::dns::DnsConfig;
use crate::edge::EdgeConfig;

impl RouterConfig {
    /// This configuration with what can be taken up of a new one, and the keys whose new values need a restart.
    #[must_use]
    pub fn taking_up(&self, new: RouterConfig) -> (RouterConfig, Vec<&'static str>) {
        let RouterConfig {
            name, region, data, pid_file, admin, operators, access_log, key_file, peers, dns, edge, ..
        } = self;
        let mut keys = changed(&[
            ("name", new.name == *name),
            ("region", new.region == *region),
            ("data", new.data == *data),
            ("pid_file", new.pid_file == *pid_file),
            ("admin.listen", new.admin == *admin),
            ("admin.operators", new.operators == *operators),
            ("log.access", new.access_log == *access_log),
            ("peers.key_file", new.key_file == *key_file),
            ("peers.routers", new.peers == *peers),
            ("dns", new.dns.is_some() == dns.is_some()),
            ("edge", new.edge.is_some() == edge.is_some()),
        ]);
        if let (Some(old), Some(new)) = (dns, &new.dns) {
            keys.extend(changed_dns(old, new));
        }
        if let (Some(old), Some(new)) = (edge, &new.edge) {
            keys.extend(changed_edge(old, new));
        }
        // The bounds are keys of `[dns]`; without the table there are only the defaults.
        let ttl = if new.dns.is_some() == dns.is_some() { new.ttl } else { self.ttl };
        let taken = RouterConfig {
            name: name.clone(),
            region: region.clone(),
            data: data.clone(),
            pid_file: pid_file.clone(),
            admin: admin.clone(),
            operators: operators.clone(),
            access_log: access_log.clone(),
            key_file: key_file.clone(),
            peers: peers.clone(),
            dns: dns.clone(),
            edge: edge.clone(),
            ttl,
            database: new.database,
            overrides: new.overrides,
            policy: new.policy,
            health: new.health,
            nodes: new.nodes,
            fleet: new.fleet,
        };
        (taken, keys)
    }
}

fn changed_dns(old: &DnsConfig, new: &DnsConfig) -> Vec<&'static str> {
    let DnsConfig {
        listen,
        zone,
        service,
        hostmaster,
        nameservers,
        records,
        threads,
        // The control plane keeps these bounds, so they are taken up.
        ttl_min: _,
        ttl_max: _,
        static_ttl,
        negative_ttl,
        regions_per_answer,
        nsid,
        edns_udp_size,
        cookie_secret_file,
        cookie_secrets,
        dnssec_keys,
        signer,
        explain_to,
        rate_limit,
        connections,
        tls,
    } = old;
    changed(&[
        ("dns.listen", new.listen == *listen),
        ("dns.zone", new.zone == *zone),
        ("dns.service", new.service == *service),
        ("dns.hostmaster", new.hostmaster == *hostmaster),
        ("dns.nameservers", new.nameservers == *nameservers),
        ("dns.records", new.records == *records),
        ("dns.threads", new.threads == *threads),
        ("dns.static_ttl_s", new.static_ttl == *static_ttl),
        ("dns.negative_ttl_s", new.negative_ttl == *negative_ttl),
        ("dns.regions_per_answer", new.regions_per_answer == *regions_per_answer),
        ("dns.nsid", new.nsid == *nsid),
        ("dns.edns_udp_size", new.edns_udp_size == *edns_udp_size),
        // Random secrets differ each time that the configuration is read.
        (
            "dns.cookie_secret_file",
            new.cookie_secret_file == *cookie_secret_file
                && (new.cookie_secrets == *cookie_secrets || cookie_secret_file.is_none()),
        ),
        ("dns.dnssec_keys", new.dnssec_keys == *dnssec_keys && new.signer == *signer),
        ("dns.explain_to", new.explain_to == *explain_to),
        ("dns.rate_limit", new.rate_limit == *rate_limit),
        ("dns.connections", new.connections == *connections),
        ("dns.tls", new.tls == *tls),
    ])
}

fn changed_edge(old: &EdgeConfig, new: &EdgeConfig) -> Vec<&'static str> {
    let EdgeConfig {
        listen,
        tls,
        trusted_proxies,
        name,
        balance,
        sticky,
        secret,
        secret_file,
        limits,
        timeouts,
        retry,
        breaker,
        rate_limit,
        cache,
        capacity_limit,
        hedge_after,
    } = old;
    changed(&[
        ("edge.listen", new.listen == *listen),
        ("edge.tls", new.tls == *tls),
        ("edge.trusted_proxies", new.trusted_proxies == *trusted_proxies),
        ("edge.name", new.name == *name),
        ("edge.balance", new.balance == *balance),
        ("edge.sticky", new.sticky == *sticky),
        // A random key differs each time that the configuration is read.
        ("edge.secret_file", new.secret_file == *secret_file && (new.secret == *secret || secret_file.is_none())),
        ("edge.limits", new.limits == *limits),
        ("edge.timeouts", new.timeouts == *timeouts),
        ("edge.retry", new.retry == *retry),
        ("edge.breaker", new.breaker == *breaker),
        ("edge.rate_limit", new.rate_limit == *rate_limit),
        ("edge.cache", new.cache == *cache),
        ("edge.capacity_limit", new.capacity_limit == *capacity_limit),
        ("edge.hedge_after_ms", new.hedge_after == *hedge_after),
    ])
}

fn changed(same: &[(&'static str, bool)]) -> Vec<&'static str> {
    same.iter().filter(|(_, same)| !same).map(|(key, _)| *key).collect()
}
