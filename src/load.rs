//! `meridian load`: sends check-ins, corrections and erasures, measures them, and then verifies that every acknowledged
//! one is in every region.
//!
//! # Invariants
//! - Open loop by default: each operation has an intended moment and its latency counts from there. So a server that
//!   stalls is charged for every operation that was due meanwhile (no coordinated omission).
//! - Acknowledged, refused and unanswered operations are counted apart.
//!
//! # Not here
//! When the next operation is due ([`plan`]), how it is sent ([`client`], [`worker`]), what it contains ([`payload`]).

mod client;
mod ledger;
mod measure;
mod payload;
mod people;
mod plan;
mod progress;
mod report;
mod run;
mod server;
mod shared;
mod venues;
mod verify;
mod visible;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::args::{Usage, default_data, duration};
use api::client::Base;

pub(crate) use payload::Pool;
pub(crate) use shared::wall;
pub(crate) use verify::list;

/// Options of `meridian load`.
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// Public addresses of one or several regions, or of a router; connections are spread over them
    #[arg(long, value_name = "URL", value_delimiter = ',', required = true)]
    target: Vec<Base>,
    /// Operations per second, all connections together
    #[arg(long, value_name = "N", default_value_t = 500.0, conflicts_with = "max")]
    rate: f64,
    /// As fast as the connections allow (closed loop: latencies count from sending)
    #[arg(long)]
    max: bool,
    /// Connections, and so the most operations at one time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    connections: u16,
    /// How long to send, such as 10s or 5m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// Stop after so many check-ins, even if --duration has not passed
    #[arg(long, value_name = "N")]
    visits: Option<u64>,
    /// Share of operations that correct the phone number of an earlier check-in
    #[arg(long, value_name = "SHARE", default_value_t = 0.03)]
    corrections: f64,
    /// Share of operations that erase an earlier check-in, in any of the regions
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    erasures: f64,
    /// Venues to make and to spread the check-ins over
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    venues: u16,
    /// Check-in bodies to send instead of made-up ones: JSON objects, one per line or in one array
    #[arg(long, value_name = "FILE", value_parser = crate::args::path())]
    payload: Option<PathBuf>,
    /// After a transport error or a 502, 503, 504 or 507, repeat with the same id at the next target
    #[arg(long)]
    failover: bool,
    /// How long to wait for one answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    /// Client addresses to use in turn (X-Forwarded-For), for a router that trusts this machine
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    from: Vec<std::net::IpAddr>,
    /// Where to read everything back, if not at the targets: every region, if the target is a router
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    verify_at: Vec<Base>,
    /// Follow some check-ins until the guest can read them in the other regions, and show how long that takes
    #[arg(long)]
    visibility: bool,
    /// Do not read everything back at the end
    #[arg(long)]
    no_verify: bool,
    /// Longest time until the regions are complete before they are read back, and until one check-in is visible
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    verify_timeout: Duration,
    /// Seed for persons and the order of operations; random and printed if not given
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// A server process to measure (CPU, memory, disk); found automatically for a deployment of `up`
    #[arg(long, value_name = "PID")]
    server_pid: Vec<i32>,
    /// The deployment of `up` in which to look for server processes
    #[arg(long, value_name = "DIR", default_value_os_t = default_data(), value_parser = crate::args::path())]
    data: PathBuf,
    /// Print one JSON object with all figures
    #[arg(long)]
    json: bool,
}

impl LoadArgs {
    fn check(&self) -> anyhow::Result<()> {
        if !(self.rate > 0.0 && self.rate <= 10_000_000.0) {
            return Err(Usage::error("--rate must be more than 0 and at most 10000000"));
        }
        let shares = [self.corrections, self.erasures, self.corrections + self.erasures];
        if shares.iter().any(|share| !(0.0..=0.9).contains(share)) {
            return Err(Usage::error("--corrections and --erasures must be shares that leave 0.1 for check-ins"));
        }
        if self.duration.is_zero() || self.timeout.is_zero() {
            return Err(Usage::error("--duration and --timeout must be more than 0"));
        }
        Ok(())
    }
}

/// Runs the load, verifies it, reports.
pub(crate) async fn load(args: LoadArgs) -> anyhow::Result<ExitCode> {
    args.check()?;
    crate::support::process::raise_open_files();
    let seed = args.seed.unwrap_or_else(rand::random);
    let pool = match &args.payload {
        Some(file) => payload::Pool::read(file)?,
        None => payload::Pool::made_up(seed),
    };
    let read_at = if args.verify_at.is_empty() { &args.target } else { &args.verify_at };
    let venues = venues::make(&args.target, read_at, usize::from(args.venues), &pool).await?;
    let servers = server::Servers::find(&args.server_pid, &args.data, read_at);
    let before = servers.sample();
    let shared = Arc::new(shared::Shared::new(&args, seed, pool, venues));
    let ran = run::run(&shared).await?;
    let server = servers.since(&before);
    let verification =
        if args.no_verify { None } else { Some(verify::verify(&shared, &ran, args.verify_timeout, !args.json).await) };
    let report = report::Report::new(&shared, &ran, server, verification);
    if args.json {
        say!("{}", serde_json::to_string(&report)?);
    } else {
        report::print(&report);
    }
    Ok(if report.succeeded() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
