//! The swarm: many seeds, each with other regions, settings and faults.
//!
//! `SWARM_SEEDS=5000..9000` runs others, and so does `.ci/nightly swarm`. A failure prints the seed and what broke;
//! `meridian simulate run simulations/scenarios/swarm.toml --seed N` shows it again, `meridian simulate shrink` cuts it
//! down.
//!
//! Four smaller swarms cover situations that the large one reaches too rarely.

#![allow(clippy::unwrap_used)]

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use simulations::coverage::Coverage;
use simulations::run::{Keep, run};
use simulations::scenario::{FaultKind, Scenario};
use simulations::sweep::{Failure, SweepObserver, Swept, sweep};

fn scenario() -> Scenario {
    Scenario::parse(include_str!("../scenarios/swarm.toml")).unwrap()
}

/// Stops at the first failure.
struct First(AtomicU64);

impl SweepObserver for First {
    fn done(&self, failure: Option<&Failure>) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        failure.is_none()
    }
}

fn asked() -> Option<Range<u64>> {
    let range = std::env::var("SWARM_SEEDS").ok()?;
    let (from, to) = range.split_once("..").expect("SWARM_SEEDS=from..to");
    Some(from.parse().unwrap()..to.parse().unwrap())
}

/// Runs the seeds, or those asked for.
fn finds_nothing(scenario: &Scenario, seeds: Range<u64>) -> Swept {
    let progress = First(AtomicU64::new(0));
    let swept = sweep(scenario, asked().unwrap_or(seeds), 2, false, &progress).unwrap();
    assert!(swept.failures.is_empty(), "caught after {} seeds: {:?}", progress.0.into_inner(), swept.failures);
    assert!(swept.gaps.is_empty(), "never happened in 64 seeds in a row: {:?}", swept.gaps);
    swept
}

#[test]
fn the_swarm_of_erasures_finds_nothing() {
    let swept = finds_nothing(&Scenario::parse(include_str!("../scenarios/swarm-erasures.toml")).unwrap(), 0..125);
    if asked().is_none() {
        for wanted in [Coverage::Fault(FaultKind::TornBatch), Coverage::BatchTorn] {
            assert!(swept.coverage.get(&wanted).is_some_and(|seeds| *seeds >= 15), "{wanted:?}: {:?}", swept.coverage);
        }
    }
}

#[test]
fn the_swarm_of_rot_finds_nothing() {
    let swept = finds_nothing(&Scenario::parse(include_str!("../scenarios/swarm-rot.toml")).unwrap(), 0..75);
    if asked().is_none() {
        let rotten = swept.coverage.get(&Coverage::Fault(FaultKind::Rot));
        assert!(rotten.is_some_and(|seeds| *seeds >= 15), "{:?}", swept.coverage);
    }
}

#[test]
fn the_swarm_of_words_finds_nothing() {
    let swept = finds_nothing(&Scenario::parse(include_str!("../scenarios/swarm-words.toml")).unwrap(), 0..75);
    if asked().is_none() {
        assert!(swept.coverage.get(&Coverage::ForgotEarly).is_some_and(|seeds| *seeds >= 55), "{:?}", swept.coverage);
    }
}

#[test]
fn the_swarm_of_retentions_finds_nothing() {
    let swept = finds_nothing(&Scenario::parse(include_str!("../scenarios/swarm-retentions.toml")).unwrap(), 0..75);
    if asked().is_none() {
        for wanted in
            [Coverage::ChangedAtOnce, Coverage::RepeatAfterChange, Coverage::RepeatAfterExpiry, Coverage::OtherContent]
        {
            assert!(swept.coverage.get(&wanted).is_some_and(|seeds| *seeds >= 50), "{wanted:?}: {:?}", swept.coverage);
        }
        // Only a check-in that meets a change which its region has not heard of.
        assert!(swept.coverage.contains_key(&Coverage::SecondKey), "{:?}", swept.coverage);
    }
}

#[test]
fn the_swarm_finds_nothing() {
    let swept = finds_nothing(&scenario(), 0..250);
    if asked().is_none() {
        assert_eq!((swept.seeds, swept.twice), (250, 13));
        // What a sweep must have seen, otherwise it proves less than it says.
        for wanted in [
            Coverage::Reincarnated,
            Coverage::Doubt,
            Coverage::Forgot,
            Coverage::ErasedUnseen,
            Coverage::Conflict,
            Coverage::Stale,
            Coverage::Failover,
            Coverage::SilentLink,
            Coverage::Rest,
        ] {
            assert!(swept.coverage.get(&wanted).is_some_and(|seeds| *seeds >= 5), "{wanted:?}: {:?}", swept.coverage);
        }
        // A machine seldom dies while a batch is on its way to the disk, and few documents reach their bounds.
        for wanted in [Coverage::BatchLost, Coverage::BatchTorn, Coverage::Full, Coverage::Overfull] {
            assert!(swept.coverage.get(&wanted).is_some_and(|seeds| *seeds >= 1), "{wanted:?}: {:?}", swept.coverage);
        }
    }
}

#[test]
fn one_thread_and_two_give_the_same() {
    let of = |jobs| sweep(&scenario(), 0..24, jobs, false, &First(AtomicU64::new(0))).unwrap().trace;
    assert_eq!(of(1), of(2));
}

/// A setting of one concern does not change what others draw, so a plan can be cut down.
#[test]
fn a_fault_that_is_taken_out_leaves_the_others() {
    for seed in 0..50 {
        let plan = simulations::plan::draw(&scenario(), seed);
        let mut fewer = scenario();
        if let Some(swarm) = &mut fewer.swarm {
            swarm.faults[1] = 4;
        }
        let fewer = simulations::plan::draw(&fewer, seed);
        let key = |plan: &Scenario| plan.operations.iter().map(|one| (one.at, one.visit)).collect::<Vec<_>>();
        assert_eq!(key(&plan), key(&fewer), "seed {seed}");
    }
}

/// A plan that was written to a file and read again is the same plan.
#[test]
fn a_plan_survives_its_file() {
    for seed in 0..20 {
        let outcome = run(&scenario(), seed, Keep::default()).unwrap();
        let read = Scenario::parse(&outcome.replayable().to_toml().unwrap()).unwrap();
        let again = run(&read, seed, Keep::default()).unwrap();
        assert_eq!(again.trace, outcome.trace, "seed {seed}");
    }
}
