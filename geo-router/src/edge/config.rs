//! `[edge]`, checked: to hold an [`EdgeConfig`] is proof that its bounds hold.
//!
//! # Not here
//! The written form: [`written`]. Whether certificates are usable: [`service::certificates`].

mod validate;
mod written;

#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnetwork::IpNetwork;

pub use written::{
    Balance, BreakerSection, CacheSection, EdgeSection, LimitsSection, RateLimitSection, RetrySection, TimeoutsSection,
    TlsSection,
};

use governor::Quota;
use service::certificates::CertificateSection;
use service::config::Listen;
use service::limit::PerClient;
use service::signing::{SigningKey, SigningKeyError};

/// The checked configuration of the edge.
#[derive(Clone, Debug)]
pub struct EdgeConfig {
    /// The listener for HTTP without TLS.
    pub listen: Listen,
    /// The listener for HTTP with TLS, and its certificate.
    pub tls: Option<(Listen, CertificateSection)>,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNetwork>,
    /// Its pseudonym in `Via` and `Cache-Status`.
    pub name: String,
    /// The policy by which a region's nodes share its requests.
    pub balance: Balance,
    /// Whether a cookie keeps a client at its node.
    pub sticky: bool,
    /// The key for the cookies that the edge signs.
    pub secret: SigningKey,
    /// Where the key is from; without a file it is random.
    pub secret_file: Option<PathBuf>,
    /// Limits per client and for all clients together.
    pub limits: Limits,
    /// Limits of time.
    pub timeouts: Timeouts,
    /// How often a request is tried.
    pub retry: Retry,
    /// When a node is excluded.
    pub breaker: BreakerRules,
    /// The rate limit of a client prefix.
    pub rate_limit: Option<RateLimit>,
    /// Limits of the cache.
    pub cache: Option<CacheRules>,
    /// The part of a region's capacity that is used.
    pub capacity_limit: f64,
    /// After how long without an answer a read or a PUT is sent to a second node as well.
    pub hedge_after: Option<Duration>,
}

/// Limits per client and for all clients together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at one time.
    pub connections: usize,
    /// Connections of one client at one time; trusted proxies have no such limit.
    pub connections_per_client: usize,
    /// New venues of one client in an hour.
    pub venues_per_hour: NonZeroU32,
    /// Bytes of a request body.
    pub body: u64,
    /// Bytes of a request head.
    pub head: usize,
    /// Header lines of a request.
    pub headers: usize,
    /// Requests at one time on one HTTP/2 connection.
    pub streams: u32,
}

/// Limits of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A TLS handshake, and the head of the first request, each.
    pub head: Duration,
    /// The time between two pieces of a request body.
    pub body_idle: Duration,
    /// A whole request body that is kept to be sent again.
    pub body: Duration,
    /// A connection without a request, and the head of a later request.
    pub idle: Duration,
    /// How long a client may read nothing of what it is sent.
    pub write: Duration,
    /// Connecting to a node, the TLS handshake included.
    pub connect: Duration,
    /// A node's silence before its answer begins.
    pub answer: Duration,
    /// A node's silence within its answer, and silence of both sides of an upgraded connection.
    pub answer_idle: Duration,
    /// All attempts of one request together, until an answer begins.
    pub request: Duration,
    /// Connections that are left when the edge stops.
    pub drain: Duration,
}

/// How often a request is tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// All attempts, the first included.
    pub attempts: u32,
    /// The part of the requests of ten seconds that may be retries.
    pub budget: f64,
    /// Retries in ten seconds that are allowed however few requests there are.
    pub budget_floor: u32,
    /// Bytes of a body that are kept to be sent again.
    pub buffer: usize,
}

/// When a node is excluded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerRules {
    /// Failures in a row that open it.
    pub failures: u32,
    /// The part of failures within a window that opens it.
    pub ratio: f64,
    /// By how much this part must be above that of the other nodes together to open it.
    pub above_others: f64,
    /// The least number of requests in a window for which `ratio` and `above_others` count.
    pub requests: u32,
    /// The window.
    pub window: Duration,
    /// How long it stays open at first; doubled each time a trial fails.
    pub open: Duration,
    /// How long it stays open at most.
    pub open_max: Duration,
    /// The part of the nodes that may be excluded at one time.
    pub most_excluded: f64,
}

/// The rate limit of a client prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests per second in the long run.
    pub per_second: NonZeroU32,
    /// Requests at once.
    pub burst: NonZeroU32,
    /// Networks without a limit.
    pub exempt: Vec<IpNetwork>,
}

impl RateLimit {
    /// The limiter of these rates.
    pub(super) fn per_client(&self) -> PerClient {
        PerClient::new(Quota::per_second(self.per_second).allow_burst(self.burst), self.exempt.clone())
    }
}

/// Limits of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheRules {
    /// Bytes of all answers together.
    pub bytes: u64,
    /// Bytes of one answer.
    pub object: usize,
    /// How long beyond its time an answer is served while the nodes fail, unless it says so itself.
    pub stale_if_error: Duration,
}

/// A value under `[edge]` that cannot be used; every message begins with its key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EdgeConfigError {
    /// A value that no configuration may have there.
    #[error(transparent)]
    Common(#[from] service::config::ValueError),
    /// A pseudonym that cannot be part of `Via`.
    #[error("edge.name = \"{name}\": must be 1 to 40 letters, digits, \"-\", \".\" or \"_\"")]
    BadName {
        /// The value, as the file has it.
        name: String,
    },
    /// The secret's file cannot be used.
    #[error("edge.secret_file")]
    Secret(#[from] SigningKeyError),
}

impl EdgeConfig {
    /// Checks what is written; relative paths count from `base`.
    ///
    /// # Errors
    /// [`EdgeConfigError`], which names the key.
    pub fn check(section: EdgeSection, base: &Path) -> Result<EdgeConfig, EdgeConfigError> {
        validate::edge(section, base)
    }
}
