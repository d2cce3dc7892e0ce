//! The demand: turns counters of the data plane into rates.

use std::collections::HashMap;
use std::time::Duration;

use api::explanation::LocationSource;
use serde::{Deserialize, Serialize};

use crate::fleet::Fleet;
use crate::location::Place;
use crate::signals::Signals;

/// Time between samples.
const EVERY: Duration = Duration::from_secs(1);

/// The weight of the newest sample in a rate: about the last five seconds count.
const NEWEST: f64 = 0.2;

/// If all rates are below this, a new assignment is not worth its cost.
const FAINT: f64 = 0.05;

/// Requests per second of each class of places.
#[derive(Debug)]
pub(super) struct Demand {
    rates: Vec<f64>,
    asked: Vec<u64>,
    outcomes: Vec<(u64, u64)>,
    sampled: Duration,
}

impl Demand {
    /// No demand yet.
    pub(super) fn new(classes: usize, regions: usize) -> Demand {
        Demand {
            rates: vec![0.0; classes],
            asked: vec![0; classes],
            outcomes: vec![(0, 0); regions],
            sampled: Duration::ZERO,
        }
    }

    /// The same demand with other tables, whose counters begin at 0. The rate of a class goes to the classes that prefer
    /// the regions of both fleets in the same order, in equal parts.
    pub(super) fn carried(&self, from: (&Fleet, &[Place]), to: (&Fleet, &[Place])) -> Demand {
        let mut demand = Demand { sampled: self.sampled, ..Demand::new(to.1.len(), to.0.regions.len()) };
        let mut classes: HashMap<_, Vec<usize>> = HashMap::new();
        for (class, place) in to.1.iter().enumerate() {
            classes.entry(preference(place, to.0, from.0)).or_default().push(class);
        }
        for (place, rate) in from.1.iter().zip(&self.rates).filter(|(_, rate)| **rate > 0.0) {
            let heirs = classes.get(&preference(place, from.0, to.0)).map_or(&[][..], Vec::as_slice);
            heirs.iter().for_each(|class| demand.rates[*class] += rate / heirs.len() as f64);
        }
        demand
    }

    /// The rates by what survives another table: the source and the order of the regions of a place.
    pub(super) fn memory(&self, fleet: &Fleet, places: &[Place]) -> DemandMemory {
        let rates = places.iter().zip(&self.rates).filter(|(_, rate)| **rate > 0.0);
        let rates = rates.map(|(place, rate)| (place.source, names(place, fleet), *rate)).collect();
        DemandMemory { rates }
    }

    /// Goes on from the rates of another router, sampled at `now`.
    pub(super) fn go_on_from(&mut self, memory: DemandMemory, now: Duration, fleet: &Fleet, places: &[Place]) {
        let known: HashMap<_, f64> =
            memory.rates.into_iter().map(|(source, names, rate)| ((source, names), rate)).collect();
        for (place, rate) in places.iter().zip(&mut self.rates) {
            *rate = known.get(&(place.source, names(place, fleet))).copied().unwrap_or_default();
        }
        self.sampled = now;
    }

    pub(super) fn by_class(&self) -> &[f64] {
        &self.rates
    }

    /// Takes a sample if it is time. Returns how many requests each region answered and failed since the last sample.
    pub(super) fn sample(&mut self, now: Duration, signals: &Signals, fleet: &Fleet) -> Option<Vec<(u64, u64)>> {
        let passed = now.saturating_sub(self.sampled);
        if passed < EVERY {
            return None;
        }
        self.sampled = now;
        let asked = signals.demand();
        for (rate, (new, old)) in self.rates.iter_mut().zip(asked.iter().zip(&self.asked)) {
            let sample = (new - old) as f64 / passed.as_secs_f64();
            *rate += (sample - *rate) * NEWEST;
            if *rate < FAINT {
                *rate = 0.0;
            }
        }
        self.asked = asked;
        let outcomes: Vec<(u64, u64)> = fleet
            .indices()
            .map(|region| {
                let nodes = 0..fleet.region(region).nodes.len();
                nodes.map(|node| signals.outcomes(region, node)).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
            })
            .collect();
        let news = outcomes.iter().zip(&self.outcomes).map(|(new, old)| (new.0 - old.0, new.1 - old.1)).collect();
        self.outcomes = outcomes;
        Some(news)
    }
}

/// What a router hands to its successor of the demand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct DemandMemory {
    rates: Vec<(LocationSource, Vec<String>, f64)>,
}

/// The names of the regions in a place's order.
fn names(place: &Place, fleet: &Fleet) -> Vec<String> {
    place.order.iter().map(|region| fleet.region(*region).name.to_string()).collect()
}

/// What two tables have in common of a place: its source, and the names of the regions of both fleets in its order.
fn preference<'a>(place: &Place, own: &'a Fleet, other: &Fleet) -> (LocationSource, Vec<&'a str>) {
    let common = place.order.iter().filter(|region| own.carry(**region, other).is_some());
    (place.source, common.map(|region| own.region(*region).name.as_str()).collect())
}

#[cfg(test)]
mod tests {
    use api::Position;
    use api::explanation::LocationSource;

    use super::Demand;
    use crate::fleet::{Fleet, Region, RegionIndex};
    use crate::location::Place;

    fn fleet(names: &[&str]) -> Fleet {
        let region = |name: &&str| Region {
            name: name.parse().unwrap(),
            position: Position { latitude: 0.0, longitude: 0.0 },
            weight: 1.0,
            capacity: None,
            nodes: Vec::new(),
        };
        Fleet { regions: names.iter().map(region).collect() }
    }

    fn place(order: &[u8]) -> Place {
        let order = order.iter().map(|region| RegionIndex(*region)).collect();
        Place { source: LocationSource::Database, order }
    }

    #[test]
    fn a_successor_knows_the_demand() {
        let (old, new) = (fleet(&["eu", "us"]), fleet(&["us", "eu"]));
        let (old_places, new_places) = ([place(&[0, 1]), place(&[1, 0])], [place(&[0, 1]), place(&[1, 0])]);
        let demand = Demand { rates: vec![8.0, 0.0], ..Demand::new(2, 2) };
        let mut next = Demand::new(2, 2);
        let now = std::time::Duration::from_secs(9);
        next.go_on_from(demand.memory(&old, &old_places), now, &new, &new_places);
        assert_eq!((next.by_class(), next.sampled), (&[0.0, 8.0][..], now));
    }

    #[test]
    fn demand_stays_with_the_clients_that_cause_it() {
        let (old, new) = (fleet(&["eu", "us"]), fleet(&["us", "eu", "ap"]));
        let old_places = [place(&[0, 1]), place(&[1, 0])];
        let new_places = [place(&[1, 0, 2]), place(&[2, 1, 0]), place(&[0, 1, 2])];
        let demand = Demand { rates: vec![8.0, 3.0], ..Demand::new(2, 2) };
        let carried = demand.carried((&old, &old_places), (&new, &new_places));
        assert_eq!(carried.by_class(), [4.0, 4.0, 3.0]);
        // Without the region that made the difference, both are one class.
        let back = carried.carried((&new, &new_places), (&fleet(&["eu"]), &[place(&[0])]));
        assert_eq!(back.by_class(), [11.0]);
    }
}
