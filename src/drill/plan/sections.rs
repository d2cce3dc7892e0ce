//! The tables of a drill's file that the drill uses as they are written.

use std::net::SocketAddr;
use std::time::Duration;

use api::client::Base;
use api::{NodeName, RegionId, duration};
use jiff::civil::Time;
use serde::Deserialize;

/// What must hold before a drill begins.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Before {
    /// The largest lag between two nodes.
    #[serde(with = "duration")]
    pub(crate) lag: Duration,
    /// The largest offset of a clock.
    #[serde(with = "duration")]
    pub(crate) clock: Duration,
    /// How long the certificates must be good.
    #[serde(with = "duration")]
    pub(crate) certificates: Duration,
    /// How often the spare capacity of the other regions must cover the region's load.
    pub(crate) headroom: f64,
    /// From when until when in UTC a drill may begin; it may span midnight.
    pub(crate) window: Option<(Time, Time)>,
}

impl Default for Before {
    fn default() -> Self {
        let [lag, clock] = [5, 5].map(Duration::from_secs);
        let certificates = Duration::from_hours(7 * 24);
        Self { lag, clock, certificates, headroom: 1.2, window: None }
    }
}

/// The bounds that end a drill.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Guards {
    /// The share of check-ins through the edge that fail, over five seconds.
    pub(crate) failed: f64,
    /// The 99th percentile of check-ins through the edge within five seconds; above it for five seconds is a breach.
    #[serde(with = "duration")]
    pub(crate) p99: Duration,
    /// The part of its capacity that a surviving region uses.
    pub(crate) load: f64,
    /// The lag between nodes that the drill does not disturb.
    #[serde(with = "duration")]
    pub(crate) lag: Duration,
    /// For how long routers may disagree about a region.
    #[serde(with = "duration")]
    pub(crate) disagreement: Duration,
}

impl Default for Guards {
    fn default() -> Self {
        let [p99, lag, disagreement] = [2, 20, 15].map(Duration::from_secs);
        Self { failed: 0.05, p99, load: 0.85, lag, disagreement }
    }
}

/// What the drill must show; a bound that is left out is measured and not judged.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Objectives {
    /// Until the routers know.
    pub(crate) detect: Option<duration::Text>,
    /// Until DNS answers other regions.
    pub(crate) dns: Option<duration::Text>,
    /// Until 99 of 100 check-ins of clients with the DNS TTL are good.
    pub(crate) rto_ttl: Option<duration::Text>,
    /// Until 99 of 100 check-ins through the edge are good.
    pub(crate) rto_edge: Option<duration::Text>,
    /// Check-ins through the edge that fail.
    pub(crate) failed_edge: u64,
    /// Acknowledged writes that are lost for good.
    pub(crate) lost: u64,
    /// Acknowledged writes that were in no other region, in seconds of the oldest.
    pub(crate) rpo: Option<duration::Text>,
    /// Answers that broke a guarantee of a session.
    pub(crate) session_breaches: u64,
    /// From the restore until all regions are equal.
    pub(crate) converged: Option<duration::Text>,
    /// Of a restored backup: until it is in a folder.
    pub(crate) restore: Option<duration::Text>,
    /// Of a restored backup: from the start of its node until the node has what the others have.
    pub(crate) caught_up: Option<duration::Text>,
}

impl Default for Objectives {
    fn default() -> Self {
        let converged = Some(duration::Text(Duration::from_secs(30)));
        Self {
            detect: None,
            dns: None,
            rto_ttl: None,
            rto_edge: None,
            failed_edge: 0,
            lost: 0,
            rpo: None,
            session_breaches: 0,
            converged,
            restore: None,
            caught_up: None,
        }
    }
}

/// A deployment that `meridian up` did not make.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct SiteSection {
    /// The name that clients ask DNS for.
    pub(crate) service: String,
    /// All nodes.
    pub(crate) nodes: Vec<SiteNode>,
    /// All routers.
    pub(crate) routers: Vec<SiteRouter>,
}

/// A node of a [`SiteSection`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SiteNode {
    pub(crate) name: NodeName,
    pub(crate) region: RegionId,
    #[serde(deserialize_with = "url")]
    pub(crate) public: Base,
    #[serde(deserialize_with = "url")]
    pub(crate) admin: Base,
}

/// A router of a [`SiteSection`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SiteRouter {
    pub(crate) name: NodeName,
    #[serde(deserialize_with = "url")]
    pub(crate) admin: Base,
    #[serde(deserialize_with = "url")]
    pub(crate) edge: Base,
    #[serde(deserialize_with = "service::config::socket")]
    pub(crate) dns: SocketAddr,
}

fn url<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Base, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}
