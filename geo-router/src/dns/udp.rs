//! DNS over UDP: one socket and one thread per core. The kernel spreads the queries over them (`SO_REUSEPORT`).
//!
//! # Invariants
//! - A thread waits only for its socket. It answers from the latest [`Answers`], counts in its own tally, and looks at
//!   `stop` between two batches.
//! - A port that another process uses is an error, although the sockets could share it with that process. Only the router
//!   that this one replaces hands its sockets over.
//! - An answer leaves from the address that was asked, also if the socket listens on all addresses (on Linux).

#[cfg(target_os = "linux")]
mod batch;
#[cfg(not(target_os = "linux"))]
mod single;
#[cfg(target_os = "linux")]
mod source;

#[cfg(target_os = "linux")]
use batch as exchange;
#[cfg(not(target_os = "linux"))]
use single as exchange;

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Cache};
use socket2::{Protocol, Socket, Type};
use tokio::sync::watch;

use super::answer::{QueryOutcome, ReceivedFrom, Transport, answer};
use super::answers::Answers;
use super::cookie;
use super::limit::{Limiter, Verdict};
use super::metrics::{DnsMetrics, Tally};
use crate::sockets::{self, Sockets};

/// How long a thread waits for a query before it looks at `stop`.
const WAIT: Duration = Duration::from_millis(200);

/// How often a thread adds its counts to the metrics.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// The kernel's buffer while a thread is not scheduled. The default is smaller and overflows at once.
const BUFFER: usize = 4 << 20;

/// Longest query that is read whole. A longer one is truncated, which the reader notices.
const LONGEST_QUERY: usize = 4_096;

/// Number of failures in a row of a socket that end its thread.
const TOO_MANY_FAILURES: u32 = 100;

/// `count` sockets at one address, or those that were taken over there.
pub(super) fn bind(
    sockets: &mut Sockets,
    address: SocketAddr,
    only_v6: bool,
    count: usize,
) -> io::Result<Vec<UdpSocket>> {
    sockets.udp(address, only_v6, || {
        // Bind alone first, because sockets that share a port also share it with another process of the same user.
        drop(shared(address, only_v6, false)?);
        (0..count).map(|_| shared(address, only_v6, count > 1)).collect()
    })
}

fn shared(address: SocketAddr, only_v6: bool, share: bool) -> io::Result<Socket> {
    let socket = sockets::unbound(address, only_v6, Type::DGRAM, Protocol::UDP)?;
    #[cfg(target_os = "linux")]
    source::Sources::of(address).ask(&socket)?;
    #[cfg(unix)]
    socket.set_reuse_port(share)?;
    // A system that allows less uses its maximum.
    let larger = socket.set_recv_buffer_size(BUFFER).and_then(|()| socket.set_send_buffer_size(BUFFER));
    if let Err(error) = larger {
        tracing::debug!(error = &error as &dyn std::error::Error, "socket buffers stay as they are");
    }
    socket.set_read_timeout(Some(WAIT))?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The state of a thread that answers.
pub(super) struct Worker {
    answers: Cache<Arc<ArcSwap<Answers>>, Arc<Answers>>,
    limiter: Arc<Limiter>,
    metrics: Arc<DnsMetrics>,
    tally: Tally,
    flushed: Instant,
    /// For [`ReceivedFrom::time`]: that of the last batch, because no cookie depends on a part of a second.
    time: u32,
    stop: watch::Receiver<bool>,
}

impl Worker {
    pub(super) fn new(
        answers: Arc<ArcSwap<Answers>>,
        limiter: Arc<Limiter>,
        metrics: Arc<DnsMetrics>,
        stop: watch::Receiver<bool>,
    ) -> Worker {
        let tally = Tally::new(Transport::Udp, Arc::clone(&metrics));
        let (flushed, time) = (Instant::now(), cookie::now());
        Worker { answers: Cache::new(answers), limiter, metrics, tally, flushed, time, stop }
    }

    /// Answers queries until `stop` is true.
    pub(super) fn serve(mut self, socket: &UdpSocket) -> io::Result<()> {
        exchange::serve(socket, &mut self)
    }

    /// Answers one query. Returns whether there is an answer to send.
    fn answer(&mut self, message: &[u8], from: SocketAddr, out: &mut Vec<u8>) -> bool {
        // No process can listen on port 0, so no answer can be sent there.
        if from.port() == 0 {
            return false;
        }
        let from: IpAddr = from.ip().to_canonical();
        let answers = self.answers.load();
        let asked = ReceivedFrom { from, transport: Transport::Udp, time: self.time, idle: None };
        let mut verdict = Verdict::Answer;
        let limit = |is_proven| {
            verdict = self.limiter.check(from, is_proven);
            verdict
        };
        let outcome = answer(message, asked, answers, limit, out);
        self.tally.count(&outcome, &answers.view.fleet);
        let answered = matches!(outcome, QueryOutcome::Answered(_));
        if answered && verdict == Verdict::Slip {
            self.tally.slipped();
        }
        answered
    }

    /// Runs between two batches. Returns whether to go on.
    fn tick(&mut self) -> bool {
        let now = Instant::now();
        self.time = cookie::now();
        if now.duration_since(self.flushed) >= FLUSH_EVERY {
            self.flushed = now;
            self.tally.flush(&self.answers.load().view.fleet);
        }
        let stop = *self.stop.borrow() || self.stop.has_changed().is_err();
        if stop {
            self.tally.flush(&self.answers.load().view.fleet);
        }
        !stop
    }

    /// The operating system refused an answer.
    fn unsent(&self) {
        self.metrics.unsent.inc();
    }
}

/// Counts failures of a socket, and ends its thread when every receive fails.
#[derive(Debug, Default)]
struct Failures(u32);

impl Failures {
    fn success(&mut self) {
        self.0 = 0;
    }

    /// A receive failed; a timeout is not a failure.
    fn failure(&mut self, error: io::Error) -> io::Result<()> {
        use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
        if matches!(error.kind(), Interrupted | TimedOut | WouldBlock) {
            return Ok(());
        }
        self.0 += 1;
        if self.0 >= TOO_MANY_FAILURES {
            return Err(error);
        }
        let action = "none if it happens once; the server ends if it goes on";
        tracing::warn!(error = &error as &dyn std::error::Error, action, "receiving DNS queries failed");
        // A socket that always fails must not use a whole core until the thread gives it up.
        std::thread::sleep(Duration::from_millis(10));
        Ok(())
    }
}
