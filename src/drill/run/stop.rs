//! The end of a drill by an operator, or by a terminal that is gone.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// An operator who ends the drill, or a terminal that is gone.
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Stop {
    pub(super) fn new() -> std::io::Result<Stop> {
        Ok(Stop {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Which signal came.
    pub(super) async fn asked(&mut self) -> String {
        let name = tokio::select! {
            _ = self.interrupt.recv() => "Ctrl-C",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => "the terminal is gone",
        };
        format!("stopped by the operator ({name})")
    }
}
