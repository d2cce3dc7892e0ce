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

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use api::members::{Member, Membership};
use api::{NodeName, Position, RegionId};

use super::members::Members;
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
        address: SocketAddr,
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
    let added: Vec<&Member> = members.iter().filter(|member| public(member, &mut ignored).is_some()).collect();
    let stays = |region: &&Region| {
        region.nodes.iter().any(|node| !is_removed(&node.name)) || added.iter().any(|one| one.region == region.name)
    };
    let room = Fleet::MAX_REGIONS.saturating_sub(configured.regions.iter().filter(stays).count());
    regions.extend(new_regions(configured, &added, room, is_fit, &mut ignored));

    let added: BTreeMap<&NodeName, &Member> = added.into_iter().map(|member| (&member.name, member)).collect();
    let place = |regions: &mut [Region], name: &RegionId, node: Node| {
        let known = regions.iter_mut().find(|region| region.name == *name);
        known.map(|region| region.nodes.push(node)).is_some()
    };
    for region in &configured.regions {
        for node in region.nodes.iter().filter(|node| !is_removed(&node.name)) {
            let moved = added.get(&node.name).and_then(|member| Some((&member.region, moved(node, member.public?))));
            // A node that moves to a region that cannot be used stays where it is configured.
            let is_placed = moved.is_some_and(|(region, node)| place(&mut regions, region, node));
            if !is_placed {
                place(&mut regions, &region.name, node.clone());
            }
        }
    }
    let is_configured = |name: &NodeName| configured.nodes().any(|id| configured.node(id).name == *name);
    for member in added.values().filter(|member| !is_configured(&member.name)) {
        if let Some(http) = member.public {
            let node = Node { name: member.name.clone(), http, addresses: vec![http.ip()], weight: 1 };
            place(&mut regions, &member.region, node);
        }
    }
    regions.retain(|region| !region.nodes.is_empty());
    let fleet = (!regions.is_empty()).then_some(Fleet { regions });
    if fleet.is_none() {
        ignored.insert(Ignored::NothingLeft);
    }
    Effective { fleet, ignored }
}

/// Where clients reach a member; `None` if it has no public address, or one that leads nowhere.
fn public(member: &Member, ignored: &mut BTreeSet<Ignored>) -> Option<SocketAddr> {
    let address = member.public.filter(|_| member.membership == Membership::Member)?;
    let ip = address.ip().to_canonical();
    if address.port() == 0 || ip.is_unspecified() || ip.is_multicast() {
        ignored.insert(Ignored::Address { node: member.name.clone(), address });
        return None;
    }
    Some(address)
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

/// A configured node at the address that an operator ordered.
fn moved(node: &Node, http: SocketAddr) -> Node {
    if node.http == http {
        return node.clone();
    }
    // The configured addresses are those of the old place.
    Node { http, addresses: vec![http.ip()], ..node.clone() }
}

#[cfg(test)]
mod tests;
