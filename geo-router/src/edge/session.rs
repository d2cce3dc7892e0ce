//! Speaks HTTP on one client's connection, and holds no buffers while nothing is on its way.
//!
//! hyper keeps 16 KiB of buffers for each connection of HTTP/1, and does not give them back while the connection is idle,
//! which most connections are most of the time. So a connection *rests* after [`REST_AFTER`] without a request: hyper is
//! taken off it, and put on again when its client sends something.
//!
//! `hyper_util::server::conn::auto` was passed over, because it does not give a connection back.
//!
//! # Invariants
//! - A connection rests only when nothing of a request was read and nothing of an answer is left to write.
//! - A connection of HTTP/2 does not rest, because it has state that both sides share.

use std::convert::Infallible;
use std::error::Error;
use std::mem::replace;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use service::access_log::Logged;
use service::unread::Watched;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};

use super::Edge;
use super::config::Limits;
use super::connection::Connection;
use super::io::{Beginning, Between, Guarded};
use super::metrics::Counted;
use super::relay::Answer;

/// How long nothing is under way before a connection rests. To put hyper on again costs a microsecond.
const REST_AFTER: Duration = Duration::from_millis(100);

/// How long apart the looks at a connection are at most while its request takes long.
const LOOK_AT_MOST: Duration = Duration::from_secs(2);

/// The settings of both protocols.
pub(super) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Protocols {
    /// With the limits of the configuration.
    pub(super) fn new(limits: &Limits) -> Protocols {
        let (mut http1, mut http2) = (http1::Builder::new(), http2::Builder::new(TokioExecutor::new()));
        http1
            // Heads have a deadline in `listen`, which costs no timer for each request.
            .header_read_timeout(None)
            // A client may end its side after its request, and still reads the answer (RFC 9112, section 9.6).
            .half_close(true)
            .max_headers(limits.headers)
            .max_buf_size(limits.head);
        http2
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
        Protocols { http1, http2 }
    }
}

/// Answers the requests of one connection.
#[derive(Clone)]
pub(super) struct Requests {
    edge: Arc<Edge>,
    connection: Arc<Connection>,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Watched<Logged<Answer>>>;
    type Error = Infallible;
    /// Boxed, so that it takes memory only while a request is under way.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        Box::pin(self.edge.clone().serve(self.connection.clone(), request))
    }
}

type Io<S> = TokioIo<Guarded<S>>;

enum State<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    /// Nothing is on its way. HTTP/1 is known if there was a request before.
    Resting {
        stream: Guarded<S>,
        is_http1: bool,
        _counted: Counted,
    },
    Http1(Box<http1::UpgradeableConnection<Io<S>, Requests>>),
    Http2(Pin<Box<http2::Connection<Io<S>, Requests, TokioExecutor>>>),
    /// The edge ends it.
    Ending(Guarded<S>),
    Over,
}

/// The next look at whether the connection can rest.
struct Look {
    timer: Pin<Box<Sleep>>,
    wait: Duration,
}

/// One connection. It resolves when the connection has ended.
pub(super) struct Session<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    requests: Requests,
    between: Arc<Between>,
    state: State<S>,
    /// While the connection speaks HTTP/1.
    look: Option<Look>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Session<S> {
    /// A connection on which nothing was read.
    pub(super) fn new(edge: Arc<Edge>, connection: Arc<Connection>, stream: Guarded<S>) -> Session<S> {
        let between = stream.between();
        let state = State::Resting { stream, is_http1: false, _counted: Counted::new(&edge.metrics.resting) };
        Session { requests: Requests { edge, connection }, between, state, look: None }
    }

    /// Ends the connection after what is under way.
    pub(super) fn shut_down(&mut self) {
        match &mut self.state {
            State::Http1(connection) => Pin::new(&mut **connection).graceful_shutdown(),
            State::Http2(connection) => connection.as_mut().graceful_shutdown(),
            State::Resting { .. } => {
                if let State::Resting { stream, .. } = replace(&mut self.state, State::Over) {
                    self.state = State::Ending(stream);
                }
            }
            State::Ending(_) | State::Over => {}
        }
    }

    /// Puts hyper on a connection on which something came.
    fn speak(&mut self, stream: Guarded<S>, beginning: Beginning) {
        let (io, requests) = (TokioIo::new(stream), self.requests.clone());
        let protocols = &requests.edge.protocols;
        self.state = match beginning {
            Beginning::Http2 => State::Http2(Box::pin(protocols.http2.serve_connection(io, requests.clone()))),
            Beginning::End => State::Ending(io.into_inner()),
            Beginning::Http1 => {
                let timer = Box::pin(tokio::time::sleep(REST_AFTER));
                self.look = Some(Look { timer, wait: REST_AFTER });
                State::Http1(Box::new(protocols.http1.serve_connection(io, requests.clone()).with_upgrades()))
            }
        };
    }

    /// Takes hyper off a connection of HTTP/1 that has had nothing to do for a while. Returns whether it did.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(Look { timer, wait }) = &mut self.look else { return false };
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            match self.requests.connection.quiet_since() {
                Some(since) if now >= since + REST_AFTER && self.between.messages() => {
                    let State::Http1(connection) = replace(&mut self.state, State::Over) else { return false };
                    let Some(parts) = connection.into_parts() else { return false };
                    // What hyper has read beyond the last request are empty lines at most, by `Between`.
                    if !parts.read_buf.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                        self.state = State::Ending(parts.io.into_inner());
                        return true;
                    }
                    let _counted = Counted::new(&self.requests.edge.metrics.resting);
                    self.state = State::Resting { stream: parts.io.into_inner(), is_http1: true, _counted };
                    self.look = None;
                    return true;
                }
                Some(since) if now < since + REST_AFTER => {
                    *wait = REST_AFTER;
                    timer.as_mut().reset(since + REST_AFTER);
                }
                _ => {
                    *wait = (*wait * 2).min(LOOK_AT_MOST);
                    timer.as_mut().reset(now + *wait);
                }
            }
        }
        false
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Future for Session<S> {
    type Output = Result<(), Box<dyn Error + Send + Sync>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Resting { stream, is_http1, .. } => {
                    let beginning = ready!(stream.poll_beginning(cx, *is_http1))?;
                    let State::Resting { stream, .. } = replace(&mut this.state, State::Over) else { continue };
                    this.speak(stream, beginning);
                }
                State::Http1(connection) => {
                    if let Poll::Ready(ended) = Pin::new(&mut **connection).poll(cx) {
                        return Poll::Ready(ended.map_err(Into::into));
                    }
                    if !this.poll_rest(cx) {
                        return Poll::Pending;
                    }
                }
                State::Http2(connection) => return connection.as_mut().poll(cx).map_err(Into::into),
                State::Ending(stream) => return Pin::new(stream).poll_shutdown(cx).map_err(Into::into),
                State::Over => return Poll::Ready(Ok(())),
            }
        }
    }
}
