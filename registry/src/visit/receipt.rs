//! The answer to a check-in.

use api::{Moment, RegionId};
use serde::{Deserialize, Serialize};

use crate::visit::id::VisitId;

/// The answer to a check-in: the guest's proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The visit's id.
    pub visit_id: VisitId,
    /// The secret, for a guest who sent none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// When the visit is deleted everywhere.
    pub expires_at: Moment,
    /// The region that accepted it.
    pub region: RegionId,
    /// Where the guest finds the receipt again. The browser sends nothing that follows the `#`.
    pub receipt_url: String,
}
