//! `meridian node`: reads a configuration, runs one node, and stops it gracefully.
//!
//! # Not here
//! The node itself: the crate `node`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use ::node::config::NodeConfig;
use ::node::metrics::Metrics;
use anyhow::Context as _;
use clap::Args;
use service::certificates::Certificates;
use service::private;

use crate::args::Usage;
use crate::drill;
use crate::support::process::{raise_open_files, shutdown};

/// Options of `meridian node`.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// The node's configuration (TOML; see config/node.toml)
    #[arg(long, value_name = "FILE", value_parser = crate::args::path())]
    config: PathBuf,
    /// Check the configuration and the certificates that it names, then exit: 0 if they are good, 2 if not
    #[arg(long)]
    check: bool,
    /// Stop when standard input closes: `up` holds the other end, so its nodes never outlive it
    #[arg(long, hide = true)]
    exit_with_parent: bool,
}

/// Runs a node until SIGTERM or Ctrl-C.
pub(crate) async fn node(args: NodeArgs) -> anyhow::Result<ExitCode> {
    private::hide_new_files();
    let config = NodeConfig::load(&args.config)?;
    let checked = config.tls.check(&config.name);
    if args.check {
        checked.map_err(|error| Usage::error(format!("{:#}", anyhow::Error::new(error))))?;
        for key in &config.registry.console_keys {
            private::check_key(key).map_err(|error| Usage::error(format!("registry.console_keys: {error}")))?;
        }
        if config.listen.public_tls.is_some() {
            let read = Certificates::load(config.public_certificate.clone()).context("listen.public_tls");
            read.map_err(|error| Usage::error(format!("{error:#}")))?;
        }
        say!("{}: good (node {}, region {})", args.config.display(), config.name, config.region);
        let plain: Vec<String> = config.plain_addresses().map(|address| address.to_string()).collect();
        if !plain.is_empty() {
            say!(
                "warning: listen.public = {} takes clients of other machines without TLS: names, telephone numbers and \
                 secrets of guests cross the network in the clear. Set `listen.public_tls` for routers and clients, and \
                 keep `listen.public` on this machine.",
                plain.join(", ")
            );
        }
        return Ok(ExitCode::SUCCESS);
    }
    checked.context("this node could not link to its peers (`meridian certs init` makes certificates)")?;
    raise_open_files();
    let shutdown = shutdown(args.exit_with_parent)?;
    let metrics = Arc::new(Metrics::new()?);
    // Read at the start, otherwise the operator would hear of a mistake in a drill only at its first check.
    let watched = drill::watch(&config.drills.check, config.drills.every, metrics.clone())?;
    tokio::select! {
        ran = ::node::run(config, metrics, shutdown) => ran?,
        () = watched => {}
    }
    Ok(ExitCode::SUCCESS)
}
