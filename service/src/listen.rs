//! A listener: accepts connections, serves HTTP on them, and ends gracefully.
//!
//! # Invariants
//! - A connection of a listener with TLS is served only after a handshake, which must end in time as well.
//! - A listener with places never has more connections than these. A client beyond them waits for a place for
//!   [`PATIENCE`], at most [`WAITING`] at one time; others are refused.
//! - [`serve`] closes a connection that sends no whole request head in time, whatever it sends meanwhile, and one whose
//!   client takes nothing of its answers for too long ([`crate::unread`]).
//! - After a stop the listener accepts no connection. [`serve`] finishes requests in flight and drops what is left after
//!   [`GRACE`].
//!
//! # Not here
//! Upgrades, and the TLS and limits of a router's edge: `geo_router::edge`, which accepts its connections here.

mod sockets;

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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub use sockets::{Socket, bind};

use crate::ended::{Ended, Ends};
use crate::places::{Full, Place, Places};
use crate::unread::{self, Patient, Reader, Readers};
use crate::unreadable::Explained;

/// How long a TLS handshake may take, and then the head of the first request. This also bounds the detection of the
/// protocol, which hyper does not bound.
const FIRST_HEAD: Duration = Duration::from_secs(10);

/// How long requests in flight may take to finish once the process stops.
const GRACE: Duration = Duration::from_secs(5);

/// How long a client waits for a place.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most clients that wait for a place.
const WAITING: usize = 256;

/// How long to wait after the system refused a connection, for example because it has no file descriptors left.
const REFUSED: Duration = Duration::from_millis(100);

/// Most fields that the head of a client's request may have at an edge.
pub const MOST_FIELDS: usize = 100;

/// Most bytes of the head of a client's request at an edge.
pub const MOST_HEAD_BYTES: usize = 32 * 1024;

/// A node has room for what an edge adds to a head, so that each request that an edge lets in is let in here.
const MAX_HEADERS: usize = MOST_FIELDS + 16;
pub(crate) const MAX_HEAD_BYTES: usize = MOST_HEAD_BYTES + 4 * 1024;
const MAX_STREAMS: u32 = 128;

/// A socket that accepts connections.
pub struct Listener {
    socket: TcpListener,
    places: Option<Places>,
    /// Connections that wait for a place; `None` if they got none in time.
    waiting: JoinSet<Option<Accepted>>,
    ends: Option<Ends>,
    tls: Option<TlsAcceptor>,
}

/// A connection that was accepted.
pub struct Accepted {
    /// The connection. Nagle's algorithm is off.
    pub stream: TcpStream,
    /// The other end.
    pub peer: SocketAddr,
    /// The connection's place, if the listener has places.
    pub place: Option<Place>,
}

impl Listener {
    /// A listener that accepts every connection at once. The caller refuses those that are too many.
    #[must_use]
    pub fn unlimited(socket: TcpListener) -> Listener {
        Listener { socket, places: None, waiting: JoinSet::new(), ends: None, tls: None }
    }

    /// A listener with these places.
    #[must_use]
    pub fn limited(socket: TcpListener, places: Places) -> Listener {
        Listener { socket, places: Some(places), waiting: JoinSet::new(), ends: None, tls: None }
    }

    /// The same listener, whose connections [`serve`] serves with TLS if there is an acceptor.
    #[must_use]
    pub fn secured(self, tls: Option<TlsAcceptor>) -> Listener {
        Listener { tls, ..self }
    }

    /// The same listener, which counts the connections that it ends.
    #[must_use]
    pub fn counting(self, ends: Ends) -> Listener {
        Listener { ends: Some(ends), ..self }
    }

    fn count(&self, reason: Ended) {
        if let Some(ends) = &self.ends {
            ends.count(reason);
        }
    }

    /// The next connection; `None` once `stop` is true or its sender is gone.
    pub async fn accept(&mut self, stop: &mut watch::Receiver<bool>) -> Option<Accepted> {
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return None,
                Some(waited) = self.waiting.join_next(), if !self.waiting.is_empty() => match waited {
                    Ok(Some(accepted)) => return Some(accepted),
                    Ok(None) => {
                        self.count(Ended::Limit);
                        continue;
                    }
                    Err(_) => continue,
                },
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    if let Some(accepted) = self.seat(stream, peer) {
                        return Some(accepted);
                    }
                }
                Err(error) => {
                    self.count(Ended::System);
                    tracing::warn!(
                        %error, limit = self.places.as_ref().map(Places::name),
                        action = "raise the limit of open files (ulimit -n), above the limit of connections, if this goes on",
                        "the system refuses a connection: the listener waits a moment"
                    );
                    tokio::time::sleep(REFUSED).await;
                }
            }
        }
    }

    /// Gives a connection its place; lets it wait or refuses it if there is none.
    fn seat(&mut self, stream: TcpStream, peer: SocketAddr) -> Option<Accepted> {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        let Some(places) = &self.places else { return Some(Accepted { stream, peer, place: None }) };
        match places.take(peer.ip()) {
            Ok(place) => Some(Accepted { stream, peer, place: Some(place) }),
            Err(Full::All(client)) if self.waiting.len() < WAITING => {
                let places = places.clone();
                self.waiting.spawn(async move {
                    let place = tokio::time::timeout(PATIENCE, places.wait(client)).await.ok()??;
                    Some(Accepted { stream, peer, place: Some(place) })
                });
                None
            }
            Err(Full::All(_)) => {
                self.count(Ended::Limit);
                None
            }
            Err(Full::Client) => {
                self.count(Ended::ClientLimit);
                None
            }
        }
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
    /// How long a client may take nothing of what it is sent.
    pub unread: Duration,
}

/// The other end of a request's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Serves `answer` over HTTP/1.1 and HTTP/2 until `stop` is true and all connections are gone.
pub async fn serve<F, Answer, B>(mut listener: Listener, serving: Serving, mut stop: watch::Receiver<bool>, answer: F)
where
    F: Fn(Request<Incoming>) -> Answer + Clone + Send + Sync + 'static,
    Answer: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Serving { idle, open, gate, tell_peer, unread: limit } = serving;
    let builder = Arc::new(builder(idle));
    let readers = Readers::new(limit);
    let (ends, tls) = (listener.ends.clone(), listener.tls.clone());
    let watching = tokio::spawn({
        let readers = readers.clone();
        async move { readers.watch().await }
    });
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept(&mut stop) => accepted,
        };
        let Some(Accepted { stream, peer, place }) = accepted else { break };
        let peer = tell_peer.then_some(Peer(peer));
        if gate.as_ref().is_some_and(|gate| *gate.borrow() == Gate::Refuses) {
            listener.count(Ended::Fault);
            continue;
        }
        let (builder, answer, watcher, open) = (builder.clone(), answer.clone(), graceful.watcher(), open.clone());
        let (gate, ends, tls) = (gate.clone(), ends.clone(), tls.clone());
        let reader = Arc::new(readers.connection());
        unread::give_up_after(&stream, limit);
        connections.spawn(async move {
            let open = open.map(OpenConnection::count);
            let served =
                serve_one(&builder, (stream, peer), tls, limit, watcher, gate.clone(), (answer, reader.clone()));
            let ended = tokio::select! {
                ended = served => ended,
                () = until(gate, |gate| gate == Gate::Refuses) => Some(Ended::Fault),
                () = reader.is_over() => Some(Ended::Unread),
            };
            drop((open, place));
            if let (Some(ends), Some(ended)) = (ends, ended) {
                ends.count(ended);
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        while connections.try_join_next().is_some() {}
        let connections = connections.len();
        if let Some(ends) = ends {
            ends.add(Ended::Stop, connections);
        }
        tracing::warn!(connections, "connections did not end in time: they are dropped, and their requests fail");
    }
    connections.shutdown().await;
    watching.abort();
}

/// Serves one connection, after its handshake if it speaks TLS. Returns why it was closed, unless its client ended it.
async fn serve_one<F, Answer, B>(
    builder: &Builder<TokioExecutor>,
    (stream, peer): (TcpStream, Option<Peer>),
    tls: Option<TlsAcceptor>,
    limit: Duration,
    watcher: Watcher,
    gate: Option<watch::Receiver<Gate>>,
    answering: (F, Arc<Reader>),
) -> Option<Ended>
where
    F: Fn(Request<Incoming>) -> Answer + Send + 'static,
    Answer: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Some(tls) = tls else {
        return connection(builder, (Patient::new(stream, limit), peer), watcher, gate, answering).await;
    };
    match tokio::time::timeout(FIRST_HEAD, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            // Boxed, because TLS state is large and most connections are idle most of the time.
            let stream = Patient::new(Box::new(stream), limit);
            Box::pin(connection(builder, (stream, peer), watcher, gate, answering)).await
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            Some(Ended::Tls)
        }
        Err(_) => Some(Ended::Tls),
    }
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

/// Serves one connection. Returns why it was closed, unless its client ended it.
async fn connection<S, F, Answer, B>(
    builder: &Builder<TokioExecutor>,
    (stream, peer): (S, Option<Peer>),
    watcher: Watcher,
    gate: Option<watch::Receiver<Gate>>,
    (answer, reader): (F, Arc<Reader>),
) -> Option<Ended>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> Answer + Send + 'static,
    Answer: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let begun = Arc::new(AtomicBool::new(false));
    let seen = begun.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        seen.store(true, Ordering::Relaxed);
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        let (answer, gate, reader) = (answer(request), gate.clone(), reader.clone());
        async move {
            if gate.is_some() {
                until(gate, |gate| gate != Gate::Hangs).await;
            }
            Ok::<_, Infallible>(answer.await.map(|body| reader.watch(body)))
        }
    });
    let served = watcher.watch(builder.serve_connection(TokioIo::new(Explained::new(stream)), service).into_owned());
    tokio::pin!(served);
    let first = tokio::select! {
        result = &mut served => Some(result),
        () = tokio::time::sleep(FIRST_HEAD) => None,
    };
    let result = match first {
        Some(result) => result,
        None if begun.load(Ordering::Relaxed) => served.await,
        None => return Some(Ended::HeadDeadline),
    };
    let error = result.err()?;
    tracing::debug!(%error, "a connection broke");
    Ended::of(&*error)
}

fn builder(idle: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        // A client may end its side after its request, and still reads the answer (RFC 9112, section 9.6).
        .half_close(true)
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
