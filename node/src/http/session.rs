//! `Meridian-Session`: read-your-writes and monotonic reads for a client that moves between regions.
//!
//! The header carries a [`SessionToken`] in base64url without padding. The node waits until it covers the request's
//! token, at most as long as the client says; `Meridian-Stale` names what is still missing then. The answer's token
//! covers the request's token and what the answer shows or wrote, dependencies included.
//!
//! # Invariants
//! - An answer shows what the durable vector of [`Session::status`] covers, and its token joins that vector. So the
//!   token covers everything that was shown, and nothing that was not looked for.
//! - A session waits for no entry that every replica has lost ([`attainable`]). A node that stood still, or whose links are
//!   cut, does not know of a peer's latest incarnation. It judges what is lost by what all peers have said since the request
//!   came.

use std::sync::Arc;
use std::time::Duration;

use api::headers::{SESSION, STALE};
use api::wait;
use data_encoding::BASE64URL_NOPAD;
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use replication::{Dot, Monotonic, Outcome, ReplicaId, SessionToken, Status, VersionVector};

use super::App;
use super::problem::{Kind, Problem};
use super::reply::{Reply, header};

/// What peers sent before may arrive for so long after a node has stood still.
const OLD_WORDS: Duration = Duration::from_millis(200);

/// The session of one request: the token that the client sent, and the status of the node.
pub(super) struct Session {
    /// Taken before the first read; every read of the request sees what its durable vector covers.
    pub(super) status: Arc<Status>,
    seen: VersionVector,
    /// Origins of which the request's token covers more than `status`.
    stale: String,
    given: bool,
}

impl Session {
    /// Reads the request's token and waits until it is covered.
    pub(super) async fn begin(app: &App, headers: &HeaderMap, wait: Option<Duration>) -> Result<Session, Problem> {
        let Some(value) = headers.get(SESSION) else { return Ok(Session::without(app)) };
        let seen = read(value).ok_or_else(|| {
            Problem::new(Kind::MalformedHeader, "Meridian-Session is not a token of this service; leave the header out")
        })?;
        let (mut status, fresh) = (app.handle.watch(), app.handle.now().mono.plus(OLD_WORDS));
        let covered = status.wait_for(|status| status.durable.covers(&attainable(&seen, status, fresh)));
        // Too late, or the driver is gone: the answer names what it lacks.
        let _ = tokio::time::timeout(wait.unwrap_or(wait::USUAL_FOR_SESSION), covered).await;
        let status = app.handle.status();
        let seen = attainable(&seen, &status, fresh);
        let stale = missing(&seen, &status.durable);
        Ok(Session { status, seen, stale, given: true })
    }

    /// The session of a request that writes. While the clock is in doubt the node takes no writes and judges none by
    /// the time: it answers 503 before any 410 or 422 that a wrong clock would give.
    pub(super) async fn for_write(app: &App, headers: &HeaderMap, wait: Option<Duration>) -> Result<Session, Problem> {
        let session = Session::begin(app, headers, wait).await?;
        if session.status.doubt.is_some() { Err(Problem::clock_in_doubt()) } else { Ok(session) }
    }

    /// The session of a client that has seen nothing.
    pub(super) fn without(app: &App) -> Session {
        let status = app.handle.status();
        Session { status, seen: VersionVector::default(), stale: String::new(), given: false }
    }

    /// Records that the answer shows something that `vector` covers, which was read beside the session's own status.
    pub(super) fn saw(&mut self, vector: &VersionVector) {
        self.seen.merge(vector);
    }

    /// Whether the client sent a token.
    pub(super) fn is_given(&self) -> bool {
        self.given
    }

    /// Whether data that was read when `vector` was known is new enough for this client.
    pub(super) fn is_covered_by(&self, vector: &VersionVector) -> bool {
        vector.covers(&self.seen)
    }

    /// Signs an answer that shows data that was read.
    pub(super) fn sign_read(mut self, reply: &mut Reply) {
        self.seen.merge(&self.status.durable);
        self.sign(reply);
    }

    /// Signs an answer that shows one document, which needs `needs` to be visible.
    pub(super) fn sign_needs(mut self, reply: &mut Reply, needs: &VersionVector) {
        self.seen.merge(needs);
        self.sign(reply);
    }

    /// Signs an answer to a write without dependencies. If the write changed nothing, the token covers all that the
    /// node knows.
    pub(super) fn sign_write(mut self, reply: &mut Reply, app: &App, outcome: Outcome) {
        match written_dot(outcome) {
            Some(dot) => self.seen.advance(dot.origin, dot.seq),
            None => self.seen.merge(&app.handle.status().durable),
        }
        self.sign(reply);
    }

    /// The answer to a write that is refused. "It was erased" is something that the session has seen, so that answer has a
    /// token; the replica says it only of what is durable.
    pub(super) fn refuse(mut self, app: &App, problem: Problem) -> Result<Reply, Problem> {
        if problem.kind() != Kind::Erased {
            return Err(problem);
        }
        self.seen.merge(&app.handle.status().durable);
        let mut reply = problem.into_reply();
        self.sign(&mut reply);
        Ok(reply)
    }

    fn sign(self, reply: &mut Reply) {
        let headers = reply.headers_mut();
        headers.insert(SESSION, header(write(self.seen)));
        if !self.stale.is_empty() {
            headers.insert(STALE, header(self.stale));
        }
    }
}

/// The part of `seen` that the node can still receive.
///
/// An origin that is not the present incarnation of any replica issues nothing more. Once every configured peer is
/// linked, and neither this node nor any peer has its log up to the seq that the client has seen, the entries beyond
/// are lost with their disks. The seq is lowered to the highest that a replica has, because otherwise each request of
/// the session would wait in vain for ever. Only what every peer has said after `fresh` counts, and only of an origin of which
/// something is known.
fn attainable(seen: &VersionVector, status: &Status, fresh: Monotonic) -> VersionVector {
    if status.peers.iter().any(|peer| peer.replica.is_none() || peer.told.is_none_or(|told| told < fresh)) {
        return seen.clone();
    }
    let grows =
        |origin: ReplicaId| origin == status.replica || status.peers.iter().any(|peer| peer.replica == Some(origin));
    let lowered = seen.iter().map(|(origin, seq)| {
        let peers = status.peers.iter().map(|peer| peer.vector.get(origin));
        let most = peers.chain([status.durable.get(origin)]).max().unwrap_or(0);
        // An origin without any entry may be a new incarnation of a peer that this node has not heard of yet.
        let may_be_new = most == 0 && !status.peers.is_empty();
        (origin, if grows(origin) || may_be_new { seq } else { seq.min(most) })
    });
    lowered.collect()
}

/// The entry that a write made.
pub(super) fn written_dot(outcome: Outcome) -> Option<Dot> {
    match outcome {
        Outcome::Created(dot) | Outcome::Amended(dot) | Outcome::Erased(dot) => Some(dot),
        Outcome::Repeat | Outcome::AlreadyErased => None,
    }
}

/// A token as text.
pub(super) fn write(vector: VersionVector) -> String {
    BASE64URL_NOPAD.encode(&SessionToken(vector).encode())
}

/// The vector in a token's text.
pub(super) fn read(value: &HeaderValue) -> Option<VersionVector> {
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
    use std::sync::Arc;
    use std::time::Duration;

    use hyper::StatusCode;
    use hyper::header::HeaderValue;
    use replication::{Monotonic, ReplicaId, VersionVector};

    use super::super::reply::full;
    use super::super::testing::{peer, status};
    use super::{SESSION, Session, attainable, missing, read, write};

    /// The peers of these tests said a second after the start what they have.
    const THEN: Monotonic = Monotonic(Duration::from_secs(1));

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

    /// Replica 1 with the peers 2 and 3; each knows this many entries of the log of replica 9.
    fn know(own: u64, two: u64, three: u64) -> replication::Status {
        let mut status = status(1, &[(1, 5), (9, own)]);
        status.peers = vec![peer("b", Some(2), &[(9, two)]), peer("c", Some(3), &[(9, three)])];
        status
    }

    #[test]
    fn a_session_waits_for_no_entry_that_every_replica_lost() {
        let seen = vector(&[(9, 7)]);
        for (own, two, three, left) in [(0, 0, 0, 7), (3, 5, 4, 5), (7, 0, 0, 7), (0, 9, 0, 7), (6, 6, 6, 6)] {
            let lowered = attainable(&seen, &know(own, two, three), THEN);
            assert_eq!(lowered, vector(&[(9, left)]), "{own} {two} {three}");
        }
    }

    #[test]
    fn a_session_waits_for_entries_that_may_still_come() {
        // A present incarnation may have more entries than it has told.
        let seen = vector(&[(1, 9), (2, 9), (3, 9)]);
        assert_eq!(attainable(&seen, &know(0, 0, 0), THEN), seen);
        // A peer that is not linked may have what all others lack.
        let seen = vector(&[(9, 7)]);
        let mut away = know(0, 0, 0);
        away.peers[1] = peer("c", None, &[]);
        assert_eq!(attainable(&seen, &away, THEN), seen);
        // Nor has a peer said anything since the request came.
        let later = Monotonic(Duration::from_millis(1_001));
        assert_eq!(attainable(&seen, &know(3, 0, 0), later), seen);
        assert_eq!(attainable(&seen, &know(0, 0, 0), later), seen);
    }

    /// The token of an answer, for a client that has seen 1/9 and a node that durably knows 1/5 and 2/3.
    fn signed(sign: impl FnOnce(Session, &mut super::Reply)) -> VersionVector {
        let seen = vector(&[(1, 9)]);
        let session =
            Session { status: Arc::new(status(1, &[(1, 5), (2, 3)])), seen, stale: String::new(), given: true };
        let mut reply = full(StatusCode::OK, "");
        sign(session, &mut reply);
        read(&reply.headers()[SESSION]).expect("a token")
    }

    #[test]
    fn a_read_covers_what_its_view_covers_and_a_write_what_it_was_built_on() {
        assert_eq!(signed(Session::sign_read), vector(&[(1, 9), (2, 3)]));
        let needs = vector(&[(2, 2), (3, 8)]);
        assert_eq!(signed(|session, reply| session.sign_needs(reply, &needs)), vector(&[(1, 9), (2, 2), (3, 8)]));
        let beside = signed(|mut session, reply| {
            session.saw(&vector(&[(4, 1)]));
            session.sign_read(reply);
        });
        assert_eq!(beside, vector(&[(1, 9), (2, 3), (4, 1)]));
    }

    #[test]
    fn missing_origins_are_named_in_hex() {
        let known = vector(&[(1, 5), (2, 9)]);
        assert_eq!(missing(&vector(&[(1, 5), (2, 8)]), &known), "");
        assert_eq!(missing(&vector(&[(1, 6), (2, 9), (255, 1)]), &known), "0000000000000001,00000000000000ff");
    }
}
