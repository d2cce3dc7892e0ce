//! The embedded font, and the shaping of text with it.
//!
//! Both formats measure with this font, so that an SVG breaks its lines where the PDF does. Text is shaped, not only
//! looked up, because kerning changes widths and marks without a composed form are placed over their letters.
//!
//! `harfrust` was chosen over `rustybuzz`, which krilla's own text drawing uses: it follows rustybuzz in the same
//! project, and it reads fonts with the crate that krilla uses anyway.
//!
//! # Invariants
//! - Every shaped character has a glyph: a character that the font lacks has that of U+FFFD.
//! - Glyphs are in the order of the characters, because no covered script is written from right to left.

use std::ops::Range;
use std::sync::LazyLock;

use harfrust::{Direction, FontRef, ShapeOptions, ShaperData, UnicodeBuffer};

static REGULAR: LazyLock<Face> = LazyLock::new(|| Face::new(include_bytes!("fonts/Roboto-Regular.ttf")));
static BOLD: LazyLock<Face> = LazyLock::new(|| Face::new(include_bytes!("fonts/Roboto-Bold.ttf")));

/// Room for a character that the font lacks, in ems: the widest that a reader's own font may need (an emoji).
const UNKNOWN_ADVANCE: f32 = 1.25;

/// Units of one em, to which glyphs are scaled when they are shaped.
const EM: i32 = 1 << 14;

/// A cut of the font.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// 400.
    Regular,
    /// 700.
    Bold,
}

/// A loaded cut.
pub(super) struct Face {
    pdf: krilla::text::Font,
    font: FontRef<'static>,
    shaper: ShaperData,
    /// The glyph of U+FFFD and its advance in ems.
    substitute: (u32, f32),
}

/// A glyph of a shaped text. Lengths are in ems.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Glyph {
    /// Its number in the font.
    pub(super) id: u32,
    /// The bytes of the text that it shows.
    pub(super) bytes: Range<usize>,
    /// How far the next glyph is.
    pub(super) advance: f32,
    /// The room that a line keeps for it: more than the advance if the font lacks the character.
    room: f32,
    /// Where it is drawn, to the right and upwards.
    pub(super) offset: (f32, f32),
}

/// A shaped text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shaped {
    /// The glyphs, in the order of the text.
    pub(super) glyphs: Vec<Glyph>,
    /// Whether the font has every character.
    pub(super) is_covered: bool,
}

impl Shaped {
    /// The room that the text needs, in ems.
    pub(super) fn width(&self) -> f32 {
        self.glyphs.iter().map(|glyph| glyph.room).sum()
    }

    /// The room that these bytes of the text need, in ems.
    pub(super) fn width_of(&self, bytes: Range<usize>) -> f32 {
        let index = |byte: usize| self.glyphs.partition_point(|glyph| glyph.bytes.start < byte);
        self.glyphs[index(bytes.start)..index(bytes.end)].iter().map(|glyph| glyph.room).sum()
    }
}

impl Face {
    /// The face of `weight`.
    pub(super) fn of(weight: Weight) -> &'static Face {
        match weight {
            Weight::Regular => &REGULAR,
            Weight::Bold => &BOLD,
        }
    }

    fn new(data: &'static [u8]) -> Face {
        let font = FontRef::new(data).expect("the embedded font is a font: a test loads it");
        let pdf = krilla::text::Font::new(data.into(), 0).expect("the embedded font is a font: a test loads it");
        let mut face = Face { pdf, shaper: ShaperData::new(&font), font, substitute: (0, UNKNOWN_ADVANCE) };
        if let [glyph] = face.shape("\u{FFFD}").glyphs.as_slice() {
            face.substitute = (glyph.id, glyph.advance);
        }
        face
    }

    /// The face as a PDF embeds it. A copy is cheap.
    pub(super) fn font(&self) -> krilla::text::Font {
        self.pdf.clone()
    }

    /// Whether the face has every character of `text`.
    pub(super) fn covers(&self, text: &str) -> bool {
        self.shape(text).is_covered
    }

    /// Shapes `text`, one line.
    pub(super) fn shape(&self, text: &str) -> Shaped {
        let mut buffer = UnicodeBuffer::new();
        buffer.push_str(text);
        buffer.guess_segment_properties();
        buffer.set_direction(Direction::LeftToRight);
        let shaper = self.shaper.shaper(&self.font).build();
        let output = shaper.shape(buffer, ShapeOptions::new().scale(Some(EM)));
        let ems = |units: i32| units as f32 / EM as f32;

        let starts: Vec<usize> = output.glyph_infos().iter().map(|info| info.cluster as usize).collect();
        let mut shaped = Shaped { glyphs: Vec::with_capacity(starts.len()), is_covered: true };
        for (index, (info, position)) in output.glyph_infos().iter().zip(output.glyph_positions()).enumerate() {
            let start = starts[index];
            let end = starts[index..].iter().copied().find(|&next| next > start).unwrap_or(text.len());
            let is_covered = info.glyph_id != 0;
            let advance = ems(position.x_advance);
            shaped.is_covered &= is_covered;
            shaped.glyphs.push(if is_covered {
                let offset = (ems(position.x_offset), ems(position.y_offset));
                Glyph { id: info.glyph_id, bytes: start..end, advance, room: advance, offset }
            } else {
                let (id, advance) = self.substitute;
                Glyph { id, bytes: start..end, advance, room: UNKNOWN_ADVANCE, offset: (0.0, 0.0) }
            });
        }
        shaped
    }
}
