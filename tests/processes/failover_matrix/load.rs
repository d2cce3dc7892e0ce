//! Clients of every kind for every failure, and what they see.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::router::SOON;
use crate::common::{Call, client, holds};

/// The requests of each failure, besides its event stream.
pub(super) const METHODS: [&str; 3] = ["GET", "PUT", "POST"];

/// Time between two requests of one client, so that a debug build on a busy machine keeps up with all of them.
const PAUSE: Duration = Duration::from_millis(150);

/// What the clients of one failure have seen.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) kinds: Arc<[Requests; 3]>,
    /// The region that answered last.
    answers: Arc<Mutex<String>>,
    is_open: Arc<AtomicBool>,
    /// Streams that ended cleanly, and that broke off.
    pub(super) ended: Arc<AtomicUsize>,
    pub(super) broken: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    confirmed: Arc<Mutex<Vec<String>>>,
}

/// Requests of one method.
#[derive(Default)]
pub(super) struct Requests {
    pub(super) took: Mutex<Vec<Duration>>,
    /// Those that were not answered with 200.
    pub(super) refused: AtomicUsize,
}

impl Row {
    fn new(name: &'static str) -> Row {
        Row {
            name,
            kinds: Arc::default(),
            answers: Arc::default(),
            is_open: Arc::default(),
            ended: Arc::default(),
            broken: Arc::default(),
            failures: Arc::default(),
            confirmed: Arc::default(),
        }
    }

    /// The region whose node answered the last read.
    pub(super) fn answers(&self) -> String {
        self.answers.lock().unwrap().clone()
    }

    /// Reads and PUTs that were not answered with 200.
    pub(super) fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().clone()
    }

    /// POSTs that were answered with 200.
    pub(super) fn confirmed(&self) -> Vec<String> {
        self.confirmed.lock().unwrap().clone()
    }

    fn sent(&self) -> [usize; 3] {
        self.kinds.each_ref().map(|requests| requests.took.lock().unwrap().len())
    }
}

/// Clients at work.
pub(super) struct Load {
    pub(super) rows: Vec<Row>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Clients of each of these failures. The first has the network 10.100.0.0/16.
    pub(super) fn start(edge: SocketAddr, names: &[&'static str]) -> Load {
        let mut load = Load { rows: Vec::new(), stop: Arc::default(), threads: Vec::new() };
        for (number, name) in names.iter().enumerate() {
            let row = Row::new(name);
            let from = format!("10.{}.0.1", 100 + number);
            for kind in 0..METHODS.len() {
                let (row, from, stop) = (row.clone(), from.clone(), Arc::clone(&load.stop));
                load.threads.push(std::thread::spawn(move || requests(&row, kind, edge, &from, &stop)));
            }
            let (streaming, stop) = (row.clone(), Arc::clone(&load.stop));
            load.threads.push(std::thread::spawn(move || streams(&streaming, edge, &from, &stop)));
            load.rows.push(row);
        }
        load
    }

    /// Waits until every client has sent so many more requests, and every stream is open.
    #[track_caller]
    pub(super) fn goes_on(&self, requests: usize) {
        let before: Vec<[usize; 3]> = self.rows.iter().map(Row::sent).collect();
        for (row, before) in self.rows.iter().zip(before) {
            holds(&format!("{}: its clients go on", row.name), SOON, || {
                row.sent().iter().zip(before).all(|(now, before)| *now >= before + requests)
                    && row.is_open.load(Ordering::Relaxed)
            });
        }
    }

    /// Ends the clients.
    pub(super) fn ends(self) -> Vec<Row> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|client| client.join().unwrap());
        self.rows
    }
}

/// One request after the other, on a connection that is kept until the router says that it ends.
fn requests(row: &Row, kind: usize, edge: SocketAddr, from: &str, stop: &AtomicBool) {
    let (method, seen) = (METHODS[kind], &row.kinds[kind]);
    let mut kept: Option<TcpStream> = None;
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        number += 1;
        let id = format!("{}-{number}", row.name);
        let body = if method == "GET" { String::new() } else { id.clone() };
        let request = format!(
            "{method} /v1/venues/x/visits HTTP/1.1\r\nHost: meridian.test\r\nX-Forwarded-For: {from}\r\n\
             Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answered = kept.take().map_or_else(|| client::connect(edge), Ok).and_then(|mut stream| {
            stream.write_all(request.as_bytes())?;
            let answer = client::read(&mut stream)?;
            Ok((stream, answer))
        });
        let refusal = match answered {
            Ok((stream, answer)) => {
                let closes = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
                kept = (!closes).then_some(stream);
                if answer.status == 200 {
                    match method {
                        "GET" => *row.answers.lock().unwrap() = answer.text().to_owned(),
                        "POST" => row.confirmed.lock().unwrap().push(id),
                        _ => {}
                    }
                    None
                } else {
                    Some(format!("{} {}", answer.status, answer.text()))
                }
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = refusal {
            seen.refused.fetch_add(1, Ordering::Relaxed);
            // A POST whose node may have done it is refused, and its client must look.
            if method != "POST" {
                row.failures.lock().unwrap().push(format!("{} {method} {number}: {why}", row.name));
            }
        }
        seen.took.lock().unwrap().push(begun.elapsed());
        std::thread::sleep(PAUSE.saturating_sub(begun.elapsed()));
    }
}

/// A stream that is opened again each time that it ends, as a browser does.
fn streams(row: &Row, edge: SocketAddr, from: &str, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match read(row, edge, from, stop) {
            Ok(true) => drop(row.ended.fetch_add(1, Ordering::Relaxed)),
            Ok(false) => return,
            Err(_) => {
                row.broken.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(PAUSE);
            }
        }
        row.is_open.store(false, Ordering::Relaxed);
    }
}

/// Reads a stream to its end. Returns whether it has ended.
fn read(row: &Row, edge: SocketAddr, from: &str, stop: &AtomicBool) -> io::Result<bool> {
    let mut stream = client::connect(edge)?;
    let call = Call::new("GET", "/v1/venues/x/changes").header("X-Forwarded-For", from);
    stream.write_all(&call.render("meridian.test"))?;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    let (mut last, mut piece) = (Vec::new(), [0; 4_096]);
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut piece) {
            Ok(0) if last.ends_with(b"\r\n0\r\n\r\n") => return Ok(true),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                last.extend_from_slice(&piece[..read]);
                if last.windows(8).any(|some| some == b": here\n\n") {
                    row.is_open.store(true, Ordering::Relaxed);
                }
                last.drain(..last.len().saturating_sub(64));
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
