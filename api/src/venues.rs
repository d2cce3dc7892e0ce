//! Operators invite clients to make venues, and remove venues: `/v1/admin/invitations` and `/v1/admin/venues/{venue}` of a
//! node.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Moment;

/// How long an invitation may count.
pub const INVITED: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(366 * 24);

/// An invitation that an operator makes: the body of `POST /v1/admin/invitations`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewInvitation {
    /// How long it counts, within [`INVITED`].
    #[serde(rename = "for", with = "crate::duration")]
    pub lasts: Duration,
    /// The operator who invites.
    pub by: String,
    /// Why; may be empty.
    #[serde(default)]
    pub reason: String,
}

/// An invitation, which a client sends as [`crate::headers::INVITATION`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// The invitation, base64url.
    pub invitation: String,
    /// Until when it counts.
    pub until: Moment,
}

/// The removal of a venue by an operator: the body of `DELETE /v1/admin/venues/{venue}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveVenue {
    /// The operator who removes it.
    pub by: String,
    /// Why; may be empty.
    #[serde(default)]
    pub reason: String,
}
