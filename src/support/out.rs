//! The output of commands.
//!
//! `println!` panics when its reader has gone (`meridian status | head -1`). Here that does not stop a command: it runs
//! to its end, and the exit code says how it went.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};

/// Prints a line on stdout as `println!` does, but ignores a reader that has gone.
macro_rules! say {
    ($($text:tt)*) => { $crate::support::out::text(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints text on stdout. If that fails for another reason than a reader that has gone (for example a full disk), the
/// process ends with code 1, because all later output would be lost as well.
pub(crate) fn text(text: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("error: cannot write to standard output: {error}");
            std::process::exit(1);
        }
        _ => {}
    }
}
