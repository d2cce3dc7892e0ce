//! The command line: names, options and help of every command. The help of a command states its outcome.
//!
//! # Not here
//! The meaning of an option: each command's options are declared beside the command.

use clap::{Parser, Subcommand};

use crate::args::LogFormat;
use crate::commands::{certs, explain, fault, manual, node, operator, region, router, simulate, status, up, venue};
use crate::{drill, load};

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

/// The commands of `meridian`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole deployment on this machine until Ctrl-C: regions, router, a demo venue
    Up(up::UpArgs),
    /// Run one node of a region until SIGTERM; it stops without losing data
    Node(node::NodeArgs),
    /// Run one geo-router (DNS and HTTP edge) until SIGTERM
    Router(router::RouterArgs),
    /// Stop sending new clients to a region or start again; add and remove regions
    #[command(subcommand)]
    Region(RegionCommand),
    /// Make a node fail on purpose, for a drill; every fault ends by itself
    #[command(subcommand)]
    Fault(FaultCommand),
    /// Prove that losing a region hurts nobody: planned failures with guard rails, measurements and a report
    #[command(subcommand)]
    Drill(DrillCommand),
    /// Show what operators ordered: who, when, from where, what, why
    Audit(operator::AuditArgs),
    /// Give an operator a token
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// Show to which region an address is sent, and why
    Explain(explain::ExplainArgs),
    /// Show each node's health, lag, horizon and clock; exit 1 unless all answer and are ready
    Status(status::StatusArgs),
    /// Send check-ins, corrections and erasures, measure them, then verify every acknowledged one in every region
    Load(Box<load::LoadArgs>),
    /// Simulate regions, partitions, wrong clocks and failing disks, deterministically, with reports
    #[command(subcommand)]
    Simulate(simulate::SimulateCommand),
    /// Make a venue
    #[command(subcommand)]
    Venue(VenueCommand),
    /// Make the certificates by which nodes recognise each other
    #[command(subcommand)]
    Certs(CertsCommand),
    /// Print a completion script for a shell
    #[command(hide = true)]
    Completions(manual::CompletionsArgs),
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Man(manual::ManArgs),
}

/// The commands for venues.
#[derive(Debug, Subcommand)]
pub(crate) enum VenueCommand {
    /// Make a venue and print its id, the owner's key and the check-in link
    Create(venue::CreateArgs),
}

/// The commands for regions.
#[derive(Debug, Subcommand)]
pub(crate) enum RegionCommand {
    /// Send new clients elsewhere; connections and requests that exist end normally
    Drain(region::DrainArgs),
    /// Take the region back into service
    Restore(region::RestoreArgs),
    /// Show what operators have ordered, with author and reason
    List(region::ListArgs),
    /// Add a region to the running deployment and watch it fill; exit 0 once it holds what the others have
    Add(region::AddArgs),
    /// Remove a region for good: nothing waits for it any more
    Remove(region::RemoveArgs),
}

/// The commands for faults.
#[derive(Debug, Subcommand)]
pub(crate) enum FaultCommand {
    /// Begin a fault on one node
    Begin(fault::BeginArgs),
    /// Show the faults that are active, on all nodes
    List(fault::ListArgs),
    /// End a fault of a node, or all of them
    End(fault::EndArgs),
}

/// The commands for operators.
#[derive(Debug, Subcommand)]
pub(crate) enum OperatorCommand {
    /// Add an operator to the file that nodes and routers read, and print the token
    Add(operator::AddArgs),
}

/// The commands for drills.
#[derive(Debug, Subcommand)]
pub(crate) enum DrillCommand {
    /// Run a drill; exit 0 objectives met, 1 missed, 3 aborted by a guard rail or an operator, 4 refused
    Run(drill::RunArgs),
    /// Say whether a drill could begin now; exit 0 if it could, 4 if it would be refused
    Check(drill::CheckArgs),
}

/// The commands for certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    /// Make a private certificate authority, if there is none, and certificates for nodes
    Init(certs::InitArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
