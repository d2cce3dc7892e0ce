//! `meridian node`: reads a configuration, runs one node, and stops it gracefully. The parts that it shares with
//! `meridian router` are here too.
//!
//! # Not here
//! The node itself: the crate `node`.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use node::config::NodeConfig;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::cli::Usage;

/// How long a node may take to stop after its parent ended. After that it is stuck, and no parent is left to kill it.
const ORPHAN_GRACE: Duration = Duration::from_secs(20);

/// Options of `meridian node`.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// The node's configuration (TOML; see config/node.toml)
    #[arg(long, value_name = "FILE")]
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
    let config = NodeConfig::load(&args.config)?;
    let tls = &config.tls;
    let checked = node::certs::check(&tls.ca, &tls.certificate, &tls.key, &config.name);
    if args.check {
        checked.map_err(|error| Usage::error(format!("{:#}", anyhow::Error::new(error))))?;
        say!("{}: good (node {}, region {})", args.config.display(), config.name, config.region);
        return Ok(ExitCode::SUCCESS);
    }
    checked.context("peers would refuse this node (`meridian certs init` makes certificates)")?;
    raise_open_files();
    let shutdown = shutdown(args.exit_with_parent)?;
    let _pid = config.pid_file.as_deref().map(PidFile::write).transpose()?;
    node::run(config, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}

/// Resolves on SIGTERM, on Ctrl-C and, with `with_parent`, when standard input closes.
pub(crate) fn shutdown(with_parent: bool) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let orphaned = with_parent.then(parent_gone).transpose()?;
    Ok(async move {
        let reason = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            () = async { match orphaned { Some(gone) => drop(gone.await), None => std::future::pending().await } } => "parent gone",
        };
        tracing::info!(reason, "stopping");
    })
}

/// Resolves when standard input has closed.
///
/// It has its own thread, because a read of standard input can't be cancelled. On the runtime's threads it would delay
/// the exit of a node that is stopped in another way.
fn parent_gone() -> anyhow::Result<oneshot::Receiver<()>> {
    let (gone, wait) = oneshot::channel();
    std::thread::Builder::new().name("parent".to_owned()).spawn(move || {
        let mut bytes = [0; 64];
        while std::io::stdin().read(&mut bytes).is_ok_and(|n| n > 0) {}
        if gone.send(()).is_ok() {
            std::thread::sleep(ORPHAN_GRACE);
            std::process::exit(1);
        }
    })?;
    Ok(wait)
}

/// Raises this process's limit of open sockets and files to what the system allows.
pub(crate) fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::debug!(%error, soft, hard, "open files stay limited");
    }
}

/// A file with this process's id, removed when the process ends.
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    /// Writes it.
    pub(crate) fn write(path: &Path) -> anyhow::Result<Self> {
        std::fs::write(path, format!("{}\n", std::process::id()))
            .with_context(|| format!("can't write the process id to {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another node may have been started meanwhile and have written its own id.
        let own = std::fs::read_to_string(&self.0).is_ok_and(|text| text.trim() == std::process::id().to_string());
        if own && let Err(error) = std::fs::remove_file(&self.0) {
            let action = "remove the file; it names a process that has ended";
            tracing::warn!(path = %self.0.display(), %error, action, "the pid file cannot be removed");
        }
    }
}
