//! The body of an answer on its way to the client.
//!
//! # Invariants
//! - If a node's body breaks off, the client's connection (HTTP/2: stream) breaks off too; it never ends cleanly. Only a
//!   stream of events ends cleanly before its node ends it ([`super::streams`]).
//! - An answer that its node breaks off is a failure of the node ([`super::exclusion`]).
//! - The connection to the node goes back to the pool only after the whole body was read.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use prometheus::IntCounter;
use tokio::time::Sleep;

use super::body::Cut;
use super::cache::Filling;
use super::connection::UnderWay;
use super::exclusion::{CLIENT_IS_SLOW, Witness};
use super::pool::Lease;
use super::streams::{self, Boundary, UntilEnd};

/// The body that a client gets: the edge's own, or a node's.
pub(super) struct Answer {
    body: Either<Full<Bytes>, Box<Relay>>,
    /// Marks the connection as busy.
    _under_way: UnderWay,
}

/// The source of the body.
pub(super) type Origin = Either<Bytes, Box<Relay>>;

impl Answer {
    pub(super) fn new(origin: Origin, under_way: UnderWay) -> Answer {
        let body = match origin {
            Either::Left(bytes) => Either::Left(Full::new(bytes)),
            Either::Right(relay) => Either::Right(relay),
        };
        Answer { body, _under_way: under_way }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut self.body {
            Either::Left(full) => Pin::new(full).poll_frame(cx).map_err(|never| match never {}),
            Either::Right(relay) => relay.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Either::Left(full) => full.is_end_stream(),
            Either::Right(relay) => relay.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Either::Left(full) => full.size_hint(),
            Either::Right(relay) => relay.body.size_hint(),
        }
    }
}

/// A node's body, read only as fast as the client reads it.
pub(super) struct Relay {
    body: Incoming,
    lease: Option<Lease>,
    filling: Option<Filling>,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    broke_off: IntCounter,
    /// Sees how the answer ends. `None` once that is known.
    witness: Option<Witness>,
    /// When the client last took something or was waiting.
    taken: Instant,
    stream: Option<Stream>,
    /// hyper may not have written what came last.
    is_unsent: bool,
    /// The end of the body, held back until what came before it is written.
    broken: Option<hyper::Error>,
}

/// A stream of events that the edge may end.
struct Stream {
    /// `None` once it has ended.
    until_end: Option<UntilEnd>,
    boundary: Boundary,
}

impl Relay {
    pub(super) fn new(
        body: Incoming,
        lease: Lease,
        idle: Duration,
        broke_off: IntCounter,
        witness: Option<Witness>,
    ) -> Relay {
        let lease = Some(lease);
        let taken = Instant::now();
        let mut relay = Relay {
            body,
            lease,
            filling: None,
            idle,
            timer: None,
            broke_off,
            witness,
            taken,
            stream: None,
            is_unsent: true,
            broken: None,
        };
        relay.end_if_ended();
        relay
    }

    /// Copies what passes into `filling`, for the cache.
    pub(super) fn fill(&mut self, filling: Filling) {
        self.filling = Some(filling);
        self.end_if_ended();
    }

    /// This is a stream of events, which ends when `until_end` resolves.
    pub(super) fn ends_by(&mut self, until_end: UntilEnd) {
        // It has no end by which it could be judged.
        self.witness.iter_mut().for_each(Witness::is_good);
        self.stream = Some(Stream { until_end: Some(until_end), boundary: Boundary::default() });
    }

    fn end_if_ended(&mut self) {
        if self.body.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
        if let Some(filling) = self.filling.take() {
            filling.finish();
        }
        if let Some(mut witness) = self.witness.take() {
            witness.is_good();
        }
    }

    /// The last frame, and then the end, of a stream that the edge ends.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        let Some(stream) = &mut self.stream else { return Poll::Pending };
        let Some(until_end) = &mut stream.until_end else { return Poll::Ready(None) };
        let why = std::task::ready!(until_end.as_mut().poll(cx));
        stream.until_end = None;
        let speaks = stream.boundary.is_between_events();
        // The node notices by the end of its connection. An incomplete answer is not cached.
        (self.lease, self.filling) = (None, None);
        tracing::debug!(why = why.name(), "a stream of events ends: its client connects again");
        Poll::Ready(speaks.then(|| Frame::data(streams::farewell())))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Poll::Ready(last) = self.poll_farewell(cx) {
            return Poll::Ready(last.map(Ok));
        }
        let now = Instant::now();
        let waited = now.saturating_duration_since(self.taken);
        self.taken = now;
        if let Some(lease) = &mut self.lease {
            lease.drive(cx);
        }
        let came = match self.broken.take() {
            Some(error) => Poll::Ready(Some(Err(error))),
            None => Pin::new(&mut self.body).poll_frame(cx),
        };
        let was_unsent = std::mem::replace(&mut self.is_unsent, false);
        let cut = match came {
            Poll::Ready(Some(Ok(frame))) => {
                self.timer = None;
                self.is_unsent = true;
                if let (Some(stream), Some(data)) = (&mut self.stream, frame.data_ref()) {
                    stream.boundary.pass(data);
                }
                // An answer with trailers is not cached, because no client needs one.
                let keeps = match (&mut self.filling, frame.data_ref()) {
                    (Some(filling), Some(data)) => filling.push(data),
                    _ => false,
                };
                if !keeps {
                    self.filling = None;
                }
                self.end_if_ended();
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(None) => {
                self.end();
                return Poll::Ready(None);
            }
            // hyper writes what it has before it asks again, and nothing of it after an error.
            Poll::Ready(Some(Err(error))) if was_unsent => {
                self.broken = Some(error);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(Some(Err(error))) => Cut::Broke(error),
            Poll::Pending => {
                let idle = self.idle;
                let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
                std::task::ready!(timer.as_mut().poll(cx));
                Cut::Silent
            }
        };
        self.broke_off.inc();
        // A client that takes nothing for long may be why the node gave up, unless the client waited for the node.
        if let Some(witness) = self.witness.take()
            && (waited < CLIENT_IS_SLOW || self.timer.is_some())
        {
            witness.broke_off();
        }
        tracing::debug!(error = &cut as &dyn std::error::Error, "an answer broke off");
        Poll::Ready(Some(Err(cut)))
    }
}
