//! The size of a deployment.

use node::config::Engine;
use serde::{Deserialize, Serialize};

/// The settings on which a deployment's data depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    /// Regions.
    pub(super) regions: u8,
    /// Nodes in each region.
    pub(super) nodes: u8,
    /// Routers.
    #[serde(default = "one")]
    pub(super) routers: u8,
    /// The storage engine.
    pub(super) engine: Engine,
}

fn one() -> u8 {
    1
}
