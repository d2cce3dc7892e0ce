//! One connection with its guests: takes the next moment, sends one operation, and records the outcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Method;
use hyper::header::HeaderValue;
use rand::rngs::SmallRng;
use rand::{Rng as _, RngExt as _};
use registry::{Secret, VisitId};
use tokio::sync::Barrier;

use super::client::{Client, Prepared};
use super::ledger::{Change, SentVisit};
use super::measure::{Kind, RequestOutcome};
use super::shared::{Shared, SharedRecorder, wall};
use super::visible::{Acknowledged, Watch};

/// How long a worker avoids its own target after a failure there.
const AWAY: Duration = Duration::from_secs(2);
/// Pauses of a closed loop without a connection, otherwise it would spin.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How many visits are drawn for a correction or erasure before a check-in is sent instead.
const DRAWS: usize = 8;

/// One connection and the visits that were made over it.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    client: Client,
    rng: SmallRng,
    recorder: SharedRecorder,
    watches: Vec<Watch>,
    visits: Vec<SentVisit>,
    home: usize,
    current: usize,
    away_until: Instant,
    pause: Duration,
}

/// The outcome of all attempts at one operation.
struct Done {
    outcome: RequestOutcome,
    target: usize,
    /// Whether any attempt may have had an effect without an acknowledgement.
    unknown: bool,
}

impl Worker {
    /// Worker `number`, which prefers one target.
    pub(crate) fn new(
        shared: Arc<Shared>,
        number: usize,
        rng: SmallRng,
        recorder: SharedRecorder,
        watches: Vec<Watch>,
    ) -> Self {
        let from = shared.from.get(number % shared.from.len().max(1)).copied();
        let client = Client::new(Arc::clone(&shared.targets), shared.timeout, from);
        let home = number % shared.targets.len();
        let (current, away_until, pause) = (home, Instant::now(), PAUSES.0);
        Self { shared, client, rng, recorder, watches, visits: Vec::new(), home, current, away_until, pause }
    }

    /// Sends until the end of the plan; returns the visits that may exist.
    pub(crate) async fn run(mut self, ready: Arc<Barrier>) -> Vec<SentVisit> {
        self.client.warm(self.home).await;
        ready.wait().await;
        ready.wait().await;
        let shared = Arc::clone(&self.shared);
        while let Some(intended) = shared.plan.next().await {
            let Some(kind) = shared.plan.kind(&mut self.rng) else { break };
            if self.current != self.home && Instant::now() >= self.away_until {
                self.current = self.home;
            }
            let visit = if kind == Kind::CheckIn { None } else { self.draw(kind) };
            let (kind, done) = match (kind, visit) {
                (Kind::Correction, Some(index)) => (kind, self.correct(index).await),
                (Kind::Erasure, Some(index)) => (kind, self.erase(index).await),
                (Kind::CheckIn, _) => (kind, self.check_in().await),
                // There is no visit yet to correct or erase.
                (_, None) if shared.plan.claim_check_in() => (Kind::CheckIn, self.check_in().await),
                (_, None) => break,
            };
            self.note(kind, intended, &done);
            self.pause_if_needed(&done).await;
        }
        self.visits
    }

    /// A visit of this worker that is acknowledged and unchanged, or for an erasure at least not erased.
    fn draw(&mut self, kind: Kind) -> Option<usize> {
        for _ in 0..DRAWS.min(self.visits.len()) {
            let index = self.rng.random_range(0..self.visits.len());
            let visit = &self.visits[index];
            let untouched =
                visit.erasure == Change::None && (kind == Kind::Erasure || visit.correction == Change::None);
            if visit.acknowledged && untouched {
                return Some(index);
            }
        }
        None
    }

    async fn check_in(&mut self) -> Done {
        let mut secret = [0; 16];
        self.rng.fill_bytes(&mut secret);
        let id = VisitId::of(wall(), &Secret(secret));
        let venue = self.rng.random_range(0..self.shared.venues.len());
        let payload = self.rng.random_range(0..self.shared.pool.len());
        let body = self.shared.pool.get(payload).body.clone();
        let prepared = Prepared {
            method: Method::PUT,
            path: format!("/v1/venues/{}/visits/{id}", self.shared.venues[venue].venue_id),
            secret: header(secret),
            body: Some((HeaderValue::from_static("application/json"), body)),
        };
        let done = self.attempt(&prepared, self.current, self.shared.failover).await;
        let at = Instant::now();
        let acknowledged = done.outcome.is_success();
        if acknowledged || done.unknown {
            let visit = SentVisit {
                id: u128::from_be_bytes(id.document_id().0),
                secret,
                payload,
                venue: u16::try_from(venue).unwrap_or(u16::MAX),
                home: u16::try_from(done.target).unwrap_or(u16::MAX),
                acknowledged,
                correction: Change::None,
                erasure: Change::None,
            };
            for watch in self.watches.iter().filter(|_| acknowledged) {
                let record = || Acknowledged { record: self.prepare(Method::GET, &visit, None), at };
                watch.offer(&self.shared, done.target, record);
            }
            self.visits.push(visit);
        }
        done
    }

    /// Corrects a visit only at the target that acknowledged its check-in. At other targets the visit may not have
    /// arrived yet, and a correction that is repeated elsewhere is a second correction.
    async fn correct(&mut self, index: usize) -> Done {
        let visit = self.visits[index];
        let body = self.shared.pool.get(visit.payload).patch.clone();
        let kind = HeaderValue::from_static("application/merge-patch+json");
        let prepared = self.prepare(Method::PATCH, &visit, Some((kind, body)));
        let done = self.attempt(&prepared, usize::from(visit.home), false).await;
        self.visits[index].correction = change(&done);
        done
    }

    /// Erases at any target, because the secret proves the right to it even in a region that has not seen the visit.
    async fn erase(&mut self, index: usize) -> Done {
        let visit = self.visits[index];
        let prepared = self.prepare(Method::DELETE, &visit, None);
        let target = self.rng.random_range(0..self.shared.targets.len());
        let done = self.attempt(&prepared, target, self.shared.failover).await;
        self.visits[index].erasure = change(&done);
        done
    }

    fn prepare(&self, method: Method, visit: &SentVisit, body: Option<(HeaderValue, bytes::Bytes)>) -> Prepared {
        let venue = &self.shared.venues[usize::from(visit.venue)].venue_id;
        let id = VisitId::of(replication::DocumentId(visit.id.to_be_bytes()).arrival(), &Secret(visit.secret));
        let path = format!("/v1/venues/{venue}/visits/{id}");
        Prepared { method, path, secret: header(visit.secret), body }
    }

    /// Sends the request; with `failover` it tries all targets up to twice.
    async fn attempt(&mut self, prepared: &Prepared, first: usize, failover: bool) -> Done {
        let targets = self.shared.targets.len();
        let mut done = Done { outcome: RequestOutcome::NoConnection, target: first, unknown: false };
        let tries = if failover { 2 * targets } else { 1 };
        for number in 0..tries {
            done.target = (first + number) % targets;
            done.outcome = self.client.call(done.target, prepared).await;
            done.unknown |= done.outcome.is_unknown();
            if !done.outcome.is_retryable() {
                return done;
            }
            if number + 1 < tries {
                self.recorder.lock().retry(done.outcome);
                if done.target == self.current {
                    self.current = (done.target + 1) % targets;
                    self.away_until = Instant::now() + AWAY;
                }
            }
        }
        done
    }

    fn note(&self, kind: Kind, intended: Instant, done: &Done) {
        let mut recorder = self.recorder.lock();
        if done.outcome.is_success() {
            recorder.success(kind, intended.elapsed());
            recorder.repeats += u64::from(kind == Kind::CheckIn && done.outcome == RequestOutcome::Status(200));
        } else {
            recorder.failure(kind, done.outcome, intended.elapsed());
        }
    }

    async fn pause_if_needed(&mut self, done: &Done) {
        if done.outcome != RequestOutcome::NoConnection || !self.shared.closed {
            self.pause = PAUSES.0;
            return;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
    }
}

fn header(secret: [u8; 16]) -> HeaderValue {
    // Base64 has only characters that a header may have.
    HeaderValue::from_maybe_shared(bytes::Bytes::from(Secret(secret).to_string()))
        .unwrap_or(HeaderValue::from_static(""))
}

fn change(done: &Done) -> Change {
    match done.outcome {
        outcome if outcome.is_success() => Change::Acknowledged,
        _ if done.unknown => Change::Unknown,
        _ => Change::None,
    }
}
