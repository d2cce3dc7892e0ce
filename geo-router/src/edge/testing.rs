//! Shared parts of the unit tests: fleets, views, heads.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use api::Position;
use api::explanation::RegionState;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::fleet::{Fleet, Node, Region};
use crate::location::{Database, Locator, Places};
use crate::policy::{Assignment, Nearest, Policy};
use crate::signals::Signals;
use crate::view::{RegionView, View};

/// Regions with these numbers of nodes of weight 1.
pub(super) fn fleet(nodes: &[usize]) -> Fleet {
    let region = |(index, count): (usize, &usize)| region(index, &vec![1; *count]);
    Fleet { regions: nodes.iter().enumerate().map(region).collect() }
}

/// One region with nodes of these weights.
pub(super) fn weighted_fleet(weights: &[u32]) -> Fleet {
    Fleet { regions: vec![region(0, weights)] }
}

/// A view of a fleet whose regions and nodes are up.
pub(super) fn view(fleet: &Arc<Fleet>) -> View {
    static PLACES: OnceLock<Arc<Places>> = OnceLock::new();
    let places = PLACES.get_or_init(|| {
        let locator = Locator::new(Vec::new(), Database::shipped().expect("the shipped database"));
        let one = self::fleet(&[1]);
        Arc::new(Places::build(locator, |located| Nearest.order(&one, located)).expect("places"))
    });
    let region = |nodes: usize| RegionView { state: RegionState::Up, admission: 1.0, nodes_up: vec![true; nodes] };
    View {
        epoch: 1,
        connector: Arc::default(),
        regions: fleet.regions.iter().map(|one| region(one.nodes.len())).collect(),
        signals: Arc::new(Signals::new(fleet, places.classes().len())),
        fleet: Arc::clone(fleet),
        places: Arc::clone(places),
        assignment: Assignment::default(),
        ttl: 5,
        fail_open: false,
        frozen: false,
    }
}

/// A head with these lines.
pub(super) fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(name.parse::<HeaderName>().expect("a name"), HeaderValue::from_str(value).expect("a value"));
    }
    headers
}

fn region(index: usize, weights: &[u32]) -> Region {
    let node = |(node, weight): (usize, &u32)| Node {
        name: format!("node-{index}-{node}").try_into().expect("a name"),
        at: format!("127.0.{index}.{}:7080", node + 1).parse::<SocketAddr>().expect("an address").into(),
        addresses: Vec::new(),
        weight: *weight,
    };
    Region {
        name: format!("region-{index}").try_into().expect("a name"),
        position: Position { latitude: 50.0, longitude: 10.0 * index as f64 },
        weight: 1.0,
        capacity: None,
        nodes: weights.iter().enumerate().map(node).collect(),
    }
}
