//! The command line: names, options and help of every command. The help of a command states its outcome.
//!
//! # Not here
//! The meaning of an option: each command's options are declared beside the command.

use clap::{Parser, Subcommand};

use crate::args::LogFormat;
use crate::commands::{
    backup, certs, dnssec, explain, fault, manual, node, operator, region, restore, router, simulate, status, up,
    venue, verify,
};
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
    /// Take a backup of a running node, encrypted to your key; make such a key
    Backup(backup::BackupArgs),
    /// Put a backup into the empty folder of a node that does not run
    Restore(restore::RestoreArgs),
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
    /// Read the whole store of a node that does not run, and say what is damaged
    Verify(verify::VerifyArgs),
    /// Make and revoke the certificates by which nodes recognise each other
    #[command(subcommand)]
    Certs(CertsCommand),
    /// Make the keys of a signed zone, and show its DS records for the zone above
    #[command(subcommand)]
    Dnssec(DnssecCommand),
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
    /// Invite somebody to make a venue, where `registry.new_venues` is "invited"
    Invite(venue::InviteArgs),
    /// Close a venue, such as one that a stranger made
    Remove(venue::RemoveArgs),
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
    /// Refuse certificates of nodes from now on, such as stolen ones; exit 0 also if they are revoked already
    Revoke(certs::RevokeArgs),
    /// Show until when the certificates of nodes are good, and which are revoked
    List(certs::ListArgs),
}

/// The commands for a signed zone.
#[derive(Debug, Subcommand)]
pub(crate) enum DnssecCommand {
    /// Make a key
    Key(dnssec::KeyArgs),
    /// Show the DS and DNSKEY records of the keys in a router's configuration
    Ds(dnssec::DsArgs),
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::PathBuf;

    use clap::{Arg, Command, CommandFactory as _};

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    /// Every command below `command`, with its name.
    fn commands(command: &Command, name: &str, found: &mut Vec<(String, Command)>) {
        found.push((name.to_owned(), command.clone()));
        for sub in command.get_subcommands() {
            commands(sub, &format!("{name} {}", sub.get_name()), found);
        }
    }

    fn all() -> Vec<(String, Command)> {
        let mut found = Vec::new();
        commands(&super::Cli::command(), "meridian", &mut found);
        found
    }

    /// A shell has expanded `~` before a command sees it, but not in `--data=~/x`.
    #[test]
    fn no_option_takes_a_path_that_only_a_shell_understands() {
        let mut paths = 0;
        for (name, command) in all() {
            for option in command.get_arguments() {
                let parser = option.get_value_parser().clone();
                if parser.type_id() != TypeId::of::<PathBuf>() {
                    continue;
                }
                paths += 1;
                let alone = Command::new("x").arg(Arg::new("path").long("path").value_parser(parser));
                let takes = |text: &str| alone.clone().try_get_matches_from(["x", "--path", text]);
                let place = format!("{name}: {}", option.get_id());
                assert!(takes("a b").is_ok(), "{place}");
                let refused = takes("~/x").map(drop).map_err(|error| error.to_string());
                assert!(
                    refused.as_ref().is_err_and(|said| said.contains("write the whole path")),
                    "{place}: {refused:?}"
                );
            }
        }
        assert!(paths >= 25, "{paths}");
    }

    /// What every command of operators shares is declared once (`support/options.rs`), so it is worded the same.
    #[test]
    fn options_of_operators_are_the_same_everywhere() {
        let mut seen: BTreeMap<&str, BTreeSet<(String, Option<String>)>> = BTreeMap::new();
        let mut authors = BTreeSet::new();
        for (name, command) in all() {
            let find = |id: &str| command.get_arguments().find(|option| option.get_id() == id);
            let signs = find("by").is_some_and(|option| option.get_env().is_some());
            let mut note = |key: &'static str, option: &Arg| {
                let default = option.get_default_values().first().map(|text| text.to_string_lossy().into_owned());
                seen.entry(key).or_default().insert((option.get_help().unwrap_or_default().to_string(), default));
            };
            if let (true, Some(by)) = (signs, find("by")) {
                note("by", by);
                authors.insert(name.clone());
                // A drill says with its name why it runs.
                match find("reason") {
                    Some(reason) => note("reason", reason),
                    None => assert!(name.starts_with("meridian drill"), "{name} gives no reason"),
                }
            }
            if let (Some(admin), Some(data)) = (find("admin"), find("data"))
                && matches!(admin.get_action(), clap::ArgAction::Append)
            {
                note("admin", admin);
                note("data", data);
            }
        }
        assert_eq!(seen.len(), 4);
        assert!(seen.values().all(|worded| worded.len() == 1), "{seen:?}");
        assert_eq!(authors.len(), 9, "{authors:?}");
    }
}
