//! One attempt at one node: sends the request, and says what came of it.
//!
//! # Not here
//! Whether there is another attempt: [`super`].

use std::time::Duration;

use hyper::header::{HOST, HeaderValue};
use hyper::{Request, StatusCode};
use tokio::time::Instant;

use super::{Answered, Sending};
use crate::edge::breaker::Permit;
use crate::edge::pool::SendError;
use crate::edge::problem::Kind;
use crate::edge::retry::AttemptOutcome;
use crate::edge::told;
use crate::fleet::NodeId;
use crate::signals::Observed;

impl Sending<'_> {
    /// One attempt at one node.
    pub(super) async fn attempt(
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
            let connector = &self.now.view.connector;
            let mut lease = match self.now.tables.pool.connection(connector, node, fresh).await {
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
                let address = self.now.view.fleet.node(node).at.host().to_string();
                request
                    .headers_mut()
                    .insert(HOST, HeaderValue::try_from(address).unwrap_or(HeaderValue::from_static("")));
            }
            let error = match lease.send(request, uploaded, silence_limit).await {
                Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS && !self.websocket => {
                    return (AttemptOutcome::Broke, None);
                }
                Ok(response) => {
                    let answered = Answered { node, tables: self.now.tables.clone(), response, read: None, lease };
                    return self.told(answered, silence_limit).await;
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

    /// The outcome of an answer. Of some problems the body decides, which is read then.
    async fn told(&mut self, mut answered: Answered, silence_limit: Duration) -> (AttemptOutcome, Option<Answered>) {
        let status = answered.response.status();
        let is_second_404 = status == StatusCode::NOT_FOUND && self.unknown_in.is_some();
        let told = match told::in_head(&answered.response) {
            None if !is_second_404 && told::may_be(&answered.response) => {
                match tokio::time::timeout(silence_limit, told::read(&mut answered.response)).await {
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
            Some(Kind::NoVenue) if self.unknown_in.is_none() => {
                self.unknown_in = Some(answered.node.region);
                AttemptOutcome::UnknownVenue
            }
            Some(Kind::Overloaded | Kind::Busy) => AttemptOutcome::Overloaded,
            _ if status == StatusCode::INSUFFICIENT_STORAGE => AttemptOutcome::NoRoom,
            _ => AttemptOutcome::Status(status),
        };
        (outcome, Some(answered))
    }
}
