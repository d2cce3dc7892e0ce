//! The life of a server process: its signals, its parent, its limits.

use std::io::Read as _;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

/// How long a node may take to stop after its parent ended. After that it is stuck, and no parent is left to kill it.
const ORPHAN_GRACE: Duration = Duration::from_secs(20);

/// Signals that would end a process that does not wait for them, and that are sent to it for other reasons: a log rotation
/// sends SIGHUP. A node reads its certificates and operators again by itself when their files change.
const HARMLESS: [fn() -> SignalKind; 4] =
    [SignalKind::hangup, SignalKind::user_defined1, SignalKind::user_defined2, SignalKind::alarm];

/// The signals that ask a process to stop in peace. Those in [`HARMLESS`] do nothing to it from then on.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl StopSignals {
    pub(crate) fn new() -> std::io::Result<StopSignals> {
        for kind in HARMLESS {
            // What a signal does is changed for good once a process has waited for it.
            drop(signal(kind())?);
        }
        let [terminate, interrupt, quit] =
            [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::quit())?];
        Ok(StopSignals { terminate, interrupt, quit })
    }

    /// Resolves at the next Ctrl-C.
    pub(crate) async fn interrupted(&mut self) {
        self.interrupt.recv().await;
    }

    /// Resolves with the name of the next one.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.quit.recv() => "SIGQUIT",
        }
    }
}

/// Resolves when a signal asks for it and, with `with_parent`, when standard input closes.
pub(crate) fn shutdown(with_parent: bool) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut signals = StopSignals::new()?;
    let orphaned = with_parent.then(parent_gone).transpose()?;
    Ok(async move {
        let reason = tokio::select! {
            name = signals.next() => name,
            () = async { match orphaned { Some(gone) => drop(gone.await), None => std::future::pending().await } } => "parent gone",
        };
        tracing::info!(reason, "stopping");
    })
}

/// One message for each SIGHUP from now on. Signals that come before the last one was handled count as one.
pub(crate) fn reloads() -> anyhow::Result<mpsc::Receiver<()>> {
    let mut hang_up = signal(SignalKind::hangup())?;
    let (asked, reloads) = mpsc::channel(1);
    tokio::spawn(async move {
        while hang_up.recv().await.is_some() {
            // A full channel means that the file will be read once more anyway.
            if let Err(mpsc::error::TrySendError::Closed(())) = asked.try_send(()) {
                return;
            }
        }
    });
    Ok(reloads)
}

/// Resolves when standard input has closed.
///
/// It has its own thread, because a read of standard input cannot be cancelled. On the runtime's threads it would delay
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
