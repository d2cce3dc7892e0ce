//! Visit ids with a built-in proof: arrival and a hash of the guest's secret, in UUIDv8 form (RFC 9562).
//!
//! # Invariants
//! - The secret proves the right to the visit, in any region and without a table.
//! - Ids sort by arrival, so a guest list is one range scan.
//! - A secret is compared in constant time and never printed by `Debug`.
//!
//! # Not here
//! The source of a secret: the browser, or the API for a client that sends none.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use replication::{Collection, DocumentId, DocumentKey, DocumentName, Wall};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::{Uuid, Variant};

use crate::venue::{Venue, VenueId};

/// The collection of visits: the tenant is the venue id, the id is the visit id; they expire.
pub const VISITS: Collection = Collection(2);

/// A visit's id: 48 bits of arrival, then 74 bits that only the holder of the secret can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VisitId([u8; 16]);

/// The guest's proof, 128 random bits. Text form: base64url without padding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub [u8; 16]);

/// Text that is not a visit id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a visit id: a hyphenated UUID of version 8 is expected")]
pub struct NotAVisitId;

/// Text that is not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a secret: 16 bytes in base64url without padding are expected")]
pub struct NotASecret;

impl VisitId {
    /// The id of the visit that began at `arrival` and belongs to the holder of `secret`.
    #[must_use]
    pub fn of(arrival: Wall, secret: &Secret) -> VisitId {
        let mut hasher = Sha256::new();
        hasher.update(b"meridian visit");
        hasher.update(arrival.0.to_be_bytes());
        hasher.update(secret.0);
        let hash = hasher.finalize();
        let mut proof = [0u8; 16];
        proof.copy_from_slice(&hash[..16]);
        let proof = u128::from_be_bytes(proof);
        // 48 bits ms | 4 bits version | the first 12 bits | 2 bits variant | the next 62 bits
        let ms = u128::from(arrival.0) & ((1 << 48) - 1);
        let first = proof >> 116;
        let next = (proof >> 54) & ((1 << 62) - 1);
        VisitId(((ms << 80) | (8 << 76) | (first << 64) | (0b10 << 62) | next).to_be_bytes())
    }

    /// When the visit began.
    #[must_use]
    pub fn arrival(&self) -> Wall {
        self.document_id().arrival()
    }

    /// Whether `secret` makes this id. Takes the same time for every secret.
    #[must_use]
    pub fn proves(&self, secret: &Secret) -> bool {
        VisitId::of(self.arrival(), secret).0.ct_eq(&self.0).into()
    }

    /// The id of the visit's document.
    #[must_use]
    pub fn document_id(&self) -> DocumentId {
        DocumentId(self.0)
    }

    /// The visit whose document has this id; `None` if the id does not have this form.
    #[must_use]
    pub fn from_document_id(id: DocumentId) -> Option<VisitId> {
        let uuid = Uuid::from_bytes(id.0);
        (uuid.get_version_num() == 8 && uuid.get_variant() == Variant::RFC4122).then_some(VisitId(id.0))
    }

    /// The name of the visit's document, at `venue`.
    #[must_use]
    pub fn name(&self, venue: VenueId) -> DocumentName {
        DocumentName { collection: VISITS, tenant: venue.tenant(), id: self.document_id() }
    }

    /// The key of the visit's document at `venue`, which expires when the retention that held at the arrival has passed
    /// since then.
    #[must_use]
    pub fn key(&self, venue: &Venue) -> DocumentKey {
        self.name(venue.id).expiring(self.arrival().plus(venue.retentions.at(self.arrival())))
    }
}

impl fmt::Display for VisitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Uuid::from_bytes(self.0).hyphenated(), f)
    }
}

impl FromStr for VisitId {
    type Err = NotAVisitId;

    /// Reads the form that `Display` writes, in either case (RFC 9562, section 4).
    fn from_str(text: &str) -> Result<VisitId, NotAVisitId> {
        let uuid = Uuid::try_parse(text).map_err(|_| NotAVisitId)?;
        let id = VisitId::from_document_id(DocumentId(uuid.into_bytes())).ok_or(NotAVisitId)?;
        if id.to_string().eq_ignore_ascii_case(text) { Ok(id) } else { Err(NotAVisitId) }
    }
}

crate::serde_as_text!(VisitId);

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl FromStr for Secret {
    type Err = NotASecret;

    fn from_str(text: &str) -> Result<Secret, NotASecret> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| NotASecret)?;
        bytes.try_into().map(Secret).map_err(|_| NotASecret)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use proptest::{prop_assert, prop_assert_eq};
    use replication::Wall;

    use super::{Secret, VisitId};

    const SECRET: Secret = Secret([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

    #[test]
    fn the_published_vector() {
        let id = VisitId::of(Wall(1_767_225_600_000), &SECRET);
        assert_eq!(SECRET.to_string(), "AAECAwQFBgcICQoLDA0ODw");
        assert_eq!(id.to_string(), "019b76da-a800-8585-ac0e-baed36724e18");
    }

    #[test]
    fn only_the_hyphenated_form_reads_and_case_does_not_matter() {
        let id = "019b76da-a800-8585-ac0e-baed36724e18";
        for typed in [id, "019B76DA-A800-8585-AC0E-BAED36724E18", "019b76DA-a800-8585-ac0e-baed36724E18"] {
            assert_eq!(typed.parse::<VisitId>().expect("an id").to_string(), id);
        }
        for bad in [
            "019b76daa8008585ac0ebaed36724e18",
            "{019b76da-a800-8585-ac0e-baed36724e18}",
            "urn:uuid:019b76da-a800-8585-ac0e-baed36724e18",
            "019b76da-a800-7585-ac0e-baed36724e18",
            "019b76da-a800-8585-2c0e-baed36724e18",
            "019b76da-a800-8585-ac0e-baed36724e1",
            "",
        ] {
            assert!(bad.parse::<VisitId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_reads_in_one_form_and_is_not_printed() {
        assert_eq!("AAECAwQFBgcICQoLDA0ODw".parse(), Ok(SECRET));
        for bad in
            ["AAECAwQFBgcICQoLDA0ODw==", "AAECAwQFBgcICQoLDA0ODx", "AAECAwQFBgcICQoLDA0O", "", "+/ECAwQFBgcICQoLDA0ODw"]
        {
            assert!(bad.parse::<Secret>().is_err(), "{bad}");
        }
        assert_eq!(format!("{SECRET:?}"), "Secret(..)");
    }

    proptest! {
        #[test]
        fn an_id_carries_its_arrival_and_knows_its_secret(
            ms in 0u64..1 << 48, secret in any::<[u8; 16]>(), other in any::<[u8; 16]>(),
        ) {
            let id = VisitId::of(Wall(ms), &Secret(secret));
            prop_assert_eq!(id.arrival(), Wall(ms));
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(VisitId::from_document_id(id.document_id()), Some(id));
            prop_assert!(id.proves(&Secret(secret)));
            prop_assert_eq!(id.proves(&Secret(other)), secret == other);
        }

        #[test]
        fn ids_sort_by_arrival(a in 0u64..1 << 48, b in 0u64..1 << 48, secret in any::<[u8; 16]>()) {
            let (first, second) = (VisitId::of(Wall(a), &SECRET), VisitId::of(Wall(b), &Secret(secret)));
            if a != b {
                prop_assert_eq!(a < b, first < second);
                prop_assert_eq!(a < b, first.to_string() < second.to_string());
            }
        }
    }
}
