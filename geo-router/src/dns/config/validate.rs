//! Turns the written form into the checked one: checks bounds of single values, then contradictions between them.

use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;
use std::sync::Arc;

use hickory_proto::rr::Name;
use service::config;

use super::super::cookie::{CookieSecretError, CookieSecrets};
use super::super::dnssec::{Signer, ZoneKeyError, ZoneKeys};
use super::names::{below, is_explanation};
use super::zone::Zone;
use super::{DnsConfig, DnsSection, DnsTlsConfig, MOST_REGIONS, NameserverSection, RateLimitConfig, records};
use super::{Nameserver, RateLimitSection};
use service::certificates::CertificateSection;

/// Longest name of a server. It is in each answer that asks for it, so it takes room from the records.
const MOST_NSID: usize = 64;

/// An error in a `[dns]` table.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DnsConfigError {
    /// A value that no configuration may have there.
    #[error(transparent)]
    Common(#[from] service::config::ValueError),
    /// The shortest TTL is longer than the longest.
    #[error("dns.ttl_min_s ({min}) is more than dns.ttl_max_s ({max})")]
    TtlBounds {
        /// `ttl_min_s`
        min: u32,
        /// `ttl_max_s`
        max: u32,
    },
    /// Not a host name.
    #[error("{key}: {name:?} is not a host name (labels of letters, digits and '-'), or is too long")]
    BadName {
        /// The key.
        key: &'static str,
        /// What it says.
        name: String,
    },
    /// Not a name of a server for RFC 5001.
    #[error("dns.nsid: must have at most {MOST_NSID} characters, all of them visible ASCII")]
    BadNsid,
    /// The secrets of cookies.
    #[error("dns.cookie_secret_file")]
    CookieSecrets(#[from] CookieSecretError),
    /// The keys of a signed zone.
    #[error("dns.dnssec_keys")]
    ZoneKeys(#[from] ZoneKeyError),
    /// Names that are too long together.
    #[error("dns.zone: a name of the zone cannot be encoded")]
    Encode(#[from] hickory_proto::ProtoError),
    /// Two items with one name.
    #[error("{key}: {name} is used twice")]
    NameTwice {
        /// The key.
        key: &'static str,
        /// The name.
        name: String,
    },
    /// A record that the zone cannot have.
    #[error("dns.records: the record {name} {kind}: {why}")]
    Record {
        /// Its name, as it is written.
        name: String,
        /// Its type, as it is written.
        kind: String,
        /// The reason.
        why: String,
    },
    /// A name server without an address.
    #[error("dns.nameservers: {name} has no address")]
    NoAddress {
        /// Its name.
        name: String,
    },
}

impl DnsConfig {
    /// Checks a `[dns]` table whose relative paths count from `base`.
    ///
    /// # Errors
    /// [`DnsConfigError`] names the key.
    pub fn check(section: DnsSection, base: &Path) -> Result<DnsConfig, DnsConfigError> {
        let zone = name("dns.zone", &section.zone, &Name::root())?;
        let service = match section.service.as_str() {
            "@" => zone.clone(),
            below => name("dns.service", below, &zone)?,
        };
        let hostmaster = match &section.hostmaster {
            Some(whole) => name("dns.hostmaster", whole, &Name::root())?,
            None => name("dns.zone", "hostmaster", &zone)?,
        };
        let ttl_min = config::whole("dns.ttl_min_s", section.ttl_min_s, 1, 86_400)?;
        let ttl_max = config::whole("dns.ttl_max_s", section.ttl_max_s, 1, 86_400)?;
        if ttl_min > ttl_max {
            return Err(DnsConfigError::TtlBounds { min: ttl_min, max: ttl_max });
        }
        let threads = match section.threads {
            0 => std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            written => NonZeroUsize::new(config::whole("dns.threads", written, 1, 256)?).unwrap_or(NonZeroUsize::MIN),
        };
        let nameservers = nameservers(section.nameservers, &zone, &service)?;
        let static_ttl = config::whole("dns.static_ttl_s", section.static_ttl_s, 1, 604_800)?;
        let names = Zone { apex: &zone, service: &service, nameservers: &nameservers, static_ttl };
        let records = records::check(section.records, &names)?;
        let secrets = section.cookie_secret_file.map(|path| config::path("dns.cookie_secret_file", &path, base));
        let secrets = secrets.transpose()?;
        let keys = section.dnssec_keys.iter().map(|path| config::path("dns.dnssec_keys", path, base));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let signer = if keys.is_empty() { None } else { Some(Arc::new(Signer::new(ZoneKeys::load(&keys)?, &zone)?)) };
        Ok(DnsConfig {
            cookie_secrets: secrets.as_deref().map_or_else(|| Ok(CookieSecrets::random()), CookieSecrets::load)?,
            cookie_secret_file: secrets,
            dnssec_keys: keys,
            signer,
            listen: section.listen,
            nameservers,
            records,
            threads,
            ttl_min,
            ttl_max,
            static_ttl,
            negative_ttl: config::whole("dns.negative_ttl_s", section.negative_ttl_s.unwrap_or(ttl_min), 1, 86_400)?,
            regions_per_answer: config::whole(
                "dns.regions_per_answer",
                section.regions_per_answer,
                1,
                MOST_REGIONS as u64,
            )?,
            nsid: nsid(section.nsid.unwrap_or_default())?,
            // No resolver expects a truncated answer below 512; above 4096 fragments get lost on the way.
            edns_udp_size: config::whole("dns.edns_udp_size", section.edns_udp_size, 512, 4_096)?,
            explain_to: section.explain_to,
            rate_limit: rate_limit(section.rate_limit)?,
            connections: config::whole("dns.connections", section.connections, 1, 1_000_000)?,
            tls: section
                .tls
                .map(|tls| {
                    let files = CertificateSection { certificate: tls.certificate, key: tls.key };
                    let files = files.within("dns.tls", base)?;
                    Ok::<_, DnsConfigError>(DnsTlsConfig { listen: tls.listen, files })
                })
                .transpose()?,
            zone,
            service,
            hostmaster,
        })
    }
}

/// `text` within `parent`, whole and in lower case.
fn name(key: &'static str, text: &str, parent: &Name) -> Result<Name, DnsConfigError> {
    let bad = || DnsConfigError::BadName { key, name: text.to_owned() };
    let relative = text.strip_suffix('.').filter(|_| parent.is_root()).unwrap_or(text);
    below(relative, parent, |byte| byte == b'-').ok_or_else(bad)
}

fn nameservers(
    written: Vec<NameserverSection>,
    zone: &Name,
    service: &Name,
) -> Result<Vec<Nameserver>, DnsConfigError> {
    const KEY: &str = "dns.nameservers";
    config::whole("dns.nameservers (their number)", written.len(), 1, 13)?;
    let mut known = BTreeSet::new();
    let mut checked = Vec::with_capacity(written.len());
    for one in written {
        let name = name(KEY, &one.name, zone)?;
        // The names below the service are the regions' names. At the apex everything is below the service, and a region
        // is refused that has the name of a name server.
        let is_taken = if service == zone { is_explanation(&name, service) } else { service.zone_of(&name) };
        if is_taken || !known.insert(name.clone()) {
            return Err(DnsConfigError::NameTwice { key: KEY, name: name.to_ascii() });
        }
        if one.addresses.is_empty() {
            return Err(DnsConfigError::NoAddress { name: name.to_ascii() });
        }
        let mut addresses = one.addresses;
        addresses.sort_unstable();
        addresses.dedup();
        checked.push(Nameserver { name, addresses });
    }
    Ok(checked)
}

fn nsid(written: String) -> Result<String, DnsConfigError> {
    let is_good = written.len() <= MOST_NSID && written.bytes().all(|byte| byte.is_ascii_graphic());
    if is_good { Ok(written) } else { Err(DnsConfigError::BadNsid) }
}

fn rate_limit(written: RateLimitSection) -> Result<RateLimitConfig, DnsConfigError> {
    config::whole("dns.rate_limit.slip", written.slip, 0, 100)?;
    Ok(RateLimitConfig {
        responses_per_second: NonZeroU32::new(written.responses_per_second),
        slip: written.slip,
        exempt: written.exempt,
    })
}
