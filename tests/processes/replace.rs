//! A router that replaces another (`meridian router --replace`), and what becomes of event streams when a router stops, a
//! region is taken out, or a node hangs.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::fake::FakeNode;
use crate::common::process::Process;
use crate::common::router::{AMERICAN, EUROPEAN, Router, SOON, hold};
use crate::common::traffic::Traffic;
use crate::common::{Call, MERIDIAN, Up, client, dns, holds, net};

/// Replacements in a row, unless `MERIDIAN_REPLACEMENTS` says how many.
const REPLACEMENTS: usize = 4;

/// A stream of events that a test reads.
struct Stream {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Stream {
    /// Opens one and reads its first event.
    fn open(edge: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Stream {
        let mut call = Call::new("GET", path);
        for (name, value) in headers {
            call = call.header(name, *value);
        }
        let mut stream = client::connect(edge).unwrap();
        stream.write_all(&call.render("meridian.test")).unwrap();
        let mut stream = Stream { stream, bytes: Vec::new() };
        while !stream.bytes.windows(4).any(|some| some == b"\r\n\r\n") || !stream.bytes.ends_with(b"\n\n\r\n") {
            assert!(stream.read() > 0, "{}", stream.text());
        }
        stream
    }

    fn read(&mut self) -> usize {
        let mut piece = [0; 4_096];
        let read = self.stream.read(&mut piece).unwrap();
        self.bytes.extend_from_slice(&piece[..read]);
        read
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Waits for a clean end. Returns how long it took.
    #[track_caller]
    fn ends(mut self, limit: Duration) -> Duration {
        self.stream.set_read_timeout(Some(limit)).unwrap();
        let begun = Instant::now();
        while self.read() > 0 {}
        let text = self.text();
        assert!(text.ends_with("\r\n0\r\n\r\n"), "it broke off: {text}");
        // The last words tell when to come back, and nothing else.
        assert!(text.contains("\r\nretry: "), "{text}");
        begun.elapsed()
    }
}

#[test]
fn a_router_is_replaced_again_and_again_and_nothing_is_lost() {
    let replacements = std::env::var("MERIDIAN_REPLACEMENTS").map_or(REPLACEMENTS, |number| number.parse().unwrap());
    let (eu, us) = (FakeNode::start("eu"), FakeNode::start("us"));
    let mut router = Router::start_with(&[&eu, &us], |text| with_timeouts(&text, "drain_ms = 4000"));
    holds("both regions are up", SOON, || router.regions() == ["eu up", "us up"]);
    let traffic = Traffic::start(router.at[1], router.at[2]);
    let mut longest = Duration::ZERO;
    for _ in 0..replacements {
        let held = hold(router.at[1], AMERICAN);
        holds("a request is under way", SOON, || us.held() == 1);
        let ends = traffic.seen.ends.load(Ordering::Relaxed);
        let mut old = router.replace();
        let begun = Instant::now();
        holds("the streams have ended", SOON, || traffic.seen.ends.load(Ordering::Relaxed) >= ends + 4);
        longest = longest.max(begun.elapsed());
        // What is under way at the old router still ends in peace.
        us.release();
        assert_eq!(held().expect(200).text(), "us");
        us.hold_again();
        traffic.goes_on();
        let (status, _) = old.ended(SOON);
        assert!(status.success(), "{status}: {}", router.log());
        assert_eq!(router.regions(), ["eu up", "us up"]);
        assert_eq!([EUROPEAN, AMERICAN].map(|client| router.answered(client)), ["eu", "us"]);
    }
    let seen = traffic.ends_without_a_loss();
    assert!(!router.log().contains("panicked"), "{}", router.log());
    let number = |counter: &std::sync::atomic::AtomicUsize| counter.load(Ordering::Relaxed);
    println!(
        "{replacements} replacements: {} requests, slowest {} ms; {} queries over UDP, {} over TCP; {} streams ended, \
         the last {} ms after the new router served",
        number(&seen.requests),
        number(&seen.slowest) / 1_000,
        number(&seen.udp),
        number(&seen.tcp),
        number(&seen.ends),
        longest.as_millis()
    );
    // Every write reached a node exactly once.
    assert_eq!(eu.written() + us.written(), number(&seen.writes));
    let mode = std::fs::metadata(router.folder.path().join("store/replace.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    router.process.signal(Signal::SIGTERM);
    assert!(router.process.ended(SOON).0.success());
    assert!(!router.folder.path().join("store/replace.sock").exists());
}

/// A connection on which nothing is under way when the router is replaced is still good for one request, and is then closed
/// as HTTP has it. One on which none comes is closed after half of `drain_ms`.
#[test]
fn a_connection_to_the_old_router_ends_with_its_next_answer() {
    let eu = FakeNode::start("eu");
    let mut router = Router::start_with(&[&eu], |text| with_timeouts(&text, "drain_ms = 6000\nhead_ms = 60000"));
    let edge = router.at[1];
    let request = "GET / HTTP/1.1\r\nHost: meridian.test\r\n\r\n";
    let ask = |stream: &mut TcpStream| {
        stream.write_all(request.as_bytes()).unwrap();
        client::read(stream).unwrap().expect(200)
    };
    let mut used = client::connect(edge).unwrap();
    assert_eq!(ask(&mut used).header("connection"), None);
    let (mut idle, mut fresh) = (client::connect(edge).unwrap(), client::connect(edge).unwrap());
    ask(&mut idle);
    // The old router accepts all that came before it was replaced.
    holds("it has accepted them", SOON, || router.metrics().contains("meridian_router_edge_connections 3\n"));
    let mut old = router.replace();
    let begun = Instant::now();
    // From here on new connections go to the new router. The old one has half of its six seconds for these.
    for stream in [&mut used, &mut fresh] {
        assert_eq!(ask(stream).header("connection"), Some("close"));
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it is closed");
    }
    assert_eq!(idle.read(&mut [0]).unwrap(), 0, "it is closed");
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(old.ended(SOON).0.success());
    assert!(!router.log().contains("panicked"), "{}", router.log());
}

/// The configuration with these keys under `[edge.timeouts]`.
fn with_timeouts(text: &str, keys: &str) -> String {
    text.replace("[dns]", &format!("[edge.timeouts]\n{keys}\n[dns]"))
}

#[test]
fn a_replacement_changes_addresses_and_what_sighup_cannot() {
    let eu = FakeNode::start("eu");
    let mut router = Router::start(&[&eu]);
    let text = std::fs::read_to_string(router.folder.path().join("router.toml")).unwrap();
    let more = net::free(net::address(), 1)[0];
    let (old_edge, new_edge) = (router.at[1], more);
    // The first address goes and another one comes; DNS gets another name server.
    let changed =
        text.replace(&old_edge.to_string(), &new_edge.to_string()).replace("name = \"ns1\"", "name = \"ns2\"");
    std::fs::write(router.folder.path().join("router.toml"), changed).unwrap();
    let mut old = router.replace();
    router.at[1] = new_edge;
    assert_eq!(router.answered(EUROPEAN), "eu");
    assert!(old.ended(SOON).0.success());
    assert!(client::connect(old_edge).is_err(), "nothing listens at the old address");
    let answer = dns::ask(router.at[2], "meridian.test.", hickory_proto::rr::RecordType::NS, EUROPEAN).unwrap();
    assert!(answer.answers.iter().any(|record| record.data.to_string().contains("ns2")), "{answer:?}");
}

/// The file without the key at its head.
fn without_pid_file(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("pid_file")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_replacement_that_fails_changes_nothing() {
    let eu = FakeNode::start("eu");
    let mut router = Router::start(&[&eu]);
    let traffic = Traffic::start(router.at[1], router.at[2]);
    let text = std::fs::read_to_string(router.folder.path().join("router.toml")).unwrap();
    let foreign = std::net::TcpListener::bind(net::free(net::address(), 1)[0]).unwrap();
    let nowhere = net::free(net::address(), 1)[0];
    for (bad, code, said) in [
        // Refused before the running router notices.
        (text.replace("interval_ms = 1000", "interval_ms = 1"), 2, "health.interval_ms"),
        (text.replace("[health]", "[location]\ndatabase = \"missing.mmdb\"\n[health]"), 1, "location.database"),
        (format!("pid_file = \"missing/pid\"\n{}", without_pid_file(&text)), 1, "cannot write the process id"),
        // Refused when the sockets are there already.
        (text.replace(&router.at[1].to_string(), &foreign.local_addr().unwrap().to_string()), 1, "cannot listen on"),
        (text.replace(&eu.address.to_string(), &nowhere.to_string()), 1, "reaches none of the nodes"),
    ] {
        let file = router.folder.path().join("bad.toml");
        std::fs::write(&file, bad).unwrap();
        let mut command = Command::new(MERIDIAN);
        let output = command.args(["router", "--replace", "--config"]).arg(&file).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}: {words}");
        assert!(words.contains(said), "{said}: {words}");
    }
    // One is killed while it looks around, which takes as long as its probe.
    eu.hangs(true);
    let killed = router.replacement(&router.folder.path().join("router.toml"));
    holds("it has the sockets", SOON, || router.log().contains("the running router shares its sockets"));
    killed.kill();
    eu.hangs(false);
    holds("the running router says so", SOON, || router.log().matches("this router goes on as before").count() == 3);
    traffic.goes_on();
    traffic.ends_without_a_loss();
    assert!(router.process.runs());
    // It can still be replaced.
    let mut old = router.replace();
    assert!(old.ended(SOON).0.success());
}

/// What another process may do at the socket changes nothing.
#[test]
fn strangers_at_the_socket_change_nothing() {
    let eu = FakeNode::start("eu");
    let mut router = Router::start(&[&eu]);
    let socket = router.folder.path().join("store/replace.sock");
    let mut silent = UnixStream::connect(&socket).unwrap();
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[0, 0, 0, 2, b'{', b'}'], b"\0\0\0\x0d{\"replace\":2}", b""]
    {
        let mut stream = UnixStream::connect(&socket).unwrap();
        // The router may close before it has read everything.
        let _ = stream.write_all(garbage);
        drop(stream);
    }
    let log = "a process was to replace this router and did not";
    // Also the one that says nothing is sent away.
    holds("all are sent away", SOON, || router.log().matches(log).count() >= 6);
    assert_eq!(silent.read(&mut [0; 8]).unwrap(), 0);
    // One that asks properly and then says nothing keeps no other from being answered at the other sockets.
    assert_eq!(router.answered(EUROPEAN), "eu");
    if std::fs::metadata(&socket).unwrap().uid() == 0 {
        // Another user, even if it could open the file.
        for path in [router.folder.path(), &router.folder.path().join("store")] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
        let mut command = Command::new("python3");
        let script = "import socket, sys\n\
                      s = socket.socket(socket.AF_UNIX)\n\
                      s.connect(sys.argv[1])\n\
                      try:\n \
                       s.sendall(b'\\0\\0\\0\\x0d{\"replace\":1}')\n \
                       got = len(s.recv(9))\n\
                      except OSError: got = 0\n\
                      sys.exit(got)";
        std::os::unix::process::CommandExt::uid(&mut command, 65_534);
        if let Ok(output) = command.args(["-c", script]).arg(&socket).output() {
            println!("another user: {output:?}");
            holds("it is refused", SOON, || router.log().contains("it is a process of another user"));
            assert_eq!(output.status.code(), Some(0), "it gets nothing: {output:?}");
        }
    }
    let mut old = router.replace();
    assert!(old.ended(SOON).0.success());
}

/// As the README has an operator do it.
#[test]
fn up_says_that_its_router_was_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let mut command = Command::new(MERIDIAN);
    command.args(["router", "--replace", "--config"]).arg(up.data.join("router-1/router.toml"));
    let successor = Process::logged(&mut command, &folder.path().join("successor.log"));
    let said = || std::fs::read_to_string(up.data.with_extension("out")).unwrap();
    holds("`up` says so", SOON, || said().contains("router-1 was replaced by process"));
    assert!(!said().contains("died") && !said().contains("is back"), "{}", said());
    assert!(said().contains(&format!("by process {};", successor.pid())), "{}", said());
    Call::new("GET", "/v1/cluster").to(up.edge()).expect(200);
}

#[test]
fn without_a_router_that_runs_a_replacement_starts_as_usual() {
    let eu = FakeNode::start("eu");
    let mut router = Router::start(&[&eu]);
    router.process.signal(Signal::SIGKILL);
    router.process.ended(SOON);
    // The socket of the dead one is still there.
    assert!(router.folder.path().join("store/replace.sock").exists());
    router.process = router.replacement(&router.folder.path().join("router.toml"));
    router.wait();
    assert_eq!(router.answered(EUROPEAN), "eu");
}

#[test]
fn a_stop_ends_streams_at_once_and_dns_answers_until_the_edge_is_drained() {
    for signal in [Signal::SIGTERM, Signal::SIGQUIT] {
        let (eu, us) = (FakeNode::start("eu"), FakeNode::start("us"));
        let mut router = Router::start(&[&eu, &us]);
        holds("both regions are up", SOON, || router.regions() == ["eu up", "us up"]);
        // With streams alone the stop takes no time.
        let streams: Vec<Stream> = (0..3)
            .map(|_| Stream::open(router.at[1], "/v1/venues/x/changes", &[("X-Forwarded-For", EUROPEAN)]))
            .collect();
        let begun = Instant::now();
        router.process.signal(signal);
        let took = streams.into_iter().map(|stream| stream.ends(SOON)).max();
        let (status, _) = router.process.ended(SOON);
        println!("{signal}: the streams ended after {took:?}, the router after {:?}", begun.elapsed());
        assert!(status.success() && begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        holds("the node is left", SOON, || eu.streams() == 0);
        // With a request under way the router ends after it, and answers DNS meanwhile.
        router.process = Router::process(&router.folder);
        router.wait();
        let held = hold(router.at[1], AMERICAN);
        holds("a request is under way", SOON, || us.held() == 1);
        router.process.signal(signal);
        holds("the edge takes no connection", SOON, || client::connect(router.at[1]).is_err());
        for _ in 0..10 {
            assert!(router.resolves(AMERICAN, &us));
        }
        us.release();
        held().expect(200);
        assert!(router.process.ended(SOON).0.success());
    }
}

#[test]
fn streams_end_when_their_node_hangs_or_their_region_is_under_maintenance() {
    let (eu, us) = (FakeNode::start("eu"), FakeNode::start("us"));
    // The verdict comes after three probes.
    let router = Router::start_with(&[&eu, &us], |text| text.replace("down_after = 10", "down_after = 3"));
    holds("both regions are up", SOON, || router.regions() == ["eu up", "us up"]);
    let open = |client: &str| Stream::open(router.at[1], "/v1/venues/x/changes", &[("X-Forwarded-For", client)]);
    let (european, american) = (open(EUROPEAN), open(AMERICAN));
    eu.hangs(true);
    let took = european.ends(SOON);
    println!("the stream of the node that hangs ended after {took:?}");
    holds("it is down", SOON, || router.regions()[0] == "eu down");
    // The client comes back to the other region, and the stream there was not touched.
    let again = open(EUROPEAN);
    assert_eq!(us.streams(), 2);
    eu.hangs(false);
    holds("it is up again", SOON, || router.regions() == ["eu up", "us up"]);
    // A region that was taken out by an operator.
    us.orders(&[("us", "maintenance")]);
    eu.orders(&[("us", "maintenance")]);
    let took = [american.ends(SOON), again.ends(SOON)];
    println!("the streams of the region under maintenance ended after {took:?}");
    let _back = open(AMERICAN);
    holds("the nodes know it", SOON, || (eu.streams(), us.streams()) == (1, 0));
}
