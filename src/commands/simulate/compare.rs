//! `meridian simulate compare`. A side is one scenario with one set of settings. Runs all sides with the same seeds and
//! writes the comparison.

use std::process::ExitCode;

use indicatif::ProgressBar;
use simulations::sweep::{Failure, SweepObserver, Swept, sweep};

use super::{CompareArgs, files, jobs, run, setting};
use crate::args::Usage;
use crate::support::shell;

struct Bar(ProgressBar);

impl SweepObserver for Bar {
    fn done(&self, _: Option<&Failure>) -> bool {
        self.0.inc(1);
        true
    }
}

/// Runs every side and writes the comparison.
pub(super) fn compare(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    let mut sides = Vec::new();
    for file in &args.files {
        let plain = args.with.is_empty().then(String::new);
        for with in args.with.iter().cloned().chain(plain) {
            let settings = with.split(',').filter(|part| !part.trim().is_empty()).map(setting);
            let settings = settings.collect::<Result<Vec<_>, _>>().map_err(Usage::error)?;
            let scenario = files::read_with(file, &settings)?;
            let label = match (args.files.len(), with.is_empty()) {
                (1, _) => with,
                (_, true) => scenario.name.clone(),
                _ => format!("{}, {with}", scenario.name),
            };
            sides.push((label, scenario));
        }
    }
    if sides.len() < 2 {
        return Err(Usage::error("there is nothing to compare; give two files, or --with at least twice"));
    }
    files::folder("--report", &args.report)?;
    let runs = (args.seeds.end - args.seeds.start).saturating_mul(sides.len() as u64);
    let bar = Bar(ProgressBar::new(runs));
    let mut figures = Vec::new();
    let mut all = Swept::default();
    for (label, scenario) in sides {
        let swept = sweep(&scenario, args.seeds.clone(), jobs(args.jobs), true, &bar)?;
        all.failures.extend(swept.failures);
        all.gaps.extend(swept.gaps);
        figures.push((label, swept.figures));
    }
    bar.0.finish_and_clear();
    let command = shell::line("meridian simulate compare", &args.files);
    let command = shell::line(&command, args.with.iter().flat_map(|with| ["--with", with]));
    let seeds = format!("--seeds {}..{} --report", args.seeds.start, args.seeds.end);
    let command = shell::line(&format!("{command} {seeds}"), [&args.report]);
    let written = simulations::report::write_comparison(&args.report, &figures, &command)?;
    say!("report: {}", written.index.display());
    if !all.failures.is_empty() {
        let failed = all.failures.len();
        eprintln!("{failed} runs failed; `meridian simulate run` with the same settings and --seeds names them");
    }
    Ok(run::exit(&all).into())
}
