//! A split by configured weights, independent of the clients' location.

use std::sync::Arc;

use super::nearest::by_distance;
use super::{Assignment, Policy, PolicyInput};
use crate::fleet::{Fleet, RegionIndex};
use crate::location::Located;

/// Each region takes its weight's share of every place; a region that is out leaves its share to the others.
#[derive(Clone, Copy, Debug)]
pub struct Weighted;

impl Policy for Weighted {
    fn order(&self, fleet: &Fleet, located: &Located) -> Vec<RegionIndex> {
        by_distance(fleet, located)
    }

    fn assign(&self, moment: &PolicyInput<'_>) -> Assignment {
        let part = |region: RegionIndex| moment.fleet.region(region).weight * moment.admission[region.at()];
        let sum: f64 = moment.fleet.indices().map(part).sum();
        let mut assignment = Assignment::default();
        for _ in moment.places {
            assignment.push(moment.fleet.indices().map(|region| (region, part(region) / sum)));
        }
        assignment
    }

    fn carried(&self, _from: &Fleet, _to: &Fleet) -> Arc<dyn Policy> {
        Arc::new(*self)
    }
}
