//! `meridian`: one binary for every role. This file starts the process and turns its outcome into an exit code.
//!
//! # Not here
//! The names of the commands ([`cli`]), and the commands ([`commands`], [`load`]).

#![warn(clippy::print_stdout)]

#[macro_use]
mod support;

mod args;
mod cli;
mod commands;
mod drill;
mod load;

use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};

use service::config::ConfigError;

use crate::args::Usage;
use crate::cli::{
    CertsCommand, Cli, Command, DnssecCommand, DrillCommand, FaultCommand, OperatorCommand, RegionCommand, VenueCommand,
};
use crate::commands::{
    backup, certs, dnssec, explain, fault, manual, node, operator, region, restore, router, simulate, status, up,
    venue, verify,
};
use crate::support::logging;

// Each request allocates and frees many small values in many threads. The system's allocator is slower at that and
// returns memory late.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if is_usage(&error) { 2 } else { 1 })
        }
    }
}

/// Whether the caller has to change the command line or a configuration file.
fn is_usage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Usage>() || cause.is::<ConfigError>())
}

fn start(cli: Cli) -> anyhow::Result<ExitCode> {
    if let Command::Simulate(command) = cli.command {
        // The simulator writes no log lines and runs millions of merges, so it starts without logging.
        return simulate::simulate(command);
    }
    logging::init(cli.log_format)?;
    match cli.command {
        Command::Completions(args) => return manual::completions(&args, Cli::command()),
        Command::Man(args) => return manual::pages(&args, Cli::command()),
        Command::Certs(CertsCommand::Init(args)) => return certs::init(&args),
        Command::Certs(CertsCommand::Revoke(args)) => return certs::revoke(&args),
        Command::Certs(CertsCommand::List(args)) => return certs::list(&args),
        Command::Dnssec(DnssecCommand::Key(args)) => return dnssec::key(&args),
        Command::Dnssec(DnssecCommand::Ds(args)) => return dnssec::ds(&args),
        Command::Verify(args) => return verify::run(&args),
        Command::Operator(OperatorCommand::Add(args)) => return operator::add(&args),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Up(args) => up::up(args).await,
            Command::Node(args) => node::node(args).await,
            Command::Router(args) => router::router(args).await,
            Command::Region(RegionCommand::Drain(args)) => region::drain(args).await,
            Command::Region(RegionCommand::Restore(args)) => region::restore(args).await,
            Command::Region(RegionCommand::List(args)) => region::list(args).await,
            Command::Region(RegionCommand::Add(args)) => region::add(args).await,
            Command::Region(RegionCommand::Remove(args)) => region::remove(args).await,
            Command::Fault(FaultCommand::Begin(args)) => fault::begin(args).await,
            Command::Fault(FaultCommand::List(args)) => fault::list(args).await,
            Command::Fault(FaultCommand::End(args)) => fault::end(args).await,
            Command::Drill(DrillCommand::Run(args)) => drill::run(args).await,
            Command::Drill(DrillCommand::Check(args)) => drill::check(args).await,
            Command::Backup(args) => backup::backup(args).await,
            Command::Restore(args) => restore::restore(args).await,
            Command::Audit(args) => operator::audit(args).await,
            Command::Explain(args) => explain::explain(args).await,
            Command::Status(args) => status::status(args).await,
            Command::Load(args) => load::load(*args).await,
            Command::Venue(VenueCommand::Create(args)) => venue::create(args).await,
            Command::Venue(VenueCommand::Invite(args)) => venue::invite(args).await,
            Command::Venue(VenueCommand::Remove(args)) => venue::remove(args).await,
            Command::Completions(_)
            | Command::Man(_)
            | Command::Certs(_)
            | Command::Dnssec(_)
            | Command::Verify(_)
            | Command::Operator(_)
            | Command::Simulate(_) => Ok(ExitCode::SUCCESS),
        }
    });
    // A blocking call that never returns must not keep the process alive.
    runtime.shutdown_timeout(Duration::from_secs(2));
    outcome
}
