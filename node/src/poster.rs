//! Posters of a venue: a sheet for the door or the table with the QR code of the check-in address, as SVG and as PDF.
//!
//! | file | concern |
//! | --- | --- |
//! | `layout.rs`, `layout/` | what is drawn where, in millimetres: one list of items for each sheet |
//! | `text.rs` | breaks text into lines and finds the size at which it fits |
//! | `font.rs` | shapes text with the embedded font, which is the measure of both formats |
//! | `code.rs` | the QR code |
//! | `svg.rs`, `pdf.rs` | draw the items |
//!
//! # Invariants
//! - Pure and deterministic: the same poster gives the same bytes. No sheet carries a date, therefore none is out of date.
//! - Both formats draw the same list of items, therefore they cannot differ.
//! - Text never leaves its frame: it wraps, then shrinks, then breaks within words.
//! - Every PDF is tagged and passes the checks for PDF/UA-1, otherwise it is not handed out.
//!
//! # Not covered
//! The embedded font (`fonts/README.md`) has Latin with Vietnamese, Greek and Cyrillic. A PDF shows U+FFFD for any other
//! character, and [`pdf_shows`] tells it beforehand. An SVG shows every character that its reader has a font for.
//!
//! # Not here
//! The words, which are in the caller's message files. HTTP.

mod code;
mod font;
mod layout;
mod pdf;
mod svg;
#[cfg(test)]
mod tests;
mod text;

use krilla::error::KrillaError;
use qrcode::types::QrError;

/// The QR code of an address, for a page: an SVG path in units of one module, and the length of the picture's side.
///
/// # Errors
/// [`PosterError`] if the address is not ASCII or too long for a code.
pub(crate) fn code_path(address: &str) -> Result<(String, usize), PosterError> {
    Ok(code::Code::new(address)?.path())
}

/// One poster: what differs between the tables of a venue, and the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Poster<'a> {
    /// Name of the venue.
    pub(crate) venue: &'a str,
    /// The area or the table, if the poster belongs to one.
    pub(crate) area: Option<&'a str>,
    /// The check-in address in full, as the QR code holds it: ASCII, like any URL.
    pub(crate) address: &'a str,
    /// Language of the words (BCP 47), for example `de`.
    pub(crate) language: &'a str,
    /// The words.
    pub(crate) words: Words<'a>,
}

/// The words of a poster in one language. They wrap and shrink like names do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Words<'a> {
    /// Name of the service, above the headline.
    pub(crate) service: &'a str,
    /// The headline, two or three words.
    pub(crate) headline: &'a str,
    /// What a guest does: scan, enter details, show the receipt.
    pub(crate) steps: [&'a str; 3],
    /// Leads to the address below the code, for guests without a camera.
    pub(crate) by_hand: &'a str,
    /// Who may read the data and when it is deleted.
    pub(crate) privacy: &'a str,
    /// What the QR code is, for those who cannot see it.
    pub(crate) code: &'a str,
    /// Where the tent is folded.
    pub(crate) fold: &'a str,
}

/// The paper, and how it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sheet {
    /// A4 upright, for a door.
    A4,
    /// A5 upright, for a wall or a counter.
    A5,
    /// A4 with two panels, to be folded into a tent for a table. The upper panel is turned by 180 degrees.
    Tent,
}

impl Sheet {
    /// Every sheet.
    pub(crate) const ALL: [Sheet; 3] = [Sheet::A4, Sheet::A5, Sheet::Tent];

    /// Its name in an address.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Sheet::A4 => "a4",
            Sheet::A5 => "a5",
            Sheet::Tent => "tent",
        }
    }
}

/// Why a poster is not drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PosterError {
    /// The address is no URL: the caller encodes it.
    #[error("the address has characters other than printable ASCII")]
    Address,
    /// The address does not fit into a QR code: the caller shortens it.
    #[error("no QR code holds the address")]
    Code {
        /// What the encoder says.
        #[source]
        source: QrError,
    },
    /// No poster was given: the caller has at least one.
    #[error("there is no poster to draw")]
    Empty,
    /// The SVG was not written. Must not happen, because it is written to memory.
    #[error("the SVG was not written")]
    Svg {
        /// What the writer says.
        #[source]
        source: std::io::Error,
    },
    /// The PDF was not written. Must not happen: a rule of PDF/UA-1 is broken, or the embedded font is.
    #[error("the PDF was not written")]
    Pdf {
        /// What the library says.
        #[source]
        source: KrillaError,
    },
}

impl Poster<'_> {
    /// The poster as one SVG document without outside references. Its text is text, in the fonts of its reader.
    ///
    /// # Errors
    /// [`PosterError::Address`] and [`PosterError::Code`].
    pub(crate) fn to_svg(self, sheet: Sheet) -> Result<String, PosterError> {
        svg::write(&self, sheet)
    }

    /// Title of the document.
    fn title(&self) -> String {
        let mut title = format!("{} · {}", self.words.headline, self.venue);
        if let Some(area) = self.area {
            title.push_str(" · ");
            title.push_str(area);
        }
        title
    }

    /// The address as it is read and typed: without the scheme, which every browser adds.
    fn short_address(&self) -> &str {
        let address = self.address;
        let address = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://")).unwrap_or(address);
        address.strip_suffix('/').unwrap_or(address)
    }
}

/// Whether the font of the PDF has every character of a text. Otherwise an SVG serves better.
#[must_use]
pub(crate) fn pdf_shows(text: &str) -> bool {
    font::Face::of(font::Weight::Bold).covers(text)
}

/// All `posters` as one PDF, a page for each, for example one for every table of a venue. Title and language of the
/// document are those of the first poster.
///
/// # Errors
/// [`PosterError::Empty`], [`PosterError::Address`] and [`PosterError::Code`].
pub(crate) fn to_pdf(posters: &[Poster<'_>], sheet: Sheet) -> Result<Vec<u8>, PosterError> {
    pdf::write(posters, sheet)
}
