//! `Meridian-Session`: read-your-writes and monotonic reads for a client that moves between regions.
//!
//! The header carries a [`SessionToken`] in base64url without padding. A request's token is waited for, at most as
//! long as the client says; what is still missing then is named in `Meridian-Stale`. The answer's token covers the
//! request's token and what the answer shows or wrote.
//!
//! # Invariants
//! - The vector that an answer's token takes over is read before any row is read, so the token never promises
//!   more than the client has seen.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use replication::replica::Status;
use replication::{Dot, Outcome, SessionToken, VersionVector};

use super::App;
use super::problem::{Kind, Problem};
use super::reply::{Reply, header};

/// The token, in both directions.
pub(super) const SESSION: HeaderName = HeaderName::from_static("meridian-session");

/// Origins that the answer lacks.
const STALE: HeaderName = HeaderName::from_static("meridian-stale");

/// How long a request with a token waits if it does not say.
const WAIT: Duration = Duration::from_secs(1);

/// What one request has seen before, and what the node knows.
pub(super) struct Session {
    /// Read before any row.
    pub(super) status: Arc<Status>,
    seen: VersionVector,
    given: bool,
}

impl Session {
    /// Reads the request's token and waits until it is covered.
    pub(super) async fn begin(app: &App, headers: &HeaderMap, wait: Option<Duration>) -> Result<Session, Problem> {
        let Some(value) = headers.get(SESSION) else { return Ok(Session::without(app)) };
        let seen = read(value).ok_or_else(|| {
            Problem::new(Kind::MalformedHeader, "Meridian-Session is no token of this service; leave it out")
        })?;
        let mut status = app.handle.watch();
        let covered = status.wait_for(|status| status.durable.covers(&seen));
        // Too late, or the driver is gone: then the answer says what it lacks.
        let _ = tokio::time::timeout(wait.unwrap_or(WAIT), covered).await;
        Ok(Session { status: app.handle.status(), seen, given: true })
    }

    /// The session of a client that has seen nothing.
    pub(super) fn without(app: &App) -> Session {
        Session { status: app.handle.status(), seen: VersionVector::default(), given: false }
    }

    /// Whether the client sent a token.
    pub(super) fn is_given(&self) -> bool {
        self.given
    }

    /// Whether what was read when `vector` was known is good enough for this client.
    pub(super) fn is_covered_by(&self, vector: &VersionVector) -> bool {
        vector.covers(&self.seen)
    }

    /// Signs an answer that shows what was read.
    pub(super) fn sign_read(self, reply: &mut Reply) {
        let vector = self.status.durable.clone();
        self.sign(reply, |seen| seen.merge(&vector));
    }

    /// Signs an answer to a write; one that wrote nothing shows what the node knows.
    pub(super) fn sign_write(self, reply: &mut Reply, app: &App, outcome: Outcome) {
        match dot_of(outcome) {
            Some(dot) => self.sign(reply, |seen| seen.advance(dot.origin, dot.seq)),
            None => {
                let vector = app.handle.status().durable.clone();
                self.sign(reply, |seen| seen.merge(&vector));
            }
        }
    }

    fn sign(mut self, reply: &mut Reply, more: impl FnOnce(&mut VersionVector)) {
        let missing = missing(&self.seen, &self.status.durable);
        more(&mut self.seen);
        let headers = reply.headers_mut();
        headers.insert(SESSION, header(write(self.seen)));
        if !missing.is_empty() {
            headers.insert(STALE, header(missing));
        }
    }
}

/// The entry that a write made.
pub(super) fn dot_of(outcome: Outcome) -> Option<Dot> {
    match outcome {
        Outcome::Created(dot) | Outcome::Amended(dot) | Outcome::Erased(dot) => Some(dot),
        Outcome::Repeat | Outcome::AlreadyErased => None,
    }
}

/// A token as text.
pub(super) fn write(vector: VersionVector) -> String {
    BASE64URL_NOPAD.encode(&SessionToken(vector).encode())
}

fn read(value: &HeaderValue) -> Option<VersionVector> {
    let bytes = BASE64URL_NOPAD.decode(value.as_bytes()).ok()?;
    SessionToken::decode(&bytes).ok().map(|token| token.0)
}

/// Origins of which `known` has less than `seen`, in hex.
fn missing(seen: &VersionVector, known: &VersionVector) -> String {
    let origins = seen.iter().filter(|(origin, seq)| known.get(*origin) < *seq).map(|(origin, _)| origin.to_string());
    origins.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use replication::{ReplicaId, VersionVector};

    use super::{missing, read, write};

    fn vector(pairs: &[(u64, u64)]) -> VersionVector {
        pairs.iter().map(|(origin, seq)| (ReplicaId(*origin), *seq)).collect()
    }

    #[test]
    fn a_token_reads_back_and_nothing_else_reads() {
        let seen = vector(&[(1, 5), (u64::MAX, 1 << 50)]);
        let text = write(seen.clone());
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert_eq!(read(&HeaderValue::from_str(&text).expect("a header")), Some(seen));
        for bad in ["", "x", "AAAA", &text[1..], &format!("{text}=")] {
            assert_eq!(read(&HeaderValue::from_str(bad).expect("a header")), None, "{bad}");
        }
    }

    #[test]
    fn what_is_missing_is_named_in_hex() {
        let known = vector(&[(1, 5), (2, 9)]);
        assert_eq!(missing(&vector(&[(1, 5), (2, 8)]), &known), "");
        assert_eq!(missing(&vector(&[(1, 6), (2, 9), (255, 1)]), &known), "0000000000000001,00000000000000ff");
    }
}
