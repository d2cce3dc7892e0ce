//! The nodes and routers of a deployment on one machine, with their listeners and files.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use node::config::{
    AdminSection, BackupSection, DrillsSection, FaultsSection, HttpSection, LimitsSection, ListenSection, NodeConfig,
    NodeFile, PeerSection, RegistrySection, ReplicationSection, StorageSection, TlsSection,
};
use replication::{NodeName, RegionId};
use service::access_log::LogSection;
use service::config::PositionSection;

use super::addresses::{Addresses, RouterAddresses};
use super::settings::{REGIONS, Settings};
use crate::support::{deployment, shell};

/// A whole deployment.
pub(super) struct Layout {
    /// The folder of the deployment, as an absolute path.
    pub(super) data: PathBuf,
    /// All nodes: first the first node of every region, then the second, and so on.
    pub(super) nodes: Vec<NodePlace>,
    pub(super) routers: Vec<RouterPlace>,
    /// The number of regions.
    pub(super) regions: usize,
    engine: node::config::Engine,
}

/// One process and its folder.
#[derive(Clone, Debug)]
pub(super) struct Process {
    /// Its name, which is also that of its folder.
    pub(super) name: NodeName,
    /// `DIR/<name>`.
    pub(super) folder: PathBuf,
    /// The command that runs it: `node` or `router`.
    pub(super) role: &'static str,
    /// The listener that says whether it is ready.
    pub(super) probed: SocketAddr,
}

pub(super) struct NodePlace {
    pub(super) process: Process,
    pub(super) region: RegionId,
    /// Public listener.
    pub(super) public: SocketAddr,
    /// Public listener with TLS, for the routers.
    pub(super) public_tls: SocketAddr,
    /// Replication listener.
    pub(super) replication: SocketAddr,
    /// Admin listener.
    pub(super) admin: SocketAddr,
    position: PositionSection,
}

pub(super) struct RouterPlace {
    pub(super) process: Process,
    /// HTTP edge, DNS and admin listener.
    pub(super) at: RouterAddresses,
}

impl NodePlace {
    /// Latitude and longitude of its region.
    pub(super) fn coordinates(&self) -> (f64, f64) {
        (self.position.latitude, self.position.longitude)
    }
}

impl Process {
    /// Its configuration file.
    pub(super) fn config(&self) -> PathBuf {
        self.folder.join(format!("{}.toml", self.role))
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The file by which a drill says when `up` starts the process again.
    pub(super) fn return_file(&self) -> PathBuf {
        deployment::return_file(&self.folder)
    }

    /// The command that starts it again by hand.
    pub(super) fn start_line(&self) -> String {
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("meridian"));
        shell::line(&shell::word(program), [OsStr::new(self.role), OsStr::new("--config"), self.config().as_os_str()])
    }

    /// The file with its process id.
    pub(super) fn pid_file(&self) -> PathBuf {
        self.folder.join("pid")
    }
}

impl Layout {
    /// The deployment with these settings at these addresses.
    pub(super) fn new(data: &Path, settings: &Settings, addresses: &Addresses) -> Self {
        let mut nodes = Vec::new();
        for k in 1..=settings.nodes {
            for (i, (region, latitude, longitude)) in (1..=settings.regions).zip(REGIONS) {
                if settings.removed.iter().any(|removed| removed.as_str() == region) {
                    continue;
                }
                let name = if settings.nodes == 1 { region.to_owned() } else { format!("{region}-{k}") };
                // The names above are valid labels, also with a number.
                let (Ok(region), Ok(label)) = (region.parse(), name.parse()) else { continue };
                let [public, replication, admin, public_tls] = addresses.of(i, k);
                let process = Process { name: label, folder: data.join(name), role: "node", probed: public };
                let position = PositionSection { latitude, longitude };
                nodes.push(NodePlace { process, region, public, public_tls, replication, admin, position });
            }
        }
        let routers = (1..=settings.routers).filter_map(|r| {
            let name = format!("router-{r}");
            let at = addresses.of_router(r);
            let process =
                Process { name: name.parse().ok()?, folder: data.join(name), role: "router", probed: at.admin };
            Some(RouterPlace { process, at })
        });
        let engine = settings.engine;
        let regions = nodes.iter().map(|node| &node.region).collect::<BTreeSet<_>>().len();
        Self { data: data.to_owned(), nodes, routers: routers.collect(), regions, engine }
    }

    /// All processes: first the nodes, then the routers.
    pub(super) fn processes(&self) -> impl Iterator<Item = &Process> {
        self.nodes.iter().map(|node| &node.process).chain(self.routers.iter().map(|router| &router.process))
    }

    /// The address of the service: the router's, or the first node's if there is no router.
    pub(super) fn service(&self) -> SocketAddr {
        self.routers.first().map_or(self.nodes[0].public, |router| router.at.edge)
    }

    /// The file with the secret that the routers share.
    pub(super) fn router_key(&self) -> PathBuf {
        self.data.join("router-key")
    }

    /// The file with the key that signs the cookie of the owners' console.
    pub(super) fn console_key(&self) -> PathBuf {
        self.data.join("console-key")
    }

    /// The file with the operators of the deployment.
    pub(super) fn operators(&self) -> PathBuf {
        self.data.join("operators.toml")
    }

    /// The certificates' folder.
    pub(super) fn certs(&self) -> PathBuf {
        self.data.join("certs")
    }

    /// The first node of a region, counted from 1; that of the last region if there are fewer.
    pub(super) fn region(&self, number: usize) -> &NodePlace {
        &self.nodes[number.clamp(1, self.regions) - 1]
    }

    /// The configuration file of a node.
    pub(super) fn file(&self, node: &NodePlace) -> NodeFile {
        let certs = Path::new("../certs");
        let peers = self.nodes.iter().filter(|peer| peer.process.name != node.process.name).map(|peer| PeerSection {
            name: peer.process.name.clone(),
            region: peer.region.clone(),
            address: peer.replication.to_string(),
            position: Some(peer.position),
        });
        NodeFile {
            region: node.region.clone(),
            name: Some(node.process.name.clone()),
            data: "store".into(),
            pid_file: Some("pid".into()),
            position: node.position,
            listen: ListenSection {
                public: node.public.into(),
                public_tls: Some(node.public_tls.into()),
                replication: node.replication,
                admin: node.admin.into(),
            },
            tls: TlsSection {
                ca: certs.join("ca.pem"),
                certificate: certs.join(format!("{}.pem", node.process.name)),
                key: certs.join(format!("{}.key", node.process.name)),
                revoked: Some(certs.join("crl.pem")),
                public: None,
            },
            storage: StorageSection { engine: self.engine, ..StorageSection::default() },
            replication: ReplicationSection::default(),
            registry: RegistrySection {
                policy: "development".to_owned(),
                policies: None,
                public_url: Some(format!("http://{}", self.service())),
                console_keys: vec![self.console_key()],
                ..RegistrySection::default()
            },
            http: HttpSection::default(),
            limits: LimitsSection::default(),
            // Drills are what a deployment on one machine is for.
            faults: FaultsSection { enabled: true },
            admin: AdminSection { operators: Some(self.operators()), ..AdminSection::default() },
            backup: BackupSection::default(),
            log: LogSection::default(),
            drills: DrillsSection::default(),
            peers: peers.collect(),
        }
    }
}

/// The nodes below `data` that were added and are to be started: those with a configuration and a file that says so.
pub(super) fn added(data: &Path) -> Vec<Process> {
    let entries = std::fs::read_dir(data).into_iter().flatten().flatten();
    let process = |folder: PathBuf| {
        let name = folder.file_name()?.to_str()?.parse().ok()?;
        if !folder.join("node.toml").is_file() || !deployment::return_file(&folder).is_file() {
            return None;
        }
        let probed = NodeConfig::load(&folder.join("node.toml")).ok()?.listen.public.first();
        Some(Process { name, folder, role: "node", probed })
    };
    entries.filter_map(|entry| process(entry.path())).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use node::config::Engine;

    use super::super::addresses::Addresses;
    use super::super::settings::Settings;
    use super::{Layout, NodeConfig};

    fn layout(data: &Path, regions: u8, nodes: u8, aliased: bool) -> Layout {
        let settings = Settings { regions, nodes, routers: 1, engine: Engine::Fjall, removed: Vec::new() };
        Layout::new(data, &settings, &Addresses { aliased, base_port: 7080, dns_port: 7053, regions, nodes })
    }

    #[test]
    fn places_are_as_documented() {
        let one = layout(Path::new("/d"), 3, 1, true);
        assert_eq!(one.nodes[2].process.name.as_str(), "ap-southeast");
        assert_eq!(one.nodes[2].public.to_string(), "127.0.1.3:7080");
        assert_eq!(one.nodes[2].admin.to_string(), "127.0.1.3:7082");
        let two = layout(Path::new("/d"), 2, 2, true);
        assert_eq!(two.nodes[3].process.folder, Path::new("/d/us-east-2"));
        assert_eq!(two.nodes[3].replication.to_string(), "127.0.2.2:7081");
        let shared = layout(Path::new("/d"), 2, 2, false);
        let ports: Vec<String> = shared.nodes.iter().map(|node| node.public.to_string()).collect();
        assert_eq!(ports, ["127.0.0.1:7090", "127.0.0.1:7100", "127.0.0.1:7110", "127.0.0.1:7120"]);
    }

    #[test]
    fn the_line_that_starts_a_process_again_is_one_for_a_shell() {
        let data = Path::new("/home/O'Neil/my $data; x");
        let layout = layout(data, 1, 1, true);
        for process in layout.processes() {
            let words = shlex::split(&process.start_line()).expect("words");
            let config = process.config().display().to_string();
            assert_eq!(words[1..], [process.role, "--config", config.as_str()]);
        }
    }

    #[test]
    fn every_node_reads_the_file_that_is_written_for_it() {
        let folder = tempfile::tempdir().unwrap();
        for (nodes, aliased) in [(1, true), (2, true), (2, false)] {
            let layout = layout(folder.path(), 5, nodes, aliased);
            for node in &layout.nodes {
                std::fs::create_dir_all(&node.process.folder).unwrap();
                std::fs::write(node.process.config(), toml::to_string(&layout.file(node)).unwrap()).unwrap();
                let config = NodeConfig::load(&node.process.config()).unwrap();
                assert_eq!(config.peers.len(), layout.nodes.len() - 1);
                assert_eq!(config.pid_file, Some(node.process.pid_file()));
            }
        }
    }
}
