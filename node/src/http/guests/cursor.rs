//! Where the next page of a guest list begins, and how complete the list is. Opaque to clients, so that it can change.
//!
//! # Invariants
//! - A cursor is valid for its venue, window and area alone. Another or a damaged one is refused, otherwise it could skip
//!   guests. A request without `from` or `to` has the window of its first page, so the cursor carries the window.
//! - Its length is bounded, because it travels in a URL.

use data_encoding::BASE64URL_NOPAD;
use replication::{DocumentId, Wall};
use sha2::{Digest, Sha256};

use super::Completeness;
use registry::{VenueId, Window};

const ID: usize = 16;
const CHECKSUM: usize = 4;

/// A cursor carries the completeness of at most so many regions. If there are more, later pages leave the rest out.
const MOST_REGIONS: usize = 64;

/// A bound above the length of any cursor.
const MOST_TEXT: usize = 8 * 1_024;

/// The list that a cursor belongs to, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) venue: VenueId,
    /// `from` of the request.
    pub(super) from: Option<Wall>,
    /// `to` of the request.
    pub(super) to: Option<Wall>,
    pub(super) area: Option<String>,
}

/// The state that the next page needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The window of the first page.
    pub(super) window: Window,
    /// The last visit before the next page.
    pub(super) last: DocumentId,
    /// The completeness of the first page.
    pub(super) completeness: Completeness,
}

impl Cursor {
    /// `from | to | id | (length of name, name, ms)* | checksum`.
    pub(super) fn write(&self, scope: &Scope) -> String {
        let mut bytes = [self.window.from.0.to_be_bytes(), self.window.to.0.to_be_bytes()].concat();
        bytes.extend_from_slice(&self.last.0);
        for (region, through) in self.completeness.iter().take(MOST_REGIONS) {
            // A name has at most 40 bytes.
            let name = region.as_str().as_bytes();
            bytes.push(u8::try_from(name.len()).unwrap_or_default());
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(&through.0.to_be_bytes());
        }
        bytes.extend(checksum(scope, &bytes));
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// Reads what [`Cursor::write`] wrote for this list.
    pub(super) fn read(scope: &Scope, text: &str) -> Option<Cursor> {
        if text.len() > MOST_TEXT {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
        if sum != checksum(scope, body) {
            return None;
        }
        let (from, body) = body.split_first_chunk::<8>()?;
        let (to, body) = body.split_first_chunk::<8>()?;
        let window = Window { from: Wall(u64::from_be_bytes(*from)), to: Wall(u64::from_be_bytes(*to)) };
        let (id, mut rest) = body.split_at_checked(ID)?;
        let mut completeness = Completeness::new();
        while let Some((length, after)) = rest.split_first() {
            let (name, after) = after.split_at_checked(usize::from(*length))?;
            let (through, after) = after.split_first_chunk::<8>()?;
            let region = std::str::from_utf8(name).ok()?.parse().ok()?;
            completeness.insert(region, Wall(u64::from_be_bytes(*through)));
            rest = after;
        }
        Some(Cursor { window, last: DocumentId(id.try_into().ok()?), completeness })
    }
}

fn checksum(scope: &Scope, body: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = Sha256::new();
    hasher.update(b"meridian cursor 3");
    hasher.update(scope.venue.0);
    for bound in [scope.from, scope.to] {
        hasher.update([u8::from(bound.is_some())]);
        hasher.update(bound.unwrap_or_default().0.to_be_bytes());
    }
    hasher.update([u8::from(scope.area.is_some())]);
    let area = scope.area.as_deref().unwrap_or_default();
    hasher.update((area.len() as u64).to_be_bytes());
    hasher.update(area);
    hasher.update(body);
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&hasher.finalize()[..CHECKSUM]);
    sum
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;
    use replication::{DocumentId, Wall};

    use super::{Cursor, MOST_REGIONS, MOST_TEXT, Scope, checksum};
    use registry::{VenueId, Window};

    const SCOPE: Scope = Scope { venue: VenueId([1; 16]), from: None, to: Some(Wall(9)), area: None };

    fn cursor(regions: usize) -> Cursor {
        let name = |n: usize| format!("region-{n:03}-{}", "x".repeat(29)).parse().expect("a name");
        let completeness = (0..regions).map(|n| (name(n), Wall(1_767_225_600_000 + n as u64)));
        let window = Window { from: Wall(3), to: Wall(9) };
        Cursor { window, last: DocumentId([2; 16]), completeness: completeness.collect() }
    }

    #[test]
    fn a_cursor_reads_back_in_its_list_alone() {
        for regions in [0, 1, 5, MOST_REGIONS] {
            let written = cursor(regions).write(&SCOPE);
            assert_eq!(Cursor::read(&SCOPE, &written), Some(cursor(regions)));
            for other in [
                Scope { venue: VenueId([3; 16]), ..SCOPE },
                Scope { from: Some(Wall(0)), ..SCOPE },
                Scope { to: None, ..SCOPE },
                Scope { to: Some(Wall(10)), ..SCOPE },
                Scope { from: Some(Wall(9)), to: None, ..SCOPE },
                Scope { area: Some(String::new()), ..SCOPE },
                Scope { area: Some("1".into()), ..SCOPE },
            ] {
                assert_eq!(Cursor::read(&other, &written), None, "{other:?}");
            }
            assert!(written.len() <= MOST_TEXT, "{}", written.len());
            for bad in ["", "AAAA", &written[1..], "??"] {
                assert_eq!(Cursor::read(&SCOPE, bad), None, "{bad}");
            }
        }
    }

    #[test]
    fn a_changed_moment_is_refused() {
        let mut bytes = BASE64URL_NOPAD.decode(cursor(2).write(&SCOPE).as_bytes()).expect("reads");
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            assert_eq!(Cursor::read(&SCOPE, &BASE64URL_NOPAD.encode(&bytes)), None, "byte {at}");
            bytes[at] ^= 1;
        }
    }

    #[test]
    fn many_regions_leave_a_cursor_bounded() {
        let written = cursor(MOST_REGIONS + 40).write(&SCOPE);
        assert!(written.len() <= MOST_TEXT, "{}", written.len());
        assert_eq!(Cursor::read(&SCOPE, &written).map(|cursor| cursor.completeness.len()), Some(MOST_REGIONS));
    }

    /// A body with a correct checksum that is cut anywhere is refused, and the reader does not panic.
    #[test]
    fn a_cut_body_is_refused() {
        let bytes = BASE64URL_NOPAD.decode(cursor(1).write(&SCOPE).as_bytes()).expect("reads");
        let body = &bytes[..bytes.len() - 4];
        for end in 0..body.len() {
            let mut cut = body[..end].to_vec();
            cut.extend(checksum(&SCOPE, &body[..end]));
            let read = Cursor::read(&SCOPE, &BASE64URL_NOPAD.encode(&cut));
            assert_eq!(read.is_some(), end == 32, "{end}");
        }
    }
}
