//! Names of the header fields that are Meridian's own.

use hyper::header::HeaderName;

/// A guest's secret, base64url without padding: proves the right to read, correct and erase one visit.
pub const SECRET: HeaderName = HeaderName::from_static("meridian-secret");

/// A session token: the version vector that covers what the client has seen.
pub const SESSION: HeaderName = HeaderName::from_static("meridian-session");

/// An operator's invitation to make a venue.
pub const INVITATION: HeaderName = HeaderName::from_static("meridian-invitation");

/// The origins that the answer lacks although the client's session has seen them.
pub const STALE: HeaderName = HeaderName::from_static("meridian-stale");

/// The regions that have confirmed a write.
pub const CONFIRMED: HeaderName = HeaderName::from_static("meridian-confirmed");

/// The durability that was reached, if it is less than what was wanted.
pub const DURABILITY: HeaderName = HeaderName::from_static("meridian-durability");

/// Through which time a guest list is complete, for each region.
pub const COMPLETENESS: HeaderName = HeaderName::from_static("meridian-completeness");

/// The region that answered, set by the edge.
pub const REGION: HeaderName = HeaderName::from_static("meridian-region");

/// The message authentication code of a router's ballot.
pub const MAC: HeaderName = HeaderName::from_static("meridian-mac");

/// Which page of Meridian an answer is, so that a script does not take the page of a hotspot for one.
pub const PAGE: HeaderName = HeaderName::from_static("meridian-page");

/// The kind of the problem that a page tells a person about.
pub const PROBLEM: HeaderName = HeaderName::from_static("meridian-problem");

/// The server's time, on a page that refuses a check-in for its time.
pub const NOW: HeaderName = HeaderName::from_static("meridian-now");
