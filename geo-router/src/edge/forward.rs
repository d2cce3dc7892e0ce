//! Sends one request to nodes, attempt after attempt, until one answers.
//!
//! The order is: the node of a sticky cookie; then, region by region as the view ranks them, the nodes that are up and
//! that their breakers admit, in the order of the balance; then the other nodes, because there is no better one. A
//! region without room is skipped, except for a write that may have been done already, because its client must learn
//! the outcome.
//!
//! # Invariants
//! - No node is tried twice for one request, except on a new connection if an idle one turned out to be closed.
//! - [`retry::again`] alone decides whether there is another attempt.
//! - A 404 of one region never hides that another region may have done the request.
//! - A request uses the view and the tables of its beginning. If its region is removed meanwhile it ends there in peace.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue, IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::Instant;

use super::Edge;
use super::balance::HashKeys;
use super::body::Prepared;
use super::breaker::Permit;
use super::expected_wait::expected_wait;
use super::forwarding::{Now, Tables};
use super::pool::{Lease, SendError};
use super::problem::{Kind, Problem};
use super::retry::{self, AttemptOutcome};
use super::unknown;
use crate::fleet::{NodeId, RegionIndex};
use crate::signals::Observed;
use api::explanation::RegionState;

/// A node's answer.
pub(super) struct Answered {
    pub(super) node: NodeId,
    /// The tables of the fleet of this node.
    pub(super) tables: Arc<Tables>,
    pub(super) response: Response<Incoming>,
    /// The body, if it was already read.
    pub(super) read: Option<Bytes>,
    pub(super) lease: Lease,
}

/// A request that is being sent.
pub(super) struct Sending<'a> {
    pub(super) edge: &'a Edge,
    pub(super) now: Now,
    pub(super) parts: &'a Parts,
    pub(super) body: Prepared,
    pub(super) asked: HashKeys<'a>,
    pub(super) sticky: Option<NodeId>,
    pub(super) websocket: bool,
    /// The problem for a client that did not send its whole body.
    pub(super) withdrawn: Option<Problem>,
    /// The region that first answered that it does not know the venue.
    pub(super) unknown_in: Option<RegionIndex>,
}

/// The progress of the request.
struct ForwardState {
    until: Instant,
    /// How long one node may be silent.
    silence_limit: Duration,
    attempts: u32,
    tried: Vec<NodeId>,
    orders: Vec<Option<Vec<usize>>>,
    last: Option<AttemptOutcome>,
    may_be_done: bool,
    /// An answer that allows another attempt, but is better than none.
    fallback_answer: Option<Answered>,
    full: bool,
}

/// The nodes that a pass tries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// The nodes that are up, in regions that have room.
    Well,
    /// All nodes, in regions that have room.
    All,
    /// All nodes.
    Anywhere,
}

/// Whether the pass goes on.
enum Step {
    Next,
    Done(Box<Answered>),
    Over,
}

impl Sending<'_> {
    /// The first good answer of a node, or the problem for the client.
    pub(super) async fn run(mut self, ranking: Vec<RegionIndex>) -> Result<Answered, Problem> {
        let waits = expected_wait(self.parts.uri.query(), &self.parts.headers);
        let mut progress = ForwardState {
            until: Instant::now() + self.edge.config.timeouts.request + waits,
            silence_limit: self.edge.config.timeouts.answer + waits,
            attempts: 0,
            tried: Vec::new(),
            orders: vec![None; self.now.view.regions.len()],
            last: None,
            may_be_done: false,
            fallback_answer: None,
            full: false,
        };
        match self.walk(&ranking, &mut progress).await {
            Some(answered) => Ok(answered),
            None => progress.fallback_answer.take().ok_or_else(|| self.withdrawn.unwrap_or_else(|| progress.problem())),
        }
    }

    /// Whether doing the request twice has the same effect and the same answer as once.
    fn is_idempotent(&self) -> bool {
        let (method, headers) = (&self.parts.method, &self.parts.headers);
        // A node that has done a write with a precondition would refuse the repeat, as if it had not been done.
        let is_conditional =
            [IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE].iter().any(|name| headers.contains_key(name));
        let may_change = method.is_idempotent() && !method.is_safe();
        api::pages::is_idempotent(method, self.parts.uri.path()) && !(may_change && is_conditional)
    }

    async fn walk(&mut self, ranking: &[RegionIndex], progress: &mut ForwardState) -> Option<Answered> {
        if let Some(node) = self.sticky.filter(|node| self.may_stay(*node)) {
            match self.try_node(node, Pass::Well, progress).await {
                Step::Done(answered) => return Some(*answered),
                Step::Over => return None,
                Step::Next => {}
            }
        }
        for pass in [Pass::Well, Pass::All, Pass::Anywhere] {
            let must_place =
                progress.may_be_done && self.parts.method != Method::GET && self.parts.method != Method::HEAD;
            if pass == Pass::Anywhere && !(progress.full && must_place) {
                break;
            }
            for region in ranking {
                let at = region.at();
                let asked = self.asked;
                let order =
                    progress.orders[at].get_or_insert_with(|| self.now.tables.balancer.order(*region, &asked)).clone();
                for node in order {
                    match self.try_node(NodeId { region: *region, node }, pass, progress).await {
                        Step::Done(answered) => return Some(*answered),
                        Step::Over => return None,
                        Step::Next => {}
                    }
                }
            }
        }
        None
    }

    /// Whether a client may stay at its node. A drained region's clients may stay until the node is down.
    fn may_stay(&self, node: NodeId) -> bool {
        let region = &self.now.view.regions[node.region.at()];
        (region.state.serves() || region.state == RegionState::Drained)
            && region.nodes_up.get(node.node).copied().unwrap_or(true)
    }

    async fn try_node(&mut self, node: NodeId, pass: Pass, progress: &mut ForwardState) -> Step {
        // Another node of that region does not know the venue either.
        if progress.tried.contains(&node) || self.unknown_in == Some(node.region) {
            return Step::Next;
        }
        let (edge, tables) = (self.edge, self.now.tables.clone());
        let well = self.now.view.regions[node.region.at()].nodes_up.get(node.node).copied().unwrap_or(true);
        let permit = match pass {
            Pass::Well if !well => return Step::Next,
            Pass::Well => match tables.breakers.admit(node) {
                Some(permit) => permit,
                None => return Step::Next,
            },
            Pass::All | Pass::Anywhere => tables.breakers.force(node),
        };
        if pass != Pass::Anywhere && !tables.capacity.take(node.region) {
            progress.full = true;
            return Step::Next;
        }
        if let Some(last) = progress.last {
            edge.metrics.retried(last.name());
        }
        progress.attempts += 1;
        progress.tried.push(node);
        let silence_limit = progress.silence_limit.min(progress.until.saturating_duration_since(Instant::now()));
        let (outcome, answered) = self.attempt(node, permit, silence_limit, &mut progress.may_be_done).await;
        progress.last = Some(outcome);
        progress.may_be_done |= outcome.may_be_done();
        if answered.is_none() && outcome.may_be_done() {
            // Both say that nothing was done, which is no longer certain.
            let is_no = |fallback_answer: &mut Answered| {
                matches!(fallback_answer.response.status(), StatusCode::NOT_FOUND | StatusCode::INSUFFICIENT_STORAGE)
            };
            drop(progress.fallback_answer.take_if(is_no));
        }
        let again = retry::again(self.is_idempotent(), outcome, self.body.is_there())
            && progress.attempts < edge.config.retry.attempts
            && Instant::now() < progress.until;
        match answered {
            Some(answered) if again => {
                progress.fallback_answer = Some(answered);
                Step::Next
            }
            Some(answered) => Step::Done(Box::new(answered)),
            None if again => Step::Next,
            None => Step::Over,
        }
    }

    /// One attempt at one node.
    async fn attempt(
        &mut self,
        node: NodeId,
        permit: Permit,
        silence_limit: Duration,
        may_be_done: &mut bool,
    ) -> (AttemptOutcome, Option<Answered>) {
        let edge = self.edge;
        self.now.view.signals.forwarded(node.region);
        let begun = Instant::now();
        let (outcome, answered) = self.exchange(node, silence_limit, may_be_done).await;
        let failed = outcome.is_failure();
        if answered.is_some() {
            edge.metrics.upstream(begun.elapsed());
        }
        if outcome == AttemptOutcome::Withdrawn {
            return (outcome, answered);
        }
        permit.record(!failed);
        let observed = if failed { Observed::Failed } else { Observed::Answered };
        self.now.view.signals.observed(node.region, node.node, observed);
        (outcome, answered)
    }

    async fn exchange(
        &mut self,
        node: NodeId,
        silence_limit: Duration,
        may_be_done: &mut bool,
    ) -> (AttemptOutcome, Option<Answered>) {
        let mut fresh = false;
        loop {
            let mut lease = match self.now.tables.pool.connection(node, fresh).await {
                Ok(lease) => lease,
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "an attempt failed");
                    return (AttemptOutcome::NeverLeft, None);
                }
            };
            let (body, uploaded) = self.body.take();
            let mut request = Request::new(body);
            *request.method_mut() = self.parts.method.clone();
            *request.uri_mut() = self.parts.uri.clone();
            *request.headers_mut() = self.parts.headers.clone();
            if !self.parts.headers.contains_key(HOST) {
                // HTTP/1.0 needs no host, but HTTP/1.1, which the edge speaks to nodes, does.
                let address = self.now.view.fleet.node(node).http.to_string();
                request
                    .headers_mut()
                    .insert(HOST, HeaderValue::try_from(address).unwrap_or(HeaderValue::from_static("")));
            }
            let error = match lease.send(request, uploaded, silence_limit).await {
                Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS && !self.websocket => {
                    return (AttemptOutcome::Broke, None);
                }
                Ok(response) => {
                    let mut answered = Answered { node, tables: self.now.tables.clone(), response, read: None, lease };
                    if self.unknown_in.is_none() && unknown::is_told(&answered.response) {
                        self.unknown_in = Some(node.region);
                        return (AttemptOutcome::UnknownVenue, Some(answered));
                    }
                    if self.unknown_in.is_none() && unknown::may_be(&answered.response) {
                        match tokio::time::timeout(silence_limit, unknown::read(&mut answered.response)).await {
                            Ok(Ok(body)) => {
                                let is_unknown = unknown::is_unknown_venue(&body);
                                answered.read = Some(body);
                                if is_unknown {
                                    self.unknown_in = Some(node.region);
                                    return (AttemptOutcome::UnknownVenue, Some(answered));
                                }
                            }
                            Ok(Err(_)) => return (AttemptOutcome::Broke, None),
                            Err(_) => return (AttemptOutcome::Silent, None),
                        }
                    }
                    let outcome = match answered.response.status() {
                        StatusCode::INSUFFICIENT_STORAGE => AttemptOutcome::NoRoom,
                        status => AttemptOutcome::Status(status),
                    };
                    return (outcome, Some(answered));
                }
                Err(error) => error,
            };
            tracing::debug!(error = &error as &dyn std::error::Error, "an attempt failed");
            match error {
                SendError::Connect(_) => return (AttemptOutcome::NeverLeft, None),
                SendError::NeverLeft(body) => {
                    self.body.give_back(*body);
                    if fresh {
                        return (AttemptOutcome::NeverLeft, None);
                    }
                    // The node had closed the idle connection, and connections of the same age may be closed too.
                    fresh = true;
                }
                SendError::Broke { reused: true, .. } if self.body.is_there() && self.is_idempotent() => {
                    *may_be_done = true;
                    fresh = true;
                }
                SendError::Broke { .. } => return (AttemptOutcome::Broke, None),
                SendError::Withdrawn(problem) => {
                    self.withdrawn = Some(problem);
                    return (AttemptOutcome::Withdrawn, None);
                }
                SendError::Silent => return (AttemptOutcome::Silent, None),
            }
        }
    }
}

impl ForwardState {
    /// The problem if no node answered.
    fn problem(&self) -> Problem {
        match self.last {
            None if self.full => {
                Problem::new(Kind::Shed, "all regions are at their limits; repeat the request in a moment")
            }
            Some(AttemptOutcome::NeverLeft) if self.full && !self.may_be_done => {
                Problem::new(Kind::Shed, "the regions that answer are at their limits; repeat the request in a moment")
            }
            Some(AttemptOutcome::Silent) => {
                Problem::new(Kind::Timeout, "the request may have been done; check, or repeat it if that is safe")
            }
            _ if self.may_be_done => {
                Problem::new(Kind::BadGateway, "the request may have been done; check, or repeat it if that is safe")
            }
            _ => Problem::new(Kind::Unavailable, "nothing was done; repeat the request in a moment"),
        }
    }
}
