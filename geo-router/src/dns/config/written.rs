//! The `[dns]` table as it is written: plain values, defaults, no unknown keys.
//!
//! These types are also serialised, so that a file can be written with the very structs that read it. Never use
//! `flatten`, because it lets unknown keys through.
//!
//! # Not here
//! Bounds: [`super::validate`].

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use service::config::Listen;

/// `[dns]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsSection {
    /// The addresses for UDP and TCP.
    pub listen: Listen,
    /// The zone, such as `meridian.test`.
    pub zone: String,
    /// The service's name within the zone, such as `checkin`; `@` is the zone itself.
    pub service: String,
    /// The zone's mailbox as a name; `hostmaster.<zone>` unless it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostmaster: Option<String>,
    /// UDP sockets and threads at each address; 0 is one for each core.
    #[serde(default)]
    pub threads: usize,
    /// Shortest TTL of an answer that depends on the client.
    #[serde(default = "ttl_min_s")]
    pub ttl_min_s: u32,
    /// Longest TTL of an answer that depends on the client.
    #[serde(default = "ttl_max_s")]
    pub ttl_max_s: u32,
    /// TTL of SOA, NS and the name servers' addresses.
    #[serde(default = "static_ttl_s")]
    pub static_ttl_s: u32,
    /// TTL of negative answers; `ttl_min_s` unless it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_ttl_s: Option<u32>,
    /// Number of regions in an answer that depends on the client, from 1 to 4.
    #[serde(default = "regions_per_answer")]
    pub regions_per_answer: usize,
    /// The name that tells which server answers (RFC 5001), at most 64 visible ASCII characters; the router's name unless it
    /// is given, and none if it is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nsid: Option<String>,
    /// Largest answer over UDP in bytes.
    #[serde(default = "edns_udp_size")]
    pub edns_udp_size: u16,
    /// The file with the secrets of cookies, the same on all routers of an anycast set; random secrets unless it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie_secret_file: Option<PathBuf>,
    /// The files with the private keys of a signed zone, at most three: the first signs everything, the others are shown
    /// besides while one is replaced. Without one the zone is not signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dnssec_keys: Vec<PathBuf>,
    /// The networks whose queries for explanations are answered; all of them unless it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explain_to: Option<Vec<IpNetwork>>,
    /// TCP and TLS connections at one time.
    #[serde(default = "connections")]
    pub connections: usize,
    /// `[[dns.nameservers]]`
    pub nameservers: Vec<NameserverSection>,
    /// `[[dns.records]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<RecordSection>,
    /// `[dns.rate_limit]`
    #[serde(default)]
    pub rate_limit: RateLimitSection,
    /// `[dns.tls]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<DnsTlsSection>,
}

/// One of `[[dns.nameservers]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameserverSection {
    /// Its name within the zone, such as `ns1`.
    pub name: String,
    /// Its addresses.
    #[serde(deserialize_with = "service::config::addresses")]
    pub addresses: Vec<IpAddr>,
}

/// One of `[[dns.records]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordSection {
    /// Its name within the zone, such as `_acme-challenge.checkin`; `@` is the zone itself.
    pub name: String,
    /// Its type, such as `CAA`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its data, as in a zone file; names in it end with a dot.
    pub value: String,
    /// Its TTL; `static_ttl_s` unless it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u32>,
}

/// `[dns.rate_limit]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimitSection {
    /// UDP answers per second to one /24 (IPv6: /56); 0 is no limit.
    pub responses_per_second: u32,
    /// Every n-th answer above the limit is sent truncated; 0 is never.
    pub slip: u32,
    /// Networks without a limit.
    pub exempt: Vec<IpNetwork>,
}

impl Default for RateLimitSection {
    fn default() -> Self {
        let loopback = [([127, 0, 0, 0].into(), 8), (std::net::Ipv6Addr::LOCALHOST.into(), 128)];
        let exempt = loopback.into_iter().filter_map(|(address, prefix)| IpNetwork::new(address, prefix).ok());
        Self { responses_per_second: 1_000, slip: 2, exempt: exempt.collect() }
    }
}

/// `[dns.tls]`: DNS over TLS, with PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsTlsSection {
    /// The addresses of the listener.
    pub listen: Listen,
    /// The certificate chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

fn ttl_min_s() -> u32 {
    5
}

fn ttl_max_s() -> u32 {
    60
}

fn static_ttl_s() -> u32 {
    3_600
}

fn regions_per_answer() -> usize {
    1
}

fn edns_udp_size() -> u16 {
    1_232
}

fn connections() -> usize {
    1_024
}

impl DnsSection {
    /// The defaults, with this listener, zone and service.
    #[must_use]
    pub fn new(listen: SocketAddr, zone: &str, service: &str, nameservers: Vec<NameserverSection>) -> DnsSection {
        DnsSection {
            listen: listen.into(),
            zone: zone.to_owned(),
            service: service.to_owned(),
            hostmaster: None,
            threads: 0,
            ttl_min_s: ttl_min_s(),
            ttl_max_s: ttl_max_s(),
            static_ttl_s: static_ttl_s(),
            negative_ttl_s: None,
            regions_per_answer: regions_per_answer(),
            nsid: None,
            cookie_secret_file: None,
            dnssec_keys: Vec::new(),
            edns_udp_size: edns_udp_size(),
            explain_to: None,
            connections: connections(),
            nameservers,
            records: Vec::new(),
            rate_limit: RateLimitSection::default(),
            tls: None,
        }
    }
}
