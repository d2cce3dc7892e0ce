//! Staleness from region to region in one picture: a cell for each ordered pair, darker for a larger median, with its
//! figures in it.

use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Area, Canvas, Drawn, NOTE, PLAIN, Type, fit, px, sheet, text_width};
use super::error::ReportError;
use super::stats::Cdf;
use super::style::{GRID, MUTED, shade};
use super::summary::{name, pool};
use super::units;
use crate::figures::Figures;
use crate::index::NodeIndex;

/// Room for the names of the writing regions, in pixels.
const NAMES: i32 = 130;

/// Draws the map.
pub(super) fn figure(runs: &[Figures]) -> Result<String, ReportError> {
    let regions = runs.first().map_or(0, |run| run.regions.len());
    let wide = (740 / regions.max(1) as i32).clamp(30, 130);
    let tall = if wide >= 60 { 52 } else { 30 };
    let slanted = wide < 90;
    let head = if slanted { 120 } else { 46 };
    let height = if regions == 0 { 120 } else { head + tall * regions as i32 + 52 };
    let about = "A table of regions: for writes of the row's region, median and 99th percentile of the time until the column's region shows them.";
    sheet("staleness-map", ("Staleness from region to region", about), height, |canvas| {
        let Some(first) = runs.first().filter(|run| run.staleness.iter().any(|pair| pair.from != pair.to)) else {
            return canvas.no_data(Area::of(20, 10, 880, 110.min(height - 4)), "no pair of regions was measured");
        };
        let cells: Vec<Vec<Cdf>> = (0..regions)
            .map(|from| (0..regions).map(|to| pool(runs, |pair| (pair.from.0, pair.to.0) == (from, to))).collect())
            .collect();
        let map = Map { left: NAMES, top: head, wide, tall };
        map.names(canvas, first, slanted)?;
        map.cells(canvas, &cells)
    })
}

struct Map {
    left: i32,
    top: i32,
    wide: i32,
    tall: i32,
}

impl Map {
    fn cell(&self, row: usize, column: usize) -> Area {
        let (left, top) = (self.left + self.wide * column as i32, self.top + self.tall * row as i32);
        Area::of(left, top, left + self.wide, top + self.tall)
    }

    fn names(&self, canvas: &Canvas, run: &Figures, slanted: bool) -> Drawn {
        canvas.text("written in ↓", (px(self.left - 10), px(self.top - 12)), Type { h: HPos::Right, ..NOTE })?;
        canvas.text("read in →", (px(self.left - 10), px(self.top - 30)), Type { h: HPos::Right, ..NOTE })?;
        for region in 0..run.regions.len() {
            let label = name(run, NodeIndex(region));
            let row = self.cell(region, 0);
            let right = Type { h: HPos::Right, ..PLAIN };
            canvas.text(&fit(&label, px(NAMES - 14), 12), (row.left - px(8), (row.top + row.bottom) / 2), right)?;
            let column = self.cell(0, region);
            let middle = (column.left + column.right) / 2;
            if slanted {
                let upwards = Type { upwards: true, h: HPos::Left, v: VPos::Center, ..PLAIN };
                canvas.text(&fit(&label, px(self.top - 16), 12), (middle, column.top - px(8)), upwards)?;
            } else {
                let centred = Type { h: HPos::Center, ..PLAIN };
                canvas.text(&fit(&label, px(self.wide - 6), 12), (middle, column.top - px(12)), centred)?;
            }
        }
        Ok(())
    }

    fn cells(&self, canvas: &Canvas, cells: &[Vec<Cdf>]) -> Drawn {
        let across = |row: usize, column: usize| row != column;
        let medians: Vec<f64> = cells
            .iter()
            .enumerate()
            .flat_map(|(row, columns)| columns.iter().enumerate().filter(move |(column, _)| across(row, *column)))
            .filter_map(|(_, cdf)| cdf.quantile(0.5))
            .map(|ms| ms.max(1.0))
            .collect();
        let low = medians.iter().copied().fold(f64::INFINITY, f64::min);
        // Nearly equal pairs must look alike, so a range below a factor of four does not fill the whole scale.
        let high = medians.iter().copied().fold(0.0, f64::max).max(low * 4.0);
        let dark = |ms: f64| (ms.max(1.0) / low).ln() / (high / low).ln();
        for (row, columns) in cells.iter().enumerate() {
            for (column, cdf) in columns.iter().enumerate() {
                let area = self.cell(row, column);
                if cdf.total() == 0 {
                    canvas.outline(area, GRID)?;
                    if row != column {
                        let middle = ((area.left + area.right) / 2, (area.top + area.bottom) / 2);
                        canvas.text(units::NONE, middle, Type { h: HPos::Center, ..NOTE })?;
                    }
                    continue;
                }
                self.filled(canvas, area, cdf, cdf.quantile(0.5).map_or(1.0, dark))?;
            }
        }
        let under = self.top + self.tall * cells.len() as i32 + 20;
        self.scale(canvas, under, low, high)
    }

    fn filled(&self, canvas: &Canvas, area: Area, cdf: &Cdf, dark: f64) -> Drawn {
        let (ground, ink) = shade(dark);
        canvas.block(area, ground)?;
        canvas.outline(area, super::style::PAPER)?;
        let said = |q: f64| cdf.quantile(q).map_or_else(|| "never".into(), units::millis);
        let centred = Type { h: HPos::Center, color: ink, ..PLAIN };
        let x = (area.left + area.right) / 2;
        let room = area.right - area.left - px(4);
        let size = if text_width(&said(0.5), 12) > room { 9 } else { 12 };
        if self.tall < 50 {
            return canvas.text(&said(0.5), (x, (area.top + area.bottom) / 2), Type { size, ..centred });
        }
        let never = cdf.never() > 0;
        let top = area.top + px(if never { 12 } else { 18 });
        canvas.text(&said(0.5), (x, top), Type { size: size + 1, bold: true, ..centred })?;
        let small = Type { size: 10, ..centred };
        canvas.text(&fit(&format!("p99 {}", said(0.99)), room, 10), (x, top + px(16)), small)?;
        if never {
            let missing = format!("never {}", units::count(cdf.never()));
            canvas.text(&fit(&missing, room, 10), (x, top + px(29)), small)?;
        }
        Ok(())
    }

    fn scale(&self, canvas: &Canvas, top: i32, low: f64, high: f64) -> Drawn {
        const STEPS: i32 = 12;
        if !low.is_finite() {
            return Ok(());
        }
        for step in 0..STEPS {
            let (ground, _) = shade(f64::from(step) / f64::from(STEPS - 1));
            let left = self.left + step * 14;
            canvas.block(Area::of(left, top, left + 14, top + 12), ground)?;
        }
        canvas.outline(Area::of(self.left, top, self.left + 14 * STEPS, top + 12), MUTED)?;
        let middle = px(top + 6);
        canvas.text(&units::millis(low), (px(self.left - 6), middle), Type { h: HPos::Right, ..NOTE })?;
        let end = format!("{}  median; darker is staler", units::millis(high));
        canvas.text(&end, (px(self.left + 14 * STEPS + 6), middle), NOTE)
    }
}
