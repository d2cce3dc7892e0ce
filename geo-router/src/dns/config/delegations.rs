//! Checks delegations: NS records below the zone's apex, and the addresses that go with them (glue).
//!
//! # Invariants
//! - No delegation is at or above a name that the zone needs itself: the service with its regions, and name servers.
//! - At and below a delegation there is nothing but addresses of its name servers, and the DS records of the zone that is
//!   delegated. Everything else would never be answered, because a resolver asks the other name servers for it (RFC 1034,
//!   section 4.2.1).
//! - DS records are at a delegation and nowhere else (RFC 4035, section 2.4).
//! - A name server below its own delegation has an address, otherwise no resolver finds it.

use std::collections::BTreeMap;

use hickory_proto::rr::{Name, RecordType};

use super::super::wire::name_bytes;
use super::zone::{StaticRecords, Zone};

/// Most octets of a referral's records, so that an answer over TCP holds them.
const MOST_BYTES: usize = 32 * 1_024;
/// Octets of a record's type, class, TTL and length.
const FIELDS: usize = 10;

type Sets = BTreeMap<(Name, RecordType), StaticRecords>;

/// Whether a name of the zone can be delegated.
pub(super) fn allows(zone: &Zone<'_>, name: &Name) -> Result<(), &'static str> {
    if name == zone.apex {
        return Err("the name servers of the zone itself are [[dns.nameservers]]");
    }
    if name.zone_of(zone.service) {
        return Err("the service is at or below it, and only this zone knows its regions");
    }
    if zone.nameservers.iter().any(|server| name.zone_of(&server.name)) {
        return Err("a name server of this zone is at or below it");
    }
    Ok(())
}

/// Checks what is at and below delegations; an error names the record.
pub(super) fn check(sets: &Sets) -> Result<(), (&Name, RecordType, &'static str)> {
    let delegations = || sets.values().filter(|set| set.kind == RecordType::NS);
    for set in sets.values() {
        let above = delegations().find(|delegation| delegation.name.zone_of(&set.name));
        let wrong = |why| Err((&set.name, set.kind, why));
        if set.kind == RecordType::DS {
            if above.is_some_and(|above| above.name == set.name) {
                continue;
            }
            return wrong("its name is not delegated: there are no NS records of this name");
        }
        let Some(above) = above.filter(|above| !std::ptr::eq(*above, set)) else { continue };
        if set.kind == RecordType::NS {
            return wrong("its name is below another delegation");
        }
        if !is_address(set.kind) || !servers(above).any(|server| is_named(&server, &set.name)) {
            return wrong("its name is delegated, and it is not the address of one of its name servers");
        }
    }
    for delegation in delegations() {
        let wrong = |why| Err((&delegation.name, RecordType::NS, why));
        let below = name_bytes(&delegation.name).unwrap_or_default();
        let mut octets = 0;
        for server in servers(delegation) {
            let addresses = sets.values().filter(|set| is_address(set.kind) && is_named(&server, &set.name));
            let addresses = addresses.flat_map(|set| &set.data).map(|data| server.len() + FIELDS + data.len());
            let glue: usize = addresses.sum();
            if glue == 0 && is_within(&server, &below) {
                return wrong(
                    "a name server is at or below the name that is delegated to it, and has no A or AAAA record",
                );
            }
            octets += 2 + FIELDS + server.len() + glue;
        }
        if octets > MOST_BYTES {
            return wrong("its name servers and their addresses together are longer than 32 KiB");
        }
    }
    Ok(())
}

fn is_address(kind: RecordType) -> bool {
    matches!(kind, RecordType::A | RecordType::AAAA)
}

/// The names of a delegation's servers, as on the wire and in lower case. Lengths of labels are smaller than the codes of
/// letters, so only letters change.
fn servers(delegation: &StaticRecords) -> impl Iterator<Item = Vec<u8>> {
    delegation.data.iter().map(|server| server.to_ascii_lowercase())
}

/// Whether a name is another one or below it.
fn is_within(name: &[u8], other: &[u8]) -> bool {
    let mut left = name;
    while let [length, rest @ ..] = left {
        if left == other {
            return true;
        }
        left = rest.get(usize::from(*length)..).unwrap_or_default();
    }
    false
}

fn is_named(server: &[u8], name: &Name) -> bool {
    name_bytes(name).is_ok_and(|name| name == server)
}
