//! Reads the guest lists of the regions and compares them with what the clients were told; erases the traces afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use api::client::{Base, Call};
use api::headers::SECRET;
use api::{Moment, RegionId};
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use jiff::Timestamp;
use registry::VisitId;
use serde::Deserialize;
use tokio::task::JoinSet;

use super::clients::Scene;
use super::ledger::{Acknowledged, Erasure, SentVisit};
use super::site::Node;
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
    /// Acknowledged check-ins and corrections that are not in every region, though neither expired nor erased.
    pub(crate) lost: usize,
    /// Expired or erased, and shown by a region all the same.
    pub(crate) resurrected: usize,
    /// Acknowledged check-ins that were looked for.
    pub(crate) acknowledged: usize,
    /// Why a region could not be compared.
    pub(crate) errors: Vec<String>,
}

#[derive(Deserialize)]
struct Row {
    visit_id: String,
    persons: Vec<Person>,
}

#[derive(Deserialize)]
struct Person {
    phone: Option<String>,
}

/// The visits that the guest list of one node shows, with the first person's phone number.
type Shown = BTreeMap<VisitId, Option<String>>;

async fn shown(scene: &Scene, base: &Base) -> anyhow::Result<Shown> {
    let mut visits = Shown::new();
    list::stream(base, &scene.venue, |line| {
        let row: Row = serde_json::from_slice(line).context("a row of a guest list")?;
        let phone = row.persons.into_iter().next().and_then(|person| person.phone);
        visits.insert(row.visit_id.parse().context("the id of a visit")?, phone);
        Ok(())
    })
    .await?;
    Ok(visits)
}

/// Which acknowledged check-ins and corrections of `region` no other region has, of those that were acknowledged before
/// `at`.
pub(crate) async fn unreplicated(scene: &Scene, region: &RegionId, at: Duration) -> anyhow::Result<Unreplicated> {
    let mut elsewhere: Vec<Shown> = Vec::new();
    for node in scene.site.nodes.iter().filter(|node| node.region != *region) {
        elsewhere.push(shown(scene, &node.public).await?);
    }
    let visits = scene.ledger.visits.lock();
    let mut found = Unreplicated::default();
    let mut missing = |acknowledged: &Option<Acknowledged>, is_there: &dyn Fn(&Shown) -> bool| {
        if let Some((when, by)) = acknowledged
            && by == region
            && *when < at
            && !elsewhere.iter().any(is_there)
        {
            found.count += 1;
            found.oldest = found.oldest.max(at - *when);
        }
    };
    for visit in visits.iter().filter(|visit| visit.erasure == Erasure::None) {
        missing(&visit.acknowledged, &|shown| shown.contains_key(&visit.id));
        missing(&visit.corrected, &|shown| shown.get(&visit.id).is_some_and(|phone| *phone == visit.phone));
    }
    Ok(found)
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

/// Compares all regions with what was acknowledged of `visits`. The regions must have it all.
pub(crate) async fn prove(scene: &Scene, visits: &[SentVisit], retention: Option<Duration>) -> Proof {
    let acknowledged = visits.iter().filter(|visit| visit.acknowledged.is_some()).count();
    let mut proof = Proof { acknowledged, ..Proof::default() };
    let (mut lost, mut resurrected) = (BTreeSet::new(), BTreeSet::new());
    for node in &scene.site.nodes {
        // A visit that expires while the list is read counts neither as there nor as gone.
        let before = Moment::from(Timestamp::now());
        let list = match shown(scene, &node.public).await {
            Ok(list) => list,
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
        for visit in visits {
            let row = list.get(&visit.id);
            let is_wrong = |phone: &Option<String>| visit.phone.is_some() && *phone != visit.phone;
            if visit.acknowledged.is_some()
                && visit.erasure == Erasure::None
                && lives(&visit.id)
                && row.is_none_or(is_wrong)
            {
                lost.insert(visit.id);
            }
            if row.is_some() && (visit.erasure == Erasure::Acknowledged || is_dead(&visit.id)) {
                resurrected.insert(visit.id);
            }
        }
    }
    (proof.lost, proof.resurrected) = (lost.len(), resurrected.len());
    proof
}

/// Asks a node for each visit whose erasure was acknowledged, as its guest would; returns how many are gone, and how many are
/// not.
pub(crate) async fn gone(scene: &Scene, node: &Node, visits: &[SentVisit]) -> anyhow::Result<(usize, usize)> {
    let (mut gone, mut back, mut wire) = (0, 0, Wire::default());
    for visit in visits.iter().filter(|visit| visit.erasure == Erasure::Acknowledged) {
        let answer = wire.send(&node.public, &by_guest(scene, Method::GET, visit), scene.timeout).await;
        match answer.map(|reply| reply.status) {
            Ok(StatusCode::GONE) => gone += 1,
            Ok(StatusCode::OK) => back += 1,
            Ok(status) => anyhow::bail!("{} answered {status}", node.name),
            Err(_) => anyhow::bail!("{} did not answer", node.name),
        }
    }
    Ok((gone, back))
}

/// A request for a visit with the secret of its guest.
fn by_guest(scene: &Scene, method: Method, visit: &SentVisit) -> Call {
    let path = format!("/v1/venues/{}/visits/{}", scene.venue.venue_id, visit.id);
    let secret = HeaderValue::from_str(&visit.secret.to_string()).unwrap_or(HeaderValue::from_static(""));
    Call::new(method, path).header(SECRET, secret)
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
                // What fails is counted below, where the lists are read again.
                let _ = wire.send(base, &by_guest(&scene, Method::DELETE, visit), scene.timeout).await;
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
