//! Configuration of the DNS server: to hold a [`DnsConfig`] is proof that every bound was checked.
//!
//! The *written* form ([`DnsSection`], the `[dns]` table: plain values, unknown keys refused) becomes the *checked* form
//! (this module: whole names, durations, absolute paths) by [`DnsConfig::check`]. An error names the key as it is in
//! the file.
//!
//! # Invariants
//! - All names lie within the zone, are lower-case and are different.
//!
//! # Not here
//! Whether the certificates are usable ([`service::certificates`]), and the regions' names ([`super::DnsServer::start`]).

mod delegations;
mod names;
mod records;
mod validate;
mod written;
mod zone;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;

use api::RegionId;
use hickory_proto::ProtoError;
use hickory_proto::rr::Name;
use ipnetwork::IpNetwork;

pub use validate::DnsConfigError;
pub use written::{DnsSection, DnsTlsSection, NameserverSection, RateLimitSection, RecordSection};
pub use zone::StaticRecords;

use super::cookie::CookieSecrets;
use super::dnssec::{KeyFacts, Signer};
use service::certificates::CertificateSection;
use service::config::Listen;

/// Most regions in one answer.
pub(super) const MOST_REGIONS: usize = 4;

/// The label below the service for explanations.
pub(super) const EXPLAIN: &str = "explain";

/// `[dns]`, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsConfig {
    /// The addresses for UDP and TCP; port 0 takes any port that is free for both.
    pub listen: Listen,
    /// The zone's apex.
    pub zone: Name,
    /// The name whose answer depends on the client; it may be the apex.
    pub service: Name,
    /// The mailbox of the person responsible, as a name (RFC 1035, section 8).
    pub hostmaster: Name,
    /// Not empty.
    pub nameservers: Vec<Nameserver>,
    /// Records that are the same for every client.
    pub records: Vec<StaticRecords>,
    /// How many sockets and threads answer UDP at each address.
    pub threads: NonZeroUsize,
    /// Lower bound of [`View::ttl`](crate::view::View::ttl) in seconds; the control plane keeps it.
    pub ttl_min: u32,
    /// The upper bound, not below `ttl_min`.
    pub ttl_max: u32,
    /// TTL in seconds of records that only a change of configuration alters: SOA, NS and the nameservers' addresses.
    pub static_ttl: u32,
    /// TTL in seconds of negative answers.
    pub negative_ttl: u32,
    /// The number of regions in an answer that depends on the client, from 1 to 4: its own first, then the next ones.
    pub regions_per_answer: usize,
    /// The name by which an answer tells, if it is asked, which server it is from (RFC 5001); empty if none does.
    pub nsid: String,
    /// The largest answer over UDP, in bytes.
    pub edns_udp_size: u16,
    /// The file with the secrets of cookies, which all routers of an anycast set share; without one they are random.
    pub(crate) cookie_secret_file: Option<PathBuf>,
    pub(crate) cookie_secrets: CookieSecrets,
    /// The files with the keys of a signed zone, the one that signs first.
    pub(crate) dnssec_keys: Vec<PathBuf>,
    /// `None` if the zone is not signed.
    pub(crate) signer: Option<Arc<Signer>>,
    /// The networks whose queries for explanations are answered; `None` stands for all of them.
    pub(crate) explain_to: Option<Vec<IpNetwork>>,
    /// The rate limit per network.
    pub rate_limit: RateLimitConfig,
    /// TCP and TLS connections at one time, over all clients.
    pub connections: usize,
    /// DNS over TLS.
    pub tls: Option<DnsTlsConfig>,
}

/// A name server of the zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Nameserver {
    /// Its whole name.
    pub name: Name,
    /// Not empty.
    pub addresses: Vec<IpAddr>,
}

/// `[dns.rate_limit]`, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimitConfig {
    /// UDP answers per second to one /24 (IPv6: /56); `None` is no limit.
    pub responses_per_second: Option<NonZeroU32>,
    /// Every n-th answer above the limit is sent truncated, so that a real resolver comes back over TCP; 0 is never.
    pub slip: u32,
    /// Networks without a limit.
    pub exempt: Vec<IpNetwork>,
}

/// `[dns.tls]`, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsTlsConfig {
    /// The addresses of the listener.
    pub listen: Listen,
    /// Its files, as absolute paths if the base of [`DnsConfig::check`] was absolute.
    pub files: CertificateSection,
}

impl DnsConfig {
    /// The public facts of each key of the zone; empty if the zone is not signed.
    ///
    /// # Errors
    /// [`ProtoError`] if the zone's name cannot be encoded.
    pub fn keys(&self) -> Result<Vec<KeyFacts>, ProtoError> {
        self.signer.as_ref().map_or_else(|| Ok(Vec::new()), |signer| signer.facts(&self.zone))
    }

    /// Whether `<region>.<service>` can be the name of a region: it is not too long, and no other record has it.
    #[must_use]
    pub fn takes_region(&self, region: &RegionId) -> bool {
        let Ok(name) = self.service.prepend_label(region.as_str()) else { return false };
        let is_free = self.nameservers.iter().all(|server| server.name != name)
            && self.records.iter().all(|records| records.name != name);
        region.as_str() != EXPLAIN && is_free
    }
}
