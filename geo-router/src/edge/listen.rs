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

use std::sync::Arc;

use service::ended::{Ended, Ends};
use service::listen::{Accepted, Listener};
use service::unread;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::Edge;
use super::connection::Connection;
use super::framing::Framing;
use super::io::Guarded;
use super::session::Session;

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
        let connection = Arc::new(Connection::new(&edge, peer.ip().to_canonical(), tls.is_some(), place));
        let (tls, stopped, ends, tasks) = (tls.clone(), stopped.clone(), ends.clone(), &edge.connections);
        let edge = edge.clone();
        tasks.spawn(async move {
            let kill = edge.kill.clone();
            // Made here, otherwise the task would have room for it twice.
            let ended = tokio::select! {
                ended = begin(edge, stream, tls, connection.clone(), stopped) => ended,
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
    match tls {
        None => speak(edge, Guarded::new(stream, Framing::http1(), timeouts.write), connection, stop).await,
        // Boxed, because TLS state is large.
        Some(tls) => Box::pin(secured(edge, stream, tls, connection, stop)).await,
    }
}

/// Serves one connection over TLS.
async fn secured(
    edge: Arc<Edge>,
    stream: TcpStream,
    tls: TlsAcceptor,
    connection: Arc<Connection>,
    stop: watch::Receiver<bool>,
) -> Option<Ended> {
    let timeouts = edge.config.timeouts;
    // Each part is boxed, because most connections are idle most of the time, and past the handshake.
    match Box::pin(tokio::time::timeout(timeouts.head, tls.accept(stream))).await {
        Ok(Ok(stream)) => {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let framing = if http2 { Framing::none() } else { Framing::http1() };
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
    stream: Guarded<S>,
    connection: Arc<Connection>,
    mut stop: watch::Receiver<bool>,
) -> Option<Ended>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let timeouts = edge.config.timeouts;
    let mut session = Session::new(edge.clone(), connection.clone(), stream);
    let first = Instant::now() + timeouts.head;
    let tick = tokio::time::sleep_until(first);
    tokio::pin!(tick);
    let mut stopping = false;
    let mut lingers = false;
    let mut ending = false;
    let result = loop {
        tokio::select! {
            result = &mut session => break result,
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                lingers = edge.succession.has_happened() && !connection.is_http2();
                if !lingers {
                    session.shut_down();
                }
            }
            () = connection.came_late(), if lingers => {
                lingers = !connection.is_http2();
                if !lingers {
                    session.shut_down();
                }
            }
            () = edge.hurry.cancelled(), if lingers => {
                lingers = false;
                session.shut_down();
            }
            () = tick.as_mut() => {
                if !connection.has_begun() {
                    return Some(Ended::HeadDeadline);
                }
                let now = Instant::now();
                let quiet = connection.quiet_since();
                match quiet {
                    // The connection was told to end and has nothing to do, but does not end: it is broken or hostile.
                    Some(_) if ending => return Some(Ended::Idle),
                    Some(since) if now >= since + timeouts.idle => {
                        ending = true;
                        session.shut_down();
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
