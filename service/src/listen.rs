//! A listener: accepts connections, serves HTTP on them, and ends gracefully.
//!
//! # Invariants
//! - A listener with a limit never has more connections; further clients wait in the operating system's queue.
//! - [`serve`] closes a connection that sends no whole request head in time, whatever it sends meanwhile.
//! - After a stop the listener accepts no connection. [`serve`] finishes requests in flight and drops what is left after
//!   [`GRACE`].
//!
//! # Not here
//! TLS, upgrades and the limits of a router's edge: `geo_router::edge`, which accepts its connections here.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

/// How long the head of the first request may take. This also bounds the detection of the protocol, which hyper does
/// not bound.
const FIRST_HEAD: Duration = Duration::from_secs(10);

/// How long requests in flight may take to finish once the process stops.
const GRACE: Duration = Duration::from_secs(5);

/// How long to wait after the system refused a connection, for example because it has no file descriptors left.
const REFUSED: Duration = Duration::from_millis(100);

const MAX_HEADERS: usize = 64;
const MAX_HEAD_BYTES: usize = 32 * 1024;
const MAX_STREAMS: u32 = 128;

/// A socket that accepts connections.
pub struct Listener {
    socket: TcpListener,
    /// The places for connections, and the name of that limit for operators.
    limit: Option<(Arc<Semaphore>, &'static str)>,
}

/// A connection that was accepted.
pub struct Accepted {
    /// The connection. Nagle's algorithm is off.
    pub stream: TcpStream,
    /// The other end.
    pub peer: SocketAddr,
    /// The connection's place, if the listener has a limit. To drop it lets another connection in.
    pub permit: Option<OwnedSemaphorePermit>,
}

impl Listener {
    /// A listener that accepts every connection at once. The caller refuses those that are too many.
    #[must_use]
    pub fn unlimited(socket: TcpListener) -> Listener {
        Listener { socket, limit: None }
    }

    /// A listener with room for the connections that `permits` allows; further ones wait. `name` is the name of that
    /// limit for operators, such as `limits.connections`.
    #[must_use]
    pub fn limited(socket: TcpListener, permits: Arc<Semaphore>, name: &'static str) -> Listener {
        Listener { socket, limit: Some((permits, name)) }
    }

    /// The next connection; `None` once `stop` is true or its sender is gone.
    pub async fn accept(&self, stop: &mut watch::Receiver<bool>) -> Option<Accepted> {
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return None,
                accepted = self.next() => accepted,
            };
            match accepted {
                Ok(accepted) => return Some(accepted),
                Err(error) => {
                    tracing::warn!(
                        %error, limit = self.limit.as_ref().map(|(_, name)| name),
                        action = "raise the limit of open files (ulimit -n), above the limit of connections, if this goes on",
                        "the system refuses a connection: the listener waits a moment"
                    );
                    tokio::time::sleep(REFUSED).await;
                }
            }
        }
    }

    async fn next(&self) -> std::io::Result<Accepted> {
        let permit = match &self.limit {
            Some((permits, _)) => Some(permits.clone().acquire_owned().await.map_err(std::io::Error::other)?),
            None => None,
        };
        let (stream, peer) = self.socket.accept().await?;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        Ok(Accepted { stream, peer, permit })
    }
}

/// What connections are let do. A drill closes the gate of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// They are served.
    Open,
    /// They stay open, and no request is answered.
    Hangs,
    /// They are closed.
    Refuses,
}

/// How connections are served.
#[derive(Clone, Debug)]
pub struct Serving {
    /// How long a connection may be idle, which is also how long the head of a later request may take.
    pub idle: Duration,
    /// Counts the connections that are open.
    pub open: Option<IntGauge>,
    /// The gate, if the listener has one.
    pub gate: Option<watch::Receiver<Gate>>,
    /// Whether each request gets its [`Peer`] as an extension.
    pub tell_peer: bool,
}

/// The other end of a request's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Serves `answer` over HTTP/1.1 and HTTP/2, without TLS, until `stop` is true and all connections are gone.
pub async fn serve<F, Answer, B>(listener: Listener, serving: Serving, mut stop: watch::Receiver<bool>, answer: F)
where
    F: Fn(Request<Incoming>) -> Answer + Clone + Send + Sync + 'static,
    Answer: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Serving { idle, open, gate, tell_peer } = serving;
    let builder = Arc::new(builder(idle));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept(&mut stop) => accepted,
        };
        let Some(Accepted { stream, peer, permit }) = accepted else { break };
        let peer = tell_peer.then_some(Peer(peer));
        if gate.as_ref().is_some_and(|gate| *gate.borrow() == Gate::Refuses) {
            continue;
        }
        let (builder, answer, watcher, open) = (builder.clone(), answer.clone(), graceful.watcher(), open.clone());
        let gate = gate.clone();
        connections.spawn(async move {
            let open = open.map(OpenConnection::count);
            tokio::select! {
                () = connection(&builder, (stream, peer), watcher, gate.clone(), answer) => {}
                () = until(gate, |gate| gate == Gate::Refuses) => {}
            }
            drop((open, permit));
        });
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        let connections = connections.len();
        tracing::warn!(connections, "connections did not end in time: they are dropped, and their requests fail");
    }
    connections.shutdown().await;
}

/// Waits until a gate is so; for ever if there is none.
async fn until(gate: Option<watch::Receiver<Gate>>, is: impl Fn(Gate) -> bool) {
    if let Some(mut gate) = gate
        && gate.wait_for(|gate| is(*gate)).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

async fn connection<F, Answer, B>(
    builder: &Builder<TokioExecutor>,
    (stream, peer): (TcpStream, Option<Peer>),
    watcher: Watcher,
    gate: Option<watch::Receiver<Gate>>,
    answer: F,
) where
    F: Fn(Request<Incoming>) -> Answer + Send + 'static,
    Answer: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let begun = Arc::new(AtomicBool::new(false));
    let seen = begun.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        seen.store(true, Ordering::Relaxed);
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        let (answer, gate) = (answer(request), gate.clone());
        async move {
            if gate.is_some() {
                until(gate, |gate| gate != Gate::Hangs).await;
            }
            Ok::<_, Infallible>(answer.await)
        }
    });
    let served = watcher.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
    tokio::pin!(served);
    let first = tokio::select! {
        result = &mut served => Some(result),
        () = tokio::time::sleep(FIRST_HEAD) => None,
    };
    let result = match first {
        Some(result) => result,
        None if begun.load(Ordering::Relaxed) => served.await,
        None => return,
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection broke");
    }
}

fn builder(idle: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// An open connection, counted as long as it is.
struct OpenConnection(IntGauge);

impl OpenConnection {
    fn count(gauge: IntGauge) -> OpenConnection {
        gauge.inc();
        OpenConnection(gauge)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
