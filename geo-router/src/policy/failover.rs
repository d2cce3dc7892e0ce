//! One configured order for all clients.

use std::sync::Arc;

use super::{Assignment, Policy, PolicyInput};
use crate::fleet::{Fleet, RegionIndex};
use crate::location::Located;

/// All clients go to the first region of the order that serves.
#[derive(Clone, Debug)]
pub struct Failover {
    /// Every region once.
    pub order: Vec<RegionIndex>,
}

impl Policy for Failover {
    fn order(&self, _fleet: &Fleet, _located: &Located) -> Vec<RegionIndex> {
        self.order.clone()
    }

    fn assign(&self, moment: &PolicyInput<'_>) -> Assignment {
        let mut assignment = Assignment::default();
        for place in moment.places {
            assignment.push_waterfall(&place.order, moment.admission);
        }
        assignment
    }

    fn carried(&self, from: &Fleet, to: &Fleet) -> Arc<dyn Policy> {
        let mut order: Vec<RegionIndex> = self.order.iter().filter_map(|region| from.carry(*region, to)).collect();
        // No operator has said where a region that was added stands, so it is the last resort.
        let added: Vec<RegionIndex> = to.indices().filter(|region| !order.contains(region)).collect();
        order.extend(added);
        Arc::new(Failover { order })
    }
}
