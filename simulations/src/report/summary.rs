//! The figures of one or many runs that a page shows first. Runs are of one scenario: the same regions in the same
//! order, other seeds.

use std::collections::BTreeMap;

use super::stats::Cdf;
use super::units;
use crate::figures::{Figures, RequestCount, Staleness, Traffic};
use crate::index::NodeIndex;

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

/// Requests by how they ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Requests {
    /// Done, or shown.
    pub(super) done: u64,
    pub(super) gone: u64,
    pub(super) unknown: u64,
    pub(super) stale: u64,
    pub(super) full: u64,
    conflict: u64,
    pub(super) failed: u64,
}

impl Requests {
    fn add(&mut self, count: &RequestCount) {
        self.done += count.done;
        self.gone += count.gone;
        self.unknown += count.unknown;
        self.stale += count.stale;
        self.full += count.full;
        self.conflict += count.conflict;
        self.failed += count.failed;
    }

    pub(super) fn of(run: &Figures) -> Self {
        let mut out = Self::default();
        run.requests.iter().for_each(|count| out.add(count));
        out
    }

    fn all(&self) -> u64 {
        self.done + self.gone + self.unknown + self.stale + self.full + self.conflict + self.failed
    }

    fn share(&self, part: u64) -> Option<f64> {
        (self.all() > 0).then(|| part as f64 / self.all() as f64)
    }

    /// In words, for captions. Answers other than the requested one are named, because they may be right.
    pub(super) fn words(&self) -> String {
        let count = units::count;
        format!(
            "{} done or shown, {} gone (erased or expired), {} unknown there, {} stale, {} full, {} failed",
            count(self.done),
            count(self.gone),
            count(self.unknown),
            count(self.stale),
            count(self.full),
            count(self.failed)
        ) + &self.conflicts()
    }

    /// The check-ins under the id of another one, which only some scenarios have.
    pub(super) fn conflicts(&self) -> String {
        if self.conflict > 0 { format!(", {} in conflict", units::count(self.conflict)) } else { String::new() }
    }
}

/// One or many runs in figures.
#[derive(Clone, Debug, Default)]
pub(super) struct Summary {
    pub(super) runs: usize,
    /// Seed and invariant.
    pub(super) broken: Vec<(u64, String)>,
    /// Runs that were broken off before the final healing.
    pub(super) unhealed: u64,
    /// Seed and the condition that was not met within the bound.
    pub(super) unmet: Vec<(u64, String)>,
    /// After the final healing, one for each run.
    pub(super) converged: Cdf,
    /// The largest bound of all runs for that.
    pub(super) bound: f64,
    /// When the final healing was, in the longest run.
    pub(super) healed_at: f64,
    /// Faults that ended before it.
    pub(super) fault_ends: u64,
    /// Pairs of regions at those moments, and how many of them were behind.
    pub(super) pairs: u64,
    pub(super) behind: u64,
    /// How long these needed, one for each.
    pub(super) recovered: Cdf,
    /// All pairs of different regions, in milliseconds.
    pub(super) staleness: Cdf,
    pub(super) at_home: u64,
    pub(super) elsewhere: u64,
    /// Requests that no region answered.
    pub(super) failed: u64,
    pub(super) requests: Requests,
    /// Acknowledged writes.
    pub(super) writes: u64,
    /// Acknowledged writes that were lost by contract.
    pub(super) lost: u64,
    /// The same by region.
    pub(super) lost_in: BTreeMap<String, u64>,
    /// Erasures that came undone with those losses.
    pub(super) undone: u64,
    pub(super) bytes: Bytes,
}

impl Summary {
    pub(super) fn of(runs: &[Figures]) -> Self {
        let mut out = Self { runs: runs.len(), ..Self::default() };
        for run in runs {
            out.broken.extend(run.broken.iter().map(|name| (run.seed, name.clone())));
            out.unhealed += u64::from(run.broke_before_healing());
            if run.convergence.took.is_none() && !run.broke_before_healing() {
                let unmet = run.convergence.unmet.clone().unwrap_or_else(|| "not converged within the bound".into());
                out.unmet.push((run.seed, unmet));
            }
            out.bound = out.bound.max(run.convergence.bound);
            out.healed_at = out.healed_at.max(run.healed_at);
            out.fault_ends += run.fault_ends.len() as u64;
            for ended in &run.fault_ends {
                out.pairs += ended.pairs;
                out.behind += ended.behind;
            }
            for slice in &run.availability {
                out.at_home += slice.at_home;
                out.elsewhere += slice.elsewhere;
                out.failed += slice.failed;
            }
            for traffic in &run.traffic {
                out.bytes.add(traffic);
            }
            run.requests.iter().for_each(|count| out.requests.add(count));
            for losses in &run.losses {
                out.lost += losses.writes();
                *out.lost_in.entry(name(run, losses.region)).or_default() += losses.writes();
                out.undone += losses.undone;
            }
            out.writes += run.requests.iter().map(RequestCount::writes).sum::<u64>();
        }
        let healed = runs.iter().filter(|run| !run.broke_before_healing());
        out.converged = Cdf::of_options(healed.map(|run| run.convergence.took));
        out.recovered = Cdf::of_options(runs.iter().flat_map(|run| &run.recoveries).map(|r| r.took));
        out.staleness = pool(runs, |pair| pair.from != pair.to);
        out
    }

    /// The share of requests that were done, or shown what is there.
    pub(super) fn done(&self) -> Option<f64> {
        self.requests.share(self.requests.done)
    }

    /// The share of requests that were answered with gone, unknown there, stale, or full.
    pub(super) fn otherwise(&self) -> Option<f64> {
        let Requests { gone, unknown, stale, full, .. } = self.requests;
        self.requests.share(gone + unknown + stale + full)
    }

    /// The share of requests that no region answered.
    pub(super) fn unanswered(&self) -> Option<f64> {
        self.requests.share(self.requests.failed)
    }

    /// The share of requests that the nearest region answered.
    pub(super) fn answered_at_home(&self) -> Option<f64> {
        let all = self.at_home + self.elsewhere + self.failed;
        (all > 0).then(|| self.at_home as f64 / all as f64)
    }

    /// How many pairs were behind, so that their recovery could be measured.
    pub(super) fn behind(&self) -> String {
        format!("{} of {} pairs were behind", units::count(self.behind), units::count(self.pairs))
    }

    /// The same for a legend.
    pub(super) fn behind_in_short(&self) -> String {
        format!("behind: {} of {} pairs", units::count(self.behind), units::count(self.pairs))
    }

    /// The longest recovery; `None` if some never ended, or none was needed.
    pub(super) fn slowest_recovery(&self) -> Option<f64> {
        self.recovered.max().filter(|_| self.recovered.never() == 0)
    }

    /// Bytes between regions for each acknowledged write.
    pub(super) fn per_write(&self, bytes: u64) -> Option<f64> {
        (self.writes > 0).then(|| bytes as f64 / self.writes as f64)
    }
}

/// The staleness of all pairs that are wanted, as one distribution.
pub(super) fn pool(runs: &[Figures], wanted: impl Fn(&Staleness) -> bool) -> Cdf {
    let pairs = || runs.iter().flat_map(|run| &run.staleness).filter(|pair| wanted(pair));
    let never = pairs().map(|pair| pair.never).sum();
    Cdf::new(pairs().flat_map(|pair| &pair.delays_ms).map(|ms| f64::from(*ms)), never)
}

/// The run that the plots over time show: the first with a broken invariant, otherwise the first that did not converge,
/// otherwise the slowest.
pub(super) fn telling(runs: &[Figures]) -> Option<&Figures> {
    let first = |wanted: fn(&Figures) -> bool| runs.iter().find(|run| wanted(run));
    first(|run| !run.broken.is_empty()).or_else(|| first(|run| run.convergence.took.is_none())).or_else(|| {
        let slower = |a: &&Figures, b: &&Figures| {
            let took = |run: &Figures| run.convergence.took.unwrap_or(f64::INFINITY);
            took(a).total_cmp(&took(b))
        };
        // The first of equals, so that the choice does not depend on how many runs follow.
        runs.iter().rev().max_by(slower)
    })
}

/// A region's name; its number if the run has no name for it.
pub(super) fn name(run: &Figures, region: NodeIndex) -> String {
    run.regions.get(region.0).cloned().unwrap_or_else(|| format!("region {region}"))
}
