//! Which keys each kind of fault takes, and which values of them.
//!
//! A fault without effect is refused, because a run that holds under it would prove nothing. So is a fault that goes on
//! after everything has healed, such as a link that holds frames back for minutes.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::fault::signed_ms;
use super::ranges::{BANDWIDTH, Length, outside, outside_length};
use super::{Fault, FaultKind, Scenario, ScenarioError};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);
/// Lengths of a fault. A shorter one would have no effect.
const LASTS: RangeInclusive<Duration> = MS..=Duration::from_hours(24 * 400);
/// Times between opening and closing. A shorter one would not act as a partition.
const FLAP: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(24);
/// Times between two restarts. In the shortest one a process still starts and is heard.
const EVERY: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);
const LATENCY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(5);
const DRIFT_PPM: RangeInclusive<f64> = -100_000.0..=100_000.0;
const SHARE: RangeInclusive<f64> = 0.0..=1.0;

impl Fault {
    /// Whether it ends by itself.
    fn has_length(&self) -> bool {
        !matches!(self.kind, FaultKind::BelieveClock | FaultKind::Add | FaultKind::Remove | FaultKind::Rejoin)
    }

    /// Refuses faults without effect, impossible ones, and those that begin when the phase of faults is over.
    pub(super) fn only_sensible_values(&self, scenario: &Scenario) -> Result<(), ScenarioError> {
        let key = |key: &str, wrong: Option<String>| {
            wrong.map_or(Ok(()), |wrong| Err(self.wrong(format!("`{key}` {wrong}"))))
        };
        if self.at >= scenario.duration {
            let end = Length(scenario.duration);
            return Err(self.wrong(format!("`duration` ends at {end:?}: faults begin before everything heals")));
        }
        match self.lasts {
            Some(lasts) => key("for", outside_length(lasts, &LASTS))?,
            None if self.has_length() => return Err(self.wrong("needs `for`, such as \"30s\": how long it goes on")),
            None => {}
        }
        if let Some(flap) = &self.flap {
            key("flap.down", outside_length(flap.down, &FLAP))?;
            key("flap.up", outside_length(flap.up, &FLAP))?;
        }
        key("by", self.by_range().and_then(|range| outside_length(self.by_length(), &range)))?;
        key("every", self.every.and_then(|every| outside_length(every, &EVERY)))?;
        if let Some(ppm) = self.ppm {
            key("ppm", outside(&ppm, &DRIFT_PPM))?;
            key("ppm", (ppm == 0.0).then(|| "is 0: the clock would run right".to_owned()))?;
        }
        let shares =
            [("share", self.share), ("loss", self.loss), ("duplicate", self.duplicate), ("reorder", self.reorder)];
        for (name, share) in shares {
            key(name, share.and_then(|share| outside(&share, &SHARE)))?;
        }
        key("share", (self.share == Some(0.0)).then(|| "is 0: no read would fail".to_owned()))?;
        key("latency", self.latency.and_then(|latency| outside_length(latency, &LATENCY)))?;
        key("bandwidth_mbps", self.bandwidth_mbps.and_then(|mbps| outside(&mbps, &BANDWIDTH)))?;
        let is_worse = [self.loss, self.duplicate, self.reorder].iter().flatten().any(|share| *share > 0.0)
            || self.latency.is_some_and(|latency| !latency.is_zero())
            || self.bandwidth_mbps.is_some();
        if self.kind == FaultKind::Degrade && !is_worse {
            let wrong = "needs one of `loss`, `duplicate`, `reorder`, `latency`, `bandwidth_mbps` that is not 0";
            return Err(self.wrong(wrong));
        }
        Ok(())
    }

    /// The values that `by` may have, with either sign.
    fn by_range(&self) -> Option<RangeInclusive<Duration>> {
        match self.kind {
            FaultKind::SlowNode => Some(MS..=10 * SECOND),
            FaultKind::SlowDisk => Some(MS..=5 * SECOND),
            FaultKind::Restore | FaultKind::OldBucket => Some(MS..=31 * DAY),
            FaultKind::ClockStep => Some(MS..=400 * DAY),
            _ => None,
        }
    }

    fn by_length(&self) -> Duration {
        let ms = self.by.as_deref().and_then(signed_ms).unwrap_or(0);
        Duration::from_millis(ms.unsigned_abs())
    }

    pub(super) fn only_known_keys(&self) -> Result<(), ScenarioError> {
        use FaultKind as K;
        let takes = |name: &str| match name {
            "for" => self.has_length(),
            "region" => self.kind != K::Night,
            "from" | "to" | "one-way" => matches!(self.kind, K::Partition | K::Degrade),
            "flap" => self.kind == K::Partition,
            "by" => matches!(self.kind, K::SlowNode | K::SlowDisk | K::Restore | K::OldBucket | K::ClockStep),
            "every" => self.kind == K::Restarts,
            "ppm" => self.kind == K::ClockDrift,
            "share" => self.kind == K::ReadErrors,
            _ => self.kind == K::Degrade,
        };
        let given = [
            ("for", self.lasts.is_some(), "takes no `for`"),
            ("region", self.region.is_some(), "takes no `region`"),
            ("from", !self.from.is_empty(), "takes no `from`"),
            ("to", !self.to.is_empty(), "takes no `to`"),
            ("one-way", self.one_way, "takes no `one-way`"),
            ("flap", self.flap.is_some(), "takes no `flap`"),
            ("by", self.by.is_some(), "takes no `by`"),
            ("every", self.every.is_some(), "takes no `every`"),
            ("ppm", self.ppm.is_some(), "takes no `ppm`"),
            ("share", self.share.is_some(), "takes no `share`"),
            ("loss", self.loss.is_some(), "takes no `loss`"),
            ("duplicate", self.duplicate.is_some(), "takes no `duplicate`"),
            ("reorder", self.reorder.is_some(), "takes no `reorder`"),
            ("latency", self.latency.is_some(), "takes no `latency`"),
            ("bandwidth_mbps", self.bandwidth_mbps.is_some(), "takes no `bandwidth_mbps`"),
        ];
        let unknown = given.into_iter().find(|(name, is_given, _)| *is_given && !takes(name));
        unknown.map_or(Ok(()), |(_, _, wrong)| Err(self.wrong(wrong)))
    }
}
