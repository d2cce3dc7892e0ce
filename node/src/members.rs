//! Members: the nodes that belong to the deployment. A node begins with the peers of its configuration, and changes that
//! operators order while the deployment runs win over them.
//!
//! The changes lie in one lasting document that every region has. Each node is one field, so changes of two nodes never
//! conflict. Changes of one node that were ordered in two places at once are concurrent values, and every reader takes
//! the same one ([`Member::replaces`]).
//!
//! # Invariants
//! - Pure: the caller reads and writes the document.
//! - A removed node stays in the document, otherwise the configuration of another node would bring it back.
//!
//! # Not here
//! What a running node does about a change: [`crate::membership`].

use std::collections::BTreeMap;
use std::net::SocketAddr;

use api::members::{Member, Membership, NewMember, RemoveMember};
use api::operators::{AuthorError, check_author};
use api::orders::OrderKind;
use api::{HostPort, Moment, NodeName, Position, RegionId};
use replication::{Document, DocumentId, DocumentKey, DocumentName, TenantId, Value, Wall};
use rustls_pki_types::ServerName;

use crate::config::{NodeConfig, PeerConfig};
use crate::lasting::CLUSTER;
use crate::orders::Order;

/// Most nodes of a deployment, as many as a configuration may name.
const MOST: usize = 101;

/// What a node knows without any change: itself and the peers of its configuration.
#[derive(Clone, Debug)]
pub struct Configured {
    name: NodeName,
    region: RegionId,
    position: Position,
    /// Where it listens for peers; the address may be unspecified.
    replication: SocketAddr,
    peers: Vec<PeerConfig>,
}

impl Configured {
    /// The part of a configuration that is about members.
    #[must_use]
    pub fn of(config: &NodeConfig) -> Configured {
        let (name, region) = (config.name.clone(), config.region.clone());
        let (position, replication) = (config.position, config.listen.replication);
        Configured { name, region, position, replication, peers: config.peers.clone() }
    }

    /// This node's name.
    pub(crate) fn name(&self) -> &NodeName {
        &self.name
    }

    /// Introductions of the configured nodes of which `changes` say nothing, for nodes that have no configuration for
    /// them.
    pub(crate) fn introductions(&self, changes: &BTreeMap<NodeName, Member>) -> Vec<Member> {
        let introduce = |name: &NodeName, region: &RegionId, replication: String, position: Option<Position>| Member {
            name: name.clone(),
            region: region.clone(),
            membership: Membership::Member,
            since: Moment(Wall(0)),
            position,
            public: None,
            public_tls: None,
            server_name: None,
            replication: Some(replication),
            introduced: true,
            by: None,
            reason: None,
        };
        let peers =
            self.peers.iter().map(|peer| introduce(&peer.name, &peer.region, peer.address.to_string(), peer.position));
        // Not itself: it knows where it listens, which may be another address than that by which it is reached.
        peers.filter(|one| !changes.contains_key(&one.name)).collect()
    }
}

/// The members at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Members {
    /// Every region of the deployment, this node's included, with its position if known.
    pub regions: BTreeMap<RegionId, Option<Position>>,
    /// The other nodes.
    pub peers: BTreeMap<NodeName, PeerConfig>,
    /// Removed nodes with their regions.
    pub former: BTreeMap<NodeName, RegionId>,
    /// What operators changed, by node.
    pub changes: BTreeMap<NodeName, Member>,
    /// This node was removed for good.
    pub is_removed: bool,
}

/// Why a change is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// No valid author, or a reason that cannot be shown.
    #[error(transparent)]
    Author(#[from] AuthorError),
    /// A replication address that is not `host:port`.
    #[error("`replication`: must be host:port, such as 127.0.1.4:7081 or sa-east.example.org:7081")]
    Replication,
    /// A public address to which no client could be sent.
    #[error("`public`: name the address and port at which the node is reached")]
    Public,
    /// A public address with TLS to which no client could be sent.
    #[error("`public_tls`: name the address and port at which the node is reached over TLS")]
    PublicTls,
    /// No certificate could show this name, or it belongs to no listener.
    #[error("`server_name`: must be the name or address on the node's certificate, beside `public_tls`")]
    ServerName,
    /// Another node has this replication address.
    #[error("`replication`: {0} is at this address")]
    Taken(NodeName),
    /// A region of which no position is known.
    #[error("`position`: the region is new, so say where it is: {{\"latitude\": ..., \"longitude\": ...}}")]
    Position,
    /// The node serves another region.
    #[error("`region`: the node serves {0}; remove it first, and then add it with its new region")]
    OtherRegion(RegionId),
    /// Too many nodes.
    #[error("a deployment has at most {MOST} nodes")]
    TooMany,
    /// The deployment has no such node.
    #[error("there is no such node; the nodes are {0}")]
    Unknown(String),
    /// The node was asked to remove itself.
    #[error("a node does not remove itself, because the order must outlive it: ask another node")]
    Itself,
    /// Clients are still sent to the region.
    #[error("drain it first (`meridian region drain {0}`), or give `force`")]
    StillServes(RegionId),
    /// Too few regions would be left to serve.
    #[error("fewer than {least} regions that take clients would be left; give `force` if that is what you want")]
    TooFew {
        /// How many there must be.
        least: usize,
    },
}

impl Members {
    /// The members by a configuration and the changes since.
    #[must_use]
    pub fn new(configured: &Configured, changes: BTreeMap<NodeName, Member>) -> Members {
        let mut peers: BTreeMap<NodeName, PeerConfig> =
            configured.peers.iter().map(|peer| (peer.name.clone(), peer.clone())).collect();
        let is_configured = |name: &NodeName| configured.peers.iter().any(|peer| peer.name == *name);
        for (name, change) in changes.iter().filter(|(name, _)| **name != configured.name) {
            if change.introduced && is_configured(name) {
                continue;
            }
            // A change without an address that can be read is skipped; the node stays as it is configured.
            let address = change.replication.as_ref().and_then(|address| address.parse::<HostPort>().ok());
            match (change.membership, address) {
                (Membership::Removed, _) => drop(peers.remove(name)),
                (Membership::Member, Some(address)) => {
                    let position = change.position.or_else(|| peers.get(name)?.position);
                    let (name, region) = (name.clone(), change.region.clone());
                    peers.insert(name.clone(), PeerConfig { name, region, address, position });
                }
                (Membership::Member, None) => {}
            }
        }
        let mut regions: BTreeMap<RegionId, Option<Position>> = BTreeMap::new();
        for peer in peers.values() {
            let position = regions.entry(peer.region.clone()).or_default();
            *position = position.or(peer.position);
        }
        regions.insert(configured.region.clone(), Some(configured.position));
        let is_removed = changes.get(&configured.name).is_some_and(|own| own.membership == Membership::Removed);
        let removed = changes.values().filter(|one| one.membership == Membership::Removed);
        let former = removed.map(|one| (one.name.clone(), one.region.clone())).collect();
        Members { regions, peers, former, changes, is_removed }
    }

    /// The region of each node.
    #[must_use]
    pub fn peer_regions(&self) -> BTreeMap<NodeName, RegionId> {
        self.peers.iter().map(|(name, peer)| (name.clone(), peer.region.clone())).collect()
    }

    /// A node is added, or its addresses change, at `now`. `own` is the node that is asked.
    ///
    /// # Errors
    /// [`MemberError`].
    pub fn add(&self, own: &Configured, name: &NodeName, new: NewMember, now: Wall) -> Result<Member, MemberError> {
        check_author(&new.by, &new.reason)?;
        let address: HostPort = new.replication.parse().map_err(|_| MemberError::Replication)?;
        if new.public.is_some_and(|public| public.port() == 0 || public.ip().is_unspecified()) {
            return Err(MemberError::Public);
        }
        let leads_nowhere = |address: &HostPort| address.literal().is_some_and(|address| address.ip().is_unspecified());
        if new.public_tls.as_ref().is_some_and(leads_nowhere) {
            return Err(MemberError::PublicTls);
        }
        if new.server_name.as_ref().is_some_and(|name| !is_server_name(name) || new.public_tls.is_none()) {
            return Err(MemberError::ServerName);
        }
        if let Some(other) = self.peers.values().find(|peer| peer.address == address && peer.name != *name) {
            return Err(MemberError::Taken(other.name.clone()));
        }
        if *name != own.name && address.literal() == Some(own.replication) {
            return Err(MemberError::Taken(own.name.clone()));
        }
        let serves = if *name == own.name { Some(&own.region) } else { self.peers.get(name).map(|peer| &peer.region) };
        if let Some(other) = serves.filter(|region| **region != new.region) {
            return Err(MemberError::OtherRegion(other.clone()));
        }
        if serves.is_none() && self.peers.len() + 1 >= MOST {
            return Err(MemberError::TooMany);
        }
        let position = new.position.or_else(|| self.regions.get(&new.region).copied().flatten());
        let Some(position) = position else { return Err(MemberError::Position) };
        // A node that moves leaves both of its public addresses, so an order that names one of them names all.
        let (public, public_tls, server_name) = if new.public.is_some() || new.public_tls.is_some() {
            (new.public, new.public_tls, new.server_name)
        } else {
            let known = self.changes.get(name);
            let known = known.map(|known| (known.public, known.public_tls.clone(), known.server_name.clone()));
            known.unwrap_or_default()
        };
        Ok(Member {
            name: name.clone(),
            region: new.region,
            membership: Membership::Member,
            since: self.next(name, now),
            position: Some(position),
            public,
            public_tls,
            server_name,
            replication: Some(new.replication),
            introduced: false,
            by: Some(new.by),
            reason: Some(new.reason),
        })
    }

    /// A node is removed for good at `now`. `orders` are those on regions, of which `least` must be left to serve.
    ///
    /// # Errors
    /// [`MemberError`].
    pub fn remove(
        &self,
        own: &Configured,
        name: &NodeName,
        new: RemoveMember,
        now: Wall,
        orders: &BTreeMap<RegionId, Order>,
        least: usize,
    ) -> Result<Member, MemberError> {
        check_author(&new.by, &new.reason)?;
        if *name == own.name {
            return Err(MemberError::Itself);
        }
        let Some(peer) = self.peers.get(name) else {
            let names: Vec<&str> = self.peers.keys().map(NodeName::as_str).collect();
            return Err(MemberError::Unknown(names.join(", ")));
        };
        let region = &peer.region;
        let others = self.peers.values().filter(|other| other.region == *region && other.name != *name).count();
        let is_last = others == 0 && own.region != *region;
        if is_last && !new.force {
            let serves = |region: &RegionId| orders.get(region).is_none_or(|order| order.at(now) == OrderKind::Serving);
            if serves(region) {
                return Err(MemberError::StillServes(region.clone()));
            }
            if self.regions.keys().filter(|other| *other != region && serves(other)).count() < least {
                return Err(MemberError::TooFew { least });
            }
        }
        Ok(Member {
            name: name.clone(),
            region: region.clone(),
            membership: Membership::Removed,
            since: self.next(name, now),
            position: None,
            public: None,
            public_tls: None,
            server_name: None,
            replication: None,
            introduced: false,
            by: Some(new.by),
            reason: Some(new.reason),
        })
    }

    /// The moment of a new change: later than that of the last one, otherwise a change from a node whose clock is
    /// behind would have no effect.
    fn next(&self, name: &NodeName, now: Wall) -> Moment {
        let after = self.changes.get(name).map_or(Wall(0), |last| Wall(last.since.0.0.saturating_add(1)));
        Moment(now.max(after))
    }
}

fn is_server_name(name: &str) -> bool {
    ServerName::try_from(name).is_ok()
}

/// A change as the public sees it.
pub(crate) fn to_public(change: &Member) -> Member {
    Member { replication: None, by: None, reason: None, ..change.clone() }
}

/// The document's name.
pub(crate) fn name() -> DocumentName {
    let mut id = [0; 16];
    id[15] = 1;
    DocumentName { collection: CLUSTER, tenant: TenantId([0; 16]), id: DocumentId(id) }
}

/// The document's key: it never expires.
pub(crate) fn key() -> DocumentKey {
    name().expiring(Wall::NEVER)
}

/// The changes that a document holds; a value that is not a valid change is skipped.
pub(crate) fn read(document: &Document) -> BTreeMap<NodeName, Member> {
    let mut changes: BTreeMap<NodeName, Member> = BTreeMap::new();
    for field in document.fields() {
        let values = document.all(field).into_iter().filter_map(Value::as_text);
        let valid = values.filter_map(|text| serde_json::from_str::<Member>(text).ok());
        for change in valid.filter(|change| change.name.as_str() == field) {
            if changes.get(&change.name).is_none_or(|known| change.replaces(known)) {
                changes.insert(change.name.clone(), change);
            }
        }
    }
    changes
}

/// The value of a node's field.
pub(crate) fn value(change: &Member) -> Value {
    // The JSON holds only text and numbers, so this cannot fail.
    Value::Text(serde_json::to_string(change).unwrap_or_default())
}

#[cfg(test)]
mod tests;
