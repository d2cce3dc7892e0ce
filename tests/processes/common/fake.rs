//! Nodes that a test plays: they are ready, show what the test has them show, and answer with their names. A request for
//! `.../changes` gets a stream of events without an end.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::net;

/// A node of the test, at an address of its own.
pub(crate) struct FakeNode {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    acts: Arc<Acts>,
}

#[derive(Default)]
struct Acts {
    /// `members` of its cluster document.
    members: Mutex<Vec<Value>>,
    /// Orders of its cluster document.
    orders: Mutex<Vec<(&'static str, &'static str)>>,
    is_silent: AtomicBool,
    /// Nothing is answered, as by a process that was stopped.
    hangs: AtomicBool,
    /// Requests with a body that were answered.
    written: AtomicUsize,
    /// Streams of events that are open.
    streams: AtomicUsize,
    /// Requests for `/held` that wait.
    held: AtomicUsize,
    is_released: AtomicBool,
}

impl FakeNode {
    /// A node that is ready. Its region has its name.
    pub(crate) fn start(name: &'static str) -> FakeNode {
        FakeNode::start_at(name, net::free(net::address(), 1)[0])
    }

    /// The same at an address and port of the caller's choice.
    pub(crate) fn start_at(name: &'static str, address: SocketAddr) -> FakeNode {
        let listener = TcpListener::bind(address).unwrap();
        let acts = Arc::<Acts>::default();
        let node = FakeNode { name, address, acts: Arc::clone(&acts) };
        // The threads end with the test's process: a client that waits for one of them is itself a test that fails.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let acts = Arc::clone(&acts);
                std::thread::spawn(move || converse(name, stream.unwrap(), &acts));
            }
        });
        node
    }

    /// The node shows these members from now on.
    pub(crate) fn shows(&self, members: &[Value]) {
        *self.acts.members.lock().unwrap() = members.to_vec();
    }

    /// The node is not ready and shows nothing while it is silent.
    pub(crate) fn is_silent(&self, silent: bool) {
        self.acts.is_silent.store(silent, Ordering::Relaxed);
    }

    /// The node answers nothing and says nothing on its streams while it hangs.
    pub(crate) fn hangs(&self, hangs: bool) {
        self.acts.hangs.store(hangs, Ordering::Relaxed);
    }

    /// How many requests with a body were answered.
    pub(crate) fn written(&self) -> usize {
        self.acts.written.load(Ordering::Relaxed)
    }

    /// How many streams of events are open.
    pub(crate) fn streams(&self) -> usize {
        self.acts.streams.load(Ordering::Relaxed)
    }

    /// How many requests for `/held` wait.
    pub(crate) fn held(&self) -> usize {
        self.acts.held.load(Ordering::Relaxed)
    }

    /// Holds requests for `/held` again, once those that were released have ended.
    pub(crate) fn hold_again(&self) {
        self.acts.is_released.store(false, Ordering::Relaxed);
        self.acts.held.store(0, Ordering::Relaxed);
    }

    /// The node shows these orders from now on: regions and what is ordered.
    pub(crate) fn orders(&self, orders: &[(&'static str, &'static str)]) {
        *self.acts.orders.lock().unwrap() = orders.to_vec();
    }

    /// Lets the requests for `/held` end.
    pub(crate) fn release(&self) {
        self.acts.is_released.store(true, Ordering::Relaxed);
    }
}

/// A request as a node gets it.
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
}

/// The next request of a connection, of which `bytes` has what was read too much; `None` at its end.
pub(crate) fn read_request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Asked> {
    let more = |stream: &mut TcpStream, bytes: &mut Vec<u8>| {
        let mut piece = [0; 4_096];
        let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&piece[..read]);
        Some(())
    };
    let end = loop {
        match bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(end) => break end + 4,
            None => more(stream, bytes)?,
        }
    };
    let head = String::from_utf8_lossy(&bytes.drain(..end).collect::<Vec<_>>()).into_owned();
    let (method, path) = head.split_once(' ').and_then(|(method, rest)| Some((method, rest.split(' ').next()?)))?;
    let fields = head.to_ascii_lowercase();
    let length = fields.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next()?.parse().ok());
    let length: usize = length.unwrap_or(0);
    while bytes.len() < length {
        more(stream, bytes)?;
    }
    Some(Asked { method: method.to_owned(), path: path.to_owned(), body: bytes.drain(..length).collect() })
}

fn converse(name: &str, mut stream: TcpStream, acts: &Acts) -> Option<()> {
    stream.set_nodelay(true).unwrap();
    let mut bytes = Vec::new();
    loop {
        let Asked { path, body, .. } = read_request(&mut stream, &mut bytes)?;
        if !body.is_empty() {
            acts.written.fetch_add(1, Ordering::Relaxed);
        }
        while acts.hangs.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if path.ends_with("/changes") {
            return events(&mut stream, acts);
        }
        let silent = acts.is_silent.load(Ordering::Relaxed);
        let (status, body) = match path.as_str() {
            _ if silent => ("503 Service Unavailable", "{}".to_owned()),
            "/v1/cluster" => {
                let members = acts.members.lock().unwrap().clone();
                let order = |(region, order): &(&str, &str)| {
                    let order = json!({"order": order, "since": "2026-05-01T10:00:00Z"});
                    json!({"region": region, "order": order})
                };
                let regions: Vec<Value> = acts.orders.lock().unwrap().iter().map(order).collect();
                let cluster =
                    json!({"node": name, "region": name, "ready": true, "regions": regions, "members": members});
                ("200 OK", cluster.to_string())
            }
            path if path.starts_with("/held") => {
                acts.held.fetch_add(1, Ordering::Relaxed);
                while !acts.is_released.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                ("200 OK", name.to_owned())
            }
            _ => ("200 OK", name.to_owned()),
        };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).ok()?;
    }
}

/// A stream of events: a greeting, then a comment now and then until its client is gone.
fn events(stream: &mut TcpStream, acts: &Acts) -> Option<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).ok()?;
    acts.streams.fetch_add(1, Ordering::Relaxed);
    let piece = ": here\n\n";
    let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
    loop {
        if !acts.hangs.load(Ordering::Relaxed) && stream.write_all(chunk.as_bytes()).is_err() {
            acts.streams.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
