//! `meridian simulate maelstrom`: one node for the Maelstrom workbench, on stdin and stdout.
//!
//! Everything that the node does is in [`simulations::maelstrom`]; this file has only the process's clocks, lines and
//! randomness. Stdout carries only the protocol, and stderr the errors. The node ends with stdin.

use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use replication::{Monotonic, Now, Wall};
use simulations::maelstrom::Maelstrom;

/// Lines read ahead of the node.
const READ_AHEAD: usize = 1_024;
/// Longest wait before `init`.
const IDLE: Duration = Duration::from_secs(3_600);

/// Serves one node until stdin ends.
///
/// # Errors
/// If stdin cannot be read or stdout cannot be written.
pub(super) fn run() -> anyhow::Result<ExitCode> {
    let (sender, lines) = sync_channel(READ_AHEAD);
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || read(&sender))
        .context("cannot start a thread")?;

    let start = Instant::now();
    let mut node = Maelstrom::new(rand::random());
    let mut stdout = std::io::stdout().lock();
    loop {
        let wait = node.poll_timeout().map_or(IDLE, |at| at.0.saturating_sub(start.elapsed()));
        match lines.recv_timeout(wait) {
            Ok(line) => {
                let line = line.context("cannot read stdin")?;
                // Bytes that are not UTF-8 are not JSON either, and are reported as such.
                node.handle_line(now(start), &String::from_utf8_lossy(&line));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(ExitCode::SUCCESS),
        }
        let moment = now(start);
        if node.poll_timeout().is_some_and(|at| at <= moment.mono) {
            node.handle_timeout(moment);
        }
        while let Some(log) = node.poll_log() {
            eprintln!("{log}");
        }
        while let Some(line) = node.poll_line() {
            writeln!(stdout, "{line}").context("cannot write to stdout")?;
        }
        stdout.flush().context("cannot write to stdout")?;
    }
}

/// Passes lines on until the end of stdin, or until the receiver is gone.
fn read(sender: &SyncSender<std::io::Result<Vec<u8>>>) {
    for line in std::io::stdin().lock().split(b'\n') {
        let failed = line.is_err();
        if sender.send(line).is_err() || failed {
            return;
        }
    }
}

fn now(start: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { mono: Monotonic(start.elapsed()), wall: Wall(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)) }
}
