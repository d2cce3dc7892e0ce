//! The identity and the owner of a venue: ids in Crockford base32, owner keys in base64url.
//!
//! # Invariants
//! - An owner key is compared by hash, in constant time, and never printed by `Debug`.
//!
//! # Not here
//! Randomness: the API draws ids and keys.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use data_encoding::{BASE64URL_NOPAD, Encoding, Specification};
use replication::{Collection, DocumentId, DocumentName, TenantId};
use sha2::{Digest, Sha256};

/// The collection of venues: tenant and id are both the venue id; they last.
pub const VENUES: Collection = Collection(1);

/// A venue's id: 128 random bits, which are also the tenant of all that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VenueId(pub [u8; 16]);

/// The owner's key, 256 random bits. Text form: base64url without padding.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnerKey(pub [u8; 32]);

/// Text that is not a venue id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a venue id: 26 characters of Crockford's base32 are expected")]
pub struct NotAVenueId;

/// Text that is not an owner key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an owner key: 32 bytes in base64url without padding are expected")]
pub struct NotAnOwnerKey;

/// Crockford's base32 (<https://www.crockford.com/base32.html>): without U, and I, L and O read as the digits that they
/// look like, because people type these ids from posters.
static CROCKFORD: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    specification.translate.from.push_str("abcdefghjkmnpqrstvwxyzIiLlOo");
    specification.translate.to.push_str("ABCDEFGHJKMNPQRSTVWXYZ111100");
    specification.encoding().expect("a constant specification, proven by every test of this file")
});

impl VenueId {
    /// The tenant of the venue and of its visits.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        TenantId(self.0)
    }

    /// The name of the venue's own document.
    #[must_use]
    pub fn name(&self) -> DocumentName {
        DocumentName { collection: VENUES, tenant: self.tenant(), id: DocumentId(self.0) }
    }
}

impl fmt::Display for VenueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&CROCKFORD.encode(&self.0))
    }
}

impl FromStr for VenueId {
    type Err = NotAVenueId;

    /// Reads either case; I and L are 1, O is 0. The two unused bits must be zero, so a venue has only one id apart
    /// from case and look-alikes.
    fn from_str(text: &str) -> Result<VenueId, NotAVenueId> {
        let bytes = CROCKFORD.decode(text.as_bytes()).map_err(|_| NotAVenueId)?;
        bytes.try_into().map(VenueId).map_err(|_| NotAVenueId)
    }
}

crate::serde_as_text!(VenueId);

impl OwnerKey {
    /// The stored form: SHA-256 with a domain prefix. A slow hash would gain nothing, because the key is 256 random
    /// bits and not a password: there is no list of likely keys to try. And every owner's request pays for the hash.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(b"meridian owner key");
        hasher.update(self.0);
        hasher.finalize().into()
    }
}

impl fmt::Display for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerKey(..)")
    }
}

impl FromStr for OwnerKey {
    type Err = NotAnOwnerKey;

    fn from_str(text: &str) -> Result<OwnerKey, NotAnOwnerKey> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| NotAnOwnerKey)?;
        bytes.try_into().map(OwnerKey).map_err(|_| NotAnOwnerKey)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use proptest::prop_assert_eq;

    use super::{OwnerKey, VenueId};

    #[test]
    fn known_texts() {
        assert_eq!(VenueId([0; 16]).to_string(), "00000000000000000000000000");
        assert_eq!(VenueId([0xff; 16]).to_string(), "ZZZZZZZZZZZZZZZZZZZZZZZZZW");
        // 16 bytes 00 .. 0f
        let counted: [u8; 16] = std::array::from_fn(|i| i as u8);
        assert_eq!(VenueId(counted).to_string(), "000G40R40M30E209185GR38E1W");
    }

    #[test]
    fn look_alikes_and_case_are_forgiven_and_nothing_else() {
        let id: VenueId = "000G40R40M30E209185GR38E1W".parse().expect("reads");
        assert_eq!("ooog4or4om3oe2o9i85gr38eLw".parse(), Ok(id));
        for bad in [
            "",
            "000G40R40M30E209185GR38E1",
            "000G40R40M30E209185GR38E1X",
            "U00G40R40M30E209185GR38E1W",
            "000G40R40M30E209185GR38E1W0",
        ] {
            assert!(bad.parse::<VenueId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(format!("{:?}", OwnerKey([7; 32])), "OwnerKey(..)");
        assert_ne!(OwnerKey([7; 32]).hash(), OwnerKey([8; 32]).hash());
    }

    proptest! {
        #[test]
        fn ids_and_keys_read_back(id in any::<[u8; 16]>(), key in any::<[u8; 32]>()) {
            let text = VenueId(id).to_string();
            prop_assert_eq!(text.len(), 26);
            prop_assert_eq!(text.to_lowercase().parse(), Ok(VenueId(id)));
            prop_assert_eq!(OwnerKey(key).to_string().parse(), Ok(OwnerKey(key)));
        }
    }
}
