//! Listeners: accept connections, speak TLS, HTTP/1.1 and HTTP/2 on them, and end gracefully.
//!
//! # Invariants
//! - There are never more than `limits.connections` connections, and of one client never more than
//!   `limits.connections_per_client`.
//! - The edge closes a connection that sends no whole request head in time, whatever it sends meanwhile, one on which
//!   nothing is under way for too long, and one whose client takes nothing of an answer for too long.
//! - After a stop the edge accepts no connection, finishes what is under way, and drops what is left after
//!   `timeouts.drain`.
//! - If there is a successor, a connection of HTTP/1.1 ends only after an answer with `Connection: close`, or when nothing
//!   was sent on it for half of `timeouts.drain`. Closing it at once would lose a request that is on its way. HTTP/2 says
//!   which requests it has taken (GOAWAY), so its clients repeat the others by themselves.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::Version;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use parking_lot::Mutex;
use service::ended::{Ended, Ends};
use service::listen::{Accepted, Listener};
use service::places::Place;
use service::unread::{self, Reader};
use service::unreadable::Explained;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::Edge;
use super::framing::Framing;
use super::io::Guarded;
use super::metrics::Counted;

/// A client's connection, as long as any part of it is in use.
pub(super) struct Connection {
    pub(super) peer: IpAddr,
    pub(super) secure: bool,
    /// Requests under way.
    busy: AtomicUsize,
    begun: AtomicBool,
    /// It speaks HTTP/2, as its first request showed.
    is_http2: AtomicBool,
    /// A first request came after the stop.
    came_late: Notify,
    quiet_since: Mutex<Instant>,
    _counted: Counted,
    /// Closes the connection if its client does not read.
    pub(super) reader: Reader,
    _place: Option<Place>,
}

impl Connection {
    pub(super) fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// The time since which nothing is under way.
    fn quiet_since(&self) -> Option<Instant> {
        let since = *self.quiet_since.lock();
        (self.busy.load(Ordering::Acquire) == 0).then_some(since)
    }
}

/// A request under way.
pub(super) struct UnderWay(Arc<Connection>);

impl UnderWay {
    pub(super) fn begin(connection: Arc<Connection>, version: Version) -> UnderWay {
        connection.busy.fetch_add(1, Ordering::AcqRel);
        if !connection.begun.swap(true, Ordering::Relaxed) {
            connection.is_http2.store(version == Version::HTTP_2, Ordering::Relaxed);
            connection.came_late.notify_one();
        }
        UnderWay(connection)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        *self.0.quiet_since.lock() = Instant::now();
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Accepts connections until `stop` is true. Each connection also sees `stop` and ends by itself.
pub(super) async fn accept(
    edge: Arc<Edge>,
    listener: Listener,
    tls: Option<TlsAcceptor>,
    mut stop: watch::Receiver<bool>,
) {
    let stopped = stop.clone();
    let ends = ends(&edge, tls.is_some());
    let mut listener = listener.counting(ends.clone());
    while let Some(Accepted { stream, peer, place }) = listener.accept(&mut stop).await {
        let connection = Arc::new(Connection {
            peer: peer.ip().to_canonical(),
            secure: tls.is_some(),
            busy: AtomicUsize::new(0),
            begun: AtomicBool::new(false),
            is_http2: AtomicBool::new(false),
            came_late: Notify::new(),
            quiet_since: Mutex::new(Instant::now()),
            _counted: Counted::new(&edge.metrics.connections),
            reader: edge.readers.connection(),
            _place: place,
        });
        let serving = begin(edge.clone(), stream, tls.clone(), connection.clone(), stopped.clone());
        let (kill, ends) = (edge.kill.clone(), ends.clone());
        edge.connections.spawn(async move {
            let ended = tokio::select! {
                ended = serving => ended,
                () = connection.reader.is_over() => Some(Ended::Unread),
                () = kill.cancelled() => Some(Ended::Stop),
            };
            if let Some(ended) = ended {
                ends.count(ended);
            }
        });
    }
}

/// The counters of one listener.
fn ends(edge: &Edge, secure: bool) -> Ends {
    edge.metrics.ended.of(if secure { "edge_tls" } else { "edge" })
}

/// Serves one connection. Returns why it was closed, unless its client ended it.
async fn begin(
    edge: Arc<Edge>,
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    connection: Arc<Connection>,
    stop: watch::Receiver<bool>,
) -> Option<Ended> {
    let timeouts = edge.config.timeouts;
    unread::give_up_after(&stream, timeouts.write);
    let Some(tls) = tls else {
        let stream = Guarded::new(stream, Framing::http1(), timeouts.write);
        return speak(edge, stream, connection, stop).await;
    };
    match tokio::time::timeout(timeouts.head, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let framing = if http2 { Framing::none() } else { Framing::http1() };
            // Boxed, because TLS state is large and most connections are idle most of the time.
            let stream = Guarded::new(Box::new(stream), framing, timeouts.write);
            Box::pin(speak(edge, stream, connection, stop)).await
        }
        Ok(Err(error)) => {
            edge.metrics.handshakes_failed.inc();
            tracing::debug!(%error, "a TLS handshake failed");
            Some(Ended::Tls)
        }
        Err(_) => {
            edge.metrics.handshakes_failed.inc();
            Some(Ended::Tls)
        }
    }
}

async fn speak<S>(
    edge: Arc<Edge>,
    stream: S,
    connection: Arc<Connection>,
    mut stop: watch::Receiver<bool>,
) -> Option<Ended>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let timeouts = edge.config.timeouts;
    let service = service_fn({
        let (edge, connection) = (edge.clone(), connection.clone());
        move |request| {
            let answer = edge.clone().serve(connection.clone(), request);
            async move { Ok::<_, Infallible>(answer.await) }
        }
    });
    let served = edge.http.serve_connection_with_upgrades(TokioIo::new(Explained::new(stream)), service);
    tokio::pin!(served);
    let first = Instant::now() + timeouts.head;
    let tick = tokio::time::sleep_until(first);
    tokio::pin!(tick);
    let mut stopping = false;
    let mut lingers = false;
    let mut ending = false;
    let result = loop {
        tokio::select! {
            result = served.as_mut() => break result,
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                lingers = edge.succession.has_happened() && !connection.is_http2.load(Ordering::Relaxed);
                if !lingers {
                    served.as_mut().graceful_shutdown();
                }
            }
            () = connection.came_late.notified(), if lingers => {
                lingers = !connection.is_http2.load(Ordering::Relaxed);
                if !lingers {
                    served.as_mut().graceful_shutdown();
                }
            }
            () = edge.hurry.cancelled(), if lingers => {
                lingers = false;
                served.as_mut().graceful_shutdown();
            }
            () = tick.as_mut() => {
                if !connection.begun.load(Ordering::Relaxed) {
                    return Some(Ended::HeadDeadline);
                }
                let now = Instant::now();
                let quiet = connection.quiet_since();
                match quiet {
                    // The connection was told to end and has nothing to do, but does not end: it is broken or hostile.
                    Some(_) if ending => return Some(Ended::Idle),
                    Some(since) if now >= since + timeouts.idle => {
                        ending = true;
                        served.as_mut().graceful_shutdown();
                        tick.as_mut().reset(now + timeouts.head);
                    }
                    Some(since) => tick.as_mut().reset(since + timeouts.idle),
                    None => tick.as_mut().reset(now + timeouts.idle),
                }
            }
        }
    };
    match result {
        Ok(()) => ending.then_some(Ended::Idle),
        Err(error) => {
            tracing::debug!(%error, "a connection broke");
            Ended::of(&*error)
        }
    }
}

/// hyper's builder with the limits of `config`.
pub(super) fn http(limits: &super::config::Limits, timeouts: &super::config::Timeouts) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.idle)
        // A client may end its side after its request, and still reads the answer (RFC 9112, section 9.6).
        .half_close(true)
        .max_headers(limits.headers)
        .max_buf_size(limits.head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
        // The window of a stream bounds what one client can make us keep. Bodies are small here.
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(256 * 1024)
        .max_send_buf_size(64 * 1024)
        // A client that opens streams only to reset them is disconnected (CVE-2023-44487).
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(Some(100))
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}
