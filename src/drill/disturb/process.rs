//! A process that `meridian up` runs: ended by a drill, and told when it returns.

use anyhow::Context as _;
use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};

use crate::drill::site::Process;
use crate::support::deployment;

impl Process {
    pub(super) fn running(&self) -> anyhow::Result<nix::unistd::Pid> {
        let file = &self.pid_file;
        deployment::running(file).with_context(|| format!("{} names no running process", file.display()))
    }

    /// Ends the process; `meridian up` starts it again at `returns`.
    pub(super) fn end(&self, signal: Signal, returns: Timestamp) -> anyhow::Result<()> {
        let pid = self.running()?;
        self.returns(returns, pid.as_raw())?;
        kill(pid, signal).with_context(|| {
            // Otherwise a later death of the process would be undone.
            let left = std::fs::remove_file(&self.return_file).map_or(", and its return stays ordered", |()| "");
            format!("cannot end process {pid}{left}")
        })
    }

    /// Tells `meridian up` when the process is started again. The file appears whole, because it is renamed into place.
    pub(super) fn returns(&self, at: Timestamp, pid: i32) -> anyhow::Result<()> {
        let file = &self.return_file;
        let new = file.with_extension("new");
        std::fs::write(&new, format!("{at} {pid}\n"))
            .and_then(|()| std::fs::rename(&new, file))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// Lets a process return at once that the drill has ended and that has not returned yet.
    pub(super) fn returns_now(&self) -> anyhow::Result<()> {
        let Some((at, pid)) = self.ordered() else { return Ok(()) };
        // A time that has passed is about to be acted upon; writing it again could outlive that.
        if at <= Timestamp::now() { Ok(()) } else { self.returns(Timestamp::now(), pid) }
    }

    /// The return that is ordered: when, and of which process.
    fn ordered(&self) -> Option<(Timestamp, i32)> {
        let text = std::fs::read_to_string(&self.return_file).ok()?;
        let (at, pid) = text.trim().split_once(' ')?;
        Some((at.parse().ok()?, pid.parse().ok()?))
    }

    /// Whether a return was ordered for a process that another one has replaced.
    pub(super) fn is_left_over(&self) -> bool {
        let running = deployment::running(&self.pid_file);
        self.ordered().is_some_and(|(at, pid)| at <= Timestamp::now() && running.is_some_and(|now| now.as_raw() != pid))
    }
}
