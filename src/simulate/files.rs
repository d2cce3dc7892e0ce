//! Scenario files, read and written.

use std::path::Path;

use anyhow::Context as _;
use simulations::scenario::Scenario;

use super::Source;
use crate::cli::Usage;

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
        // What TOML says of a place in the file is worth more than one line.
        let mut said = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            said = format!("{said}: {cause}");
            source = cause.source();
        }
        Usage::error(format!("{}: {}", file.display(), said.trim_end()))
    })
}

/// The seed to use: the one that was asked for, else the one in the file of a failure, else 0.
pub(super) fn seed(scenario: &Scenario, asked: Option<u64>) -> u64 {
    let written = scenario.replay.as_ref().and_then(|replay| replay.seed.parse().ok());
    asked.or(written).unwrap_or(0)
}

/// Writes a scenario; makes the folder if need be.
pub(super) fn write(file: &Path, scenario: &Scenario) -> anyhow::Result<()> {
    let text = scenario.to_toml()?;
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// `--set` as it was given, for the command that repeats a run.
pub(super) fn settings(source: &Source) -> String {
    source.settings.iter().map(|(key, value)| format!(" --set {key}={value}")).collect()
}
