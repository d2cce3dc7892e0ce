//! Nearest by great-circle distance.

use std::sync::Arc;

use super::{Assignment, Policy, PolicyInput};
use crate::fleet::{Fleet, RegionIndex};
use crate::location::Located;

/// Each client goes to the nearest region that serves. Clients with an unknown location are spread over all by weight.
#[derive(Clone, Copy, Debug)]
pub struct Nearest;

/// Regions by distance from a place; in configured order if the place is unknown.
pub(super) fn by_distance(fleet: &Fleet, located: &Located) -> Vec<RegionIndex> {
    let mut order: Vec<RegionIndex> = fleet.indices().collect();
    let seen_from = located.position.or_else(|| located.region.map(|region| fleet.region(region).position));
    if let Some(from) = seen_from {
        let km = |region: &RegionIndex| fleet.region(*region).position.km_to(from);
        order.sort_by(|one, other| km(one).total_cmp(&km(other)));
    }
    if let Some(first) = located.region {
        order.sort_by_key(|region| *region != first);
    }
    order
}

/// Each class goes down its order; a class with an unknown location is spread over all regions.
pub(super) fn down_the_order(moment: &PolicyInput<'_>) -> Assignment {
    let mut assignment = Assignment::default();
    for place in moment.places {
        if place.is_known() {
            assignment.push_waterfall(&place.order, moment.admission);
        } else {
            push_unknown(&mut assignment, moment);
        }
    }
    assignment
}

/// Adds a class with an unknown location. It has no nearest region, so all regions take a part by weight and capacity.
fn push_unknown(assignment: &mut Assignment, moment: &PolicyInput<'_>) {
    // Capacities can be compared only if all have one.
    let comparable = moment.fleet.regions.iter().all(|region| region.capacity.is_some());
    let part = |region: RegionIndex| {
        let known = moment.fleet.region(region);
        let capacity = known.capacity.filter(|_| comparable).unwrap_or(1.0);
        moment.admission[region.at()] * known.weight * capacity
    };
    let sum: f64 = moment.fleet.indices().map(part).sum();
    assignment.push(moment.fleet.indices().map(|region| (region, part(region) / sum)));
}

impl Policy for Nearest {
    fn order(&self, fleet: &Fleet, located: &Located) -> Vec<RegionIndex> {
        by_distance(fleet, located)
    }

    fn assign(&self, moment: &PolicyInput<'_>) -> Assignment {
        down_the_order(moment)
    }

    fn carried(&self, _from: &Fleet, _to: &Fleet) -> Arc<dyn Policy> {
        Arc::new(*self)
    }
}
