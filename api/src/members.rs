//! Membership that changes while a deployment runs: `/v1/admin/members` of a node, and `members` in `/v1/cluster`.
//!
//! A node begins with the peers of its configuration. What operators change afterwards is kept in one replicated
//! document, which wins over the configuration: a node that was added, moved to another address, or removed for good.
//! The document also introduces the configured nodes to each node that is added.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::named;
use crate::{HostPort, Moment, NodeName, Position, RegionId};

named! {
    /// Whether a node belongs to the deployment.
    Membership {
        /// It belongs to the deployment.
        Member = "member",
        /// It was removed for good.
        Removed = "removed",
    }
}

/// The last change of one node's membership, as it is shown. The public sees neither its replication address nor its
/// author and reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The node.
    pub name: NodeName,
    /// The region that it serves.
    pub region: RegionId,
    /// Whether it belongs to the deployment.
    pub membership: Membership,
    /// When this was ordered.
    pub since: Moment,
    /// Where its region is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// Its public listener without TLS. A router sends clients there if the node has no other one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<SocketAddr>,
    /// Its public listener with TLS, to which routers send clients. Without both no router learns of the node. Releases up
    /// to 0.1 neither know nor show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_tls: Option<HostPort>,
    /// The name that its certificate shows there; the host of `public_tls` if that is a name, otherwise the node's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Its replication listener, as `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<String>,
    /// No operator ordered this: another node tells where it is configured, for nodes that have no configuration for it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub introduced: bool,
    /// The operator who ordered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Member {
    /// Whether this change replaces `other`, which is about the same node: it was ordered later, or at the same moment
    /// and leaves fewer nodes. A node of release 0.1 shows a change without its TLS listener, so the same change with it
    /// replaces that.
    #[must_use]
    pub fn replaces(&self, other: &Member) -> bool {
        let rank = |one: &Member| (one.since, one.membership, one.public_tls.is_some());
        rank(self) > rank(other)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A node that an operator adds, or whose addresses change: the body of `PUT /v1/admin/members/{node}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewMember {
    /// The region that it serves.
    pub region: RegionId,
    /// Where its region is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// Its replication listener, as `host:port`.
    pub replication: String,
    /// Its public listener without TLS. An order that names neither public listener leaves both as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<SocketAddr>,
    /// Its public listener with TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_tls: Option<HostPort>,
    /// The name that its certificate shows there; the host of `public_tls` if that is a name, otherwise the node's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The operator who adds it.
    pub by: String,
    /// Why; may be empty.
    #[serde(default)]
    pub reason: String,
}

/// The removal of a node for good: the body of `DELETE /v1/admin/members/{node}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveMember {
    /// The operator who removes it.
    pub by: String,
    /// Why; may be empty.
    #[serde(default)]
    pub reason: String,
    /// Remove it although clients are still sent to its region, or too few regions are left.
    #[serde(default)]
    pub force: bool,
}
