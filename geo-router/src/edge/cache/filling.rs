//! An answer on its way to a client that will be kept once it is whole.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue};

use super::rules::Term;
use super::{Asked, Cache, Flight, Stored};

/// An answer of which a part has come. Dropped unfinished, nothing is kept.
pub(in crate::edge) struct Filling {
    cache: Arc<Cache>,
    asked: Asked,
    /// Those who wait for it are let go when this is dropped.
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
        asked: Asked,
        flight: Option<Flight>,
        status: StatusCode,
        headers: HeaderMap,
        term: Term,
        region: HeaderValue,
    ) -> Filling {
        let since = Instant::now();
        Filling { cache, asked, _flight: flight, status, headers, term, region, body: BytesMut::new(), since }
    }

    /// More of it came. Whether it is still worth keeping.
    pub(in crate::edge) fn push(&mut self, data: &Bytes) -> bool {
        if self.body.len() + data.len() > self.cache.rules.object {
            return false;
        }
        self.body.extend_from_slice(data);
        true
    }

    /// All of it came.
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
