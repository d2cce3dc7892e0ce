//! Where the next page of a guest list begins, and how complete the list is. Opaque to clients, so that it can change.
//!
//! # Invariants
//! - A cursor is valid for its venue alone. A damaged one is refused, otherwise it could skip guests.
//! - Its length is bounded, because it travels in a URL.

use data_encoding::BASE64URL_NOPAD;
use replication::{DocumentId, Wall};
use sha2::{Digest, Sha256};

use super::Completeness;
use registry::VenueId;

const ID: usize = 16;
const CHECKSUM: usize = 4;

/// A cursor carries the completeness of at most so many regions. If there are more, later pages leave the rest out.
const MOST_REGIONS: usize = 64;

/// A bound above the length of any cursor.
const MOST_TEXT: usize = 8 * 1_024;

/// The state that the next page needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The last visit before the next page.
    pub(super) last: DocumentId,
    /// The completeness of the first page.
    pub(super) completeness: Completeness,
}

impl Cursor {
    /// `id | (length of name, name, ms)* | checksum`.
    pub(super) fn write(&self, venue: VenueId) -> String {
        let mut bytes = self.last.0.to_vec();
        for (region, through) in self.completeness.iter().take(MOST_REGIONS) {
            // A name has at most 40 bytes.
            let name = region.as_str().as_bytes();
            bytes.push(u8::try_from(name.len()).unwrap_or_default());
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(&through.0.to_be_bytes());
        }
        bytes.extend(checksum(venue, &bytes));
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// Reads what [`Cursor::write`] wrote for this venue.
    pub(super) fn read(venue: VenueId, text: &str) -> Option<Cursor> {
        if text.len() > MOST_TEXT {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
        if sum != checksum(venue, body) {
            return None;
        }
        let (id, mut rest) = body.split_at_checked(ID)?;
        let mut completeness = Completeness::new();
        while let Some((length, after)) = rest.split_first() {
            let (name, after) = after.split_at_checked(usize::from(*length))?;
            let (through, after) = after.split_first_chunk::<8>()?;
            let region = std::str::from_utf8(name).ok()?.parse().ok()?;
            completeness.insert(region, Wall(u64::from_be_bytes(*through)));
            rest = after;
        }
        Some(Cursor { last: DocumentId(id.try_into().ok()?), completeness })
    }
}

fn checksum(venue: VenueId, body: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = Sha256::new();
    hasher.update(b"meridian cursor 2");
    hasher.update(venue.0);
    hasher.update(body);
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&hasher.finalize()[..CHECKSUM]);
    sum
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;
    use replication::{DocumentId, Wall};

    use super::{Cursor, MOST_REGIONS, MOST_TEXT, checksum};
    use registry::VenueId;

    const VENUE: VenueId = VenueId([1; 16]);

    fn cursor(regions: usize) -> Cursor {
        let name = |n: usize| format!("region-{n:03}-{}", "x".repeat(29)).parse().expect("a name");
        let completeness = (0..regions).map(|n| (name(n), Wall(1_767_225_600_000 + n as u64)));
        Cursor { last: DocumentId([2; 16]), completeness: completeness.collect() }
    }

    #[test]
    fn a_cursor_reads_back_at_its_venue_alone() {
        for regions in [0, 1, 5, MOST_REGIONS] {
            let written = cursor(regions).write(VENUE);
            assert_eq!(Cursor::read(VENUE, &written), Some(cursor(regions)));
            assert_eq!(Cursor::read(VenueId([3; 16]), &written), None);
            assert!(written.len() <= MOST_TEXT, "{}", written.len());
            for bad in ["", "AAAA", &written[1..], "??"] {
                assert_eq!(Cursor::read(VENUE, bad), None, "{bad}");
            }
        }
    }

    #[test]
    fn a_changed_moment_is_refused() {
        let mut bytes = BASE64URL_NOPAD.decode(cursor(2).write(VENUE).as_bytes()).expect("reads");
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            assert_eq!(Cursor::read(VENUE, &BASE64URL_NOPAD.encode(&bytes)), None, "byte {at}");
            bytes[at] ^= 1;
        }
    }

    #[test]
    fn many_regions_leave_a_cursor_bounded() {
        let written = cursor(MOST_REGIONS + 40).write(VENUE);
        assert!(written.len() <= MOST_TEXT, "{}", written.len());
        assert_eq!(Cursor::read(VENUE, &written).map(|cursor| cursor.completeness.len()), Some(MOST_REGIONS));
    }

    /// A body with a correct checksum that is cut anywhere is refused, and the reader does not panic.
    #[test]
    fn a_cut_body_is_refused() {
        let bytes = BASE64URL_NOPAD.decode(cursor(1).write(VENUE).as_bytes()).expect("reads");
        let body = &bytes[..bytes.len() - 4];
        for end in 0..body.len() {
            let mut cut = body[..end].to_vec();
            cut.extend(checksum(VENUE, &body[..end]));
            let read = Cursor::read(VENUE, &BASE64URL_NOPAD.encode(&cut));
            assert_eq!(read.is_some(), end == 16, "{end}");
        }
    }
}
