//! Nearest while there is room. What a region cannot take is spread over the others, and what no region can take is
//! shed.
//!
//! # Invariants
//! - No region is given more than `limit` of its capacity, counted over all classes.
//! - Displaced clients are spread by distance and headroom, and never all sent to one neighbour. Otherwise a failover
//!   could overload the next region, and then the next.
//! - Clients whose own region has room stay there.

use std::sync::Arc;

use super::nearest::by_distance;
use super::{Assignment, Policy, PolicyInput};
use crate::fleet::{Fleet, RegionIndex};
use crate::location::Located;

/// The demand that is assumed for a class without demand, in requests per second, because it needs shares as well.
const FAINT: f64 = 1e-6;

/// The part of a region's capacity below which its room is a rounding error.
const NO_ROOM: f64 = 1e-9;

/// Rounds of pouring: each round fills at least one region to its limit, or places everything.
const ROUNDS: usize = 1 + Fleet::MAX_REGIONS;

/// Nearest, within capacity.
#[derive(Clone, Copy, Debug)]
pub struct Spill {
    /// The part of a region's capacity that may be used, such as 0.85.
    pub limit: f64,
}

struct Pour<'a> {
    moment: &'a PolicyInput<'a>,
    /// Requests per second that each region can still take.
    room: Vec<f64>,
    /// Requests per second of each class still to be placed.
    left: Vec<f64>,
    /// Requests per second by class and region.
    placed: Vec<Vec<f64>>,
}

impl Policy for Spill {
    fn order(&self, fleet: &Fleet, located: &Located) -> Vec<RegionIndex> {
        by_distance(fleet, located)
    }

    fn assign(&self, moment: &PolicyInput<'_>) -> Assignment {
        let demand: Vec<f64> = moment.demand.iter().map(|demand| demand.max(FAINT)).collect();
        let room = |region: RegionIndex| {
            let admission = moment.admission[region.at()];
            match moment.fleet.region(region).capacity {
                _ if admission <= 0.0 => 0.0,
                Some(capacity) => capacity * self.limit * admission,
                None => f64::INFINITY,
            }
        };
        let mut pour = Pour {
            moment,
            room: moment.fleet.indices().map(room).collect(),
            left: demand.clone(),
            placed: vec![vec![0.0; moment.fleet.regions.len()]; moment.places.len()],
        };
        pour.at_home();
        for _ in 0..ROUNDS {
            if !pour.displaced() {
                break;
            }
        }
        let mut assignment = Assignment::default();
        for (class, demand) in demand.iter().enumerate() {
            assignment.push(moment.fleet.indices().map(|region| (region, pour.placed[class][region.at()] / demand)));
        }
        for region in moment.fleet.indices() {
            let least = moment.fleet.region(region).capacity.unwrap_or_default() * NO_ROOM;
            if pour.room[region.at()] <= least {
                assignment.fill(region);
            }
        }
        assignment
    }

    fn carried(&self, _from: &Fleet, _to: &Fleet) -> Arc<dyn Policy> {
        Arc::new(*self)
    }
}

impl Pour<'_> {
    /// Every class asks its own region first, as far as that region admits it.
    fn at_home(&mut self) {
        let wants =
            self.moment.places.iter().enumerate().filter(|(_, place)| place.is_known()).map(|(class, place)| {
                let home = place.order[0];
                (class, home, self.left[class] * self.moment.admission[home.at()])
            });
        let wants = wants.collect();
        self.grant(wants);
    }

    /// Spreads the rest by headroom, more to the nearer regions. Returns whether anything was placed.
    fn displaced(&mut self) -> bool {
        let mut wants = Vec::new();
        for (class, place) in self.moment.places.iter().enumerate() {
            let left = self.left[class];
            if left <= FAINT * 1e-3 {
                continue;
            }
            // A region without a limit has as much headroom as is needed.
            let headroom = |region: RegionIndex| match self.room[region.at()] {
                room if room.is_infinite() => left * self.moment.admission[region.at()],
                room => room,
            };
            let pull = |rank: usize, region: RegionIndex| {
                headroom(region) / if place.is_known() { (rank + 1) as f64 } else { 1.0 }
            };
            let pulls = place.order.iter().enumerate().map(|(rank, region)| (*region, pull(rank, *region)));
            let pulls: Vec<(RegionIndex, f64)> = pulls.filter(|(_, pull)| *pull > 0.0).collect();
            let sum: f64 = pulls.iter().map(|(_, pull)| pull).sum();
            wants.extend(pulls.iter().map(|(region, pull)| (class, *region, left * pull / sum)));
        }
        self.grant(wants)
    }

    /// Gives each region's room to the classes that want it, in proportion. Returns whether anything was given.
    fn grant(&mut self, wants: Vec<(usize, RegionIndex, f64)>) -> bool {
        let mut sums = vec![0.0; self.room.len()];
        wants.iter().for_each(|(_, region, want)| sums[region.at()] += want);
        let factor = |region: RegionIndex| {
            let (room, sum) = (self.room[region.at()], sums[region.at()]);
            if sum <= room { 1.0 } else { room / sum }
        };
        let factors: Vec<f64> = self.moment.fleet.indices().map(factor).collect();
        let mut given = false;
        for (class, region, want) in wants {
            let grant = want * factors[region.at()];
            self.left[class] = (self.left[class] - grant).max(0.0);
            self.placed[class][region.at()] += grant;
            self.room[region.at()] = (self.room[region.at()] - grant).max(0.0);
            given |= grant > 0.0;
        }
        given
    }
}
