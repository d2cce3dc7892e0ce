//! Names and keys of documents. Expiry is part of the key and never changes.
//!
//! # Invariants
//! - Keys sort by collection, tenant, id: one tenant's documents are one range, in order of arrival.
//! - An id that expires begins with its arrival, so the latest possible expiry is known from the id alone.
//! - Everything that expires on one UTC day is in one [`Bucket`].

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::{DAY_MS, Wall};

/// Which kind of document: `1` is venues, `2` is visits in the registry; this crate gives them no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Collection(pub u8);

/// The owner of a document. No document of one tenant can be reached through another tenant's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TenantId(pub [u8; 16]);

/// 128 bits. In collections that expire the first 48 bits are the arrival in Unix milliseconds (big-endian).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DocumentId(pub [u8; 16]);

impl DocumentId {
    /// The latest arrival that an id can carry: its 48 bits reach the year 10889.
    pub const LATEST_ARRIVAL: Wall = Wall((1 << 48) - 1);

    /// The id of a document that arrives at `arrival`; `rest` tells it from the others of that millisecond. An arrival
    /// later than [`DocumentId::LATEST_ARRIVAL`] becomes that one.
    #[must_use]
    pub fn arriving(arrival: Wall, rest: [u8; 10]) -> DocumentId {
        let [_, _, ms @ ..] = arrival.min(DocumentId::LATEST_ARRIVAL).0.to_be_bytes();
        let mut id = [0u8; 16];
        id[..ms.len()].copy_from_slice(&ms);
        id[ms.len()..].copy_from_slice(&rest);
        DocumentId(id)
    }

    /// The least id of an arrival: where a range of arrivals begins (included) or ends (excluded).
    #[must_use]
    pub fn first_of(arrival: Wall) -> DocumentId {
        DocumentId::arriving(arrival, [0; 10])
    }

    /// The arrival that this id carries (meaningless for documents that last).
    #[must_use]
    pub fn arrival(&self) -> Wall {
        let mut ms = [0u8; 8];
        ms[2..].copy_from_slice(&self.0[..6]);
        Wall(u64::from_be_bytes(ms))
    }
}

/// The name of a document without its expiry. Tombstones name it, and readers merge rows by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DocumentName {
    /// Which kind of document.
    pub collection: Collection,
    /// To whom it belongs.
    pub tenant: TenantId,
    /// Id within the tenant.
    pub id: DocumentId,
}

impl DocumentName {
    /// Length of [`DocumentName::encode`].
    pub const LEN: usize = 33;

    /// `collection | tenant | id`.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0u8; Self::LEN];
        out[0] = self.collection.0;
        out[1..17].copy_from_slice(&self.tenant.0);
        out[17..].copy_from_slice(&self.id.0);
        out
    }

    /// Reads what [`DocumentName::encode`] wrote.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<DocumentName> {
        if bytes.len() != Self::LEN {
            return None;
        }
        Some(DocumentName {
            collection: Collection(bytes[0]),
            tenant: TenantId(bytes[1..17].try_into().ok()?),
            id: DocumentId(bytes[17..].try_into().ok()?),
        })
    }

    /// This name with an expiry.
    #[must_use]
    pub fn expiring(self, expires_at: Wall) -> DocumentKey {
        DocumentKey { name: self, expires_at }
    }

    /// The first and last bucket (both included) in which a document of this name can lie.
    #[must_use]
    pub fn buckets(&self, max_retention: Duration) -> (Bucket, Bucket) {
        let arrival = self.id.arrival();
        let (first, last) = (Bucket::of(arrival), Bucket::of(arrival.plus(max_retention)));
        debug_assert!(first <= last, "the latest expiry is before the arrival");
        (first, last)
    }
}

/// A document's full name: `{ collection, tenant, id, expires_at }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DocumentKey {
    /// Everything but the expiry.
    pub name: DocumentName,
    /// When the document is dead for every reader; [`Wall::NEVER`] if it lasts.
    pub expires_at: Wall,
}

impl DocumentKey {
    /// Length of [`DocumentKey::encode`].
    pub const LEN: usize = DocumentName::LEN + 8;

    /// `collection | tenant | id | expires_at`, big-endian, so that byte order is key order.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0u8; Self::LEN];
        out[..DocumentName::LEN].copy_from_slice(&self.name.encode());
        out[DocumentName::LEN..].copy_from_slice(&self.expires_at.0.to_be_bytes());
        out
    }

    /// Reads what [`DocumentKey::encode`] wrote.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<DocumentKey> {
        if bytes.len() != Self::LEN {
            return None;
        }
        let (name, expires_at) = bytes.split_at(DocumentName::LEN);
        Some(DocumentKey {
            name: DocumentName::decode(name)?,
            expires_at: Wall(u64::from_be_bytes(expires_at.try_into().ok()?)),
        })
    }

    /// The bucket in which the document lies.
    #[must_use]
    pub fn bucket(&self) -> Bucket {
        Bucket::of(self.expires_at)
    }
}

/// Everything that expires on one UTC day. It is stored apart and dropped whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Bucket {
    /// Days since 1970-01-01 (UTC) of the expiry.
    Day(u32),
    /// Documents without expiry, and the replica's own `meta`.
    Lasting,
}

impl Bucket {
    /// The bucket of documents that expire at `expires_at`.
    #[must_use]
    pub fn of(expires_at: Wall) -> Bucket {
        if expires_at == Wall::NEVER {
            return Bucket::Lasting;
        }
        // A moment beyond u32 days is so far away that the document counts as lasting.
        u32::try_from(expires_at.0 / DAY_MS).map_or(Bucket::Lasting, Bucket::Day)
    }

    /// The first moment after the bucket's day.
    #[must_use]
    pub fn end(self) -> Wall {
        match self {
            Bucket::Day(day) => Wall((u64::from(day) + 1) * DAY_MS),
            Bucket::Lasting => Wall::NEVER,
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bucket::Day(day) => write!(f, "day-{day:05}"),
            Bucket::Lasting => f.write_str("lasting"),
        }
    }
}

impl std::str::FromStr for Bucket {
    type Err = ();

    /// Reads what `Display` writes.
    fn from_str(s: &str) -> Result<Bucket, ()> {
        if s == "lasting" {
            return Ok(Bucket::Lasting);
        }
        s.strip_prefix("day-").and_then(|d| d.parse().ok()).map(Bucket::Day).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::DocumentId;
    use crate::time::Wall;

    #[test]
    fn an_id_carries_its_arrival_in_front_and_sorts_by_it() {
        let id = DocumentId::arriving(Wall(0x0102_0304_0506), [9; 10]);
        assert_eq!(id.0, [1, 2, 3, 4, 5, 6, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]);
        assert_eq!(id.arrival(), Wall(0x0102_0304_0506));
        assert!(DocumentId::first_of(id.arrival()) < id && id < DocumentId::first_of(Wall(id.arrival().0 + 1)));
        assert_eq!(DocumentId::first_of(Wall::NEVER).arrival(), DocumentId::LATEST_ARRIVAL);
    }
}
