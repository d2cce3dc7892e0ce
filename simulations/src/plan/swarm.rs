//! Swarm testing (Groce et al., 2012): each seed leaves out some kinds of faults altogether and draws the ranges of the
//! rest, so that a fault which usually hides a bug is sometimes missing.
//!
//! The assumptions of the algorithm are kept: at most one region's clock is wrong beyond the skew (A2), disks sync
//! honestly (A3). One kind is forced in by the seed itself, so that no kind is missing from as many seeds in a row as
//! there are kinds.

use std::time::Duration;

use rand::RngExt as _;
use rand::seq::{IndexedRandom as _, SliceRandom as _};

use crate::index::NodeIndex;
use crate::scenario::{Act, Fault, FaultKind, Flap, Scenario, SignedDuration, Swarm, Topology};
use crate::seed::{Stream, stream};

pub(super) fn draw(plan: &mut Scenario, swarm: &Swarm, seed: u64) {
    let kinds = swarm.kinds();
    let forced = kinds[usize::try_from(seed % kinds.len() as u64).unwrap_or(0)];
    let mut draws = stream(seed, "settings", 0);
    let least = if forced.needs_three() { swarm.regions[0].max(3) } else { swarm.regions[0] };
    let regions = draws.random_range(least.min(swarm.regions[1])..=swarm.regions[1]);
    plan.regions.truncate(regions);
    plan.region_of.retain(|node, _| plan.regions.contains(node));
    if swarm.settings {
        settings(plan, &mut draws);
        documents(plan, &mut stream(seed, "documents", 0));
    }
    let visits = draws.random_range(swarm.visits[0]..=swarm.visits[1]);
    plan.workload.rate = f64::from(visits) / plan.duration.as_secs_f64();
    let mut faults = stream(seed, "faults", 0);
    let left_out: Vec<bool> = kinds.iter().map(|_| faults.random_bool(swarm.omit)).collect();
    let kept = kinds.iter().zip(&left_out).filter(|(kind, out)| **kind == forced || !**out).map(|(kind, _)| *kind);
    let kept: Vec<FaultKind> = kept.filter(|kind| regions >= 3 || !kind.needs_three()).collect();
    let mut world = Drawn { odd: NodeIndex(faults.random_range(0..regions)), added: None, removed: None };
    let count = faults.random_range(swarm.faults[0]..=swarm.faults[1]);
    // Most restores would break an assumption (A8) and are skipped when their time comes.
    let times = if forced == FaultKind::Restore { 3 } else { 1 };
    for number in 0..count.max(times) {
        let kind = if number < times { forced } else { kept.choose(&mut faults).copied().unwrap_or(forced) };
        // Each fault has its own stream, so that taking one out leaves the others as they are.
        let mut draws = stream(seed, "fault", u64::from(number));
        let mut drawn = fault(plan, kind, &mut world, &mut draws);
        // The forced kind takes its variants in turn.
        if let Some(fault) = drawn.as_mut().filter(|_| number == 0) {
            in_turn(fault, seed / kinds.len() as u64, &mut draws);
        }
        if let Some(fault) = drawn {
            let beside = beside(plan, &fault, &mut draws);
            plan.faults.push(fault);
            plan.faults.extend(beside);
        }
    }
    core(plan, &world, &mut stream(seed, "core", 0));
}

/// Faults that accompany another one, because alone it shows little: a crash that loses the page cache which a killed
/// process left, a peer that is dead while a region restarts again and again, the return of a region that was removed.
fn beside(plan: &Scenario, fault: &Fault, draws: &mut Stream) -> Option<Fault> {
    match &fault.act {
        Act::Kill { region } if draws.random_bool(0.6) => {
            let at = fault.ends_at() + seconds(0.0..1.5, draws);
            let lasts = Some(seconds(0.3..5.0, draws));
            (at < plan.duration).then(|| Fault { at, lasts, act: Act::Crash { region: region.clone() } })
        }
        Act::Restarts { region, .. } => {
            let others: Vec<&String> = plan.regions.iter().filter(|name| *name != region).collect();
            let dead = Act::Crash { region: (*others.choose(draws)?).clone() };
            Some(Fault { act: dead, ..fault.clone() })
        }
        Act::Rejoin { region } => {
            // The removal must come first.
            let at = fault.at.mul_f64(draws.random_range(0.2..0.8));
            Some(Fault { at, lasts: None, act: Act::Remove { region: region.clone() } })
        }
        _ => None,
    }
}

/// Partitions by turns flap, are one-way, and are as drawn.
fn in_turn(fault: &mut Fault, turn: u64, draws: &mut Stream) {
    let Act::Partition { one_way, flap, .. } = &mut fault.act else { return };
    match turn % 3 {
        0 => {
            *flap = Some(Flap { down: seconds(0.1..2.0, draws), up: seconds(0.1..2.0, draws) });
            fault.lasts = fault.lasts.max(Some(Duration::from_secs(4)));
        }
        1 => *one_way = true,
        _ => {}
    }
}

/// What the faults of one plan must know of each other.
struct Drawn {
    /// The region whose clock may be wrong beyond the skew.
    odd: NodeIndex,
    added: Option<NodeIndex>,
    removed: Option<NodeIndex>,
}

fn seconds(range: std::ops::Range<f64>, draws: &mut Stream) -> Duration {
    Duration::from_millis((draws.random_range(range) * 1_000.0) as u64)
}

fn settings(plan: &mut Scenario, draws: &mut Stream) {
    let ms = Duration::from_millis;
    let pick = |all: &[Duration], draws: &mut Stream| all.choose(draws).copied().unwrap_or_default();
    plan.duration = seconds(40.0..150.0, draws);
    // Around midnight, so that days end while things go wrong.
    plan.start = Duration::from_hours(24) - seconds(20.0..600.0, draws);
    plan.network.topology = *[Topology::Mesh, Topology::Mesh, Topology::Mesh, Topology::Ring, Topology::Star]
        .choose(draws)
        .unwrap_or(&Topology::Mesh);
    plan.network.jitter = draws.random_range(0.0..0.5);
    if draws.random_bool(0.4) {
        plan.network.loss = draws.random_range(0.0..0.2);
        plan.network.duplicate = draws.random_range(0.0..0.2);
        plan.network.reorder = draws.random_range(0.0..0.3);
    }
    if draws.random_bool(0.2) {
        plan.network.bandwidth_mbps = draws.random_range(0.2..5.0);
    }
    plan.replica.heartbeat = pick(&[ms(200), ms(500), ms(500), ms(1_000)], draws);
    // So that every fault comes beside comparisons and repairs.
    plan.replica.scrub_every = Duration::from_secs(15);
    plan.replica.relay_after = pick(&[ms(500), ms(1_000), ms(2_000)], draws);
    plan.replica.max_clock_skew = pick(&[ms(2_000), ms(10_000), ms(60_000)], draws);
    plan.replica.batch_records = *[1, 8, 256].choose(draws).unwrap_or(&256);
    let hours = Duration::from_hours;
    plan.replica.max_retention = pick(&[Duration::from_mins(10), hours(2), hours(24), hours(96)], draws);
    plan.clocks.skew = plan.replica.max_clock_skew / 10;
    plan.disks.sync = pick(&[ms(1), ms(4), ms(20), ms(100)], draws);
    let longest = plan.replica.max_retention;
    plan.workload.retentions = [Duration::from_secs(20), Duration::from_secs(90), longest / 3, longest, longest]
        .into_iter()
        .filter(|kept| *kept <= longest)
        .collect();
    plan.workload.venues = draws.random_range(1..6);
    plan.workload.corrections = draws.random_range(0.0..0.6);
    plan.workload.erasures = draws.random_range(0.0..0.4);
    plan.workload.repeats = draws.random_range(0.0..0.4);
    plan.workload.roaming = draws.random_range(0.0..0.8);
    plan.workload.concurrent = draws.random_range(0.2..0.8);
    plan.workload.reads = draws.random_range(0.0..1.0);
}

/// Now and then documents that reach their bounds: by many corrections of few visits, or by large ones.
fn documents(plan: &mut Scenario, draws: &mut Stream) {
    if draws.random_bool(0.03) {
        plan.workload.hot = draws.random_range(1.0..4.0);
        plan.workload.hot_visits = draws.random_range(1..=3);
        plan.workload.large = *[0.0, 0.2, 0.8].choose(draws).unwrap_or(&0.0);
        plan.workload.large_kib = draws.random_range(2..=16);
    }
}

fn millis(range: std::ops::Range<i32>, draws: &mut Stream) -> Duration {
    Duration::from_millis(u64::from(draws.random_range(range).unsigned_abs()))
}

fn fault(plan: &Scenario, kind: FaultKind, world: &mut Drawn, draws: &mut Stream) -> Option<Fault> {
    let regions = plan.regions.len();
    let length = plan.duration.as_secs_f64();
    let at = seconds(length * 0.03..length * 0.85, draws);
    let mut lasts = if draws.random_bool(0.3) { seconds(8.0..60.0, draws) } else { seconds(0.3..8.0, draws) };
    let some = NodeIndex(draws.random_range(0..regions));
    let name = |region: NodeIndex| plan.name(region).to_owned();
    let region = name(some);
    let act = match kind {
        FaultKind::Partition => {
            let Sides { from, to, one_way } = sides(plan, draws);
            let flap =
                draws.random_bool(0.25).then(|| Flap { down: seconds(0.1..4.0, draws), up: seconds(0.1..4.0, draws) });
            Act::Partition { from, to, one_way, flap }
        }
        FaultKind::Degrade => {
            let Sides { from, to, one_way } = sides(plan, draws);
            Act::Degrade {
                from,
                to,
                one_way,
                loss: draws.random_range(0.0..0.5),
                duplicate: draws.random_range(0.0..0.5),
                reorder: draws.random_range(0.0..0.5),
                latency: seconds(0.0..1.0, draws),
                bandwidth_mbps: draws.random_bool(0.3).then(|| draws.random_range(0.05..1.0)),
            }
        }
        FaultKind::Bridge => Act::Bridge { region },
        FaultKind::Crash => Act::Crash { region },
        FaultKind::TornBatch => Act::TornBatch { region },
        FaultKind::Kill => Act::Kill { region },
        FaultKind::LoseBucket => Act::LoseBucket { region },
        FaultKind::Restart => Act::Restart { region },
        FaultKind::Pause => Act::Pause { region },
        FaultKind::FullDisk => Act::FullDisk { region },
        FaultKind::LyingDisk => Act::LyingDisk { region },
        FaultKind::SlowNode => Act::SlowNode { region, by: millis(5..200, draws) },
        FaultKind::SlowDisk => Act::SlowDisk { region, by: millis(200..4_000, draws) },
        FaultKind::ReadErrors => Act::ReadErrors { region, share: draws.random_range(0.001..0.2) },
        FaultKind::HungDisk => {
            lasts = seconds(2.0..40.0, draws);
            Act::HungDisk { region }
        }
        FaultKind::Flip => {
            lasts = seconds(2.0..20.0, draws);
            Act::Flip { region }
        }
        FaultKind::Restarts => {
            lasts = seconds(8.0..40.0, draws);
            Act::Restarts { region, every: seconds(0.2..2.0, draws) }
        }
        FaultKind::Restore => Act::Restore { region, by: millis(200..60_000, draws) },
        FaultKind::OldBucket => Act::OldBucket { region, by: millis(200..60_000, draws) },
        FaultKind::ClockStep => {
            lasts = seconds(2.0..60.0, draws);
            clock_step(plan, region, world, draws)
        }
        FaultKind::ClockDrift => {
            let ppm: f64 = draws.random_range(-50_000.0..50_000.0);
            // A drift within the slew is believed unless two other regions contradict it, however far it gets in a
            // night (A2).
            if ppm.abs() < 2_000.0 && regions <= 3 {
                return None;
            }
            Act::ClockDrift { region: name(world.odd), ppm }
        }
        FaultKind::BelieveClock => Act::BelieveClock { region },
        FaultKind::Add => {
            let last = NodeIndex(regions - 1);
            // A region that is left alone believes its clock, and may then relay other logs with gaps (A2).
            if world.added.is_some() || world.removed == Some(last) || (regions <= 3 && world.removed.is_some()) {
                return None;
            }
            world.added = Some(last);
            Act::Add { region: name(last) }
        }
        FaultKind::Remove | FaultKind::Rejoin => {
            // Of three regions two are left, which is enough for everything except a majority of clocks.
            let alone = regions <= 3 && world.added.is_some();
            let free = world.removed.is_none() && world.added != Some(some) && some != NodeIndex(0) && !alone;
            if !free {
                return None;
            }
            world.removed = Some(some);
            if kind == FaultKind::Remove { Act::Remove { region } } else { Act::Rejoin { region } }
        }
        FaultKind::Rot => Act::Rot { region, share: draws.random_range(0.05..1.0) },
        FaultKind::Night => {
            let hours = [2, 9, 23, 49, 120].choose(draws).copied().unwrap_or(9);
            lasts = Duration::from_hours(hours);
            Act::Night {}
        }
    };
    Some(Fault { at, lasts: kind.has_length().then_some(lasts), act })
}

/// The two sides of a partition, or of links that get worse.
struct Sides {
    from: Vec<String>,
    to: Vec<String>,
    one_way: bool,
}

fn sides(plan: &Scenario, draws: &mut Stream) -> Sides {
    let regions = plan.regions.len();
    let mut all = plan.regions.clone();
    all.shuffle(draws);
    let side = draws.random_range(1..=(regions - 1).max(1));
    let mut from: Vec<String> = all.iter().take(side).cloned().collect();
    let mut to = Vec::new();
    // A single link now and then.
    if draws.random_bool(0.3) {
        from.truncate(1);
        to = all.iter().skip(1).take(1).cloned().collect();
    }
    Sides { from, to, one_way: draws.random_bool(0.3) }
}

/// Within the skew in any region, or beyond it in the one whose clock may be wrong.
fn clock_step(plan: &Scenario, region: String, world: &Drawn, draws: &mut Stream) -> Act {
    let skew = plan.replica.max_clock_skew;
    let is_back = draws.random_bool(0.5);
    let beyond = [2 * skew.as_millis() as u64, 3_600_000, 12 * 3_600_000, 30 * 86_400_000];
    let (region, ms) = if draws.random_bool(0.3) {
        (region, u64::try_from(skew.as_millis() / 4).unwrap_or(0))
    } else {
        (plan.name(world.odd).to_owned(), beyond.choose(draws).copied().unwrap_or(3_600_000))
    };
    let length = Duration::from_millis(ms);
    let by = if is_back { SignedDuration::back(length) } else { SignedDuration::forward(length) };
    Act::ClockStep { region, by }
}

/// Now and then only a part of the regions heals. Only in a mesh: there every part is connected.
fn core(plan: &mut Scenario, world: &Drawn, draws: &mut Stream) {
    let regions = plan.regions.len();
    if regions < 3 || plan.network.topology != Topology::Mesh || !draws.random_bool(0.25) {
        return;
    }
    let mut core: Vec<NodeIndex> =
        (0..regions).map(NodeIndex).filter(|region| world.removed != Some(*region)).collect();
    core.shuffle(draws);
    core.truncate(draws.random_range(2..regions));
    // The region whose clock may be wrong needs a majority that is right.
    if core.len() < 3 {
        core.retain(|region| *region != world.odd);
    }
    if core.len() >= 2 {
        core.sort_unstable();
        plan.checks.core = core.into_iter().map(|region| plan.name(region).to_owned()).collect();
    }
}
