//! Clients of a router that repeat nothing: whatever is lost is seen. Requests of all kinds on connections that stay open
//! until the router says that they end, and on connections of their own; event streams; DNS over UDP and TCP.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};

use super::client::{self, Call};
use super::holds;

/// How long a busy machine may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take until every client has sent something.
const SOON: Duration = Duration::from_secs(60);

/// What clients have seen so far.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) requests: AtomicUsize,
    /// Requests with a body.
    pub(crate) writes: AtomicUsize,
    pub(crate) udp: AtomicUsize,
    pub(crate) tcp: AtomicUsize,
    /// Streams that were opened, and that ended cleanly.
    pub(crate) streams: AtomicUsize,
    pub(crate) ends: AtomicUsize,
    /// Streams that are open.
    pub(crate) open: AtomicUsize,
    /// Requests that waited for longest, in microseconds.
    pub(crate) slowest: AtomicUsize,
    failures: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Seen {
    fn failed(&self, what: &str, why: impl std::fmt::Display) {
        self.failures.lock().unwrap().push(format!("{what}: {why}"));
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Clients that are at work.
pub(crate) struct Traffic {
    pub(crate) seen: Arc<Seen>,
    clients: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// About 200 requests and 100 queries a second, and four streams.
    pub(crate) fn start(edge: SocketAddr, dns: SocketAddr) -> Traffic {
        let mut traffic = Traffic { seen: Arc::default(), clients: Vec::new() };
        for number in 0..8 {
            traffic.client(move |seen| requests(seen, edge, number));
        }
        for _ in 0..4 {
            traffic.client(move |seen| stream(seen, edge));
        }
        for _ in 0..2 {
            traffic.client(move |seen| datagrams(seen, dns));
            traffic.client(move |seen| connections(seen, dns));
        }
        traffic.goes_on();
        traffic
    }

    fn client(&mut self, work: impl FnOnce(&Seen) + Send + 'static) {
        let seen = Arc::clone(&self.seen);
        self.clients.push(std::thread::spawn(move || work(&seen)));
    }

    /// Waits until some more of everything was answered and every stream is open.
    #[track_caller]
    pub(crate) fn goes_on(&self) {
        let counters = [&self.seen.requests, &self.seen.udp, &self.seen.tcp];
        let before = counters.map(|counter| counter.load(Ordering::Relaxed));
        holds("the traffic goes on", SOON, || {
            let more = counters.iter().zip(before).all(|(now, before)| now.load(Ordering::Relaxed) >= before + 20);
            more && self.seen.open.load(Ordering::Relaxed) == 4
        });
    }

    /// Ends the traffic; fails if anything was lost. Returns what was seen.
    #[track_caller]
    pub(crate) fn ends_without_a_loss(self) -> Arc<Seen> {
        self.seen.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        let failures = self.seen.failures.lock().unwrap().clone();
        let all = self.seen.requests.load(Ordering::Relaxed);
        assert!(failures.is_empty(), "{} lost, of {all} requests: {failures:#?}", failures.len());
        self.seen
    }
}

/// Requests of all kinds. Every fourth client opens a connection for each.
fn requests(seen: &Seen, edge: SocketAddr, number: usize) {
    let keeps = !number.is_multiple_of(4);
    let client = ["10.1.0.1", "10.2.0.1", "10.3.0.1"][number % 3];
    let mut kept: Option<TcpStream> = None;
    let mut sent = 0;
    while seen.goes_on() {
        let begun = Instant::now();
        let method = ["GET", "PUT", "POST"][(sent + number) % 3];
        sent += 1;
        let body = if method == "GET" { String::new() } else { format!("{{\"client\":{number},\"request\":{sent}}}") };
        let connection = if keeps { "" } else { "Connection: close\r\n" };
        let request = format!(
            "{method} /v1/visits/{number} HTTP/1.1\r\nHost: meridian.test\r\nX-Forwarded-For: {client}\r\n{connection}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let stream = kept.take().map_or_else(|| client::connect(edge), Ok);
        let answered = stream.and_then(|mut stream| {
            stream.write_all(request.as_bytes())?;
            let answer = client::read(&mut stream)?;
            Ok((stream, answer))
        });
        match answered {
            Ok((stream, answer)) if answer.status == 200 => {
                count(&seen.requests);
                seen.writes.fetch_add(usize::from(method != "GET"), Ordering::Relaxed);
                let closes = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
                kept = (keeps && !closes).then_some(stream);
            }
            Ok((_, answer)) => seen.failed(method, format!("{} {}", answer.status, answer.text())),
            Err(error) => seen.failed(method, error),
        }
        seen.slowest.fetch_max(begun.elapsed().as_micros() as usize, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(40).saturating_sub(begun.elapsed()));
    }
}

/// A stream that is opened again each time that it ends, as a browser does.
fn stream(seen: &Seen, edge: SocketAddr) {
    while seen.goes_on() {
        match read_stream(seen, edge) {
            Ok(true) => count(&seen.ends),
            Ok(false) => return,
            Err(error) => seen.failed("stream", error),
        }
    }
}

/// Opens a stream and reads it to its end. Returns whether it has ended, and cleanly.
fn read_stream(seen: &Seen, edge: SocketAddr) -> io::Result<bool> {
    let mut stream = client::connect(edge)?;
    let call = Call::new("GET", "/v1/venues/x/changes").header("X-Forwarded-For", "10.1.0.1");
    stream.write_all(&call.render("meridian.test"))?;
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    let (mut bytes, mut piece, mut is_open) = (Vec::new(), [0; 4_096], false);
    let ended = loop {
        match stream.read(&mut piece) {
            Ok(0) if bytes.ends_with(b"\r\n0\r\n\r\n") => break Ok(true),
            Ok(0) => break Err(io::Error::other(format!("it broke off: {}", String::from_utf8_lossy(&bytes)))),
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => break Err(error),
        }
        if !is_open && bytes.windows(8).any(|some| some == b": here\n\n") {
            is_open = true;
            count(&seen.streams);
            count(&seen.open);
        }
        if !seen.goes_on() {
            break Ok(false);
        }
    };
    if is_open {
        seen.open.fetch_sub(1, Ordering::Relaxed);
    }
    ended
}

fn query() -> Message {
    let mut query = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    query.add_query(Query::query(Name::from_ascii("checkin.meridian.test.").unwrap(), RecordType::A));
    query
}

fn check(answer: &[u8], query: &Message) -> io::Result<()> {
    let answer = Message::from_vec(answer).map_err(io::Error::other)?;
    if answer.metadata.id == query.metadata.id && !answer.answers.is_empty() {
        Ok(())
    } else {
        Err(io::Error::other(format!("a wrong answer: {answer:?}")))
    }
}

/// Queries over UDP, each sent once from a port of its own.
fn datagrams(seen: &Seen, dns: SocketAddr) {
    while seen.goes_on() {
        let query = query();
        let asked = || -> io::Result<()> {
            let socket = UdpSocket::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.send_to(&query.to_vec().map_err(io::Error::other)?, dns)?;
            let mut bytes = [0; 4_096];
            let length = socket.recv(&mut bytes)?;
            check(&bytes[..length], &query)
        };
        match asked() {
            Ok(()) => count(&seen.udp),
            Err(error) => seen.failed("DNS over UDP", error),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Queries over TCP, some on each connection.
fn connections(seen: &Seen, dns: SocketAddr) {
    while seen.goes_on() {
        let asked = || -> io::Result<()> {
            let mut stream = client::connect(dns)?;
            for _ in 0..3 {
                let query = query();
                let bytes = query.to_vec().map_err(io::Error::other)?;
                stream
                    .write_all(&[&u16::try_from(bytes.len()).unwrap_or_default().to_be_bytes()[..], &bytes].concat())?;
                let mut length = [0; 2];
                stream.read_exact(&mut length)?;
                let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut answer)?;
                check(&answer, &query)?;
                count(&seen.tcp);
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(())
        };
        if let Err(error) = asked() {
            seen.failed("DNS over TCP", error);
        }
    }
}
