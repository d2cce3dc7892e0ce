//! The configuration file of a router in a deployment on one machine.

use std::path::Path;

use anyhow::Context as _;
use geo_router::config::{
    AdminSection, HealthSection, LocationSection, NodeSection, NodesSection, PeerSection, PeersSection, PolicySection,
    RegionSection, RouterFile,
};
use geo_router::dns::{DnsSection, NameserverSection};
use geo_router::edge::EdgeSection;
use replication::RegionId;
use service::access_log::LogSection;
use service::config::PositionSection;

use super::layout::{Layout, RouterPlace};

/// The zone that the routers answer for, and the service's name in it.
pub(super) const ZONE: &str = "meridian.test";
pub(super) const SERVICE: &str = "checkin";

impl Layout {
    /// The configuration file of a router.
    pub(super) fn router_file(&self, router: &RouterPlace) -> anyhow::Result<RouterFile> {
        let (key, certs) = (Path::new("../router-key"), Path::new("../certs"));
        let loopback = "127.0.0.0/8".parse().context("a network")?;
        let nameservers = self.routers.iter().enumerate().map(|(index, router)| NameserverSection {
            name: format!("ns{}", index + 1),
            addresses: vec![router.at.dns.ip()],
        });
        let peers = self
            .routers
            .iter()
            .filter(|peer| peer.process.name != router.process.name)
            .map(|peer| PeerSection { name: peer.process.name.clone(), region: None, admin: peer.at.admin });
        Ok(RouterFile {
            name: router.process.name.clone(),
            region: None,
            data: "store".into(),
            pid_file: Some("pid".into()),
            admin: AdminSection { listen: router.at.admin.into(), operators: Some(self.operators()) },
            log: LogSection::default(),
            dns: Some(DnsSection::new(router.at.dns, ZONE, SERVICE, nameservers.collect())),
            // All clients are on this machine, so X-Forwarded-For is used to try out distance.
            edge: Some(EdgeSection {
                trusted_proxies: vec![loopback],
                secret_file: Some(key.into()),
                ..EdgeSection::new(router.at.edge)
            }),
            location: LocationSection::default(),
            policy: PolicySection::default(),
            health: HealthSection::default(),
            peers: PeersSection { key_file: Some(key.into()), routers: peers.collect() },
            nodes: NodesSection {
                ca: Some(certs.join("ca.pem")),
                revoked: Some(certs.join("crl.pem")),
                ..NodesSection::default()
            },
            regions: self.region_sections(),
        })
    }

    fn region_sections(&self) -> Vec<RegionSection> {
        let mut regions: Vec<RegionSection> = Vec::new();
        for node in &self.nodes {
            let section = NodeSection {
                name: node.process.name.clone(),
                https: Some(node.public_tls.into()),
                server_name: None,
                http: None,
                addresses: Vec::new(),
                weight: 1,
            };
            let known = regions.iter_mut().find(|region: &&mut RegionSection| region.name == node.region);
            match known {
                Some(region) => region.nodes.push(section),
                None => regions.push(new_region(&node.region, node.coordinates(), section)),
            }
        }
        regions
    }
}

fn new_region(name: &RegionId, (latitude, longitude): (f64, f64), node: NodeSection) -> RegionSection {
    let position = PositionSection { latitude, longitude };
    RegionSection { name: name.clone(), position, weight: 1.0, capacity: None, nodes: vec![node] }
}

#[cfg(test)]
mod tests {
    use geo_router::config::RouterConfig;
    use node::config::Engine;

    use super::super::addresses::Addresses;
    use super::super::layout::Layout;
    use super::super::settings::Settings;

    #[test]
    fn every_router_reads_the_file_that_is_written_for_it() {
        let folder = tempfile::tempdir().unwrap();
        for (routers, aliased) in [(1, true), (3, true), (3, false)] {
            let settings = Settings { regions: 3, nodes: 2, routers, engine: Engine::Sled, removed: Vec::new() };
            let addresses = Addresses { aliased, base_port: 7080, dns_port: 7053, regions: 3, nodes: 2 };
            let layout = Layout::new(folder.path(), &settings, &addresses);
            std::fs::write(layout.router_key(), "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
                .unwrap();
            std::fs::set_permissions(layout.router_key(), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            for router in &layout.routers {
                std::fs::create_dir_all(&router.process.folder).unwrap();
                let text = toml::to_string(&layout.router_file(router).unwrap()).unwrap();
                std::fs::write(router.process.config(), text).unwrap();
                let config = RouterConfig::load(&router.process.config()).unwrap();
                assert_eq!(config.peers.len(), usize::from(routers) - 1);
                assert_eq!(config.fleet.regions.len(), 3);
                assert!(config.fleet.regions.iter().all(|region| region.nodes.len() == 2));
                let mut nodes = config.fleet.nodes().map(|id| config.fleet.node(id));
                assert!(nodes.all(|node| node.at.server_name().is_some()), "the edge speaks TLS to every node");
            }
        }
    }
}
