//! Proofs that a name or a type does not exist: compact denial of existence (RFC 9824).
//!
//! An NSEC record at the very name that was asked for says which types exist there, and that the next name is the smallest
//! possible one behind it. So it denies nothing else, and the names of the zone cannot be listed. The record of a name that does
//! not exist has the type NXNAME.

use hickory_proto::ProtoError;
use hickory_proto::dnssec::rdata::{DNSSECRData, NSEC};
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::BinDecodable as _;

use super::super::wire::data_bytes;

/// Most octets of a name.
const MOST: usize = 255;

/// The data of the NSEC record at a name in lower case, whose zone has a name of `zone` octets.
///
/// # Errors
/// [`ProtoError`] if it cannot be encoded.
pub(in crate::dns) fn nsec_data(name: &[u8], zone: usize, types: &[u16]) -> Result<Vec<u8>, ProtoError> {
    let next = Name::from_bytes(&next(name, zone))?;
    let types = types.iter().copied().map(RecordType::from);
    data_bytes(&RData::DNSSEC(DNSSECRData::NSEC(NSEC::new(next, types))))
}

/// The name behind another one in canonical order: with a label of one zero octet in front. If that is too long, the last
/// octet that can be is raised by one, as in RFC 4471, section 3.1.2; what lies between is then too long to be asked for
/// with a further label. The last name of a zone is followed by the zone's own.
fn next(name: &[u8], zone: usize) -> Vec<u8> {
    if name.len() + 2 <= MOST {
        return [b"\x01\0", name].concat();
    }
    let mut name = name;
    while name.len() > zone {
        let (label, parent) = name.split_at(usize::from(name[0]) + 1);
        if let Some(at) = label[1..].iter().rposition(|octet| *octet < u8::MAX) {
            let mut raised = label[..at + 2].to_vec();
            raised[0] = (at + 1) as u8;
            // Capital letters are compared as small ones, so the next octet behind '@' is '['.
            raised[at + 1] = if label[at + 1] == b'@' { b'[' } else { label[at + 1] + 1 };
            return [&raised, parent].concat();
        }
        name = parent;
    }
    name.to_vec()
}

#[cfg(test)]
mod tests {
    use super::{MOST, next, nsec_data};

    const ZONE: &[u8] = b"\x04zone\0";

    #[test]
    fn the_next_name_is_the_smallest_one_below() {
        assert_eq!(next(b"\x01a\x04zone\0", ZONE.len()), b"\x01\0\x01a\x04zone\0");
    }

    #[test]
    fn behind_the_longest_names_there_is_another_one() {
        let long = |last: &[u8]| {
            let rest = MOST - ZONE.len() - 3 * 64 - 1;
            let mut first = vec![b'x'; rest];
            first[rest - last.len()..].copy_from_slice(last);
            let full = [&[63][..], &[255; 63]].concat();
            [&[rest as u8], &first[..], &full, &full, &full, ZONE].concat()
        };
        let name = long(b"a");
        assert_eq!((name.len(), next(&name, ZONE.len())), (MOST, long(b"b")));
        assert_eq!(next(&long(b"@"), ZONE.len()), long(b"["));
        let shorter = next(&long(b"y\xff"), ZONE.len());
        assert_eq!((shorter.len(), shorter[usize::from(shorter[0])]), (MOST - 1, b'z'));
        let all = long(&[255; MOST - ZONE.len() - 3 * 64 - 1]);
        assert_eq!(next(&all, ZONE.len()), ZONE);
        assert!(nsec_data(&all, ZONE.len(), &[47]).is_ok());
    }

    #[test]
    fn types_of_both_windows_are_shown() {
        let data = nsec_data(ZONE, ZONE.len(), &[1, 46, 47, 128, 257]).unwrap();
        let mut expected = [b"\x01\0", ZONE, &[0, 17, 0x40]].concat();
        expected.extend([0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80]);
        expected.extend([1, 1, 0x40]);
        assert_eq!(data, expected);
    }
}
