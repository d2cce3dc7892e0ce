//! Where the next page of a guest list begins: opaque to clients, so that it can change.
//!
//! # Invariants
//! - A cursor is good for its venue alone, and a damaged one is refused instead of skipping guests.

use data_encoding::BASE64URL_NOPAD;
use replication::DocumentId;
use sha2::{Digest, Sha256};

use crate::registry::VenueId;

const CHECKSUM: usize = 4;

/// The cursor after the visit `last`.
pub(super) fn after(venue: VenueId, last: DocumentId) -> String {
    let mut bytes = last.0.to_vec();
    bytes.extend(checksum(venue, &last.0));
    BASE64URL_NOPAD.encode(&bytes)
}

/// The last visit before the page that a cursor asks for.
pub(super) fn read(venue: VenueId, text: &str) -> Option<DocumentId> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
    let (id, sum) = bytes.split_at_checked(16)?;
    let id: [u8; 16] = id.try_into().ok()?;
    (sum == checksum(venue, &id)).then_some(DocumentId(id))
}

fn checksum(venue: VenueId, id: &[u8; 16]) -> [u8; CHECKSUM] {
    let mut hasher = Sha256::new();
    hasher.update(b"meridian cursor 1");
    hasher.update(venue.0);
    hasher.update(id);
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&hasher.finalize()[..CHECKSUM]);
    sum
}

#[cfg(test)]
mod tests {
    use replication::DocumentId;

    use super::{after, read};
    use crate::registry::VenueId;

    #[test]
    fn a_cursor_reads_back_at_its_venue_alone() {
        let (venue, last) = (VenueId([1; 16]), DocumentId([2; 16]));
        let cursor = after(venue, last);
        assert_eq!(read(venue, &cursor), Some(last));
        assert_eq!(read(VenueId([3; 16]), &cursor), None);
        for bad in ["", "AAAA", &cursor[1..], "??"] {
            assert_eq!(read(venue, bad), None, "{bad}");
        }
    }
}
