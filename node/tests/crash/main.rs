//! Storage engines under kill -9 and under simulated power cuts.
//!
//! A writer process applies and syncs batches and prints the number of each one that is durable. It is killed at a
//! random moment (or the block device under it is copied, which has the effect of a power cut), and another process
//! reopens the store: every acknowledged batch must be there, and no batch in part.
//!
//! Each trial repeats this a few times; `MERIDIAN_CUTS` in the environment says how often (`.ci/nightly cuts`: 20).
//!
//! This test has its own main, because the writer and the checker are this same program, run again.

mod kill;
mod power;
mod store;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

const ENGINES: [&str; 2] = ["sled", "fjall"];

/// The number of rounds of a trial.
fn rounds(usually: usize) -> usize {
    std::env::var("MERIDIAN_CUTS").map_or(usually, |rounds| rounds.parse().expect("MERIDIAN_CUTS is a number"))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "--write", engine, folder] => return store::write(engine, folder.as_ref()),
        [_, "--check", engine, folder, least, most] => return store::check(engine, folder.as_ref(), least, most),
        _ => {}
    }
    let mut trials = Vec::new();
    for engine in ENGINES {
        trials.push(Trial::test(format!("{engine}_survives_kill_9"), move || Ok(kill::kill_at_random(engine)?)));
        trials
            .push(Trial::test(format!("{engine}_survives_power_cuts"), move || Ok(power::cuts_lose_nothing(engine)?)));
    }
    trials.push(Trial::test("power_cuts_are_noticed_when_sled_is_not_forced", || Ok(power::cuts_break_plain_sled()?)));
    // One trial at a time, because each needs the whole disk.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, trials).exit_code()
}
