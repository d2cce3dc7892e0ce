//! What is known of a client's connection, and of the requests that are under way on it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyper::Version;
use parking_lot::Mutex;
use service::places::Place;
use service::unread::Reader;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Edge;
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
    /// The first request came.
    came_late: Notify,
    quiet_since: Mutex<Instant>,
    _counted: Counted,
    /// Closes the connection if its client does not read.
    pub(super) reader: Reader,
    _place: Option<Place>,
}

impl Connection {
    pub(super) fn new(edge: &Edge, peer: IpAddr, secure: bool, place: Option<Place>) -> Connection {
        Connection {
            peer,
            secure,
            busy: AtomicUsize::new(0),
            begun: AtomicBool::new(false),
            is_http2: AtomicBool::new(false),
            came_late: Notify::new(),
            quiet_since: Mutex::new(Instant::now()),
            _counted: Counted::new(&edge.metrics.connections),
            reader: edge.readers.connection(),
            _place: place,
        }
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// Whether there was a request.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether it speaks HTTP/2, as far as its first request has shown.
    pub(super) fn is_http2(&self) -> bool {
        self.is_http2.load(Ordering::Relaxed)
    }

    /// Resolves at the first request.
    pub(super) async fn came_late(&self) {
        self.came_late.notified().await;
    }

    /// The time since which nothing is under way.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
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
