//! `meridian simulate`: partition simulations, their reports, and the analysis of failures.
//!
//! Everything that happens is in [`simulations`]; this folder has the command line, files, progress and exit codes.

mod compare;
mod files;
mod maelstrom;
mod one;
mod regions;
mod run;
mod shrink;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use simulations::run::{Class, catch_panic};
use simulations::scenario::ScenarioError;

use crate::args::Usage;

const EXIT_CODES: &str = "Exit codes: 0 all invariants held; 1 something else failed; 2 wrong usage or scenario; \
    3 safety (an invariant broke); 4 liveness (no convergence within the bound); 5 determinism (one seed, two traces); \
    6 the simulator itself (a panic, or faults that never happened)";

/// Most seeds of one sweep, because the outcome of each is kept until the end. So many take days.
const MOST_SEEDS: u64 = 10_000_000;

/// The outcome of a run, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    Held = 0,
    Safety = 3,
    Liveness = 4,
    Determinism = 5,
    Simulator = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

impl From<Class> for Exit {
    fn from(class: Class) -> Exit {
        match class {
            Class::Safety => Exit::Safety,
            Class::Liveness => Exit::Liveness,
        }
    }
}

/// The commands for simulations.
#[derive(Debug, Subcommand)]
pub(crate) enum SimulateCommand {
    /// Run a scenario with one seed or many, and say whether every invariant held
    #[command(after_help = EXIT_CODES)]
    Run(RunArgs),
    /// Run the file of a failure again and say whether exactly the same happens
    #[command(after_help = EXIT_CODES)]
    Replay(ReplayArgs),
    /// Reduce a failing run to what it needs to fail, and write that as a scenario
    Shrink(ShrinkArgs),
    /// Show everything that happened to one request, in all regions
    Explain(ExplainArgs),
    /// Run two scenarios, or one with several settings, and show them side by side
    Compare(CompareArgs),
    /// Write a run's history for other tools: Jepsen's checkers, ShiViz
    Export(ExportArgs),
    /// List the names of regions that scenarios may use
    Regions(RegionsArgs),
    /// Serve one node to the Maelstrom workbench, on stdin and stdout
    Maelstrom,
}

/// The scenario.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// The scenario's file, such as simulations/scenarios/transatlantic-cut.toml
    #[arg(value_name = "FILE", value_parser = crate::args::path())]
    pub(crate) file: PathBuf,
    /// Change a key of the file: `replica.heartbeat=100ms`; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    pub(crate) settings: Vec<(String, String)>,
}

/// `simulate run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) source: Source,
    /// The seed
    #[arg(long, value_name = "S", conflicts_with = "seeds")]
    pub(crate) seed: Option<u64>,
    /// Many seeds: `A..B` (B not included), or N for 0..N
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    pub(crate) seeds: Option<std::ops::Range<u64>>,
    /// Threads; as many as there are processors if not given
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<usize>,
    /// With --seeds: start no more of them after this time
    #[arg(long, value_name = "TIME", value_parser = crate::args::duration)]
    pub(crate) budget: Option<Duration>,
    /// Continue after a failure, to count all failures
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Write figures, plots and a page into this folder
    #[arg(long, value_name = "DIR", value_parser = crate::args::path())]
    pub(crate) report: Option<PathBuf>,
    /// Write the plan of a failure into this folder
    #[arg(long, value_name = "DIR", default_value = ".", value_parser = crate::args::path())]
    pub(crate) failures: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `simulate regions`.
#[derive(Debug, Args)]
pub(crate) struct RegionsArgs {
    /// Print them as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `simulate replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// A file that `run` or `shrink` has written
    #[arg(value_name = "FILE", value_parser = crate::args::path())]
    pub(crate) file: PathBuf,
}

/// `simulate shrink`.
#[derive(Debug, Args)]
pub(crate) struct ShrinkArgs {
    #[command(flatten)]
    pub(crate) source: Source,
    /// The seed that fails; the file's own seed if it is the file of a failure
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
    /// The file to write; FILE with `.small.toml` if not given
    #[arg(long, value_name = "FILE", value_parser = crate::args::path())]
    pub(crate) out: Option<PathBuf>,
    /// Stop after this time
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = crate::args::duration)]
    pub(crate) budget: Duration,
}

/// `simulate explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) source: Source,
    /// The seed
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
    /// Number of the operation, counted from 0; without it all operations are listed
    #[arg(long, value_name = "N")]
    pub(crate) op: Option<usize>,
}

/// `simulate compare`.
#[derive(Debug, Args)]
#[command(after_help = "Example: meridian simulate compare simulations/scenarios/transatlantic-cut.toml \
    --with network.topology=mesh --with network.topology=ring --with network.topology=star --report compared")]
pub(crate) struct CompareArgs {
    /// One scenario or several
    #[arg(value_name = "FILE", required = true, value_parser = crate::args::path())]
    pub(crate) files: Vec<PathBuf>,
    /// One side of the comparison: settings, separated by commas
    #[arg(long, value_name = "KEY=VALUE,...")]
    pub(crate) with: Vec<String>,
    /// Seeds of each side: `A..B`, or N for 0..N
    #[arg(long, value_name = "A..B", default_value = "4", value_parser = seeds)]
    pub(crate) seeds: std::ops::Range<u64>,
    /// Threads
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<usize>,
    /// Write figures, plots and a page into this folder
    #[arg(long, value_name = "DIR", value_parser = crate::args::path())]
    pub(crate) report: PathBuf,
}

/// `simulate export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) source: Source,
    /// The seed
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
    /// The format
    #[arg(long, value_enum)]
    pub(crate) format: Format,
    /// The file to write; stdout if not given
    #[arg(long, value_name = "FILE", value_parser = crate::args::path())]
    pub(crate) out: Option<PathBuf>,
}

/// The formats of other tools.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Operations as Jepsen's checkers read them
    Edn,
    /// The same, one JSON object per line
    Json,
    /// Events of the replicas with vector clocks, for ShiViz (simulations/README.md has the expression to read it with)
    Shiviz,
}

/// Runs a command.
pub(crate) fn simulate(command: SimulateCommand) -> anyhow::Result<ExitCode> {
    guarded(|| match command {
        SimulateCommand::Run(args) => run::run(&args),
        SimulateCommand::Replay(args) => one::replay(&args),
        SimulateCommand::Shrink(args) => shrink::shrink(&args),
        SimulateCommand::Explain(args) => one::explain(&args),
        SimulateCommand::Compare(args) => compare::compare(&args),
        SimulateCommand::Export(args) => one::export(&args),
        SimulateCommand::Regions(args) => regions::regions(&args),
        SimulateCommand::Maelstrom => maelstrom::run(),
    })
}

/// A panic has its own exit code, so that no script takes it for a verdict. A scenario that turns out to contradict
/// itself only after its seed has drawn the rest has one too.
fn guarded(what: impl FnOnce() -> anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    match catch_panic(what) {
        // The panic was already printed with its place in the code.
        Err(_) => {
            eprintln!("the simulator or the replica panicked, so there is no verdict; the same command repeats it");
            Ok(Exit::Simulator.into())
        }
        Ok(Err(error)) if error.is::<ScenarioError>() => Err(Usage::error(format!("{error:#}"))),
        Ok(done) => done,
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not a setting; write key=value"))?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

fn seeds(text: &str) -> Result<std::ops::Range<u64>, String> {
    let wrong = || format!("`{text}` is not a range of seeds; write 0..1000, or 1000");
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    let range = match text.split_once("..") {
        Some((from, to)) => number(from)?..number(to)?,
        None => 0..number(text)?,
    };
    if range.is_empty() {
        return Err(wrong());
    }
    if range.end - range.start > MOST_SEEDS {
        return Err(format!("`{text}` has more than {MOST_SEEDS} seeds, the most that one sweep can keep in memory"));
    }
    Ok(range)
}

/// The number of threads to use.
fn jobs(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)).max(1)
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    use super::{Exit, guarded, seeds};

    #[test]
    fn seeds_are_ranges() {
        assert_eq!(seeds("5..9"), Ok(5..9));
        assert_eq!(seeds("1000"), Ok(0..1000));
        assert_eq!(seeds("18446744073709551610..18446744073709551615"), Ok(u64::MAX - 5..u64::MAX));
        for wrong in ["", "..", "9..5", "0", "x", "1..", "-1", "18446744073709551616", "0..18446744073709551615"] {
            assert!(seeds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_panic_and_a_contradiction_have_exit_codes_of_their_own() {
        let code = guarded(|| panic!("on purpose")).map(|code| format!("{code:?}"));
        assert_eq!(code.ok(), Some(format!("{:?}", ExitCode::from(Exit::Simulator))));
        let wrong = guarded(|| Ok(simulations::scenario::Scenario::parse("").map(|_| ExitCode::SUCCESS)?));
        assert!(wrong.is_err_and(|error| error.is::<crate::args::Usage>()));
    }
}
