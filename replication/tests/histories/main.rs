//! Generated histories of three replicas against a model that never forgets.
//!
//! Each history is a list of steps (writes, partitions, crashes, roll-backs, clock steps, a lossy network); the
//! world runs the shipped replica over the in-memory engine. After every step the safety invariants are checked,
//! at the end everything heals and the replicas must agree with the model (I1 to I8 and I11).
//!
//! Three variables of the environment change a run: `HISTORIES` (how many per test), `HISTORIES_SEED` (0 to 255, other
//! histories) and `HISTORIES_SHRINK` (how many attempts to shorten a history that failed). A run with the same three
//! draws the same histories, so running it again repeats a failure.

#![allow(clippy::unwrap_used)]

mod check;
mod model;
mod play;
mod steps;
mod world;

use std::sync::atomic::{AtomicU32, Ordering};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// Histories of one test; two tests run side by side.
const HISTORIES: u32 = 2_000;

/// A number from the environment.
fn setting(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// Runs histories drawn from `seed`; a failure prints the shrunk steps and how many histories it took.
fn run(seed: u8, steps: std::ops::Range<usize>) {
    let config = Config {
        cases: setting("HISTORIES", HISTORIES),
        max_shrink_iters: setting("HISTORIES_SHRINK", 3_000),
        failure_persistence: None,
        ..Config::default()
    };
    let mut bytes = [seed; 32];
    bytes[0] ^= u8::try_from(setting("HISTORIES_SEED", 0)).expect("at most 255");
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let count = AtomicU32::new(0);
    let first_failure = AtomicU32::new(0);
    let result = runner.run(&steps::history(steps), |history| {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        world::World::replay(&history).map_err(|broken| {
            let _ = first_failure.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
            TestCaseError::fail(broken)
        })
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, history)) => {
            panic!("caught after {} histories: {reason}\nshrunk to {history:?}", first_failure.load(Ordering::Relaxed))
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn short_histories_match_the_model() {
    run(1, 5..40);
}

#[test]
fn long_histories_match_the_model() {
    run(2, 20..80);
}
