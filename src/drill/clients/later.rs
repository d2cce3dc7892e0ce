//! Guests who come back to visits that a backup has, and erase or correct them, so that the backup is old.

use std::time::Duration;

use api::RegionId;
use api::client::Call;
use api::headers::{REGION, SECRET};
use hyper::Method;
use hyper::header::HeaderValue;

use super::Scene;
use super::guest::FORWARDED_FOR;
use crate::drill::ledger::{Erasure, SentVisit};
use crate::drill::plan::Plan;
use crate::drill::wire::{Failure, Wire};

/// Most visits that are changed.
const MOST: usize = 60;

/// What was acknowledged of visits that the backup has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Later {
    pub(crate) erased: usize,
    pub(crate) corrected: usize,
}

/// Erases and corrects in turn, through the edge and spread over `lasts`, visits that `region` acknowledged before the moment
/// of the backup: its backup has them for certain.
pub(crate) async fn come_back(
    scene: &Scene,
    plan: &Plan,
    region: &RegionId,
    before: Duration,
    lasts: Duration,
) -> Later {
    let chosen = chosen(&scene.ledger.visits.lock(), region, before);
    let pause = lasts / u32::try_from(chosen.len() + 1).unwrap_or(u32::MAX);
    let (mut later, mut wire) = (Later::default(), Wire::default());
    for (number, place) in chosen.into_iter().enumerate() {
        tokio::time::sleep(pause).await;
        let SentVisit { id, secret, .. } = scene.ledger.visits.lock()[place].clone();
        let text = |text: String| HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
        let erases = number % 2 == 0;
        let method = if erases { Method::DELETE } else { Method::PATCH };
        let call = Call::new(method, format!("/v1/venues/{}/visits/{id}", scene.venue.venue_id))
            .header(SECRET, text(secret.to_string()))
            .header(FORWARDED_FOR, text(super::address(&plan.clients.networks, number).to_string()));
        // Any persons are a correction, because they replace those of the visit.
        let payload = scene.pool.get(u32::try_from(number).unwrap_or(0));
        let call = if erases { call } else { call.body("application/merge-patch+json", payload.patch.clone()) };
        let edge = &scene.site.routers[number % scene.site.routers.len()].edge;
        let answer = wire.send(edge, &call, scene.timeout).await;
        let now = scene.start.elapsed();
        let mut visits = scene.ledger.visits.lock();
        let (visit, mut follow) = (&mut visits[place], scene.ledger.follow.lock());
        match answer {
            Ok(reply) if reply.status.is_success() && erases => {
                visit.erasure = Erasure::Acknowledged;
                (later.erased, follow.erased) = (later.erased + 1, follow.erased + 1);
            }
            Ok(reply) if reply.status.is_success() => {
                visit.phone = payload.corrected.first().and_then(|person| person.phone.clone());
                let by = reply.headers.get(REGION).and_then(|by| by.to_str().ok()?.parse().ok());
                visit.corrected = by.map(|by| (now, by));
                (later.corrected, follow.corrected) = (later.corrected + 1, follow.corrected + 1);
            }
            Ok(reply) if !reply.status.is_server_error() => follow.failed += 1,
            Err(Failure::Unsent) => follow.failed += 1,
            // It may have had an effect.
            Ok(_) | Err(_) if erases => {
                visit.erasure = Erasure::Unknown;
                follow.failed += 1;
            }
            Ok(_) | Err(_) => {
                visit.phone = None;
                follow.failed += 1;
            }
        }
    }
    later
}

/// The places of the visits that are changed, spread over all that may be.
fn chosen(visits: &[SentVisit], region: &RegionId, before: Duration) -> Vec<usize> {
    let is_there = |visit: &SentVisit| matches!(&visit.acknowledged, Some((at, by)) if *at < before && by == region);
    let is_free = |visit: &SentVisit| visit.settled && visit.erasure == Erasure::None && visit.phone.is_some();
    let may_be = |place: &usize| is_there(&visits[*place]) && is_free(&visits[*place]);
    let all: Vec<usize> = (0..visits.len()).filter(may_be).collect();
    let step = all.len().div_ceil(MOST).max(1);
    all.into_iter().step_by(step).collect()
}
