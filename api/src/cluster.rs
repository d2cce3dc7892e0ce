//! `GET /v1/cluster`: regions and nodes as one node sees them.

use serde::{Deserialize, Serialize};

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
    /// All configured regions.
    pub regions: Vec<ClusterRegion>,
}

/// One region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterRegion {
    /// Its name.
    pub region: RegionId,
    /// Where it is, if that is configured.
    pub position: Option<Position>,
    /// Whether the node hears the region; it always hears its own.
    pub connected: bool,
    /// Whether an operator has ordered that new clients are now sent elsewhere.
    pub drain: bool,
    /// The operator's last order, without its author and reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// The moment through which the node has all that the region acknowledged; absent if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete_through: Option<Moment>,
    /// Its nodes.
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
