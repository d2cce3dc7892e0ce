//! `GET /v1/cluster`: regions and nodes as one node sees them.

use serde::{Deserialize, Serialize};

use crate::members::Member;
use crate::orders::Order;
use crate::{Moment, NodeName, Position, RegionId};

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// The node that answers.
    pub node: NodeName,
    /// Its region.
    pub region: RegionId,
    /// Whether it is fit to serve.
    pub ready: bool,
    /// All regions of its deployment.
    pub regions: Vec<ClusterRegion>,
    /// The nodes whose membership operators changed while the deployment ran; the others are as configured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Member>,
}

/// One region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterRegion {
    /// Its name.
    pub region: RegionId,
    /// Where it is, if that is configured.
    #[serde(default)]
    pub position: Option<Position>,
    /// Whether the node hears the region; it always hears its own.
    #[serde(default)]
    pub connected: bool,
    /// Whether an operator has ordered that new clients are now sent elsewhere.
    #[serde(default)]
    pub drain: bool,
    /// The operator's last order, without its author and reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// The moment through which the node has all that the region acknowledged; absent if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete_through: Option<Moment>,
    /// Its nodes.
    #[serde(default)]
    pub nodes: Vec<ClusterNode>,
}

/// One node, as the answering node sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterNode {
    /// Its name.
    pub name: NodeName,
    /// Whether there is a link to it.
    pub connected: bool,
    /// Entries of the answering node's log that it lacks.
    pub lag_entries: u64,
    /// The age of the oldest of them.
    pub lag_seconds: f64,
    /// How far its clock is ahead of the answering node's; absent if it was never heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_ms: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::Cluster;

    /// While a deployment is renewed, its processes are of two versions.
    #[test]
    fn answers_of_other_versions_are_read() {
        let later = r#"{"node": "eu", "region": "eu", "ready": true, "shards": 4, "regions": [{"region": "eu", "city": 1,
            "position": {"latitude": 1.0, "longitude": 2.0, "height": 3.0},
            "order": {"order": "drained", "since": "2026-01-01T00:00:00Z", "ticket": 7}}]}"#;
        let cluster: Cluster = serde_json::from_str(later).unwrap();
        assert!(cluster.regions[0].order.is_some() && cluster.regions[0].nodes.is_empty());
    }
}
