//! Delegations: names whose records, and those of all names below, other name servers have (RFC 1034, section 4.3.2).
//!
//! # Not here
//! Which delegations a zone may have, and that they do not lie within each other: [`super::config`]. Answers to questions for
//! DS records, which are this zone's to answer (RFC 4035, section 3.1.4.1): [`super::answers`].

use std::collections::HashMap;

use hickory_proto::ProtoError;
use hickory_proto::rr::{Name, RecordType};

use super::config::StaticRecords;
use super::wire::{TYPE_NS, name_bytes, push_record};

/// One delegation.
#[derive(Debug, Default)]
pub(super) struct Delegation {
    /// The NS records without their owner, which is a part of the question's name.
    pub servers: Vec<Vec<u8>>,
    /// Whole address records of those servers whose names are below a delegation. A resolver finds the servers only by
    /// them, so an answer without them is not whole (RFC 9471, section 3.1).
    pub glue: Vec<u8>,
    pub glue_count: u16,
    /// In a signed zone, the DS records or the proof that there are none, with the signature; without their owner.
    pub proof: Vec<Vec<u8>>,
}

/// All delegations of a zone.
#[derive(Debug)]
pub(super) struct Delegations {
    /// By names in lower case, as on the wire.
    by_name: HashMap<Box<[u8]>, Delegation>,
}

impl Delegations {
    /// The delegations among these records.
    pub(super) fn build(records: &[StaticRecords]) -> Result<Delegations, ProtoError> {
        let mut addresses: HashMap<Vec<u8>, Vec<&StaticRecords>> = HashMap::new();
        for set in records.iter().filter(|set| matches!(set.kind, RecordType::A | RecordType::AAAA)) {
            addresses.entry(name_bytes(&set.name)?).or_default().push(set);
        }
        let mut by_name = HashMap::new();
        for set in records.iter().filter(|set| set.kind == RecordType::NS) {
            let mut delegation = Delegation::default();
            for data in &set.data {
                let mut record = Vec::new();
                push_record(&mut record, TYPE_NS, set.ttl, data);
                delegation.servers.push(record);
                // Lengths of labels are smaller than the codes of letters, so only letters change.
                let server = data.to_ascii_lowercase();
                let known = addresses.get(&server).map(Vec::as_slice).unwrap_or_default();
                for glue in known.iter().filter(|glue| is_delegated(records, &glue.name)) {
                    for data in &glue.data {
                        delegation.glue.extend_from_slice(&server);
                        push_record(&mut delegation.glue, glue.kind.into(), glue.ttl, data);
                        delegation.glue_count += 1;
                    }
                }
            }
            by_name.insert(name_bytes(&set.name)?.into(), delegation);
        }
        Ok(Delegations { by_name })
    }

    /// All delegations, with their names in lower case.
    pub(super) fn all(&mut self) -> impl Iterator<Item = (&[u8], &mut Delegation)> {
        self.by_name.iter_mut().map(|(name, delegation)| (&**name, delegation))
    }

    /// Whether a name, which must be in lower case, is delegated itself.
    pub(super) fn is_at(&self, name: &[u8]) -> bool {
        self.by_name.contains_key(name)
    }

    /// The delegation at or above a name, which must be in lower case and within the zone, whose name begins at `zone`
    /// in it; with the place in the name where that of the delegation begins.
    pub(super) fn find(&self, name: &[u8], zone: usize) -> Option<(usize, &Delegation)> {
        if self.by_name.is_empty() {
            return None;
        }
        let mut at = 0;
        while at < zone {
            if let Some(found) = self.by_name.get(&name[at..]) {
                return Some((at, found));
            }
            at += usize::from(name[at]) + 1;
        }
        None
    }
}

/// Whether a name is at or below a delegation among these records.
fn is_delegated(records: &[StaticRecords], name: &Name) -> bool {
    records.iter().any(|set| set.kind == RecordType::NS && set.name.zone_of(name))
}
