//! A tent for a table: an A4 sheet folded across its middle, the same panel on both sides.

use super::parts::{Block, Frame, Look, note, steps};
use super::{Colour, Item, Layout, Place, Role};
use crate::poster::Poster;
use crate::poster::code::{Code, QUIET_MODULES};
use crate::poster::font::Weight;

/// Width of the sheet and of a panel.
const WIDTH: f32 = 210.0;

/// Height of a panel.
const HEIGHT: f32 = 148.5;

/// From the edge of the panel to the coloured areas.
const EDGE: f32 = 9.0;

/// From the edge of the panel to text and code.
const MARGIN: f32 = 18.0;

/// Height of the area of the headline.
const BANNER: f32 = 25.0;

/// Side of the code.
const CODE: f32 = 58.0;

pub(super) fn lay_out(poster: &Poster<'_>, code: Code) -> Layout {
    let copies = vec![Place { x: 0.0, y: HEIGHT, is_turned: false }, Place { x: WIDTH, y: HEIGHT, is_turned: true }];
    Layout { width: WIDTH, height: 2.0 * HEIGHT, items: panel(poster, code), copies, marks: fold(poster.words.fold) }
}

fn panel(poster: &Poster<'_>, code: Code) -> Vec<Item> {
    let words = poster.words;
    let quiet = CODE / code.side() as f32 * QUIET_MODULES;
    let beside = MARGIN + CODE + quiet.max(10.0);
    let (whole, right) = (WIDTH - 2.0 * MARGIN, WIDTH - MARGIN - beside);
    let block = |text: &str, role, weight, colour, size, leading, width, height| {
        Block::new(text, Look { role, weight, colour, size, leading }, width, height)
    };
    let service = block(words.service, Role::Body, Weight::Regular, Colour::Paper, 3.8, 1.2, whole, 5.0);
    let headline = block(words.headline, Role::Headline, Weight::Bold, Colour::Paper, 11.5, 1.1, whole, 14.0);
    let venue = block(poster.venue, Role::Venue, Weight::Bold, Colour::Ink, 8.5, 1.15, right, 21.0);
    let area = poster.area.map(|area| block(area, Role::Body, Weight::Bold, Colour::Accent, 6.0, 1.2, right, 7.5));
    let by_hand = block(words.by_hand, Role::Body, Weight::Regular, Colour::Soft, 3.4, 1.3, whole, 5.0);
    let address = block(poster.short_address(), Role::Body, Weight::Bold, Colour::Ink, 5.0, 1.2, whole, 6.0);
    let privacy = block(words.privacy, Role::Body, Weight::Regular, Colour::Ink, 3.6, 1.35, whole, 15.0);

    let mut items = vec![
        Item::Area { x: EDGE, y: EDGE, width: WIDTH - 2.0 * EDGE, height: BANNER, radius: 3.0, colour: Colour::Accent },
        service.at(MARGIN, EDGE + 3.5),
        headline.at(MARGIN, EDGE + 8.5),
    ];
    let pad = 3.5;
    let note_height = privacy.height + 2.0 * pad;
    let note_top = HEIGHT - EDGE - note_height;

    let top = EDGE + BANNER + quiet.max(8.0);
    let mut y = top - 1.0;
    let venue_height = venue.height;
    items.push(venue.at(beside, y));
    y += venue_height;
    if let Some(area) = area {
        y += 1.0;
        let area_height = area.height;
        items.push(area.at(beside, y));
        y += area_height;
    }
    y += 4.0;
    items.push(Item::Code { x: MARGIN, y: top, side: CODE, code });
    let address_top = top + CODE + quiet;
    let column = Frame { x: beside, y, width: right, height: (address_top - 2.0 - y).min(42.0) };
    items.extend(steps(words.steps, 4.6, column));

    let by_hand_height = by_hand.height;
    items.push(by_hand.at(MARGIN, address_top));
    items.push(address.at(MARGIN, address_top + by_hand_height));

    let ground = Frame { x: EDGE, y: note_top, width: WIDTH - 2.0 * EDGE, height: note_height };
    items.extend(note(privacy, MARGIN, pad, ground));
    items
}

/// The fold: a dashed line with its word in a gap.
fn fold(word: &str) -> Vec<Item> {
    let look = Look { role: Role::Mark, weight: Weight::Regular, colour: Colour::Soft, size: 2.8, leading: 1.2 };
    let word = Block::new(word, look, WIDTH / 2.0, 3.5);
    let width = (WIDTH - word.width()) / 2.0 - 3.0;
    vec![
        Item::Dashes { x: 0.0, y: HEIGHT, width },
        Item::Dashes { x: WIDTH - width, y: HEIGHT, width },
        word.around(WIDTH / 2.0, HEIGHT),
    ]
}
