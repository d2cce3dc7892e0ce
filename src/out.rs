//! What the commands print.
//!
//! `println!` panics when nobody reads any more (`meridian status | head -1`). Here that is no reason to stop: whatever
//! was asked for is done to its end, and the exit code says how it went.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};

/// Prints a line on stdout, as `println!` does, to whoever still reads.
macro_rules! say {
    ($($text:tt)*) => { $crate::out::text(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints text on stdout. If it cannot be written for another reason than a reader who left (a full disk), the process
/// ends with code 1: what follows would be lost as well.
pub(crate) fn text(text: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("error: cannot print: {error}");
            std::process::exit(1);
        }
        _ => {}
    }
}
