//! The progress line of a run: rate, p99 and errors since the last update.

use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use tokio::time::Instant;

use super::measure::histogram;
use super::shared::SharedRecorder;

/// Interval of updates: slow enough to read.
const EVERY: Duration = Duration::from_millis(500);

/// A line on standard error; none if that is not a terminal.
pub(crate) struct ProgressLine<'a> {
    recorders: &'a [SharedRecorder],
    bar: ProgressBar,
    state: RefCell<State>,
}

struct State {
    shown: Instant,
    recent: Option<Histogram<u64>>,
}

impl<'a> ProgressLine<'a> {
    /// Starts the line.
    pub(crate) fn new(wanted: bool, recorders: &'a [SharedRecorder]) -> Self {
        let recent = (wanted && std::io::stderr().is_terminal()).then(|| histogram(2).ok()).flatten();
        let bar = if recent.is_some() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        Self { recorders, bar, state: RefCell::new(State { shown: Instant::now(), recent }) }
    }

    /// Waits until the next update is due and shows it; never returns if there is no line.
    pub(crate) async fn tick(&self) {
        if self.bar.is_hidden() {
            return std::future::pending().await;
        }
        let due = self.state.borrow().shown + EVERY;
        tokio::time::sleep_until(due).await;
        let mut state = self.state.borrow_mut();
        let Some(mut recent) = state.recent.take() else { return };
        recent.reset();
        let (mut all, mut failed) = (0, 0);
        for recorder in self.recorders {
            let mut recorder = recorder.lock();
            recorder.drain_recent(&mut recent);
            all += recorder.latencies.iter().map(Histogram::len).sum::<u64>();
            failed += recorder.failed();
        }
        let rate = recent.len() as f64 / state.shown.elapsed().as_secs_f64();
        let p99 = recent.value_at_quantile(0.99) as f64 / 1_000.0;
        self.bar.set_message(format!("{rate:.0}/s   p99 {p99:.1} ms   {all} done   {failed} failed"));
        self.bar.tick();
        state.recent = Some(recent);
        state.shown = Instant::now();
    }

    /// Removes the line.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
