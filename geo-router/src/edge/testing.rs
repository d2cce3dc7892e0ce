//! Shared parts of the unit tests: fleets, heads.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::fleet::{Fleet, Node, Region};
use api::Position;

/// Regions with these numbers of nodes of weight 1.
pub(super) fn fleet(nodes: &[usize]) -> Fleet {
    let region = |(index, count): (usize, &usize)| region(index, &vec![1; *count]);
    Fleet { regions: nodes.iter().enumerate().map(region).collect() }
}

/// One region with nodes of these weights.
pub(super) fn weighted_fleet(weights: &[u32]) -> Fleet {
    Fleet { regions: vec![region(0, weights)] }
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
        http: format!("127.0.{index}.{}:7080", node + 1).parse().expect("an address"),
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
