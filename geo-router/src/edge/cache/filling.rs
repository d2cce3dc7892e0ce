//! Copies an answer while it streams to the client. The cache stores the copy only if the body ends cleanly.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue};

use super::rules::Term;
use super::{Cache, CacheLookup, Flight, Stored};

/// An answer of which a part has arrived. If this is dropped before the end, nothing is stored.
pub(in crate::edge) struct Filling {
    cache: Arc<Cache>,
    asked: CacheLookup,
    /// Requests that wait for this answer continue when this is dropped.
    _flight: Option<Flight>,
    status: StatusCode,
    headers: HeaderMap,
    term: Term,
    region: HeaderValue,
    body: BytesMut,
    since: Instant,
}

impl Filling {
    pub(super) fn new(
        cache: Arc<Cache>,
        asked: CacheLookup,
        flight: Option<Flight>,
        status: StatusCode,
        headers: HeaderMap,
        term: Term,
        region: HeaderValue,
    ) -> Filling {
        let since = Instant::now();
        Filling { cache, asked, _flight: flight, status, headers, term, region, body: BytesMut::new(), since }
    }

    /// Adds a piece. Returns whether the answer is still worth storing.
    pub(in crate::edge) fn push(&mut self, data: &Bytes) -> bool {
        if self.body.len() + data.len() > self.cache.rules.object {
            return false;
        }
        self.body.extend_from_slice(data);
        true
    }

    /// Stores the complete answer.
    pub(in crate::edge) fn finish(self) {
        let stored = Stored {
            status: self.status,
            headers: self.headers,
            body: self.body.freeze(),
            term: self.term,
            at: self.since,
            region: self.region,
        };
        self.cache.store(&self.asked, Arc::new(stored));
    }
}
