//! Which format of the guest list the client wants (RFC 9110, section 12.5.1).

use hyper::HeaderMap;
use hyper::header::{ACCEPT, HeaderValue};

use super::super::problem::{Kind, Problem};

/// A format of the guest list.
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

/// Those that have a media type of their own, in order of preference for a client that has none.
const FORMATS: [Format; 4] = [Format::Json, Format::Ndjson, Format::Csv, Format::Xlsx];

/// The value of the parameter `dialect` that asks for the table for offices.
const EXCEL_DE: &str = "excel-de";

const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

impl Format {
    /// The format that the client prefers.
    pub(super) fn of(headers: &HeaderMap) -> Result<Format, Problem> {
        if !headers.contains_key(ACCEPT) {
            return Ok(Format::Json);
        }
        let values = headers.get_all(ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
        let ranges: Vec<(&str, u16)> = values.flat_map(|value| value.split(',')).filter_map(range).collect();
        let mut best: Option<(Format, u16)> = None;
        for format in FORMATS {
            let quality = format.quality(&ranges);
            if quality > best.map_or(0, |(_, quality)| quality) {
                best = Some((format, quality));
            }
        }
        best.map(|(format, _)| format).ok_or_else(|| {
            let available = format!("application/json, application/x-ndjson, text/csv and {XLSX} are available");
            Problem::new(Kind::NotAcceptable, available)
        })
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

    /// The name of the file as which a browser stores it; `None` if it is not made for that.
    pub(super) fn file_name(self) -> Option<&'static str> {
        match self {
            Format::Json | Format::Ndjson => None,
            Format::Csv | Format::ExcelCsv => Some("guests.csv"),
            Format::Xlsx => Some("guests.xlsx"),
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
        let (kind, name) = match self {
            Format::Json => ("application/*", "application/json"),
            Format::Ndjson => ("application/*", "application/x-ndjson"),
            Format::Csv | Format::ExcelCsv => ("text/*", "text/csv"),
            Format::Xlsx => ("application/*", XLSX),
        };
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

    use super::{FORMATS, Format, XLSX};

    fn of(accept: &str) -> Option<Format> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_str(accept).expect("a header"));
        Format::of(&headers).ok()
    }

    #[test]
    fn the_client_gets_what_it_prefers() {
        assert_eq!(Format::of(&HeaderMap::new()).ok(), Some(Format::Json));
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
            assert_eq!(of(accept), format, "{accept}");
        }
    }

    #[test]
    fn only_csv_has_a_dialect() {
        for format in FORMATS {
            assert_eq!(format.in_dialect(None).ok(), Some(format));
            let expected = (format == Format::Csv).then_some(Format::ExcelCsv);
            assert_eq!(format.in_dialect(Some("excel-de")).ok(), expected);
            for unknown in ["excel", "", "EXCEL-DE"] {
                assert_eq!(format.in_dialect(Some(unknown)).ok(), None, "{unknown}");
            }
        }
    }
}
