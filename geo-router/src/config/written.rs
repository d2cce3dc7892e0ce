//! `router.toml` as it is written: plain values, defaults, no unknown keys.
//!
//! These types are also serialised, so that `meridian up` writes its files with the very structs that read them.
//! Never use `flatten` or a unit enum variant that should have fields: serde lets unknown keys through in both.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use api::{HostPort, NodeName, RegionId};
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use service::access_log::LogSection;
use service::config::{Listen, PositionSection};

use crate::dns::DnsSection;
use crate::edge::EdgeSection;

/// A whole `router.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterFile {
    /// This router's name.
    pub name: NodeName,
    /// The region in which it runs, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionId>,
    /// Folder for the state that it keeps over a restart.
    pub data: PathBuf,
    /// File for the process id while the router runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_file: Option<PathBuf>,
    /// `[admin]`
    pub admin: AdminSection,
    /// `[log]`
    #[serde(default)]
    pub log: LogSection,
    /// `[dns]`; without it the router answers no DNS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsSection>,
    /// `[edge]`; without it the router takes no HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<EdgeSection>,
    /// `[location]`
    #[serde(default)]
    pub location: LocationSection,
    /// `[policy]`
    #[serde(default)]
    pub policy: PolicySection,
    /// `[health]`
    #[serde(default)]
    pub health: HealthSection,
    /// `[peers]`
    #[serde(default)]
    pub peers: PeersSection,
    /// `[nodes]`
    #[serde(default)]
    pub nodes: NodesSection,
    /// `[[regions]]`
    pub regions: Vec<RegionSection>,
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminSection {
    /// The listener for metrics, explanations and other routers.
    pub listen: Listen,
    /// The file with the operators and the hashes of their tokens; without it every client of the listener may look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operators: Option<PathBuf>,
}

/// `[location]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LocationSection {
    /// A country or city database in MaxMind DB format; the one in the binary unless it is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<PathBuf>,
    /// `[[location.overrides]]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<OverrideSection>,
}

/// One of `[[location.overrides]]`: a position or a region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverrideSection {
    /// The addresses of the override.
    pub network: IpNetwork,
    /// Where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<PositionSection>,
    /// Which region they prefer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionId>,
}

/// `[policy.<kind>]`: exactly one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum PolicySection {
    /// By great-circle distance.
    Nearest {},
    /// By a table of latencies: milliseconds by country and region.
    Latency {
        /// Country, then region, then milliseconds.
        table: BTreeMap<String, BTreeMap<RegionId, f64>>,
    },
    /// By the regions' weights.
    Weighted {},
    /// All to the first of this order that serves.
    Failover {
        /// Every region once.
        order: Vec<RegionId>,
    },
    /// By distance within the regions' capacity.
    Spill {
        /// The part of each capacity that may be used.
        limit: f64,
    },
}

impl Default for PolicySection {
    fn default() -> Self {
        Self::Nearest {}
    }
}

/// `[health]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthSection {
    /// Time between probes of a node.
    pub interval_ms: u64,
    /// How long a probe may take.
    pub timeout_ms: u64,
    /// Number of failures that make a node down.
    pub down_after: u64,
    /// Number of successes in a row that forgive earlier failures.
    pub ok_after: u64,
    /// Number of successes in a row that make a node up.
    pub up_after: u64,
    /// Shortest time that a node stays down.
    pub hold_down_s: u64,
    /// How long a region takes to get its whole share back.
    pub ramp_s: u64,
}

impl Default for HealthSection {
    fn default() -> Self {
        Self {
            interval_ms: 1_000,
            timeout_ms: 900,
            down_after: 3,
            ok_after: 3,
            up_after: 5,
            hold_down_s: 20,
            ramp_s: 30,
        }
    }
}

/// `[peers]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PeersSection {
    /// A file with the secret that all routers share; required if there is another router.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// `[[peers.routers]]`: the other routers, without this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routers: Vec<PeerSection>,
}

/// One of `[[peers.routers]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerSection {
    /// Its name.
    pub name: NodeName,
    /// The region in which it runs, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionId>,
    /// Its admin listener.
    #[serde(deserialize_with = "service::config::socket")]
    pub admin: SocketAddr,
}

/// `[nodes]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodesSection {
    /// A file with the authorities that certify nodes; those that the system trusts without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// A file with their lists of revoked certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked: Option<PathBuf>,
    /// Seconds between two questions for the addresses of host names.
    pub resolve_every_s: u64,
    /// The name servers that are asked; those of the system unless given.
    #[serde(deserialize_with = "service::config::sockets", skip_serializing_if = "Vec::is_empty")]
    pub resolvers: Vec<SocketAddr>,
}

impl Default for NodesSection {
    fn default() -> Self {
        Self { ca: None, revoked: None, resolve_every_s: 5, resolvers: Vec::new() }
    }
}

/// One of `[[regions]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionSection {
    /// Its name.
    pub name: RegionId,
    /// Where it is.
    pub position: PositionSection,
    /// Its weight in a split by weights.
    #[serde(default = "one")]
    pub weight: f64,
    /// Requests per second that it can take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<f64>,
    /// `[[regions.nodes]]`
    pub nodes: Vec<NodeSection>,
}

/// One of `[[regions.nodes]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSection {
    /// Its name.
    pub name: NodeName,
    /// Its public listener with TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<HostPort>,
    /// The name that its certificate shows; the host of `https` if that is a name, otherwise the node's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Its public listener without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HostPort>,
    /// The addresses that DNS answers for it; those of its listener unless given.
    #[serde(default, deserialize_with = "service::config::addresses", skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// Its weight among the region's nodes.
    #[serde(default = "one_whole")]
    pub weight: u32,
}

fn one() -> f64 {
    1.0
}

fn one_whole() -> u32 {
    1
}
