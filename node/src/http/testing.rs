//! Shared parts of the handlers' tests: a status to order, and the API over a store whose disk the tests control.

mod description;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use replication::memory::MemoryStorage;
use replication::{
    Bucket, DocumentName, Monotonic, NodeName, Now, PeerStatus, Reader, RegionId, Replica, ReplicaConfig, ReplicaId,
    ScanVisitor, Status, Storage, StorageError, VersionVector, Wall, WriteBatch,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{App, ConsoleKeys, Loaded, Packs, admin, probes, public};
use crate::backup::Backups;
use crate::ballast::Ballast;
use crate::clock::{Clock, SystemClock};
use crate::config::NodeConfig;
use crate::driver::{self, Running};
use crate::faults::Faults;
use crate::membership::Membership;
use crate::metrics::Metrics;
use crate::space::Space;
use crate::storage::{Snapshots, Store};
use registry::LONGEST_RETENTION;
use registry::{Secret, VenueId, VisitId};

pub(super) use description::{Description, described};

/// The status of a replica without peers that durably knows `durable`.
pub(super) fn status(replica: u64, durable: &[(u64, u64)]) -> Status {
    let (node, region): (NodeName, RegionId) = ("a".parse().expect("a name"), "a".parse().expect("a region"));
    let config = ReplicaConfig::new(node, region, BTreeMap::new());
    let now = SystemClock::start().now();
    let open = Replica::open(config, MemoryStorage::default(), Box::new(move || ReplicaId(replica)), now);
    Status { durable: vector(durable), ..open.expect("opens").status(now) }
}

/// A peer that is linked as `replica`, or not linked, and has acknowledged this.
pub(super) fn peer(name: &str, replica: Option<u64>, acknowledged: &[(u64, u64)]) -> PeerStatus {
    PeerStatus {
        node: name.parse().expect("a name"),
        region: name.parse().expect("a region"),
        replica: replica.map(ReplicaId),
        vector: vector(acknowledged),
        told: replica.map(|_| Monotonic(Duration::from_secs(1))),
        lag_entries: 0,
        lag_from_here: 0,
        lag: Duration::ZERO,
        clock_offset_ms: None,
    }
}

fn vector(pairs: &[(u64, u64)]) -> VersionVector {
    pairs.iter().map(|(origin, seq)| (ReplicaId(*origin), *seq)).collect()
}

/// A disk that hangs when a test says so.
#[derive(Clone, Default)]
pub(super) struct Disk {
    memory: MemoryStorage,
    hangs: Arc<(Mutex<bool>, Condvar)>,
}

impl Disk {
    /// From now on `sync` hangs, or returns again.
    pub(super) fn hang(&self, hangs: bool) {
        *self.hangs.0.lock().expect("no test panics with the lock") = hangs;
        self.hangs.1.notify_all();
    }

    /// Replaces a visit's row by bytes that are not a row.
    pub(super) fn damage(&self, name: &DocumentName) {
        let mut batch = WriteBatch::default();
        for bucket in self.memory.buckets() {
            let (start, end) = (b"d".to_vec(), b"e".to_vec());
            let mut writes = Vec::new();
            let found = self.memory.scan(bucket, &start, &end, &mut |key, _| {
                if key[1..].starts_with(&name.encode()) {
                    writes.push((key.to_vec(), Some(b"damaged".to_vec())));
                }
                std::ops::ControlFlow::Continue(())
            });
            found.expect("scans");
            if !writes.is_empty() {
                batch.buckets.push((bucket, replication::BucketBatch { writes }));
            }
        }
        assert!(!batch.is_empty(), "there is such a row");
        self.memory.apply(&batch).expect("applies");
    }
}

impl Storage for Disk {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.memory.get(bucket, key)
    }
    fn scan(
        &self,
        bucket: Bucket,
        start: &[u8],
        end: &[u8],
        visitor: &mut ScanVisitor<'_>,
    ) -> Result<(), StorageError> {
        self.memory.scan(bucket, start, end, visitor)
    }
    fn apply(&self, batch: &WriteBatch) -> Result<(), StorageError> {
        self.memory.apply(batch)
    }
    fn sync(&self) -> Result<(), StorageError> {
        let hangs = self.hangs.0.lock().expect("no test panics with the lock");
        drop(self.hangs.1.wait_while(hangs, |hangs| *hangs).expect("no test panics with the lock"));
        self.memory.sync()
    }
    fn drop_bucket(&self, bucket: Bucket) -> Result<(), StorageError> {
        self.memory.drop_bucket(bucket)
    }
    fn expire(&self, over: Wall) -> Result<(), StorageError> {
        self.memory.expire(over)
    }
    fn buckets(&self) -> BTreeSet<Bucket> {
        self.memory.buckets()
    }
}

/// The machine's clocks, with a wall clock that a test sets.
struct Shifted {
    machine: SystemClock,
    ahead_ms: Arc<AtomicI64>,
}

impl Clock for Shifted {
    fn now(&self) -> Now {
        let now = self.machine.now();
        Now { wall: Wall(now.wall.0.saturating_add_signed(self.ahead_ms.load(Ordering::Relaxed))), ..now }
    }
}

/// One node's public API and its admin listener, without peers.
pub(super) struct Api {
    pub(super) disk: Disk,
    pub(super) app: Arc<App>,
    address: SocketAddr,
    admin: SocketAddr,
    ahead_ms: Arc<AtomicI64>,
    /// Where temporary files lie.
    pub(super) data: tempfile::TempDir,
    /// Stops the listener and the driver when it is dropped with the test.
    _stopping: (watch::Sender<bool>, Running),
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer<B = String> {
    pub(super) status: u16,
    head: String,
    pub(super) body: B,
}

impl Api {
    pub(super) async fn start() -> Api {
        Api::under("default").await
    }

    /// A node whose venues get this policy pack.
    pub(super) async fn under(policy: &str) -> Api {
        Api::with(|config| config.registry.policy = policy.to_owned()).await
    }

    /// A node whose venues get the default pack with this line instead of one that begins like it.
    pub(super) async fn under_default_with(line: &str) -> Api {
        let folder = tempfile::tempdir().expect("a folder");
        let key = line.split(' ').next().expect("a key");
        let pack = include_str!("../../../config/policies/default.toml").lines();
        let pack: Vec<&str> = pack.map(|written| if written.starts_with(key) { line } else { written }).collect();
        assert!(pack.contains(&line), "{line}");
        std::fs::write(folder.path().join("default.toml"), pack.join("\n")).expect("writes");
        Api::with(|config| config.registry.policies = Some(folder.path().to_owned())).await
    }

    /// A node with another configuration than the example's.
    pub(super) async fn with(configure: impl FnOnce(&mut NodeConfig)) -> Api {
        let disk = Disk::default();
        let ahead_ms = Arc::new(AtomicI64::new(0));
        let clock: Arc<dyn Clock> = Arc::new(Shifted { machine: SystemClock::start(), ahead_ms: ahead_ms.clone() });
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/node.toml");
        let mut config = NodeConfig::load(&example).expect("the example loads");
        config.peers.clear();
        "default".clone_into(&mut config.registry.policy);
        configure(&mut config);
        let data = tempfile::tempdir().expect("a folder");
        config.data = data.path().to_owned();
        let snapshots = Snapshots::new(Arc::new(disk.clone()));
        let store: Store = snapshots.clone();
        let replica_config = ReplicaConfig {
            max_retention: LONGEST_RETENTION,
            heartbeat: Duration::from_millis(20),
            ..ReplicaConfig::new(config.name.clone(), config.region.clone(), BTreeMap::new())
        };
        let reader = Reader::new(store.clone(), LONGEST_RETENTION);
        let (membership, _) = Membership::begin(&config, &reader).expect("the store is read");
        let replica = Replica::open(replica_config, store.clone(), Box::new(|| ReplicaId(7)), clock.now());
        let metrics = Arc::new(Metrics::new().expect("metrics register"));
        let (handle, running) =
            driver::start(replica.expect("opens"), store, reader, clock, Duration::from_millis(20), metrics.clone())
                .expect("starts");
        let packs = Packs::load(&config.registry).expect("the packs load");
        let faults = Faults::new(true, Arc::new(SystemClock::start()), metrics.clone());
        let console_keys = ConsoleKeys::load(&config.registry).expect("keys");
        let ballast = Ballast::of(&config.data, 0);
        let space = Space::new(config.data.clone(), config.storage.reserve_bytes, ballast, metrics.clone());
        let operators = service::operators::Operators::default();
        let backups = Backups::new(snapshots, config.backup.most_kept, metrics.clone());
        let loaded = Loaded { packs, console_keys, operators, space, backups, access_log: None };
        let app = Arc::new(App::new(&config, handle, membership, loaded, faults, metrics));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("an address");
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(public::serve(
            vec![service::listen::Socket { tcp: listener, tls: None }],
            app.clone(),
            stopping.clone(),
        ));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let admin = listener.local_addr().expect("an address");
        tokio::spawn(admin::serve(listener, app.clone(), stopping));
        Api { disk, app, address, admin, ahead_ms, data, _stopping: (stop, running) }
    }

    /// Steps the wall clock.
    pub(super) fn step_clock(&self, ahead: Duration) {
        self.ahead_ms.store(i64::try_from(ahead.as_millis()).expect("fits"), Ordering::Relaxed);
    }

    pub(super) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
        self.ask_bytes(method, path, headers, body).await.text()
    }

    pub(super) async fn ask_bytes(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer<Vec<u8>> {
        let body = body.map(ToString::to_string).unwrap_or_default();
        self.send(method, path, headers, "application/json", &body).await
    }

    /// Sends a form, as a browser does.
    pub(super) async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.form_with(path, &[], fields).await
    }

    /// Sends a form with more headers.
    pub(super) async fn form_with(&self, path: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send("POST", path, headers, "application/x-www-form-urlencoded", &body).await.text()
    }

    /// Asks the admin listener.
    pub(super) async fn ask_admin(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let body = body.map(ToString::to_string).unwrap_or_default();
        let request = request(method, path, headers, "application/json", &body);
        answer(self.admin, &request, probes::OPENAPI_ADMIN).await.text()
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        media_type: &str,
        body: &str,
    ) -> Answer<Vec<u8>> {
        answer(self.address, &request(method, path, headers, media_type, body), probes::OPENAPI).await
    }

    /// Sends bytes as they are, ends this side, and reads all that comes.
    pub(super) async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut connection = TcpStream::connect(self.address).await.expect("connects");
        connection.write_all(bytes.as_ref()).await.expect("sends");
        connection.shutdown().await.expect("ends its side");
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).await.expect("reads");
        String::from_utf8(answer).expect("text")
    }

    /// Opens a venue.
    pub(super) async fn venue(&self) -> Venue {
        self.venue_of(&serde_json::json!({"name": "Zum Test", "timezone": "Europe/Berlin"})).await
    }

    /// Opens a venue with any body.
    pub(super) async fn venue_of(&self, body: &Value) -> Venue {
        let made = self.ask("POST", "/v1/venues", &[], Some(body)).await;
        assert_eq!(made.status, 201, "{made:?}");
        let made = made.json();
        let text = |name: &str| made[name].as_str().expect("text").to_owned();
        let id = text("venue_id");
        Venue {
            path: format!("/v1/venues/{id}"),
            id: id.parse().expect("an id"),
            bearer: format!("Bearer {}", text("owner_key")),
        }
    }
}

/// A request as it goes over the wire.
fn request(method: &str, path: &str, headers: &[(&str, &str)], media_type: &str, body: &str) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    if !body.is_empty() {
        head += &format!("Content-Type: {media_type}\r\nContent-Length: {}\r\n", body.len());
    }
    format!("{head}\r\n{body}")
}

/// The answer to a request, held to the description of the listener.
async fn answer(address: SocketAddr, request: &str, description: &[u8]) -> Answer<Vec<u8>> {
    let mut connection = TcpStream::connect(address).await.expect("connects");
    connection.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.expect("reads");
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
    let (head, body) = (std::str::from_utf8(&answer[..end]).expect("text"), &answer[end + 4..]);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let headers: Vec<_> = head.lines().filter_map(|line| line.split_once(": ")).collect();
    let (method, path) = request.split_once(" HTTP/1.1").and_then(|(line, _)| line.split_once(' ')).expect("a target");
    Description::of(description).hold(method, path, status, &headers);
    let chunked = head.contains("transfer-encoding: chunked");
    Answer { status, head: head.to_owned(), body: if chunked { joined(body) } else { body.to_vec() } }
}

impl Answer<Vec<u8>> {
    fn text(self) -> Answer {
        let Answer { status, head, body } = self;
        Answer { status, head, body: String::from_utf8(body).expect("text") }
    }
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(super) fn head(&self) -> &str {
        &self.head
    }

    /// The end of the `type` of a problem.
    pub(super) fn kind(&self) -> String {
        let kind = self.json()["type"].as_str().map(|kind| kind.replace("urn:meridian:problem:", ""));
        kind.unwrap_or_else(|| panic!("no problem: {self:?}"))
    }

    /// The vector that the session token covers.
    pub(super) fn covers(&self) -> VersionVector {
        let token = self.header("meridian-session").expect("a token");
        super::session::read(&token.parse().expect("a header")).expect("a token of ours")
    }
}

impl<B> Answer<B> {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// The chunks of a body in one (RFC 9112, section 7.1).
fn joined(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = chunks.windows(2).position(|bytes| bytes == b"\r\n").expect("a chunk's length");
        let length = std::str::from_utf8(&chunks[..end]).expect("text");
        let length = usize::from_str_radix(length, 16).expect("in hex");
        if length == 0 {
            return body;
        }
        let (chunk, rest) = chunks[end + 2..].split_at(length);
        body.extend_from_slice(chunk);
        chunks = rest.strip_prefix(b"\r\n").expect("a chunk's end");
    }
}

/// A venue of a test.
pub(super) struct Venue {
    pub(super) id: VenueId,
    path: String,
    bearer: String,
}

/// A visit of a test, with its secret.
#[derive(Clone)]
pub(super) struct Guest {
    pub(super) id: VisitId,
    pub(super) secret: String,
    path: String,
}

impl Venue {
    /// A venue that was made elsewhere.
    pub(super) fn known(id: &str, key: &str) -> Venue {
        let path = format!("/v1/venues/{id}");
        Venue { id: id.parse().expect("an id"), path, bearer: format!("Bearer {key}") }
    }

    pub(super) async fn list(&self, api: &Api, rest: &str, accept: &str) -> Answer {
        let headers = [("Authorization", self.bearer.as_str()), ("Accept", accept)];
        api.ask("GET", &format!("{}{rest}", self.path), &headers, None).await
    }

    pub(super) async fn file(&self, api: &Api, rest: &str, accept: &str) -> Answer<Vec<u8>> {
        let headers = [("Authorization", self.bearer.as_str()), ("Accept", accept)];
        api.ask_bytes("GET", &format!("{}{rest}", self.path), &headers, None).await
    }

    /// Where it is.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// A request of its owner.
    pub(super) async fn ask(&self, api: &Api, method: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
        let headers = [headers, &[("Authorization", self.bearer.as_str())]].concat();
        api.ask(method, &self.path, &headers, body).await
    }

    pub(super) async fn change(&self, api: &Api, patch: &Value) -> Answer {
        self.ask(api, "PATCH", &[], Some(patch)).await
    }

    /// A guest whose device made the id `ago` before now.
    pub(super) fn guest(&self, number: u8, ago: Duration) -> Guest {
        let secret = Secret([number; 16]);
        let id = VisitId::of(SystemClock::start().now().wall.minus(ago), &secret);
        Guest { id, secret: secret.to_string(), path: format!("{}/visits/{id}", self.path) }
    }
}

impl Guest {
    pub(super) async fn ask(&self, api: &Api, method: &str, body: Option<&Value>) -> Answer {
        self.ask_with(api, method, &[], body).await
    }

    /// A request with more headers.
    pub(super) async fn ask_with(
        &self,
        api: &Api,
        method: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let headers = [headers, &[("Meridian-Secret", self.secret.as_str())]].concat();
        api.ask(method, &self.path, &headers, body).await
    }
}

/// Waits until a condition that must come true is true.
pub(super) async fn until(what: impl Fn() -> bool) {
    let come = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(2)).await
        }
    };
    tokio::time::timeout(Duration::from_secs(20), come).await.expect("it comes in time");
}

/// Whether a task is still waiting after it has had every chance to end.
pub(super) struct Pending(Arc<AtomicBool>);

impl Pending {
    /// Runs a request beside the test.
    pub(super) fn run(request: impl Future<Output = ()> + Send + 'static) -> Pending {
        let ended = Arc::new(AtomicBool::new(false));
        let told = ended.clone();
        tokio::spawn(async move {
            request.await;
            told.store(true, Ordering::Relaxed);
        });
        Pending(ended)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
