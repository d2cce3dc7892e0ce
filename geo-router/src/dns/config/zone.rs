//! The zone of a checked configuration: its sets of records, and the names that these are checked against.

use hickory_proto::rr::{Name, RecordType};

use super::Nameserver;

/// Records of one name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticRecords {
    /// Their name, in lower case.
    pub name: Name,
    /// Their type (RFC 1035, section 3.2.2, and its successors).
    pub kind: RecordType,
    /// Seconds.
    pub ttl: u32,
    /// The data of each, as in a message without compression.
    pub data: Vec<Vec<u8>>,
}

/// The parts of the zone against which records are checked.
pub(super) struct Zone<'a> {
    pub(super) apex: &'a Name,
    pub(super) service: &'a Name,
    pub(super) nameservers: &'a [Nameserver],
    pub(super) static_ttl: u32,
}
