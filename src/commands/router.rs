//! `meridian router`: reads a configuration, runs one router, which may replace another one, has it read the file again on
//! SIGHUP, and stops it gracefully.
//!
//! # Not here
//! The router itself: the crate `geo_router`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use geo_router::config::RouterConfig;
use geo_router::control::{PeerKey, Reload};
use geo_router::run::{self, Start};
use service::private;

use crate::args::Usage;
use crate::support::process;

/// Options of `meridian router`.
#[derive(Debug, Args)]
pub(crate) struct RouterArgs {
    /// The router's configuration (TOML; see config/router.toml), read again on SIGHUP
    #[arg(long, value_name = "FILE", value_parser = crate::args::path())]
    config: PathBuf,
    /// Check the configuration, and the location database and certificates that it names, then exit: 0 if they are good, 2 if
    /// not
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
        let places = run::check(&config).map_err(|error| Usage::error(format!("{:#}", anyhow::Error::new(error))))?;
        let (v4, v6) = places.size();
        let classes = places.classes().len();
        say!("{}: good (router {})", args.config.display(), config.name);
        say!("{} regions; {v4} IPv4 and {v6} IPv6 prefixes in {classes} classes of places", config.fleet.regions.len());
        if let Some(key) = &config.key_file {
            PeerKey::load(key).map_err(|error| Usage::error(format!("{:#}", anyhow::Error::new(error))))?;
        }
        if let Some(weakness) = config.weakness() {
            say!("warning: {weakness}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    process::raise_open_files();
    let shutdown = process::shutdown(args.exit_with_parent)?;
    let start = if args.replace { Start::Replacing } else { Start::Alone };
    run::run(config, start, Reload { file: args.config, asked }, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
