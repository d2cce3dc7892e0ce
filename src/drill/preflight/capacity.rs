//! Whether the other regions have room for what a region takes now.

use std::collections::BTreeMap;

use api::RegionId;
use api::client;
use api::explanation::Explanation;

use super::{Check, check, look};
use crate::drill::clients;
use crate::drill::observe::Look;
use crate::drill::plan::{Disturbance, Plan};
use crate::drill::site::Site;

/// What the other regions lack to take the present load of a region; `None` if they have room, or if their capacity is
/// not known.
pub(crate) async fn shortage(plan: &Plan, site: &Site) -> Option<String> {
    let region = plan.region.as_ref()?;
    if site.regions().iter().any(|other| other != region && !site.capacity.contains_key(other)) {
        return None;
    }
    let look = look(plan, site).await;
    room_without(plan, site, &look, region).await.err()
}

/// Whether the other regions can take what the disturbed one takes now and what the clients of the drill add.
pub(super) async fn capacity(plan: &Plan, site: &Site, look: &Look) -> Check {
    let losing = match &plan.disturbance {
        Disturbance::Drain(_) | Disturbance::Kill | Disturbance::Faults(_) | Disturbance::Restore(_) => {
            plan.region.clone().into_iter().collect()
        }
        // One after the other.
        Disturbance::Restart => site.regions(),
        Disturbance::Cut(_) | Disturbance::KillRouter => Vec::new(),
    };
    let mut details = Vec::new();
    for region in &losing {
        match room_without(plan, site, look, region).await {
            Ok(detail) => details.push(detail),
            Err(detail) => return check("capacity", false, detail),
        }
    }
    let nobody = "no region loses its clients".to_owned();
    check("capacity", true, if details.is_empty() { nobody } else { details.join("; ") })
}

/// Whether the region's load fits into the regions to which its clients go, each with its share of them.
async fn room_without(plan: &Plan, site: &Site, look: &Look, region: &RegionId) -> Result<String, String> {
    let load = |region: &RegionId| look.load.get(region).copied().ok_or(format!("the load of {region} is not known"));
    let moving = (load(region)? + plan.clients.rate) * plan.before.headroom;
    let next = next_regions(plan, site, region).await;
    if next.is_empty() {
        return Err(format!("no router says where the clients of {region} go"));
    }
    let all: usize = next.values().sum();
    let mut details = Vec::new();
    for (survivor, clients) in &next {
        let Some(capacity) = site.capacity.get(survivor) else {
            let advice = "set it in `[capacity]` of the drill, or as `capacity` in the router's configuration";
            return Err(format!("that of {survivor} is not known; {advice}"));
        };
        let spare = capacity * plan.guards.load - load(survivor)?;
        let wanted = moving * *clients as f64 / all as f64;
        let detail = format!("{survivor} takes {spare:.0} more requests/s within the guard rail; wanted {wanted:.0}");
        if spare < wanted {
            let (own, rate, times) = (load(region)?, plan.clients.rate, plan.before.headroom);
            return Err(format!(
                "{detail} (its part of {own:.0} of {region} and {rate:.0} of the drill's clients, times {times})"
            ));
        }
        details.push(detail);
    }
    Ok(details.join(", "))
}

/// The regions to which clients go that are led to `region` now, by the routers' own ranking, each with the number of
/// the drill's networks that go there.
async fn next_regions(plan: &Plan, site: &Site, region: &RegionId) -> BTreeMap<RegionId, usize> {
    let mut next = BTreeMap::new();
    for number in 0..plan.clients.networks.len() {
        let path = format!("/v1/admin/explain?address={}", clients::address(&plan.clients.networks, number));
        for router in &site.routers {
            let Ok(told) = client::get::<Explanation>(&router.admin, &path).await else { continue };
            if told.region == *region
                && let Some(second) = told.ranking.into_iter().find(|ranked| ranked.region != *region)
            {
                *next.entry(second.region).or_default() += 1;
            }
            break;
        }
    }
    // A region to which no network of the drill is led has clients of its own: any of the others may get them.
    if next.is_empty() {
        next.extend(site.regions().into_iter().filter(|other| other != region).map(|other| (other, 1)));
    }
    next
}
