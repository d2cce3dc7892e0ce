//! Breaks text into lines and finds the largest size at which they fit into a frame.
//!
//! `unicode-linebreak` says where a line may end (UAX #14). The choice among these places is ours: `textwrap` counts
//! columns of a terminal unless each word is measured for it, and it knows no frame that text has to fit into.

use std::ops::Range;

use unicode_linebreak::BreakOpportunity;
use unicode_segmentation::UnicodeSegmentation;

use super::font::{Face, Shaped, Weight};

/// From one size to the next smaller one.
const STEP: f32 = 0.96;

/// Words stay whole down to this part of the largest size. Below it they are broken, otherwise one long word would
/// make a name too small to read.
const WHOLE_WORDS: f32 = 0.55;

/// The size at which broken words are tried first, as a part of the largest.
const BROKEN_WORDS: f32 = 0.75;

/// The size at which the search ends, in millimetres: no valid name comes near it.
const SMALLEST: f32 = 0.3;

/// How text is set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// The cut.
    pub(super) weight: Weight,
    /// The size that is used if there is room, in millimetres.
    pub(super) largest: f32,
    /// From one baseline to the next, in sizes.
    pub(super) leading: f32,
}

/// Text that fits.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fitted {
    /// Size of the font in millimetres.
    pub(super) size: f32,
    /// Height of all lines in millimetres.
    pub(super) height: f32,
    /// The lines.
    pub(super) lines: Vec<String>,
}

/// The part of a text between two places where a line may end.
#[derive(Clone, Debug)]
struct Piece {
    bytes: Range<usize>,
    /// Width in ems without the white space at the end.
    width: f32,
    /// Width of the white space at the end in ems.
    gap: f32,
    /// Whether the line ends here.
    is_last: bool,
}

/// Sets `text` in the largest size at which it fits into `width` and `height`.
pub(super) fn fit(text: &str, style: Style, width: f32, height: f32) -> Fitted {
    let shaped = Face::of(style.weight).shape(text);
    let pieces = pieces(text, &shaped);
    let rows = |size: f32| (height / (size * style.leading)).floor() as usize;
    let sizes = |first: f32, last: f32| {
        std::iter::successors(Some(first), |size| Some(size * STEP)).take_while(move |&size| size >= last)
    };
    let whole = sizes(style.largest, style.largest * WHOLE_WORDS)
        .find_map(|size| Some((size, fill(&pieces, width / size, rows(size))?)));
    let (size, lines) = whole
        .or_else(|| {
            let letters: Vec<Vec<Piece>> = pieces.iter().map(|piece| letters(text, piece, &shaped)).collect();
            sizes(style.largest * BROKEN_WORDS, SMALLEST).find_map(|size| {
                let limit = width / size;
                let broken = pieces.iter().zip(&letters).flat_map(|(piece, letters)| {
                    if piece.width > limit { letters.as_slice() } else { std::slice::from_ref(piece) }
                });
                Some((size, fill(broken, limit, rows(size))?))
            })
        })
        .unwrap_or_else(|| (SMALLEST, std::iter::once(0..text.len()).collect()));
    let lines: Vec<String> = balance(&pieces, width / size, lines)
        .into_iter()
        .map(|line| text[line].trim())
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    Fitted { size, height: lines.len() as f32 * size * style.leading, lines }
}

/// The pieces of `text`: a line may end after each.
fn pieces(text: &str, shaped: &Shaped) -> Vec<Piece> {
    let mut start = 0;
    let mut pieces = Vec::new();
    for (end, opportunity) in unicode_linebreak::linebreaks(text) {
        pieces.push(piece(text, start..end, shaped, opportunity == BreakOpportunity::Mandatory));
        start = end;
    }
    pieces
}

/// The letters of one piece: what a reader sees as one character is never broken.
fn letters(text: &str, whole: &Piece, shaped: &Shaped) -> Vec<Piece> {
    let start = whole.bytes.start;
    let letters = text[whole.bytes.clone()].grapheme_indices(true).map(|(offset, letter)| {
        let bytes = start + offset..start + offset + letter.len();
        let is_last = whole.is_last && bytes.end == whole.bytes.end;
        piece(text, bytes, shaped, is_last)
    });
    letters.collect()
}

fn piece(text: &str, bytes: Range<usize>, shaped: &Shaped, is_last: bool) -> Piece {
    let word_end = bytes.start + text[bytes.clone()].trim_end().len();
    let (width, gap) = (shaped.width_of(bytes.start..word_end), shaped.width_of(word_end..bytes.end));
    Piece { bytes, width, gap, is_last }
}

/// The same number of lines with the longest as short as possible.
fn balance(pieces: &[Piece], limit: f32, lines: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let shorter = std::iter::successors(Some(limit), |limit| Some(limit * 0.98));
    shorter.take(50).map_while(|limit| fill(pieces, limit, lines.len())).last().unwrap_or(lines)
}

/// Fills lines of `limit` ems one after the other. `None` if a piece is wider than a line, or `rows` are too few.
fn fill<'a>(pieces: impl IntoIterator<Item = &'a Piece>, limit: f32, rows: usize) -> Option<Vec<Range<usize>>> {
    let mut lines: Vec<Range<usize>> = Vec::new();
    let mut is_open = false;
    let mut width = 0.0;
    for piece in pieces {
        if piece.width > limit {
            return None;
        }
        match lines.last_mut() {
            Some(line) if is_open && width + piece.width <= limit => line.end = piece.bytes.end,
            _ => {
                lines.push(piece.bytes.clone());
                width = 0.0;
            }
        }
        width += piece.width + piece.gap;
        is_open = !piece.is_last;
    }
    (lines.len() <= rows).then_some(lines)
}
