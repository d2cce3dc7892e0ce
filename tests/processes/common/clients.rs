//! Clients that keep their connections and send one request after the other, while a test changes what is behind the edge.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::client;
use super::wait::holds;

/// How many there are.
const COUNT: usize = 6;
/// Requests that must be answered for the load to go on.
const SOME: u64 = 200;
const SOON: Duration = Duration::from_secs(120);

/// Clients under way.
pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Clients at these addresses, in turn, ask for `path`; each answer must be a 200.
    #[track_caller]
    pub(crate) fn start(edge: SocketAddr, path: &'static str, from: &[&'static str]) -> Clients {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let threads = from.iter().copied().cycle().take(COUNT).map(|address| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            std::thread::spawn(move || {
                // One connection for the whole load: if the router dropped it, the next request would fail.
                let mut stream = client::connect(edge).unwrap();
                let request =
                    format!("GET {path} HTTP/1.1\r\nHost: meridian.test\r\nX-Forwarded-For: {address}\r\n\r\n");
                while !stop.load(Ordering::Relaxed) {
                    stream.write_all(request.as_bytes()).unwrap();
                    client::read(&mut stream).unwrap().expect(200);
                    answered.fetch_add(1, Ordering::Relaxed);
                    // The router and its probes need processor time as well.
                    std::thread::sleep(Duration::from_millis(2));
                }
            })
        });
        let threads = threads.collect();
        let clients = Clients { stop, answered, threads };
        clients.go_on();
        clients
    }

    /// Waits until some more requests were answered.
    #[track_caller]
    pub(crate) fn go_on(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        holds("the clients go on", SOON, || self.answered.load(Ordering::Relaxed) >= before + SOME);
    }

    /// Ends them; fails if one request failed.
    #[track_caller]
    pub(crate) fn end_without_a_failure(self) {
        self.go_on();
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|client| client.join().unwrap());
    }
}
