//! `meridian simulate run`: one seed, or many with a progress bar.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use simulations::measure::Measured;
use simulations::run::{Keep, Outcome};
use simulations::scenario::Scenario;
use simulations::sweep::{Failure, Progress, Swept, sweep};

use super::{Exit, RunArgs, files, jobs};

/// Runs what was asked for.
pub(super) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let scenario = files::read(&args.source)?;
    match &args.seeds {
        Some(seeds) => many(args, &scenario, seeds.clone()),
        None => one(args, &scenario),
    }
}

fn one(args: &RunArgs, scenario: &Scenario) -> anyhow::Result<ExitCode> {
    let seed = files::seed(scenario, args.seed);
    let started = Instant::now();
    let keep = Keep { measured: args.report.is_some(), ..Keep::default() };
    let outcome = simulations::run::run(scenario, seed, keep)?;
    let took = started.elapsed();
    let failure = outcome.broken.is_some().then(|| save(args, &outcome)).transpose()?;
    if args.json {
        let value = serde_json::json!({
            "scenario": scenario.name,
            "seed": seed,
            "outcome": outcome.verdict(),
            "broken": outcome.broken,
            "converged_s": outcome.convergence.took.map(|took| took.as_secs_f64()),
            "bound_s": outcome.convergence.bound.as_secs_f64(),
            "trace": outcome.trace,
            "events": outcome.events,
            "simulated_s": outcome.elapsed.as_secs_f64(),
            "real_s": took.as_secs_f64(),
            "marks": outcome.marks,
        });
        println!("{value:#}");
    } else {
        say(scenario, &outcome, took);
    }
    if let Some(failure) = failure {
        eprintln!("again: meridian simulate replay {}", failure.display());
    }
    let exit = outcome.broken.as_ref().map_or(Exit::Held, |broken| broken.class().into());
    report(args, outcome.measured.into_iter().collect(), &format!("--seed {seed}"))?;
    Ok(exit.into())
}

fn say(scenario: &Scenario, outcome: &Outcome, took: Duration) {
    let awake = outcome.plan.duration + outcome.convergence.took.unwrap_or_default();
    println!(
        "{} with seed {}: {} faults, {} operations",
        scenario.name,
        outcome.seed,
        outcome.plan.faults.len(),
        outcome.plan.operations.len()
    );
    match (&outcome.broken, outcome.convergence.took) {
        (None, Some(converged)) => {
            println!(
                "all invariants held; converged {converged:.2?} after everything healed (bound {:.1?})",
                outcome.convergence.bound
            );
        }
        (Some(broken), _) => {
            let region = broken.region.and_then(|region| outcome.plan.regions.get(region));
            println!(
                "BROKEN {} at {:.3?}{}: {}",
                broken.invariant,
                broken.at,
                region.map_or(String::new(), |region| format!(" in {region}")),
                broken.what
            );
        }
        (None, None) => {}
    }
    println!(
        "{} events, {:.0?} simulated in {took:.2?} ({:.0} times as fast, {:.0} events per second); trace {}",
        outcome.events,
        awake,
        awake.as_secs_f64() / took.as_secs_f64(),
        outcome.events as f64 / took.as_secs_f64(),
        outcome.trace
    );
}

/// Writes the plan of a run that failed, so that it can be repeated without the seed's draws.
fn save(args: &RunArgs, outcome: &Outcome) -> anyhow::Result<std::path::PathBuf> {
    let file = args.failures.join(format!("{}-{}-{}.toml", outcome.plan.name, outcome.verdict(), outcome.seed));
    files::write(&file, &outcome.replayable())?;
    Ok(file)
}

struct Bar {
    bar: ProgressBar,
    failed: AtomicU64,
    deadline: Option<Instant>,
    keep_going: bool,
}

impl Progress for Bar {
    fn done(&self, _seed: u64, failed: bool) -> bool {
        let failures = self.failed.fetch_add(u64::from(failed), Ordering::Relaxed) + u64::from(failed);
        self.bar.inc(1);
        self.bar.set_message(if failures == 0 { String::new() } else { format!("{failures} failed") });
        (self.keep_going || failures == 0) && self.deadline.is_none_or(|deadline| Instant::now() < deadline)
    }
}

fn many(args: &RunArgs, scenario: &Scenario, seeds: std::ops::Range<u64>) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} seeds, {per_sec}, {eta} left {msg}")?;
    let bar = Bar {
        bar: ProgressBar::new(seeds.end - seeds.start).with_style(style),
        failed: AtomicU64::new(0),
        deadline: args.budget.map(|budget| started + budget),
        keep_going: args.keep_going,
    };
    // A panic of one seed is reported with its seed, not in the middle of the bar.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let swept = sweep(scenario, seeds.clone(), jobs(args.jobs), args.report.is_some(), &bar);
    std::panic::set_hook(hook);
    bar.bar.finish_and_clear();
    let swept = swept?;
    let took = started.elapsed();
    if args.json {
        println!("{:#}", json(scenario, &swept, took));
    } else {
        summary(scenario, &swept, took);
    }
    for failure in swept.failures.iter().take(20) {
        tell(args, scenario, failure)?;
    }
    for kind in &swept.gaps {
        eprintln!(
            "GAP: {kind} happened in none of {} seeds in a row; draw more faults of it",
            simulations::sweep::WINDOW
        );
    }
    let exit = exit(&swept);
    report(args, swept.measured, &format!("--seeds {}..{}", seeds.start, seeds.end))?;
    Ok(exit.into())
}

/// What is worst decides: a simulator that is wrong proves nothing.
fn exit(swept: &Swept) -> Exit {
    let of = |failure: &Failure| match failure {
        Failure::Broken { broken, .. } => broken.class().into(),
        Failure::Undetermined { .. } => Exit::Determinism,
        Failure::Panicked { .. } => Exit::Simulator,
    };
    let gap = (!swept.gaps.is_empty()).then_some(Exit::Simulator);
    let worst = [Exit::Simulator, Exit::Determinism, Exit::Safety, Exit::Liveness];
    let all: Vec<Exit> = swept.failures.iter().map(of).chain(gap).collect();
    worst.into_iter().find(|exit| all.contains(exit)).unwrap_or(Exit::Held)
}

fn summary(scenario: &Scenario, swept: &Swept, took: Duration) {
    println!(
        "{}: {} seeds, {} of them twice; {} failed",
        scenario.name,
        swept.seeds,
        swept.twice,
        swept.failures.len()
    );
    println!(
        "{} events, {:.0?} simulated in {took:.1?} ({:.0} times as fast, {:.0} events per second); trace {:032x}",
        swept.events,
        swept.simulated,
        swept.simulated.as_secs_f64() / took.as_secs_f64(),
        swept.events as f64 / took.as_secs_f64(),
        swept.trace
    );
    let marks = swept.marks.iter().map(|(mark, seeds)| format!("{} {seeds}", serde_plain(mark)));
    println!("seeds in which it came up: {}", marks.collect::<Vec<_>>().join(", "));
}

/// A mark as scenarios write it.
fn serde_plain(mark: &simulations::world::Mark) -> String {
    match mark {
        simulations::world::Mark::Fault(kind) => kind.to_string(),
        other => serde_json::to_string(other).unwrap_or_default().trim_matches('"').to_owned(),
    }
}

fn tell(args: &RunArgs, scenario: &Scenario, failure: &Failure) -> anyhow::Result<()> {
    let again = format!(
        "meridian simulate run {}{} --seed {}",
        args.source.file.display(),
        files::settings(&args.source),
        failure.seed()
    );
    match failure {
        Failure::Broken { seed, broken } => {
            eprintln!("seed {seed}: BROKEN {} at {:.3?}: {}", broken.invariant, broken.at, broken.what);
            let outcome = simulations::run::run(scenario, *seed, Keep::default())?;
            eprintln!("  again: meridian simulate replay {}", save(args, &outcome)?.display());
        }
        Failure::Undetermined { seed, traces: [one, two] } => {
            eprintln!("seed {seed}: two runs differ: {one} and {two}\n  again: {again}");
        }
        Failure::Panicked { seed, said } => eprintln!("seed {seed}: panicked: {said}\n  again: {again}"),
    }
    Ok(())
}

fn json(scenario: &Scenario, swept: &Swept, took: Duration) -> serde_json::Value {
    let failure = |failure: &Failure| match failure {
        Failure::Broken { seed, broken } => serde_json::json!({ "seed": seed, "kind": "broken", "broken": broken }),
        Failure::Undetermined { seed, traces } => {
            serde_json::json!({ "seed": seed, "kind": "undetermined", "traces": traces })
        }
        Failure::Panicked { seed, said } => serde_json::json!({ "seed": seed, "kind": "panicked", "said": said }),
    };
    let marks: std::collections::BTreeMap<String, u64> =
        swept.marks.iter().map(|(mark, seeds)| (serde_plain(mark), *seeds)).collect();
    serde_json::json!({
        "scenario": scenario.name,
        "seeds": swept.seeds,
        "twice": swept.twice,
        "failures": swept.failures.iter().map(failure).collect::<Vec<_>>(),
        "gaps": swept.gaps,
        "marks": marks,
        "events": swept.events,
        "simulated_s": swept.simulated.as_secs_f64(),
        "real_s": took.as_secs_f64(),
        "trace": format!("{:032x}", swept.trace),
    })
}

fn report(args: &RunArgs, runs: Vec<Measured>, seeds: &str) -> anyhow::Result<()> {
    if let Some(dir) = &args.report {
        let file = args.source.file.display();
        let command =
            format!("meridian simulate run {file}{} {seeds} --report {}", files::settings(&args.source), dir.display());
        let written = simulations::report::write(dir, &runs, &command)?;
        eprintln!("report: {}", written.index.display());
    }
    Ok(())
}
