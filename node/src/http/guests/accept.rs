//! Which format of personal data the client wants (RFC 9110, section 12.5.1).
//!
//! # Invariants
//! - Every answer that has a guest's data is in a media type that the client accepts, or 406 names those that there are.
//!   Public answers are JSON whatever the client accepts, because a cache hands them to all.

use hyper::HeaderMap;
use hyper::header::{ACCEPT, HeaderValue};

use super::super::problem::{Kind, Problem};

/// A format of personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Format {
    /// One object, page by page.
    Json,
    /// One object a line, the whole window.
    Ndjson,
    /// The table for scripts, the whole window.
    Csv,
    /// The table for offices as CSV, the whole window.
    ExcelCsv,
    /// The table for offices as a workbook, the whole window.
    Xlsx,
}

/// Formats of a guest list that have a media type of their own, in order of preference for a client that has none.
pub(super) const LIST: &[Format] = &[Format::Json, Format::Ndjson, Format::Csv, Format::Xlsx];

/// Those of contacts.
pub(super) const CONTACTS: &[Format] = &[Format::Json, Format::Csv];

/// The value of the parameter `dialect` that asks for the table for offices.
const EXCEL_DE: &str = "excel-de";

const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

impl Format {
    /// The format of `available` that the client prefers; the first one if it says nothing.
    pub(super) fn of(headers: &HeaderMap, available: &[Format]) -> Result<Format, Problem> {
        let values = headers.get_all(ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
        let ranges: Vec<(&str, u16)> = values.flat_map(|value| value.split(',')).filter_map(range).collect();
        let anything = [("*/*", 1_000)];
        let ranges = if headers.contains_key(ACCEPT) { ranges.as_slice() } else { &anything };
        let mut best: Option<(Format, u16)> = None;
        for &format in available {
            let quality = format.quality(ranges);
            if quality > best.map_or(0, |(_, quality)| quality) {
                best = Some((format, quality));
            }
        }
        best.map(|(format, _)| format).ok_or_else(|| {
            let names: Vec<&str> = available.iter().map(|format| format.name()).collect();
            Problem::new(Kind::NotAcceptable, format!("available: {}", names.join(", ")))
        })
    }

    /// Refuses a client that does not accept JSON.
    pub(in super::super) fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
        Format::of(headers, &[Format::Json]).map(|_| ())
    }

    /// This format in the dialect that the query asks for. The dialect is a parameter of the query, because it selects
    /// another table (other columns, local times) and not only another encoding, and because `text/csv` has no
    /// registered parameter for it (RFC 7111).
    pub(super) fn in_dialect(self, dialect: Option<&str>) -> Result<Format, Problem> {
        match (dialect, self) {
            (None, format) => Ok(format),
            (Some(EXCEL_DE), Format::Csv) => Ok(Format::ExcelCsv),
            (Some(EXCEL_DE), _) => Err(Problem::parameter("dialect", "needs `Accept: text/csv`")),
            (Some(_), _) => Err(Problem::parameter("dialect", "the only dialect is excel-de")),
        }
    }

    /// The end of the name of the file as which a browser stores it; `None` if it is not made for that.
    pub(super) fn extension(self) -> Option<&'static str> {
        match self {
            Format::Json | Format::Ndjson => None,
            Format::Csv | Format::ExcelCsv => Some("csv"),
            Format::Xlsx => Some("xlsx"),
        }
    }

    /// The media type without parameters.
    fn name(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Ndjson => "application/x-ndjson",
            Format::Csv | Format::ExcelCsv => "text/csv",
            Format::Xlsx => XLSX,
        }
    }

    /// As `Content-Type`.
    pub(super) fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Format::Json => "application/json",
            Format::Ndjson => "application/x-ndjson",
            Format::Csv | Format::ExcelCsv => "text/csv; charset=utf-8; header=present",
            Format::Xlsx => XLSX,
        })
    }

    /// The quality of the most specific range that fits.
    fn quality(self, ranges: &[(&str, u16)]) -> u16 {
        let name = self.name();
        let kind = if name.starts_with("text/") { "text/*" } else { "application/*" };
        let of = |wanted: &str| {
            ranges.iter().find(|(range, _)| range.eq_ignore_ascii_case(wanted)).map(|(_, quality)| *quality)
        };
        of(name).or_else(|| of(kind)).or_else(|| of("*/*")).unwrap_or(0)
    }
}

/// A media range and its quality in thousandths.
fn range(text: &str) -> Option<(&str, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|range| !range.is_empty())?;
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let quality = quality.map_or(Some(1.0), |text| text.parse::<f32>().ok())?;
    // The range was checked to be 0 to 1, so the cast keeps every value.
    if (0.0..=1.0).contains(&quality) { Some((range, (quality * 1_000.0) as u16)) } else { None }
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;
    use hyper::header::{ACCEPT, HeaderValue};

    use super::{CONTACTS, Format, LIST, XLSX};

    fn among(available: &[Format], accept: &str) -> Option<Format> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_str(accept).expect("a header"));
        Format::of(&headers, available).ok()
    }

    #[test]
    fn the_client_gets_what_it_prefers() {
        assert_eq!(Format::of(&HeaderMap::new(), LIST).ok(), Some(Format::Json));
        for (accept, format) in [
            ("*/*", Some(Format::Json)),
            ("text/csv", Some(Format::Csv)),
            ("Text/CSV;header=present", Some(Format::Csv)),
            ("text/*", Some(Format::Csv)),
            ("application/x-ndjson", Some(Format::Ndjson)),
            ("application/x-ndjson, application/json", Some(Format::Json)),
            ("application/x-ndjson;q=1, application/json;q=0.5", Some(Format::Ndjson)),
            ("text/html, */*;q=0.1", Some(Format::Json)),
            ("application/*, application/json;q=0", Some(Format::Ndjson)),
            ("text/csv;q=0, text/*", None),
            ("text/csv;q=2", None),
            ("text/csv;q=x", None),
            (XLSX, Some(Format::Xlsx)),
            ("text/csv;q=0.5, application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", Some(Format::Xlsx)),
            ("application/vnd.ms-excel", None),
            ("image/png", None),
            ("", None),
        ] {
            assert_eq!(among(LIST, accept), format, "{accept}");
        }
    }

    #[test]
    fn only_what_is_available_is_chosen() {
        assert_eq!(among(CONTACTS, "text/csv"), Some(Format::Csv));
        assert_eq!(among(CONTACTS, "application/x-ndjson"), None);
        assert_eq!(among(CONTACTS, "application/x-ndjson, */*;q=0.1"), Some(Format::Json));
        assert_eq!(among(&[Format::Json], "text/csv"), None);
        assert_eq!(among(&[Format::Json], "application/*"), Some(Format::Json));
    }

    #[test]
    fn only_csv_has_a_dialect() {
        for &format in LIST {
            assert_eq!(format.in_dialect(None).ok(), Some(format));
            let expected = (format == Format::Csv).then_some(Format::ExcelCsv);
            assert_eq!(format.in_dialect(Some("excel-de")).ok(), expected);
            for unknown in ["excel", "", "EXCEL-DE"] {
                assert_eq!(format.in_dialect(Some(unknown)).ok(), None, "{unknown}");
            }
        }
    }
}
