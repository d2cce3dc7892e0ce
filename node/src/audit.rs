//! The audit trail: what operators ordered, in lasting documents that every region has, one or a few for each month.
//!
//! Each entry is a field of its own, so entries that were written in two places at once never conflict. A month begins a
//! further document when the last one has many entries, because a document is bounded. Entries are kept for good: they
//! name operators and no guest.
//!
//! # Invariants
//! - Pure: the caller reads and writes the documents.
//! - The fields are named and encoded here and nowhere else.

use api::Moment;
use api::operators::AuditEntry;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use replication::{Collection, Document, DocumentId, DocumentName, TenantId, Value, Wall};

/// The collection of the trail, which belongs to no tenant.
const AUDIT: Collection = Collection(4);

/// Entries after which a month begins a further document: its bytes and changes stay far below the bounds of a document.
pub(crate) const FULL: usize = 200;

/// Documents of one month at most. After that the month takes no more entries, which the node's log then has alone.
pub(crate) const PARTS: u8 = 200;

/// A month, `YYYY-MM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Month {
    year: i16,
    month: i8,
}

impl Month {
    /// The month of a moment, in UTC.
    pub(crate) fn of(at: Wall) -> Month {
        let date = Timestamp::from(Moment(at)).to_zoned(TimeZone::UTC).date();
        Month { year: date.year(), month: date.month() }
    }

    /// Reads `2026-11`.
    pub(crate) fn parse(text: &str) -> Option<Month> {
        let date: Date = format!("{text}-01").parse().ok()?;
        (text.len() == 7).then_some(Month { year: date.year(), month: date.month() })
    }

    /// The name of one of its documents, counted from 0.
    pub(crate) fn name(self, part: u8) -> DocumentName {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&self.year.to_be_bytes());
        id[2] = self.month.unsigned_abs();
        id[3] = part;
        DocumentName { collection: AUDIT, tenant: TenantId([0; 16]), id: DocumentId(id) }
    }
}

impl std::fmt::Display for Month {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

/// The name of an entry's field. Names sort by time; `rest` tells entries of one millisecond apart.
pub(crate) fn field(at: Wall, rest: [u8; 8]) -> String {
    format!("{:013x}-{:016x}", at.0, u64::from_be_bytes(rest))
}

/// The value of an entry's field.
pub(crate) fn value(entry: &AuditEntry) -> Value {
    // The JSON holds only text, so this cannot fail.
    Value::Text(serde_json::to_string(entry).unwrap_or_default())
}

/// The entries of one document, the oldest first; what does not decode is skipped.
pub(crate) fn read(document: &Document) -> Vec<AuditEntry> {
    let values = |field: &str| document.all(field).into_iter().filter_map(Value::as_text).collect::<Vec<_>>();
    let mut fields: Vec<&str> = document.fields().collect();
    fields.sort_unstable();
    fields.into_iter().flat_map(values).filter_map(|text| serde_json::from_str(text).ok()).collect()
}

#[cfg(test)]
mod tests {
    use api::Moment;
    use api::operators::AuditEntry;
    use replication::{Change, Document, Wall};

    use super::{Month, field, read, value};

    #[test]
    fn a_month_has_its_own_documents_and_entries_in_order() {
        let month = Month::of(Wall(1_780_000_000_000));
        assert_eq!((month.to_string(), Month::parse("2026-05")), ("2026-05".to_owned(), Some(month)));
        for bad in ["", "2026", "2026-5", "2026-13", "2026-05-01", "x026-05"] {
            assert_eq!(Month::parse(bad), None, "{bad}");
        }
        assert_ne!(month.name(0), month.name(1));
        assert_ne!(month.name(0), Month::parse("2026-06").unwrap().name(0));
        let entry = |what: &str| AuditEntry {
            at: Moment(Wall(1)),
            who: "ana".into(),
            from: "127.0.0.1".into(),
            what: what.into(),
            why: String::new(),
        };
        let key = month.name(0).expiring(Wall::NEVER);
        let one = Change::create(&key, &[(&*field(Wall(7), [2; 8]), value(&entry("b")))]);
        let other = Change::create(&key, &[(&*field(Wall(7), [1; 8]), value(&entry("a")))]);
        let document = Document::of_changes(&[one, other]).unwrap();
        assert_eq!(read(&document), [entry("a"), entry("b")], "written in two places at once, both are there");
    }
}
