//! Completion scripts and manual pages, made from the command line's own description.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Command};

use crate::support::shell;

/// Options of `meridian completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

/// Options of `meridian man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Folder for the pages; created if needed
    #[arg(value_parser = crate::args::path())]
    folder: PathBuf,
}

/// Prints a completion script for a command line.
pub(crate) fn completions(args: &CompletionsArgs, mut cli: Command) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli, "meridian", &mut script);
    crate::support::out::text(format_args!("{}", String::from_utf8_lossy(&script)));
    Ok(ExitCode::SUCCESS)
}

/// Writes one page for each command of a command line.
pub(crate) fn pages(args: &ManArgs, cli: Command) -> anyhow::Result<ExitCode> {
    let folder = &args.folder;
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(cli, folder))
        .with_context(|| format!("cannot write the manual into {}", folder.display()))?;
    say!("The manual is in {}: {}", folder.display(), shell::line("man -l", [folder.join("meridian.1")]));
    Ok(ExitCode::SUCCESS)
}
