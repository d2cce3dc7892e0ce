//! Signs all answers that can be signed before they are asked for, and knows which types a name has.
//!
//! # Invariants
//! - A signature is made again only if its set or the day is another one, because the signer keeps what it has made. So a
//!   view that changes one region costs the signatures of that region's sets.

use std::sync::Arc;

use hickory_proto::ProtoError;

use super::{Answers, DnsConfig, NameRecords, RecordSet};
use crate::dns::dnssec::{RrSet, Signer, nsec_data};
use crate::dns::wire::{
    Reader, TO_QUESTION, TYPE_A, TYPE_AAAA, TYPE_DS, TYPE_NS, TYPE_NSEC, TYPE_NXNAME, TYPE_RRSIG, TYPE_SOA, TYPE_TXT,
    name_bytes, push_record,
};

/// Octets of a record before its TTL: the pointer to the question, type and class.
const BEFORE_TTL: usize = 6;
/// The record of a negative answer has no owner.
const BEFORE_DATA: usize = 10;

impl RecordSet {
    /// The data of each record.
    pub(in crate::dns) fn data(&self) -> impl Iterator<Item = &[u8]> {
        let mut reader = Reader::new(&self.bytes);
        std::iter::from_fn(move || {
            reader.take(BEFORE_TTL + 4)?;
            let length = reader.u16()?;
            reader.take(length.into())
        })
    }

    /// The TTL of the records, in seconds; 0 if there are none.
    pub(in crate::dns) fn ttl(&self) -> u32 {
        let mut reader = Reader::new(&self.bytes);
        reader.take(BEFORE_TTL).and_then(|_| reader.u32()).unwrap_or_default()
    }

    fn sign(&mut self, owner: &[u8], kind: u16, signer: &Signer, now: u32) -> Result<(), ProtoError> {
        if self.count == 0 {
            return Ok(());
        }
        let set = RrSet { owner, kind, ttl: self.ttl(), data: self.data().collect() };
        for signature in signer.sign(&set, now)? {
            self.signature_count += 1;
            self.signatures.extend_from_slice(&TO_QUESTION.to_be_bytes());
            self.signatures.extend_from_slice(&signature);
        }
        Ok(())
    }
}

impl Answers {
    /// Signs every set of records, the SOA record of negative answers, and what delegations say of DS records.
    pub(super) fn sign(&mut self, config: &DnsConfig, signer: &Arc<Signer>, now: u32) -> Result<(), ProtoError> {
        for (name, node) in &mut self.names {
            if let NameRecords::Fixed(sets) | NameRecords::Routed(sets) = node {
                sets.iter_mut().try_for_each(|(kind, set)| set.sign(name, *kind, signer, now))?;
            }
        }
        let service = name_bytes(&config.service)?;
        for addresses in &mut self.regions {
            addresses.a.sign(&service, TYPE_A, signer, now)?;
            addresses.aaaa.sign(&service, TYPE_AAAA, signer, now)?;
        }
        let data = vec![self.negative.get(BEFORE_DATA..).unwrap_or_default()];
        let start = RrSet { owner: &self.apex, kind: TYPE_SOA, ttl: config.negative_ttl, data };
        self.negative_signature = signer.sign(&start, now)?.concat();

        for (name, delegation) in self.delegations.all() {
            let known = match self.names.get(name) {
                Some(NameRecords::Fixed(sets)) => sets.iter().find(|(kind, _)| *kind == TYPE_DS),
                _ => None,
            };
            let nsec = nsec_data(name, self.apex.len(), &[TYPE_NS, TYPE_RRSIG, TYPE_NSEC])?;
            let set = match known {
                Some((_, set)) => RrSet { owner: name, kind: TYPE_DS, ttl: set.ttl(), data: set.data().collect() },
                None => RrSet { owner: name, kind: TYPE_NSEC, ttl: self.nsec_ttl, data: vec![&nsec] },
            };
            let record = |data: &&[u8]| {
                let mut record = Vec::new();
                push_record(&mut record, set.kind, set.ttl, data);
                record
            };
            delegation.proof = set.data.iter().map(record).collect();
            delegation.proof.extend(signer.sign(&set, now)?.iter().map(|signature| signature.to_vec()));
        }
        self.signer = Some(Arc::clone(signer));
        Ok(())
    }

    /// The NSEC record of a name that exists, in lower case.
    pub(in crate::dns) fn existence(&self, node: &NameRecords, name: &[u8]) -> RecordSet {
        self.nsec(name, &self.types(node, name))
    }

    /// The NSEC record that proves that a name, in lower case, has no records of this type, or does not exist.
    ///
    /// Where regions differ in the families of their addresses, a type that the client's region does not have is denied,
    /// although others have it.
    pub(in crate::dns) fn denial(&self, name: &[u8], kind: u16) -> RecordSet {
        let types = match self.node(name) {
            Some(node) => self.types(node, name).into_iter().filter(|one| *one != kind).collect(),
            None => vec![TYPE_RRSIG, TYPE_NSEC, TYPE_NXNAME],
        };
        self.nsec(name, &types)
    }

    fn nsec(&self, name: &[u8], types: &[u16]) -> RecordSet {
        let mut set = RecordSet::default();
        // The name was read from a message, so it can be encoded.
        if let Ok(data) = nsec_data(name, self.apex.len(), types) {
            set.push(TYPE_NSEC, self.nsec_ttl, &data);
        }
        set
    }

    fn types(&self, node: &NameRecords, name: &[u8]) -> Vec<u16> {
        let mut types = vec![TYPE_RRSIG, TYPE_NSEC];
        match node {
            NameRecords::Fixed(sets) => types.extend(sets.iter().map(|(kind, _)| *kind)),
            NameRecords::Routed(sets) => {
                types.extend(sets.iter().map(|(kind, _)| *kind));
                types.extend(self.regions.iter().any(|region| region.a.count > 0).then_some(TYPE_A));
                types.extend(self.regions.iter().any(|region| region.aaaa.count > 0).then_some(TYPE_AAAA));
            }
            NameRecords::Explain => types.push(TYPE_TXT),
        }
        types.extend(self.delegations.is_at(name).then_some(TYPE_NS));
        types
    }
}
