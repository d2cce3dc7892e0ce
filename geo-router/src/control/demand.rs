//! The demand: turns counters of the data plane into rates.

use std::time::Duration;

use crate::fleet::Fleet;
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
