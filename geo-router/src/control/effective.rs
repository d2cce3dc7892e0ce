//! The fleet to which clients are sent: the configured one as operators have changed it since.
//!
//! What operators order while the deployment runs wins over the configuration: a node that was removed goes, a node
//! whose public address changed moves, and a node that was added comes. A region that has no node left goes, and a region
//! that is not configured comes with its first node.
//!
//! # Invariants
//! - No input panics, and every region of the result has a node.
//! - The same configuration and changes give the same fleet in every router, in the same order.
//! - A change that cannot be followed changes nothing; it is reported as [`Ignored`].
//! - No change makes the edge speak plain HTTP to a node for which TLS is configured.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use api::members::{Member, Membership};
use api::{HostPort, NodeName, Position, RegionId};

use super::members::Members;
use crate::endpoint::{Endpoint, leads_nowhere};
use crate::fleet::{Fleet, Node, Region};

/// Why a change of membership is not followed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(super) enum Ignored {
    /// The public address leads nowhere.
    #[error("node {node}: {address} is not an address at which clients reach it")]
    Address {
        /// The node.
        node: NodeName,
        /// What was ordered.
        address: HostPort,
    },
    /// The name on the certificate is none.
    #[error("node {node}: \"{name}\" is not a name that a certificate shows")]
    ServerName {
        /// The node.
        node: NodeName,
        /// What was ordered.
        name: String,
    },
    /// The node is configured with TLS, and the order has an address without TLS alone.
    #[error(
        "node {node}: {address} is without TLS, and the configuration has `https`: the node stays where it is configured"
    )]
    Plain {
        /// The node.
        node: NodeName,
        /// What was ordered.
        address: HostPort,
    },
    /// The region is not configured, and no member of it says where it is.
    #[error("region {region}: no member of it has a position, so no client is near it")]
    NoPosition {
        /// The region.
        region: RegionId,
    },
    /// DNS cannot answer for a region of this name.
    #[error("region {region}: DNS needs this name itself, or it is too long for the zone")]
    Name {
        /// The region.
        region: RegionId,
    },
    /// There are as many regions as there can be.
    #[error("region {region}: there are {} regions already", Fleet::MAX_REGIONS)]
    TooMany {
        /// The region.
        region: RegionId,
    },
    /// Every node was removed.
    #[error("every node was removed: the last regions and nodes stay, because a router always has an answer")]
    NothingLeft,
}

/// A fleet, and what is not followed.
#[derive(Debug)]
pub(super) struct Effective {
    /// `None` if no node is left.
    pub(super) fleet: Option<Fleet>,
    pub(super) ignored: BTreeSet<Ignored>,
}

/// The configured fleet as `members` change it. `is_fit` says whether a region may have a name.
pub(super) fn effective(configured: &Fleet, members: &Members, is_fit: impl Fn(&RegionId) -> bool) -> Effective {
    let mut ignored = BTreeSet::new();
    let is_removed = |node: &NodeName| members.of(node).is_some_and(|one| one.membership == Membership::Removed);
    let mut regions: Vec<Region> =
        configured.regions.iter().map(|one| Region { nodes: Vec::new(), ..one.clone() }).collect();
    let reached: BTreeMap<&NodeName, (&Member, Endpoint)> = members
        .iter()
        .filter_map(|member| Some((&member.name, (member, reached(member, configured, &mut ignored)?))))
        .collect();
    let added: Vec<&Member> = reached.values().map(|(member, _)| *member).collect();
    let stays = |region: &&Region| {
        region.nodes.iter().any(|node| !is_removed(&node.name)) || added.iter().any(|one| one.region == region.name)
    };
    let room = Fleet::MAX_REGIONS.saturating_sub(configured.regions.iter().filter(stays).count());
    regions.extend(new_regions(configured, &added, room, is_fit, &mut ignored));

    let place = |regions: &mut [Region], name: &RegionId, node: Node| {
        let known = regions.iter_mut().find(|region| region.name == *name);
        known.map(|region| region.nodes.push(node)).is_some()
    };
    for region in &configured.regions {
        for node in region.nodes.iter().filter(|node| !is_removed(&node.name)) {
            let moved = reached.get(&node.name).map(|(member, at)| (&member.region, moved(node, at)));
            // A node that moves to a region that cannot be used stays where it is configured.
            let is_placed = moved.is_some_and(|(region, node)| place(&mut regions, region, node));
            if !is_placed {
                place(&mut regions, &region.name, node.clone());
            }
        }
    }
    let is_configured = |name: &NodeName| configured.nodes().any(|id| configured.node(id).name == *name);
    for (member, at) in reached.values().filter(|(member, _)| !is_configured(&member.name)) {
        let node = Node { name: member.name.clone(), at: at.clone(), addresses: addresses(at), weight: 1 };
        place(&mut regions, &member.region, node);
    }
    regions.retain(|region| !region.nodes.is_empty());
    let fleet = (!regions.is_empty()).then_some(Fleet { regions });
    if fleet.is_none() {
        ignored.insert(Ignored::NothingLeft);
    }
    Effective { fleet, ignored }
}

/// Where clients reach a member, over TLS if it says how; `None` if it has no public address, or one that is not followed.
/// A node of release 0.1 shows no address with TLS.
fn reached(member: &Member, configured: &Fleet, ignored: &mut BTreeSet<Ignored>) -> Option<Endpoint> {
    if member.membership != Membership::Member {
        return None;
    }
    let host = member.public_tls.clone().or_else(|| member.public.map(HostPort::from))?;
    let node = member.name.clone();
    if host.literal().is_some_and(|address| address.port() == 0 || leads_nowhere(&address.ip())) {
        ignored.insert(Ignored::Address { node, address: host });
        return None;
    }
    if member.public_tls.is_some() {
        let at = Endpoint::tls(host, member.server_name.as_deref(), &member.name).ok();
        if at.is_none() {
            ignored.insert(bad_name(member));
        }
        return at;
    }
    let known = configured.nodes().map(|id| configured.node(id)).find(|known| known.name == member.name);
    if known.is_some_and(|known| known.at.server_name().is_some()) {
        ignored.insert(Ignored::Plain { node, address: host });
        return None;
    }
    Some(Endpoint::plain(host))
}

fn bad_name(member: &Member) -> Ignored {
    let host = || member.public_tls.as_ref().map(ToString::to_string).unwrap_or_default();
    Ignored::ServerName { node: member.name.clone(), name: member.server_name.clone().unwrap_or_else(host) }
}

/// The regions of members that are not configured, without nodes, by name.
fn new_regions(
    configured: &Fleet,
    added: &[&Member],
    room: usize,
    is_fit: impl Fn(&RegionId) -> bool,
    ignored: &mut BTreeSet<Ignored>,
) -> Vec<Region> {
    let mut positions: BTreeMap<&RegionId, Option<(&Member, Position)>> = BTreeMap::new();
    for member in added.iter().filter(|member| configured.find(member.region.as_str()).is_none()) {
        let known = positions.entry(&member.region).or_default();
        // Members of one region may differ; the newest word counts.
        if let Some(position) = member.position
            && known.is_none_or(|(other, _)| member.since > other.since)
        {
            *known = Some((member, position));
        }
    }
    let mut regions = Vec::new();
    for (name, position) in positions {
        let why = match position {
            _ if !is_fit(name) => Ignored::Name { region: name.clone() },
            None => Ignored::NoPosition { region: name.clone() },
            Some(_) if regions.len() >= room => Ignored::TooMany { region: name.clone() },
            Some((_, position)) => {
                regions.push(Region { name: name.clone(), position, weight: 1.0, capacity: None, nodes: Vec::new() });
                continue;
            }
        };
        ignored.insert(why);
    }
    regions
}

/// A configured node at the endpoint that an operator ordered. At its own host the configuration knows it better.
fn moved(node: &Node, at: &Endpoint) -> Node {
    let is_secured = |at: &Endpoint| at.server_name().is_some();
    if node.at.host() == at.host() && is_secured(&node.at) == is_secured(at) {
        return node.clone();
    }
    let at = at.clone();
    // The configured addresses are those of the old place.
    let stays = node.at.host().host() == at.host().host();
    Node { addresses: if stays { node.addresses.clone() } else { addresses(&at) }, at, ..node.clone() }
}

/// The addresses that DNS gives for an endpoint; a name has to be resolved first.
fn addresses(at: &Endpoint) -> Vec<IpAddr> {
    at.sockets().iter().map(SocketAddr::ip).collect()
}

#[cfg(test)]
mod tests;
