//! Scenario files, read and written.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use simulations::run::RunOutcome;
use simulations::scenario::{Replay, Scenario};

use super::Source;
use crate::args::Usage;
use crate::support::shell;

/// Reads a scenario with its settings.
pub(super) fn read(source: &Source) -> anyhow::Result<Scenario> {
    read_with(&source.file, &source.settings)
}

/// Reads a scenario with other values for some keys.
pub(super) fn read_with(file: &Path, settings: &[(String, String)]) -> anyhow::Result<Scenario> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Usage::error(format!("cannot read {}: {error}", file.display())))?;
    let scenario = if settings.is_empty() { Scenario::parse(&text) } else { Scenario::parse_with(&text, settings) };
    scenario.map_err(|error| {
        // TOML describes a place in the file in several lines, so all causes are shown.
        let mut said = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            said = format!("{said}: {cause}");
            source = cause.source();
        }
        Usage::error(format!("{}: {}", file.display(), said.trim_end()))
    })
}

/// The seed to use: the given one, otherwise the one in the file of a failure, otherwise 0.
pub(super) fn seed(scenario: &Scenario, asked: Option<u64>) -> u64 {
    let written = scenario.replay.as_ref().and_then(|replay| replay.seed.parse().ok());
    asked.or(written).unwrap_or(0)
}

/// Whether the file of a failure was edited after it was written; `None` if the file does not allow to tell.
pub(super) fn was_edited(file: &Path, written: &Replay) -> anyhow::Result<Option<bool>> {
    let Some(plan) = written.plan else { return Ok(None) };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Some(Replay::plan_of(&text)? != plan))
}

/// The file name of a failure: scenario, verdict, seed and trace. The trace is included, because the same seed with
/// other settings is another failure.
pub(super) fn failure(folder: &Path, outcome: &RunOutcome) -> PathBuf {
    let trace = outcome.trace.to_string();
    let trace = trace.get(..8).unwrap_or(&trace);
    folder.join(format!("{}-{}-{}-{trace}.toml", outcome.plan.name, outcome.verdict(), outcome.seed))
}

/// Makes a folder and checks that files can be made in it, because an error after a run of an hour would be too late.
pub(super) fn folder(key: &str, folder: &Path) -> anyhow::Result<()> {
    let probe = folder.join(format!(".meridian-simulate-{}", std::process::id()));
    let made = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&probe, ""));
    made.and_then(|()| std::fs::remove_file(&probe)).map_err(|error| {
        Usage::error(format!("{key} {}: cannot write there ({error}); give another folder", folder.display()))
    })
}

/// Writes a scenario and makes its folder if needed.
pub(super) fn write(file: &Path, scenario: &Scenario) -> anyhow::Result<()> {
    let text = scenario.to_toml()?;
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// The command that runs the file of a failure again.
pub(super) fn replay(file: &Path) -> String {
    shell::line("meridian simulate replay", [file])
}

/// The command that runs a scenario with its settings again.
pub(super) fn run(source: &Source) -> String {
    let command = shell::line("meridian simulate run", [&source.file]);
    let settings = source.settings.iter().flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")]);
    shell::line(&command, settings)
}
