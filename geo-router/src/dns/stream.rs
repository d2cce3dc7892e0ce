//! DNS over TCP and TLS (RFC 7766, RFC 7858).
//!
//! # Invariants
//! - A client may send many queries without waiting. It gets the answers in the same order, and the server reads no
//!   further query while the client does not read its answers.
//! - Every wait for a client has an end: for its handshake, for its next query, for the rest of a query, and for its
//!   reading an answer.
//! - No error that `accept` can report ends the listener.
//! - One network cannot take all connections.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use service::listen::Accepted;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::answer::{QueryOutcome, ReceivedFrom, Transport, answer};
use super::answers::Answers;
use super::cookie;
use super::limit::{Verdict, network};
use super::metrics::{DnsMetrics, Tally};
use crate::succession::Succession;

/// How long a client may be silent between two queries (RFC 7766, section 6.2.3: a few seconds).
const IDLE: Duration = Duration::from_secs(10);

/// The same in tenths of a second, as clients that ask are told it (RFC 7828).
const IDLE_TENTHS: u16 = (IDLE.as_millis() / 100) as u16;

/// How long one query, one answer or one handshake may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection goes on after its router has got a successor.
const LINGER: Duration = Duration::from_secs(2);

/// How long after that a client that sends query after query is still read. What has been read is answered.
const LAST: Duration = Duration::from_millis(100);

/// Answers that wait to be sent together, in octets.
const WRITE_TOGETHER: usize = 16 << 10;

/// The part of all connections that one network may have: a quarter.
const PART_OF_ONE: usize = 4;

/// Connections that are open.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    open: Mutex<OpenConnections>,
}

#[derive(Debug, Default)]
struct OpenConnections {
    all: usize,
    by_network: HashMap<u64, usize>,
}

impl Connections {
    pub(super) fn new(most: usize) -> Arc<Connections> {
        Arc::new(Connections { most, open: Mutex::default() })
    }

    /// Admits one more connection from `from`, if there is room.
    fn admit(self: &Arc<Self>, from: IpAddr) -> Option<Admitted> {
        let network = network(from);
        let mut open = self.open.lock();
        let theirs = open.by_network.get(&network).copied().unwrap_or_default();
        if open.all >= self.most || theirs >= self.most.div_ceil(PART_OF_ONE) {
            return None;
        }
        open.all += 1;
        open.by_network.insert(network, theirs + 1);
        Some(Admitted { connections: Arc::clone(self), network })
    }
}

/// A connection that counts as open until this is dropped.
struct Admitted {
    connections: Arc<Connections>,
    network: u64,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock();
        open.all -= 1;
        match open.by_network.get_mut(&self.network) {
            Some(theirs) if *theirs > 1 => *theirs -= 1,
            _ => {
                open.by_network.remove(&self.network);
            }
        }
    }
}

/// A listener and the state that its connections need.
#[derive(Clone)]
pub(super) struct Listener {
    pub answers: Arc<ArcSwap<Answers>>,
    pub metrics: Arc<DnsMetrics>,
    pub connections: Arc<Connections>,
    /// TLS, if the listener speaks it.
    pub tls: Option<TlsAcceptor>,
    pub stop: watch::Receiver<bool>,
    pub succession: Succession,
}

impl Listener {
    fn transport(&self) -> Transport {
        if self.tls.is_some() { Transport::Tls } else { Transport::Tcp }
    }

    /// Accepts connections until `stop` is true, then waits until they have ended: every query that has arrived is answered.
    pub(super) async fn serve(self, socket: TcpListener) {
        let mut listener = service::listen::Listener::unlimited(socket);
        let tasks = TaskTracker::new();
        let mut stop = self.stop.clone();
        while let Some(Accepted { stream, peer: from, .. }) = listener.accept(&mut stop).await {
            match self.connections.admit(from.ip().to_canonical()) {
                Some(admitted) => {
                    let this = self.clone();
                    tasks.spawn(async move {
                        this.connection(stream, from).await;
                        drop(admitted);
                    });
                }
                None => self.metrics.refused_connections.with_label_values(&[self.transport().name()]).inc(),
            }
        }
        drop(listener);
        tasks.close();
        tasks.wait().await;
    }

    /// Serves one connection until either side ends it. Its errors concern only the client.
    async fn connection(self, stream: TcpStream, from: SocketAddr) {
        let transport = self.transport();
        let open = self.metrics.connections.with_label_values(&[transport.name()]);
        open.inc();
        let asked = ReceivedFrom { from: from.ip().to_canonical(), transport, time: cookie::now(), idle: None };
        let work = async {
            stream.set_nodelay(true)?;
            match &self.tls {
                Some(tls) => {
                    let stream = timeout(PATIENCE, tls.accept(stream)).await??;
                    self.converse(stream, asked).await
                }
                None => self.converse(stream, asked).await,
            }
        };
        let ended: io::Result<()> = work.await;
        if let Err(error) = ended {
            tracing::trace!(transport = transport.name(), kind = ?error.kind(), "connection ended early");
        }
        open.dec();
    }

    async fn converse(&self, stream: impl AsyncRead + AsyncWrite + Unpin, asked: ReceivedFrom) -> io::Result<()> {
        let mut tally = Tally::new(asked.transport, Arc::clone(&self.metrics));
        let result = self.exchange(stream, asked, &mut tally).await;
        tally.flush(&self.answers.load().view.fleet);
        result
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        asked: ReceivedFrom,
        tally: &mut Tally,
    ) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        let (mut query, mut reply, mut together) = (Vec::new(), Vec::new(), Vec::new());
        let mut until = None;
        loop {
            // If more queries have already arrived, their answers leave together.
            if !together.is_empty() && (!holds_query(stream.buffer()) || together.len() >= WRITE_TOGETHER) {
                tally.flush(&self.answers.load().view.fleet);
                send(&mut stream, &together).await?;
                together.clear();
            }
            // Only the first octet may take long, otherwise a client could hold a connection for years.
            if !self.begins(&mut stream, &mut until).await? {
                break;
            }
            timeout(PATIENCE, async {
                let length = stream.read_u16().await?;
                query.resize(usize::from(length), 0);
                stream.read_exact(&mut query).await
            })
            .await??;
            let outcome = {
                let answers = self.answers.load();
                // A server that stops tells clients to leave by a time of 0 (RFC 7828, section 3.2.2).
                let idle = if *self.stop.borrow() { 0 } else { IDLE_TENTHS };
                let asked = ReceivedFrom { time: cookie::now(), idle: Some(idle), ..asked };
                // TCP needs no limit, because its addresses are not forged.
                let outcome = answer(&query, asked, &answers, |_| Verdict::Answer, &mut reply);
                tally.count(&outcome, &answers.view.fleet);
                outcome
            };
            if let QueryOutcome::Dropped(_) = outcome {
                break;
            }
            together.extend_from_slice(&u16::try_from(reply.len()).unwrap_or(u16::MAX).to_be_bytes());
            together.extend_from_slice(&reply);
        }
        send(&mut stream, &together).await?;
        timeout(PATIENCE, stream.shutdown()).await?
    }
}

impl Listener {
    /// Waits for the first octet of a query. Returns whether there is one; otherwise the connection ends, because the
    /// client has ended it or because the server stops. `until` is how long a connection of a stopping server goes on.
    async fn begins<S: AsyncRead + Unpin>(
        &self,
        stream: &mut BufReader<S>,
        until: &mut Option<Instant>,
    ) -> io::Result<bool> {
        let mut stop = self.stop.clone();
        if until.is_none() {
            tokio::select! {
                biased;
                read = timeout(IDLE, stream.fill_buf()) => return Ok(!read??.is_empty()),
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
        let linger = if self.succession.has_happened() { LINGER } else { Duration::ZERO };
        let until = *until.get_or_insert_with(|| Instant::now() + linger);
        if Instant::now() >= until + LAST {
            return Ok(!stream.buffer().is_empty());
        }
        // A query that has arrived is still answered.
        match timeout_at(until, stream.fill_buf()).await {
            Ok(read) => Ok(!read?.is_empty()),
            Err(_) => Ok(false),
        }
    }
}

/// Whether the buffer holds a whole query.
fn holds_query(read: &[u8]) -> bool {
    matches!(read, [high, low, query @ ..] if query.len() >= usize::from(u16::from_be_bytes([*high, *low])))
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), answers: &[u8]) -> io::Result<()> {
    timeout(PATIENCE, async {
        stream.write_all(answers).await?;
        stream.flush().await
    })
    .await?
}
