//! The canonical form of a set of records, which is what a signature is made of (RFC 4034, section 6).

use super::super::wire::{CLASS_IN, TYPE_CNAME, TYPE_MX, TYPE_NS, TYPE_SOA, TYPE_SRV};

/// Octets of an SOA record behind its two names.
const SOA_NUMBERS: usize = 20;

/// The records of one name and type.
#[derive(Clone, Debug)]
pub(in crate::dns) struct RrSet<'a> {
    /// The name in lower case, as on the wire.
    pub owner: &'a [u8],
    pub kind: u16,
    pub ttl: u32,
    /// The data of each record, with names that are not compressed.
    pub data: Vec<&'a [u8]>,
}

impl RrSet<'_> {
    /// The records, whole, in canonical form and order.
    pub(super) fn canonical(&self) -> Vec<u8> {
        let mut data: Vec<Vec<u8>> = self.data.iter().map(|data| canonical_data(self.kind, data)).collect();
        data.sort_unstable();
        data.dedup();
        let mut all = Vec::new();
        for data in data {
            all.extend_from_slice(self.owner);
            all.extend_from_slice(&self.kind.to_be_bytes());
            all.extend_from_slice(&CLASS_IN.to_be_bytes());
            all.extend_from_slice(&self.ttl.to_be_bytes());
            all.extend_from_slice(&u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
            all.extend_from_slice(&data);
        }
        all
    }

    /// The number of labels of the owner, without the root and without an asterisk in front (RFC 4034, section 3.1.3).
    pub(super) fn labels(&self) -> u8 {
        let (mut at, mut count) = (0, 0);
        while let Some(length @ 1..) = self.owner.get(at).copied() {
            count += 1;
            at += usize::from(length) + 1;
        }
        count - u8::from(self.owner.starts_with(b"\x01*"))
    }
}

/// Names in the data of some types are in lower case (RFC 4034, section 6.2, and RFC 6840, section 5.1). Lengths of labels
/// are smaller than the codes of letters, so only letters change.
fn canonical_data(kind: u16, data: &[u8]) -> Vec<u8> {
    let names = match kind {
        TYPE_NS | TYPE_CNAME => 0..data.len(),
        TYPE_SOA => 0..data.len().saturating_sub(SOA_NUMBERS),
        TYPE_MX => 2.min(data.len())..data.len(),
        TYPE_SRV => 6.min(data.len())..data.len(),
        _ => 0..0,
    };
    let mut data = data.to_vec();
    data[names].make_ascii_lowercase();
    data
}

#[cfg(test)]
mod tests {
    use super::{RrSet, TYPE_MX, canonical_data};

    fn labels(owner: &[u8]) -> u8 {
        RrSet { owner, kind: 1, ttl: 0, data: Vec::new() }.labels()
    }

    #[test]
    fn an_asterisk_in_front_is_no_label() {
        assert_eq!([labels(b"\0"), labels(b"\x01a\x01b\0"), labels(b"\x01*\x01b\0")], [0, 2, 1]);
        assert_eq!([labels(b"\x01a\x01*\0"), labels(b"\x02**\x01b\0")], [2, 2]);
    }

    #[test]
    fn records_are_sorted_by_their_octets_and_are_there_once() {
        let set = RrSet { owner: b"\0", kind: 1, ttl: 7, data: vec![b"\x02", b"\x01\x01", b"\x01", b"\x01\x01"] };
        let record = |data: &[u8]| [&[0, 0, 1, 0, 1, 0, 0, 0, 7, 0, data.len() as u8], data].concat();
        assert_eq!(set.canonical(), [record(b"\x01"), record(b"\x01\x01"), record(b"\x02")].concat());
    }

    #[test]
    fn only_names_in_data_are_in_lower_case() {
        assert_eq!(canonical_data(TYPE_MX, b"AB\x01C\0"), b"AB\x01c\0");
        assert_eq!(canonical_data(16, b"\x01C"), b"\x01C");
        assert_eq!(canonical_data(TYPE_MX, b"A"), b"A");
    }
}
