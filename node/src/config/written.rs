//! The configuration file as it is written: plain values, defaults, no unknown keys.
//!
//! These types are also serialised, so that `meridian up` writes its files with the very structs that read them.
//! Never use `flatten` or a unit enum variant that should have fields: serde lets unknown keys through in both.
//!
//! # Not here
//! Bounds: [`super::validate`].

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use api::{NodeName, RegionId};
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use service::access_log::LogSection;
use service::certificates::CertificateSection;
use service::config::{Listen, PositionSection};

use super::{Engine, NewVenues};

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
    /// `[http]`
    #[serde(default)]
    pub http: HttpSection,
    /// `[limits]`
    #[serde(default)]
    pub limits: LimitsSection,
    /// `[faults]`
    #[serde(default)]
    pub faults: FaultsSection,
    /// `[backup]`
    #[serde(default)]
    pub backup: BackupSection,
    /// `[admin]`
    #[serde(default)]
    pub admin: AdminSection,
    /// `[log]`
    #[serde(default)]
    pub log: LogSection,
    /// `[drills]`
    #[serde(default)]
    pub drills: DrillsSection,
    /// `[[peers]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<PeerSection>,
}

/// `[listen]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenSection {
    /// Guests, owners and probes.
    pub public: Listen,
    /// The same over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_tls: Option<Listen>,
    /// Peers.
    #[serde(deserialize_with = "service::config::socket")]
    pub replication: SocketAddr,
    /// Operators.
    pub admin: Listen,
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
    /// The authority's list of revoked certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<PathBuf>,
    /// `[tls.public]`: the certificate of `listen.public_tls`, if not this node's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<CertificateSection>,
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
    /// Below this much free space, in MiB, no new visits and venues are taken; 0 for no such bound.
    pub reserve_mib: u64,
    /// Time from the end of a scrub to the next one.
    pub scrub_every_s: u64,
    /// MiB of a file that is given up when the disk is full, so that what is over can be removed; 0 for none.
    pub ballast_mib: u64,
}

impl Default for StorageSection {
    fn default() -> Self {
        Self { engine: Engine::default(), cache_mib: 8, reserve_mib: 256, scrub_every_s: 21_600, ballast_mib: 16 }
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
    /// Who may make a venue.
    pub new_venues: NewVenues,
    /// After how many days a venue is closed that never had a check-in; 0 for never.
    pub unused_venues_days: u64,
}

impl Default for RegistrySection {
    fn default() -> Self {
        Self {
            policy: "default".to_owned(),
            policies: None,
            public_url: None,
            console_keys: Vec::new(),
            new_venues: NewVenues::Open,
            unused_venues_days: 90,
        }
    }
}

/// `[http]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSection {
    /// Origins whose pages may call the guest's routes from a browser; `*` stands for any.
    pub cors_origins: Vec<String>,
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

/// `[backup]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackupSection {
    /// Public keys (age). If there are any, backups of this node are encrypted to no others.
    pub recipients: Vec<String>,
    /// Memory for what changes while a backup is made, in MiB.
    pub kept_mib: u64,
}

impl Default for BackupSection {
    fn default() -> Self {
        Self { recipients: Vec::new(), kept_mib: 64 }
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    /// Client connections at one time.
    pub connections: u64,
    /// Connections of one client (an IPv4 address or an IPv6 /56) at one time.
    pub connections_per_client: u64,
    /// How long a client may take nothing of an answer, in seconds.
    pub unread_s: u64,
    /// Networks of the routers.
    pub routers: Vec<IpNetwork>,
    /// New venues of one client in an hour.
    pub venues_per_hour: u64,
    /// Erasures of one client in an hour of visits that are not known here.
    pub erasures_per_hour: u64,
}

impl Default for LimitsSection {
    fn default() -> Self {
        let loopback = [(IpAddr::from([127, 0, 0, 0]), 8), (IpAddr::from(Ipv6Addr::LOCALHOST), 128)];
        Self {
            connections: 10_000,
            connections_per_client: 4_000,
            unread_s: 30,
            // The prefixes are valid.
            routers: loopback.into_iter().filter_map(|(ip, prefix)| IpNetwork::new(ip, prefix).ok()).collect(),
            venues_per_hour: 60,
            erasures_per_hour: 200,
        }
    }
}
