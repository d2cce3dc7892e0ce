//! One synthetic client: checks in, now and then corrects and reads its last visit, and compares what it is shown.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use api::RegionId;
use api::client::Call;
use api::headers::{REGION, SECRET, SESSION, STALE};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use rand::rngs::SmallRng;
use rand::{Rng as _, RngExt as _};
use registry::{Secret, VisitId};
use tokio::sync::watch;

use super::Scene;
use super::target::Target;
use crate::drill::ledger::{ClientKind, Sample, SentVisit};
use crate::drill::wire::{Failure, Reply, Wire};
use crate::load::wall;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The share of check-ins after which the guest corrects the visit, and of those after which it reads it.
const CORRECTS: f64 = 0.05;
const READS: f64 = 0.2;

/// One client.
pub(super) struct Guest {
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

impl Guest {
    pub(super) fn new(kind: ClientKind, scene: Arc<Scene>, target: Target, address: IpAddr, rng: SmallRng) -> Guest {
        Guest { kind, scene, target, address, rng, wire: Wire::default(), session: None }
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
            let sample = self.check_in(due).await;
            let now = self.scene.start.elapsed();
            due += pause;
            // What was due while the client was kept waiting fares like the check-in that it waited for, otherwise a
            // server that hangs would be charged once for a long time.
            let mut missed = Vec::new();
            while due < now {
                missed.push(Sample { at: due, took: now - due, ..sample.clone() });
                due += pause;
            }
            self.scene.ledger.samples.lock().extend([sample].into_iter().chain(missed));
        }
    }

    async fn check_in(&mut self, due: Duration) -> Sample {
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
        let unknown = match &answered {
            Ok(answered) => answered.reply.status.is_server_error(),
            Err(failure) => *failure != Failure::Unsent,
        };
        if good || unknown {
            let acknowledged = region.clone().filter(|_| good).map(|region| (done, region));
            self.scene.ledger.visits.lock().push(SentVisit { id, secret: Secret(bytes), acknowledged });
        }
        let took = done.saturating_sub(due);
        if good {
            self.follow(&id, &secret, payload).await;
        }
        Sample { kind: self.kind, at: due, took, good, region }
    }

    /// Corrects and reads the visit, as some guests do.
    async fn follow(&mut self, id: &VisitId, secret: &Secret, payload: u32) {
        let corrects = self.rng.random_bool(CORRECTS);
        let mut shown = self.scene.pool.get(payload).first.first().and_then(|person| person.phone.clone());
        if corrects {
            let call = self.call(Method::PATCH, id, secret);
            let call = call.body("application/merge-patch+json", self.scene.pool.get(payload).patch.clone());
            match self.send(call).await {
                Ok(answered) if answered.reply.status.is_success() => {
                    self.scene.ledger.follow.lock().corrected += 1;
                    shown = self.scene.pool.get(payload).corrected.first().and_then(|person| person.phone.clone());
                }
                // A region that has not heard of the visit yet says so; the guest then does not know what is shown.
                Ok(answered) => return self.unusable(&answered.reply),
                Err(_) => {
                    self.scene.ledger.follow.lock().failed += 1;
                    return;
                }
            }
        }
        if !corrects && !self.rng.random_bool(READS) {
            return;
        }
        let call = self.call(Method::GET, id, secret);
        let answered = self.send(call).await;
        let Ok(Answered { reply, .. }) = answered else {
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
            _ => self.unusable(&reply),
        }
    }

    fn unusable(&self, reply: &Reply) {
        let mut follow = self.scene.ledger.follow.lock();
        if reply.headers.contains_key(STALE) {
            follow.stale += 1;
        } else {
            follow.failed += 1;
        }
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

/// The phone number of the first person of a visit.
fn first_phone(body: &[u8]) -> Option<String> {
    let visit: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(visit["persons"][0]["phone"].as_str()?.to_owned())
}
