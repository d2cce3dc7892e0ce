//! Requests of citizens, by the hour of the day and the popularity of venues: check-ins, and later corrections,
//! erasures and looks, some from another region; and owners who read their guest lists.

use std::time::Duration;

use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use rand_distr::{Distribution as _, Exp, Zipf};

use crate::index::{NodeIndex, VisitNumber};
use crate::regions;
use crate::scenario::{Operation, OperationKind, Scenario};
use crate::seed::{Stream, stream};

/// Share of a day's check-ins in each hour of local time: few at night, a peak at lunch and a higher one at dinner.
/// An assumption about cafés and restaurants, not a measurement.
const BY_HOUR: [f64; 24] = [
    0.6, 0.3, 0.1, 0.1, 0.1, 0.3, 1.2, 3.0, 4.5, 4.5, 4.5, 6.0, 9.0, 8.5, 5.5, 4.5, 4.5, 5.5, 8.0, 10.0, 8.5, 5.8, 3.4,
    1.6,
];

/// All requests of a plan.
pub(super) fn draw(scenario: &Scenario, seed: u64) -> Vec<Operation> {
    let workload = &scenario.workload;
    let mut operations = Vec::new();
    if workload.rate > 0.0 {
        let first = scenario.operations.iter().map(|operation| operation.visit.0 + 1).max().unwrap_or(0);
        let mut draws = stream(seed, "citizens", 0);
        for (visit, (at, home)) in (first..).zip(arrivals(scenario, &mut draws)) {
            one_visit(
                scenario,
                VisitNumber(visit),
                at,
                home,
                &mut stream(seed, "visit", u64::from(visit)),
                &mut operations,
            );
        }
        if workload.hot > 0.0 {
            hot(scenario, first, &mut stream(seed, "hot", 0), &mut operations);
        }
        if workload.large > 0.0 {
            large(scenario, &mut stream(seed, "large", 0), &mut operations);
        }
    }
    if workload.reads > 0.0 {
        readers(scenario, &mut stream(seed, "readers", 0), &mut operations);
    }
    operations
}

/// Times and regions of check-ins: a Poisson process, thinned by the hour in each region.
fn arrivals(scenario: &Scenario, draws: &mut Stream) -> Vec<(Duration, NodeIndex)> {
    let workload = &scenario.workload;
    let mean = BY_HOUR.iter().sum::<f64>() / 24.0;
    let peak = if workload.by_hour { BY_HOUR.iter().copied().fold(0.0, f64::max) / mean } else { 1.0 };
    let mut arrivals = Vec::new();
    let Ok(gaps) = Exp::new(workload.rate * peak) else { return arrivals };
    let mut at = 0.0;
    loop {
        at += gaps.sample(draws);
        let now = Duration::from_secs_f64(at);
        if now >= scenario.duration {
            return arrivals;
        }
        let home = any_region(scenario, draws);
        let kept = if workload.by_hour { BY_HOUR[local_hour(scenario, home, now)] / mean / peak } else { 1.0 };
        if draws.random::<f64>() < kept {
            arrivals.push((now, home));
        }
    }
}

/// The hour on the clocks of a region, by its longitude.
fn local_hour(scenario: &Scenario, region: NodeIndex, at: Duration) -> usize {
    let name = scenario.name(region);
    let written = scenario.positions.get(name).map(|position| position[1]);
    let longitude = written.or_else(|| regions::position(name).map(|position| position.longitude)).unwrap_or(0.0);
    let hours = (scenario.start + at).as_secs_f64() / 3_600.0 + longitude / 15.0;
    (hours.rem_euclid(24.0) as usize).min(23)
}

fn any_region(scenario: &Scenario, draws: &mut Stream) -> NodeIndex {
    NodeIndex(draws.random_range(0..scenario.regions.len()))
}

fn venue(scenario: &Scenario, draws: &mut Stream) -> u32 {
    let venues = scenario.workload.venues;
    // Zipf's law counts from 1.
    let law = Zipf::new(f64::from(venues), scenario.workload.popularity);
    law.map_or(0, |law| (law.sample(draws) as u32).clamp(1, venues) - 1)
}

fn one_visit(
    scenario: &Scenario,
    visit: VisitNumber,
    at: Duration,
    home: NodeIndex,
    draws: &mut Stream,
    operations: &mut Vec<Operation>,
) {
    let workload = &scenario.workload;
    let retention = workload.retentions.choose(draws).copied().unwrap_or_default();
    let venue = venue(scenario, draws);
    // Ids carry the arrival in milliseconds; two visits at one moment differ in the rest.
    let arrived = Duration::from_millis(u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
    let make = |kind, at: Duration, from: NodeIndex| Operation {
        at,
        kind,
        from: scenario.name(from).to_owned(),
        visit,
        venue,
        arrived,
        retention,
        bytes: 0,
    };
    let mut add = |operation: Operation| operations.push(operation);
    add(make(OperationKind::CheckIn, at, home));
    // Each decision is drawn for every visit, so that one share does not shift the others' draws.
    let [corrects, twice, erases, repeats, looks] =
        [draws.random::<f64>(), draws.random(), draws.random(), draws.random(), draws.random()];
    let elsewhere = |draws: &mut Stream| {
        let other = any_region(scenario, draws);
        if draws.random::<f64>() < workload.roaming { other } else { home }
    };
    let latest = workload.later.as_secs_f64();
    let later = |draws: &mut Stream| at + Duration::from_secs_f64(draws.random_range(0.2..latest));
    if repeats < workload.repeats {
        let other = any_region(scenario, draws);
        add(make(OperationKind::CheckIn, later(draws), other));
    }
    if corrects < workload.corrections {
        let when = later(draws);
        add(make(OperationKind::Correct, when, elsewhere(draws)));
        if twice < workload.concurrent {
            add(make(OperationKind::Correct, when, any_region(scenario, draws)));
        }
    }
    if looks < 0.1 {
        add(make(OperationKind::Look, later(draws), elsewhere(draws)));
    }
    if erases < workload.erasures {
        add(make(OperationKind::Erase, later(draws), elsewhere(draws)));
    }
}

/// Corrections that concentrate on the first visits, from anywhere, until the end.
fn hot(scenario: &Scenario, first: u32, draws: &mut Stream, operations: &mut Vec<Operation>) {
    let workload = &scenario.workload;
    let Ok(gaps) = Exp::new(workload.hot) else { return };
    let is_hot = |visit: VisitNumber| (first..first.saturating_add(workload.hot_visits)).contains(&visit.0);
    let mut created: Vec<Operation> = Vec::new();
    for operation in operations.iter().filter(|operation| is_hot(operation.visit)) {
        if created.iter().all(|known| known.visit != operation.visit) {
            created.push(operation.clone());
        }
    }
    let Some(begins) = created.iter().map(|visit| visit.at).min() else { return };
    let mut at = begins.as_secs_f64();
    loop {
        at += gaps.sample(draws);
        let now = Duration::from_secs_f64(at);
        if now >= scenario.duration {
            return;
        }
        let from = scenario.name(any_region(scenario, draws)).to_owned();
        // One of the visits that have arrived by then.
        let nth = draws.random_range(0..created.iter().filter(|visit| visit.at <= now).count().max(1));
        operations.push(Operation { at: now, kind: OperationKind::Correct, from, ..created[nth].clone() });
    }
}

/// Makes a share of the corrections large.
fn large(scenario: &Scenario, draws: &mut Stream, operations: &mut [Operation]) {
    let workload = &scenario.workload;
    for operation in operations.iter_mut().filter(|operation| operation.kind == OperationKind::Correct) {
        operation.bytes = if draws.random::<f64>() < workload.large { workload.large_kib * 1_024 } else { 0 };
    }
}

/// Owners who read their guest lists and change regions now and then.
fn readers(scenario: &Scenario, draws: &mut Stream, operations: &mut Vec<Operation>) {
    const READERS: u32 = 16;
    let Ok(gaps) = Exp::new(scenario.workload.reads) else { return };
    let mut homes: Vec<(NodeIndex, u32)> =
        (0..READERS).map(|_| (any_region(scenario, draws), venue(scenario, draws))).collect();
    let mut at = 0.0;
    loop {
        at += gaps.sample(draws);
        let now = Duration::from_secs_f64(at);
        if now >= scenario.duration {
            return;
        }
        let reader = draws.random_range(0..READERS);
        let (home, venue) = &mut homes[reader as usize];
        if draws.random::<f64>() < scenario.workload.roaming {
            *home = any_region(scenario, draws);
        }
        operations.push(Operation {
            at: now,
            kind: OperationKind::Read,
            from: scenario.name(*home).to_owned(),
            visit: VisitNumber(reader),
            venue: *venue,
            arrived: Duration::ZERO,
            retention: Duration::ZERO,
            bytes: 0,
        });
    }
}
