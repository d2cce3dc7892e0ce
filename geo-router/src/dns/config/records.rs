//! Records of the zone that are the same for every client: certificates' authorities (CAA), mail (MX), proofs (TXT), aliases
//! (CNAME), services (HTTPS, SVCB, SRV, TLSA), fixed addresses (A, AAAA) and delegations (NS, DS).
//!
//! Data is written as in a zone file (RFC 1035, section 5.1) and parsed by `hickory-proto`.
//!
//! # Invariants
//! - Records of one name and type have one TTL (RFC 2181, section 5.2).
//! - A name with a CNAME has nothing else (RFC 1034, section 3.6.2), and is neither the apex nor the service.
//! - No record has the name of a region, of a name server or of the explanation.

use std::collections::BTreeMap;

use hickory_proto::rr::{Name, RData, RecordType};

use super::super::wire::data_bytes;
use super::delegations;
use super::names::{below, is_explanation};
use super::zone::{StaticRecords, Zone};
use super::{DnsConfigError, RecordSection};
use service::config;

/// Most records of a zone.
const MOST: u64 = 1_000;
/// Most octets of all records of one name and type, so that an answer over TCP holds them.
const MOST_BYTES: usize = 16 * 1_024;

pub(super) fn check(written: Vec<RecordSection>, zone: &Zone<'_>) -> Result<Vec<StaticRecords>, DnsConfigError> {
    config::whole("dns.records (their number)", written.len(), 0, MOST)?;
    let mut sets: BTreeMap<(Name, RecordType), StaticRecords> = BTreeMap::new();
    for one in written {
        let wrong =
            |why: &str| DnsConfigError::Record { name: one.name.clone(), kind: one.kind.clone(), why: why.to_owned() };
        let within = || below(&one.name, zone.apex, |byte| matches!(byte, b'-' | b'_'));
        let name = if one.name == "@" { Some(zone.apex.clone()) } else { within() };
        let name = name.ok_or_else(|| {
            wrong("its name is not one within the zone (labels of letters, digits, '-' and '_'; \"@\" is the zone itself)")
        })?;
        let kind = kind(&one.kind).ok_or_else(|| {
            wrong("its type is none of A, AAAA, CAA, CNAME, DS, HTTPS, MX, NS, SRV, SVCB, TLSA and TXT")
        })?;
        zone.allows(&name, kind).map_err(wrong)?;
        let data = RData::try_from_str(kind, &one.value)
            .map_err(|error| wrong(&format!("its value cannot be read: {error}")))?;
        if !are_whole(&data) {
            return Err(wrong("a name in its value does not end with a dot"));
        }
        let data = data_bytes(&data).map_err(|error| wrong(&format!("its value is too long: {error}")))?;
        let ttl = config::whole("dns.records (ttl_s)", one.ttl_s.unwrap_or(zone.static_ttl), 1, 604_800)?;
        let new = || StaticRecords { name: name.clone(), kind, ttl, data: Vec::new() };
        let set = sets.entry((name.clone(), kind)).or_insert_with(new);
        if set.ttl != ttl {
            return Err(wrong("another record of this name and type has another ttl_s"));
        }
        if set.data.contains(&data) {
            return Err(wrong("it is there twice"));
        }
        if kind == RecordType::CNAME && !set.data.is_empty() {
            return Err(wrong("its name has another CNAME"));
        }
        set.data.push(data);
        if set.data.iter().map(Vec::len).sum::<usize>() > MOST_BYTES {
            return Err(wrong("all records of its name and type together are longer than 16 KiB"));
        }
    }
    let aliases = sets.keys().filter(|(_, kind)| *kind == RecordType::CNAME);
    for (name, _) in aliases {
        if sets.keys().any(|(other, kind)| other == name && *kind != RecordType::CNAME) {
            let why = "its name has other records, and a CNAME must stand alone".to_owned();
            return Err(DnsConfigError::Record { name: name.to_ascii(), kind: "CNAME".to_owned(), why });
        }
    }
    delegations::check(&sets).map_err(|(name, kind, why)| DnsConfigError::Record {
        name: name.to_ascii(),
        kind: kind.to_string(),
        why: why.to_owned(),
    })?;
    Ok(sets.into_values().collect())
}

impl Zone<'_> {
    fn allows(&self, name: &Name, kind: RecordType) -> Result<(), &'static str> {
        if kind == RecordType::NS {
            return delegations::allows(self, name);
        }
        let is_address = matches!(kind, RecordType::A | RecordType::AAAA);
        if name == self.service && (is_address || kind == RecordType::CNAME) {
            return Err("the addresses of the service are those of its regions");
        }
        if name == self.apex && kind == RecordType::CNAME {
            return Err("the zone itself cannot be an alias (RFC 1034, section 3.6.2)");
        }
        if self.nameservers.iter().any(|server| server.name == *name) {
            return Err("its name is that of a name server");
        }
        if is_explanation(name, self.service) {
            return Err("this name explains where a client is sent");
        }
        Ok(())
    }
}

fn kind(text: &str) -> Option<RecordType> {
    use RecordType::{A, AAAA, CAA, CNAME, DS, HTTPS, MX, NS, SRV, SVCB, TLSA, TXT};
    let all = [A, AAAA, CAA, CNAME, DS, HTTPS, MX, NS, SRV, SVCB, TLSA, TXT];
    all.into_iter().find(|kind| text.eq_ignore_ascii_case(&kind.to_string()))
}

/// Whether every name in the data ends at the root. A name that does not would be taken for one below the root.
fn are_whole(data: &RData) -> bool {
    match data {
        RData::CNAME(to) => to.0.is_fqdn(),
        RData::NS(server) => server.0.is_fqdn(),
        RData::MX(mx) => mx.exchange.is_fqdn(),
        RData::SRV(srv) => srv.target.is_fqdn(),
        RData::SVCB(svcb) => svcb.target_name.is_fqdn(),
        RData::HTTPS(https) => https.0.target_name.is_fqdn(),
        _ => true,
    }
}
