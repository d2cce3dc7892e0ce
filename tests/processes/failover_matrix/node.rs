//! Nodes that fail in one way each. A node runs in the test's process, or in one of its own that can be killed or stopped.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, SockRef, Socket, Type};

use crate::common::fake::{Asked, read_request};
use crate::common::process::Process;

/// Connections that the system takes for a node which takes none.
const BACKLOG: i32 = 8;
/// Longer than a hedge waits, shorter than a probe.
const SLOW: Duration = Duration::from_millis(500);
/// How long a node that flaps is well, and then is not.
const FLAP: Duration = Duration::from_millis(700);
/// Time between two looks at whether something has changed.
const LOOK: Duration = Duration::from_millis(20);

/// Name, address and file of a node in a process of its own.
const CHILD: &str = "MERIDIAN_MATRIX_NODE";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Well,
    /// Nothing is taken or answered, connections included.
    BlackHole,
    NotReady,
    /// No connection is taken; those that exist go on.
    Refuses,
    /// A request is done, and its connection reset.
    Resets,
    /// A request is done, and its answer ends within its head.
    Half,
    Slow,
    Flaps,
}

/// The orders on regions that all nodes show.
#[derive(Clone, Default)]
pub(super) struct Orders(Arc<Mutex<Vec<(String, &'static str)>>>);

impl Orders {
    pub(super) fn give(&self, orders: Vec<(String, &'static str)>) {
        *self.0.lock().unwrap() = orders;
    }

    fn cluster(&self, name: &str) -> String {
        let order = |(region, order): &(String, &str)| json!({"region": region, "order": {"order": order, "since": "2026-05-01T10:00:00Z"}});
        let regions: Vec<Value> = self.0.lock().unwrap().iter().map(order).collect();
        json!({"node": name, "region": name, "ready": true, "regions": regions, "members": []}).to_string()
    }
}

/// A node in this process. Its threads end with it.
pub(super) struct Played {
    address: SocketAddr,
    acts: Arc<Acts>,
    /// Connections that fill the queue of a node which takes none.
    filling: Vec<Socket>,
}

struct Acts {
    name: String,
    mode: Mutex<Mode>,
    begun: Instant,
    /// The POSTs that were done, one a line.
    done: File,
    orders: Orders,
}

impl Played {
    pub(super) fn start(name: &str, address: SocketAddr, done: &Path, orders: &Orders) -> Played {
        let acts = Acts {
            name: name.to_owned(),
            mode: Mutex::new(Mode::Well),
            begun: Instant::now(),
            done: OpenOptions::new().create(true).append(true).open(done).unwrap(),
            orders: orders.clone(),
        };
        let acts = Arc::new(acts);
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(BACKLOG).unwrap();
        let (listener, shared) = (TcpListener::from(socket), Arc::clone(&acts));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                match shared.mode() {
                    Mode::Refuses => return,
                    // The listener stays, and nothing is taken from its queue.
                    Mode::BlackHole => loop {
                        std::thread::park();
                    },
                    _ => {}
                }
                let acts = Arc::clone(&shared);
                std::thread::spawn(move || stream.ok().and_then(|stream| converse(stream, &acts)));
            }
        });
        Played { address, acts, filling: Vec::new() }
    }

    /// The node fails from now on.
    pub(super) fn plays(&mut self, mode: Mode) {
        *self.acts.mode.lock().unwrap() = mode;
        if mode == Mode::Refuses || mode == Mode::BlackHole {
            // The thread that accepts notices it by a connection.
            drop(TcpStream::connect(self.address));
        }
        // Once the queue is full the system answers no further connection.
        while mode == Mode::BlackHole && self.filling.len() < 64 {
            let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None).unwrap();
            if socket.connect_timeout(&self.address.into(), Duration::from_millis(300)).is_err() {
                break;
            }
            self.filling.push(socket);
        }
    }
}

impl Acts {
    fn mode(&self) -> Mode {
        *self.mode.lock().unwrap()
    }

    /// Whether a node that flaps is down at this moment.
    fn is_in_a_flap(&self) -> bool {
        (self.begun.elapsed().as_millis() / FLAP.as_millis()) % 2 == 1
    }
}

/// A node in a process of its own: this program again, with one test. It ends with its standard input.
pub(super) fn child(name: &str, address: SocketAddr, done: &Path) -> Process {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "failover_matrix::node::a_node_in_a_process_of_its_own", "--nocapture"]);
    command.env(CHILD, format!("{name} {address} {}", done.display()));
    Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()))
}

/// Does nothing unless [`child`] has started it.
#[test]
fn a_node_in_a_process_of_its_own() {
    let Ok(what) = std::env::var(CHILD) else { return };
    let parts: Vec<&str> = what.splitn(3, ' ').collect();
    let _node = Played::start(parts[0], parts[1].parse().unwrap(), Path::new(parts[2]), &Orders::default());
    while std::io::stdin().read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
}

fn converse(mut stream: TcpStream, acts: &Acts) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut bytes = Vec::new();
    loop {
        let Asked { method, path, body } = read_request(&mut stream, &mut bytes)?;
        let is_probe = path == "/readyz";
        let mode = acts.mode();
        if mode == Mode::BlackHole {
            while acts.mode() == Mode::BlackHole {
                std::thread::sleep(LOOK);
            }
        }
        if mode == Mode::Slow && !is_probe {
            std::thread::sleep(SLOW);
        }
        if method == "POST" {
            (&acts.done).write_all(&[&body[..], b"\n"].concat()).ok()?;
        }
        match mode {
            Mode::Resets => return SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok(),
            Mode::Half => return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le").ok(),
            Mode::Flaps if acts.is_in_a_flap() => return None,
            _ => {}
        }
        if path.ends_with("/changes") {
            return events(&mut stream, acts);
        }
        let (status, body) = match path.as_str() {
            "/readyz" if mode == Mode::NotReady => ("503 Service Unavailable", "{}".to_owned()),
            "/v1/cluster" => ("200 OK", acts.orders.cluster(&acts.name)),
            _ => ("200 OK", acts.name.clone()),
        };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).ok()?;
    }
}

/// A stream of events without an end. A black hole says nothing on it.
fn events(stream: &mut TcpStream, acts: &Acts) -> Option<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).ok()?;
    let piece = ": here\n\n";
    let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
    loop {
        if acts.mode() != Mode::BlackHole {
            stream.write_all(chunk.as_bytes()).ok()?;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
