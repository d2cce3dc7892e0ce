//! Sends one request to nodes, attempt after attempt, until one answers.
//!
//! The order is: the node of a sticky cookie; then the [`passes`](super::passes), each region by region as the view ranks
//! them, and node by node in the order of the balance. A region without room is skipped, except for a write that may have
//! been done already, because its client must learn the outcome.
//!
//! # Invariants
//! - No node is tried twice for one request, except on a new connection if an idle one turned out to be closed.
//! - There is another attempt only if [`retry::again`] allows it and the [`budget`](super::budget) pays for it.
//! - At most one attempt of a request goes past an open breaker.
//! - At most one hedge waits beside an attempt ([`hedge`]).
//! - A 404 of one region never hides that another region may have done the request.
//! - A request uses the view and the tables of its beginning. If its region is removed meanwhile it ends there in peace.

mod attempt;
mod hedge;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use smallvec::SmallVec;
use tokio::time::Instant;

use self::attempt::{Attempt, Plan};
use super::Edge;
use super::balance::{HashKeys, Order};
use super::body::Prepared;
use super::budget::RetryToken;
use super::exclusion::{Permit, Witness};
use super::expected_wait::expected_wait;
use super::forwarding::{Now, Tables};
use super::limit::Urgency;
use super::passes::Pass;
use super::pool::Lease;
use super::problem::{Kind, Problem};
use super::retry::{self, AttemptOutcome, MOST_SILENCES};
use crate::fleet::{NodeId, RegionIndex};
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
    /// Sees how the rest of the answer ends.
    pub(super) witness: Option<Witness>,
}

/// A request that is being sent.
pub(super) struct Sending<'a> {
    pub(super) edge: &'a Edge,
    pub(super) now: Now,
    pub(super) parts: &'a Parts,
    pub(super) asked: HashKeys<'a>,
    pub(super) urgency: Urgency,
    pub(super) sticky: Option<NodeId>,
    pub(super) websocket: bool,
}

/// The progress of the request.
struct ForwardState {
    body: Prepared,
    /// The problem for a client that did not send its whole body.
    withdrawn: Option<Problem>,
    /// The region that first answered that it does not know the venue.
    unknown_in: Option<RegionIndex>,
    until: Instant,
    /// How long one node may be silent.
    silence_limit: Duration,
    attempts: u32,
    tried: SmallVec<[NodeId; 4]>,
    /// The order of the nodes of each region that was reached, once it is drawn.
    orders: SmallVec<[(RegionIndex, Order); 1]>,
    last: Option<AttemptOutcome>,
    /// Another attempt needs a token of the budget.
    costs_a_token: bool,
    /// The token of the next attempt, if it is paid already.
    paid: Option<RetryToken>,
    /// Where nodes were silent.
    silent_in: Vec<RegionIndex>,
    /// An attempt went past an open breaker.
    is_past_breakers: bool,
    /// A node was overloaded.
    is_overloaded: bool,
    may_be_done: bool,
    /// An answer that allows another attempt, but is better than none.
    fallback_answer: Option<Answered>,
    full: bool,
}

/// The retry budget is used up.
struct OutOfBudget;

/// Whether a node is tried.
enum Choice {
    Take(Permit, Option<RetryToken>),
    Skip,
    Over,
}

/// Whether the pass goes on.
enum Step {
    Next,
    Done(Box<Answered>),
    Over,
}

impl Sending<'_> {
    /// The first good answer of a node, or the problem for the client, and the number of attempts.
    pub(super) async fn run(self, body: Prepared, ranking: Vec<RegionIndex>) -> (Result<Answered, Problem>, u32) {
        let waits = expected_wait(self.parts.uri.query(), &self.parts.headers);
        let mut progress = ForwardState {
            body,
            withdrawn: None,
            unknown_in: None,
            until: Instant::now() + self.edge.config.timeouts.request + waits,
            silence_limit: self.edge.config.timeouts.answer + waits,
            attempts: 0,
            tried: SmallVec::new(),
            orders: SmallVec::new(),
            last: None,
            costs_a_token: false,
            paid: None,
            silent_in: Vec::new(),
            is_past_breakers: false,
            is_overloaded: false,
            may_be_done: false,
            fallback_answer: None,
            full: false,
        };
        let answered = self.walk(&ranking, &mut progress).await;
        // The token of an attempt for which there was no node.
        progress.paid.take().into_iter().for_each(|token| self.edge.budget.give_back(token));
        let answered = answered.or_else(|| progress.fallback_answer.take());
        let answered =
            answered.ok_or_else(|| progress.withdrawn.take().unwrap_or_else(|| progress.problem(self.is_idempotent())));
        (answered, progress.attempts)
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

    async fn walk(&self, ranking: &[RegionIndex], progress: &mut ForwardState) -> Option<Answered> {
        if let Some(node) = self.sticky.filter(|node| self.may_stay(*node)) {
            match self.try_node(node, Pass::Well, ranking, progress).await {
                Step::Done(answered) => return Some(*answered),
                Step::Over => return None,
                Step::Next => {}
            }
        }
        for pass in Pass::ALL {
            let must_place =
                progress.may_be_done && self.parts.method != Method::GET && self.parts.method != Method::HEAD;
            if pass.ignores_limits() && !(progress.full && must_place) {
                continue;
            }
            for region in ranking {
                for node in self.order(*region, progress) {
                    match self.try_node(NodeId { region: *region, node }, pass, ranking, progress).await {
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
        let state = self.now.view.regions[node.region.at()].state;
        (state.serves() || state == RegionState::Drained) && self.now.view.is_up(node)
    }

    /// The order in which the nodes of a region are tried, the same for the whole request.
    fn order(&self, region: RegionIndex, progress: &mut ForwardState) -> Order {
        if let Some((_, order)) = progress.orders.iter().find(|(drawn, _)| *drawn == region) {
            return order.clone();
        }
        let order = self.now.tables.balancer.order(region, &self.asked);
        progress.orders.push((region, order.clone()));
        order
    }

    /// Tries a node, if the pass has it try that node; if the node is slow, another one beside it.
    async fn try_node(&self, node: NodeId, pass: Pass, ranking: &[RegionIndex], progress: &mut ForwardState) -> Step {
        let (permit, token) = match self.choose(node, pass, false, progress) {
            Choice::Take(permit, token) => (permit, token),
            Choice::Skip => return Step::Next,
            Choice::Over => return Step::Over,
        };
        let plan = self.plan(node, permit, progress);
        let delay = self.hedge_delay(progress).filter(|delay| *delay < plan.silence_limit);
        let mut attempt = std::pin::pin!(self.attempt(plan, progress.body.hand_over()));
        match delay {
            Some(delay) => self.hedged((node, attempt), token, (delay, ranking), progress).await,
            None => self.fold(attempt.as_mut().await, token, progress),
        }
    }

    fn plan(&self, node: NodeId, permit: Permit, progress: &ForwardState) -> Plan {
        let silence_limit = progress.silence_limit.min(progress.until.saturating_duration_since(Instant::now()));
        Plan { node, permit, silence_limit, unknown_in: progress.unknown_in }
    }

    /// Whether a node is tried now, and if so, permission and payment for it.
    fn choose(&self, node: NodeId, pass: Pass, is_hedge: bool, progress: &mut ForwardState) -> Choice {
        // Another node of that region does not know the venue either.
        if progress.tried.contains(&node) || progress.unknown_in == Some(node.region) {
            return Choice::Skip;
        }
        // The next node of a region that hangs would be silent too, so the next region comes first.
        if pass == Pass::Well && progress.silent_in.contains(&node.region) {
            return Choice::Skip;
        }
        let (edge, tables) = (self.edge, &self.now.tables);
        if !pass.tries(&self.now.view, node, progress.full) {
            return Choice::Skip;
        }
        let permit = match pass {
            Pass::PastBreakers if progress.is_past_breakers => return Choice::Over,
            Pass::PastBreakers => tables.breakers.force(node),
            Pass::Well | Pass::All | Pass::Anywhere => match tables.breakers.admit(node) {
                Some(permit) => permit,
                None => return Choice::Skip,
            },
        };
        let Ok(token) = self.pay(is_hedge, progress) else { return Choice::Over };
        let now = Instant::now().into_std();
        if !pass.ignores_limits() && !tables.capacity.take(now, node.region, self.urgency) {
            token.into_iter().for_each(|token| edge.budget.give_back(token));
            progress.full = true;
            return Choice::Skip;
        }
        match progress.last {
            _ if is_hedge => edge.metrics.hedged("sent"),
            None => edge.budget.request(now),
            Some(last) => edge.metrics.retried(last.name()),
        }
        progress.is_past_breakers |= pass == Pass::PastBreakers;
        progress.attempts += 1;
        progress.tried.push(node);
        Choice::Take(permit, token)
    }

    /// Takes what an attempt came to into the progress, and says whether there is another one.
    fn fold(&self, attempt: Attempt, token: Option<RetryToken>, progress: &mut ForwardState) -> Step {
        let Attempt { node, outcome, answered, body, withdrawn, may_be_done, paid } = attempt;
        let edge = self.edge;
        progress.body = body;
        progress.withdrawn = withdrawn;
        progress.paid = paid.or(progress.paid.take());
        progress.may_be_done |= may_be_done;
        if outcome == AttemptOutcome::UnknownVenue {
            progress.unknown_in = Some(node.region);
        }
        if let Some(token) = token
            // What one node could not take must not become load on the others, also if they can.
            && outcome.is_given_back()
            && !progress.is_overloaded
        {
            edge.budget.give_back(token);
        }
        let is_overloaded_again = progress.is_overloaded && outcome == AttemptOutcome::Overloaded;
        progress.is_overloaded |= outcome == AttemptOutcome::Overloaded;
        progress.last = Some(outcome);
        progress.costs_a_token |= outcome.costs_a_token();
        progress.may_be_done |= outcome.may_be_done();
        if outcome == AttemptOutcome::Silent {
            progress.silent_in.push(node.region);
        }
        if answered.is_none() && outcome.may_be_done() {
            // Both say that nothing was done, which is no longer certain.
            let is_no = |fallback_answer: &mut Answered| {
                matches!(fallback_answer.response.status(), StatusCode::NOT_FOUND | StatusCode::INSUFFICIENT_STORAGE)
            };
            drop(progress.fallback_answer.take_if(is_no));
        }
        let again = retry::again(self.is_idempotent(), outcome, progress.body.is_there())
            && !is_overloaded_again
            && progress.silent_in.len() < MOST_SILENCES
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

    /// The token for another attempt, if it needs one. An error means that the budget has none left.
    fn pay(&self, is_hedge: bool, progress: &mut ForwardState) -> Result<Option<RetryToken>, OutOfBudget> {
        let reason = match progress.last {
            _ if is_hedge => "hedge",
            Some(last) if progress.costs_a_token => last.name(),
            _ => return Ok(None),
        };
        let token = progress.paid.take().or_else(|| self.edge.budget.take(Instant::now().into_std()));
        if token.is_none() {
            self.edge.metrics.retry_refused(reason);
        }
        token.map(Some).ok_or(OutOfBudget)
    }
}

impl ForwardState {
    /// The problem if no node answered.
    fn problem(&self, idempotent: bool) -> Problem {
        match self.last {
            None if self.full => {
                Problem::new(Kind::Shed, "all regions are at their limits; repeat the request in a moment")
            }
            Some(AttemptOutcome::NeverLeft) if self.full && !self.may_be_done => {
                Problem::new(Kind::Shed, "the regions that answer are at their limits; repeat the request in a moment")
            }
            Some(AttemptOutcome::Silent) => unclear(Kind::Timeout, idempotent),
            _ if self.may_be_done => unclear(Kind::BadGateway, idempotent),
            _ => Problem::new(Kind::Unavailable, "nothing was done; repeat the request in a moment"),
        }
    }
}

/// The request may have been done. Only a client that may send it twice is invited to.
fn unclear(kind: Kind, idempotent: bool) -> Problem {
    if idempotent {
        Problem::new(kind, "the request may have been done; repeat it in a moment").after(1)
    } else {
        Problem::new(kind, "the request may have been done; check before you repeat it")
    }
}
