//! What a running router takes up of a configuration file that it reads again.
//!
//! Regions, nodes, policy, overrides, database, health rules and the bounds of the TTL are taken up. Listeners, the data
//! folder, names and everything else that sockets, connections and other routers depend on need a restart: their old
//! values stay, and their keys are named.

use super::RouterConfig;
use crate::dns::DnsConfig;
use crate::edge::EdgeConfig;

impl RouterConfig {
    /// This configuration with what can be taken up of a new one, and the keys whose new values need a restart.
    #[must_use]
    pub fn taking_up(&self, new: RouterConfig) -> (RouterConfig, Vec<&'static str>) {
        let mut keys = Vec::new();
        let mut differs = |key, differs: bool| {
            if differs {
                keys.push(key);
            }
        };
        differs("name", new.name != self.name);
        differs("region", new.region != self.region);
        differs("data", new.data != self.data);
        differs("pid_file", new.pid_file != self.pid_file);
        differs("admin.listen", new.admin != self.admin);
        differs("admin.operators", new.operators != self.operators);
        differs("peers.key_file", new.key_file != self.key_file);
        differs("peers.routers", new.peers != self.peers);
        match (&self.dns, &new.dns) {
            (Some(old), Some(new)) => keys.extend(dns(old, new)),
            (None, None) => {}
            _ => keys.push("dns"),
        }
        match (&self.edge, &new.edge) {
            (Some(old), Some(new)) => keys.extend(edge(old, new)),
            (None, None) => {}
            _ => keys.push("edge"),
        }
        // The bounds are keys of `[dns]`; without the table there are only the defaults.
        let ttl = if self.dns.is_some() == new.dns.is_some() { new.ttl } else { self.ttl };
        let RouterConfig { database, overrides, policy, health, fleet, .. } = new;
        (RouterConfig { database, overrides, policy, health, fleet, ttl, ..self.clone() }, keys)
    }
}

fn dns(old: &DnsConfig, new: &DnsConfig) -> Vec<&'static str> {
    let same = [
        ("dns.listen", old.listen == new.listen),
        ("dns.zone", old.zone == new.zone),
        ("dns.service", old.service == new.service),
        ("dns.hostmaster", old.hostmaster == new.hostmaster),
        ("dns.nameservers", old.nameservers == new.nameservers),
        ("dns.threads", old.threads == new.threads),
        ("dns.static_ttl_s", old.static_ttl == new.static_ttl),
        ("dns.negative_ttl_s", old.negative_ttl == new.negative_ttl),
        ("dns.edns_udp_size", old.edns_udp_size == new.edns_udp_size),
        ("dns.rate_limit", old.rate_limit == new.rate_limit),
        ("dns.connections", old.connections == new.connections),
        ("dns.tls", old.tls == new.tls),
    ];
    changed(&same)
}

/// The key of the cookie is not compared, because a random one differs each time that a file is read.
fn edge(old: &EdgeConfig, new: &EdgeConfig) -> Vec<&'static str> {
    let same = [
        ("edge.listen", old.listen == new.listen),
        ("edge.tls", old.tls == new.tls),
        ("edge.trusted_proxies", old.trusted_proxies == new.trusted_proxies),
        ("edge.name", old.name == new.name),
        ("edge.balance", old.balance == new.balance),
        ("edge.sticky", old.sticky == new.sticky),
        ("edge.limits", old.limits == new.limits),
        ("edge.timeouts", old.timeouts == new.timeouts),
        ("edge.retry", old.retry == new.retry),
        ("edge.breaker", old.breaker == new.breaker),
        ("edge.rate_limit", old.rate_limit == new.rate_limit),
        ("edge.cache", old.cache == new.cache),
        ("edge.capacity_limit", old.capacity_limit == new.capacity_limit),
    ];
    changed(&same)
}

fn changed(same: &[(&'static str, bool)]) -> Vec<&'static str> {
    same.iter().filter(|(_, same)| !same).map(|(key, _)| *key).collect()
}
