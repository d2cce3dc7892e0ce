//! `meridian router`: reads a configuration, runs one router, which may replace another one, has it read the file again on
//! SIGHUP, and stops it gracefully.
//!
//! # Not here
//! The router itself: the crate `geo_router`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use geo_router::config::RouterConfig;
use geo_router::control::{PeerKey, Reload};
use geo_router::run::{self, Start};
use service::certificates::Certificates;
use service::operators::Operators;
use service::private;

use crate::args::Usage;
use crate::support::process;

/// Options of `meridian router`.
#[derive(Debug, Args)]
pub(crate) struct RouterArgs {
    /// The router's configuration (TOML; see config/router.toml), read again on SIGHUP
    #[arg(long, value_name = "FILE", value_parser = crate::args::path())]
    config: PathBuf,
    /// Check the configuration and the files that it names (location database, certificates, keys), then exit: 0 if they
    /// are good, 2 if not
    #[arg(long)]
    check: bool,
    /// Take the listening sockets of the router that runs with the same data folder, without losing a request; that router
    /// then ends. If this one fails before it is ready, that one goes on. If none runs, start as usual
    #[arg(long, conflicts_with = "check")]
    replace: bool,
    /// Stop when standard input closes: `up` holds the other end, so its routers never outlive it
    #[arg(long, hide = true)]
    exit_with_parent: bool,
}

/// Runs a router until SIGTERM, Ctrl-C or its successor. SIGHUP makes it read its configuration file again.
pub(crate) async fn router(args: RouterArgs) -> anyhow::Result<ExitCode> {
    // From the first moment on, because SIGHUP would end a process that does not wait for it.
    let asked = process::reloads()?;
    private::hide_new_files();
    let config = RouterConfig::load(&args.config)?;
    if args.check {
        return check(&args.config, &config);
    }
    process::raise_open_files();
    let shutdown = process::shutdown(args.exit_with_parent)?;
    let start = if args.replace { Start::Replacing } else { Start::Alone };
    run::run(config, start, Reload { file: args.config, asked }, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}

/// Reads what the configuration names, so that the start that follows does not fail.
fn check(file: &Path, config: &RouterConfig) -> anyhow::Result<ExitCode> {
    fn refused(error: impl Into<anyhow::Error>) -> anyhow::Error {
        Usage::error(format!("{:#}", error.into()))
    }
    let places = run::locate(config).map_err(refused)?;
    if let Some(key) = &config.key_file {
        PeerKey::load(key).map_err(refused)?;
    }
    Operators::load(config.operators.as_deref()).context("admin.operators").map_err(refused)?;
    let edge = config.edge.as_ref().and_then(|edge| edge.tls.as_ref()).map(|(_, files)| ("edge.tls", files));
    let dns = config.dns.as_ref().and_then(|dns| dns.tls.as_ref()).map(|tls| ("dns.tls", &tls.files));
    for (key, files) in edge.into_iter().chain(dns) {
        Certificates::load(files.clone()).context(key).map_err(refused)?;
    }
    let (v4, v6) = places.size();
    let classes = places.classes().len();
    say!("{}: good (router {})", file.display(), config.name);
    say!("{} regions; {v4} IPv4 and {v6} IPv6 prefixes in {classes} classes of places", config.fleet.regions.len());
    if let Some(weakness) = config.weakness() {
        say!("warning: {weakness}");
    }
    for (node, at) in config.exposed() {
        say!(
            "warning: node {node} is reached at {at} without TLS: names, telephone numbers and secrets of guests cross the \
             network in the clear. Give the node `listen.public_tls`, and name it here as `https`."
        );
    }
    Ok(ExitCode::SUCCESS)
}
