//! `meridian simulate shrink`: reduces a failing run to what it needs to fail.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use indicatif::ProgressBar;
use simulations::scenario::Scenario;

use super::{ShrinkArgs, files};
use crate::args::Usage;
use crate::support::shell;

/// Reduces a failing run and writes the result.
pub(super) fn shrink(args: &ShrinkArgs) -> anyhow::Result<ExitCode> {
    let scenario = files::read(&args.source)?;
    let seed = files::seed(&scenario, args.seed);
    let out = args.out.clone().unwrap_or_else(|| args.source.file.with_extension("small.toml"));
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    files::folder("--out", folder.unwrap_or(Path::new(".")))?;
    let plan = simulations::plan::draw(&scenario, seed);
    let size = |plan: &Scenario| {
        format!(
            "{} faults, {} operations, {} regions, {:.1?}",
            plan.faults.len(),
            plan.operations.len(),
            plan.regions.len(),
            plan.duration
        )
    };
    say!("before: {}", size(&plan));
    let bar = ProgressBar::new_spinner();
    let started = Instant::now();
    let go_on = |attempts: u32, best: &Scenario| {
        bar.set_message(format!("{attempts} attempts; {}", size(best)));
        bar.tick();
        started.elapsed() < args.budget
    };
    let shrunk = simulations::shrink::shrink(&plan, seed, &go_on)?;
    bar.finish_and_clear();
    let Some(shrunk) = shrunk else {
        return Err(Usage::error(format!("seed {seed} does not fail: there is nothing to shrink")));
    };
    files::write(&out, &shrunk.outcome.replayable())?;
    say!("after:  {} ({} attempts)", size(&shrunk.outcome.plan), shrunk.attempts);
    if let Some(broken) = &shrunk.outcome.broken {
        say!("BROKEN {} at {:.3?}: {}", broken.invariant, broken.at, broken.what);
    }
    say!("again: {}", files::replay(&out));
    say!("a request's life: {} --op 0", shell::line("meridian simulate explain", [&out]));
    Ok(ExitCode::SUCCESS)
}
