//! `[edge]` as it is written: plain values, defaults, no unknown keys.
//!
//! These types are also serialised, so that a `router.toml` can be written with the structs that read it. Never use
//! `flatten`, because it lets unknown keys through.
//!
//! # Not here
//! Bounds: [`super::validate`].

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use service::certificates::CertificateSection;
use service::config::Listen;

/// `[edge]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeSection {
    /// The listener for HTTP without TLS.
    pub listen: Listen,
    /// The pseudonym in `Via` and `Cache-Status`.
    #[serde(default = "name")]
    pub name: String,
    /// Peers whose `X-Forwarded-For` is believed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<IpNetwork>,
    /// How the nodes of a region share its requests.
    #[serde(default)]
    pub balance: Balance,
    /// Whether a cookie keeps a client at its node.
    #[serde(default)]
    pub sticky: bool,
    /// File with the key of the cookie, the same on all routers. Without it the key is random and lost when the process
    /// ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// The part of a region's `capacity` that is used; beyond it requests go elsewhere or are refused.
    #[serde(default = "capacity_limit")]
    pub capacity_limit: f64,
    /// After how many milliseconds without an answer a GET, HEAD or PUT is sent to a second node as well; 0 is never.
    #[serde(default = "hedge_after_ms")]
    pub hedge_after_ms: u64,
    /// `[edge.tls]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSection>,
    /// `[edge.limits]`
    #[serde(default)]
    pub limits: LimitsSection,
    /// `[edge.timeouts]`
    #[serde(default)]
    pub timeouts: TimeoutsSection,
    /// `[edge.retry]`
    #[serde(default)]
    pub retry: RetrySection,
    /// `[edge.breaker]`
    #[serde(default)]
    pub breaker: BreakerSection,
    /// `[edge.rate_limit]`
    #[serde(default)]
    pub rate_limit: RateLimitSection,
    /// `[edge.cache]`
    #[serde(default)]
    pub cache: CacheSection,
}

fn name() -> String {
    "meridian".to_owned()
}

fn capacity_limit() -> f64 {
    0.85
}

/// Above a round trip between any two regions and a commit, so that a distant node alone causes no hedge.
fn hedge_after_ms() -> u64 {
    300
}

impl EdgeSection {
    /// The defaults, with this listener.
    #[must_use]
    pub fn new(listen: SocketAddr) -> EdgeSection {
        EdgeSection {
            listen: listen.into(),
            name: name(),
            trusted_proxies: Vec::new(),
            balance: Balance::default(),
            sticky: false,
            secret_file: None,
            capacity_limit: capacity_limit(),
            hedge_after_ms: hedge_after_ms(),
            tls: None,
            limits: LimitsSection::default(),
            timeouts: TimeoutsSection::default(),
            retry: RetrySection::default(),
            breaker: BreakerSection::default(),
            rate_limit: RateLimitSection::default(),
            cache: CacheSection::default(),
        }
    }
}

impl Default for EdgeSection {
    /// Listens on the port of `meridian up`.
    fn default() -> Self {
        EdgeSection::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 7080)))
    }
}

/// How the nodes of a region share its requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// In turn.
    #[default]
    RoundRobin,
    /// In turn, in proportion to the weights.
    Weighted,
    /// The node with the fewest requests under way, in proportion to the weights.
    LeastConnections,
    /// Random.
    Random,
    /// All requests of a client go to one node, as long as it is up.
    IpHash,
    /// All requests of a venue go to one node, as long as it is up; requests without a venue in turn.
    VenueHash,
}

impl Balance {
    /// All of them.
    pub const ALL: [Balance; 6] = [
        Balance::RoundRobin,
        Balance::Weighted,
        Balance::LeastConnections,
        Balance::Random,
        Balance::IpHash,
        Balance::VenueHash,
    ];
}

/// `[edge.tls]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    /// The listener for HTTP with TLS.
    pub listen: Listen,
    /// The chain, the server's own certificate first; renewed files are read while the edge runs.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl TlsSection {
    pub(super) fn files(self) -> CertificateSection {
        CertificateSection { certificate: self.certificate, key: self.key }
    }
}

/// A section of numbers with their defaults.
macro_rules! numbers {
    ($(#[$doc:meta])* $section:ident { $($(#[$key_doc:meta])* $key:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $section {
            $($(#[$key_doc])* pub $key: $type,)*
        }

        impl Default for $section {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }
    };
}

numbers! {
    /// `[edge.limits]`
    LimitsSection {
        /// Client connections at one time; further clients wait for a moment.
        connections: u64 = 20_000,
        /// Connections of one client (an IPv4 address or an IPv6 /56) at one time.
        connections_per_client: u64 = 4_000,
        /// New venues of one client in an hour.
        venues_per_hour: u64 = 60,
        /// Largest request body in KiB.
        body_kib: u64 = 64,
        /// Largest request head in KiB, 32 at most.
        head_kib: u64 = 32,
        /// Header fields of a request, 100 at most.
        headers: u64 = 100,
        /// Requests at one time on one HTTP/2 connection.
        streams: u64 = 100,
    }
}

numbers! {
    /// `[edge.timeouts]`, in milliseconds
    TimeoutsSection {
        /// A TLS handshake, and the head of the first request, each.
        head_ms: u64 = 10_000,
        /// The time between two pieces of a request body.
        body_idle_ms: u64 = 10_000,
        /// A whole request body that is kept to be sent again.
        body_ms: u64 = 30_000,
        /// A connection without a request, and the head of a later request.
        idle_ms: u64 = 60_000,
        /// How long a client may read nothing of what it is sent.
        write_ms: u64 = 30_000,
        /// Connecting to a node.
        connect_ms: u64 = 1_000,
        /// A node's silence before its answer begins.
        answer_ms: u64 = 5_000,
        /// A node's silence within its answer, and silence of both sides of an upgraded connection.
        answer_idle_ms: u64 = 120_000,
        /// All attempts of one request together, until an answer begins.
        request_ms: u64 = 30_000,
        /// Connections that are left when the edge stops.
        drain_ms: u64 = 10_000,
    }
}

numbers! {
    /// `[edge.retry]`
    RetrySection {
        /// All attempts of a request, the first included.
        attempts: u64 = 6,
        /// The part of the requests of ten seconds that may be retries. A retry that succeeds does not count.
        budget: f64 = 0.2,
        /// Retries in ten seconds that are allowed however few requests there are.
        budget_floor: u64 = 30,
        /// How much of a body is kept to be sent again, in KiB; a larger body is sent once, as it arrives.
        buffer_kib: u64 = 64,
    }
}

numbers! {
    /// `[edge.breaker]`
    BreakerSection {
        /// Failures in a row after which a node is excluded.
        failures: u64 = 5,
        /// The part of failures within a window after which a node is excluded.
        ratio: f64 = 0.5,
        /// A node is also excluded if its part of failures is this much above that of the other nodes together.
        above_others: f64 = 0.2,
        /// How many requests a window must have for `ratio` and `above_others`, of the node and of the others.
        requests: u64 = 20,
        /// The window in milliseconds.
        window_ms: u64 = 10_000,
        /// How long a node is excluded at first, in milliseconds; doubled each time it fails again soon.
        open_ms: u64 = 1_000,
        /// How long a node is excluded at most, in milliseconds.
        open_max_ms: u64 = 30_000,
        /// The part of the nodes that may be excluded at one time. One of several always may, the last one never.
        most_excluded: f64 = 0.7,
    }
}

/// `[edge.rate_limit]`: per IPv4 address, or IPv6 /56
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimitSection {
    /// Requests per second in the long run; 0 is no limit.
    pub requests_per_second: u64,
    /// Requests at once.
    pub burst: u64,
    /// Networks without a limit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exempt: Vec<IpNetwork>,
}

impl Default for RateLimitSection {
    fn default() -> Self {
        Self { requests_per_second: 0, burst: 100, exempt: Vec::new() }
    }
}

numbers! {
    /// `[edge.cache]`
    CacheSection {
        /// All answers together, in MiB; 0 keeps none.
        mib: u64 = 64,
        /// One answer, in KiB.
        max_object_kib: u64 = 1_024,
        /// How long beyond its time an answer is served while the nodes fail, unless it says so itself.
        stale_if_error_s: u64 = 300,
    }
}
