//! A sheet on which plots are drawn. Coordinates are device units: half a pixel of the page, so that slanted lines
//! look even although plotters rounds to whole units. [`px`] makes them from pixels.

use std::io;

use minijinja::HtmlEscape;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, DashedPathElement, PathElement, Polygon, Rectangle};
use plotters::prelude::SVGBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, FontTransform, IntoFont, RGBColor, ShapeStyle, TextStyle};

use super::error::ReportError;
use super::style::{Fill, Glyph, INK, Look, MUTED, PAPER};

/// The width of every plot, in pixels.
pub(super) const WIDTH: i32 = 900;

/// The result of drawing something.
pub(super) type Drawn<T = ()> = Result<T, DrawingAreaErrorKind<io::Error>>;

/// A point of the sheet.
pub(super) type Spot = (i32, i32);

const SCALE: i32 = 2;

/// Device units of so many pixels.
pub(super) const fn px(pixels: i32) -> i32 {
    pixels * SCALE
}

/// A rectangle of the sheet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) left: i32,
    pub(super) top: i32,
    pub(super) right: i32,
    pub(super) bottom: i32,
}

impl Area {
    /// From pixels.
    pub(super) const fn of(left: i32, top: i32, right: i32, bottom: i32) -> Self {
        Self { left: px(left), top: px(top), right: px(right), bottom: px(bottom) }
    }
}

/// How text is set.
#[derive(Clone, Copy)]
pub(super) struct Type {
    pub(super) size: i32,
    pub(super) bold: bool,
    pub(super) color: RGBColor,
    pub(super) h: HPos,
    pub(super) v: VPos,
    pub(super) upwards: bool,
}

/// Plain text that starts at its point and is centred on it in height.
pub(super) const PLAIN: Type =
    Type { size: 12, bold: false, color: INK, h: HPos::Left, v: VPos::Center, upwards: false };
/// Remarks.
pub(super) const NOTE: Type = Type { size: 11, color: MUTED, ..PLAIN };

/// The width of a glyph as a share of its size; fonts differ, and this is that of a wide one.
const GLYPH: f64 = 0.54;

/// How wide text is, about.
pub(super) fn text_width(text: &str, size: i32) -> i32 {
    (text.chars().count() as f64 * f64::from(px(size)) * GLYPH).ceil() as i32
}

/// The text, shortened if it does not fit.
pub(super) fn fit(text: &str, width: i32, size: i32) -> String {
    if text_width(text, size) <= width {
        return text.to_owned();
    }
    let room = (f64::from(width) / (f64::from(px(size)) * GLYPH)).floor().max(2.0) as usize - 1;
    text.chars().take(room).chain(['…']).collect()
}

/// The sheet of one plot.
pub(super) struct Canvas<'a> {
    pub(super) area: DrawingArea<SVGBackend<'a>, Shift>,
}

/// Draws a plot and makes it a picture that says in words what it shows.
pub(super) fn sheet(
    plot: &'static str,
    words: (&str, &str),
    height: i32,
    draw: impl FnOnce(&Canvas) -> Drawn,
) -> Result<String, ReportError> {
    let mut body = String::new();
    let drawn = {
        let canvas = Canvas {
            area: SVGBackend::with_string(&mut body, (px(WIDTH) as u32, px(height) as u32)).into_drawing_area(),
        };
        canvas.area.fill(&PAPER).and_then(|()| draw(&canvas)).and_then(|()| canvas.area.present())
    };
    drawn.map_err(|source| ReportError::Draw { plot, source })?;
    // plotters knows no description, so its opening tag gives way to one that has it.
    let inner = body.split_once('\n').map_or("", |(_, inner)| inner);
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {} {}\" role=\"img\" aria-labelledby=\"{plot}-title {plot}-about\">\n\
         <title id=\"{plot}-title\">{}</title>\n<desc id=\"{plot}-about\">{}</desc>\n{inner}",
        px(WIDTH),
        px(height),
        HtmlEscape(words.0),
        HtmlEscape(words.1),
    ))
}

fn stroke(color: RGBColor, width: u32) -> ShapeStyle {
    ShapeStyle { color: color.to_rgba(), filled: false, stroke_width: width * SCALE as u32 }
}

fn solid(color: RGBColor) -> ShapeStyle {
    ShapeStyle { color: color.to_rgba(), filled: true, stroke_width: 0 }
}

impl Canvas<'_> {
    /// Sets a line of text.
    pub(super) fn text(&self, text: &str, at: Spot, how: Type) -> Drawn {
        // plotters divides by this to get from a font's line height to its size.
        let size = f64::from(px(how.size)) * 1.24;
        let font = ("sans-serif", size).into_font();
        let font = if how.bold { font.style(FontStyle::Bold) } else { font };
        let style: TextStyle = font.color(&how.color).pos(Pos::new(how.h, how.v));
        let style = if how.upwards { style.transform(FontTransform::Rotate270) } else { style };
        self.area.draw_text(text, &style, at)
    }

    /// Draws a line through points.
    pub(super) fn path(&self, points: Vec<Spot>, look: Look) -> Drawn {
        match look.dash {
            _ if points.len() < 2 => Ok(()),
            None => self.area.draw(&PathElement::new(points, stroke(look.color, look.width))),
            Some((dash, gap)) => {
                self.area.draw(&DashedPathElement::new(points, px(dash), px(gap), stroke(look.color, look.width)))
            }
        }
    }

    /// Draws a thin straight line.
    pub(super) fn line(&self, from: Spot, to: Spot, color: RGBColor) -> Drawn {
        self.area.draw(&PathElement::new(vec![from, to], stroke(color, 1)))
    }

    /// Draws the outline of a rectangle.
    pub(super) fn outline(&self, area: Area, color: RGBColor) -> Drawn {
        let Area { left, top, right, bottom } = area;
        let corners = vec![(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
        self.area.draw(&PathElement::new(corners, stroke(color, 1)))
    }

    /// Fills a rectangle.
    pub(super) fn block(&self, area: Area, color: RGBColor) -> Drawn {
        self.area.draw(&Rectangle::new([(area.left, area.top), (area.right, area.bottom)], solid(color)))
    }

    /// Fills a polygon.
    pub(super) fn polygon(&self, corners: Vec<Spot>, color: RGBColor) -> Drawn {
        if corners.len() < 3 { Ok(()) } else { self.area.draw(&Polygon::new(corners, solid(color))) }
    }

    /// Hatches a rectangle with slanted lines; those of neighbouring rectangles meet.
    pub(super) fn hatch(&self, area: Area, gap: i32, color: RGBColor) -> Drawn {
        self.slants(area, gap, color, false)
    }

    fn slants(&self, area: Area, gap: i32, color: RGBColor, falling: bool) -> Drawn {
        let Area { left, top, right, bottom } = area;
        let gap = px(gap);
        // A rising line has x + y = c. A falling one is its mirror image in the middle of the rectangle.
        let mirror = |x: i32| if falling { left + right - x } else { x };
        let mut c = (left + top).div_euclid(gap) * gap + gap;
        while c < right + bottom {
            let start = if c - bottom >= left { (c - bottom, bottom) } else { (left, c - left) };
            let end = if c - top <= right { (c - top, top) } else { (right, c - right) };
            let style = ShapeStyle { stroke_width: 2, ..stroke(color, 1) };
            self.area.draw(&PathElement::new(vec![(mirror(start.0), start.1), (mirror(end.0), end.1)], style))?;
            c += gap;
        }
        Ok(())
    }

    /// Fills a bar in one of the ways that are told apart without colour.
    pub(super) fn bar(&self, area: Area, how: Fill, color: RGBColor) -> Drawn {
        if area.right <= area.left || area.bottom <= area.top {
            return Ok(());
        }
        match how {
            Fill::Solid => self.block(area, color)?,
            Fill::Open => self.block(area, PAPER)?,
            Fill::Hatched | Fill::Crossed => {
                self.block(area, PAPER)?;
                self.slants(area, 4, color, false)?;
                if how == Fill::Crossed {
                    self.slants(area, 4, color, true)?;
                }
            }
        }
        self.outline(area, color)
    }

    /// Draws a glyph.
    pub(super) fn glyph(&self, (x, y): Spot, glyph: Glyph, color: RGBColor) -> Drawn {
        let r = px(4);
        let filled = |corners: Vec<Spot>| self.area.draw(&Polygon::new(corners, solid(color)));
        match glyph {
            Glyph::Disc => self.area.draw(&Circle::new((x, y), r, solid(color))),
            Glyph::Ring => {
                self.area.draw(&Circle::new((x, y), r, solid(PAPER)))?;
                self.area.draw(&Circle::new((x, y), r, stroke(color, 2)))
            }
            Glyph::Square => filled(vec![(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)]),
            Glyph::Triangle => filled(vec![(x, y - r - px(1)), (x + r + px(1), y + r), (x - r - px(1), y + r)]),
            Glyph::Diamond => {
                let r = r + px(1);
                filled(vec![(x, y - r), (x + r, y), (x, y + r), (x - r, y)])
            }
            Glyph::Cross => {
                self.area.draw(&PathElement::new(vec![(x - r, y - r), (x + r, y + r)], stroke(color, 2)))?;
                self.area.draw(&PathElement::new(vec![(x - r, y + r), (x + r, y - r)], stroke(color, 2)))
            }
        }
    }

    /// Says in the middle of an area that there is nothing to draw.
    pub(super) fn no_data(&self, area: Area, why: &str) -> Drawn {
        self.block(area, RGBColor(0xf7, 0xf8, 0xf9))?;
        self.outline(area, super::style::GRID)?;
        let middle = ((area.left + area.right) / 2, (area.top + area.bottom) / 2);
        let said = format!("no data: {why}");
        self.text(&said, middle, Type { size: 13, color: MUTED, h: HPos::Center, ..PLAIN })
    }

    /// Writes labels in a column, each with a piece of its line; returns where the column ends.
    pub(super) fn legend(&self, at: Spot, width: i32, entries: &[Entry]) -> Drawn<i32> {
        let (x, mut y) = at;
        for entry in entries {
            let middle = y + px(7);
            self.path(vec![(x, middle), (x + px(34), middle)], entry.look)?;
            if let Some(glyph) = entry.look.glyph {
                self.glyph((x + px(17), middle), glyph, entry.look.color)?;
            }
            let text = x + px(42);
            self.text(&fit(&entry.label, width - px(42), 12), (text, middle), PLAIN)?;
            y += px(17);
            for line in &entry.details {
                self.text(line, (text, y + px(5)), NOTE)?;
                y += px(14);
            }
            y += px(if entry.details.is_empty() { 3 } else { 8 });
        }
        Ok(y)
    }
}

/// One label of a legend.
pub(super) struct Entry {
    pub(super) look: Look,
    pub(super) label: String,
    pub(super) details: Vec<String>,
}
