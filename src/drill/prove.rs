//! Reads the guest lists of the regions and compares them with what the clients were told; erases the traces afterwards.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use api::client::{Base, Call};
use api::headers::SECRET;
use api::{Moment, RegionId};
use hyper::Method;
use hyper::header::HeaderValue;
use jiff::Timestamp;
use registry::VisitId;
use serde::Deserialize;
use tokio::task::JoinSet;

use super::clients::Scene;
use super::ledger::SentVisit;
use super::wire::Wire;
use crate::load::list;
use crate::support::poll;

/// Around its expiry a visit may be in a list or not.
const EXPIRING: Duration = Duration::from_secs(5);

/// How long the regions may take to apply the erasures.
const ERASED_LIMIT: Duration = Duration::from_secs(30);

/// Connections that erase.
const ERASERS: usize = 16;

/// Writes of a region that were in no other region.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Unreplicated {
    pub(crate) count: usize,
    /// How long before the moment in question the oldest was acknowledged.
    pub(crate) oldest: Duration,
}

/// How the lists of all regions compare with what was acknowledged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proof {
    /// Acknowledged, not expired, and not in every region.
    pub(crate) lost: usize,
    /// Expired, and shown by a region all the same.
    pub(crate) resurrected: usize,
    /// Acknowledged check-ins that were looked for.
    pub(crate) acknowledged: usize,
    /// Why a region could not be compared.
    pub(crate) errors: Vec<String>,
}

#[derive(Deserialize)]
struct Row {
    visit_id: String,
}

/// The visits that the guest list of one node shows.
async fn shown(scene: &Scene, base: &Base) -> anyhow::Result<BTreeSet<VisitId>> {
    let mut ids = BTreeSet::new();
    list::stream(base, &scene.venue, |line| {
        let row: Row = serde_json::from_slice(line).context("a row of a guest list")?;
        ids.insert(row.visit_id.parse().context("the id of a visit")?);
        Ok(())
    })
    .await?;
    Ok(ids)
}

/// Which acknowledged check-ins of `region` no other region has, of those that were acknowledged before `at`.
pub(crate) async fn unreplicated(scene: &Scene, region: &RegionId, at: Duration) -> anyhow::Result<Unreplicated> {
    let mut elsewhere = BTreeSet::new();
    for node in scene.site.nodes.iter().filter(|node| node.region != *region) {
        elsewhere.append(&mut shown(scene, &node.public).await?);
    }
    let visits = scene.ledger.visits.lock();
    let own = visits.iter().filter_map(|visit| Some((visit.id, visit.acknowledged.as_ref()?)));
    let missing = own.filter(|(id, (acknowledged, by))| by == region && *acknowledged < at && !elsewhere.contains(id));
    let ages = missing.map(|(_, (acknowledged, _))| at - *acknowledged);
    Ok(ages
        .fold(Unreplicated::default(), |sum, age| Unreplicated { count: sum.count + 1, oldest: sum.oldest.max(age) }))
}

/// Waits until the lists of all regions are complete through `moment`.
pub(crate) async fn complete(scene: &Scene, moment: Timestamp, limit: Duration) -> anyhow::Result<()> {
    poll::until(limit, async || {
        for node in &scene.site.nodes {
            let late: Vec<String> = list::completeness(&node.public, &scene.venue)
                .await?
                .into_iter()
                .filter(|(_, through)| through.is_none_or(|through| through < moment))
                .map(|(region, _)| region)
                .collect();
            anyhow::ensure!(late.is_empty(), "{} lacks writes of {}", node.name, late.join(", "));
        }
        Ok(())
    })
    .await
}

/// Compares all regions with what was acknowledged.
pub(crate) async fn prove(scene: &Scene, retention: Option<Duration>) -> Proof {
    let visits: Vec<SentVisit> = scene.ledger.visits.lock().clone();
    let mut proof = Proof::default();
    let acknowledged: Vec<VisitId> = visits.iter().filter(|it| it.acknowledged.is_some()).map(|it| it.id).collect();
    proof.acknowledged = acknowledged.len();
    let (mut lost, mut resurrected) = (BTreeSet::new(), BTreeSet::new());
    for node in &scene.site.nodes {
        // A visit that expires while the list is read counts neither as there nor as gone.
        let before = Moment::from(Timestamp::now());
        let ids = match shown(scene, &node.public).await {
            Ok(ids) => ids,
            Err(error) => {
                proof.errors.push(format!("{}: {error:#}", node.name));
                continue;
            }
        };
        let after = Moment::from(Timestamp::now());
        let expires = |id: &VisitId| retention.map(|retention| arrival(id) + replication::millis(retention));
        let margin = replication::millis(EXPIRING);
        let lives = |id: &VisitId| expires(id).is_none_or(|expires| expires > after.0.0 + margin);
        let is_dead = |id: &VisitId| expires(id).is_some_and(|expires| expires + margin < before.0.0);
        lost.extend(acknowledged.iter().filter(|id| lives(id) && !ids.contains(id)).copied());
        resurrected.extend(ids.iter().filter(|id| is_dead(id)).copied());
    }
    (proof.lost, proof.resurrected) = (lost.len(), resurrected.len());
    proof
}

fn arrival(id: &VisitId) -> u64 {
    id.document_id().arrival().0
}

/// Erases every visit that may exist and closes the venue; returns how many are still shown somewhere.
pub(crate) async fn erase(scene: &Arc<Scene>) -> anyhow::Result<usize> {
    let visits: Arc<Vec<SentVisit>> = Arc::new(scene.ledger.visits.lock().clone());
    let mut erasers = JoinSet::new();
    for eraser in 0..ERASERS {
        let (scene, visits) = (Arc::clone(scene), Arc::clone(&visits));
        erasers.spawn(async move {
            let mut wire = Wire::default();
            // Each eraser at its own node, because an erasure is taken anywhere.
            let base = &scene.site.nodes[eraser % scene.site.nodes.len()].public;
            for visit in visits.iter().skip(eraser).step_by(ERASERS) {
                let path = format!("/v1/venues/{}/visits/{}", scene.venue.venue_id, visit.id);
                let secret = HeaderValue::from_str(&visit.secret.to_string()).unwrap_or(HeaderValue::from_static(""));
                let call = Call::new(Method::DELETE, path).header(SECRET, secret);
                // What fails is counted below, where the lists are read again.
                let _ = wire.send(base, &call, scene.timeout).await;
            }
        });
    }
    while erasers.join_next().await.is_some() {}
    let left = poll::until(ERASED_LIMIT, async || {
        let mut left = 0;
        for node in &scene.site.nodes {
            left = left.max(shown(scene, &node.public).await.map_err(|error| (left, Some(error)))?.len());
        }
        if left == 0 { Ok(0) } else { Err((left, None)) }
    })
    .await;
    let left = match left {
        Ok(left) | Err((left, None)) => left,
        Err((_, Some(error))) => return Err(error.context("cannot see whether the visits of the drill are erased")),
    };
    let path = format!("/v1/venues/{}", scene.venue.venue_id);
    for node in &scene.site.nodes {
        let call = Call::new(Method::DELETE, path.clone()).bearer(&scene.venue.owner_key);
        if call.send(&node.public).await.is_ok_and(|answer| answer.status.is_success()) {
            break;
        }
    }
    Ok(left)
}
