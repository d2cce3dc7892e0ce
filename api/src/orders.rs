//! Operators' orders on regions: `/v1/admin/regions` of a node, and `order` in `/v1/cluster`.

use serde::{Deserialize, Serialize};

use crate::named;
use crate::{Moment, RegionId};

named! {
    /// The kind of an order. The kinds are ordered: each sends fewer clients to the region than the one before.
    OrderKind {
        /// Clients are sent there as usual.
        Serving = "serving",
        /// New clients are sent elsewhere; connections and requests that exist end normally.
        Drained = "drained",
        /// No client is sent there.
        Maintenance = "maintenance",
    }
}

/// An order on one region, as it is shown. The public sees neither its author nor its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The kind of order.
    #[serde(rename = "order")]
    pub kind: OrderKind,
    /// When the order was given.
    pub since: Moment,
    /// Per cent of its clients that a drained region keeps, for a drain in steps.
    #[serde(default, skip_serializing_if = "is_none")]
    pub keep: u8,
    /// When the order lapses; without it the order holds until the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
    /// The operator who gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Order {
    /// The kind that holds at `now`.
    #[must_use]
    pub fn at(&self, now: Moment) -> OrderKind {
        if self.until.is_some_and(|until| until <= now) { OrderKind::Serving } else { self.kind }
    }

    /// Per cent of its clients that the region keeps at `now`.
    #[must_use]
    pub fn keeps(&self, now: Moment) -> u8 {
        match self.at(now) {
            OrderKind::Serving => 100,
            OrderKind::Drained => self.keep,
            OrderKind::Maintenance => 0,
        }
    }
}

/// Whether a share is none at all, which is left out.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(per_cent: &u8) -> bool {
    *per_cent == 0
}

/// An order as an operator gives it: the body of `PUT /v1/admin/regions/{region}/order`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// The kind of order.
    #[serde(rename = "order")]
    pub kind: OrderKind,
    /// The operator who gives it.
    pub by: String,
    /// Why; may be empty.
    #[serde(default)]
    pub reason: String,
    /// Per cent of its clients that a drained region keeps; below 100.
    #[serde(default, skip_serializing_if = "is_none")]
    pub keep: u8,
    /// When the order lapses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
    /// Give it even if no region is left to serve.
    #[serde(default)]
    pub force: bool,
}

/// One region in the answer of `/v1/admin/regions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionOrder {
    /// The region.
    pub region: RegionId,
    /// Whether new clients are now sent elsewhere.
    pub drain: bool,
    /// The last order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}
