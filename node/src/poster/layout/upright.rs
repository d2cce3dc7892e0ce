//! A4 and A5 upright: the headline on the accent, the venue, the code with the steps beside it, the note.
//!
//! Both have the same design. It is drawn for A4 and scaled by the width.

use super::parts::{Block, Frame, Look, note, steps};
use super::{Colour, Item, Layout, Place, Role};
use crate::poster::Poster;
use crate::poster::code::{Code, QUIET_MODULES};
use crate::poster::font::Weight;

/// Width of the design.
const WIDTH: f32 = 210.0;

/// From the edge of the sheet to the coloured areas: every printer reaches this far.
const EDGE: f32 = 12.0;

/// From the edge of the sheet to text and code.
const MARGIN: f32 = 22.0;

/// Height of the area of the headline.
const BANNER: f32 = 49.0;

/// Largest side of the code. Long names and addresses make it smaller, but their frames leave it 80 mm on A4 and 60 mm
/// on A5.
const CODE: f32 = 94.0;

pub(super) fn lay_out(poster: &Poster<'_>, code: Code, width: f32, height: f32) -> Layout {
    let words = poster.words;
    let mm = |design: f32| design * width / WIDTH;
    let (edge, left, banner) = (mm(EDGE), mm(MARGIN), mm(BANNER));
    let block = |text: &str, role, weight, colour, size, leading, height| {
        let look = Look { role, weight, colour, size: mm(size), leading };
        Block::new(text, look, width - 2.0 * left, mm(height))
    };
    let service = block(words.service, Role::Body, Weight::Regular, Colour::Paper, 6.0, 1.2, 8.0);
    let headline = block(words.headline, Role::Headline, Weight::Bold, Colour::Paper, 21.0, 1.1, 24.0);
    let venue = block(poster.venue, Role::Venue, Weight::Bold, Colour::Ink, 13.5, 1.15, 31.5);
    let area = poster.area.map(|area| block(area, Role::Body, Weight::Bold, Colour::Accent, 8.5, 1.2, 11.0));
    let by_hand = block(words.by_hand, Role::Body, Weight::Regular, Colour::Soft, 4.7, 1.35, 7.0);
    let address = block(poster.short_address(), Role::Body, Weight::Bold, Colour::Ink, 7.0, 1.25, 12.0);
    let privacy = block(words.privacy, Role::Body, Weight::Regular, Colour::Ink, 4.7, 1.4, 22.0);

    // The banner and the names are set from above, the note from below.
    let mut items = vec![
        Item::Area {
            x: edge,
            y: edge,
            width: width - 2.0 * edge,
            height: banner,
            radius: mm(4.0),
            colour: Colour::Accent,
        },
        service.at(left, edge + mm(8.5)),
        headline.at(left, edge + mm(17.5)),
    ];
    let mut y = edge + banner + mm(10.0);
    let venue_height = venue.height;
    items.push(venue.at(left, y));
    y += venue_height;
    if let Some(area) = area {
        y += mm(2.0);
        let area_height = area.height;
        items.push(area.at(left, y));
        y += area_height;
    }
    let pad = mm(6.0);
    let note_height = privacy.height + 2.0 * pad;
    let note_top = height - edge - note_height;

    // The code with the steps beside it and the address below it shares out what is left.
    let room = note_top - mm(6.0) - address.height - by_hand.height - y;
    let quiet = QUIET_MODULES / code.side() as f32;
    let side = mm(CODE).min(room / (1.0 + 2.0 * quiet));
    let quiet = side * quiet;
    y += quiet + (room - side - 2.0 * quiet) * 0.4;
    let beside = left + side + quiet.max(mm(13.0));
    items.push(Item::Code { x: left, y, side, code });
    let column = Frame { x: beside, y, width: width - left - beside, height: side };
    items.extend(steps(words.steps, mm(6.6), column));
    y += side + quiet;
    let by_hand_height = by_hand.height;
    items.push(by_hand.at(left, y));
    items.push(address.at(left, y + by_hand_height));

    let ground = Frame { x: edge, y: note_top, width: width - 2.0 * edge, height: note_height };
    items.extend(note(privacy, left, pad, ground));
    Layout { width, height, items, copies: vec![Place::SHEET], marks: Vec::new() }
}
