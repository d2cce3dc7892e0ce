//! One attempt at one node: sends the request, and says what came of it.
//!
//! # Invariants
//! - An attempt changes nothing of its request: all that it learns is in its [`Attempt`], so that two may wait at once.
//! - A request that may be sent twice leaves its node as soon as the node is known to be lost, if the budget pays for
//!   another attempt. Without budget it waits on, because the node may still answer.
//!
//! # Not here
//! Whether there is another attempt: [`super`].

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, StatusCode};
use tokio::time::Instant;

use super::{Answered, Sending};
use crate::edge::alarms::Wait;
use crate::edge::body::Prepared;
use crate::edge::budget::RetryToken;
use crate::edge::exclusion::Permit;
use crate::edge::pool::SendError;
use crate::edge::problem::{Kind, Problem};
use crate::edge::retry::AttemptOutcome;
use crate::edge::{streams, told};
use crate::fleet::{NodeId, RegionIndex};
use crate::signals::Observed;

/// How long an attempt waits before it is watched whether its node is lost. Most are answered before.
const WATCH_AFTER: Duration = Duration::from_millis(50);

/// Where and how an attempt is made.
pub(super) struct Plan {
    pub(super) node: NodeId,
    pub(super) permit: Permit,
    /// How long the node may be silent.
    pub(super) silence_limit: Duration,
    /// The region that has answered that it does not know the venue.
    pub(super) unknown_in: Option<RegionIndex>,
}

/// What an attempt came to.
pub(super) struct Attempt {
    pub(super) node: NodeId,
    pub(super) outcome: AttemptOutcome,
    pub(super) answered: Option<Answered>,
    /// The body for another attempt.
    pub(super) body: Prepared,
    /// The problem for a client that did not send its whole body.
    pub(super) withdrawn: Option<Problem>,
    /// The node may have done the request before it gave this outcome.
    pub(super) may_be_done: bool,
    /// The next attempt is paid already.
    pub(super) paid: Option<RetryToken>,
}

/// What the node answered, if it did.
type Exchanged = (AttemptOutcome, Option<Answered>);

impl Sending<'_> {
    /// One attempt at one node.
    pub(super) async fn attempt(&self, plan: Plan, body: Prepared) -> Attempt {
        let node = plan.node;
        self.now.view.signals.forwarded(node.region);
        let begun = Instant::now();
        let mut attempt = Attempt {
            node,
            outcome: AttemptOutcome::NeverLeft,
            answered: None,
            body,
            withdrawn: None,
            may_be_done: false,
            paid: None,
        };
        let may_leave = self.is_idempotent() && attempt.body.is_kept();
        let ((outcome, answered), paid) = {
            let mut exchange = pin!(self.exchange(&plan, &mut attempt));
            if may_leave {
                match self.edge.alarms.until(Wait::Watch, begun + WATCH_AFTER, exchange.as_mut()).await {
                    Some(exchanged) => (exchanged, None),
                    // Boxed, because few requests get here.
                    None => match select(exchange, Box::pin(self.lost(&plan))).await {
                        Either::Left((exchanged, _)) => (exchanged, None),
                        Either::Right((token, _)) => ((AttemptOutcome::Lost, None), Some(token)),
                    },
                }
            } else {
                (exchange.await, None)
            }
        };
        if answered.is_some() {
            self.now.tables.upstream[node.region.at()].observe(begun.elapsed().as_secs_f64());
        }
        attempt = Attempt { outcome, answered, paid, ..attempt };
        if outcome != AttemptOutcome::Withdrawn {
            let failed = outcome.is_failure();
            match attempt.answered.as_mut().filter(|answered| !failed && answered.read.is_none()) {
                Some(answered) => answered.witness = Some(plan.permit.watch(Arc::clone(&self.now.view.signals))),
                None => plan.permit.record(!failed),
            }
            let observed = if failed { Observed::Failed } else { Observed::Answered };
            self.now.view.signals.observed(node.region, node.node, observed);
        }
        attempt
    }

    /// Waits until the node is lost and another attempt is paid.
    async fn lost(&self, plan: &Plan) -> RetryToken {
        tokio::select! {
            () = plan.permit.opened() => {}
            () = streams::until_lost(&self.now.view, plan.node, self.edge.views.clone()) => {}
        }
        match self.edge.budget.take(Instant::now().into_std()) {
            Some(token) => token,
            None => {
                self.edge.metrics.retry_refused(AttemptOutcome::Lost.name());
                std::future::pending().await
            }
        }
    }

    async fn exchange(&self, plan: &Plan, attempt: &mut Attempt) -> Exchanged {
        let node = plan.node;
        let mut fresh = false;
        loop {
            let connector = &self.now.view.connector;
            let mut lease = match self.now.tables.pool.connection(connector, node, fresh).await {
                Ok(lease) => lease,
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "an attempt failed");
                    return (AttemptOutcome::NeverLeft, None);
                }
            };
            let (body, uploaded) = attempt.body.take();
            let mut request = Request::new(body);
            *request.method_mut() = self.parts.method.clone();
            *request.uri_mut() = self.parts.uri.clone();
            *request.headers_mut() = self.parts.headers.clone();
            if !self.parts.headers.contains_key(HOST) {
                // HTTP/1.0 needs no host, but HTTP/1.1, which the edge speaks to nodes, does.
                let address = self.now.view.fleet.node(node).at.host().to_string();
                request
                    .headers_mut()
                    .insert(HOST, HeaderValue::try_from(address).unwrap_or(HeaderValue::from_static("")));
            }
            let error = match lease.send(request, uploaded, (&self.edge.alarms, plan.silence_limit)).await {
                Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS && !self.websocket => {
                    return (AttemptOutcome::Broke, None);
                }
                Ok(response) => {
                    let answered =
                        Answered { node, tables: self.now.tables.clone(), response, read: None, lease, witness: None };
                    return told(answered, plan).await;
                }
                Err(error) => error,
            };
            tracing::debug!(error = &error as &dyn std::error::Error, "an attempt failed");
            match error {
                SendError::Connect(_) => return (AttemptOutcome::NeverLeft, None),
                SendError::NeverLeft(body) => {
                    attempt.body.give_back(*body);
                    if fresh {
                        return (AttemptOutcome::NeverLeft, None);
                    }
                    // The node had closed the idle connection, and connections of the same age may be closed too.
                    fresh = true;
                }
                SendError::Broke { reused: true, .. } if attempt.body.is_there() && self.is_idempotent() => {
                    attempt.may_be_done = true;
                    fresh = true;
                }
                SendError::Broke { .. } => return (AttemptOutcome::Broke, None),
                SendError::Withdrawn(problem) => {
                    attempt.withdrawn = Some(problem);
                    return (AttemptOutcome::Withdrawn, None);
                }
                SendError::Silent => return (AttemptOutcome::Silent, None),
            }
        }
    }
}

/// The whole body of a problem, of a connection that is driven meanwhile.
async fn read(Answered { response, lease, .. }: &mut Answered) -> hyper::Result<Bytes> {
    let mut read = pin!(told::read(response));
    poll_fn(|cx| {
        lease.drive(cx);
        read.as_mut().poll(cx)
    })
    .await
}

/// The outcome of an answer. Of some problems the body decides, which is read then.
async fn told(mut answered: Answered, plan: &Plan) -> Exchanged {
    let status = answered.response.status();
    let is_second_404 = status == StatusCode::NOT_FOUND && plan.unknown_in.is_some();
    let told = match told::in_head(&answered.response) {
        None if !is_second_404 && told::may_be(&answered.response) => {
            match Box::pin(tokio::time::timeout(plan.silence_limit, read(&mut answered))).await {
                Ok(Ok(body)) => {
                    let told = told::in_body(&body);
                    answered.read = Some(body);
                    told
                }
                Ok(Err(_)) => return (AttemptOutcome::Broke, None),
                Err(_) => return (AttemptOutcome::Silent, None),
            }
        }
        told => told,
    };
    let outcome = match told {
        Some(Kind::NoVenue) if plan.unknown_in.is_none() => AttemptOutcome::UnknownVenue,
        Some(Kind::Overloaded | Kind::Busy) => AttemptOutcome::Overloaded,
        _ if status == StatusCode::INSUFFICIENT_STORAGE => AttemptOutcome::NoRoom,
        _ => AttemptOutcome::Status(status),
    };
    (outcome, Some(answered))
}
