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
//! character, and [`Poster::pdf_shows_all`] tells it beforehand. An SVG shows every character that its reader has a font for.
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

/// One poster: what differs between the tables of a venue, and the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poster<'a> {
    /// Name of the venue.
    pub venue: &'a str,
    /// The area or the table, if the poster belongs to one.
    pub area: Option<&'a str>,
    /// The check-in address in full, as the QR code holds it: ASCII, like any URL.
    pub address: &'a str,
    /// Language of the words (BCP 47), for example `de`.
    pub language: &'a str,
    /// The words.
    pub words: Words<'a>,
}

/// The words of a poster in one language. They wrap and shrink like names do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words<'a> {
    /// Name of the service, above the headline.
    pub service: &'a str,
    /// The headline, two or three words.
    pub headline: &'a str,
    /// What a guest does: scan, enter details, show the receipt.
    pub steps: [&'a str; 3],
    /// Leads to the address below the code, for guests without a camera.
    pub by_hand: &'a str,
    /// Who may read the data and when it is deleted.
    pub privacy: &'a str,
    /// What the QR code is, for those who cannot see it.
    pub code: &'a str,
    /// Where the tent is folded.
    pub fold: &'a str,
}

/// The paper, and how it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sheet {
    /// A4 upright, for a door.
    A4,
    /// A5 upright, for a wall or a counter.
    A5,
    /// A4 with two panels, to be folded into a tent for a table. The upper panel is turned by 180 degrees.
    Tent,
}

impl Sheet {
    /// Every sheet.
    pub const ALL: [Sheet; 3] = [Sheet::A4, Sheet::A5, Sheet::Tent];
}

/// Why a poster is not drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PosterError {
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
    pub fn to_svg(&self, sheet: Sheet) -> Result<String, PosterError> {
        svg::write(self, sheet)
    }

    /// The poster as a PDF with one page, see [`to_pdf`].
    ///
    /// # Errors
    /// [`PosterError::Address`] and [`PosterError::Code`].
    pub fn to_pdf(&self, sheet: Sheet) -> Result<Vec<u8>, PosterError> {
        to_pdf(std::slice::from_ref(self), sheet)
    }

    /// Whether the font of the PDF has every character of the names and words. Otherwise an SVG serves better.
    #[must_use]
    pub fn pdf_shows_all(&self) -> bool {
        let Words { service, headline, steps, by_hand, privacy, code: _, fold } = self.words;
        let texts = [self.venue, self.area.unwrap_or_default(), service, headline, by_hand, privacy, fold];
        texts.iter().chain(&steps).all(|text| font::Face::of(font::Weight::Bold).covers(text))
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

/// All `posters` as one PDF, a page for each, for example one for every table of a venue. Title and language of the
/// document are those of the first poster.
///
/// # Errors
/// [`PosterError::Empty`], [`PosterError::Address`] and [`PosterError::Code`].
pub fn to_pdf(posters: &[Poster<'_>], sheet: Sheet) -> Result<Vec<u8>, PosterError> {
    pdf::write(posters, sheet)
}
