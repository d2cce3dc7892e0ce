//! Clients without a credential that try to use up a node's or a router's memory, connections, disk and processors.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::unistd::Pid;
use node::config::{LimitsSection, NewVenues, RegistrySection};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::common::{Call, Deployment, MERIDIAN, Up, Venue, holds};

const SOON: Duration = Duration::from_secs(60);

/// What a process may grow by under each of these attacks. An attacker sends a few hundred KiB.
const CEILING_MIB: u64 = 400;

/// The resident memory of a process in MiB.
fn resident(pid: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// Opens HTTP/2 connections with shut windows, and asks on each for `path` many times. Returns once three quarters are
/// closed; the others may stay for as long as `unread_s` says.
async fn shut_windows(at: SocketAddr, connections: usize, streams: usize, path: &str, authorization: &str) {
    let mut open = JoinSet::new();
    for _ in 0..connections {
        // The server may close the connection at any of these steps, which is what is wanted.
        let Ok(stream) = TcpStream::connect(at).await else { continue };
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(0).adaptive_window(false);
        let Ok((send, connection)) = builder.handshake(TokioIo::new(stream)).await else { continue };
        let mut asks = JoinSet::new();
        for _ in 0..streams {
            let mut send = send.clone();
            let request = Request::get(format!("http://{at}{path}")).header("authorization", authorization);
            let request = request.body(Empty::<Bytes>::new()).unwrap();
            asks.spawn(async move {
                let answer = send.send_request(request).await;
                // The answer is held and never read.
                std::future::pending::<()>().await;
                drop(answer);
            });
        }
        open.spawn(async move {
            let _ended = connection.await;
            asks.shutdown().await;
            drop(send);
        });
    }
    while open.len() > connections / 4 {
        open.join_next().await;
    }
}

/// Checks guests in one after the other until `attack` has ended; each must be answered. Calls `look` after each.
fn check_in_meanwhile(
    venue: &Venue,
    at: SocketAddr,
    attack: impl Future<Output = ()> + Send + 'static,
    mut look: impl FnMut(),
) -> usize {
    let runtime = Runtime::new().unwrap();
    let attack = runtime.spawn(attack);
    let (mut answered, begun) = (0, Instant::now());
    while !attack.is_finished() || answered < 20 {
        let taken = venue.visit("Zoë", "+49 151 2345678").put().to(at);
        // An edge sends it again when a node is slow, and then it may be a repeat.
        assert!(matches!(taken.status, 200 | 201), "{taken:?}");
        answered += 1;
        look();
        assert!(begun.elapsed() < SOON, "the attacker still has connections");
    }
    runtime.block_on(attack).unwrap();
    answered
}

/// Runs an attack on a listener of a process: its memory stays below the ceiling, and check-ins are answered.
fn withstands(what: &str, pid: Pid, venue: &Venue, at: SocketAddr, attack: impl Future<Output = ()> + Send + 'static) {
    let before = resident(pid);
    let mut most = before;
    let answered = check_in_meanwhile(venue, at, attack, || most = most.max(resident(pid)));
    let grown = most - before;
    assert!(grown <= CEILING_MIB, "{what}: {before} MiB grew by {grown}; {answered} check-ins were answered");
}

#[test]
fn windows_that_stay_shut_cost_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let venue = Venue::make(up.node(0), "14d");
    for region in 0..3 {
        holds("the venue is known", SOON, || Call::new("GET", &venue.path).to(up.node(region)).status == 200);
    }
    let (edge, node) = (up.edge(), up.node(0));
    let router = up.pid("router-1");
    withstands("the edge", router, &venue, edge, shut_windows(edge, 100, 100, "/v1/openapi.json", ""));
    withstands("the node", up.pid("eu-central"), &venue, node, shut_windows(node, 100, 100, "/v1/openapi.json", ""));
    // A guest list is read from the store for each request; every client can make a venue and so has a key.
    let (list, key) = (format!("{}/guests", venue.path), format!("Bearer {}", venue.key));
    let attack = async move { shut_windows(node, 10, 100, &list, &key).await };
    withstands("lists", up.pid("eu-central"), &venue, node, attack);
    up.stop();
}

/// Sends requests from `from` without reading anything. Returns once the server has closed all connections.
async fn never_read(from: SocketAddr, at: SocketAddr, connections: usize) {
    let mut open = JoinSet::new();
    for _ in 0..connections {
        open.spawn(async move {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4 << 10).unwrap();
            socket.bind(from).unwrap();
            let Ok(mut stream) = socket.connect(at).await else { return };
            let requests = format!("GET /v1/openapi.json HTTP/1.1\r\nHost: {at}\r\n\r\n").repeat(100);
            if stream.write_all(requests.as_bytes()).await.is_err() {
                return;
            }
            // A server that has given up answers the next byte with a reset.
            while stream.write_all(b"G").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
    }
    open.join_all().await;
}

#[test]
fn clients_that_never_read_lock_nobody_out() {
    let limits = LimitsSection {
        connections: 100,
        connections_per_client: 60,
        unread_s: 3,
        routers: Vec::new(),
        ..LimitsSection::default()
    };
    let mut deployment = Deployment::limited(&limits);
    let node = deployment.nodes[0].public;
    let venue = Venue::make(node, "14d");
    let pid = deployment.nodes[0].process().pid();
    // Two strangers want all the connections there are and more; each gets its share, and for three seconds. Guests, who
    // come from another address and are no routers, then get theirs.
    let attack = async move {
        let strangers = ["127.77.0.1:0", "127.77.0.2:0"].map(|from| never_read(from.parse().unwrap(), node, 110));
        let [first, second] = strangers;
        tokio::join!(first, second);
    };
    withstands("never read", pid, &venue, node, attack);
    deployment.nodes[0].wait_ready();
}

#[test]
fn strangers_make_few_venues_and_few_tombstones() {
    let limits =
        LimitsSection { routers: Vec::new(), venues_per_hour: 3, erasures_per_hour: 5, ..LimitsSection::default() };
    let deployment = Deployment::limited(&limits);
    let node = deployment.nodes[0].public;
    let venue = Venue::make(node, "14d");
    let new = serde_json::json!({"name": "Café", "timezone": "Europe/Berlin"});
    let make = || Call::new("POST", "/v1/venues").json(&new).to(node);
    assert_eq!([make().status, make().status], [201, 201]);
    let refused = make();
    assert!(refused.header("retry-after").is_some_and(|after| after.parse::<u32>().unwrap() > 1));
    assert_eq!(refused.problem(429)["type"], "urn:meridian:problem:rate-limited");
    // Check-ins have no limit, and neither have erasures of visits that are here.
    for _ in 0..10 {
        let visit = venue.visit("Zoë", "+49 151 2345678");
        visit.check_in(node).expect(201);
        visit.erase().to(node).expect(204);
        visit.erase().to(node).expect(204);
    }
    let erase = || venue.visit("Zoë", "+49 151 2345678").erase().to(node);
    assert!((0..5).all(|_| erase().status == 204));
    assert_eq!(erase().problem(429)["type"], "urn:meridian:problem:rate-limited");
    // No region knows this venue.
    let nowhere = Venue { path: "/v1/venues/00000000000000000000000000".to_owned(), ..venue };
    assert_eq!(nowhere.visit("Zoë", "1").erase().to(node).problem(404)["type"], "urn:meridian:problem:no-such-venue");
}

fn command(deployment: &Deployment, arguments: &[&str]) -> Output {
    let admin = format!("http://{}", deployment.nodes[0].admin);
    let mut command = Command::new(MERIDIAN);
    command.arg("venue").args(arguments).args(["--admin", &admin, "--by", "mk"]).env_remove("MERIDIAN_TOKEN");
    command.output().unwrap()
}

#[test]
fn venues_need_an_invitation_and_operators_close_them() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "07".repeat(32)).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let registry =
        RegistrySection { new_venues: NewVenues::Invited, console_keys: vec![key], ..RegistrySection::default() };
    let deployment = Deployment::with_registry(registry);
    let node = deployment.nodes[0].public;
    let new = serde_json::json!({"name": "Café", "timezone": "Europe/Berlin"});
    let make = |invitation: &str| {
        Call::new("POST", "/v1/venues").header("Meridian-Invitation", invitation).json(&new).to(node)
    };
    let needed = "urn:meridian:problem:invitation-needed";
    assert_eq!(Call::new("POST", "/v1/venues").json(&new).to(node).problem(403)["type"], needed);
    assert_eq!(make(&"A".repeat(32)).problem(403)["type"], needed);
    let made = command(&deployment, &["invite", "--for", "1h", "--json"]);
    assert!(made.status.success(), "{made:?}");
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let invitation = made["invitation"].as_str().unwrap();
    let venue = make(invitation).expect(201).json()["venue_id"].as_str().unwrap().to_owned();
    // The same from the page: the link brings the invitation along.
    let page = Call::new("GET", format!("/console/register?invitation={invitation}&name=Evil&seed=A")).to(node);
    let page = page.expect(200);
    let text = page.text();
    assert!(text.contains(&format!("name=\"invitation\" value=\"{invitation}\"")) && !text.contains("Evil"), "{text}");
    let removed = command(&deployment, &["remove", &venue, "--reason", "nobody knows it"]);
    assert!(removed.status.success(), "{removed:?}");
    Call::new("GET", format!("/v1/venues/{venue}")).to(node).problem(410);
    assert!(!command(&deployment, &["remove", &venue]).status.success(), "it is closed already");
    let audit = Call::new("GET", "/v1/admin/audit").to(deployment.nodes[0].admin).expect(200);
    assert!(audit.text().contains("is closed") && audit.text().contains("an invitation to make a venue"));
}
