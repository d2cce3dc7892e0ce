//! One synthetic client: checks in, now and then corrects, reads or erases its last visit, and compares what it is shown.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use api::RegionId;
use api::client::Call;
use api::headers::{REGION, SECRET, SESSION, STALE};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use rand::rngs::SmallRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use registry::{Secret, VisitId};
use tokio::sync::watch;

use super::Scene;
use super::target::Target;
use crate::drill::ledger::{ClientKind, Erasure, Sample, SentVisit};
use crate::drill::wire::{Failure, Reply, Wire};
use crate::load::wall;

pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The shares of check-ins after which the guest erases, corrects or reads the visit.
const ERASES: f64 = 0.02;
const CORRECTS: f64 = 0.05;
const READS: f64 = 0.2;

/// One client.
pub(super) struct Guest {
    client: usize,
    kind: ClientKind,
    scene: Arc<Scene>,
    target: Target,
    address: IpAddr,
    rng: SmallRng,
    wire: Wire,
    session: Option<HeaderValue>,
}

/// The answer to one request, with the region that gave it.
struct Answered {
    reply: Reply,
    region: Option<RegionId>,
}

/// A visit that was accepted.
struct Accepted {
    id: VisitId,
    secret: Secret,
    payload: u32,
    /// Its place in the ledger.
    place: usize,
}

impl Guest {
    pub(super) fn new(client: usize, kind: ClientKind, scene: Arc<Scene>, target: Target, address: IpAddr) -> Guest {
        let rng = SmallRng::seed_from_u64(client as u64);
        Guest { client, kind, scene, target, address, rng, wire: Wire::default(), session: None }
    }

    /// Checks in at `first` and then again after each `pause`, until it is stopped.
    pub(super) async fn run(mut self, first: Duration, pause: Duration, mut stopped: watch::Receiver<bool>) {
        let mut due = first;
        loop {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep_until((self.scene.start + due).into()) => {}
            }
            self.scene.ledger.begin(self.client, self.kind, due);
            let (sample, accepted) = self.check_in(due).await;
            // What was due while the client was kept waiting fares like the check-in that it waited for, otherwise a
            // server that hangs would be charged once for a long time.
            let missed = self.missed(&mut due, pause, &sample);
            self.scene.ledger.end(self.client, [sample].into_iter().chain(missed));
            if let Some(accepted) = accepted {
                // What is due meanwhile is sent next, and charged from when it was due.
                self.follow(&accepted).await;
                self.scene.ledger.visits.lock()[accepted.place].settled = true;
            }
        }
    }

    /// Moves `due` to the next check-in that is still to come; returns those that were due meanwhile.
    fn missed(&self, due: &mut Duration, pause: Duration, like: &Sample) -> Vec<Sample> {
        let now = self.scene.start.elapsed();
        let mut missed = Vec::new();
        if *due == like.at {
            *due += pause;
        }
        while *due < now {
            missed.push(Sample { at: *due, took: now - *due, ..like.clone() });
            *due += pause;
        }
        missed
    }

    async fn check_in(&mut self, due: Duration) -> (Sample, Option<Accepted>) {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        let secret = Secret(bytes);
        let id = VisitId::of(wall(), &secret);
        let payload = self.rng.random_range(0..self.scene.pool.len());
        let call = self.call(Method::PUT, &id, &secret);
        let call = call.body("application/json", self.scene.pool.get(payload).body.clone());
        let answered = self.send(call).await;
        let done = self.scene.start.elapsed();
        let good = matches!(&answered, Ok(answered) if answered.reply.status.is_success());
        let region = answered.as_ref().ok().and_then(|answered| answered.region.clone());
        let took = done.saturating_sub(due);
        let sample = Sample { kind: self.kind, at: due, took, good, region: region.clone() };
        if !good && !is_unknown(&answered) {
            return (sample, None);
        }
        let acknowledged = region.filter(|_| good).map(|region| (done, region));
        let phone = self.scene.pool.get(payload).first.first().and_then(|person| person.phone.clone());
        let erasure = Erasure::None;
        let visit = SentVisit { id, secret, acknowledged, phone, corrected: None, erasure, settled: false };
        let mut visits = self.scene.ledger.visits.lock();
        visits.push(visit);
        let place = visits.len() - 1;
        (sample, good.then_some(Accepted { id, secret, payload, place }))
    }

    /// Erases, corrects or reads the visit, as some guests do.
    async fn follow(&mut self, visit: &Accepted) {
        if self.rng.random_bool(ERASES) {
            return self.erase(visit).await;
        }
        let corrects = self.rng.random_bool(CORRECTS);
        if corrects && !self.correct(visit).await {
            return;
        }
        if !corrects && !self.rng.random_bool(READS) {
            return;
        }
        let shown = self.scene.ledger.visits.lock()[visit.place].phone.clone();
        let call = self.call(Method::GET, &visit.id, &visit.secret);
        let Ok(Answered { reply, .. }) = self.send(call).await else {
            self.scene.ledger.follow.lock().failed += 1;
            return;
        };
        match reply.status {
            StatusCode::OK if first_phone(&reply.body) == shown => self.scene.ledger.follow.lock().read += 1,
            StatusCode::OK | StatusCode::NOT_FOUND if !reply.headers.contains_key(STALE) => {
                self.scene.ledger.follow.lock().breaches += 1;
            }
            // A visit that is kept for a short time may have expired.
            StatusCode::GONE => {}
            _ => {
                self.unusable(&reply);
            }
        }
    }

    /// Returns whether a read may follow: the guest knows what it must show.
    async fn correct(&mut self, visit: &Accepted) -> bool {
        let call = self.call(Method::PATCH, &visit.id, &visit.secret);
        let payload = self.scene.pool.get(visit.payload);
        let call = call.body("application/merge-patch+json", payload.patch.clone());
        let phone = payload.corrected.first().and_then(|person| person.phone.clone());
        let answered = self.send(call).await;
        let now = self.scene.start.elapsed();
        if let Ok(Answered { reply, region }) = &answered
            && reply.status.is_success()
        {
            self.scene.ledger.follow.lock().corrected += 1;
            let mut visits = self.scene.ledger.visits.lock();
            visits[visit.place].phone = phone;
            visits[visit.place].corrected = region.clone().map(|region| (now, region));
            return true;
        }
        if is_unknown(&answered) {
            self.scene.ledger.visits.lock()[visit.place].phone = None;
        }
        self.note_failure(&answered)
    }

    async fn erase(&mut self, visit: &Accepted) {
        let call = self.call(Method::DELETE, &visit.id, &visit.secret);
        let answered = self.send(call).await;
        let erasure = match &answered {
            Ok(Answered { reply, .. }) if reply.status.is_success() => Erasure::Acknowledged,
            answered if is_unknown(answered) => Erasure::Unknown,
            _ => Erasure::None,
        };
        self.scene.ledger.visits.lock()[visit.place].erasure = erasure;
        if erasure == Erasure::Acknowledged {
            self.scene.ledger.follow.lock().erased += 1;
        } else {
            self.note_failure(&answered);
        }
    }

    fn note_failure(&self, answered: &Result<Answered, Failure>) -> bool {
        match answered {
            Ok(answered) => self.unusable(&answered.reply),
            Err(_) => {
                self.scene.ledger.follow.lock().failed += 1;
                false
            }
        }
    }

    /// An answer without what was asked for. A region that has not heard of the visit yet may say so.
    fn unusable(&self, reply: &Reply) -> bool {
        let stale = reply.headers.contains_key(STALE);
        let mut follow = self.scene.ledger.follow.lock();
        *(if stale { &mut follow.stale } else { &mut follow.failed }) += 1;
        stale
    }

    fn call(&self, method: Method, id: &VisitId, secret: &Secret) -> Call {
        let path = format!("/v1/venues/{}/visits/{id}", self.scene.venue.venue_id);
        let text = |text: String| HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
        let call = Call::new(method, path)
            .header(SECRET, text(secret.to_string()))
            .header(FORWARDED_FOR, text(self.address.to_string()));
        match &self.session {
            Some(session) => call.header(SESSION, session.clone()),
            None => call,
        }
    }

    /// Sends a request to the first address that takes it. A request that may be repeated goes to the next address as
    /// well if the connection breaks, as browsers and the outbox of the check-in page do.
    async fn send(&mut self, call: Call) -> Result<Answered, Failure> {
        let mut failed = Failure::Unsent;
        for (place, (base, at)) in self.target.candidates().await.into_iter().enumerate() {
            match self.wire.send(&base, &call, self.scene.timeout).await {
                Ok(reply) => {
                    self.target.keep(place);
                    if let Some(session) = reply.headers.get(SESSION) {
                        self.session = Some(session.clone());
                    }
                    let named = reply.headers.get(REGION).and_then(|region| region.to_str().ok()?.parse().ok());
                    return Ok(Answered { region: at.or(named), reply });
                }
                Err(Failure::Unsent) => {}
                Err(Failure::Broken) if call.is_idempotent() => failed = Failure::Broken,
                Err(failure) => return Err(failure),
            }
        }
        Err(failed)
    }
}

/// Whether a request may have had an effect that was not acknowledged.
fn is_unknown(answered: &Result<Answered, Failure>) -> bool {
    match answered {
        Ok(answered) => answered.reply.status.is_server_error(),
        Err(failure) => *failure != Failure::Unsent,
    }
}

/// The phone number of the first person of a visit.
fn first_phone(body: &[u8]) -> Option<String> {
    let visit: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(visit["persons"][0]["phone"].as_str()?.to_owned())
}
