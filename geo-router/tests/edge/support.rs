//! The world of the tests: three regions, raw nodes, an edge, a raw client.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use api::Position;
use api::explanation::RegionState;
use api::status::BreakerState;
use geo_router::edge::{EdgeConfig, EdgeMetrics, EdgeSection, EdgeServer};
use geo_router::fleet::{Fleet, Node, Region, RegionIndex};
use geo_router::location::{Database, Locator, Override, Places, Target};
use geo_router::policy::{Nearest, Policy, PolicyInput};
use geo_router::signals::Signals;
use geo_router::view::{RegionView, View};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Longer than anything in these tests takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Fails the test if it takes too long.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

/// Waits until a condition holds.
pub(crate) async fn until(what: impl Fn() -> bool) {
    soon(async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// A node that records what it receives.
pub(crate) struct RawNode {
    pub address: SocketAddr,
    /// Each whole request, byte for byte.
    pub requests: Arc<Mutex<Vec<Vec<u8>>>>,
    /// All bytes that arrived.
    pub bytes: Arc<Mutex<Vec<u8>>>,
    task: tokio::task::JoinHandle<()>,
    open: Arc<Mutex<Vec<tokio::task::AbortHandle>>>,
}

/// The reaction of a node to a request.
pub(crate) enum Act {
    /// Sends this and continues.
    Say(String),
    /// Sends this and closes.
    SayAndClose(String),
    /// Resets the connection.
    Reset,
    /// Does nothing more.
    Hang,
}

pub(crate) fn say(text: impl Into<String>) -> Act {
    Act::Say(text.into())
}

/// A 200 with a body.
pub(crate) fn ok(body: &str) -> Act {
    say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

impl RawNode {
    /// A node with a script: from the number of a request and its text to its reaction.
    pub(crate) async fn start(script: impl Fn(usize, &str) -> Act + Send + Sync + 'static) -> RawNode {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let bytes: Arc<Mutex<Vec<u8>>> = Arc::default();
        let open: Arc<Mutex<Vec<tokio::task::AbortHandle>>> = Arc::default();
        let script = Arc::new(script);
        let task = tokio::spawn({
            let (requests, bytes, open) = (requests.clone(), bytes.clone(), open.clone());
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let serving = tokio::spawn(converse(stream, script.clone(), requests.clone(), bytes.clone()));
                    open.lock().unwrap().push(serving.abort_handle());
                }
            }
        });
        RawNode { address, requests, bytes, task, open }
    }

    /// A node that answers 200 with its name.
    pub(crate) async fn named(name: &'static str) -> RawNode {
        RawNode::start(move |_, _| ok(name)).await
    }

    /// Closes its listener and all connections, as if it died.
    pub(crate) fn kill(&self) {
        self.task.abort();
        for open in self.open.lock().unwrap().drain(..) {
            open.abort();
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    pub(crate) fn request(&self, number: usize) -> String {
        String::from_utf8_lossy(&self.requests.lock().unwrap()[number]).into_owned()
    }
}

impl Drop for RawNode {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn converse(
    mut stream: TcpStream,
    script: Arc<impl Fn(usize, &str) -> Act>,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
    bytes: Arc<Mutex<Vec<u8>>>,
) {
    let mut buffer = Vec::new();
    loop {
        let request = loop {
            if let Some(end) = whole(&buffer) {
                break buffer.drain(..end).collect::<Vec<u8>>();
            }
            let mut piece = [0; 16 * 1024];
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(read) => {
                    buffer.extend_from_slice(&piece[..read]);
                    bytes.lock().unwrap().extend_from_slice(&piece[..read]);
                }
            }
        };
        let text = String::from_utf8_lossy(&request).into_owned();
        let number = {
            let mut requests = requests.lock().unwrap();
            requests.push(request);
            requests.len() - 1
        };
        match script(number, &text) {
            Act::Say(text) => {
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
            Act::SayAndClose(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                return;
            }
            Act::Reset => {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                return;
            }
            Act::Hang => std::future::pending().await,
        }
    }
}

/// The end of the first whole message in a buffer.
pub(crate) fn whole(buffer: &[u8]) -> Option<usize> {
    let head = find(buffer, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().to_owned())
    };
    if let Some(length) = field("content-length:") {
        let end = head + length.parse::<usize>().ok()?;
        return (buffer.len() >= end).then_some(end);
    }
    if field("transfer-encoding:").is_some() {
        let mut at = head;
        loop {
            let line = find(&buffer[at..], b"\r\n")?;
            let size = std::str::from_utf8(&buffer[at..at + line]).ok()?.split(';').next()?.trim();
            let size = usize::from_str_radix(size, 16).ok()?;
            at += line + 2;
            if size == 0 {
                // Trailers, if any, and the empty line.
                if buffer[at..].starts_with(b"\r\n") {
                    return Some(at + 2);
                }
                return Some(at + find(&buffer[at..], b"\r\n\r\n")? + 4);
            }
            at += size + 2;
            if at > buffer.len() {
                return None;
            }
        }
    }
    Some(head)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// An address where nothing listens, another one each time. The system gives no connection a port below 32768, so none
/// can sit there either.
pub(crate) fn nowhere() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) % 20_000;
        let at = SocketAddr::from(([127, 0, 0, 1], 10_240 + number));
        if std::net::TcpListener::bind(at).is_ok() {
            return at;
        }
    }
}

const PLACES: [(f64, f64); 3] = [(50.11, 8.68), (39.04, -77.49), (1.35, 103.82)];

/// Three regions with nodes at these addresses: Frankfurt, Ashburn, Singapore. A region without nodes is under
/// maintenance.
pub(crate) fn fleet(nodes: [&[SocketAddr]; 3]) -> Fleet {
    let region = |(index, nodes): (usize, &&[SocketAddr])| {
        let addresses = if nodes.is_empty() { vec![nowhere()] } else { nodes.to_vec() };
        let node = |(node, http): (usize, &SocketAddr)| Node {
            name: format!("node-{index}-{node}").try_into().unwrap(),
            at: (*http).into(),
            addresses: Vec::new(),
            weight: 1,
        };
        Region {
            name: ["eu-central", "us-east", "ap-southeast"][index].to_owned().try_into().unwrap(),
            position: Position { latitude: PLACES[index].0, longitude: PLACES[index].1 },
            weight: 1.0,
            capacity: None,
            nodes: addresses.iter().enumerate().map(node).collect(),
        }
    };
    Fleet { regions: nodes.iter().enumerate().map(region).collect() }
}

/// 10/8 and 127/8 belong to the first region, 11/8 to the second, 12/8 to the third. Built once.
fn places() -> Arc<Places> {
    static PLACES: OnceLock<Arc<Places>> = OnceLock::new();
    let build = || {
        let to = |network: &str, region| Override {
            network: network.parse().unwrap(),
            to: Target::Region(RegionIndex(region)),
        };
        let overrides = vec![to("127.0.0.0/8", 0), to("10.0.0.0/8", 0), to("11.0.0.0/8", 1), to("12.0.0.0/8", 2)];
        let locator = Locator::new(overrides, Database::shipped().unwrap());
        let fleet = fleet([&[], &[], &[]]);
        Arc::new(Places::build(locator, |located| Nearest.order(&fleet, located)).unwrap())
    };
    PLACES.get_or_init(build).clone()
}

/// A view of a fleet with its regions in these states; demand is per class.
pub(crate) fn view(fleet: &Arc<Fleet>, states: [RegionState; 3], demand: f64) -> Arc<View> {
    let places = places();
    let serves = states.map(|state| if state.serves() { 1.0 } else { 0.0 });
    let fail_open = serves.iter().all(|admission| *admission == 0.0);
    let admission = if fail_open { [1.0; 3] } else { serves };
    let demand = vec![demand; places.classes().len()];
    let moment = PolicyInput { fleet, admission: &admission, places: places.classes(), demand: &demand };
    let regions = fleet.regions.iter().zip(states).map(|(region, state)| RegionView {
        state,
        admission: 1.0,
        nodes_up: vec![true; region.nodes.len()],
    });
    Arc::new(View {
        epoch: 1,
        connector: Arc::default(),
        signals: Arc::new(Signals::new(fleet, places.classes().len())),
        fleet: fleet.clone(),
        regions: regions.collect(),
        assignment: Nearest.assign(&moment),
        places,
        ttl: 30,
        fail_open,
        frozen: false,
    })
}

/// A running edge.
pub(crate) struct World {
    pub server: EdgeServer,
    pub address: SocketAddr,
    pub fleet: Arc<Fleet>,
    pub signals: Arc<Signals>,
    pub registry: prometheus::Registry,
    pub views: watch::Sender<Arc<View>>,
    pub stop: watch::Sender<bool>,
}

/// `[edge]` for tests: loopback is trusted, as if there were a proxy in front of the edge.
pub(crate) fn section(more: &str) -> EdgeSection {
    let text = format!("listen = \"127.0.0.1:0\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n{more}");
    toml::from_str(&text).unwrap()
}

impl World {
    /// An edge in front of nodes at these addresses, with additional text in its section.
    pub(crate) async fn new(nodes: [&[SocketAddr]; 3], more: &str) -> World {
        World::with(fleet(nodes), nodes.map(|nodes| !nodes.is_empty()), section(more)).await
    }

    /// An edge in front of one node.
    pub(crate) async fn one(node: &RawNode, more: &str) -> World {
        World::new([&[node.address], &[], &[]], more).await
    }

    pub(crate) async fn with(fleet: Fleet, up: [bool; 3], section: EdgeSection) -> World {
        let fleet = Arc::new(fleet);
        let states = up.map(|up| if up { RegionState::Up } else { RegionState::Maintenance });
        let view = view(&fleet, states, 0.0);
        let signals = view.signals.clone();
        let (views, receiver) = watch::channel(view);
        let (stop, stopping) = watch::channel(false);
        let registry = prometheus::Registry::new();
        let metrics = Arc::new(EdgeMetrics::register(&registry).unwrap());
        let config = EdgeConfig::check(section, std::path::Path::new("/")).unwrap();
        let server = EdgeServer::start(config, receiver, metrics, stopping).await.unwrap();
        World { address: server.address(), server, fleet, signals, registry, views, stop }
    }

    pub(crate) async fn ask(&self, request: &str) -> Reply {
        ask(self.address, request).await
    }

    /// A GET from an address.
    pub(crate) async fn get(&self, path: &str, headers: &str) -> Reply {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: venue.test\r\n{headers}\r\n")).await
    }

    /// The state of the breaker of a region's first node.
    pub(crate) fn breaker(&self, region: usize) -> BreakerState {
        let region = &self.fleet.regions[region];
        self.server.breakers().state(&region.name, &region.nodes[0].name)
    }

    /// How many connections a listener refused or closed for this reason.
    pub(crate) fn ended(&self, listener: &str, reason: &str) -> f64 {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let name = format!("meridian_router_connections_ended_total{{listener=\"{listener}\",reason=\"{reason}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0.0, |count| count.parse().unwrap())
    }

    /// The sum of a metric's samples whose labels contain this text.
    pub(crate) fn metric(&self, name: &str, labels: &str) -> f64 {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let name = format!("meridian_router_edge_{name}");
        let lines = text.lines().filter(|line| line.starts_with(&name) && line.contains(labels));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }
}

/// A client's answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
    /// Everything that the client read, including what followed the answer.
    pub raw: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let line = |line: &&str| line.split(':').next().is_some_and(|one| one.eq_ignore_ascii_case(name));
        self.head.lines().find(line).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }
}

/// A raw client's connection.
pub(crate) struct Client(pub TcpStream, Vec<u8>);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Client {
        Client(soon(TcpStream::connect(address)).await.unwrap(), Vec::new())
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The edge may refuse early and have closed by now.
        let _ = soon(self.0.write_all(bytes.as_ref())).await;
    }

    /// Reads until the buffer has this text.
    pub(crate) async fn read_until(&mut self, text: &str) -> String {
        soon(async {
            while find(&self.1, text.as_bytes()).is_none() {
                assert!(self.more().await, "closed after {:?}", String::from_utf8_lossy(&self.1));
            }
        })
        .await;
        let end = find(&self.1, text.as_bytes()).unwrap() + text.len();
        String::from_utf8_lossy(&self.1.drain(..end).collect::<Vec<_>>()).into_owned()
    }

    async fn more(&mut self) -> bool {
        // Not an array: it would be part of every future that waits here.
        self.1.reserve(64 * 1024);
        matches!(self.0.read_buf(&mut self.1).await, Ok(read) if read > 0)
    }

    /// Reads one answer; with `head`, that to a HEAD.
    pub(crate) async fn reply(&mut self, head: bool) -> Reply {
        soon(async {
            loop {
                let end = if head { find(&self.1, b"\r\n\r\n").map(|at| at + 4) } else { answer_end(&self.1) };
                if let Some(end) = end {
                    let raw: Vec<u8> = self.1.drain(..end).collect();
                    return parse(&raw);
                }
                if !self.more().await {
                    let raw = std::mem::take(&mut self.1);
                    return parse(&raw);
                }
            }
        })
        .await
    }

    /// Reads until the connection is closed.
    pub(crate) async fn rest(&mut self) -> String {
        soon(async { while self.more().await {} }).await;
        String::from_utf8_lossy(&std::mem::take(&mut self.1)).into_owned()
    }
}

fn answer_end(buffer: &[u8]) -> Option<usize> {
    let head = find(buffer, b"\r\n\r\n")? + 4;
    match buffer.get(9..12)? {
        // Heads without a body.
        b"204" | b"304" | b"101" => Some(head),
        [b'1', ..] => Some(head),
        _ => whole(buffer),
    }
}

fn parse(raw: &[u8]) -> Reply {
    let text = String::from_utf8_lossy(raw).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
    Reply { status, head: head.to_owned(), body: body.to_owned(), raw: text.clone() }
}

/// Sends one request on its own connection.
pub(crate) async fn ask(address: SocketAddr, request: &str) -> Reply {
    let mut client = Client::connect(address).await;
    client.send(request).await;
    client.reply(request.starts_with("HEAD ")).await
}

/// A PUT with a body.
pub(crate) fn put(path: &str, headers: &str, body: &str) -> String {
    format!("PUT {path} HTTP/1.1\r\nHost: venue.test\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}
