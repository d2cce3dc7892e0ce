//! Axes, a grid and lines with marks on a part of a sheet. plotters keeps the coordinates and draws the grid.

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::SVGBackend;
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, IntoFont};

use super::axis::Axis;
use super::canvas::{Area, Canvas, Drawn, NOTE, Spot, Type, px};
use super::style::{GRID, Look, MUTED};

/// Room for the labels of the vertical axis, in pixels.
pub(super) const LEFT: i32 = 66;

/// Room for the labels of the horizontal axis, in pixels.
const BELOW: i32 = 24;

/// Pixels between two marks of a line.
const MARKS: i32 = 110;

/// A plot's coordinates.
pub(super) struct Chart<'c, 'a> {
    pub(super) canvas: &'c Canvas<'a>,
    inner: ChartContext<'a, SVGBackend<'a>, Cartesian2d<Axis, Axis>>,
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// The part inside the axes.
    pub(super) plot: Area,
    labels_below: bool,
}

impl<'c, 'a> Chart<'c, 'a> {
    /// Lays a chart out so that the part inside its axes is `plot`.
    pub(super) fn new(canvas: &'c Canvas<'a>, plot: Area, x: Axis, y: Axis, labels_below: bool) -> Drawn<Self> {
        let below = if labels_below { px(BELOW) } else { 0 };
        let sheet = canvas.area.clone().shrink(
            (plot.left - px(LEFT), plot.top),
            (plot.right - plot.left + px(LEFT), plot.bottom - plot.top + below),
        );
        let mut builder = ChartBuilder::on(&sheet);
        builder.y_label_area_size(px(LEFT)).x_label_area_size(below);
        let inner = builder.build_cartesian_2d(x.clone(), y.clone())?;
        Ok(Self { canvas, inner, x, y, plot, labels_below })
    }

    /// Draws grid, axes and labels.
    pub(super) fn axes(&mut self) -> Drawn {
        let label = ("sans-serif", f64::from(px(11)) * 1.24).into_font().color(&MUTED);
        let (x, below) = (self.x.clone(), self.labels_below);
        self.inner
            .configure_mesh()
            .light_line_style(GRID.mix(0.0))
            .bold_line_style(plotters::style::ShapeStyle::from(GRID).stroke_width(2))
            .axis_style(plotters::style::ShapeStyle::from(MUTED).stroke_width(2))
            .label_style(label)
            .set_all_tick_mark_size(px(3))
            .x_label_formatter(&|at| if below { x.format_ext(at) } else { String::new() })
            .draw()?;
        let over = (self.plot.left - px(LEFT - 4), self.plot.top - px(13));
        self.canvas.text(&self.y.title, over, NOTE)?;
        if below {
            let under = (self.plot.right, self.plot.bottom + px(BELOW + 10));
            self.canvas.text(&self.x.title, under, Type { h: HPos::Right, v: VPos::Center, ..NOTE })?;
        }
        Ok(())
    }

    /// Draws the horizontal axis only, and its grid.
    pub(super) fn axes_below(&self) -> Drawn {
        for (at, label) in self.x.ticks() {
            let x = self.at(*at, 0.0).0;
            self.canvas.line((x, self.plot.top), (x, self.plot.bottom), GRID)?;
            let under = (x, self.plot.bottom + px(11));
            self.canvas.text(label, under, Type { h: HPos::Center, ..NOTE })?;
        }
        self.canvas.line((self.plot.left, self.plot.bottom), (self.plot.right, self.plot.bottom), MUTED)?;
        let under = (self.plot.right, self.plot.bottom + px(BELOW + 10));
        self.canvas.text(&self.x.title, under, Type { h: HPos::Right, ..NOTE })
    }

    /// Where a point lies on the sheet.
    pub(super) fn at(&self, x: f64, y: f64) -> Spot {
        self.inner.backend_coord(&(x, y))
    }

    /// Draws a line without marks.
    pub(super) fn line(&self, points: &[(f64, f64)], look: Look) -> Drawn {
        let mut spots: Vec<Spot> = points.iter().map(|(x, y)| self.at(*x, *y)).collect();
        spots.dedup();
        self.canvas.path(spots, look)
    }

    /// Draws the parts of a line over time, with marks at intervals. `shift` keeps the marks of lines that lie on each
    /// other apart; it is a share of the interval.
    pub(super) fn course(&self, parts: &[Vec<(f64, f64)>], look: Look, shift: f64) -> Drawn {
        for part in parts {
            self.line(part, look)?;
        }
        let Some(glyph) = look.glyph else { return Ok(()) };
        let mut next = self.plot.left + (f64::from(px(MARKS)) * (0.15 + shift * 0.85)) as i32;
        for (x, y) in parts.iter().flatten() {
            let spot = self.at(*x, *y);
            if spot.0 >= next {
                self.canvas.glyph(spot, glyph, look.color)?;
                while next <= spot.0 {
                    next += px(MARKS);
                }
            }
        }
        // A part of a single point would not be seen at all.
        for part in parts.iter().filter(|part| part.len() == 1) {
            self.canvas.glyph(self.at(part[0].0, part[0].1), glyph, look.color)?;
        }
        Ok(())
    }
}
