//! A random plan of faults. The seed decides everything.
//!
//! # Invariants
//! - Every fault ends before the run does.
//! - At most one node has a wrong clock at one time, because the product promises nothing for more.
//! - A node has at most one fault of its process or disk at one time. Links and clocks fail independently of these, so
//!   several faults overlap.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Before the first fault.
const QUIET: u64 = 1_500;
/// Mean time between the begins of two faults.
const MEAN_GAP: f64 = 1_300.0;
/// After the end of a wrong clock, before the next clock is set wrong: the peers need some heartbeats to agree again.
const CLOCK_REST: u64 = 4_000;

/// A fault. Nodes are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL, and a start at the end.
    Kill { node: usize },
    /// SIGKILL of every node, and a start at the end.
    KillAll,
    /// SIGSTOP, and SIGCONT at the end.
    Freeze { node: usize },
    /// Nothing passes in one direction.
    Cut { from: usize, to: usize },
    /// Nothing passes between one node and all others.
    Isolate { node: usize },
    /// Everything arrives so much later.
    Delay { from: usize, to: usize, by_ms: u64 },
    /// So few bytes a second pass.
    Rate { from: usize, to: usize, bytes: u32 },
    /// The connections of a pair break; new ones can be made at once.
    Break { from: usize, to: usize },
    /// Each sync takes so much longer.
    SlowDisk { node: usize, by_ms: u64 },
    /// No sync returns.
    HungDisk { node: usize },
    /// Every write fails, and the node ends itself.
    FullDisk { node: usize },
    /// The wall clock is off.
    Clock { node: usize, by_ms: i64 },
}

impl Fault {
    /// Its name in reports.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Fault::Kill { .. } => "kill",
            Fault::KillAll => "kill of all",
            Fault::Freeze { .. } => "freeze",
            Fault::Cut { .. } => "cut in one direction",
            Fault::Isolate { .. } => "isolation",
            Fault::Delay { .. } => "delay",
            Fault::Rate { .. } => "low rate",
            Fault::Break { .. } => "broken connection",
            Fault::SlowDisk { .. } => "slow disk",
            Fault::HungDisk { .. } => "hung disk",
            Fault::FullDisk { .. } => "full disk",
            Fault::Clock { .. } => "wrong clock",
        }
    }
}

/// A fault and its time, in milliseconds after the begin of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub begin: u64,
    pub end: u64,
    pub fault: Fault,
}

/// The plan of a seed.
pub(crate) fn plan(seed: u64, nodes: usize, lasts: Duration) -> Vec<Planned> {
    let mut rng = StdRng::seed_from_u64(seed);
    let last = u64::try_from(lasts.as_millis()).unwrap();
    let mut planned = Vec::new();
    // Until when each node has a fault of its process or disk, and any node a wrong clock.
    let (mut busy, mut clock_busy) = (vec![0; nodes], 0);
    let mut at = QUIET;
    while at < last {
        let (fault, length) = draw(&mut rng, nodes);
        let end = at + rng.random_range(length);
        let concerned: Vec<usize> = match fault {
            Fault::Kill { node } | Fault::Freeze { node } | Fault::HungDisk { node } | Fault::FullDisk { node } => {
                vec![node]
            }
            Fault::SlowDisk { node, .. } => vec![node],
            Fault::KillAll => (0..nodes).collect(),
            _ => Vec::new(),
        };
        let is_free = concerned.iter().all(|node| busy[*node] <= at);
        let is_clock = matches!(fault, Fault::Clock { .. });
        if end < last && is_free && !(is_clock && clock_busy > at) {
            concerned.iter().for_each(|node| busy[*node] = end + 500);
            if is_clock {
                clock_busy = end + CLOCK_REST;
            }
            planned.push(Planned { begin: at, end, fault });
            // Exponential, so that begins sometimes fall close together.
            let gap = -MEAN_GAP * (1.0 - rng.random::<f64>()).ln();
            at += (gap as u64).min(6_000);
        } else {
            // Another fault is drawn for a moment soon after.
            at += 50;
        }
    }
    planned
}

/// A fault, and how long it may last.
fn draw(rng: &mut StdRng, nodes: usize) -> (Fault, std::ops::Range<u64>) {
    let node = rng.random_range(0..nodes);
    let (from, to) = (node, (node + rng.random_range(1..nodes)) % nodes);
    match rng.random_range(0..100) {
        0..16 => (Fault::Kill { node }, 200..5_000),
        16..19 => (Fault::KillAll, 200..1_500),
        19..29 => (Fault::Freeze { node }, 300..7_000),
        29..41 => (Fault::Cut { from, to }, 500..9_000),
        41..51 => (Fault::Isolate { node }, 500..9_000),
        51..58 => (Fault::Delay { from, to, by_ms: rng.random_range(20..1_500) }, 1_000..9_000),
        58..64 => (Fault::Rate { from, to, bytes: rng.random_range(2_000..60_000) }, 1_000..9_000),
        64..72 => (Fault::Break { from, to }, 1..2),
        72..79 => (Fault::SlowDisk { node, by_ms: rng.random_range(10..600) }, 1_000..7_000),
        79..84 => (Fault::HungDisk { node }, 500..6_000),
        84..89 => (Fault::FullDisk { node }, 300..3_000),
        _ => (Fault::Clock { node, by_ms: offset(rng) }, 1_000..8_000),
    }
}

/// An offset that the node believes, or one that makes it doubt its clock.
fn offset(rng: &mut StdRng) -> i64 {
    let size = match rng.random_range(0..3) {
        0 => rng.random_range(500..40_000),
        1 => rng.random_range(120_000..7_200_000),
        _ => rng.random_range(86_400_000..30 * 86_400_000),
    };
    if rng.random() { size } else { -size }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::{Fault, plan};
    use crate::settings::{SECONDS, SEED};

    const LASTS: Duration = Duration::from_secs(180);

    #[test]
    fn a_seed_decides_the_plan() {
        assert_eq!(plan(7, 3, LASTS), plan(7, 3, LASTS));
        assert_ne!(plan(7, 3, LASTS), plan(8, 3, LASTS));
    }

    #[test]
    fn the_run_of_ci_has_faults_of_every_kind() {
        let planned = plan(SEED, 3, Duration::from_secs(SECONDS));
        assert_eq!(planned.iter().map(|one| one.fault.kind()).collect::<BTreeSet<_>>().len(), 12, "{planned:?}");
    }

    #[test]
    fn plans_hold_what_the_product_may_assume_and_have_faults_of_every_kind_that_overlap() {
        let (mut kinds, mut most) = (BTreeSet::new(), 0);
        for seed in 0..40 {
            let planned = plan(seed, 3, LASTS);
            assert!(planned.len() > 50, "seed {seed} has {} faults", planned.len());
            assert!(planned.iter().all(|one| one.begin < one.end && u128::from(one.end) < LASTS.as_millis()));
            for (index, one) in planned.iter().enumerate() {
                kinds.insert(one.fault.kind());
                let others = planned[..index].iter().filter(|other| other.end > one.begin);
                most = most.max(others.clone().count() + 1);
                let is_clock = |fault: &Fault| matches!(fault, Fault::Clock { .. });
                assert!(!(is_clock(&one.fault) && others.clone().any(|other| is_clock(&other.fault))), "seed {seed}");
            }
        }
        assert_eq!(kinds.len(), 12, "{kinds:?}");
        assert!(most >= 4, "at most {most} at one time");
    }
}
