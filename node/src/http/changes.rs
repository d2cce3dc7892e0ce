//! `GET /v1/venues/{venue}/changes`: server-sent events of one venue (WHATWG HTML, "Server-sent events").
//!
//! An event names the visit that changed and not the change: `event: visit`, data
//! `{"visit_id","kind":"changed"|"erased"}`.
//! `event: reset` tells the client to read the guest list again: after a resumption, and when the client was too slow.
//! The id of an event is `<counter>.<session token>`. A client sends it back as `Last-Event-ID`, and the node waits for
//! its token like for that of a request, so what the client reads next is not older than what it has seen.
//!
//! # Invariants
//! - A client that resumes is always told to read again, because an event may have been queued when the connection
//!   broke, and no token shows that.
//! - The stream ends when the node stops and when the venue is closed.

use api::wait::WAIT;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use api::headers::SESSION;
use bytes::Bytes;
use futures_util::stream;
use hyper::header::{HeaderName, HeaderValue};
use replication::DocumentName;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::Instant;

use super::call::Call;
use super::problem::Problem;
use super::query::Query;
use super::reply::{BrokeOff, Reply, stream as streamed};
use super::session::{Session, write};
use super::venues;
use super::venues::{VenueLookup, read};
use super::{App, auth};
use crate::driver::Follower;
use registry::{VENUES, VISITS, VenueId, VisitId};

/// Silence after which the stream sends a comment to show that the connection is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The beginning of the stream; `retry` is how long a client waits before it connects again, in milliseconds.
const GREETING: &str = "retry: 2000\n: changes of one venue\n\n";

struct Events {
    app: Arc<App>,
    venue: VenueId,
    changes: Follower,
    stopping: watch::Receiver<bool>,
    counter: u64,
    /// When the next comment is due.
    due: Instant,
    ready: VecDeque<String>,
}

/// `GET /v1/venues/{venue}/changes`.
pub(super) async fn changes(call: Call) -> Result<Reply, Problem> {
    let venue = call.venue()?;
    let app = &call.app;
    let owner = auth::owner_key(&call.parts.headers)?;
    let wait = Query::parse(call.parts.uri.query(), &[WAIT])?.wait()?;
    let last = call.parts.headers.get("last-event-id");
    // Follow before reading anything, otherwise a change between the list and the first event would be missed.
    let changes = app.handle.changes(venue.tenant());
    let mut headers = call.parts.headers.clone();
    if let Some(token) = last.and_then(token_of) {
        headers.insert(SESSION, token);
    }
    let session = match Session::begin(app, &headers, wait).await {
        Ok(session) => session,
        // An id of an older version is accepted too, because a resumption leads to a reset anyway.
        Err(_) if last.is_some() => Session::without(app),
        Err(problem) => return Err(problem),
    };
    venues::find_owned_venue(app, venue, &owner, &session)?;
    let mut events = Events {
        app: call.app.clone(),
        venue,
        changes,
        stopping: call.stopping(),
        counter: 0,
        due: Instant::now() + HEARTBEAT,
        ready: VecDeque::from([GREETING.to_owned()]),
    };
    if last.is_some() {
        let reset = events.event("reset", "{}");
        events.ready.push_back(reset);
    }
    let pieces = stream::unfold(events, |mut events| async move {
        let piece = events.next().await?;
        Some((Ok::<Bytes, BrokeOff>(piece.into()), events))
    });
    let mut reply = streamed(HeaderValue::from_static("text/event-stream"), pieces);
    reply.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    session.sign_read(&mut reply);
    Ok(reply)
}

impl Events {
    /// The next piece of the stream; `None` ends it.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(piece);
            }
            let changed = tokio::select! {
                biased;
                // An error means that the sender is gone, which also ends the stream.
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
                changed = self.changes.next() => changed,
                () = tokio::time::sleep_until(self.due) => {
                    self.due = Instant::now() + HEARTBEAT;
                    return Some(": still here\n\n".to_owned());
                }
            };
            match changed {
                Ok(name) if name.collection == VISITS => return self.visit(&name),
                Ok(name) if name.collection == VENUES => {
                    if !matches!(read(&self.app, self.venue), Ok(VenueLookup::Open(_) | VenueLookup::Closed(_))) {
                        return None;
                    }
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return Some(self.event("reset", "{}")),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn visit(&mut self, name: &DocumentName) -> Option<String> {
        let id = VisitId::from_document_id(name.id)?;
        let status = self.app.handle.status();
        let erased = match self.app.handle.reader().is_erased(name, false, self.app.view(&status)) {
            Ok(erased) => erased,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    action = "check the disk",
                    "the store cannot be read: an event stream ends, and its client connects again"
                );
                return None;
            }
        };
        let kind = if erased { "erased" } else { "changed" };
        Some(self.event("visit", &format!("{{\"visit_id\":\"{id}\",\"kind\":\"{kind}\"}}")))
    }

    fn event(&mut self, event: &str, data: &str) -> String {
        self.counter += 1;
        self.due = Instant::now() + HEARTBEAT;
        let token = write(self.app.handle.status().durable.clone());
        let mut text = String::with_capacity(160);
        // Writing into memory cannot fail.
        let _ = write!(text, "event: {event}\nid: {}.{token}\ndata: {data}\n\n", self.counter);
        text
    }
}

/// The token in an event's id.
fn token_of(id: &HeaderValue) -> Option<HeaderValue> {
    let (counter, token) = id.to_str().ok()?.split_once('.')?;
    let numbered = !counter.is_empty() && counter.bytes().all(|b| b.is_ascii_digit());
    if numbered && !token.is_empty() { HeaderValue::from_str(token).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::token_of;

    #[test]
    fn an_event_id_carries_the_token() {
        let of = |id: &'static str| token_of(&HeaderValue::from_static(id));
        assert_eq!(of("12.AAAA-_"), Some(HeaderValue::from_static("AAAA-_")));
        for bad in ["", ".", "12", "12.", "x.AAAA", ".AAAA"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
