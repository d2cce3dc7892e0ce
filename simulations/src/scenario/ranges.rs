//! The range of each number and each length of time of a scenario; the table is in simulations/README.md.
//!
//! Bounds have three reasons. Those of `[replica]` are the bounds of a node's configuration. Beyond others a healthy
//! world would look broken: clocks that disagree by nature, disks and links too slow for the convergence bound. The
//! rest keep a run within minutes and gigabytes.
//!
//! NaN lies in no range, so it is refused everywhere.

use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::length::Length;
use super::touched::Touched;
use super::{FaultKind, OperationKind, Scenario, ScenarioError, Topology};

/// Most requests that a scenario may draw. A run with that many takes about a quarter of an hour and 8 GB.
const MOST_OPERATIONS: f64 = 2_000_000.0;
/// Most heartbeats of all pairs of regions, about 20 minutes of a run.
const MOST_HEARTBEATS: f64 = 1e8;
/// Largest correction: the bound of a whole document. A larger one would be refused everywhere.
const MOST_LARGE: u32 = 64 << 10;
/// Visits are numbered from the last written one on.
const MOST_VISIT: u32 = 4_000_000_000;
/// The least values that a `[swarm]` with `settings` draws. Everything written beside it must fit them as well.
const LEAST_DRAWN: (Duration, Duration) = (Duration::from_secs(40), Duration::from_mins(10));
/// Most drift that fits the smallest `max_clock_skew` which such a swarm draws.
const MOST_DRIFT_DRAWN_PPM: f64 = 1_000.0;
/// A healthy clock drifts for so long before it is set right.
const DISCIPLINED_EVERY_S: f64 = 600.0;
/// The hour with most guests against the mean of a day.
const PEAK: f64 = 2.5;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const SHARE: RangeInclusive<f64> = 0.0..=1.0;
/// Megabits per second of a link, degraded or not.
pub(super) const BANDWIDTH: RangeInclusive<f64> = 0.05..=1e6;

/// What to say of a value outside its range.
pub(super) fn outside<T: PartialOrd + Debug>(value: &T, range: &RangeInclusive<T>) -> Option<String> {
    let (least, most) = (range.start(), range.end());
    (!range.contains(value)).then(|| format!("is {value:?}: it must be between {least:?} and {most:?}"))
}

/// The same of a length of time.
pub(super) fn outside_length(value: Duration, range: &RangeInclusive<Duration>) -> Option<String> {
    outside(&Length(value), &(Length(*range.start())..=Length(*range.end())))
}

fn within<T: PartialOrd + Debug>(key: &'static str, value: T, range: RangeInclusive<T>) -> Result<(), ScenarioError> {
    outside(&value, &range).map_or(Ok(()), |wrong| Err(ScenarioError::Value { key, wrong: wrong.into() }))
}

fn length(key: &'static str, value: Duration, range: RangeInclusive<Duration>) -> Result<(), ScenarioError> {
    outside_length(value, &range).map_or(Ok(()), |wrong| Err(ScenarioError::Value { key, wrong: wrong.into() }))
}

fn wrong<T>(key: &'static str, wrong: &'static str) -> Result<T, ScenarioError> {
    Err(ScenarioError::Value { key, wrong: wrong.into() })
}

/// Checks everything of a scenario except its faults and the names of its regions.
pub(super) fn check(scenario: &Scenario) -> Result<(), ScenarioError> {
    length("duration", scenario.duration, SECOND..=31 * DAY)?;
    if scenario.start >= DAY {
        return wrong("start", "is a time of day, below 24h");
    }
    for [latitude, longitude] in scenario.positions.values().copied() {
        within("positions: latitude", latitude, -90.0..=90.0)?;
        within("positions: longitude", longitude, -180.0..=180.0)?;
    }
    network(scenario)?;
    replica(scenario)?;
    clocks(scenario)?;
    length("disks.sync", scenario.disks.sync, MS / 100..=10 * SECOND)?;
    workload(scenario)?;
    owners(scenario)?;
    // Down to what no run can hold, up to what ends in a minute all the same.
    within("checks.bound", scenario.checks.bound, 1e-6..=100.0)?;
    swarm(scenario)?;
    operations(scenario)?;
    size(scenario)
}

fn network(scenario: &Scenario) -> Result<(), ScenarioError> {
    let network = &scenario.network;
    within("network.jitter", network.jitter, 0.0..=0.5)?;
    within("network.bandwidth_mbps", network.bandwidth_mbps, BANDWIDTH)?;
    within("network.queue_kib", network.queue_kib, 64..=1 << 20)?;
    if network.queue_kib < scenario.replica.in_flight_kib as u64 {
        return wrong(
            "network.queue_kib",
            "must be at least replica.in_flight_kib: a frame that finds it full is lost",
        );
    }
    within("network.loss", network.loss, 0.0..=0.3)?;
    within("network.duplicate", network.duplicate, 0.0..=0.5)?;
    within("network.reorder", network.reorder, 0.0..=0.5)
}

fn replica(scenario: &Scenario) -> Result<(), ScenarioError> {
    let replica = &scenario.replica;
    length("replica.heartbeat", replica.heartbeat, 50 * MS..=10 * SECOND)?;
    length("replica.relay_after", replica.relay_after, 100 * MS..=600 * SECOND)?;
    length("replica.scrub_every", replica.scrub_every, SECOND..=30 * DAY)?;
    length("replica.max_retention", replica.max_retention, 60 * SECOND..=400 * DAY)?;
    length("replica.max_clock_skew", replica.max_clock_skew, SECOND..=HOUR)?;
    within("replica.batch_records", replica.batch_records, 1..=65_536)?;
    within("replica.in_flight_kib", replica.in_flight_kib, 64..=1 << 20)
}

fn clocks(scenario: &Scenario) -> Result<(), ScenarioError> {
    let clocks = &scenario.clocks;
    within("clocks.drift_ppm", clocks.drift_ppm, 0.0..=100_000.0)?;
    let drifts = Duration::from_secs_f64(clocks.drift_ppm * DISCIPLINED_EVERY_S / 1e6);
    if clocks.skew.saturating_add(drifts) > scenario.replica.max_clock_skew / 2 {
        return wrong(
            "clocks.skew",
            "with what drift_ppm makes of it in ten minutes must be at most half of replica.max_clock_skew: healthy \
             clocks agree",
        );
    }
    Ok(())
}

fn workload(scenario: &Scenario) -> Result<(), ScenarioError> {
    let workload = &scenario.workload;
    within("workload.rate", workload.rate, 0.0..=100_000.0)?;
    within("workload.reads", workload.reads, 0.0..=10_000.0)?;
    within("workload.venues", workload.venues, 1..=1_000_000)?;
    within("workload.popularity", workload.popularity, 0.0..=5.0)?;
    within("workload.corrections", workload.corrections, SHARE)?;
    within("workload.concurrent", workload.concurrent, SHARE)?;
    within("workload.hot", workload.hot, 0.0..=1_000.0)?;
    within("workload.hot_visits", workload.hot_visits, 1..=1_000)?;
    within("workload.large", workload.large, SHARE)?;
    within("workload.large_kib", workload.large_kib, 1..=MOST_LARGE / 1_024)?;
    within("workload.erasures", workload.erasures, SHARE)?;
    within("workload.repeats", workload.repeats, SHARE)?;
    within("workload.roaming", workload.roaming, SHARE)?;
    length("workload.later", workload.later, SECOND..=DAY)?;
    if workload.retentions.is_empty() {
        return wrong("workload.retentions", "is empty");
    }
    for kept in &workload.retentions {
        length("workload.retentions", *kept, SECOND..=400 * DAY)?;
    }
    // A scenario that draws its settings draws retentions that fit.
    let drawn = scenario.swarm.as_ref().is_some_and(|swarm| swarm.settings);
    let longest = workload.retentions.iter().max().copied().unwrap_or_default();
    if !drawn && workload.rate > 0.0 && longest > scenario.replica.max_retention {
        return wrong("workload.retentions", "has one that is longer than replica.max_retention");
    }
    Ok(())
}

fn owners(scenario: &Scenario) -> Result<(), ScenarioError> {
    let Some(owners) = &scenario.owners else {
        let mut kinds = scenario.operations.iter().map(|operation| operation.kind);
        if kinds.any(|kind| matches!(kind, OperationKind::Open | OperationKind::Retain | OperationKind::Contradict)) {
            return wrong("operation.kind", "needs the section [owners]: without it venues are no documents");
        }
        return Ok(());
    };
    within("owners.changes", owners.changes, 0.0..=1_000.0)?;
    within("owners.concurrent", owners.concurrent, SHARE)?;
    within("owners.again", owners.again, 0..=100)?;
    within("owners.contradictions", owners.contradictions, SHARE)?;
    let is_of_owners = |kind| matches!(kind, OperationKind::Open | OperationKind::Retain);
    let written = scenario.operations.iter().filter(|operation| is_of_owners(operation.kind));
    let mut all = written.map(|operation| operation.retention).chain(scenario.workload.retentions.iter().copied());
    // As the policy pack of the simulation asks.
    if all.any(|kept| kept.subsec_nanos() != 0 || !(SECOND..=28 * DAY).contains(&kept)) {
        return wrong(
            "workload.retentions",
            "of owners are whole seconds up to 28 days, as those of `open` and `retain`",
        );
    }
    Ok(())
}

fn swarm(scenario: &Scenario) -> Result<(), ScenarioError> {
    let Some(swarm) = &scenario.swarm else { return Ok(()) };
    within("swarm.omit", swarm.omit, SHARE)?;
    let [least, most] = swarm.regions;
    if scenario.regions.len() < 2 {
        return wrong("swarm", "needs at least two `regions`");
    }
    within("swarm.regions", least, 2..=scenario.regions.len())?;
    within("swarm.regions", most, least..=scenario.regions.len())?;
    within("swarm.faults", swarm.faults[0], 0..=1_000)?;
    within("swarm.faults", swarm.faults[1], swarm.faults[0]..=1_000)?;
    within("swarm.visits", swarm.visits[0], 0..=200_000)?;
    within("swarm.visits", swarm.visits[1], swarm.visits[0]..=200_000)?;
    if most < 3 && swarm.kinds().into_iter().any(FaultKind::needs_three) {
        return wrong("swarm.kinds", "has a kind that needs a third region: raise swarm.regions or name other kinds");
    }
    if !scenario.checks.core.is_empty() {
        return wrong("checks.core", "is drawn by [swarm]: leave one of them out");
    }
    let kept = &scenario.regions[..least];
    let names = scenario.faults.iter().flat_map(|fault| fault.act.names());
    let mut names = names.chain(scenario.operations.iter().map(|operation| &operation.from));
    if names.any(|name| !kept.contains(name)) {
        return wrong(
            "swarm.regions",
            "leaves out a region that a [[fault]] or an [[operation]] names: raise the first",
        );
    }
    if scenario.faults.iter().any(|fault| matches!(fault.act.touched(), Touched::Deployment(_))) {
        return wrong("swarm", "draws which regions come and go: write no [[fault]] that adds or removes one");
    }
    if swarm.settings {
        let (duration, retention) = LEAST_DRAWN;
        let mut times = scenario.faults.iter().map(|fault| fault.at);
        if times.any(|at| at >= duration) || scenario.operations.iter().any(|operation| operation.at >= duration) {
            return wrong("swarm.settings", "may draw a duration of 40s, and something is written for later");
        }
        if scenario.operations.iter().any(|operation| operation.retention > retention) {
            return wrong("swarm.settings", "may draw a max_retention of 10m, and an [[operation]] is kept longer");
        }
        if scenario.clocks.drift_ppm > MOST_DRIFT_DRAWN_PPM {
            return wrong("swarm.settings", "may draw a max_clock_skew of 2s, too little for drift_ppm beyond 1000");
        }
    }
    Ok(())
}

fn operations(scenario: &Scenario) -> Result<(), ScenarioError> {
    for operation in &scenario.operations {
        scenario.region(&operation.from)?;
        if operation.at >= scenario.duration {
            let wrong = format!(
                "is {:?}, and `duration` ends at {:?}: the request would never be made",
                Length(operation.at),
                Length(scenario.duration)
            );
            return Err(ScenarioError::Value { key: "operation.at", wrong: wrong.into() });
        }
        within("operation.visit", operation.visit.0, 0..=MOST_VISIT)?;
        within("operation.bytes", operation.bytes, 0..=MOST_LARGE)?;
        length("operation.arrived", operation.arrived, Duration::ZERO..=scenario.duration)?;
        if operation.retention > scenario.replica.max_retention {
            return wrong("operation.retention", "is longer than replica.max_retention");
        }
        if operation.kind == OperationKind::CheckIn && operation.retention < SECOND {
            return wrong("operation.retention", "of a check-in must be at least 1s, otherwise nothing is kept");
        }
    }
    Ok(())
}

/// Refuses scenarios that would take hours or all memory.
fn size(scenario: &Scenario) -> Result<(), ScenarioError> {
    let regions = scenario.regions.len() as f64;
    let pairs = match scenario.network.topology {
        Topology::Mesh => regions * (regions - 1.0) / 2.0,
        Topology::Ring | Topology::Star => regions,
    };
    let seconds = scenario.duration.as_secs_f64();
    if seconds / scenario.replica.heartbeat.as_secs_f64() * pairs.max(1.0) > MOST_HEARTBEATS {
        return wrong(
            "duration",
            "makes more than 100 million heartbeats of all pairs of regions: shorten it, lengthen replica.heartbeat, \
             or take fewer regions",
        );
    }
    let workload = &scenario.workload;
    let corrections = workload.corrections * (1.0 + workload.concurrent);
    let each = 1.0 + workload.repeats + corrections + 0.1 + workload.erasures;
    let peak = if workload.by_hour && scenario.duration < DAY { PEAK } else { 1.0 };
    let owners = scenario.owners.as_ref();
    let each = each + owners.map_or(0.0, |owners| f64::from(owners.again));
    let changes = owners.map_or(0.0, |owners| owners.changes * (1.0 + owners.concurrent));
    let drawn = (workload.rate * each * peak + workload.hot + workload.reads + changes) * seconds;
    // A plan that was drawn may have some more than was expected.
    let written = scenario.operations.len() as f64 / 1.1;
    if drawn.max(written) > MOST_OPERATIONS {
        let wrong = format!(
            "makes about {:.0} requests: more than {MOST_OPERATIONS} are too many; lower it, workload.reads or duration",
            drawn.max(written)
        );
        return Err(ScenarioError::Value { key: "workload.rate", wrong: wrong.into() });
    }
    Ok(())
}
