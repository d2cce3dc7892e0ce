//! Operators and what they did: roles, who gives an order and why, and the entries of `GET /v1/admin/audit`.

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

/// Longest name of an author and longest reason, in bytes.
const LONGEST: usize = 400;

/// Why an order cannot be written down: what is wrong with its `by` or its `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorError {
    /// The order has no author that can be shown.
    #[error("`by`: say who orders this, in at most {LONGEST} bytes without control characters")]
    By,
    /// A reason that cannot be shown.
    #[error("`reason`: at most {LONGEST} bytes without control characters")]
    Reason,
}

/// Checks the author and the reason of an order, the same for every order: both are kept in the audit trail and shown to
/// other operators.
///
/// # Errors
/// [`AuthorError`].
pub fn check_author(by: &str, reason: &str) -> Result<(), AuthorError> {
    let is_plain = |text: &str| text.len() <= LONGEST && !text.chars().any(char::is_control);
    if by.trim().is_empty() || !is_plain(by) {
        return Err(AuthorError::By);
    }
    if is_plain(reason) { Ok(()) } else { Err(AuthorError::Reason) }
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

#[cfg(test)]
mod tests {
    use super::{AuthorError, check_author};

    #[test]
    fn an_order_has_an_author_and_may_have_a_reason() {
        let longest = "x".repeat(400);
        assert_eq!(check_author("mk", ""), Ok(()));
        assert_eq!(check_author(&longest, &longest), Ok(()));
        for by in ["", " ", "m\nk", "\u{0}", &"x".repeat(401)] {
            assert_eq!(check_author(by, ""), Err(AuthorError::By), "{by:?}");
        }
        for reason in ["a\nb", &"x".repeat(401)] {
            assert_eq!(check_author("mk", reason), Err(AuthorError::Reason), "{reason:?}");
        }
    }
}
