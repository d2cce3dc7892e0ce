//! Streams of events: they have no end of their own, so the edge ends one when its client is better off elsewhere.
//!
//! A stream ends cleanly, as if its node had ended it, so a browser's `EventSource` connects again by itself and the edge
//! sends it to a node that serves. It ends when the router stops, when its node goes, when a verdict finds its node or its
//! region down, and when an operator orders maintenance for the region.
//!
//! The same verdicts decide when a request that may be sent twice no longer waits at its node ([`until_lost`]).
//!
//! # Invariants
//! - Only an answer of `text/event-stream` without a length ends early. The end of any other answer would be taken for the
//!   whole of it.
//! - A stream that began at a node that was already out stays until the node was in once. Otherwise a client whose only
//!   node is that one would come back for ever.
//! - While no other node serves, a stream stays.

use crate::endpoint::Endpoint;
use std::pin::Pin;
use std::sync::Arc;

use api::explanation::RegionState;
use api::{NodeName, RegionId};
use bytes::Bytes;
use hyper::Response;
use hyper::body::Body;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use rand::RngExt as _;
use tokio::sync::watch;

use super::Edge;
use crate::fleet::{Fleet, NodeId};
use crate::view::View;

const MEDIA_TYPE: &[u8] = b"text/event-stream";

/// Within how many milliseconds the clients of streams that end together come back.
const SPREAD_MS: u32 = 2_000;

api::named! {
    /// Why the edge ended a stream.
    StreamEnd {
        /// The router stops.
        Stop = "stop",
        /// Its node is no longer among the nodes.
        Gone = "gone",
        /// Its region is under maintenance.
        Maintenance = "maintenance",
        /// Its node or its region is down.
        Down = "down",
    }
}

/// Resolves when a stream is to end.
pub(super) type UntilEnd = Pin<Box<dyn Future<Output = StreamEnd> + Send>>;

/// Whether an answer is a stream that may end anywhere.
pub(super) fn is_stream<B: Body>(response: &Response<B>) -> bool {
    let is_events = |headers: &HeaderMap| {
        let media_type = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
        let (name, rest) = media_type.and_then(|value| value.split_at_checked(MEDIA_TYPE.len())).unwrap_or_default();
        name.eq_ignore_ascii_case(MEDIA_TYPE) && matches!(rest.first(), None | Some(b';' | b' ' | b'\t'))
    };
    response.body().size_hint().exact().is_none()
        && is_events(response.headers())
        && !response.headers().contains_key(CONTENT_ENCODING)
}

/// The last words of a stream: when its client is to come back, so that not all come at once.
pub(super) fn farewell() -> Bytes {
    format!("retry: {}\n\n", rand::rng().random_range(1..=SPREAD_MS)).into()
}

/// Where the bytes of a stream stand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Boundary {
    last: [u8; 2],
    has_begun: bool,
}

impl Boundary {
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().skip(bytes.len().saturating_sub(2)) {
            self.last = [self.last[1], *byte];
        }
        self.has_begun |= !bytes.is_empty();
    }

    /// Whether no event is begun. The words of another sender would become part of it.
    pub(super) fn is_between_events(self) -> bool {
        !self.has_begun || self.last == *b"\n\n"
    }
}

/// The node of a stream, by what survives a change of the fleet.
struct Source {
    region: RegionId,
    name: NodeName,
    at: Endpoint,
}

impl Source {
    fn of(fleet: &Fleet, id: NodeId) -> Source {
        let (region, node) = (fleet.region(id.region), fleet.node(id));
        Source { region: region.name.clone(), name: node.name.clone(), at: node.at.clone() }
    }

    /// Why clients are better off elsewhere.
    fn is_out(&self, view: &View) -> Option<StreamEnd> {
        let id = view.fleet.find_node(&self.name, &self.at);
        let Some(id) = id.filter(|id| view.fleet.region(id.region).name == self.region) else {
            return Some(StreamEnd::Gone);
        };
        let why = match view.regions[id.region.at()].state {
            RegionState::Maintenance => StreamEnd::Maintenance,
            RegionState::Down => StreamEnd::Down,
            _ if !view.is_up(id) => StreamEnd::Down,
            _ => return None,
        };
        let serves = |other: NodeId| {
            let state = view.regions[other.region.at()].state;
            (state.serves() || state == RegionState::Drained) && view.is_up(other)
        };
        view.fleet.nodes().any(serves).then_some(why)
    }
}

/// Waits until a stream is to end.
async fn until_end(
    source: Source,
    mut views: watch::Receiver<Arc<View>>,
    mut stop: watch::Receiver<bool>,
) -> StreamEnd {
    let mut was_in = source.is_out(&views.borrow_and_update()).is_none();
    let mut follows = true;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return StreamEnd::Stop,
            // An error means that the control plane has ended, so that nothing changes any more.
            changed = views.changed(), if follows => follows = changed.is_ok(),
        }
        match source.is_out(&views.borrow_and_update()) {
            Some(why) if was_in => return why,
            Some(_) => {}
            None => was_in = true,
        }
    }
}

/// Waits until a node to which a request was sent by `view` is lost: a verdict finds it or its region down, while another
/// node serves. A node that was down by `view` already must have been up first. One that goes is not lost, because it may
/// end what it has begun.
pub(super) async fn until_lost(view: &View, node: NodeId, mut views: watch::Receiver<Arc<View>>) {
    views.mark_unchanged();
    // A view that came between `view` and the line above must not be missed.
    let mut is_news = !std::ptr::eq(Arc::as_ptr(&views.borrow()), view);
    // Made only when the view changes, because most requests are answered before.
    let mut known: Option<(Source, bool)> = None;
    loop {
        if is_news {
            let (source, was_up) = known.get_or_insert_with(|| {
                let source = Source::of(&view.fleet, node);
                let was_up = source.is_out(view) != Some(StreamEnd::Down);
                (source, was_up)
            });
            match source.is_out(&views.borrow_and_update()) {
                Some(StreamEnd::Down) if *was_up => return,
                Some(StreamEnd::Down) => {}
                _ => *was_up = true,
            }
        }
        if views.changed().await.is_err() {
            // The control plane has ended, so nothing changes any more.
            return std::future::pending().await;
        }
        is_news = true;
    }
}

impl Edge {
    /// Resolves when a stream from this node is to end.
    pub(super) fn stream_of(&self, fleet: &Fleet, node: NodeId) -> UntilEnd {
        let until = until_end(Source::of(fleet, node), self.views.clone(), self.stop.clone());
        let metrics = self.metrics.clone();
        Box::pin(async move {
            let why = until.await;
            metrics.stream_ended(why);
            why
        })
    }
}

#[cfg(test)]
mod tests;
