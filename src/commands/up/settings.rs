//! The size of a deployment.

use api::RegionId;
use node::config::Engine;
use serde::{Deserialize, Serialize};

/// The settings on which a deployment's data depends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    /// The places of regions that are taken, those of removed ones included.
    pub(super) regions: u8,
    /// Nodes in each region.
    pub(super) nodes: u8,
    /// Routers.
    #[serde(default = "one")]
    pub(super) routers: u8,
    /// The storage engine.
    pub(super) engine: Engine,
    /// Regions that were removed, or never added before a later one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) removed: Vec<RegionId>,
}

fn one() -> u8 {
    1
}
