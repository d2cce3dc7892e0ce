//! All answers as of one view, ready to be sent: built when the view changes, and swapped whole.
//!
//! # Invariants
//! - Nothing is encoded or signed while a query waits, except explanations, which are asked for rarely, and in a signed zone
//!   what depends on the name that is asked for ([`super::secure`]).
//! - Each region's addresses are kept once. An answer with several regions is put together when it is written, because
//!   the records of a region are the same octets in every answer. So the number of kept records does not grow with the
//!   number of regions in an answer.
//! - Every name with a name below it exists. Otherwise a resolver would conclude from an NXDOMAIN that there is nothing
//!   below it (RFC 8020).
//!
//! # Not here
//! Which answer a query gets: [`super::answer`].

mod signing;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::ProtoError;
use hickory_proto::rr::rdata::{HINFO, NS, SOA, TXT};
use hickory_proto::rr::{Name, RData, RecordType};
use ipnetwork::IpNetwork;

use super::config::{DnsConfig, EXPLAIN, MOST_REGIONS, StaticRecords};
use super::cookie::CookieSecrets;
use super::delegations::Delegations;
use super::dnssec::{Signer, Validity};
use super::wire::{
    TO_QUESTION, TYPE_A, TYPE_AAAA, TYPE_DNSKEY, TYPE_HINFO, TYPE_NS, TYPE_SOA, TYPE_TXT, data_bytes, name_bytes,
    push_record,
};
use crate::explain::{explain, to_texts};
use crate::view::View;
use api::explanation::AddressSource;

/// Records of one type at the name that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RecordSet {
    pub count: u16,
    /// Whole records; their owner is the question's name.
    pub bytes: Vec<u8>,
    /// Records of other names that the resolver will need next.
    pub additional: Vec<u8>,
    pub additional_count: u16,
    /// Whole RRSIG records, if they were made ahead.
    pub signatures: Vec<u8>,
    pub signature_count: u16,
}

/// The records of a name.
#[derive(Clone, Debug)]
pub(super) enum NameRecords {
    /// The same for every client. Empty if only names below it exist.
    Fixed(Vec<(u16, RecordSet)>),
    /// The addresses of the client's region, and records that are the same for every client.
    Routed(Vec<(u16, RecordSet)>),
    /// The explanation of the client's region.
    Explain,
}

/// Addresses of one region.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses {
    pub a: RecordSet,
    pub aaaa: RecordSet,
}

/// Every answer of the zone.
#[derive(Debug)]
pub struct Answers {
    pub(super) view: Arc<View>,
    /// In the fleet's order.
    pub(super) regions: Vec<Addresses>,
    /// In the fleet's order: whether the region may follow another one in an answer.
    pub(super) takes_more: Vec<bool>,
    pub(super) regions_per_answer: usize,
    /// The SOA record of a negative answer, without its owner.
    pub(super) negative: Vec<u8>,
    pub(super) any: RecordSet,
    pub(super) delegations: Delegations,
    pub(super) udp_size: u16,
    /// The name that says which server answers; empty if it is not told.
    pub(super) nsid: Box<[u8]>,
    pub(super) cookie_secrets: CookieSecrets,
    explain_to: Option<Vec<IpNetwork>>,
    /// `None` if the zone is not signed.
    pub(super) signer: Option<Arc<Signer>>,
    /// The signature of the SOA record of a negative answer, without its owner.
    pub(super) negative_signature: Vec<u8>,
    /// TTL in seconds of NSEC records (RFC 9077).
    pub(super) nsec_ttl: u32,
    /// When the signatures that were made ahead end; they are made again long before.
    pub(super) validity: Validity,
    names: HashMap<Box<[u8]>, NameRecords>,
    apex: Box<[u8]>,
}

impl Answers {
    /// The answers of a zone as of `view`, signed at `now`, in seconds since 1970, if the zone has keys.
    ///
    /// # Errors
    /// [`ProtoError`] if the regions' names make one that is too long, or if nothing can be signed.
    pub fn build(config: &DnsConfig, view: Arc<View>, now: u32) -> Result<Answers, ProtoError> {
        let regions: Vec<Addresses> =
            view.fleet.indices().map(|region| Addresses::new(view.published(region), view.ttl)).collect();
        let mut names = Names { apex: config.zone.clone(), known: HashMap::new() };
        names.insert(&config.zone, NameRecords::Fixed(apex(config)?))?;
        names.add(&config.service, Vec::new())?;
        for server in &config.nameservers {
            let addresses = Addresses::new(server.addresses.iter().copied(), config.static_ttl);
            names.insert(&server.name, addresses.into_node())?;
        }
        let delegations = Delegations::build(&config.records)?;
        let apex = name_bytes(&config.zone)?;
        for records in &config.records {
            let name = name_bytes(&records.name)?;
            if delegations.find(&name, name.len() - apex.len()).is_some() {
                // It exists, and so do the names between it and the apex. Of its records only DS are answered from here.
                match records.kind {
                    RecordType::NS => names.add(&records.name, Vec::new())?,
                    RecordType::DS => names.add(&records.name, fixed(records))?,
                    _ => {}
                }
                continue;
            }
            names.add(&records.name, fixed(records))?;
        }
        names.make_routed(&config.service)?;
        for (region, addresses) in view.fleet.regions.iter().zip(&regions) {
            names.insert(&config.service.prepend_label(region.name.as_str())?, addresses.clone().into_node())?;
        }
        names.insert(&config.service.prepend_label(EXPLAIN)?, NameRecords::Explain)?;

        let mut negative = Vec::new();
        push_record(&mut negative, TYPE_SOA, config.negative_ttl, &soa(config)?);
        // RFC 8482: one small record, because a forger could have a large answer sent to a victim.
        let mut any = RecordSet::default();
        any.push(TYPE_HINFO, config.static_ttl, &data_bytes(&RData::HINFO(HINFO::new("RFC8482".into(), "".into())))?);
        let mut answers = Answers {
            regions,
            takes_more: view.fleet.indices().map(|region| view.takes_more(region)).collect(),
            regions_per_answer: config.regions_per_answer.clamp(1, MOST_REGIONS),
            negative,
            any,
            udp_size: config.edns_udp_size,
            nsid: config.nsid.as_bytes().into(),
            cookie_secrets: config.cookie_secrets.clone(),
            explain_to: config.explain_to.clone(),
            signer: None,
            negative_signature: Vec::new(),
            nsec_ttl: config.negative_ttl.min(config.static_ttl),
            validity: Validity::at(now),
            names: names.known,
            delegations,
            apex: apex.into(),
            view,
        };
        if let Some(signer) = &config.signer {
            answers.sign(config, signer, now)?;
        }
        Ok(answers)
    }

    /// The records of a name, which must be in lower case.
    pub(super) fn node(&self, name: &[u8]) -> Option<&NameRecords> {
        self.names.get(name)
    }

    /// How many octets the zone's name has.
    pub(super) fn apex_len(&self) -> usize {
        self.apex.len()
    }

    /// Where in a name, written in lower case, the zone's name begins; `None` outside the zone.
    pub(super) fn zone_within(&self, name: &[u8]) -> Option<usize> {
        let at = name.len().checked_sub(self.apex.len())?;
        // The same octets inside of a label are no zone.
        let mut label = 0;
        while label < at {
            label += usize::from(name[label]) + 1;
        }
        (label == at && name[at..] == *self.apex).then_some(at)
    }

    /// Whether a client at this address may ask for explanations.
    pub(super) fn explains_to(&self, from: IpAddr) -> bool {
        self.explain_to.as_ref().is_none_or(|networks| networks.iter().any(|network| network.contains(from)))
    }

    /// The explanation as a TXT record; not to be kept, because it is about this very moment.
    pub(super) fn explanation(&self, address: IpAddr, source: AddressSource) -> RecordSet {
        let texts = to_texts(&explain(&self.view, address, source));
        let mut set = RecordSet::default();
        if let Ok(data) = data_bytes(&RData::TXT(TXT::new(texts))) {
            set.push(TYPE_TXT, 0, &data);
        }
        set
    }
}

impl RecordSet {
    fn push(&mut self, kind: u16, ttl: u32, data: &[u8]) {
        self.count += 1;
        self.bytes.extend_from_slice(&TO_QUESTION.to_be_bytes());
        push_record(&mut self.bytes, kind, ttl, data);
    }

    fn push_additional(&mut self, owner: &[u8], kind: u16, ttl: u32, data: &[u8]) {
        self.additional_count += 1;
        self.additional.extend_from_slice(owner);
        push_record(&mut self.additional, kind, ttl, data);
    }
}

impl Addresses {
    fn new(addresses: impl Iterator<Item = IpAddr>, ttl: u32) -> Addresses {
        let mut all = Addresses::default();
        for address in addresses {
            match address.to_canonical() {
                IpAddr::V4(address) => all.a.push(TYPE_A, ttl, &address.octets()),
                IpAddr::V6(address) => all.aaaa.push(TYPE_AAAA, ttl, &address.octets()),
            }
        }
        all
    }

    fn into_node(self) -> NameRecords {
        let sets = [(TYPE_A, self.a), (TYPE_AAAA, self.aaaa)];
        NameRecords::Fixed(sets.into_iter().filter(|(_, set)| set.count > 0).collect())
    }
}

struct Names {
    apex: Name,
    known: HashMap<Box<[u8]>, NameRecords>,
}

impl Names {
    /// Adds records of a name to those that it has.
    fn add(&mut self, name: &Name, records: Vec<(u16, RecordSet)>) -> Result<(), ProtoError> {
        let mut all = match self.known.remove(&*name_bytes(&name.to_lowercase())?) {
            Some(NameRecords::Fixed(known)) => known,
            _ => Vec::new(),
        };
        all.extend(records);
        self.insert(name, NameRecords::Fixed(all))
    }

    /// The addresses of a name depend on the client from now on.
    fn make_routed(&mut self, name: &Name) -> Result<(), ProtoError> {
        if let Some(NameRecords::Fixed(records)) = self.known.remove(&*name_bytes(&name.to_lowercase())?) {
            self.insert(name, NameRecords::Routed(records))?;
        }
        Ok(())
    }

    /// Adds a name and those between it and the apex.
    fn insert(&mut self, name: &Name, node: NameRecords) -> Result<(), ProtoError> {
        self.known.insert(name_bytes(&name.to_lowercase())?.into(), node);
        let mut parent = name.clone();
        while parent.num_labels() > self.apex.num_labels() {
            parent = parent.base_name();
            if let Entry::Vacant(free) = self.known.entry(name_bytes(&parent)?.into()) {
                free.insert(NameRecords::Fixed(Vec::new()));
            }
        }
        Ok(())
    }
}

/// The records of the configuration with one name and type.
fn fixed(records: &StaticRecords) -> Vec<(u16, RecordSet)> {
    let kind = records.kind.into();
    let mut set = RecordSet::default();
    records.data.iter().for_each(|data| set.push(kind, records.ttl, data));
    vec![(kind, set)]
}

/// SOA, NS, and the keys of a signed zone.
fn apex(config: &DnsConfig) -> Result<Vec<(u16, RecordSet)>, ProtoError> {
    let (mut start, mut servers) = (RecordSet::default(), RecordSet::default());
    start.push(TYPE_SOA, config.static_ttl, &soa(config)?);
    for server in &config.nameservers {
        servers.push(TYPE_NS, config.static_ttl, &data_bytes(&RData::NS(NS(server.name.clone())))?);
        let owner = name_bytes(&server.name)?;
        for address in &server.addresses {
            match address {
                IpAddr::V4(one) => servers.push_additional(&owner, TYPE_A, config.static_ttl, &one.octets()),
                IpAddr::V6(one) => servers.push_additional(&owner, TYPE_AAAA, config.static_ttl, &one.octets()),
            }
        }
    }
    let mut sets = vec![(TYPE_SOA, start), (TYPE_NS, servers)];
    if let Some(signer) = &config.signer {
        let mut keys = RecordSet::default();
        signer.dnskeys().for_each(|key| keys.push(TYPE_DNSKEY, config.static_ttl, key));
        sets.push((TYPE_DNSKEY, keys));
    }
    Ok(sets)
}

/// The serial never changes, because the zone is never transferred. Otherwise monitors would compare the serials of two
/// routers, which may differ.
fn soa(config: &DnsConfig) -> Result<Vec<u8>, ProtoError> {
    let first = config.nameservers.first().map_or(&config.zone, |server| &server.name);
    let (refresh, retry, expire) = (3_600, 600, 604_800);
    let negative = config.negative_ttl;
    data_bytes(&RData::SOA(SOA::new(first.clone(), config.hostmaster.clone(), 1, refresh, retry, expire, negative)))
}
