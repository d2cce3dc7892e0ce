//! The measurements of one connection: latencies by kind of operation, and failures by cause.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Longer latencies are counted as this one.
const LONGEST: Duration = Duration::from_secs(3_600);

/// A kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// `PUT` of a new visit.
    CheckIn,
    /// `PATCH` of a phone number.
    Correction,
    /// `DELETE` of a visit.
    Erasure,
}

impl Kind {
    /// All of them, in the order of reports.
    pub(crate) const ALL: [Kind; 3] = [Kind::CheckIn, Kind::Correction, Kind::Erasure];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::CheckIn => "check-in",
            Kind::Correction => "correction",
            Kind::Erasure => "erasure",
        })
    }
}

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RequestOutcome {
    /// The server answered.
    Status(u16),
    /// No connection: the request had no effect.
    NoConnection,
    /// The connection broke: the request may have had an effect.
    NoAnswer,
    /// No answer came in time: the request may have had an effect.
    TimedOut,
}

impl RequestOutcome {
    /// The operation is acknowledged.
    pub(crate) fn is_success(self) -> bool {
        matches!(self, RequestOutcome::Status(200..=299))
    }

    /// Whether the request may have had an effect that was not acknowledged.
    pub(crate) fn is_unknown(self) -> bool {
        // 507 says that nothing was written.
        let is_refusal = matches!(self, RequestOutcome::Status(507));
        !is_refusal
            && matches!(self, RequestOutcome::Status(500..=599) | RequestOutcome::NoAnswer | RequestOutcome::TimedOut)
    }

    /// Whether another region may succeed.
    pub(crate) fn is_retryable(self) -> bool {
        !matches!(self, RequestOutcome::Status(status) if !matches!(status, 502..=504 | 507))
    }
}

impl fmt::Display for RequestOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestOutcome::Status(status) => write!(f, "{status}"),
            RequestOutcome::NoConnection => f.write_str("no connection"),
            RequestOutcome::NoAnswer => f.write_str("no answer"),
            RequestOutcome::TimedOut => f.write_str("timed out"),
        }
    }
}

/// Latencies in microseconds and counts.
pub(crate) struct Recorder {
    /// One histogram for each of [`Kind::ALL`].
    pub(crate) latencies: [Histogram<u64>; 3],
    /// Of answers that refuse an operation.
    pub(crate) refusals: Histogram<u64>,
    /// Operations that finally failed.
    pub(crate) failures: BTreeMap<(Kind, RequestOutcome), u64>,
    /// Attempts that were repeated at another target.
    pub(crate) retries: BTreeMap<RequestOutcome, u64>,
    /// Check-ins that the server had already (200 instead of 201).
    pub(crate) repeats: u64,
    /// Latencies since the last look, for the progress line.
    recent: Histogram<u64>,
}

/// A histogram of microseconds that grows with its largest value. Only an invalid precision is an error, and ours are
/// valid.
pub(crate) fn histogram(digits: u8) -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new(digits)?)
}

impl Recorder {
    /// No measurements yet.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            latencies: [histogram(3)?, histogram(3)?, histogram(3)?],
            refusals: histogram(3)?,
            failures: BTreeMap::new(),
            retries: BTreeMap::new(),
            repeats: 0,
            recent: histogram(2)?,
        })
    }

    /// Records an acknowledged operation.
    pub(crate) fn success(&mut self, kind: Kind, latency: Duration) {
        let us = micros(latency);
        // Not `saturating_record`, because that caps values at the present size of the histogram, while `record` lets
        // it grow.
        let _ = self.latencies[kind as usize].record(us);
        let _ = self.recent.record(us);
    }

    /// Records an operation that finally failed.
    pub(crate) fn failure(&mut self, kind: Kind, outcome: RequestOutcome, latency: Duration) {
        if let RequestOutcome::Status(_) = outcome {
            let _ = self.refusals.record(micros(latency));
        }
        *self.failures.entry((kind, outcome)).or_default() += 1;
    }

    /// Records an attempt that is repeated at another target.
    pub(crate) fn retry(&mut self, outcome: RequestOutcome) {
        *self.retries.entry(outcome).or_default() += 1;
    }

    /// Adds the latencies since the last call to `sum`.
    pub(crate) fn drain_recent(&mut self, sum: &mut Histogram<u64>) {
        // Both histograms grow automatically, so no value is out of range.
        let _ = sum.add(&self.recent);
        self.recent.reset();
    }

    /// Adds the measurements of another connection.
    pub(crate) fn add(&mut self, other: &Recorder) {
        for (sum, one) in self.latencies.iter_mut().zip(&other.latencies) {
            let _ = sum.add(one);
        }
        let _ = self.refusals.add(&other.refusals);
        for (key, count) in &other.failures {
            *self.failures.entry(*key).or_default() += count;
        }
        for (key, count) in &other.retries {
            *self.retries.entry(*key).or_default() += count;
        }
        self.repeats += other.repeats;
    }

    /// Operations that finally failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

fn micros(latency: Duration) -> u64 {
    u64::try_from(latency.min(LONGEST).as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Kind, Recorder, RequestOutcome};

    #[test]
    fn long_latencies_are_not_cut_off() {
        let (mut one, mut sum) = (Recorder::new().unwrap(), Recorder::new().unwrap());
        one.success(Kind::CheckIn, Duration::from_micros(80));
        one.success(Kind::CheckIn, Duration::from_secs(90));
        one.failure(Kind::Erasure, RequestOutcome::TimedOut, Duration::from_secs(10));
        one.failure(Kind::Erasure, RequestOutcome::Status(503), Duration::from_millis(1));
        sum.add(&one);
        let latencies = &sum.latencies[0];
        assert_eq!((latencies.len(), sum.latencies[2].len(), sum.failed(), sum.refusals.len()), (2, 0, 2, 1));
        assert!((89_900_000..=90_100_000).contains(&latencies.max()), "{}", latencies.max());
        let mut recent = super::histogram(2).unwrap();
        one.drain_recent(&mut recent);
        one.drain_recent(&mut recent);
        assert_eq!(recent.len(), 2);
    }
}
