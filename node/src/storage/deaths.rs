//! A store that ends the process which opens or reads it.
//!
//! # The problem
//! An engine may believe a damaged length and ask for more memory than there is, as fjall 3.1 does. That ends the process
//! before it can leave a note for the next one, and the node would be started in vain again and again.
//!
//! # The algorithm
//! 1. Each start adds one to the number in the file `starts`, and a clean stop removes the file.
//! 2. Each [`FOURTH`] start in a row, if each came soon after the one before, first has the store read by another process
//!    (`meridian verify`). Not each later start, because a supervisor may kill the node for starting slowly.
//! 3. If a fault ends that process as well, the whole store is to be set aside. A supervisor that kills the node proves
//!    nothing, so SIGKILL and SIGTERM do not count.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

const STARTS_FILE: &str = "starts";
/// Of so many starts in a row, the last has another process read the store.
const FOURTH: u32 = 4;
/// A start that comes later than this has nothing to do with the one before.
const SOON: Duration = Duration::from_mins(10);

/// Notes a start. Returns whether the store ends the processes that read it.
pub(super) fn is_deadly(data: &Path) -> bool {
    let file = data.join(STARTS_FILE);
    let is_soon = || fs::metadata(&file)?.modified().map(|at| at.elapsed().is_ok_and(|ago| ago < SOON));
    let before = if is_soon().unwrap_or(false) { fs::read_to_string(&file).ok() } else { None };
    let starts = before.and_then(|text| text.trim().parse::<u32>().ok()).unwrap_or(0).saturating_add(1);
    // Without the note, on a full disk for example, a store that is deadly is found later.
    let _ = fs::write(&file, starts.to_string());
    if !starts.is_multiple_of(FOURTH) {
        return false;
    }
    tracing::warn!(starts, "the node did not stop cleanly several times: another process reads the whole store first");
    match reads(data) {
        Ok(ended_by) => ended_by.is_some_and(|signal| {
            tracing::error!(%signal, "a process that read the store was ended by a fault");
            true
        }),
        Err(error) => {
            tracing::warn!(%error, "no other process could read the store");
            false
        }
    }
}

/// Forgets the starts, because the node stopped as it should.
pub(crate) fn stopped_well(data: &Path) {
    let _ = fs::remove_file(data.join(STARTS_FILE));
}

/// Has another process read the store. Returns the fault that ended it.
fn reads(data: &Path) -> io::Result<Option<Signal>> {
    let mut reader = Command::new(std::env::current_exe()?);
    let reader = reader.arg("verify").arg(data).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let signal = reader.status()?.signal().and_then(|number| Signal::try_from(number).ok());
    let faults = [Signal::SIGABRT, Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGTRAP, Signal::SIGFPE];
    Ok(signal.filter(|signal| faults.contains(signal)))
}
