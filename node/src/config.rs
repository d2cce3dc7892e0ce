//! Configuration of one node: to hold a [`NodeConfig`] is proof that every bound below was checked.
//!
//! A file is read in two steps ([`service::config`]). The *written* form is [`NodeFile`]; this module is the *checked* one.
//!
//! # Not here
//! Whether the certificates are usable ([`service::authority`]) and which policy packs exist (`registry`): a configuration
//! can be valid before the files that it names exist.

mod validate;
mod written;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::{HostPort, NodeName, Position, RegionId};
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use service::authority::IdentityFiles;
use service::certificates::CertificateSection;
use service::config::{self, ConfigError, Listen};

use crate::backup_key::{BadKey, Recipient};

pub use written::{
    AdminSection, BackupSection, DrillsSection, FaultsSection, HttpSection, LimitsSection, ListenSection, NodeFile,
    PeerSection, RegistrySection, ReplicationSection, StorageSection, TlsSection,
};

/// The checked configuration of one node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeConfig {
    /// The region this node serves.
    pub region: RegionId,
    /// The name on its certificate.
    pub name: NodeName,
    /// Where the region is.
    pub position: Position,
    /// Folder of the store.
    pub data: PathBuf,
    /// File that holds the process id while the node runs.
    pub pid_file: Option<PathBuf>,
    /// Its listeners.
    pub listen: ListenConfig,
    /// Files of the private certificate authority and of this node's identity, as absolute paths.
    pub tls: IdentityFiles,
    /// Certificate and key of `listen.public_tls`.
    pub public_certificate: CertificateSection,
    /// The other nodes it replicates with.
    pub peers: Vec<PeerConfig>,
    /// Storage engine and its memory.
    pub storage: StorageConfig,
    /// Pace and bounds of replication.
    pub replication: ReplicationConfig,
    /// Policy packs and public address.
    pub registry: RegistryConfig,
    /// Origins whose pages may call the guest's routes; `*` stands for any.
    pub cors_origins: Vec<String>,
    /// Limits for clients.
    pub limits: LimitsConfig,
    /// Backups.
    pub backup: BackupConfig,
    /// Whether operators may make faults on this node, for drills.
    pub faults: bool,
    /// Drills that the node checks again and again.
    pub drills: DrillsConfig,
    /// How many other regions must be left to serve when one is drained.
    pub least_regions: usize,
    /// The file with the operators.
    pub operators: Option<PathBuf>,
    /// The file of the access log.
    pub access_log: Option<PathBuf>,
}

/// The listeners of a node; no two share an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// Guests, owners and probes (HTTP).
    pub public: Listen,
    /// The same over TLS, for routers and clients on other machines.
    pub public_tls: Option<Listen>,
    /// Peers (mutual TLS).
    pub replication: SocketAddr,
    /// Operators: metrics, status (HTTP, not for the public).
    pub admin: Listen,
}

/// One other node.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerConfig {
    /// The name that its certificate must show.
    pub name: NodeName,
    /// The region that it serves.
    pub region: RegionId,
    /// Its replication listener.
    pub address: HostPort,
    /// Where its region is, if known.
    pub position: Option<Position>,
}

/// `[drills]`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrillsConfig {
    /// Their files.
    pub check: Vec<PathBuf>,
    /// Time between two checks.
    pub every: Duration,
}

/// `[backup]`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupConfig {
    /// The only keys that backups are encrypted to; any if it is empty.
    pub recipients: Vec<Recipient>,
    /// Bytes of old values that may be kept while a backup is made.
    pub most_kept: usize,
}

/// A storage engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// sled 0.34, one database per bucket: the default.
    #[default]
    Sled,
    /// fjall, a log-structured merge tree: for stores that outgrow sled.
    Fjall,
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Engine::Sled => "sled",
            Engine::Fjall => "fjall",
        })
    }
}

/// `[storage]`, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "StorageSection")]
pub struct StorageConfig {
    /// Which engine keeps the data.
    pub engine: Engine,
    /// Memory for its cache, in bytes, over all buckets together.
    pub cache_bytes: u64,
    /// Bytes of free space below which no new visits and venues are taken.
    pub reserve_bytes: u64,
    /// Time from the end of a scrub of the whole store to the next one.
    pub scrub_every: Duration,
    /// Bytes of the file that is given up when the disk is full; 0 for none.
    pub ballast_bytes: u64,
}

/// `[replication]`, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ReplicationSection")]
pub struct ReplicationConfig {
    /// Longest silence on a link.
    pub heartbeat: Duration,
    /// Largest clock difference at which a peer's expiry horizon is believed.
    pub max_clock_skew: Duration,
    /// How long a peer may lack another origin's entries before this node relays them.
    pub relay_after: Duration,
    /// Bytes on their way to one peer at most.
    pub in_flight_bytes: u64,
}

/// `[registry]`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryConfig {
    /// Id of the policy pack for new venues.
    pub policy: String,
    /// Folder with packs besides the built-in ones.
    pub policies: Option<PathBuf>,
    /// Where guests reach the service, without a slash at the end.
    pub public_url: Option<String>,
    /// Files with the keys of the console's cookie, the one that signs first.
    pub console_keys: Vec<PathBuf>,
    /// Who may make a venue.
    pub new_venues: NewVenues,
    /// After which time a venue is closed that never had a check-in; `None` for never.
    pub unused_venues: Option<Duration>,
}

/// Who may make a venue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NewVenues {
    /// Every client, within `limits.venues_per_hour`.
    #[default]
    Open,
    /// Clients with an invitation of an operator.
    Invited,
    /// Nobody.
    Closed,
}

/// `[limits]`, checked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "LimitsSection")]
pub struct LimitsConfig {
    /// Client connections at one time.
    pub connections: usize,
    /// Connections of one client at one time.
    pub connections_per_client: usize,
    /// How long a client may take nothing of an answer.
    pub unread: Duration,
    /// The networks of the routers, whose edges limit each client themselves.
    pub routers: Vec<IpNetwork>,
    /// New venues of one client in an hour.
    pub venues_per_hour: NonZeroU32,
    /// Erasures of one client in an hour of visits that are not known here.
    pub erasures_per_hour: NonZeroU32,
}

/// A value that is well formed and yet cannot be used; every message begins with its key.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// A value that no configuration may have there.
    #[error(transparent)]
    Common(#[from] service::config::ValueError),
    /// A recipient of backups that is none.
    #[error("backup.recipients: \"{text}\" {source}")]
    BadRecipient {
        /// The value, as the file has it.
        text: String,
        /// What is wrong with it.
        source: BadKey,
    },
    /// No other node would accept an invitation.
    #[error(
        "registry.new_venues = \"invited\": registry.console_keys must name a key, the same in every node, otherwise no \
         other node accepts an invitation"
    )]
    NoKeysForInvitations,
    /// The node would relay before a healthy peer has had a heartbeat's time to say what it has.
    #[error(
        "replication.relay_after_ms = {relay_after_ms}: must be more than replication.heartbeat_ms = {heartbeat_ms}"
    )]
    RelayTooSoon {
        /// Written delay.
        relay_after_ms: u64,
        /// Written heartbeat.
        heartbeat_ms: u64,
    },
    /// Port 0 means "any free port", so no peer or probe would know where to connect.
    #[error("{key}: port 0 means any free port; give a fixed port")]
    PortZero {
        /// Its key.
        key: &'static str,
    },
    /// A peer address that is not `host:port`.
    #[error("peers[{index}].address = \"{address}\": must be host:port, such as 127.0.1.2:7081 or [::1]:7081")]
    BadAddress {
        /// Which peer, from 0.
        index: usize,
        /// The value, as the file has it.
        address: String,
    },
    /// A peer that is this node itself.
    #[error("peers[{index}].name = \"{name}\": is this node's own name")]
    PeerIsSelf {
        /// Which peer, from 0.
        index: usize,
        /// The name.
        name: NodeName,
    },
    /// A peer at this node's own replication listener.
    #[error("peers[{index}].address = \"{address}\": is this node's own listen.replication")]
    PeerIsOwnListener {
        /// Which peer, from 0.
        index: usize,
        /// The address.
        address: HostPort,
    },
    /// Two peers with one name or one address, although each certificate and each socket belongs to one node.
    #[error("peers[{index}].{field}: the same as that of peers[{other}]")]
    PeerTwice {
        /// The later peer, from 0.
        index: usize,
        /// The earlier peer, from 0.
        other: usize,
        /// `name` or `address`.
        field: &'static str,
    },
    /// A policy id that is not a valid pack id.
    #[error("registry.policy = \"{policy}\": must be 1 to 40 of a-z, 0-9 and '-', as the id in a pack")]
    BadPolicy {
        /// The value, as the file has it.
        policy: String,
    },
    /// Neither an origin nor `*`.
    #[error(
        "http.cors_origins has \"{origin}\": must be as a browser writes it, such as https://check-in.example.org, or \"*\""
    )]
    BadOrigin {
        /// The value, as the file has it.
        origin: String,
    },
    /// A public URL that clients could not use as a prefix.
    #[error("registry.public_url = \"{url}\": must be http:// or https:// with a host, and no query")]
    BadUrl {
        /// The value, as the file has it.
        url: String,
    },
}

impl NodeConfig {
    /// Addresses at which clients on other machines reach the public API without TLS.
    pub fn plain_addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.listen.public.all().iter().copied().filter(|address| !address.ip().to_canonical().is_loopback())
    }

    /// Reads and checks a file; its relative paths count from the folder that the file is in.
    ///
    /// # Errors
    /// If the file cannot be read, has an unknown or missing key, or a value out of bounds.
    pub fn load(path: &Path) -> Result<NodeConfig, ConfigError> {
        config::load(path, validate::node)
    }
}
