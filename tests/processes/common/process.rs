//! A child process that ends with the test.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::wait::within;

/// A child that is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a command and appends its output to a file.
    pub(crate) fn logged(command: &mut Command, log: &Path) -> Process {
        let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
        Process::start(command.stdout(log.try_clone().unwrap()).stderr(log))
    }

    /// Starts a command. Its standard input stays open as long as this value lives.
    pub(crate) fn start(command: &mut Command) -> Process {
        Process { child: command.stdin(Stdio::piped()).spawn().unwrap() }
    }

    /// The process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Sends a signal. The child was not waited for yet, so the id still belongs to it.
    pub(crate) fn signal(&mut self, signal: Signal) {
        assert_eq!(self.child.try_wait().unwrap(), None, "it has ended already");
        kill(self.pid(), signal).unwrap();
    }

    /// Kills the child with SIGKILL and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
    }

    /// Whether the child still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end of the child. Returns its exit status and how long that took.
    #[track_caller]
    pub(crate) fn ended(&mut self, limit: Duration) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        let status = within("the process ends", limit, || self.child.try_wait().unwrap().ok_or("it runs"));
        (status, begun.elapsed())
    }

    /// How it has ended, if it has.
    pub(crate) fn end(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Its standard output, if it was piped.
    pub(crate) fn stdout(&mut self) -> Option<impl io::Read + use<>> {
        self.child.stdout.take()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The child may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether there is a process with this id.
pub(crate) fn exists(pid: Pid) -> bool {
    kill(pid, None).is_ok()
}
