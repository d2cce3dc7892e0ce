//! The figures of a drill, from the samples of its clients and the looks at the deployment. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use api::RegionId;
use serde::Serialize;

use super::ledger::{ClientKind, Sample};
use super::observe::Brief;

/// The grain of shares over time.
const BIN: Duration = Duration::from_millis(500);

/// When what happened, from the start of the drill.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moments {
    /// The first step of a drain; otherwise the fault.
    pub(crate) begun: Duration,
    /// The fault; of a drain its last step.
    pub(crate) fault: Duration,
    /// The beginning of the restore.
    pub(crate) restore: Duration,
    /// Its end.
    pub(crate) restored: Duration,
    /// The end of the clients.
    pub(crate) end: Duration,
}

/// Seconds from the fault, of a drain from its first step, until so many of a hundred check-ins were good, for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Recovery {
    /// 95 of 100; `null` if never.
    pub(crate) p95_s: Option<f64>,
    /// 99 of 100.
    pub(crate) p99_s: Option<f64>,
    /// All: the last bad check-in.
    pub(crate) p100_s: Option<f64>,
}

/// The share of good check-ins over time, a point for each bin that has any.
pub(crate) fn course(samples: &[Sample], kind: ClientKind) -> Vec<(Duration, f64)> {
    let mut bins: BTreeMap<u128, (u32, u32)> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.kind == kind) {
        let bin = bins.entry(sample.at.as_millis() / BIN.as_millis()).or_default();
        bin.0 += u32::from(sample.good);
        bin.1 += 1;
    }
    let at = |bin: u128| BIN * u32::try_from(bin).unwrap_or(u32::MAX);
    bins.into_iter().map(|(bin, (good, all))| (at(bin), f64::from(good) / f64::from(all))).collect()
}

/// The share of check-ins of clients by DNS and through the edge that `region` answered, over time.
pub(crate) fn residual(samples: &[Sample], region: &RegionId) -> Vec<(Duration, f64)> {
    let mut bins: BTreeMap<u128, (u32, u32)> = BTreeMap::new();
    for sample in samples {
        let bin = bins.entry(sample.at.as_millis() / 1_000).or_default();
        bin.0 += u32::from(sample.region.as_ref() == Some(region));
        bin.1 += 1;
    }
    let at = |bin: u128| Duration::from_secs(u64::try_from(bin).unwrap_or(u64::MAX));
    bins.into_iter().map(|(bin, (own, all))| (at(bin), f64::from(own) / f64::from(all))).collect()
}

/// How long a kind of client suffered; `None` if there was no such client.
pub(crate) fn recovery(samples: &[Sample], kind: ClientKind, moments: Moments) -> Option<Recovery> {
    let course = course(samples, kind);
    if course.is_empty() {
        return None;
    }
    let since = |at: Duration| at.saturating_sub(moments.begun).as_secs_f64();
    // Clients that are bad until they end have not recovered.
    let is_over = |last: Duration| last + BIN * 2 < moments.end;
    // The bin in which the fault lies has check-ins from before it.
    let after = || course.iter().filter(|(at, _)| *at + BIN > moments.begun);
    let suffered = |level: f64| {
        let last = after().filter(|(_, share)| *share < level).map(|(at, _)| *at + BIN).max();
        last.map_or(Some(0.0), |last| is_over(last).then(|| since(last)))
    };
    let bad = samples.iter().filter(|sample| is_bad(sample, kind, moments));
    let last = bad.map(|sample| sample.at + sample.took).max();
    let p100_s = last.map_or(Some(0.0), |last| is_over(last).then(|| since(last)));
    // A bin ends later than its last check-in.
    let within = |level| Some(suffered(level)?.min(p100_s.unwrap_or(f64::MAX)));
    Some(Recovery { p95_s: within(0.95), p99_s: within(0.99), p100_s })
}

/// Whether a check-in failed from the fault on.
fn is_bad(sample: &Sample, kind: ClientKind, moments: Moments) -> bool {
    sample.kind == kind && !sample.good && sample.at + sample.took >= moments.begun
}

/// Check-ins that failed from the fault on, by kind of client.
pub(crate) fn failed(samples: &[Sample], kind: ClientKind, moments: Moments) -> usize {
    samples.iter().filter(|sample| is_bad(sample, kind, moments)).count()
}

/// Seconds from the fault to the first look that `holds`, before the restore.
pub(crate) fn first(looks: &[Brief], moments: Moments, holds: impl Fn(&Brief) -> bool) -> Option<f64> {
    let during = looks.iter().filter(|look| (moments.fault..moments.restore).contains(&look.at));
    during.filter(|look| holds(look)).map(|look| (look.at - moments.fault).as_secs_f64()).next()
}

/// Seconds from the fault to the last check-in through the edge that the region answered, before the restore.
pub(crate) fn edge_left(samples: &[Sample], region: &RegionId, moments: Moments) -> Option<f64> {
    let own = samples.iter().filter(|sample| sample.kind == ClientKind::Edge && sample.region.as_ref() == Some(region));
    let last = own.map(|sample| sample.at).filter(|at| *at < moments.restore).max()?;
    // A region that answers until the restore was never left.
    (last + BIN * 2 < moments.restore).then(|| last.saturating_sub(moments.fault).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Moments, course, edge_left, failed, recovery, residual};
    use crate::drill::ledger::{ClientKind, Sample};

    const MOMENTS: Moments = Moments {
        begun: Duration::from_secs(10),
        fault: Duration::from_secs(10),
        restore: Duration::from_secs(40),
        restored: Duration::from_secs(40),
        end: Duration::from_secs(60),
    };

    /// Ten check-ins a second, bad while `bad` says so.
    fn samples(kind: ClientKind, bad: impl Fn(f64) -> bool) -> Vec<Sample> {
        let at = (0..600).map(|tenth| Duration::from_millis(tenth * 100));
        let took = Duration::from_millis(5);
        let region = |at: Duration| if at < MOMENTS.fault { "eu" } else { "us" }.parse().ok();
        at.map(|at| Sample { kind, at, took, good: !bad(at.as_secs_f64()), region: region(at) }).collect()
    }

    #[test]
    fn recovery_is_the_end_of_the_last_bad_stretch() {
        let samples = samples(ClientKind::Ttl, |at| (10.0..17.4).contains(&at));
        let found = recovery(&samples, ClientKind::Ttl, MOMENTS).unwrap();
        assert!((7.0..7.5).contains(&found.p99_s.unwrap()), "{found:?}");
        assert!((7.2..7.4).contains(&found.p100_s.unwrap()), "{found:?}");
        assert_eq!(failed(&samples, ClientKind::Ttl, MOMENTS), 74);
        assert_eq!(recovery(&samples, ClientKind::Edge, MOMENTS), None);
        assert!(course(&samples, ClientKind::Ttl).iter().any(|(at, share)| at.as_secs() == 12 && *share < 0.1));
    }

    #[test]
    fn a_failure_before_the_fault_is_not_its_doing() {
        let samples = samples(ClientKind::Edge, |at| at < 3.0);
        let found = recovery(&samples, ClientKind::Edge, MOMENTS).unwrap();
        assert!(found.p100_s == Some(0.0) && failed(&samples, ClientKind::Edge, MOMENTS) == 0);
    }

    #[test]
    fn clients_that_are_bad_to_the_end_have_not_recovered() {
        let samples = samples(ClientKind::Pinned, |at| at >= 10.0);
        let found = recovery(&samples, ClientKind::Pinned, MOMENTS).unwrap();
        assert_eq!((found.p95_s, found.p99_s, found.p100_s), (None, None, None));
    }

    #[test]
    fn what_the_region_still_answers_is_told() {
        let samples = samples(ClientKind::Edge, |_| false);
        let eu = "eu".parse().unwrap();
        let shares = residual(&samples, &eu);
        assert!(shares[5].1 > 0.99 && shares[20].1 < 0.01);
        assert!(edge_left(&samples, &eu, MOMENTS).is_some_and(|left| left < 0.2));
        assert_eq!(edge_left(&samples, &"us".parse().unwrap(), MOMENTS), None, "it answers to the end");
    }
}
