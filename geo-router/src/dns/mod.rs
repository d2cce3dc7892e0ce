//! Authoritative DNS: sends each client to the region that the latest view has for it.
//!
//! ```text
//! View ──Answers::build──▶ Answers (records as octets) ──ArcSwap──▶ answer(octets, who asks) ──▶ octets
//!                                                                     ▲ UDP threads, TCP, TLS
//! ```
//!
//! There is one way from a query's octets to its answer's, [`answer()`], for every transport: what a resolver is told
//! over UDP it is told over TCP. hickory-proto encodes what is unusual (SOA, explanations, the answer to ANY) and is
//! the judge in the tests. hickory-server is not used, not even for TCP: as of 0.26 it answers malformed EDNS with twelve
//! octets before a handler is asked, so that resolvers conclude that no EDNS is spoken here; it accepts over-long client
//! subnets; it loses the case of the question in answers; one ECONNABORTED ends its TCP listener without a word
//! (hickory-dns#3725); and a query costs it more than twice the time. All but the last are rules of the RFCs that a
//! request handler cannot mend.
//!
//! # Invariants
//! - A query waits for nobody: not for the control plane, not for another query, not for a lock.
//! - Within one scope all clients get the same records, and scopes never change while the process lives.
//! - Inside the zone nothing but transfers and foreign classes is REFUSED: a resolver takes that as "not with a client
//!   subnet" (RFC 7871, section 7.3).
//! - No name that was asked for and no address is in a log or a metric.
//!
//! # Not here
//! DNSSEC, zone transfers, and names of others. When a TTL is how long: [`View::ttl`](crate::view::View::ttl). If some
//! regions have IPv6 addresses and others do not, "no such address" is told without a scope, as section 7.4 of RFC 7871
//! asks; a resolver may then take it for all regions, so the start says so in the log.

mod answer;
mod answers;
mod config;
mod edns;
mod limit;
mod metrics;
mod query;
mod server;
mod stream;
mod udp;
mod wire;

pub use answer::{Answered, Asked, Outcome, Routed, Transport, answer};
pub use answers::Answers;
pub use config::{
    DnsConfig, DnsConfigError, DnsSection, DnsTlsConfig, DnsTlsSection, Nameserver, NameserverSection, RateLimitConfig,
    RateLimitSection,
};
pub use metrics::DnsMetrics;
pub use query::DropReason;
pub use server::{DnsError, DnsServer};
pub use wire::Rcode;
