//! How far a backup is: a spinner on a terminal, otherwise a line now and then.

use std::cell::Cell;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Time between two lines where no terminal shows a spinner.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows how far a backup is, on stderr.
pub(crate) struct Progress {
    bar: ProgressBar,
    what: String,
    told: Cell<Instant>,
}

impl Progress {
    pub(crate) fn new(what: String) -> Progress {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        // The template is fixed and valid.
        let style = ProgressStyle::with_template("{spinner} {msg}: {binary_bytes}, {binary_bytes_per_sec}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message(what.clone());
        Progress { bar, what, told: Cell::new(Instant::now()) }
    }

    /// So many bytes are done.
    pub(crate) fn at(&self, bytes: u64) {
        self.bar.set_position(bytes);
        if self.bar.is_hidden() && self.told.get().elapsed() >= LINE_EVERY {
            self.told.set(Instant::now());
            eprintln!("{}: {bytes} bytes", self.what);
        }
    }

    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
