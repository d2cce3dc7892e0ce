//! Octets of a DNS message: a reader that never reads too far, and the numbers of RFC 1035 and its successors.

use hickory_proto::ProtoError;
use hickory_proto::rr::{Name, RData};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

pub(super) const HEADER: usize = 12;
pub(super) const CLASS_IN: u16 = 1;

pub(super) const TYPE_A: u16 = 1;
pub(super) const TYPE_NS: u16 = 2;
pub(super) const TYPE_CNAME: u16 = 5;
pub(super) const TYPE_SOA: u16 = 6;
pub(super) const TYPE_HINFO: u16 = 13;
pub(super) const TYPE_MX: u16 = 15;
pub(super) const TYPE_TXT: u16 = 16;
pub(super) const TYPE_AAAA: u16 = 28;
pub(super) const TYPE_SRV: u16 = 33;
pub(super) const TYPE_OPT: u16 = 41;
pub(super) const TYPE_DS: u16 = 43;
pub(super) const TYPE_RRSIG: u16 = 46;
pub(super) const TYPE_NSEC: u16 = 47;
pub(super) const TYPE_DNSKEY: u16 = 48;
/// It stands in NSEC records at names that do not exist, and cannot be asked for (RFC 9824, section 3.1).
pub(super) const TYPE_NXNAME: u16 = 128;
pub(super) const TYPE_IXFR: u16 = 251;
pub(super) const TYPE_AXFR: u16 = 252;
pub(super) const TYPE_ANY: u16 = 255;

/// The position of the question's name in every message, as a compression pointer.
pub(super) const TO_QUESTION: u16 = 0xC000 | HEADER as u16;

/// The outcome of a query (RFC 1035, section 4.1.1, and RFC 6891, section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Rcode {
    /// The query was answered, perhaps with "nothing of this type".
    NoError = 0,
    /// The query breaks the rules.
    FormErr = 1,
    /// There is no such name.
    NxDomain = 3,
    /// The operation is not a query.
    NotImp = 4,
    /// The name is not in our zone, or the zone does not give this away.
    Refused = 5,
    /// A version of EDNS that is not defined yet.
    BadVers = 16,
}

impl Rcode {
    /// All of them, for metrics.
    pub(super) const ALL: [Rcode; 6] =
        [Rcode::NoError, Rcode::FormErr, Rcode::NxDomain, Rcode::NotImp, Rcode::Refused, Rcode::BadVers];

    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Rcode::NoError => "noerror",
            Rcode::FormErr => "formerr",
            Rcode::NxDomain => "nxdomain",
            Rcode::NotImp => "notimp",
            Rcode::Refused => "refused",
            Rcode::BadVers => "badvers",
        }
    }
}

/// Reads octets in order.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The octets between this reader and `later`, a clone of it that has moved on.
    pub(super) fn up_to(&self, later: &Reader<'a>) -> &'a [u8] {
        self.bytes.get(self.at..later.at).unwrap_or_default()
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|octets| octets[0])
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|octets| u16::from_be_bytes([octets[0], octets[1]]))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from(self.u16()?) << 16 | u32::from(self.u16()?))
    }

    /// A name without compression, as it is; it has at most 255 octets.
    pub(super) fn plain_name(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        loop {
            let length = self.u8()?;
            if length == 0 {
                break;
            }
            if length > 63 || self.at + usize::from(length) + 1 - start > 255 {
                return None;
            }
            self.take(usize::from(length))?;
        }
        self.bytes.get(start..self.at)
    }

    /// Skips the owner of a record. Returns whether it is the root.
    pub(super) fn skip_owner(&mut self) -> Option<bool> {
        let start = self.at;
        loop {
            match self.u8()? {
                0 => return Some(self.at == start + 1),
                length @ 1..=63 => {
                    self.take(usize::from(length))?;
                }
                // A pointer ends a name. Only its direction matters here: it must lead back.
                high @ 0xC0.. => {
                    let to = usize::from(high & 0x3F) << 8 | usize::from(self.u8()?);
                    return (to < start).then_some(false);
                }
                _ => return None,
            }
        }
    }
}

/// A name's octets without compression.
pub(super) fn name_bytes(name: &Name) -> Result<Vec<u8>, ProtoError> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    name.emit(&mut encoder)?;
    Ok(bytes)
}

/// A record's data without compression, so that it can stand anywhere.
pub(super) fn data_bytes(data: &RData) -> Result<Vec<u8>, ProtoError> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder)?;
    Ok(bytes)
}

/// Appends type, class, TTL and data: a record without its owner.
pub(super) fn push_record(out: &mut Vec<u8>, kind: u16, ttl: u32, data: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    out.extend_from_slice(&ttl.to_be_bytes());
    // The code that builds data excludes more than 65535 octets.
    out.extend_from_slice(&u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(data);
}
