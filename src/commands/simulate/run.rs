//! `meridian simulate run`: one seed, or many with a progress bar.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use simulations::figures::{Figures, Losses};
use simulations::run::{Keep, RunOutcome};
use simulations::scenario::Scenario;
use simulations::sweep::{Failure, SweepObserver, Swept, sweep};

use super::{Exit, RunArgs, files, jobs};
use crate::args::Usage;
use crate::support::shell;

/// Runs the seed or the seeds.
pub(super) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    if args.budget.is_some() && args.seeds.is_none() {
        return Err(Usage::error("--budget works between two seeds; give --seeds with it, or shorten `duration`"));
    }
    let scenario = files::read(&args.source)?;
    files::folder("--failures", &args.failures)?;
    if let Some(folder) = &args.report {
        files::folder("--report", folder)?;
    }
    match &args.seeds {
        Some(seeds) => many(args, &scenario, seeds.clone()),
        None => one(args, &scenario),
    }
}

fn one(args: &RunArgs, scenario: &Scenario) -> anyhow::Result<ExitCode> {
    let seed = files::seed(scenario, args.seed);
    let started = Instant::now();
    let keep = Keep { figures: args.report.is_some(), ..Keep::default() };
    let spinner = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {elapsed} {msg}")?);
    spinner.set_message(format!("{}: {:.0?} to simulate", scenario.name, scenario.duration));
    spinner.enable_steady_tick(Duration::from_millis(200));
    let outcome = simulations::run::catch_panic(|| simulations::run::run(scenario, seed, keep));
    spinner.finish_and_clear();
    let outcome = match outcome {
        Ok(outcome) => outcome?,
        Err(panicked) => {
            eprintln!("seed {seed}: {panicked}\nagain: {}", again(args, seed));
            return Ok(Exit::Simulator.into());
        }
    };
    let took = started.elapsed();
    let without_effect = outcome.without_effect();
    if args.json {
        let value = serde_json::json!({
            "scenario": scenario.name,
            "seed": seed,
            "outcome": outcome.verdict(),
            "broken": outcome.broken,
            "converged_s": outcome.convergence.took.map(|took| took.as_secs_f64()),
            "bound_s": outcome.convergence.bound.as_secs_f64(),
            "trace": outcome.trace,
            "losses": outcome.losses,
            "events": outcome.events,
            "simulated_s": outcome.awake.as_secs_f64(),
            "real_s": took.as_secs_f64(),
            "marks": outcome.coverage,
            "without_effect": without_effect,
        });
        say!("{value:#}");
    } else {
        say(scenario, &outcome, took);
    }
    for kind in &without_effect {
        eprintln!("no effect: {kind}; what held, held without it (another time, length or region may change that)");
    }
    let mut written = Ok(());
    if outcome.broken.is_some() {
        match save(args, &outcome) {
            Ok(file) => eprintln!("again: {}", files::replay(&file)),
            Err(error) => {
                eprintln!("the plan could not be written; again: {}", again(args, seed));
                written = Err(error);
            }
        }
    }
    let exit = outcome.broken.as_ref().map_or(Exit::Held, |broken| broken.class().into());
    written = written.and(report(args, outcome.figures.into_iter().collect(), &format!("--seed {seed}")));
    ended(exit, written)
}

/// A file that cannot be written never hides a verdict.
fn ended(exit: Exit, written: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    match written {
        Err(error) if exit != Exit::Held => eprintln!("error: {error:#}"),
        written => written?,
    }
    Ok(exit.into())
}

/// The command that repeats one seed.
fn again(args: &RunArgs, seed: u64) -> String {
    format!("{} --seed {seed}", files::run(&args.source))
}

fn say(scenario: &Scenario, outcome: &RunOutcome, took: Duration) {
    let awake = outcome.awake;
    say!(
        "{} with seed {}: {} faults, {} operations",
        scenario.name,
        outcome.seed,
        outcome.plan.faults.len(),
        outcome.plan.operations.len()
    );
    match (&outcome.broken, outcome.convergence.took) {
        (None, Some(converged)) => {
            say!(
                "all invariants held; converged {converged:.2?} after everything healed (bound {:.1?})",
                outcome.convergence.bound
            );
        }
        (Some(broken), _) => {
            let region = broken.region.and_then(|region| outcome.plan.regions.get(region.0));
            say!(
                "BROKEN {} at {:.3?}{}: {}",
                broken.invariant,
                broken.at,
                region.map_or(String::new(), |region| format!(" in {region}")),
                broken.what
            );
        }
        (None, None) => {}
    }
    say!("lost by contract: {}", lost(outcome));
    say!(
        "{} events, {:.0?} simulated in {took:.2?} ({:.0} times as fast, {:.0} events per second); trace {}",
        outcome.events,
        awake,
        awake.as_secs_f64() / took.as_secs_f64(),
        outcome.events as f64 / took.as_secs_f64(),
        outcome.trace
    );
}

/// The acknowledged writes that every disk with them lost, which breaks no invariant.
fn lost(outcome: &RunOutcome) -> String {
    let all: u64 = outcome.losses.iter().map(Losses::writes).sum();
    let undone: u64 = outcome.losses.iter().map(|losses| losses.undone).sum();
    let of = |losses: &Losses| {
        let region = outcome.plan.regions.get(losses.region.0).map_or("", String::as_str);
        format!("{region} {}", losses.writes())
    };
    let regions: Vec<String> = outcome.losses.iter().map(of).collect();
    let regions = if all > 0 { format!(" ({})", regions.join(", ")) } else { String::new() };
    format!("{all} acknowledged writes{regions}; {undone} erasures came undone")
}

/// Writes the plan of a failed run, so that it can be repeated without the seed's draws.
fn save(args: &RunArgs, outcome: &RunOutcome) -> anyhow::Result<std::path::PathBuf> {
    let file = files::failure(&args.failures, outcome);
    files::write(&file, &outcome.replayable())?;
    Ok(file)
}

/// Number of failures that are described; further ones are only counted.
const TOLD: u64 = 20;
/// Interval of lines where there is no terminal for a progress bar.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Shows the progress of a sweep and reports each failure at once, because a long sweep may be stopped by hand.
struct Watch<'a> {
    args: &'a RunArgs,
    scenario: &'a Scenario,
    bar: ProgressBar,
    started: Instant,
    lines: AtomicU64,
    failed: AtomicU64,
}

impl SweepObserver for Watch<'_> {
    fn done(&self, failure: Option<&Failure>) -> bool {
        self.bar.inc(1);
        if let Some(failure) = failure {
            let failures = self.failed.fetch_add(1, Ordering::Relaxed) + 1;
            self.bar.set_message(format!("{failures} failed"));
            if failures <= TOLD {
                let told = self.bar.suspend(|| tell(self.args, self.scenario, failure));
                if let Err(error) = told {
                    self.bar.suspend(|| eprintln!("  {error:#}"));
                }
            }
        }
        self.line();
        let failures = self.failed.load(Ordering::Relaxed);
        let in_time = self.args.budget.is_none_or(|budget| self.started.elapsed() < budget);
        (self.args.keep_going || failures == 0) && in_time
    }
}

impl Watch<'_> {
    /// Prints a progress line for logs, which have no bar.
    fn line(&self) {
        let lines = self.lines.load(Ordering::Relaxed);
        let due = LINE_EVERY * u32::try_from(lines + 1).unwrap_or(u32::MAX);
        let mine = || self.lines.compare_exchange(lines, lines + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if self.bar.is_hidden() && self.started.elapsed() >= due && mine() {
            let (position, failed) = (self.bar.position(), self.failed.load(Ordering::Relaxed));
            eprintln!("{position}/{} seeds, {failed} failed", self.bar.length().unwrap_or_default());
        }
    }
}

fn many(args: &RunArgs, scenario: &Scenario, seeds: std::ops::Range<u64>) -> anyhow::Result<ExitCode> {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} seeds, {per_sec}, {eta} left {msg}")?;
    let watch = Watch {
        args,
        scenario,
        bar: ProgressBar::new(seeds.end - seeds.start).with_style(style),
        started: Instant::now(),
        lines: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    };
    // A panic of one seed is reported with its seed, not in the middle of the progress bar.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let swept = sweep(scenario, seeds.clone(), jobs(args.jobs), args.report.is_some(), &watch);
    std::panic::set_hook(hook);
    watch.bar.finish_and_clear();
    let swept = swept?;
    let took = watch.started.elapsed();
    if args.json {
        say!("{:#}", json(scenario, &swept, took));
    } else {
        summary(scenario, &swept, took);
    }
    for gap in &swept.gaps {
        eprintln!(
            "GAP: {} happened in none of {} seeds in a row; make the scenario draw it more often",
            serde_plain(gap),
            simulations::sweep::WINDOW
        );
    }
    let exit = exit(&swept);
    ended(exit, report(args, swept.figures, &format!("--seeds {}..{}", seeds.start, seeds.end)))
}

/// The worst outcome decides, because a wrong simulator makes every verdict worthless.
pub(super) fn exit(swept: &Swept) -> Exit {
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
    say!("{}: {} seeds, {} of them twice; {} failed", scenario.name, swept.seeds, swept.twice, swept.failures.len());
    say!(
        "{} events, {:.0?} simulated in {took:.1?} ({:.0} times as fast, {:.0} events per second); trace {:032x}",
        swept.events,
        swept.simulated,
        swept.simulated.as_secs_f64() / took.as_secs_f64(),
        swept.events as f64 / took.as_secs_f64(),
        swept.trace
    );
    let coverage = swept.coverage.iter().map(|(one, seeds)| format!("{} {seeds}", serde_plain(one)));
    say!("seeds in which it came up: {}", coverage.collect::<Vec<_>>().join(", "));
}

/// What came up, in the spelling of scenarios.
fn serde_plain(one: &simulations::coverage::Coverage) -> String {
    match one {
        simulations::coverage::Coverage::Fault(kind) => kind.to_string(),
        other => serde_json::to_string(other).unwrap_or_default().trim_matches('"').to_owned(),
    }
}

fn tell(args: &RunArgs, scenario: &Scenario, failure: &Failure) -> anyhow::Result<()> {
    let again = again(args, failure.seed());
    match failure {
        Failure::Broken { seed, broken } => {
            eprintln!("seed {seed}: BROKEN {} at {:.3?}: {}", broken.invariant, broken.at, broken.what);
            let outcome = simulations::run::run(scenario, *seed, Keep::default())?;
            eprintln!("  again: {}", files::replay(&save(args, &outcome)?));
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
    let coverage: std::collections::BTreeMap<String, u64> =
        swept.coverage.iter().map(|(one, seeds)| (serde_plain(one), *seeds)).collect();
    serde_json::json!({
        "scenario": scenario.name,
        "seeds": swept.seeds,
        "twice": swept.twice,
        "failures": swept.failures.iter().map(failure).collect::<Vec<_>>(),
        "gaps": swept.gaps.iter().map(serde_plain).collect::<Vec<_>>(),
        "marks": coverage,
        "events": swept.events,
        "simulated_s": swept.simulated.as_secs_f64(),
        "real_s": took.as_secs_f64(),
        "trace": format!("{:032x}", swept.trace),
    })
}

fn report(args: &RunArgs, runs: Vec<Figures>, seeds: &str) -> anyhow::Result<()> {
    if let Some(dir) = &args.report {
        let command = shell::line(&format!("{} {seeds} --report", files::run(&args.source)), [dir]);
        let written = simulations::report::write(dir, &runs, &command)?;
        eprintln!("report: {}", written.index.display());
    }
    Ok(())
}
