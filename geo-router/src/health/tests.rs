//! Several routers and regions in one test: which router decides what, and where clients are sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::orders::{Order, OrderKind};
use jiff::Timestamp;

use super::orders::Orders;
use super::{Fitness, Health, HealthRules, Verdict};
use crate::fleet::{Fleet, Node, Region, RegionIndex};
use api::Position;
use api::explanation::RegionState;

const NAMES: [&str; 3] = ["eu", "us", "ap"];

fn fleet() -> Arc<Fleet> {
    let regions = NAMES.iter().enumerate().map(|(index, name)| Region {
        name: name.parse().unwrap(),
        position: Position { latitude: 0.0, longitude: index as f64 * 90.0 },
        weight: 1.0,
        capacity: None,
        nodes: vec![Node {
            name: name.parse().unwrap(),
            at: SocketAddr::from(([127, 0, 1, index as u8 + 1], 7080)).into(),
            addresses: vec![],
            weight: 1,
        }],
    });
    Arc::new(Fleet { regions: regions.collect() })
}

/// Routers that probe once a second and hear each other as `cut` allows.
struct World {
    routers: Vec<Health>,
    second: u64,
    /// Whether router `.0` reaches region `.1`.
    reaches: fn(usize, usize, u64) -> bool,
    /// Whether two routers hear each other.
    hears: fn(usize, usize, u64) -> bool,
    fitness: Vec<Fitness>,
}

impl World {
    fn new(count: usize, reaches: fn(usize, usize, u64) -> bool, hears: fn(usize, usize, u64) -> bool) -> World {
        let router = |index: usize| {
            let me = (format!("router-{index}"), Some(NAMES[index].to_owned()));
            Health::new(fleet(), HealthRules::default(), me, count, &BTreeMap::new(), Orders::default())
        };
        World { routers: (0..count).map(router).collect(), second: 0, reaches, hears, fitness: Vec::new() }
    }

    fn run_until(&mut self, second: u64) {
        while self.second < second {
            let (now, at) = (Duration::from_secs(self.second), self.second);
            for index in 0..self.routers.len() {
                for region in 0..NAMES.len() {
                    let good = (self.reaches)(index, region, at);
                    self.routers[index].handle_probe(now, RegionIndex(region as u8), 0, good);
                }
            }
            let ballots: Vec<_> = self.routers.iter().map(Health::ballot).collect();
            for (index, router) in self.routers.iter_mut().enumerate() {
                for (other, ballot) in ballots.iter().enumerate() {
                    if (self.hears)(index, other, at) {
                        router.handle_ballot(now, ballot.clone());
                    }
                }
            }
            self.fitness = self.routers.iter_mut().map(|router| router.assess(now, wall(at))).collect();
            self.second += 1;
        }
    }

    fn states(&self, router: usize) -> [RegionState; 3] {
        let states: Vec<_> = self.fitness[router].regions.iter().map(|region| region.state).collect();
        states.try_into().unwrap()
    }
}

fn wall(second: u64) -> Timestamp {
    Timestamp::from_second(1_780_000_000 + second as i64).unwrap()
}

const UP: [RegionState; 3] = [RegionState::Up; 3];

#[test]
fn a_router_that_is_cut_off_from_everything_keeps_its_last_answer() {
    let mut world = World::new(3, |router, _, at| router != 2 || at < 30, |a, b, at| (a != 2 && b != 2) || at < 30);
    world.run_until(30);
    assert_eq!(world.states(2), UP);
    world.run_until(300);
    assert_eq!(world.states(2), UP, "a router that sees nothing keeps its last verdicts");
    assert!(world.fitness[2].frozen && !world.fitness[2].fail_open);
    assert_eq!(world.states(0), UP);
    assert!(!world.fitness[0].frozen);
}

#[test]
fn a_region_that_a_majority_cannot_reach_is_down_for_all_routers_that_hear() {
    // Region 2 and its router are cut off together from the rest.
    let reaches = |router: usize, region: usize, at: u64| at < 10 || (router == 2) == (region == 2);
    let hears = |a: usize, b: usize, at: u64| at < 10 || (a == 2) == (b == 2);
    let mut world = World::new(3, reaches, hears);
    world.run_until(10);
    world.run_until(14);
    let seen = [RegionState::Up, RegionState::Up, RegionState::Down];
    assert_eq!(world.states(0), seen);
    assert_eq!(world.states(1), seen);
    assert_eq!(world.states(2), UP, "the lone side decides nothing");
}

#[test]
fn two_routers_that_lose_each_other_do_not_split() {
    let reaches = |router: usize, region: usize, at: u64| at < 10 || router == region;
    let mut world = World::new(2, reaches, |_, _, at| at < 10);
    world.run_until(100);
    for router in [0, 1] {
        assert_eq!(world.states(router), UP);
        assert!(world.fitness[router].frozen);
    }
}

#[test]
fn one_router_finds_a_dead_region_in_three_probes_and_takes_it_back_by_ramp() {
    let mut world = World::new(1, |_, region, at| region != 0 || !(10..60).contains(&at), |_, _, _| false);
    world.run_until(12);
    assert_eq!(world.states(0), UP);
    world.run_until(13);
    assert_eq!(world.states(0)[0], RegionState::Down);
    assert_eq!(world.fitness[0].admission[0], 0.0);
    world.run_until(64);
    assert_eq!(world.states(0)[0], RegionState::Down);
    world.run_until(65);
    assert_eq!(world.states(0)[0], RegionState::Ramping);
    let mut last = world.fitness[0].admission[0];
    assert!((0.05..0.2).contains(&last), "{last}");
    for second in 66..94 {
        world.run_until(second);
        let now = world.fitness[0].admission[0];
        assert!(now >= last && now < last + 0.2, "{last} {now}");
        last = now;
    }
    world.run_until(100);
    assert_eq!(world.states(0), UP);
    assert_eq!(world.fitness[0].admission, [1.0; 3]);
}

#[test]
fn if_all_regions_are_down_all_are_offered() {
    let mut world = World::new(1, |_, _, at| at < 10, |_, _, _| false);
    world.run_until(20);
    assert_eq!(world.states(0), [RegionState::Down; 3]);
    assert!(world.fitness[0].fail_open);
    assert_eq!(world.fitness[0].admission, [1.0; 3]);
}

/// After a total outage no client has to be kept from the nearest region, because all return alike.
#[test]
fn regions_that_return_together_take_their_whole_shares() {
    let mut world = World::new(1, |_, _, at| !(10..40).contains(&at), |_, _, _| false);
    world.run_until(50);
    assert_eq!(world.states(0), [RegionState::Ramping; 3]);
    assert_eq!(world.fitness[0].admission, [1.0; 3]);
    assert!(world.fitness[0].regions[0].admission < 1.0);
}

fn order(kind: OrderKind, since: u64, until: Option<u64>) -> Order {
    let until = until.map(|until| wall(until).into());
    Order { kind, keep: 0, since: wall(since).into(), until, by: None, reason: None }
}

#[test]
fn a_drain_in_steps_takes_a_part_of_the_share_at_a_time() {
    let mut world = World::new(1, |_, _, _| true, |_, _, _| false);
    world.run_until(10);
    let part = |keep, since| Order { keep, ..order(OrderKind::Drained, since, Some(100)) };
    world.routers[0].handle_order("eu", part(75, 10));
    world.run_until(12);
    assert_eq!((world.states(0)[0], world.fitness[0].admission[0]), (RegionState::Up, 0.75));
    world.routers[0].handle_order("eu", part(0, 20));
    world.run_until(22);
    assert_eq!((world.states(0)[0], world.fitness[0].admission[0]), (RegionState::Drained, 0.0));
    // On the way back the ramp still holds within the share.
    world.routers[0].handle_order("eu", part(50, 30));
    world.run_until(32);
    assert_eq!(world.states(0)[0], RegionState::Ramping);
    assert!(world.fitness[0].admission[0] <= 0.5);
    // The whole share is back after the ramp, though the last step was never ordered.
    world.run_until(101 + HealthRules::default().ramp.as_secs());
    assert_eq!((world.states(0)[0], world.fitness[0].admission[0]), (RegionState::Up, 1.0));
}

#[test]
fn drained_is_not_down() {
    let mut world = World::new(1, |_, _, _| true, |_, _, _| false);
    world.run_until(10);
    world.routers[0].handle_order("eu", order(OrderKind::Drained, 10, Some(100)));
    world.run_until(12);
    assert_eq!(world.states(0)[0], RegionState::Drained);
    assert_eq!(world.fitness[0].admission, [0.0, 1.0, 1.0]);
    // The order lapses by itself, and the region returns by ramp.
    world.run_until(99);
    assert_eq!(world.states(0)[0], RegionState::Drained);
    world.run_until(101);
    assert_eq!(world.states(0)[0], RegionState::Ramping);
    // All regions are drained: a healthy drained region is better than none.
    for region in NAMES {
        world.routers[0].handle_order(region, order(OrderKind::Drained, 101, None));
    }
    world.run_until(103);
    assert!(!world.fitness[0].fail_open);
    assert_eq!(world.fitness[0].admission, [1.0; 3]);
    world.routers[0].handle_order("eu", order(OrderKind::Maintenance, 104, None));
    world.run_until(106);
    assert_eq!(world.fitness[0].admission, [0.0, 1.0, 1.0]);
}

#[test]
fn passive_signals_lower_a_share_and_never_take_it() {
    let mut world = World::new(1, |_, _, _| true, |_, _, _| false);
    world.run_until(10);
    world.routers[0].handle_passive(RegionIndex(0), 0, 1_000);
    world.run_until(11);
    assert_eq!(world.states(0), UP);
    assert_eq!(world.fitness[0].admission[0], 0.2);
    world.routers[0].handle_passive(RegionIndex(0), 0, 5);
    world.run_until(12);
    assert_eq!(world.fitness[0].admission[0], 1.0, "a handful of failures does not count");
}

#[test]
fn verdicts_hold_over_a_restart_until_probes_say_otherwise() {
    let restored = BTreeMap::from([("eu".to_owned(), Verdict::Down)]);
    let me = ("router-0".to_owned(), None);
    let mut health = Health::new(fleet(), HealthRules::default(), me, 1, &restored, Orders::default());
    let fitness = health.assess(Duration::ZERO, wall(0));
    assert_eq!(fitness.regions[0].state, RegionState::Down);
    assert_eq!(fitness.admission, [0.0, 1.0, 1.0]);
    assert_eq!(health.agreed()["eu"], Verdict::Down);
    // A restart proves nothing: one good probe does not make a node up that was down.
    for second in 1..=19 {
        health.handle_probe(Duration::from_secs(second), RegionIndex(0), 0, true);
    }
    assert_eq!(health.assess(Duration::from_secs(19), wall(19)).regions[0].state, RegionState::Down);
    health.handle_probe(Duration::from_secs(20), RegionIndex(0), 0, true);
    assert_eq!(health.assess(Duration::from_secs(20), wall(20)).regions[0].state, RegionState::Ramping);
}

fn with_nodes(names: &[(&str, &[(&str, u8)])]) -> Arc<Fleet> {
    let region = |(name, nodes): &(&str, &[(&str, u8)])| Region {
        name: name.parse().unwrap(),
        nodes: nodes
            .iter()
            .map(|(name, host)| Node {
                name: name.parse().unwrap(),
                at: SocketAddr::from(([127, 0, 1, *host], 7080)).into(),
                addresses: vec![],
                weight: 1,
            })
            .collect(),
        ..fleet().regions[0].clone()
    };
    Arc::new(Fleet { regions: names.iter().map(region).collect() })
}

/// Regions that stay have other indices afterwards, and nothing else about them changes.
#[test]
fn regions_that_stay_keep_verdict_ramp_and_order_with_another_fleet() {
    let mut world = World::new(1, |_, region, at| region != 1 || !(10..60).contains(&at), |_, _, _| false);
    world.run_until(66);
    world.routers[0].handle_order("ap", order(OrderKind::Drained, 66, None));
    world.run_until(68);
    assert_eq!(world.states(0), [RegionState::Up, RegionState::Ramping, RegionState::Drained]);
    let (before, ramp) = (world.fitness[0].clone(), world.fitness[0].regions[1].admission);
    // eu goes, and sa comes first.
    let other = with_nodes(&[("sa", &[("sa", 9)]), ("ap", &[("ap", 3)]), ("us", &[("us", 2)])]);
    let health = &mut world.routers[0];
    health.go_on_with(other, HealthRules::default());
    let now = Duration::from_secs(67);
    let after = health.assess(now, wall(67));
    assert_eq!(after.regions[1], before.regions[2], "ap is drained");
    assert_eq!(after.regions[2], before.regions[1], "us goes on with its ramp: {ramp}");
    assert_eq!((after.regions[0].state, after.regions[0].admission), (RegionState::Unknown, 0.0));
    assert_eq!(after.admission, [0.0, 0.0, 1.0], "the new region waits for its first probe");
    assert!(!after.fail_open);
    assert_eq!(health.agreed().len(), 3);
    // Then it ramps like a region that returns.
    health.handle_probe(now, RegionIndex(0), 0, true);
    let after = health.assess(now, wall(67));
    assert_eq!((after.regions[0].state, after.regions[0].admission), (RegionState::Ramping, 0.1));
    let full = Duration::from_secs(67 + 30);
    assert_eq!(health.assess(full, wall(97)).regions[0].state, RegionState::Up);
}

#[test]
fn nodes_that_stay_keep_their_probes_and_others_prove_themselves() {
    let me = ("router-0".to_owned(), None);
    let two = with_nodes(&[("eu", &[("eu-1", 1), ("eu-2", 2)])]);
    let mut health = Health::new(two, HealthRules::default(), me, 1, &BTreeMap::new(), Orders::default());
    for second in 0..4 {
        health.handle_probe(Duration::from_secs(second), RegionIndex(0), 0, false);
        health.handle_probe(Duration::from_secs(second), RegionIndex(0), 1, true);
    }
    let now = Duration::from_secs(4);
    assert_eq!(health.assess(now, wall(4)).regions[0].nodes_up, [false, true]);
    // eu-3 comes, eu-2 has another index, and eu-1 stays down in another region.
    let other = with_nodes(&[("eu", &[("eu-3", 3), ("eu-2", 2)]), ("us", &[("eu-1", 1)])]);
    health.go_on_with(other, HealthRules::default());
    let after = health.assess(now, wall(4));
    assert_eq!(after.regions[0].nodes_up, [false, true], "a new node waits for its first probe");
    assert_eq!((after.regions[0].state, &after.regions[1].nodes_up[..]), (RegionState::Up, &[false][..]));
    health.handle_probe(now, RegionIndex(0), 0, true);
    assert_eq!(health.assess(now, wall(4)).regions[0].nodes_up, [true, true]);
    // At another address it is another node, but its region does not change its state.
    health.go_on_with(with_nodes(&[("eu", &[("eu-2", 22)])]), HealthRules::default());
    let after = health.assess(now, wall(4));
    assert_eq!((after.regions[0].state, after.admission), (RegionState::Up, vec![1.0]));
}

/// The last region is replaced by another one: there is no better one, so it serves at once.
#[test]
fn a_fleet_of_new_regions_serves_at_once() {
    let mut world = World::new(1, |_, _, _| true, |_, _, _| false);
    world.run_until(10);
    world.routers[0].go_on_with(with_nodes(&[("sa", &[("sa", 9)])]), HealthRules::default());
    let after = world.routers[0].assess(Duration::from_secs(10), wall(10));
    assert_eq!((after.admission, after.fail_open), (vec![1.0], true));
}
