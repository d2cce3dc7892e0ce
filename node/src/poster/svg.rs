//! Draws a sheet as SVG.
//!
//! Each line carries the width that it has in the embedded font (`textLength`). A browser whose font is wider or
//! narrower fits the line into that width, so that text keeps within its frame with any font. Colours are attributes,
//! because a content security policy may forbid styles.

use std::io;

use quick_xml::Writer;
use quick_xml::events::BytesText;

use super::code::Code;
use super::font::Weight;
use super::layout::{Colour, Item, Layout, Line, Place, Text};
use super::{Poster, PosterError, Sheet};

/// Fonts of the usual systems, the one that the layout is measured with first.
const FONTS: &str = "Roboto, system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif";

type Xml = Writer<Vec<u8>>;

/// Writes `poster` on `sheet`.
pub(super) fn write(poster: &Poster<'_>, sheet: Sheet) -> Result<String, PosterError> {
    let layout = Layout::new(poster, sheet)?;
    let mut xml = Writer::new(Vec::new());
    document(&mut xml, poster, &layout).map_err(|source| PosterError::Svg { source })?;
    String::from_utf8(xml.into_inner())
        .map_err(|error| PosterError::Svg { source: io::Error::new(io::ErrorKind::InvalidData, error) })
}

fn document(xml: &mut Xml, poster: &Poster<'_>, layout: &Layout) -> io::Result<()> {
    let [width, height] = [layout.width, layout.height].map(number);
    xml.create_element("svg")
        .with_attribute(("xmlns", "http://www.w3.org/2000/svg"))
        .with_attribute(("width", format!("{width}mm").as_str()))
        .with_attribute(("height", format!("{height}mm").as_str()))
        .with_attribute(("viewBox", format!("0 0 {width} {height}").as_str()))
        .with_attribute(("lang", poster.language))
        .with_attribute(("xml:lang", poster.language))
        .with_attribute(("font-family", FONTS))
        .write_inner_content(|xml| {
            text_element(xml, "title", &poster.title())?;
            text_element(xml, "desc", &format!("{} {}", poster.words.code, poster.address))?;
            xml.create_element("rect")
                .with_attribute(("width", width.as_str()))
                .with_attribute(("height", height.as_str()))
                .with_attribute(("fill", hex(Colour::Paper).as_str()))
                .write_empty()?;
            for (index, place) in layout.copies.iter().enumerate() {
                group(xml, &layout.items, place, index > 0, poster)?;
            }
            if !layout.marks.is_empty() {
                group(xml, &layout.marks, &Place::SHEET, true, poster)?;
            }
            Ok(())
        })?;
    Ok(())
}

/// One copy of the items. Only the first is for screen readers.
fn group(xml: &mut Xml, items: &[Item], place: &Place, is_hidden: bool, poster: &Poster<'_>) -> io::Result<()> {
    let turn = if place.is_turned { " rotate(180)" } else { "" };
    let transform = format!("translate({} {}){turn}", number(place.x), number(place.y));
    let mut group = xml.create_element("g").with_attribute(("transform", transform.as_str()));
    if is_hidden {
        group = group.with_attribute(("aria-hidden", "true"));
    }
    group.write_inner_content(|xml| items.iter().try_for_each(|item| draw(xml, item, poster)))?;
    Ok(())
}

fn draw(xml: &mut Xml, item: &Item, poster: &Poster<'_>) -> io::Result<()> {
    match item {
        Item::Area { x, y, width, height, radius, colour } => {
            let [x, y, width, height, radius] = [*x, *y, *width, *height, *radius].map(number);
            xml.create_element("rect")
                .with_attribute(("x", x.as_str()))
                .with_attribute(("y", y.as_str()))
                .with_attribute(("width", width.as_str()))
                .with_attribute(("height", height.as_str()))
                .with_attribute(("rx", radius.as_str()))
                .with_attribute(("fill", hex(*colour).as_str()))
                .write_empty()?;
        }
        Item::Code { x, y, side, code } => {
            let scale = side / code.side() as f32;
            let transform = format!("translate({} {}) scale({scale})", number(*x), number(*y));
            xml.create_element("g").with_attribute(("role", "img")).write_inner_content(|xml| {
                text_element(xml, "title", poster.words.code)?;
                xml.create_element("path")
                    .with_attribute(("transform", transform.as_str()))
                    .with_attribute(("shape-rendering", "crispEdges"))
                    .with_attribute(("d", modules(code).as_str()))
                    .write_empty()?;
                Ok(())
            })?;
        }
        Item::Dashes { x, y, width } => {
            xml.create_element("path")
                .with_attribute(("d", format!("M{} {}h{}", number(*x), number(*y), number(*width)).as_str()))
                .with_attribute(("stroke", hex(Colour::Soft).as_str()))
                .with_attribute(("stroke-width", number(Item::DASH_WIDTH).as_str()))
                .with_attribute(("stroke-dasharray", Item::DASHES.map(number).join(" ").as_str()))
                .write_empty()?;
        }
        Item::Text(text) => paragraph(xml, text)?,
    }
    Ok(())
}

/// The dark modules as one path, so that no hair lines appear between them.
fn modules(code: &Code) -> String {
    let runs = code.runs();
    runs.iter().map(|run| format!("M{} {}h{length}v1h-{length}z", run.x, run.y, length = run.length)).collect()
}

fn paragraph(xml: &mut Xml, text: &Text) -> io::Result<()> {
    let mut element = xml
        .create_element("text")
        .with_attribute(("font-size", number(text.size).as_str()))
        .with_attribute(("fill", hex(text.colour).as_str()));
    if text.weight == Weight::Bold {
        element = element.with_attribute(("font-weight", "700"));
    }
    if text.is_centred {
        element = element.with_attribute(("text-anchor", "middle"));
    }
    let last = text.lines.len().saturating_sub(1);
    element.write_inner_content(|xml| {
        for (index, line) in text.lines.iter().enumerate() {
            span(xml, text, line)?;
            if index < last {
                // A reader of the text hears two words, not one.
                xml.write_event(quick_xml::events::Event::Text(BytesText::new(" ")))?;
            }
        }
        Ok(())
    })?;
    Ok(())
}

fn span(xml: &mut Xml, text: &Text, line: &Line) -> io::Result<()> {
    let mut span = xml
        .create_element("tspan")
        .with_attribute(("x", number(text.x).as_str()))
        .with_attribute(("y", number(line.y).as_str()));
    // What the embedded font lacks has another width in the reader's font, which must not be stretched.
    if line.is_covered {
        span = span
            .with_attribute(("textLength", number(line.width).as_str()))
            .with_attribute(("lengthAdjust", "spacingAndGlyphs"));
    }
    span.write_text_content(BytesText::new(&line.text))?;
    Ok(())
}

fn text_element(xml: &mut Xml, name: &str, text: &str) -> io::Result<()> {
    xml.create_element(name).write_text_content(BytesText::new(text))?;
    Ok(())
}

fn hex(colour: Colour) -> String {
    let [red, green, blue] = colour.rgb();
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// A length to the thousandth.
fn number(length: f32) -> String {
    ((f64::from(length) * 1000.0).round() / 1000.0).to_string()
}
