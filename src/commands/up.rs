//! `meridian up`: a whole deployment on this machine, each node and router its own process, until Ctrl-C.
//!
//! # Invariants
//! - Only a folder that `up` itself made is ever deleted, and only processes that it started are ever killed.
//! - A node that dies stays down until a person starts it again, because this command is for trying out failures. Only
//!   a drill that killed it says when it returns.
//!
//! # Not here
//! Addresses and folders ([`layout`]), files ([`folder`]), processes ([`children`]), the demo venue ([`demo`]).

mod addresses;
mod children;
mod demo;
mod folder;
pub(crate) mod grow;
mod layout;
mod ports;
mod router_file;
mod settings;
mod walk;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use geo_router::health::quorum;
use node::config::Engine;

use self::children::{ChildEvent, Children};
use self::layout::Layout;
use crate::args::{Usage, default_data};
use crate::support::process::StopSignals;

/// How long all nodes together may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// How often `up` looks for nodes that were added.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Options of `meridian up`.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Regions, from eu-central on [default: 3, or as the folder was made]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=5))]
    regions: Option<u8>,
    /// Nodes in each region [default: 1, or as the folder was made]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: Option<u8>,
    /// Routers, each with DNS and HTTP edge; 0 for none, 2 only with --force [default: 1, or as the folder was made]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=5))]
    routers: Option<u8>,
    /// Folder for everything: configuration, certificates, logs, data
    #[arg(long, value_name = "DIR", default_value_os_t = default_data(), value_parser = crate::args::path())]
    data: PathBuf,
    /// Delete the folder first, if an earlier `up` made it
    #[arg(long)]
    fresh: bool,
    /// Start two routers all the same, although neither can decide without the other
    #[arg(long)]
    force: bool,
    /// First of the ports: public P, replication P+1, admin P+2, DNS and a node's TLS P+3 [default: 7080 to 7083, DNS 7053]
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1024..=64_000))]
    base_port: Option<u16>,
    /// Storage engine [default: sled, or as the folder was made]
    #[arg(long, value_enum)]
    engine: Option<EngineArg>,
}

/// The names of the storage engines.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum EngineArg {
    Sled,
    Fjall,
}

impl From<EngineArg> for Engine {
    fn from(arg: EngineArg) -> Self {
        match arg {
            EngineArg::Sled => Engine::Sled,
            EngineArg::Fjall => Engine::Fjall,
        }
    }
}

/// Runs a deployment until Ctrl-C or SIGTERM.
pub(crate) async fn up(args: UpArgs) -> anyhow::Result<ExitCode> {
    // Signal handlers come first, so that a signal never leaves children without a process that stops them.
    let mut signals = StopSignals::new()?;
    // Four routers decide without one of them. Two are worse than one, because they need each other.
    if args.routers == Some(2) && !args.force {
        return Err(Usage::error(
            "two routers decide nothing when one of them is gone, so a region that fails then keeps its clients: give \
             --routers 1 or --routers 3, or --force if that is what you want",
        ));
    }
    // Processes inherit this, and their files are those of guests.
    service::private::hide_new_files();
    let folder = folder::Folder::open(&args.data, args.fresh)?;
    let settings = folder.settle(args.regions, args.nodes, args.routers, args.engine.map(Engine::from))?;
    let (addresses, aliased) = addresses::choose(&settings, args.base_port);
    if !aliased {
        say!("127.0.1.x cannot be bound on this machine: all processes share 127.0.0.1 and differ by port.");
    }
    let layout = Layout::new(folder.path(), &settings, &addresses);
    ports::check_free(&layout)?;
    folder.write(&layout, &settings)?;

    let mut children = Children::start(&layout)?;
    let began = tokio::select! {
        began = begin(&layout, &mut children) => began,
        _ = signals.next() => Err(anyhow::anyhow!("stopped before all were ready")),
    };
    if let Err(error) = began {
        children.stop(std::future::pending()).await;
        return Err(error);
    }
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            event = children.next() => tell(event),
            _ = looks.tick() => children.start_added(&layout.data),
            _ = signals.next() => break,
        }
    }
    say!("\nStopping ...");
    let impatient = async move {
        signals.interrupted().await;
    };
    let clean = children.stop(impatient).await;
    say!("{}", if clean { "All stopped." } else { "Some processes did not stop normally; see their logs." });
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits until all processes are ready, makes the demo venue, and prints where everything is.
async fn begin(layout: &Layout, children: &mut Children) -> anyhow::Result<()> {
    let (nodes, routers) = (layout.nodes.len(), layout.routers.len());
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    say!(
        "Starting {nodes} node{} and {routers} router{} in {} ...",
        plural(nodes),
        plural(routers),
        layout.data.display()
    );
    children.all_ready(layout, READY_LIMIT).await?;
    grow::tell_addresses(layout).await.context("cannot tell the nodes where the added ones are now")?;
    let demo = demo::venue(layout).await.context("cannot make the demo venue")?;
    let visit = demo::visit(layout, &demo).await.context("cannot make the demo visit")?;
    walk::print(layout, &demo, &visit);
    if let Some(weakness) = quorum::weakness(&vec![None; layout.routers.len()]) {
        say!("\nWarning: {weakness}.");
    }
    Ok(())
}

fn tell(event: ChildEvent) {
    let at = jiff::Timestamp::now().strftime("%H:%M:%S UTC");
    match event {
        ChildEvent::Removed { process, how } => {
            say!("\n{at}  {} was removed from the deployment and is {how}.", process.name);
        }
        ChildEvent::Died { process, how, returns: Some(returns) } => {
            let returns = returns.strftime("%H:%M:%S UTC");
            say!(
                "\n{at}  {} died: {how}. A drill did that; it is started again at {returns} at the latest.",
                process.name
            );
        }
        ChildEvent::Replaced { process, by } => {
            say!("\n{at}  {} was replaced by process {by}; Ctrl-C here does not stop that.", process.name);
        }
        ChildEvent::Returned { process } => {
            say!("{at}  {} is started again, as the drill had ordered.", process.name);
        }
        ChildEvent::Added { process } => say!("\n{at}  {} is started: it was added to the deployment.", process.name),
        ChildEvent::Stuck { process, error } => {
            say!("\n{at}  {} cannot be started: {error}. Start it by hand with:", process.name);
            say!("  {}", process.start_line());
        }
        ChildEvent::Died { process, how, returns: None } => {
            say!("\n{at}  {} died: {how}. The others still run. Start it again with:", process.name);
            say!("  {}", process.start_line());
        }
        ChildEvent::Back { process, pid } => {
            let pid = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
            say!("{at}  {} is back{pid}, started by hand; Ctrl-C here does not stop it.", process.name);
        }
        ChildEvent::GoneAgain { process } => {
            say!("\n{at}  {} does not answer any more. Start it again with:", process.name);
            say!("  {}", process.start_line());
        }
    }
}
