//! The configuration file as it is written: plain values, defaults, no unknown keys.
//!
//! These types are also serialised, so that `meridian up` writes its files with the very structs that read them.
//! Never use `flatten` or a unit enum variant that should have fields: serde lets unknown keys through in both.
//!
//! # Not here
//! Bounds: [`super::validate`].

use std::net::SocketAddr;
use std::path::PathBuf;

use api::{NodeName, RegionId};
use serde::{Deserialize, Serialize};
use service::config::PositionSection;

use super::Engine;

/// A whole `node.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeFile {
    /// The region this node serves.
    pub region: RegionId,
    /// The name on its certificate; the region's name unless it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<NodeName>,
    /// Folder of the store.
    pub data: PathBuf,
    /// File for the process id while the node runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_file: Option<PathBuf>,
    /// Where the region is.
    pub position: PositionSection,
    /// `[listen]`
    pub listen: ListenSection,
    /// `[tls]`
    pub tls: TlsSection,
    /// `[storage]`
    #[serde(default)]
    pub storage: StorageSection,
    /// `[replication]`
    #[serde(default)]
    pub replication: ReplicationSection,
    /// `[registry]`
    #[serde(default)]
    pub registry: RegistrySection,
    /// `[limits]`
    #[serde(default)]
    pub limits: LimitsSection,
    /// `[faults]`
    #[serde(default)]
    pub faults: FaultsSection,
    /// `[admin]`
    #[serde(default)]
    pub admin: AdminSection,
    /// `[drills]`
    #[serde(default)]
    pub drills: DrillsSection,
    /// `[[peers]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerSection>,
}

/// `[listen]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenSection {
    /// Guests, owners and probes.
    pub public: SocketAddr,
    /// Peers.
    pub replication: SocketAddr,
    /// Operators.
    pub admin: SocketAddr,
}

/// `[tls]`: PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// This node's certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// One of `[[peers]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerSection {
    /// The name on the peer's certificate.
    pub name: NodeName,
    /// The region it serves.
    pub region: RegionId,
    /// `host:port` of its replication listener. A host name is resolved again at each attempt.
    pub address: String,
    /// Where its region is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<PositionSection>,
}

/// `[storage]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageSection {
    /// `sled` or `fjall`.
    pub engine: Engine,
    /// Cache in MiB.
    pub cache_mib: u64,
}

impl Default for StorageSection {
    fn default() -> Self {
        Self { engine: Engine::default(), cache_mib: 8 }
    }
}

/// `[replication]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReplicationSection {
    /// Longest silence on a link.
    pub heartbeat_ms: u64,
    /// Largest clock difference at which a peer's expiry horizon is believed; the same in every node.
    pub max_clock_skew_s: u64,
    /// How long a peer may lack another origin's entries before this node relays them.
    pub relay_after_ms: u64,
    /// Bytes on their way to one peer at most, in KiB.
    pub in_flight_kib: u64,
}

impl Default for ReplicationSection {
    fn default() -> Self {
        Self { heartbeat_ms: 500, max_clock_skew_s: 60, relay_after_ms: 2_000, in_flight_kib: 4_096 }
    }
}

/// `[registry]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistrySection {
    /// Id of the policy pack for new venues.
    pub policy: String,
    /// Folder with more packs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policies: Option<PathBuf>,
    /// Prefix of the links that guests are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// Files with the keys that sign the console's cookie.
    pub console_keys: Vec<PathBuf>,
}

impl Default for RegistrySection {
    fn default() -> Self {
        Self { policy: "default".to_owned(), policies: None, public_url: None, console_keys: Vec::new() }
    }
}

/// `[faults]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultsSection {
    /// Whether operators may make faults on this node, for drills.
    pub enabled: bool,
}

/// `[drills]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DrillsSection {
    /// Drills that this node checks again and again, without running them.
    pub check: Vec<PathBuf>,
    /// Minutes between two checks.
    pub every_min: u64,
}

impl Default for DrillsSection {
    fn default() -> Self {
        Self { check: Vec::new(), every_min: 30 }
    }
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSection {
    /// The file with the operators and the hashes of their tokens; without it every client of the listener is trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operators: Option<PathBuf>,
    /// An order that would leave fewer other regions to serve is refused, unless it is forced.
    pub least_regions: usize,
}

impl Default for AdminSection {
    fn default() -> Self {
        Self { operators: None, least_regions: 1 }
    }
}

/// `[limits]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    /// Client connections at one time.
    pub connections: u64,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self { connections: 10_000 }
    }
}
