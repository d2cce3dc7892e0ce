//! The size of a deployment.

use api::RegionId;
use node::config::Engine;
use serde::{Deserialize, Serialize};

use super::layout::REGIONS;

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

impl Settings {
    /// Whether no region is left.
    pub(super) fn is_empty(&self) -> bool {
        usize::from(self.regions) <= self.removed.iter().filter(|region| self.has_place(region)).count()
    }

    fn has_place(&self, region: &RegionId) -> bool {
        REGIONS.iter().take(usize::from(self.regions)).any(|(name, ..)| *name == region.as_str())
    }
}

fn one() -> u8 {
    1
}
