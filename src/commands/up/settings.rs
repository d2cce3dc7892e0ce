//! The size of a deployment.

use api::RegionId;
use node::config::Engine;
use serde::{Deserialize, Serialize};

/// The regions in their order: name, latitude, longitude.
pub(super) const REGIONS: [(&str, f64, f64); 5] = [
    ("eu-central", 50.11, 8.68),
    ("us-east", 39.04, -77.49),
    ("ap-southeast", 1.35, 103.82),
    ("sa-east", -23.55, -46.63),
    ("ap-northeast", 35.68, 139.69),
];

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
