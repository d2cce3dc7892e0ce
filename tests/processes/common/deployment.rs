//! A deployment of several nodes, each its own process, whose replication links run through proxies.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;
use node::config::{
    AdminSection, BackupSection, DrillsSection, Engine, FaultsSection, HttpSection, LimitsSection, ListenSection,
    NodeFile, PeerSection, RegistrySection, ReplicationSection, StorageSection, TlsSection,
};
use serde_json::Value;
use service::access_log::LogSection;
use service::authority::CertificateAuthority;
use service::certificates::CertificateSection;
use service::config::PositionSection;
use tempfile::TempDir;

use super::client::{Answer, Call};
use super::guest::Venue;
use super::process::Process;
use super::proxy::Proxy;
use super::small_disk::SmallDisk;
use super::wait::{holds, within};
use super::{MERIDIAN, net};

/// How long a node may take to be ready, on a busy machine.
const READY: Duration = Duration::from_secs(30);
/// How long a node may take to stop.
const STOPPED: Duration = Duration::from_secs(15);
/// How long all regions may take to agree.
pub(crate) const AGREED: Duration = Duration::from_secs(30);

const REGIONS: [&str; 5] = ["eu-central", "us-east", "ap-southeast", "sa-east", "ap-northeast"];

/// Several nodes, one in each region. Everything is removed when this is dropped.
pub(crate) struct Deployment {
    pub nodes: Vec<Node>,
    /// The two nodes that each link joins, and the proxy between them.
    links: Vec<(usize, usize, Proxy)>,
    folder: TempDir,
}

/// One node.
pub(crate) struct Node {
    pub region: &'static str,
    pub public: SocketAddr,
    /// Its public listener with TLS.
    pub public_tls: SocketAddr,
    pub replication: SocketAddr,
    pub admin: SocketAddr,
    pub folder: PathBuf,
    /// Variables of its environment besides the usual ones.
    pub environment: Vec<(&'static str, PathBuf)>,
    log_filter: &'static str,
    process: Option<Process>,
}

impl Deployment {
    /// This number of nodes with the development pack, all ready.
    pub(crate) fn start(nodes: usize) -> Deployment {
        Deployment::with(&vec!["development"; nodes], "info")
    }

    /// One node for each of these policy packs, with this log filter, all ready.
    pub(crate) fn with(packs: &[&str], log_filter: &'static str) -> Deployment {
        Deployment::make(packs, log_filter, |_| {})
    }

    /// One node with the development pack and these limits.
    pub(crate) fn limited(limits: &LimitsSection) -> Deployment {
        Deployment::make(&["development"], "info", |file| file.limits.clone_from(limits))
    }

    /// One node with an access log.
    pub(crate) fn logged() -> Deployment {
        Deployment::make(&["development"], "info", |file| file.log.access = Some("access.log".into()))
    }

    /// One node with this engine.
    pub(crate) fn with_engine(engine: Engine) -> Deployment {
        Deployment::make(&["development"], "info", |file| file.storage.engine = engine)
    }

    /// One node with this registry.
    pub(crate) fn with_registry(registry: RegistrySection) -> Deployment {
        Deployment::make(&["development"], "info", |file| file.registry = registry.clone())
    }

    /// This number of nodes that operators may disturb, with the development pack, all ready.
    pub(crate) fn disturbed(nodes: usize) -> Deployment {
        Deployment::make(&vec!["development"; nodes], "info", |file| file.faults.enabled = true)
    }

    /// This number of nodes on this engine, with the development pack, all ready.
    pub(crate) fn on(engine: Engine, nodes: usize) -> Deployment {
        Deployment::make(&vec!["development"; nodes], "info", |file| file.storage.engine = engine)
    }

    /// This number of nodes, with the development pack, all ready. After a start they wait for their peers for nine
    /// seconds instead of three before they go on without them.
    pub(crate) fn patient(nodes: usize) -> Deployment {
        Deployment::make(&vec!["development"; nodes], "info", |file| {
            (file.replication.heartbeat_ms, file.replication.relay_after_ms) = (1_500, 6_000);
        })
    }

    /// So many nodes; the data of the first lies on a file system of its own, of so many MiB. `None` where the test may not mount one.
    pub(crate) fn on_a_small_disk(
        nodes: usize,
        mib: u32,
        configure: impl Fn(&mut StorageSection),
    ) -> Option<(Deployment, SmallDisk)> {
        let folder = tempfile::tempdir().unwrap();
        let disk = SmallDisk::mount(&folder.path().join(REGIONS[0]).join("store"), mib)?;
        let deployment = Deployment::make_in(folder, &vec!["development"; nodes], "info", |file| {
            if file.region.as_str() == REGIONS[0] {
                configure(&mut file.storage);
            }
        });
        Some((deployment, disk))
    }

    fn make(packs: &[&str], log_filter: &'static str, configure: impl Fn(&mut NodeFile)) -> Deployment {
        Deployment::make_in(tempfile::tempdir().unwrap(), packs, log_filter, configure)
    }

    fn make_in(
        folder: TempDir,
        packs: &[&str],
        log_filter: &'static str,
        configure: impl Fn(&mut NodeFile),
    ) -> Deployment {
        let authority = CertificateAuthority::create(&folder.path().join("certs"), false).unwrap();
        let address = net::address();
        // Bound before the nodes' free ports are found and released, otherwise a proxy could get one of these.
        let pairs = packs.len() * packs.len().saturating_sub(1) / 2;
        let mut dialled: Vec<TcpListener> = (0..pairs).map(|_| TcpListener::bind((address, 0)).unwrap()).collect();
        let ports = net::free(address, 4 * packs.len());
        let nodes: Vec<Node> = REGIONS
            .iter()
            .zip(ports.chunks(4))
            .map(|(region, ports)| Node {
                region,
                public: ports[0],
                replication: ports[1],
                admin: ports[2],
                public_tls: ports[3],
                folder: folder.path().join(region),
                environment: Vec::new(),
                log_filter,
                process: None,
            })
            .collect();
        let mut links = Vec::new();
        for (index, pack) in packs.iter().enumerate() {
            authority.issue(&nodes[index].region.parse().unwrap(), false).unwrap();
            std::fs::create_dir_all(&nodes[index].folder).unwrap();
            let mut file = nodes[index].file(pack);
            configure(&mut file);
            for (other, peer) in nodes.iter().enumerate().filter(|(other, _)| *other != index) {
                let mut address = peer.replication;
                // The node with the smaller name dials, so its side of the link has the proxy.
                if nodes[index].region < peer.region {
                    let listener = dialled.pop().unwrap();
                    address = listener.local_addr().unwrap();
                    links.push((index, other, Proxy::start(listener, peer.replication)));
                }
                file.peers.push(PeerSection {
                    name: peer.region.parse().unwrap(),
                    region: peer.region.parse().unwrap(),
                    address: address.to_string(),
                    position: None,
                });
            }
            std::fs::write(nodes[index].config(), toml::to_string(&file).unwrap()).unwrap();
        }
        let mut deployment = Deployment { nodes, links, folder };
        for node in 0..deployment.nodes.len() {
            deployment.certify(node, &deployment.certs(), deployment.nodes[node].region);
        }
        deployment.nodes.iter_mut().for_each(Node::spawn);
        deployment.nodes.iter().for_each(Node::wait_ready);
        deployment.wait_linked();
        deployment
    }

    /// Starts one more node, in a region of its own. Its configuration names one of the others and nothing else.
    pub(crate) fn join(&mut self, knows: usize) -> usize {
        let region = REGIONS[self.nodes.len()];
        let known = &self.nodes[knows];
        let ports = net::free(known.public.ip(), 4);
        let mut node = Node {
            region,
            public: ports[0],
            replication: ports[1],
            admin: ports[2],
            public_tls: ports[3],
            folder: self.folder.path().join(region),
            environment: Vec::new(),
            log_filter: "info",
            process: None,
        };
        CertificateAuthority::load_or_create(&self.certs()).unwrap().issue(&region.parse().unwrap(), false).unwrap();
        let certs = self.certs();
        std::fs::create_dir(&node.folder).unwrap();
        let mut file = node.file("development");
        file.peers.push(PeerSection {
            name: known.region.parse().unwrap(),
            region: known.region.parse().unwrap(),
            address: known.replication.to_string(),
            position: None,
        });
        std::fs::write(node.config(), toml::to_string(&file).unwrap()).unwrap();
        install(self.scratch(), &certs, region, region);
        node.spawn();
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Gives the public TLS listener of a node the certificate `NAME.pem` and the key `NAME.key` of a folder.
    pub(crate) fn certify(&self, node: usize, from: &Path, name: &str) {
        install(self.scratch(), from, name, self.nodes[node].region);
    }

    /// The folder with the authority and all certificates.
    pub(crate) fn certs(&self) -> PathBuf {
        self.folder.path().join("certs")
    }

    /// A folder for other files of a test.
    pub(crate) fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// Cuts a region off from all others.
    pub(crate) fn isolate(&self, node: usize) {
        self.links.iter().filter(|(a, b, _)| *a == node || *b == node).for_each(|(.., proxy)| proxy.set_cut(true));
    }

    /// Heals every link.
    pub(crate) fn heal(&self) {
        self.links.iter().for_each(|(.., proxy)| proxy.set_cut(false));
    }

    /// Waits until every running node hears every other running node.
    #[track_caller]
    pub(crate) fn wait_linked(&self) {
        let running: Vec<&Node> = self.nodes.iter().filter(|node| node.process.is_some()).collect();
        holds("all links are up", AGREED, || running.iter().all(|node| node.linked().len() + 1 == running.len()));
    }

    /// Waits until every region's list claims to hold everything that was acknowledged anywhere before now.
    #[track_caller]
    pub(crate) fn wait_complete(&self, venue: &Venue) {
        let now = jiff::Timestamp::now();
        for node in &self.nodes {
            within("the list is complete", AGREED, || {
                let through = venue.completeness(node.public);
                let done = through.len() == self.nodes.len() && through.values().all(|through| *through >= now);
                if done { Ok(()) } else { Err((node.region, now, through)) }
            });
        }
    }

    /// Waits until every region knows a venue that was made in one region.
    #[track_caller]
    pub(crate) fn wait_known(&self, venue: &Venue) {
        for node in &self.nodes {
            holds("the venue is known", AGREED, || Call::new("GET", &venue.path).to(node.public).status == 200);
        }
    }

    /// The log of every node.
    pub(crate) fn logs(&self) -> String {
        self.nodes.iter().map(Node::log).collect()
    }

    /// All public addresses in the form of a command-line option.
    pub(crate) fn targets(&self) -> String {
        self.nodes.iter().map(|node| format!("http://{}", node.public)).collect::<Vec<_>>().join(",")
    }
}

/// Puts a certificate where the public TLS listener of `region` has it, each file whole.
fn install(scratch: &Path, from: &Path, name: &str, region: &str) {
    let public = scratch.join("public");
    std::fs::create_dir_all(&public).unwrap();
    // The key comes first: the node reads both again when the certificate changes.
    for extension in ["key", "pem"] {
        let (new, at) = (public.join("new"), public.join(format!("{region}.{extension}")));
        std::fs::copy(from.join(format!("{name}.{extension}")), &new).unwrap();
        std::fs::rename(new, at).unwrap();
    }
}

impl Node {
    fn file(&self, pack: &str) -> NodeFile {
        let certs = Path::new("../certs");
        NodeFile {
            region: self.region.parse().unwrap(),
            name: None,
            data: "store".into(),
            pid_file: Some("pid".into()),
            position: PositionSection { latitude: 0.0, longitude: 0.0 },
            listen: ListenSection {
                public: self.public.into(),
                public_tls: Some(self.public_tls.into()),
                replication: self.replication,
                admin: self.admin.into(),
            },
            tls: TlsSection {
                ca: certs.join("ca.pem"),
                certificate: certs.join(format!("{}.pem", self.region)),
                key: certs.join(format!("{}.key", self.region)),
                revoked: Some(certs.join("crl.pem")),
                public: Some(CertificateSection {
                    certificate: format!("../public/{}.pem", self.region).into(),
                    key: format!("../public/{}.key", self.region).into(),
                }),
            },
            storage: StorageSection::default(),
            replication: ReplicationSection::default(),
            registry: RegistrySection { policy: pack.to_owned(), ..RegistrySection::default() },
            http: HttpSection::default(),
            limits: LimitsSection::default(),
            faults: FaultsSection::default(),
            admin: AdminSection::default(),
            backup: BackupSection::default(),
            log: LogSection::default(),
            drills: DrillsSection::default(),
            peers: Vec::new(),
        }
    }

    fn config(&self) -> PathBuf {
        self.folder.join("node.toml")
    }

    /// Gives the node another replication address; it must be down.
    pub(crate) fn move_to(&mut self, replication: SocketAddr) {
        assert!(self.process.is_none(), "{} runs", self.region);
        let mut file: NodeFile = toml::from_str(&std::fs::read_to_string(self.config()).unwrap()).unwrap();
        file.listen.replication = replication;
        self.replication = replication;
        std::fs::write(self.config(), toml::to_string(&file).unwrap()).unwrap();
    }

    /// The folder of its data.
    pub(crate) fn store(&self) -> PathBuf {
        self.folder.join("store")
    }

    fn spawn(&mut self) {
        let mut command = Command::new(MERIDIAN);
        command.args(["node", "--exit-with-parent", "--config"]).arg(self.config());
        command.env("MERIDIAN_LOG", self.log_filter);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.process = Some(Process::logged(&mut command, &self.folder.join("log")));
    }

    /// Starts the node again and waits until it is ready.
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        assert!(self.process.is_none(), "{} runs", self.region);
        self.spawn();
        self.wait_ready();
    }

    /// Starts the node again without waiting for anything.
    pub(crate) fn restart(&mut self) {
        assert!(self.process.is_none(), "{} runs", self.region);
        self.spawn();
    }

    /// Waits until the node is fit to serve.
    #[track_caller]
    pub(crate) fn wait_ready(&self) {
        within("the node is ready", READY, || match Call::new("GET", "/readyz").send(self.public) {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err((self.region, other.map(|answer| answer.body), self.log())),
        });
    }

    /// Its process.
    #[track_caller]
    pub(crate) fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap_or_else(|| panic!("{} is down", self.region))
    }

    /// Kills the node with SIGKILL.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        self.process.take().unwrap_or_else(|| panic!("{} is down", self.region)).kill();
    }

    /// Stops the node with SIGTERM; it must end with success. Returns how long that took.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> Duration {
        let mut process = self.process.take().unwrap_or_else(|| panic!("{} is down", self.region));
        process.signal(Signal::SIGTERM);
        let (status, took) = process.ended(STOPPED);
        assert!(status.success(), "{} ended with {status}\n{}", self.region, self.log());
        took
    }

    /// How the node has ended by itself, if it has. Then it can be started again.
    pub(crate) fn end(&mut self) -> Option<ExitStatus> {
        let end = self.process.as_mut()?.end()?;
        self.process = None;
        Some(end)
    }

    /// Whether it was stopped or killed, or its end was seen.
    pub(crate) fn is_down(&self) -> bool {
        self.process.is_none()
    }

    /// Waits until the node has ended by itself.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut process = self.process.take().unwrap_or_else(|| panic!("{} is down", self.region));
        process.ended(STOPPED).0
    }

    /// Everything that the node has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap()
    }

    /// The status that the node shows to operators.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        Call::new("GET", "/v1/admin/status").to(self.admin).expect(200).json()
    }

    /// The regions to which the node has a link.
    pub(crate) fn linked(&self) -> Vec<String> {
        let status = self.status();
        let peers = status["peers"].as_array().unwrap().iter().filter(|peer| peer["connected"] == true);
        peers.map(|peer| peer["region"].as_str().unwrap().to_owned()).collect()
    }

    /// The sum of a metric over all its labels.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = Call::new("GET", "/metrics").to(self.admin).expect(200);
        let lines = text.text().lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])) && !line.starts_with('#')
        });
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Sends a request to its public listener.
    #[track_caller]
    pub(crate) fn ask(&self, call: &Call) -> Answer {
        call.to(self.public)
    }
}
