//! Shares from the clients' view: where they go, which move when something fails, and in which order the edge tries.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

use api::explanation::{RegionState, RouteReason};

use super::{RegionView, View};
use crate::fleet::{Fleet, Node, Region, RegionIndex};
use crate::location::{Database, Locator, Places};
use crate::policy::{Nearest, Policy, PolicyInput, Spill, Weighted};
use crate::signals::Signals;
use api::Position;

fn fleet() -> Arc<Fleet> {
    let regions = [("eu", 50.11, 8.68, 1.0), ("us", 39.04, -77.49, 2.0), ("ap", 1.35, 103.82, 1.0)];
    let regions = regions.into_iter().enumerate().map(|(index, (name, latitude, longitude, weight))| Region {
        name: name.parse().unwrap(),
        position: Position { latitude, longitude },
        weight,
        capacity: None,
        nodes: (1..=2)
            .map(|k| Node {
                name: format!("{name}-{k}").parse().unwrap(),
                at: SocketAddr::from(([127, 0, k, index as u8 + 1], 7080)).into(),
                addresses: vec![IpAddr::from([127, 0, k, index as u8 + 1])],
                weight: 1,
            })
            .collect(),
    });
    Arc::new(Fleet { regions: regions.collect() })
}

static PLACES: LazyLock<Arc<Places>> = LazyLock::new(|| {
    let locator = Locator::new(Vec::new(), Database::shipped().unwrap());
    Arc::new(Places::build(locator, |located| Nearest.order(&fleet(), located)).unwrap())
});

fn view(policy: &dyn Policy, states: [RegionState; 3]) -> View {
    let fleet = fleet();
    let admission = states.map(|state| f64::from(u8::from(state.serves())));
    let demand = vec![0.0; PLACES.classes().len()];
    let moment = PolicyInput { fleet: &fleet, admission: &admission, places: PLACES.classes(), demand: &demand };
    let assignment = policy.assign(&moment);
    let regions = states.into_iter().zip(admission);
    let regions = regions.map(|(state, admission)| RegionView { state, admission, nodes_up: vec![true, true] });
    View {
        epoch: 1,
        connector: Arc::default(),
        signals: Arc::new(Signals::new(&fleet, PLACES.classes().len())),
        places: Arc::clone(&PLACES),
        regions: regions.collect(),
        assignment,
        ttl: 5,
        fail_open: false,
        frozen: false,
        fleet,
    }
}

/// Addresses all over the space, the same in every run.
fn clients() -> impl Iterator<Item = IpAddr> {
    (0..40_000_u32).map(|number| Ipv4Addr::from(number.wrapping_mul(2_654_435_769)).into())
}

const ALL_UP: [RegionState; 3] = [RegionState::Up; 3];

#[test]
fn clients_are_split_by_weights() {
    let view = view(&Weighted, ALL_UP);
    let mut counts = [0_u32; 3];
    clients().for_each(|client| counts[view.route(client).region.at()] += 1);
    let shares = counts.map(|count| f64::from(count) / 40_000.0);
    for (share, wanted) in shares.into_iter().zip([0.25, 0.5, 0.25]) {
        assert!((share - wanted).abs() < 0.02, "{shares:?}");
    }
}

/// When a region fails, only its own clients move.
#[test]
fn only_the_clients_of_a_lost_region_move() {
    for policy in [&Nearest as &dyn Policy, &Weighted] {
        let before = view(policy, ALL_UP);
        let after = view(policy, [RegionState::Up, RegionState::Down, RegionState::Up]);
        for client in clients() {
            let (was, is) = (before.route(client), after.route(client));
            assert_eq!(was.leaf, is.leaf, "scopes do not depend on health");
            assert_ne!(is.region, RegionIndex(1));
            assert!(was.region == is.region || was.region == RegionIndex(1), "{policy:?} {client}");
        }
    }
}

#[test]
fn all_clients_of_a_leaf_get_the_same() {
    let view = view(&Weighted, ALL_UP);
    for client in clients().step_by(50) {
        let route = view.route(client);
        let IpAddr::V4(first) = route.leaf.network else { panic!("{route:?}") };
        let last = u32::from(first) | u32::MAX.checked_shr(route.leaf.prefix.into()).unwrap_or(0);
        for other in [u32::from(first), last] {
            assert_eq!(view.route(Ipv4Addr::from(other).into()), route);
        }
    }
}

#[test]
fn the_edge_tries_serving_regions_first_and_never_those_under_maintenance() {
    use RegionState::{Down, Drained, Maintenance, Up};
    let german: IpAddr = "46.4.0.1".parse().unwrap();
    let names = |states| -> Vec<u8> { view(&Nearest, states).ranking(german).into_iter().map(|one| one.0).collect() };
    assert_eq!(names([Up, Up, Up]), [0, 1, 2]);
    assert_eq!(names([Down, Up, Up]), [1, 2, 0]);
    assert_eq!(names([Down, Drained, Up]), [2, 1, 0]);
    assert_eq!(names([Maintenance, Up, Up]), [1, 2]);
    let view = view(&Nearest, [Down, Up, Up]);
    assert_eq!(view.route(german).reason, RouteReason::Failover);
}

/// Under overload a whole class may be shed; DNS still names a region that is up.
#[test]
fn clients_that_are_shed_are_not_sent_to_a_dead_region() {
    let fleet = Fleet {
        regions: fleet().regions.iter().map(|region| Region { capacity: Some(4.0), ..region.clone() }).collect(),
    };
    let demand = vec![30.0; PLACES.classes().len()];
    let admission = [1.0, 0.0, 1.0];
    let moment = PolicyInput { fleet: &fleet, admission: &admission, places: PLACES.classes(), demand: &demand };
    let mut view = view(&Nearest, [RegionState::Up, RegionState::Down, RegionState::Up]);
    view.assignment = Spill { limit: 0.85 }.assign(&moment);
    let american: IpAddr = "8.8.8.8".parse().unwrap();
    let class = view.places.leaf(american).class;
    assert!(view.shed(class) > 0.9, "{}", view.shed(class));
    let route = view.route(american);
    assert!(route.region != RegionIndex(1) && route.reason == RouteReason::Failover, "{route:?}");
}

#[test]
fn addresses_of_nodes_that_are_well_are_published() {
    let mut view = view(&Nearest, ALL_UP);
    let published = |view: &View| view.published(RegionIndex(0)).map(|address| address.to_string()).collect::<Vec<_>>();
    assert_eq!(published(&view), ["127.0.1.1", "127.0.2.1"]);
    view.regions[0].nodes_up = vec![false, true];
    assert_eq!(published(&view), ["127.0.2.1"]);
    view.regions[0].nodes_up = vec![false, false];
    assert_eq!(published(&view), ["127.0.1.1", "127.0.2.1"], "no node is up: all addresses are better than none");
}

/// The regions of a client in the order in which an answer names them.
fn named(view: &View, client: IpAddr, most: usize) -> Vec<RegionIndex> {
    let route = view.route(client);
    let mut regions = vec![route.region; most];
    let count = view.others(&route, |region| view.takes_more(region), &mut regions);
    regions.truncate(count);
    regions
}

/// The second region of an answer is the one that the client would get without the first, also if shares are split.
#[test]
fn the_next_region_is_where_the_clients_of_a_lost_one_go() {
    for policy in [&Nearest as &dyn Policy, &Weighted] {
        let before = view(policy, ALL_UP);
        for client in clients().step_by(10) {
            let regions = named(&before, client, 2);
            let mut states = ALL_UP;
            states[regions[0].at()] = RegionState::Down;
            assert_eq!(regions[1], view(policy, states).route(client).region, "{policy:?} {client}");
        }
    }
}

/// A region without room follows no other one, whether it is filled by its own clients or by those of others.
#[test]
fn a_full_region_gets_no_clients_beyond_its_shares() {
    let german: IpAddr = "46.4.0.1".parse().unwrap();
    let plan = |us: Option<f64>| {
        let capacity = |region: &Region| if region.name.as_str() == "us" { us } else { Some(1e9) };
        let fleet = Fleet {
            regions: fleet().regions.iter().map(|one| Region { capacity: capacity(one), ..one.clone() }).collect(),
        };
        let demand = vec![30.0; PLACES.classes().len()];
        let moment = PolicyInput { fleet: &fleet, admission: &[1.0; 3], places: PLACES.classes(), demand: &demand };
        let mut view = view(&Nearest, ALL_UP);
        view.assignment = Spill { limit: 0.85 }.assign(&moment);
        named(&view, german, 3)
    };
    let [eu, us, ap] = [0, 1, 2].map(RegionIndex);
    assert_eq!(plan(None), [eu, us, ap]);
    assert_eq!(plan(Some(1e9)), [eu, us, ap]);
    assert_eq!(plan(Some(4.0)), [eu, ap]);
}
