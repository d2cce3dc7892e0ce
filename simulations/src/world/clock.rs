//! A wall clock that may be wrong. The monotonic clock of a machine is always right here (assumption A7).

use std::time::Duration;

/// How often a healthy clock is set right, which NTP would do gradually.
const DISCIPLINED_EVERY: Duration = Duration::from_mins(10);

/// The error of one machine's wall clock against true time.
#[derive(Clone, Debug, Default)]
pub(crate) struct WallClock {
    /// The error of a healthy clock.
    healthy_ms: i64,
    healthy_ppm: f64,
    /// Steps that were made and not taken back.
    pub(super) stepped_ms: i64,
    /// Drift beyond a healthy one: millionths, since when.
    pub(super) drifting: Option<(f64, Duration)>,
}

impl WallClock {
    #[must_use]
    pub(crate) fn new(healthy_ms: i64, healthy_ppm: f64) -> WallClock {
        WallClock { healthy_ms, healthy_ppm, ..WallClock::default() }
    }

    /// How far it is ahead of true time (negative: behind) when `elapsed` of true time has passed.
    #[must_use]
    pub(crate) fn error_ms(&self, elapsed: Duration) -> i64 {
        let since = Duration::from_nanos((elapsed.as_nanos() % DISCIPLINED_EVERY.as_nanos()) as u64);
        let drifted = |ppm: f64, over: Duration| (over.as_secs_f64() * ppm / 1_000.0) as i64;
        let wild = self.drifting.map_or(0, |(ppm, from)| drifted(ppm, elapsed.saturating_sub(from)));
        self.healthy_ms + drifted(self.healthy_ppm, since) + self.stepped_ms + wild
    }

    /// Stops a wild drift; the error so far stays until the clock is set right.
    pub(super) fn stop_drift(&mut self, elapsed: Duration) {
        if let Some((ppm, from)) = self.drifting.take() {
            self.stepped_ms += (elapsed.saturating_sub(from).as_secs_f64() * ppm / 1_000.0) as i64;
        }
    }

    /// Sets it right.
    pub(super) fn heal(&mut self) {
        self.stepped_ms = 0;
        self.drifting = None;
    }
}
