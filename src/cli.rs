//! The command line: names, options and help of every command. The help of a command states its outcome.
//!
//! # Not here
//! The meaning of an option: each command's options are declared beside the command.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// A guest registry that keeps accepting check-ins in every region, even when regions cannot reach each other.
///
/// Exit status: 0 done, 1 failed, 2 usage or configuration.
#[derive(Debug, Parser)]
#[command(name = "meridian", version, propagate_version = true, max_term_width = 110)]
pub(crate) struct Cli {
    /// Format of log lines; MERIDIAN_LOG filters them (default: info)
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

/// The commands of `meridian`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole deployment on this machine until Ctrl-C: regions, router, a demo venue
    Up(crate::up::UpArgs),
    /// Run one node of a region until SIGTERM; it stops without losing data
    Node(crate::serve::NodeArgs),
    /// Run one geo-router (DNS and HTTP edge) until SIGTERM
    Router(crate::router::RouterArgs),
    /// Stop sending new clients to a region, or start again
    #[command(subcommand)]
    Region(RegionCommand),
    /// Show to which region an address is sent, and why
    Explain(crate::explain::ExplainArgs),
    /// Show each node's health, lag, horizon and clock; exit 1 unless all answer and are ready
    Status(crate::status::StatusArgs),
    /// Send check-ins, corrections and erasures, measure them, then verify every acknowledged one in every region
    Load(Box<crate::load::LoadArgs>),
    /// Simulate regions, partitions, wrong clocks and failing disks, deterministically, with reports
    #[command(subcommand)]
    Simulate(crate::simulate::SimulateCommand),
    /// Make a venue
    #[command(subcommand)]
    Venue(VenueCommand),
    /// Make the certificates by which nodes recognise each other
    #[command(subcommand)]
    Certs(CertsCommand),
    /// Print a completion script for a shell
    #[command(hide = true)]
    Completions(crate::manual::CompletionsArgs),
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Man(crate::manual::ManArgs),
}

/// The commands for venues.
#[derive(Debug, Subcommand)]
pub(crate) enum VenueCommand {
    /// Make a venue and print its id, the owner's key and the check-in link
    Create(crate::venue::CreateArgs),
}

/// The commands for regions.
#[derive(Debug, Subcommand)]
pub(crate) enum RegionCommand {
    /// Send new clients elsewhere; connections and requests that exist end normally
    Drain(crate::region::DrainArgs),
    /// Take the region back into service
    Restore(crate::region::RestoreArgs),
    /// Show what operators have ordered, with author and reason
    List(crate::region::ListArgs),
}

/// The commands for certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    /// Make a private certificate authority, if there is none, and certificates for nodes
    Init(crate::certs::InitArgs),
}

/// The command line or a configuration file must be changed: exit status 2.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl Usage {
    /// An error that tells the caller what to change.
    pub(crate) fn error(message: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self(message.into()))
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The default folder of `meridian up`.
pub(crate) fn default_data() -> PathBuf {
    PathBuf::from("meridian-data")
}

/// Reads a length of time such as `10s`, `500ms` or `2m`.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || format!("`{text}` is not a length of time; write 10s, 500ms or 2m");
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    std::time::Duration::try_from(parsed).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(super::duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(super::duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(super::duration("10").is_err());
        assert!(super::duration("-1s").is_err());
    }
}
