//! Nodes that a test plays: they are ready, show what the test has them show, and answer with their names.

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
    is_silent: AtomicBool,
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

    /// How many requests for `/held` wait.
    pub(crate) fn held(&self) -> usize {
        self.acts.held.load(Ordering::Relaxed)
    }

    /// Lets the requests for `/held` end.
    pub(crate) fn release(&self) {
        self.acts.is_released.store(true, Ordering::Relaxed);
    }
}

fn converse(name: &str, mut stream: TcpStream, acts: &Acts) -> Option<()> {
    stream.set_nodelay(true).unwrap();
    let (mut bytes, mut piece) = (Vec::new(), [0; 4_096]);
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            match stream.read(&mut piece).ok()? {
                0 => return None,
                read => bytes.extend_from_slice(&piece[..read]),
            }
        };
        let head = String::from_utf8_lossy(&bytes.drain(..end).collect::<Vec<_>>()).into_owned();
        let path = head.split(' ').nth(1)?;
        let silent = acts.is_silent.load(Ordering::Relaxed);
        let (status, body) = match path {
            _ if silent => ("503 Service Unavailable", "{}".to_owned()),
            "/v1/cluster" => {
                let members = acts.members.lock().unwrap().clone();
                let cluster = json!({"node": name, "region": name, "ready": true, "regions": [], "members": members});
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
