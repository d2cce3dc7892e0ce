//! Bytes between regions for each acknowledged write, by purpose, and the same for several settings.

use plotters::style::RGBColor;
use plotters::style::text_anchor::HPos;

use super::axis::Axis;
use super::canvas::{Area, Canvas, Drawn, NOTE, PLAIN, Type, fit, px, sheet, text_width};
use super::error::ReportError;
use super::style::{BLUE, Fill, GREEN, GRID, MUTED, ORANGE, fill, look};
use super::summary::{Bytes, Summary, name};
use super::units;
use crate::figures::Figures;
use crate::index::NodeIndex;

/// More pairs than this are added up by the sending region.
const PAIRS: usize = 12;

/// Where bars begin and end, in pixels.
const BARS: (i32, i32) = (190, 700);

const PARTS: [(&str, Fill, RGBColor); 3] =
    [("payload", Fill::Solid, BLUE), ("metadata", Fill::Hatched, ORANGE), ("control", Fill::Open, GREEN)];

/// Bars of one scenario: label and bytes, in the order of the regions.
fn rows(runs: &[Figures]) -> Vec<(String, Bytes)> {
    let Some(first) = runs.first() else { return Vec::new() };
    let traffic = || runs.iter().flat_map(|run| &run.traffic);
    let mut pairs: Vec<(NodeIndex, NodeIndex)> = traffic().map(|t| (t.from, t.to)).collect();
    pairs.sort_unstable();
    pairs.dedup();
    let by_sender = pairs.len() > PAIRS;
    if by_sender {
        pairs.dedup_by_key(|(from, _)| *from);
    }
    let row = |(from, to): (NodeIndex, NodeIndex)| {
        let mut bytes = Bytes::default();
        for t in traffic().filter(|t| t.from == from && (by_sender || t.to == to)) {
            bytes.add(t);
        }
        let sender = name(first, from);
        (if by_sender { format!("sent by {sender}") } else { format!("{sender} → {}", name(first, to)) }, bytes)
    };
    pairs.into_iter().map(row).collect()
}

/// Stacked bars of one scenario.
pub(super) fn figure(runs: &[Figures], summary: &Summary) -> Result<String, ReportError> {
    let rows = rows(runs);
    let height = 110 + 26 * rows.len().max(2) as i32;
    let about =
        "One bar for each pair or sender: bytes for each acknowledged write, split in payload, metadata and control.";
    sheet("bytes", ("Bytes between regions per acknowledged write", about), height, |canvas| {
        let plot = Area::of(BARS.0, 46, BARS.1, height - 64);
        if rows.iter().all(|(_, bytes)| bytes.all() == 0) {
            return canvas.no_data(plot, "nothing was sent between regions");
        }
        // Without a write there is nothing to divide by.
        let divisor = summary.writes.max(1) as f64;
        let most = rows.iter().map(|(_, bytes)| bytes.all() as f64 / divisor).fold(0.0, f64::max);
        key(canvas)?;
        let all = format!("all links together: {}", units::bytes(summary.bytes.all() as f64 / divisor));
        canvas.text(&all, (plot.right, px(16)), Type { h: HPos::Right, bold: true, ..PLAIN })?;
        let axis = Axis::linear(most, 6, units::bytes);
        let unit = if summary.writes > 0 {
            "bytes per acknowledged write of the whole run"
        } else {
            "bytes; no write was acknowledged"
        };
        across(canvas, plot, &axis, unit)?;
        for (row, (label, bytes)) in rows.iter().enumerate() {
            let top = plot.top + px(26) * row as i32 + px(5);
            let (bottom, middle) = (top + px(17), top + px(9));
            let right = Type { h: HPos::Right, ..PLAIN };
            canvas.text(&fit(label, px(BARS.0 - 16), 12), (plot.left - px(8), middle), right)?;
            let mut sum = 0.0;
            let mut end = plot.left;
            for (part, (_, fill, color)) in bytes.parts().into_iter().zip(PARTS) {
                let left = end;
                sum += part as f64 / divisor;
                end = along(plot, &axis, sum);
                canvas.bar(Area { left, top, right: end, bottom }, fill, color)?;
            }
            let mut said = units::bytes(sum);
            if bytes.lost > 0 {
                said.push_str(&format!(" · {} lost", units::percent(bytes.lost as f64 / bytes.all().max(1) as f64)));
            }
            canvas.text(&said, (end + px(6), middle), NOTE)?;
        }
        Ok(())
    })
}

fn key(canvas: &Canvas) -> Drawn {
    let mut left = px(BARS.0);
    for (label, fill, color) in PARTS {
        canvas.bar(Area { left, top: px(10), right: left + px(22), bottom: px(22) }, fill, color)?;
        canvas.text(label, (left + px(28), px(16)), PLAIN)?;
        left += px(56) + text_width(label, 12);
    }
    Ok(())
}

fn along(plot: Area, axis: &Axis, value: f64) -> i32 {
    plot.left + (f64::from(plot.right - plot.left) * axis.place(value)).round() as i32
}

fn across(canvas: &Canvas, plot: Area, axis: &Axis, unit: &str) -> Drawn {
    for (at, label) in axis.ticks() {
        let x = along(plot, axis, *at);
        canvas.line((x, plot.top), (x, plot.bottom), GRID)?;
        canvas.text(label, (x, plot.bottom + px(12)), Type { h: HPos::Center, ..NOTE })?;
    }
    canvas.line((plot.left, plot.top), (plot.left, plot.bottom), MUTED)?;
    canvas.text(unit, (plot.right, plot.bottom + px(34)), Type { h: HPos::Right, ..NOTE })
}

/// A name and what it counts.
type Group = (&'static str, fn(&Bytes) -> u64);

/// Bars of several settings side by side, in groups of the same purpose.
pub(super) fn comparison(sides: &[(String, Summary)]) -> Result<String, ReportError> {
    let groups: [Group; 4] =
        [("payload", |b| b.payload), ("metadata", |b| b.metadata), ("control", |b| b.control), ("all", |b| b.all())];
    let tall = 20 * sides.len().max(1) as i32 + 16;
    let height = 84 + 20 * sides.len() as i32 + tall * 4;
    let about = "Groups of bars for payload, metadata, control and all bytes; one bar for each setting.";
    sheet("bytes", ("Bytes between regions per acknowledged write", about), height, |canvas| {
        let head = 16 + 20 * sides.len() as i32;
        let plot = Area::of(110, head, BARS.1, head + tall * 4);
        if sides.iter().all(|(_, side)| side.bytes.all() == 0 || side.writes == 0) {
            return canvas.no_data(plot, "nothing was sent between regions for a write");
        }
        for (at, (label, _)) in sides.iter().enumerate() {
            let top = px(8 + 20 * at as i32);
            let swatch = Area { left: plot.left, top, right: plot.left + px(22), bottom: top + px(12) };
            canvas.bar(swatch, fill(at), look(at).color)?;
            canvas.text(&fit(label, px(600), 12), (plot.left + px(28), top + px(6)), PLAIN)?;
        }
        let most = sides.iter().filter_map(|(_, s)| s.per_write(s.bytes.all())).fold(0.0, f64::max);
        let axis = Axis::linear(most, 6, units::bytes);
        across(canvas, plot, &axis, "bytes per acknowledged write of the whole run")?;
        for (group, (title, part)) in groups.into_iter().enumerate() {
            let start = plot.top + px(tall) * group as i32;
            let middle = start + px(tall / 2);
            canvas.text(title, (plot.left - px(8), middle), Type { h: HPos::Right, bold: true, ..PLAIN })?;
            for (at, (_, side)) in sides.iter().enumerate() {
                let top = start + px(8 + 20 * at as i32);
                let value = side.per_write(part(&side.bytes));
                let end = along(plot, &axis, value.unwrap_or(0.0));
                canvas.bar(
                    Area { left: plot.left, top, right: end, bottom: top + px(15) },
                    fill(at),
                    look(at).color,
                )?;
                canvas.text(&units::or_none(value, units::bytes), (end + px(6), top + px(8)), NOTE)?;
            }
        }
        Ok(())
    })
}
