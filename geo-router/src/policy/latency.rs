//! Nearest by a configured table of latencies.

use std::sync::Arc;

use super::nearest::{by_distance, down_the_order};
use super::{Assignment, Policy, PolicyInput};
use crate::fleet::{Fleet, RegionIndex};
use crate::location::{Country, Located};

/// Latencies from one country.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyRow {
    /// The country of the clients.
    pub from: Country,
    /// Milliseconds to regions. A region that is not listed comes after the listed ones, by distance.
    pub to: Vec<(RegionIndex, f64)>,
}

/// Each client goes to the region with the least latency; countries without a row go by distance.
#[derive(Clone, Debug)]
pub struct Latency {
    /// One row per country.
    pub table: Vec<LatencyRow>,
}

impl Policy for Latency {
    fn order(&self, fleet: &Fleet, located: &Located) -> Vec<RegionIndex> {
        let mut order = by_distance(fleet, located);
        let row = self.table.iter().find(|row| Some(row.from) == located.country);
        // An operator's override of a network takes precedence over a table of countries.
        if let (Some(row), None) = (row, located.region) {
            let ms = |region: &RegionIndex| {
                row.to.iter().find(|(named, _)| named == region).map_or(f64::INFINITY, |(_, ms)| *ms)
            };
            order.sort_by(|one, other| ms(one).total_cmp(&ms(other)));
        }
        order
    }

    fn assign(&self, moment: &PolicyInput<'_>) -> Assignment {
        down_the_order(moment)
    }

    fn carried(&self, from: &Fleet, to: &Fleet) -> Arc<dyn Policy> {
        let row = |row: &LatencyRow| {
            let to = row.to.iter().filter_map(|(region, ms)| Some((from.carry(*region, to)?, *ms)));
            LatencyRow { from: row.from, to: to.collect() }
        };
        Arc::new(Latency { table: self.table.iter().map(row).collect() })
    }
}
