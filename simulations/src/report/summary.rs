//! The figures of one or many runs that a page shows first. Runs are of one scenario: the same regions in the same
//! order, other seeds.

use super::stats::Cdf;
use crate::measure::{Measured, Staleness, Traffic};

/// Bytes by what they were for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bytes {
    pub(super) payload: u64,
    pub(super) metadata: u64,
    pub(super) control: u64,
    pub(super) lost: u64,
}

impl Bytes {
    pub(super) fn add(&mut self, traffic: &Traffic) {
        self.payload += traffic.payload;
        self.metadata += traffic.metadata;
        self.control += traffic.control;
        self.lost += traffic.lost;
    }

    pub(super) fn parts(&self) -> [u64; 3] {
        [self.payload, self.metadata, self.control]
    }

    pub(super) fn all(&self) -> u64 {
        self.payload + self.metadata + self.control
    }
}

/// One or many runs in figures.
#[derive(Clone, Debug, Default)]
pub(super) struct Summary {
    pub(super) runs: usize,
    /// Seed and invariant.
    pub(super) broken: Vec<(u64, String)>,
    /// Seed and the condition that was not met within the bound.
    pub(super) unmet: Vec<(u64, String)>,
    /// After the last fault, one for each run.
    pub(super) converged: Cdf,
    /// The largest bound of all runs.
    pub(super) bound: f64,
    /// After each fault, one for each pair.
    pub(super) recovered: Cdf,
    /// All pairs of different regions, in milliseconds.
    pub(super) staleness: Cdf,
    pub(super) at_home: u64,
    pub(super) elsewhere: u64,
    pub(super) failed: u64,
    /// Acknowledged writes.
    pub(super) writes: u64,
    pub(super) bytes: Bytes,
}

impl Summary {
    pub(super) fn of(runs: &[Measured]) -> Self {
        let mut out = Self { runs: runs.len(), ..Self::default() };
        for run in runs {
            out.broken.extend(run.broken.iter().map(|name| (run.seed, name.clone())));
            if run.convergence.took.is_none() {
                let unmet = run.convergence.unmet.clone().unwrap_or_else(|| "not converged within the bound".into());
                out.unmet.push((run.seed, unmet));
            }
            out.bound = out.bound.max(run.convergence.bound);
            for slice in &run.availability {
                out.at_home += slice.at_home;
                out.elsewhere += slice.elsewhere;
                out.failed += slice.failed;
            }
            for traffic in &run.traffic {
                out.bytes.add(traffic);
            }
            out.writes += writes(run);
        }
        out.converged = Cdf::of_options(runs.iter().map(|run| run.convergence.took));
        out.recovered = Cdf::of_options(runs.iter().flat_map(|run| &run.recoveries).map(|r| r.took));
        out.staleness = pool(runs, |pair| pair.from != pair.to);
        out
    }

    /// The share of requests that some region answered.
    pub(super) fn answered(&self) -> Option<f64> {
        let all = self.at_home + self.elsewhere + self.failed;
        (all > 0).then(|| (self.at_home + self.elsewhere) as f64 / all as f64)
    }

    /// The share of requests that the nearest region answered.
    pub(super) fn answered_at_home(&self) -> Option<f64> {
        let all = self.at_home + self.elsewhere + self.failed;
        (all > 0).then(|| self.at_home as f64 / all as f64)
    }

    /// Bytes between regions for each acknowledged write.
    pub(super) fn per_write(&self, bytes: u64) -> Option<f64> {
        (self.writes > 0).then(|| bytes as f64 / self.writes as f64)
    }
}

/// Acknowledged writes of a run: all requests but reads.
pub(super) fn writes(run: &Measured) -> u64 {
    run.requests.iter().filter(|r| r.kind != "read").map(|r| r.ok).sum()
}

/// The staleness of all pairs that are wanted, as one distribution.
pub(super) fn pool(runs: &[Measured], wanted: impl Fn(&Staleness) -> bool) -> Cdf {
    let pairs = || runs.iter().flat_map(|run| &run.staleness).filter(|pair| wanted(pair));
    let never = pairs().map(|pair| pair.never).sum();
    Cdf::new(pairs().flat_map(|pair| &pair.delays_ms).map(|ms| f64::from(*ms)), never)
}

/// The run whose course the plots over time show: the first with a broken invariant, otherwise the first that did
/// not converge, otherwise the slowest.
pub(super) fn telling(runs: &[Measured]) -> Option<&Measured> {
    let first = |wanted: fn(&Measured) -> bool| runs.iter().find(|run| wanted(run));
    first(|run| !run.broken.is_empty()).or_else(|| first(|run| run.convergence.took.is_none())).or_else(|| {
        let slower = |a: &&Measured, b: &&Measured| {
            let took = |run: &Measured| run.convergence.took.unwrap_or(f64::INFINITY);
            took(a).total_cmp(&took(b))
        };
        // The first of equals, so that the choice does not depend on how many runs follow.
        runs.iter().rev().max_by(slower)
    })
}

/// A region's name; its number if the run has no name for it.
pub(super) fn name(run: &Measured, region: usize) -> String {
    run.regions.get(region).cloned().unwrap_or_else(|| format!("region {region}"))
}
