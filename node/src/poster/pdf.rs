//! Draws sheets as one PDF: tagged, with title and language, checked against PDF/UA-1 by krilla.

mod tags;

use krilla::color::{luma, rgb};
use krilla::configure::{Accessibility, ConfigurationBuilder};
use krilla::destination::XyzDestination;
use krilla::error::KrillaError;
use krilla::geom::{Path, PathBuilder, Point, Rect, Transform};
use krilla::metadata::Metadata;
use krilla::num::NormalizedF32;
use krilla::outline::{Outline, OutlineNode};
use krilla::page::PageSettings;
use krilla::paint::{Fill, Paint, Stroke, StrokeDash};
use krilla::surface::Surface;
use krilla::tagging::TagTree;
use krilla::text::{GlyphId, KrillaGlyph};
use krilla::{Document, SerializeSettings};

use self::tags::Tags;
use super::code::Code;
use super::font::Face;
use super::layout::{Colour, Item, Layout, Place, Text};
use super::{Poster, PosterError, Sheet};

/// Points of a PDF in a millimetre.
const POINTS: f32 = 72.0 / 25.4;

/// How far the handles of a Bézier curve are from its ends when it draws a quarter of a circle of radius 1.
const QUARTER: f32 = 0.552_285;

/// Writes all `posters` on `sheet`, a page for each.
pub(super) fn write(posters: &[Poster<'_>], sheet: Sheet) -> Result<Vec<u8>, PosterError> {
    let Some(first) = posters.first() else { return Err(PosterError::Empty) };
    let layouts = posters.iter().map(|poster| Layout::new(poster, sheet)).collect::<Result<Vec<_>, _>>()?;
    document(first, posters, &layouts).map_err(|source| PosterError::Pdf { source })
}

fn document(first: &Poster<'_>, posters: &[Poster<'_>], layouts: &[Layout]) -> Result<Vec<u8>, KrillaError> {
    let configuration = ConfigurationBuilder::new()
        .with_accessibility_validator(Accessibility::UA1)
        .finish()
        .expect("one standard does not contradict itself");
    let mut document = Document::new_with(SerializeSettings { configuration, ..SerializeSettings::default() });
    let mut tree = TagTree::new();
    let mut outline = Outline::new();
    for (index, (poster, layout)) in posters.iter().zip(layouts).enumerate() {
        let size = PageSettings::from_wh(layout.width * POINTS, layout.height * POINTS).unwrap_or_default();
        let mut page = document.start_page_with(size);
        let mut surface = page.surface();
        let mut tags = Tags::new(index, poster);
        for (copy, place) in layout.copies.iter().enumerate() {
            surface.push_transform(&transform(place));
            for item in &layout.items {
                let tag = if copy == 0 { Tags::content(item) } else { Tags::ornament() };
                let id = surface.start_tagged(tag);
                draw(&mut surface, item);
                surface.end_tagged();
                if copy == 0 {
                    tags.add(item, place, id);
                }
            }
            surface.pop();
        }
        surface.start_tagged(Tags::ornament());
        layout.marks.iter().for_each(|mark| draw(&mut surface, mark));
        surface.end_tagged();
        surface.finish();
        page.finish();
        tree.push(tags.finish());
        outline.push_child(OutlineNode::new(poster.title(), XyzDestination::new(index, Point::from_xy(0.0, 0.0))));
    }
    document.set_metadata(Metadata::new().title(first.title()).language(first.language.to_owned()));
    document.set_tag_tree(tree);
    document.set_outline(outline);
    document.finish()
}

/// From the lengths of a copy to points of the page.
fn transform(place: &Place) -> Transform {
    let turn = if place.is_turned { -1.0 } else { 1.0 };
    Transform::from_row(turn, 0.0, 0.0, turn, place.x * POINTS, place.y * POINTS)
}

fn draw(surface: &mut Surface<'_>, item: &Item) {
    match item {
        Item::Area { x, y, width, height, radius, colour } => {
            surface.set_fill(Some(fill(*colour)));
            if let Some(path) = round(*x, *y, *width, *height, *radius) {
                surface.draw_path(&path);
            }
        }
        Item::Code { x, y, side, code } => {
            surface.set_fill(Some(fill(Colour::Ink)));
            if let Some(path) = modules(code, *x, *y, side / code.side() as f32) {
                surface.draw_path(&path);
            }
        }
        Item::Dashes { x, y, width } => {
            surface.set_fill(None);
            surface.set_stroke(Some(Stroke {
                paint: paint(Colour::Soft),
                width: Item::DASH_WIDTH * POINTS,
                dash: Some(StrokeDash { array: Item::DASHES.map(|length| length * POINTS).to_vec(), offset: 0.0 }),
                ..Stroke::default()
            }));
            let mut path = PathBuilder::new();
            path.move_to(x * POINTS, y * POINTS);
            path.line_to((x + width) * POINTS, y * POINTS);
            if let Some(path) = path.finish() {
                surface.draw_path(&path);
            }
            surface.set_stroke(None);
        }
        Item::Text(text) => paragraph(surface, text),
    }
}

fn paragraph(surface: &mut Surface<'_>, text: &Text) {
    surface.set_fill(Some(fill(text.colour)));
    let face = Face::of(text.weight);
    let last = text.lines.len().saturating_sub(1);
    for (index, line) in text.lines.iter().enumerate() {
        let start = Point::from_xy(text.left(line) * POINTS, line.y * POINTS);
        // A reader of the text hears two words, not one.
        let words = if index < last { format!("{} ", line.text) } else { line.text.clone() };
        let glyphs: Vec<KrillaGlyph> = face
            .shape(&words)
            .glyphs
            .into_iter()
            .map(|glyph| {
                let (x, y) = glyph.offset;
                KrillaGlyph::new(GlyphId::new(glyph.id), glyph.advance, x, y, 0.0, glyph.bytes, None)
            })
            .collect();
        surface.draw_glyphs(start, &glyphs, face.font(), &words, text.size * POINTS, false);
    }
}

/// The dark modules as one path, so that no hair lines appear between them.
fn modules(code: &Code, x: f32, y: f32, module: f32) -> Option<Path> {
    let mut path = PathBuilder::new();
    for run in code.runs() {
        let (left, top) = ((x + run.x as f32 * module) * POINTS, (y + run.y as f32 * module) * POINTS);
        let rect = Rect::from_xywh(left, top, run.length as f32 * module * POINTS, module * POINTS)?;
        path.push_rect(rect);
    }
    path.finish()
}

/// A rectangle with round corners.
fn round(x: f32, y: f32, width: f32, height: f32, radius: f32) -> Option<Path> {
    let [left, top, right, bottom, radius] = [x, y, x + width, y + height, radius].map(|length| length * POINTS);
    let inset = radius * (1.0 - QUARTER);
    let mut path = PathBuilder::new();
    path.move_to(left + radius, top);
    path.line_to(right - radius, top);
    path.cubic_to(right - inset, top, right, top + inset, right, top + radius);
    path.line_to(right, bottom - radius);
    path.cubic_to(right, bottom - inset, right - inset, bottom, right - radius, bottom);
    path.line_to(left + radius, bottom);
    path.cubic_to(left + inset, bottom, left, bottom - inset, left, bottom - radius);
    path.line_to(left, top + radius);
    path.cubic_to(left, top + inset, left + inset, top, left + radius, top);
    path.close();
    path.finish()
}

fn fill(colour: Colour) -> Fill {
    Fill { paint: paint(colour), opacity: NormalizedF32::ONE, ..Fill::default() }
}

/// Greys as greys: a printer prints them with black alone.
fn paint(colour: Colour) -> Paint {
    match colour.rgb() {
        [red, green, blue] if red == green && green == blue => luma::Color::new(red).into(),
        [red, green, blue] => rgb::Color::new(red, green, blue).into(),
    }
}
