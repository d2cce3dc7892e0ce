//! Authoritative DNS: sends each client to the region that the latest view has for it.
//!
//! ```text
//! View ──Answers::build──▶ Answers (records as octets) ──ArcSwap──▶ answer(octets, who asks) ──▶ octets
//!                                                                     ▲ UDP threads, TCP, TLS
//! ```
//!
//! One function turns a query's octets into its answer's, [`answer()`], for every transport, so a resolver gets the
//! same answer over UDP and TCP. hickory-proto encodes the rare records (SOA, explanations, the answer to ANY) and is
//! the reference in the tests. hickory-server is not used, not even for TCP, for these reasons as of 0.26: It answers
//! malformed EDNS with twelve octets before it asks a handler, so that resolvers conclude that we do not speak EDNS. It
//! accepts over-long client subnets. It loses the case of the question in answers. One ECONNABORTED ends its TCP
//! listener silently (hickory-dns#3725). A query costs it more than twice the time. All but the last break rules of
//! the RFCs that a request handler cannot restore.
//!
//! # Invariants
//! - A query waits for nothing: not for the control plane, not for another query, not for a lock.
//! - Within one scope all clients get the same records, and scopes do not change with health. Another fleet, policy or
//!   location database has other scopes; resolvers keep the old ones for a TTL at most.
//! - Inside the zone only transfers and foreign classes are REFUSED, because a resolver reads REFUSED as "not with a
//!   client subnet" (RFC 7871, section 7.3).
//! - No log and no metric contains a name that was asked for or an address.
//!
//! # Not here
//! Zone transfers, and records of other zones, delegated ones included. How long a TTL is: [`View::ttl`](crate::view::View::ttl). If some
//! regions have IPv6 addresses and others do not, a negative answer has no scope, as section 7.4 of RFC 7871 asks. A
//! resolver may then apply it to all regions, so the server logs a warning for each fleet of this kind.

mod answer;
mod answers;
mod config;
mod cookie;
mod delegations;
mod dnssec;
mod edns;
mod limit;
mod metrics;
mod query;
mod reply;
mod secure;
mod server;
mod stream;
mod udp;
mod wire;

pub use answer::{Answered, QueryOutcome, ReceivedFrom, Transport, answer};
pub use answers::Answers;
pub use config::{
    DnsConfig, DnsConfigError, DnsSection, DnsTlsConfig, DnsTlsSection, Nameserver, NameserverSection, RateLimitConfig,
    RateLimitSection, RecordSection, StaticRecords,
};
pub use dnssec::{KeyFacts, ZoneKeyError, create_key};
pub use limit::Verdict;
pub use metrics::DnsMetrics;
pub use query::DropReason;
pub use reply::Routed;
pub(crate) use server::DnsSockets;
pub use server::{DnsError, DnsServer};
pub use wire::Rcode;
