//! Configuration of one router: to hold a [`RouterConfig`] is proof that every bound below was checked.
//!
//! The *written* form ([`RouterFile`]: plain values, unknown keys refused) becomes the *checked* form here. An error
//! names the key as it is in the file.
//!
//! A router that runs reads its file again when it is told to, and takes up a part of it: [`RouterConfig::taking_up`].
//!
//! # Not here
//! Whether the certificates and databases that it names are usable: opening them shows that.

mod reload;
mod validate;
mod written;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::NodeName;
use service::config::{self, ConfigError, Listen};

use crate::connector::TrustFiles;
use crate::dns::{DnsConfig, DnsConfigError};
use crate::edge::{EdgeConfig, EdgeConfigError};
use crate::endpoint::Endpoint;
use crate::fleet::Fleet;
use crate::health::{HealthRules, quorum};
use crate::location::Override;
use crate::policy::Policy;

pub use written::{
    AdminSection, HealthSection, LocationSection, NodeSection, NodesSection, OverrideSection, PeerSection,
    PeersSection, PolicySection, RegionSection, RouterFile,
};

/// The checked configuration of one router.
#[derive(Clone, Debug)]
pub struct RouterConfig {
    /// Its name among the routers.
    pub name: NodeName,
    /// The region in which it runs.
    pub region: Option<String>,
    /// Folder for the state that it keeps over a restart.
    pub data: PathBuf,
    /// File that holds the process id while the router runs.
    pub pid_file: Option<PathBuf>,
    /// The listener for operators and other routers.
    pub admin: Listen,
    /// The file with the operators.
    pub operators: Option<PathBuf>,
    /// The file of the access log.
    pub access_log: Option<PathBuf>,
    /// DNS, if the router answers it.
    pub dns: Option<DnsConfig>,
    /// Bounds of the TTL of answers that depend on health.
    pub ttl: (Duration, Duration),
    /// The edge, if the router takes HTTP.
    pub edge: Option<EdgeConfig>,
    /// The location database, if not the one in the binary.
    pub database: Option<PathBuf>,
    /// Networks whose place an operator has set.
    pub overrides: Vec<Override>,
    /// The policy that says which regions suit which clients.
    pub policy: Arc<dyn Policy>,
    /// The rules by which verdicts change.
    pub health: HealthRules,
    /// The file with the routers' common secret.
    pub key_file: Option<PathBuf>,
    /// The other routers.
    pub peers: Vec<Peer>,
    /// How nodes are found and trusted.
    pub nodes: NodesConfig,
    /// Regions and nodes.
    pub fleet: Arc<Fleet>,
}

/// `[nodes]`, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodesConfig {
    /// The files by which the certificates of nodes are verified.
    pub trust: TrustFiles,
    /// How host names of nodes are resolved.
    pub resolve: ResolveRules,
}

/// How host names of nodes are resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolveRules {
    /// Time between two questions.
    pub every: Duration,
    /// The name servers; those of the system if there are none.
    pub servers: Vec<SocketAddr>,
}

/// Another router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: NodeName,
    /// The region in which it runs.
    pub region: Option<String>,
    /// Its admin listener.
    pub admin: SocketAddr,
}

/// A value that is well formed and yet cannot be used; every message begins with its key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// A value that no configuration may have there.
    #[error(transparent)]
    Common(#[from] service::config::ValueError),
    /// A name that must be unique.
    #[error("{key} = \"{name}\": there is one already")]
    Twice {
        /// Its key.
        key: String,
        /// The name.
        name: String,
    },
    /// A region that is not configured.
    #[error("{key} = \"{name}\": there is no such region under [[regions]]")]
    NoSuchRegion {
        /// Its key.
        key: String,
        /// The name.
        name: String,
    },
    /// A country code that is not valid.
    #[error("policy.latency.table.{code}: must be an ISO 3166 code of two letters, such as DE")]
    NoSuchCountry {
        /// The value, as the file has it.
        code: String,
    },
    /// A failover order that misses a region.
    #[error("policy.failover.order: must name every region once; \"{missing}\" is missing")]
    OrderIncomplete {
        /// A region that is not in it.
        missing: String,
    },
    /// An override with neither a position nor a region, or with both.
    #[error("location.overrides[{index}]: must have either a position or a region")]
    OverrideUnclear {
        /// Which override, from 0.
        index: usize,
    },
    /// Neither DNS nor HTTP.
    #[error("[dns] or [edge]: at least one is required, otherwise the router has nothing to do")]
    NothingToDo,
    /// Other routers are named, but no key by which this router could recognise them.
    #[error("peers.key_file: required if there are other routers; the file must be the same on all of them")]
    KeyFileMissing,
    /// An address at which no client can reach the router.
    #[error("{key} = {address}: name the address and port at which it is reached")]
    NoAddress {
        /// Its key.
        key: String,
        /// The value, as the file has it.
        address: SocketAddr,
    },
    /// A node with two public listeners, or none.
    #[error("{key}: give either `https` (TLS) or `http`, not {both}", both = if *has_both { "both" } else { "neither" })]
    Listener {
        /// The key of the node.
        key: String,
        /// Whether both are given.
        has_both: bool,
    },
    /// A name that no certificate can show, or one for a node without TLS.
    #[error("{key}.server_name = \"{name}\": goes with `https`, and must be a host name or an IP address")]
    ServerName {
        /// The key of the node.
        key: String,
        /// The value, as the file has it.
        name: String,
    },
    /// A list of revoked certificates without their authority.
    #[error("nodes.revoked: belongs to the authority in nodes.ca, which must be named too")]
    RevokedAlone,
    /// A region whose name DNS cannot have below the service.
    #[error("{key} = \"{name}\": DNS needs this name itself, or it is too long for the zone")]
    RegionName {
        /// Its key.
        key: String,
        /// The name.
        name: String,
    },
    /// A value under `[dns]`.
    #[error(transparent)]
    Dns(#[from] DnsConfigError),
    /// A value under `[edge]`.
    #[error(transparent)]
    Edge(#[from] EdgeConfigError),
}

impl RouterConfig {
    /// Nodes on other machines that are reached without TLS: their names and addresses.
    pub fn exposed(&self) -> impl Iterator<Item = (&NodeName, &Endpoint)> {
        let nodes = self.fleet.nodes().map(|id| self.fleet.node(id));
        nodes.filter(|node| node.at.is_exposed()).map(|node| (&node.name, &node.at))
    }

    /// Why the routers could not decide in some failure; `None` if they can.
    #[must_use]
    pub fn weakness(&self) -> Option<&'static str> {
        let others = self.peers.iter().map(|peer| peer.region.as_deref());
        let routers: Vec<Option<&str>> = others.chain([self.region.as_deref()]).collect();
        quorum::weakness(&routers)
    }

    /// Reads and checks a file; its relative paths count from the folder that the file is in.
    ///
    /// # Errors
    /// If the file cannot be read, has an unknown or missing key, or a value out of bounds.
    pub fn load(path: &Path) -> Result<RouterConfig, ConfigError> {
        config::load(path, validate::router)
    }
}
