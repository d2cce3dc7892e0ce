//! The same tests for every policy: an assignment keeps its invariants in every state.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::{Assignment, Failover, Latency, LatencyRow, Nearest, Policy, PolicyInput, Spill, Weighted};
use crate::fleet::{Fleet, Node, Region, RegionIndex};
use crate::location::{Country, Located, Place, PlaceClass};
use api::Position;
use api::explanation::LocationSource;

const LIMIT: f64 = 0.85;

const POSITIONS: [(f64, f64); 4] = [(50.11, 8.68), (39.04, -77.49), (1.35, 103.82), (-23.55, -46.63)];

fn fleet(capacities: &[Option<f64>]) -> Fleet {
    let regions = capacities.iter().enumerate().map(|(index, capacity)| Region {
        name: format!("r{index}").parse().unwrap(),
        position: Position { latitude: POSITIONS[index].0, longitude: POSITIONS[index].1 },
        weight: (index + 1) as f64,
        capacity: *capacity,
        nodes: vec![Node {
            name: format!("n{index}").parse().unwrap(),
            at: SocketAddr::from(([127, 0, 1, index as u8 + 1], 7080)).into(),
            addresses: vec![],
            weight: 1,
        }],
    });
    Fleet { regions: regions.collect() }
}

fn at(region: usize) -> Located {
    let (latitude, longitude) = POSITIONS[region];
    Located {
        source: LocationSource::Database,
        country: Country::new(["DE", "US", "SG", "BR"][region]),
        position: Some(Position { latitude, longitude }),
        region: None,
    }
}

fn policies(fleet: &Fleet) -> Vec<Box<dyn Policy>> {
    let row =
        LatencyRow { from: Country::new("DE").unwrap(), to: vec![(RegionIndex(1), 10.0), (RegionIndex(0), 20.0)] };
    vec![
        Box::new(Nearest),
        Box::new(Latency { table: vec![row] }),
        Box::new(Weighted),
        Box::new(Failover {
            order: {
                let mut order: Vec<_> = fleet.indices().collect();
                order.reverse();
                order
            },
        }),
        Box::new(Spill { limit: LIMIT }),
    ]
}

/// One place near each region, and one whose location is unknown.
fn places(policy: &dyn Policy, fleet: &Fleet) -> Vec<Place> {
    let located = (0..fleet.regions.len()).map(at).chain([Located::UNKNOWN]);
    located.map(|located| Place { source: located.source, order: policy.order(fleet, &located) }).collect()
}

fn share(assignment: &Assignment, class: usize, region: usize) -> f64 {
    let shares = assignment.shares(PlaceClass(class as u16));
    shares.iter().find(|(known, _)| known.at() == region).map_or(0.0, |(_, share)| *share)
}

/// Requests per second that a region is given.
fn load(assignment: &Assignment, demand: &[f64], region: usize) -> f64 {
    demand.iter().enumerate().map(|(class, demand)| demand * share(assignment, class, region)).sum()
}

proptest! {
    #[test]
    fn every_policy_keeps_the_invariants(
        capacities in prop::collection::vec(prop::option::of(1.0f64..500.0), 1..=4),
        admission in prop::collection::vec(prop_oneof![Just(0.0), Just(1.0), 0.05f64..1.0], 4),
        demand in prop::collection::vec(prop_oneof![Just(0.0), 0.1f64..400.0], 5),
    ) {
        let fleet = fleet(&capacities);
        let count = fleet.regions.len();
        let admission = &admission[..count];
        prop_assume!(admission.iter().any(|part| *part > 0.0));
        for policy in policies(&fleet) {
            let places = places(policy.as_ref(), &fleet);
            for place in &places {
                let mut order = place.order.clone();
                order.sort_unstable();
                prop_assert_eq!(order, fleet.indices().collect::<Vec<_>>(), "every region once");
            }
            let demand = &demand[..places.len()];
            let moment = PolicyInput { fleet: &fleet, admission, places: &places, demand };
            let assignment = policy.assign(&moment);
            prop_assert_eq!(&assignment, &policy.assign(&moment), "the same moment gives the same assignment");
            prop_assert_eq!(assignment.classes(), places.len());
            for class in 0..places.len() {
                let sum: f64 = (0..count).map(|region| share(&assignment, class, region)).sum();
                let shed = assignment.shed(PlaceClass(class as u16));
                prop_assert!((sum + shed - 1.0).abs() < 1e-6, "{policy:?} {sum} {shed}");
                for (region, admission) in admission.iter().enumerate() {
                    let share = share(&assignment, class, region);
                    prop_assert!((0.0..=1.0 + 1e-9).contains(&share));
                    prop_assert!(*admission > 0.0 || share == 0.0, "{policy:?} gives a share to a region that is out");
                }
            }
            let limited = format!("{policy:?}").starts_with("Spill");
            for (region, (capacity, admission)) in capacities.iter().zip(admission).enumerate() {
                if let (true, Some(capacity)) = (limited, capacity) {
                    let given = load(&assignment, demand, region);
                    prop_assert!(given <= capacity * LIMIT * admission + 1e-3, "{given} of {capacity}");
                }
            }
            if !limited {
                let shed: f64 = (0..places.len()).map(|class| assignment.shed(PlaceClass(class as u16))).sum();
                prop_assert!(shed < 1e-6, "{policy:?} sheds without a limit");
            }
        }
    }

    /// Nothing is shed while a healthy region has room.
    #[test]
    fn spill_sheds_only_what_no_region_can_take(
        capacities in prop::collection::vec(1.0f64..300.0, 2..=4),
        demand in prop::collection::vec(0.1f64..300.0, 5),
    ) {
        let fleet = fleet(&capacities.iter().map(|one| Some(*one)).collect::<Vec<_>>());
        let policy = Spill { limit: LIMIT };
        let places = places(&policy, &fleet);
        let admission = vec![1.0; fleet.regions.len()];
        let demand = &demand[..places.len()];
        let assignment = policy.assign(&PolicyInput { fleet: &fleet, admission: &admission, places: &places, demand });
        let asked: f64 = demand.iter().sum();
        let room: f64 = capacities.iter().map(|one| one * LIMIT).sum();
        let given: f64 = (0..fleet.regions.len()).map(|region| load(&assignment, demand, region)).sum();
        prop_assert!((given - asked.min(room)).abs() < asked * 1e-3 + 1e-3, "given {given} of {asked}, room {room}");
    }
}

/// In this case a plain failover overloads the neighbours one after the other.
#[test]
fn a_dead_region_at_55_percent_leaves_both_survivors_below_the_limit() {
    let fleet = fleet(&[Some(100.0), Some(100.0), Some(100.0)]);
    let policy = Spill { limit: LIMIT };
    let places = places(&policy, &fleet);
    let demand = [55.0, 55.0, 55.0, 0.0];
    for dead in 0..3 {
        let mut admission = [1.0; 3];
        admission[dead] = 0.0;
        let assignment =
            policy.assign(&PolicyInput { fleet: &fleet, admission: &admission, places: &places, demand: &demand });
        for region in (0..3).filter(|region| *region != dead) {
            assert!(load(&assignment, &demand, region) <= 85.0 + 1e-6);
            assert!(
                (share(&assignment, region, region) - 1.0).abs() < 1e-9,
                "clients whose own region has room stay there"
            );
        }
        let shed: f64 = (0..4).map(|class| demand[class] * assignment.shed(PlaceClass(class as u16))).sum();
        assert!(shed < 1e-6, "all of it fits");
    }
}

#[test]
fn the_table_of_latencies_goes_before_distance() {
    let fleet = fleet(&[None, None, None]);
    let policies = policies(&fleet);
    assert_eq!(policies[0].order(&fleet, &at(0))[0], RegionIndex(0));
    assert_eq!(policies[1].order(&fleet, &at(0)), [RegionIndex(1), RegionIndex(0), RegionIndex(2)]);
    assert_eq!(policies[1].order(&fleet, &at(2))[0], RegionIndex(2), "no row: by distance");
    let told = Located { region: Some(RegionIndex(2)), ..Located::UNKNOWN };
    assert_eq!(policies[0].order(&fleet, &told)[0], RegionIndex(2));
}

#[test]
fn a_ramping_region_takes_its_admission_and_no_more() {
    let fleet = fleet(&[None, None, None]);
    for policy in [&Nearest as &dyn Policy, &Spill { limit: LIMIT }] {
        let places = places(policy, &fleet);
        let demand = [10.0; 4];
        let moment = PolicyInput { fleet: &fleet, admission: &[0.25, 1.0, 1.0], places: &places, demand: &demand };
        let assignment = policy.assign(&moment);
        assert!((0.2..0.45).contains(&share(&assignment, 0, 0)), "{policy:?} {}", share(&assignment, 0, 0));
    }
}

#[test]
fn a_policy_for_another_fleet_keeps_its_regions_by_name() {
    let before = fleet(&[None, None, None]);
    // The first region is gone, and another one comes last.
    let four = fleet(&[None, None, None, None]);
    let after = Fleet { regions: four.regions[1..].to_vec() };
    for policy in policies(&before) {
        let carried = policy.carried(&before, &after);
        for place in 0..4 {
            let mut order = carried.order(&after, &at(place));
            order.sort_unstable();
            assert_eq!(order, after.indices().collect::<Vec<_>>(), "{carried:?}: every region once");
        }
    }
    let failover = policies(&before)[3].carried(&before, &after);
    assert_eq!(failover.order(&after, &at(0)), [RegionIndex(1), RegionIndex(0), RegionIndex(2)]);
    let latency = policies(&before)[1].carried(&before, &after);
    assert_eq!(latency.order(&after, &at(0))[0], RegionIndex(0), "10 ms to the region that stays");
}
