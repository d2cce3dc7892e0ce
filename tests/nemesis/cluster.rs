//! The node processes of one run. Each reaches its peers through the forwarder.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use node::config::{
    AdminSection, BackupSection, DrillsSection, Engine, FaultsSection, HttpSection, LimitsSection, ListenSection,
    NodeFile, PeerSection, RegistrySection, ReplicationSection, StorageSection, TlsSection,
};
use service::access_log::LogSection;
use service::authority::CertificateAuthority;
use service::config::PositionSection;

use crate::forwarder::Forwarder;
use crate::http::Ask;
use crate::net;
use crate::process::Process;
use crate::settings;

/// The regions, one node each.
pub(crate) const REGIONS: [&str; 3] = ["eu-central", "us-east", "ap-southeast"];

/// One node.
pub(crate) struct Node {
    pub region: &'static str,
    pub public: SocketAddr,
    pub admin: SocketAddr,
    folder: PathBuf,
    process: Option<Process>,
}

/// Makes every node's folder and configuration, and the forwarder between them. Starts nothing.
pub(crate) fn make(folder: &Path, engine: Engine) -> (Vec<Node>, Forwarder) {
    let certificates = CertificateAuthority::create(&folder.join("certs"), false).unwrap();
    let address = net::address();
    let forwarder = Forwarder::new(REGIONS.len());
    let ports: Vec<Vec<SocketAddr>> = REGIONS.iter().map(|_| net::free(address, 3)).collect();
    let mut nodes = Vec::new();
    for (index, region) in REGIONS.iter().enumerate() {
        certificates.issue(&region.parse().unwrap(), false).unwrap();
        let own = folder.join(region);
        std::fs::create_dir(&own).unwrap();
        let mut peers = Vec::new();
        for (other, peer) in REGIONS.iter().enumerate().filter(|(other, _)| *other != index) {
            let listener = TcpListener::bind(net::free(address, 1)[0]).unwrap();
            let address = listener.local_addr().unwrap().to_string();
            forwarder.serve(index, other, listener, ports[other][1]);
            let name = peer.parse().unwrap();
            peers.push(PeerSection { name, region: peer.parse().unwrap(), address, position: None });
        }
        let file = file(region, &ports[index], engine, peers);
        std::fs::write(own.join("node.toml"), toml::to_string(&file).unwrap()).unwrap();
        let (public, admin) = (ports[index][0], ports[index][2]);
        nodes.push(Node { region, public, admin, folder: own, process: None });
    }
    (nodes, forwarder)
}

fn file(region: &str, ports: &[SocketAddr], engine: Engine, peers: Vec<PeerSection>) -> NodeFile {
    let certs = Path::new("../certs");
    NodeFile {
        region: region.parse().unwrap(),
        name: None,
        data: "store".into(),
        pid_file: None,
        position: PositionSection { latitude: 0.0, longitude: 0.0 },
        listen: ListenSection {
            public: ports[0].into(),
            public_tls: None,
            replication: ports[1],
            admin: ports[2].into(),
        },
        tls: TlsSection {
            ca: certs.join("ca.pem"),
            certificate: certs.join(format!("{region}.pem")),
            key: certs.join(format!("{region}.key")),
            revoked: Some(certs.join("crl.pem")),
            public: None,
        },
        storage: StorageSection { engine, ..StorageSection::default() },
        replication: ReplicationSection::default(),
        registry: RegistrySection { policy: "development".to_owned(), ..RegistrySection::default() },
        http: HttpSection::default(),
        // All guests of a run have one address.
        limits: LimitsSection { erasures_per_hour: 1_000_000, ..LimitsSection::default() },
        faults: FaultsSection { enabled: true },
        admin: AdminSection::default(),
        log: LogSection::default(),
        drills: DrillsSection::default(),
        backup: BackupSection::default(),
        peers,
    }
}

impl Node {
    /// Starts the process, unless it runs.
    pub(crate) fn start(&mut self) {
        if self.process.is_none() {
            let mut command = Command::new(settings::binary());
            command.args(["node", "--exit-with-parent", "--config"]).arg(self.folder.join("node.toml"));
            command.env("MERIDIAN_LOG", "info");
            self.process = Some(Process::logged(&mut command, &self.folder.join("log")));
        }
    }

    /// Kills the process, if it runs. Returns whether it did.
    pub(crate) fn kill(&mut self) -> bool {
        let ran = self.process.as_mut().is_some_and(Process::runs);
        // A process is killed when it is dropped.
        self.process = None;
        ran
    }

    /// Sends a signal to the process, if it runs. Returns whether it does.
    pub(crate) fn signal(&mut self, signal: Signal) -> bool {
        let Some(process) = &mut self.process else { return false };
        // It may have ended a moment ago; its id is its own until it is waited for.
        process.runs() && kill(process.pid(), signal).is_ok()
    }

    /// Whether the process has ended by itself. It counts as down from then on.
    pub(crate) fn has_ended(&mut self) -> bool {
        let ended = self.process.as_mut().is_some_and(|process| !process.runs());
        if ended {
            self.process = None;
        }
        ended
    }

    /// Everything that the node has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Why the node is not ready; `None` if it is.
    pub(crate) async fn unready(&self) -> Option<String> {
        match Ask::new("GET", "/readyz").send(self.public, Duration::from_secs(2)).await {
            Ok(answer) if answer.status == 200 => None,
            Ok(answer) => Some(String::from_utf8_lossy(&answer.body).into_owned()),
            Err(error) => Some(format!("{error:?}")),
        }
    }
}
