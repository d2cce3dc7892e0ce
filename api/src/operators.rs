//! Operators and what they did: roles, and the entries of `GET /v1/admin/audit`.

use serde::{Deserialize, Serialize};

use crate::{Moment, named};

named! {
    /// The rights of an operator.
    Role {
        /// Read status, metrics and the audit trail.
        View = "view",
        /// Give orders as well.
        Operate = "operate",
    }
}

/// One entry of the audit trail: an order that a node took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When, by the node's trusted time.
    pub at: Moment,
    /// The operator: the name of the token, or what the request says where no tokens are configured.
    pub who: String,
    /// The address from which the order came, and the node that took it.
    pub from: String,
    /// The order.
    pub what: String,
    /// Why, as the operator wrote it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// `GET /v1/admin/audit?month=2026-11`: the entries of one month, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditTrail {
    /// The month, as `YYYY-MM` in UTC.
    pub month: String,
    /// Its entries, as far as this node has heard of them.
    pub entries: Vec<AuditEntry>,
}
