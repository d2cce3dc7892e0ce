//! Hedging: a read or a check-in whose node has not answered after a while is sent to the next node as well.
//!
//! A check-in is safe, because it names its visit and a repeat has the effect of one. See "The Tail at Scale" (Dean
//! and Barroso, 2013) and Envoy's `hedge_policy`.
//!
//! # Invariants
//! - A hedge goes to a node that the first pass would try now: up, admitted by its breaker, in a region with room. It is
//!   paid from the retry budget. The token of a hedge that wins is not given back, because both nodes may do the
//!   request.
//! - The first node's answer is the answer, whatever it says. A hedge wins only by success: another region may not know
//!   yet what the first node knows.
//! - A node that a hedge overtakes has failed, for its breaker. So a node that hangs is excluded after a few requests.
//!
//! # Not here
//! Attempts one after the other: [`super`].

use std::pin::Pin;
use std::time::Duration;

use hyper::header::{ACCEPT, HeaderMap};
use tokio::time::Instant;

use super::attempt::Attempt;
use super::{Choice, ForwardState, Sending, Step};
use crate::edge::alarms::Wait;
use crate::edge::budget::RetryToken;
use crate::edge::expected_wait::expected_wait;
use crate::edge::passes::Pass;
use crate::edge::retry::AttemptOutcome;
use crate::fleet::{NodeId, RegionIndex};

/// How an attempt of which two may wait at once ends the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is the answer.
    Wins,
    /// The other attempt may still bring a better one.
    WaitForOther,
}

/// Whether an attempt that came to `outcome` is the answer while another one waits.
fn verdict(is_hedge: bool, outcome: AttemptOutcome) -> Verdict {
    match outcome {
        AttemptOutcome::Status(status) if status.is_success() || status.is_redirection() => Verdict::Wins,
        AttemptOutcome::Status(_) if !is_hedge && !outcome.is_failure() => Verdict::Wins,
        _ => Verdict::WaitForOther,
    }
}

impl Sending<'_> {
    /// How long this request waits for its first node alone; `None` if it is not hedged.
    pub(super) fn hedge_delay(&self, progress: &ForwardState) -> Option<Duration> {
        let after = self.edge.config.hedge_after?;
        let (method, path) = (&self.parts.method, self.parts.uri.path());
        let may_be_hedged = api::pages::may_be_hedged(method, path)
            && self.is_idempotent()
            && progress.body.is_kept()
            && !self.websocket
            && !is_stream(path, &self.parts.headers);
        // A node that waits as it was asked is not slow.
        may_be_hedged.then(|| after + expected_wait(self.parts.uri.query(), &HeaderMap::new()))
    }

    /// Waits for the first attempt, and after `delay` for a second one as well.
    pub(super) async fn hedged<F: Future<Output = Attempt> + Send>(
        &self,
        (first_node, mut first): (NodeId, Pin<&mut F>),
        token: Option<RetryToken>,
        (delay, ranking): (Duration, &[RegionIndex]),
        progress: &mut ForwardState,
    ) -> Step {
        let begun = Instant::now();
        if let Some(attempt) = self.edge.alarms.until(Wait::Hedge, begun + delay, first.as_mut()).await {
            return self.fold(attempt, token, progress);
        }
        let Some((hedge_token, hedge)) = self.hedge(ranking, progress) else {
            return self.fold(first.await, token, progress);
        };
        // Boxed, because few requests get here.
        let mut hedge = Box::pin(hedge);
        let (attempt, is_hedge) = tokio::select! {
            biased;
            attempt = first.as_mut() => (attempt, false),
            attempt = hedge.as_mut() => (attempt, true),
        };
        if verdict(is_hedge, attempt.outcome) == Verdict::Wins {
            // The wait of a session, which the node may take as well, is not part of the delay.
            let waits = progress.silence_limit.saturating_sub(self.edge.config.timeouts.answer);
            if is_hedge && begun.elapsed() >= self.edge.config.hedge_after.unwrap_or_default() + waits {
                self.now.tables.breakers.overtaken(first_node);
            }
            self.edge.metrics.hedged(if is_hedge { "won" } else { "lost" });
            return self.fold(attempt, token.filter(|_| !is_hedge), progress);
        }
        let (was_silent, region) = (attempt.outcome == AttemptOutcome::Silent, attempt.node.region);
        let (this_token, other_token) = if is_hedge { (hedge_token, token) } else { (token, hedge_token) };
        // If this is an answer, it is one for want of a better one, which the other attempt may bring.
        let held = match self.fold(attempt, this_token, progress) {
            Step::Done(answered) => Some(answered),
            Step::Next | Step::Over => None,
        };
        let attempt = if is_hedge { first.await } else { hedge.await };
        let hedge_won = !is_hedge && verdict(true, attempt.outcome) == Verdict::Wins;
        self.edge.metrics.hedged(if hedge_won { "won" } else { "lost" });
        if was_silent && attempt.outcome == AttemptOutcome::Silent && attempt.node.region == region {
            // Two nodes were silent at the same time, so the client has waited once.
            progress.silent_in.pop();
        }
        match (self.fold(attempt, other_token, progress), held) {
            (Step::Done(answered), _) | (_, Some(answered)) => Step::Done(answered),
            (step, None) => step,
        }
    }

    /// A second attempt, if there is a node for it and the budget pays.
    fn hedge(
        &self,
        ranking: &[RegionIndex],
        progress: &mut ForwardState,
    ) -> Option<(Option<RetryToken>, impl Future<Output = Attempt> + Send + use<'_>)> {
        if progress.attempts >= self.edge.config.retry.attempts || Instant::now() >= progress.until {
            return None;
        }
        // That there is no room for a hedge says nothing about the request.
        let was_full = progress.full;
        let mut chosen = None;
        'all: for region in ranking {
            for node in self.order(*region, progress) {
                let node = NodeId { region: *region, node };
                match self.choose(node, Pass::Well, true, progress) {
                    Choice::Take(permit, token) => {
                        chosen = Some((node, permit, token));
                        break 'all;
                    }
                    Choice::Skip => {}
                    Choice::Over => break 'all,
                }
            }
        }
        progress.full = was_full;
        let (node, permit, token) = chosen?;
        let plan = self.plan(node, permit, progress);
        Some((token, self.attempt(plan, progress.body.hand_over())))
    }
}

/// Whether the answer is a stream of events, as far as the request tells.
fn is_stream(path: &str, headers: &HeaderMap) -> bool {
    let wants_events = |value: &hyper::header::HeaderValue| {
        value.as_bytes().windows(12).any(|word| word.eq_ignore_ascii_case(b"event-stream"))
    };
    path.ends_with("/changes") || headers.get_all(ACCEPT).iter().any(wants_events)
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::super::super::testing::headers;
    use super::{AttemptOutcome, Verdict, is_stream, verdict};

    #[test]
    fn a_hedge_wins_only_by_success() {
        for (status, first, hedge) in [
            (200, true, true),
            (201, true, true),
            (304, true, true),
            (404, true, false),
            (409, true, false),
            (410, true, false),
            (500, true, false),
            (503, false, false),
        ] {
            let outcome = AttemptOutcome::Status(StatusCode::from_u16(status).unwrap());
            let wins = |is_hedge| verdict(is_hedge, outcome) == Verdict::Wins;
            assert_eq!((wins(false), wins(true)), (first, hedge), "{status}");
        }
        for outcome in [
            AttemptOutcome::NeverLeft,
            AttemptOutcome::Broke,
            AttemptOutcome::Silent,
            AttemptOutcome::Lost,
            AttemptOutcome::UnknownVenue,
            AttemptOutcome::NoRoom,
            AttemptOutcome::Overloaded,
        ] {
            assert!([true, false].map(|is_hedge| verdict(is_hedge, outcome)) == [Verdict::WaitForOther; 2]);
        }
    }

    #[test]
    fn streams_are_not_hedged() {
        let events = headers(&[("accept", "text/event-stream")]);
        assert!(is_stream("/v1/venues/v/changes", &headers(&[])) && is_stream("/", &events));
        assert!(!is_stream("/v1/venues/v/guests", &headers(&[("accept", "application/json")])));
    }
}
