//! `meridian simulate replay`, `explain` and `export`: one run in detail.

use std::process::ExitCode;

use anyhow::Context as _;
use simulations::history;
use simulations::index::OperationIndex;
use simulations::run::{Keep, RunOutcome};

use super::{Exit, ExplainArgs, ExportArgs, Format, ReplayArgs, files};
use crate::args::Usage;

/// Runs the file of a failure again.
pub(super) fn replay(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let scenario = files::read_with(&args.file, &[])?;
    let Some(written) = scenario.replay.clone() else {
        return Err(Usage::error(format!("{} has no [replay]; use `simulate run`", args.file.display())));
    };
    let outcome = simulations::run::run(&scenario, files::seed(&scenario, None), Keep::default())?;
    match &outcome.broken {
        Some(broken) => say!("BROKEN {} at {:.3?}: {}", broken.invariant, broken.at, broken.what),
        None => say!("all invariants held"),
    }
    if outcome.trace == written.trace {
        say!("the very same as when it was written: trace {}", outcome.trace);
        return Ok(outcome.broken.map_or(Exit::Held, |broken| broken.class().into()).into());
    }
    say!(
        "another run than when it was written ({}, trace {}): trace {}",
        written.outcome,
        written.trace,
        outcome.trace
    );
    let again = simulations::run::run(&scenario, files::seed(&scenario, None), Keep::default())?;
    if again.trace == outcome.trace {
        let why = match files::was_edited(&args.file, &written)? {
            Some(true) => "the plan was edited since",
            Some(false) => "the code has changed since",
            None => "the code has changed since, or the plan was edited",
        };
        say!("{why}; the simulator itself is deterministic");
        return Ok(outcome.broken.map_or(Exit::Held, |broken| broken.class().into()).into());
    }
    say!("and another one again: the simulator is not deterministic");
    Ok(Exit::Determinism.into())
}

fn with_history(source: &super::Source, seed: Option<u64>) -> anyhow::Result<RunOutcome> {
    let scenario = files::read(source)?;
    let keep = Keep { history: true, ..Keep::default() };
    Ok(simulations::run::run(&scenario, files::seed(&scenario, seed), keep)?)
}

/// Shows what happened to an operation.
pub(super) fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let outcome = with_history(&args.source, args.seed)?;
    let operations = &outcome.plan.operations;
    let Some(op) = args.op else {
        for (number, operation) in operations.iter().enumerate() {
            let what = operation.kind.name();
            say!(
                "{number:5}  {:>12.3?}  {what:<8} visit {:<5} venue {:<3} from {}",
                operation.at,
                operation.visit,
                operation.venue,
                operation.from
            );
        }
        return Ok(ExitCode::SUCCESS);
    };
    if op >= operations.len() {
        return Err(Usage::error(format!(
            "the run has {} operations, counted from 0; give a smaller --op",
            operations.len()
        )));
    }
    let entries = outcome.history.map(|history| history.entries).unwrap_or_default();
    for (at, line) in history::explain(&entries, &outcome.plan, OperationIndex(op)) {
        say!("{at:>14.4?}  {line}");
    }
    if let Some(broken) = &outcome.broken {
        say!("{:>14.4?}  the run ends here: {} {}", broken.at, broken.invariant, broken.what);
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a history.
pub(super) fn export(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let outcome = with_history(&args.source, args.seed)?;
    let entries = outcome.history.map(|history| history.entries).unwrap_or_default();
    let text = match args.format {
        Format::Edn => history::edn(&entries),
        Format::Json => history::json_lines(&entries),
        Format::Shiviz => history::shiviz(&entries, &outcome.plan.regions),
    };
    match &args.out {
        Some(file) => std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?,
        None => crate::support::out::text(format_args!("{text}")),
    }
    Ok(ExitCode::SUCCESS)
}
