//! What is drawn where. All lengths are millimetres from the upper left corner, downwards.
//!
//! # Invariants
//! - Items come in the order in which they are read.
//! - Nothing else is drawn in the quiet zone of the QR code.

mod parts;
mod tent;
mod upright;

use super::code::Code;
use super::font::Weight;
use super::{Poster, PosterError, Sheet};

/// A sheet with everything on it.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Width of the sheet.
    pub(super) width: f32,
    /// Height of the sheet.
    pub(super) height: f32,
    /// One copy of the poster.
    pub(super) items: Vec<Item>,
    /// Where the copies are. The first one is the one that is read aloud.
    pub(super) copies: Vec<Place>,
    /// What belongs to the sheet and not to a copy: the fold.
    pub(super) marks: Vec<Item>,
}

/// Where a copy is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Where its corner comes to lie, to the right.
    pub(super) x: f32,
    /// And downwards.
    pub(super) y: f32,
    /// Whether the copy is turned by 180 degrees around that corner.
    pub(super) is_turned: bool,
}

/// What the colours are for, as on the pages of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    /// Text and the QR code: black, because a printer mixes every other dark colour.
    Ink,
    /// Text that may be overlooked.
    Soft,
    /// The paper, on which the code must lie, and text on the accent.
    Paper,
    /// The accent.
    Accent,
    /// The ground of a note.
    Ground,
}

impl Colour {
    /// Red, green and blue.
    pub(super) fn rgb(self) -> [u8; 3] {
        match self {
            Colour::Ink => [0, 0, 0],
            Colour::Soft => [0x4d, 0x4d, 0x4d],
            Colour::Paper => [0xff, 0xff, 0xff],
            Colour::Accent => [0x0b, 0x5f, 0x66],
            Colour::Ground => [0xe6, 0xf0, 0xef],
        }
    }
}

/// One thing to draw.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// A filled rectangle with round corners.
    Area {
        /// Left edge.
        x: f32,
        /// Upper edge.
        y: f32,
        /// Width.
        width: f32,
        /// Height.
        height: f32,
        /// Radius of the corners.
        radius: f32,
        /// Its colour.
        colour: Colour,
    },
    /// The QR code, without its quiet zone.
    Code {
        /// Left edge.
        x: f32,
        /// Upper edge.
        y: f32,
        /// Width and height.
        side: f32,
        /// Its modules.
        code: Code,
    },
    /// A dashed horizontal line.
    Dashes {
        /// Left end.
        x: f32,
        /// Its height.
        y: f32,
        /// Length.
        width: f32,
    },
    /// Text.
    Text(Text),
}

/// One paragraph.
#[derive(Clone, Debug)]
pub(super) struct Text {
    /// What it is.
    pub(super) role: Role,
    /// The cut.
    pub(super) weight: Weight,
    /// Size of the font.
    pub(super) size: f32,
    /// Its colour.
    pub(super) colour: Colour,
    /// Where its lines begin, or their middle.
    pub(super) x: f32,
    /// Whether `x` is the middle.
    pub(super) is_centred: bool,
    /// Its lines.
    pub(super) lines: Vec<Line>,
}

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Its baseline.
    pub(super) y: f32,
    /// Its text.
    pub(super) text: String,
    /// Its width in the embedded font, or the room that it needs if the font lacks a character.
    pub(super) width: f32,
    /// Whether `width` is exact.
    pub(super) is_covered: bool,
}

/// What a paragraph is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The headline.
    Headline,
    /// The name of the venue.
    Venue,
    /// The number of a step.
    Number,
    /// A step.
    Step,
    /// Any other text.
    Body,
    /// Text for those who handle the paper: not read aloud.
    Mark,
}

impl Layout {
    /// Lays `poster` out on `sheet`.
    pub(super) fn new(poster: &Poster<'_>, sheet: Sheet) -> Result<Layout, PosterError> {
        let code = Code::new(poster.address)?;
        Ok(match sheet {
            Sheet::A4 => upright::lay_out(poster, code, 210.0, 297.0),
            Sheet::A5 => upright::lay_out(poster, code, 148.0, 210.0),
            Sheet::Tent => tent::lay_out(poster, code),
        })
    }
}

impl Place {
    /// The sheet itself.
    pub(super) const SHEET: Place = Place { x: 0.0, y: 0.0, is_turned: false };
}

impl Item {
    /// Width of a dashed line.
    pub(super) const DASH_WIDTH: f32 = 0.25;
    /// Length of a dash and of the gap after it.
    pub(super) const DASHES: [f32; 2] = [2.0, 2.0];
}

impl Text {
    /// Where `line` begins.
    pub(super) fn left(&self, line: &Line) -> f32 {
        if self.is_centred { self.x - line.width / 2.0 } else { self.x }
    }
}
