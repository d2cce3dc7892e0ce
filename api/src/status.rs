//! What a process tells probes and operators about itself: `/readyz` and `/v1/admin/status`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::explanation::RegionState;
use crate::faults::ActiveFault;
use crate::named;
use crate::orders::Order;
use crate::{Moment, NodeName, RegionId};

/// `GET /readyz`: whether clients should be sent there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether there is no reason against it.
    pub ready: bool,
    /// The reasons against it, in words.
    pub reasons: Vec<String>,
}

/// `GET /v1/admin/status` of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its region.
    pub region: RegionId,
    /// Its name.
    pub name: NodeName,
    /// The id of its store's present incarnation.
    pub replica: String,
    /// Whether it is fit to serve.
    pub ready: bool,
    /// Whether an operator has ordered that new clients of this region are sent elsewhere.
    #[serde(default)]
    pub drain: bool,
    /// Why it is not fit to serve.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// Its clock.
    pub clock: ClockStatus,
    /// Everything that expired up to here is gone; `null` until something has expired.
    pub horizon: Option<Moment>,
    /// Documents that readers see.
    pub live_documents: u64,
    /// Erasures that are still remembered.
    pub tombstones: u64,
    /// Rows that are damaged there and have not come back from a peer yet.
    #[serde(default)]
    pub damaged_rows: u64,
    /// Days with data, and the bucket of what lasts.
    #[serde(default)]
    pub buckets: usize,
    /// The moments through which it has all that each region acknowledged.
    #[serde(default)]
    pub complete_through: BTreeMap<RegionId, Moment>,
    /// The nodes that it replicates with.
    #[serde(default)]
    pub peers: Vec<PeerStatus>,
    /// Until when peers accept its certificate, to the day; absent if they do not accept it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_until: Option<Moment>,
    /// Faults that operators made for a drill and that have not ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<ActiveFault>,
}

/// A node's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockStatus {
    /// Trusted time, in Unix milliseconds.
    pub trusted_ms: u64,
    /// How far this machine's clock is ahead of the median of its peers' clocks; 0 if none was heard.
    pub offset_ms: i64,
    /// Whether the clock is not believed, so that the node takes no writes.
    pub in_doubt: bool,
}

/// A peer of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its name.
    pub name: NodeName,
    /// Its region.
    pub region: RegionId,
    /// Whether there is a link to it.
    pub connected: bool,
    /// Entries of the node's log that it lacks.
    pub lag_entries: u64,
    /// Those of them that no other linked node writes, so that they would be lost with this node; absent in answers of
    /// release 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_from_here: Option<u64>,
    /// The age of the oldest of them.
    pub lag_seconds: f64,
    /// How far its clock is ahead of the node's; `null` if it was never heard.
    pub clock_offset_ms: Option<i64>,
}

/// `GET /v1/admin/status` of a router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterStatus {
    /// Its name.
    pub name: String,
    /// The number of its latest view.
    pub epoch: u64,
    /// Seconds for which its DNS answers may be kept.
    pub ttl: u32,
    /// Whether too few routers are heard for a verdict, so that the last one holds.
    pub frozen: bool,
    /// Whether no region is fit, so that health is ignored.
    pub fail_open: bool,
    /// The other routers that it hears.
    pub heard: Vec<String>,
    /// The regions to which it sends clients: the configured ones in the order of its configuration, then those that
    /// operators added, by name.
    pub regions: Vec<RoutedRegion>,
    /// Number of prefixes in its table (IPv4, IPv6).
    pub prefixes: (usize, usize),
}

/// One region, as a router sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoutedRegion {
    /// Its name.
    pub region: RegionId,
    /// Its state.
    pub state: RegionState,
    /// The part of its share that it takes, from 0 to 1.
    pub admission: f64,
    /// The newest order that a node showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// Its nodes.
    pub nodes: Vec<RoutedNode>,
}

/// One node, as a router sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutedNode {
    /// Its name.
    pub name: NodeName,
    /// Whether the router's own probes find it fit to serve.
    pub up: bool,
    /// The fault of the node or of the way to it, by the latest probe; absent if that probe was good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// The state of the edge's circuit breaker; absent without an edge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerState>,
}

named! {
    /// The requests that a circuit breaker lets through.
    BreakerState {
        /// All requests.
        Closed = "closed",
        /// No request, for a time.
        Open = "open",
        /// One request, as a trial.
        HalfOpen = "half-open",
    }
}
