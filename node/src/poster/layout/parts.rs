//! The parts that all sheets share: paragraphs, the numbered steps, the note.

use super::{Colour, Item, Line, Role, Text};
use crate::poster::font::{Face, Weight};
use crate::poster::text::{Style, fit};

/// The middle of a line's capital letters is this far above its baseline, in sizes.
const CAPITALS_MIDDLE: f32 = 0.356;

/// From one baseline to the next within a step, in sizes.
const STEP_LEADING: f32 = 1.25;

/// How a paragraph looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// What it is.
    pub(super) role: Role,
    /// The cut.
    pub(super) weight: Weight,
    /// Its colour.
    pub(super) colour: Colour,
    /// The largest size.
    pub(super) size: f32,
    /// From one baseline to the next, in sizes.
    pub(super) leading: f32,
}

/// A paragraph that has no place yet.
#[derive(Clone, Debug)]
pub(super) struct Block {
    text: Text,
    /// Its height.
    pub(super) height: f32,
}

/// A rectangle that parts must not leave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// Left edge.
    pub(super) x: f32,
    /// Upper edge.
    pub(super) y: f32,
    /// Width.
    pub(super) width: f32,
    /// Height.
    pub(super) height: f32,
}

impl Block {
    /// Sets `text` so that it fits into `width` and `height`.
    pub(super) fn new(text: &str, look: Look, width: f32, height: f32) -> Block {
        let Look { role, weight, colour, size, leading } = look;
        let style = Style { weight, largest: size, leading };
        let fitted = fit(&printable(text), style, width, height);
        let face = Face::of(weight);
        let lines = fitted.lines.into_iter().enumerate().map(|(row, text)| {
            let shaped = face.shape(&text);
            Line {
                y: fitted.size * ((row as f32 + 0.5) * leading + CAPITALS_MIDDLE),
                width: shaped.width() * fitted.size,
                is_covered: shaped.is_covered,
                text,
            }
        });
        let lines = lines.collect();
        let text = Text { role, weight, size: fitted.size, colour, x: 0.0, is_centred: false, lines };
        Block { text, height: fitted.height }
    }

    /// The paragraph with its upper left corner at `x` and `y`.
    pub(super) fn at(mut self, x: f32, y: f32) -> Item {
        self.text.x = x;
        for line in &mut self.text.lines {
            line.y += y;
        }
        Item::Text(self.text)
    }

    /// The paragraph around the point `x`, `y`.
    pub(super) fn around(mut self, x: f32, y: f32) -> Item {
        self.text.is_centred = true;
        let y = y - self.height / 2.0;
        self.at(x, y)
    }

    /// Width of the longest line.
    pub(super) fn width(&self) -> f32 {
        self.text.lines.iter().map(|line| line.width).fold(0.0, f32::max)
    }
}

/// Three numbered steps below each other, spread over the height of `frame`.
pub(super) fn steps(steps: [&str; 3], size: f32, frame: Frame) -> Vec<Item> {
    let disc = size * 1.75;
    let indent = disc + size * 0.7;
    let pitch = frame.height / steps.len() as f32;
    // The disc is taller than a line: the text begins this much lower.
    let lead = (disc - size * STEP_LEADING) / 2.0;
    let step_look =
        Look { role: Role::Step, weight: Weight::Regular, colour: Colour::Ink, size, leading: STEP_LEADING };
    let number_look = Look { role: Role::Number, weight: Weight::Bold, colour: Colour::Paper, size, leading: 1.0 };
    let mut items = Vec::new();
    for (row, step) in steps.into_iter().enumerate() {
        let top = frame.y + row as f32 * pitch;
        let (x, y) = (frame.x + disc / 2.0, top + disc / 2.0);
        items.push(Item::Area {
            x: frame.x,
            y: top,
            width: disc,
            height: disc,
            radius: disc / 2.0,
            colour: Colour::Accent,
        });
        items.push(Block::new(&(row + 1).to_string(), number_look, disc, disc).around(x, y));
        items.push(Block::new(step, step_look, frame.width - indent, pitch - lead).at(frame.x + indent, top + lead));
    }
    items
}

/// A note on its ground: `text` with `pad` around it, its left bar at the edge of `frame`.
pub(super) fn note(text: Block, x: f32, pad: f32, frame: Frame) -> [Item; 3] {
    let Frame { x: left, y, width, height } = frame;
    let bar = pad / 2.5;
    [
        Item::Area { x: left, y, width, height, radius: 0.0, colour: Colour::Ground },
        Item::Area { x: left, y, width: bar, height, radius: 0.0, colour: Colour::Accent },
        text.at(x, y + pad),
    ]
}

/// `text` without the characters that neither XML nor PDF can hold. The registry refuses them in names.
fn printable(text: &str) -> String {
    let is_forbidden = |c: char| matches!(c, '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}') || (c.is_control() && c != '\n');
    text.replace(is_forbidden, " ")
}
