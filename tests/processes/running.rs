//! Nodes that run in this process: on a fast clock, and with peers that are configured by host name.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::common::small_disk::SmallDisk;
use crate::common::{Call, Venue, holds, net};
use node::clock::{Clock, SystemClock};
use node::config::{
    AdminSection, BackupSection, DrillsSection, Engine, FaultsSection, HttpSection, LimitsSection, ListenSection,
    NodeConfig, NodeFile, PeerSection, RegistrySection, ReplicationSection, StorageSection, TlsSection,
};
use replication::{Monotonic, Now, Wall};
use serde_json::{Value, json};
use service::access_log::LogSection;
use service::authority::CertificateAuthority;
use service::config::PositionSection;
use tokio::sync::oneshot;

/// Time limit of steps that take seconds, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// Both clocks run faster than real time by this factor: a day passes in four seconds.
struct FastClock {
    start: Instant,
    wall: Duration,
    factor: u32,
}

impl FastClock {
    fn new(factor: u32) -> FastClock {
        FastClock { start: Instant::now(), wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap(), factor }
    }
}

impl Clock for FastClock {
    fn now(&self) -> Now {
        let passed = self.start.elapsed() * self.factor;
        let wall = (self.wall + passed).as_millis();
        Now { mono: Monotonic(passed), wall: Wall(u64::try_from(wall).unwrap()) }
    }
}

/// This machine's clock, set ahead by this number of hours.
struct SetClock(SystemClock, Arc<AtomicU64>);

impl Clock for SetClock {
    fn now(&self) -> Now {
        let now = self.0.now();
        Now { wall: now.wall.plus(Duration::from_hours(self.1.load(Ordering::Relaxed))), ..now }
    }
}

/// A node that stops when it is dropped.
struct Running {
    public: SocketAddr,
    admin: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    fn start(file: &NodeFile, folder: &Path, clock: Arc<dyn Clock>) -> Running {
        let path = folder.join("node.toml");
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(&path, toml::to_string(file).unwrap()).unwrap();
        let config = NodeConfig::load(&path).unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let shutdown = async { stopped.await.unwrap_or(()) };
            let metrics = std::sync::Arc::new(node::metrics::Metrics::new().unwrap());
            runtime.block_on(node::run_with_clock(config, clock, metrics, shutdown)).unwrap();
        });
        let running = Running {
            public: file.listen.public.first(),
            admin: file.listen.admin.first(),
            stop: Some(stop),
            thread: Some(thread),
        };
        holds("the node answers", SOON, || Call::new("GET", "/healthz").send(running.public).is_ok());
        running
    }

    fn status(&self) -> Value {
        Call::new("GET", "/v1/admin/status").to(self.admin).expect(200).json()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

fn file(name: &str, ports: &[SocketAddr], engine: Engine, peers: Vec<PeerSection>) -> NodeFile {
    NodeFile {
        region: name.parse().unwrap(),
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
            ca: "../certs/ca.pem".into(),
            certificate: format!("../certs/{name}.pem").into(),
            key: format!("../certs/{name}.key").into(),
            revoked: None,
            public: None,
        },
        storage: StorageSection { engine, ..StorageSection::default() },
        replication: ReplicationSection::default(),
        registry: RegistrySection { policy: "development".to_owned(), ..RegistrySection::default() },
        http: HttpSection::default(),
        limits: LimitsSection::default(),
        faults: FaultsSection::default(),
        admin: AdminSection::default(),
        backup: BackupSection::default(),
        log: LogSection::default(),
        drills: DrillsSection::default(),
        peers,
    }
}

fn certificates(folder: &Path, names: &[&str]) {
    let authority = CertificateAuthority::create(&folder.join("certs"), false).unwrap();
    for name in names {
        authority.issue(&name.parse().unwrap(), false).unwrap();
    }
}

/// Names of the day folders (sled).
fn days(store: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(store.join("buckets")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A day's folder is removed with its documents while the node serves; venues stay.
#[test]
fn a_days_folder_goes_when_its_day_has_passed() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path(), &["eu"]);
    let ports = net::free(net::address(), 3);
    let own = folder.path().join("eu");
    let node = Running::start(&file("eu", &ports, Engine::Sled, Vec::new()), &own, Arc::new(FastClock::new(20_000)));
    // 17 seconds of this clock: a shorter retention could end while a guest checks in, or before the folder was seen.
    let venue = Venue::make(node.public, "4d");
    let lasting = days(&own.join("store"));
    for number in 0..20 {
        Call::new("POST", format!("{}/visits", venue.path))
            .json(&json!({"persons": [{"name": format!("Guest {number}"), "phone": "030 23125 001"}]}))
            .to(node.public)
            .expect(201);
    }
    let with_visits = days(&own.join("store"));
    assert!(with_visits.len() > lasting.len(), "{with_visits:?}");
    holds("only what lasts is left", SOON, || days(&own.join("store")) == lasting);
    holds("and the node knows it", SOON, || node.status()["tombstones"] == 0 && node.status()["live_documents"] == 1);
    assert!(node.status()["horizon"].is_string());
    Call::new("GET", &venue.path).to(node.public).expect(200);
}

/// A start writes, and forgetting writes before it frees. On a full disk the ballast makes both possible.
#[test]
fn a_full_disk_is_cured_by_forgetting() {
    for engine in [Engine::Sled, Engine::Fjall] {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("eu");
        let Some(disk) = SmallDisk::mount(&own.join("store"), 160) else { return };
        certificates(folder.path(), &["eu"]);
        let ports = net::free(net::address(), 3);
        let mut file = file("eu", &ports, engine, Vec::new());
        (file.storage.reserve_mib, file.storage.ballast_mib) = (16, 8);
        let ballast = own.join("store/ballast");
        let later = |days: u64| {
            let clock = FastClock::new(1);
            Arc::new(FastClock { wall: clock.wall + Duration::from_hours(24 * days), ..clock })
        };
        let node = Running::start(&file, &own, later(0));
        holds("the ballast is made", SOON, || ballast.is_file());
        let venue = Venue::make(node.public, "1h");
        let check_in = |at| {
            let persons = json!({"persons": [{"name": "Zoë", "phone": "030 23125 001"}]});
            Call::new("POST", format!("{}/visits", venue.path)).json(&persons).to(at)
        };
        assert_eq!(check_in(node.public).status, 201);
        assert_eq!(node.status()["live_documents"], 2);
        drop(node);

        disk.fill(0);
        let node = Running::start(&file, &own, later(3));
        assert!(!ballast.exists(), "it was given up");
        holds("days that are over are forgotten", SOON, || node.status()["live_documents"] == 1);
        holds("their bucket is gone", SOON, || node.status()["buckets"] == 1);
        Call::new("GET", &venue.path).to(node.public).expect(200);
        assert_eq!(check_in(node.public).status, 507, "the disk is still full");
        disk.empty();
        holds("visits are taken again", SOON, || check_in(node.public).status == 201);
        holds("the ballast is back", SOON, || ballast.is_file());
    }
}

/// An operator who stated a wrong time finds the consequences in `/readyz` and in the metrics.
#[test]
fn a_node_that_believed_a_wrong_time_is_not_ready_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path(), &["eu"]);
    let ports = net::free(net::address(), 4);
    let address = ports[3].to_string();
    let us = PeerSection { name: "us".parse().unwrap(), region: "us".parse().unwrap(), address, position: None };
    let hours = Arc::new(AtomicU64::new(0));
    let clock = Arc::new(SetClock(SystemClock::start(), Arc::clone(&hours)));
    let node = Running::start(&file("eu", &ports, Engine::Fjall, vec![us]), &folder.path().join("eu"), clock);
    let word = |ahead: i64| {
        let now = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(ahead);
        Call::new("POST", "/v1/admin/clock/believe").json(&json!({"now": now.to_string()})).to(node.admin)
    };
    holds("it is ready", SOON, || node_ready(&node));
    hours.store(9, Ordering::Relaxed);
    holds("it doubts its clock", SOON, || !node_ready(&node));
    let refused = word(0);
    assert_eq!(refused.status, 409, "the machine's clock does not show that");
    assert!(refused.text().contains("clock-contradicted"), "{}", refused.text());
    Call::new("POST", "/v1/admin/clock/believe").to(node.admin).expect(411);
    word(9).expect(204);
    holds("it takes the operator's word", SOON, || node_ready(&node));
    hours.store(0, Ordering::Relaxed);
    holds("it doubts again", SOON, || !node_ready(&node));
    word(0).expect(204);
    holds("it believes again", SOON, || node.status()["clock"]["in_doubt"] == false);
    let unready = Call::new("GET", "/readyz").to(node.public);
    assert_eq!(unready.status, 503);
    assert!(unready.text().contains("the clock was ahead"), "{}", unready.text());
    let metrics = Call::new("GET", "/metrics").to(node.admin).expect(200);
    assert!(metrics.text().contains("\nmeridian_forgot_early 1\n"), "{}", metrics.text());
}

/// `localhost` is a host name like any other: it is looked up at each attempt to connect.
#[test]
fn peers_are_found_by_host_name() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path(), &["eu", "us"]);
    let ports = net::free(IpAddr::V4(Ipv4Addr::LOCALHOST), 6);
    let peer = |name: &str, port: u16| {
        let address = format!("localhost:{port}");
        vec![PeerSection { name: name.parse().unwrap(), region: name.parse().unwrap(), address, position: None }]
    };
    let start = |name: &str, ports: &[SocketAddr], peers| {
        let file = file(name, ports, Engine::Fjall, peers);
        Running::start(&file, &folder.path().join(name), Arc::new(SystemClock::start()))
    };
    let eu = start("eu", &ports[..3], peer("us", ports[4].port()));
    let us = start("us", &ports[3..], peer("eu", ports[1].port()));
    for node in [&eu, &us] {
        holds("they are linked", SOON, || node.status()["peers"][0]["connected"] == true);
    }
    holds("they take writes", SOON, || node_ready(&eu) && node_ready(&us));
    let venue = Venue::make(eu.public, "14d");
    holds("what one takes the other has", SOON, || Call::new("GET", &venue.path).to(us.public).status == 200);
}

fn node_ready(node: &Running) -> bool {
    Call::new("GET", "/readyz").to(node.public).status == 200
}
