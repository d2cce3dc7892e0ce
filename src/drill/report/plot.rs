//! The plots of the page: good check-ins by kind of client, and what the disturbed region still answered.

use std::time::Duration;

use anyhow::Context as _;
use api::RegionId;
use plotters::chart::ChartBuilder;
use plotters::drawing::IntoDrawingArea as _;
use plotters::element::{DashedPathElement, PathElement, Rectangle, Text};
use plotters::prelude::SVGBackend;
use plotters::style::{Color as _, IntoFont as _, RGBColor, ShapeStyle};
use serde::Serialize;

use super::{Course, Report};
use crate::drill::figures::{self, Moments};
use crate::drill::ledger::ClientKind;
use crate::drill::plan::Mode;

const SIZE: (u32, u32) = (1_080, 320);
const INK: RGBColor = RGBColor(0x1f, 0x24, 0x2a);
const MUTED: RGBColor = RGBColor(0x5b, 0x64, 0x6e);
const GRID: RGBColor = RGBColor(0xd9, 0xde, 0xe3);
const DEAD: RGBColor = RGBColor(0xf8, 0xee, 0xee);
const RETURN: RGBColor = RGBColor(0xf5, 0xee, 0xe4);

/// One plot: what it shows in words, and its picture.
#[derive(Debug, Serialize)]
pub(super) struct Plot {
    pub(super) title: &'static str,
    pub(super) caption: String,
    pub(super) svg: String,
}

/// A line with its colour and dash; lines are told apart without colour as well.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
    color: RGBColor,
    dash: Option<(i32, i32)>,
}

/// The plots of a drill that began; none otherwise.
pub(super) fn draw(report: &Report, course: &Course) -> anyhow::Result<Vec<Plot>> {
    let Some(moments) = course.moments else { return Ok(Vec::new()) };
    let looks = |kind| match kind {
        ClientKind::Edge => (RGBColor(0x00, 0x5f, 0x63), None),
        ClientKind::Ttl => (RGBColor(0x3b, 0x1f, 0x8f), Some((9, 5))),
        ClientKind::Pinned => (RGBColor(0x6b, 0x5b, 0x4b), Some((3, 4))),
    };
    let mut lines = Vec::new();
    for kind in ClientKind::ALL {
        let points = percent(figures::course(&course.samples, kind));
        if !points.is_empty() {
            let (color, dash) = looks(kind);
            let rto = report.rto_s.get(kind.name()).copied().flatten();
            let rto = rto.map_or(String::new(), |rto| format!(", recovered after {rto:.1} s"));
            lines.push(Line { name: format!("{}{rto}", words(kind)), points, color, dash });
        }
    }
    let mut plots = vec![Plot {
        title: "Good check-ins",
        caption: "Share of check-ins that were accepted, by kind of client, in half seconds.".to_owned(),
        svg: chart("good", "Share of good check-ins over time", &lines, report, moments)?,
    }];
    if let Some(region) = &report.region {
        let points = percent(figures::residual(&course.samples, region));
        let name = format!("answered by {region}");
        let line = Line { name, points, color: RGBColor(0xa3, 0x3b, 0x00), dash: None };
        plots.push(Plot {
            title: "Residual traffic",
            caption: format!("Share of all check-ins that {region} answered, in seconds."),
            svg: chart("residual", "Share of check-ins that the region answered", &[line], report, moments)?,
        });
    }
    Ok(plots)
}

fn words(kind: ClientKind) -> &'static str {
    match kind {
        ClientKind::Edge => "through the edge",
        ClientKind::Ttl => "by DNS",
        ClientKind::Pinned => "pinned to the first address",
    }
}

fn percent(course: Vec<(Duration, f64)>) -> Vec<(f64, f64)> {
    course.into_iter().map(|(at, share)| (at.as_secs_f64(), share * 100.0)).collect()
}

fn chart(id: &str, words: &str, lines: &[Line], report: &Report, moments: Moments) -> anyhow::Result<String> {
    let mut body = String::new();
    draw_chart(&mut body, lines, report, moments)
        .map_err(|error| anyhow::anyhow!("{error}"))
        .context("cannot draw a plot")?;
    // plotters knows no description, so its opening tag gives way to one that has it.
    let inner = body.split_once('\n').map_or("", |(_, inner)| inner);
    Ok(format!(
        "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-labelledby=\"{id}-title\"><title id=\"{id}-title\">{words}</title>\n{inner}",
        SIZE.0, SIZE.1
    ))
}

/// What the band of the fault says.
fn what(report: &Report) -> String {
    let region = report.region.as_ref().map_or("", RegionId::as_str);
    match report.mode {
        Mode::Drain => format!("{region} is drained"),
        Mode::Fail => format!("{region} fails"),
        Mode::Partition => format!("{region} is cut off"),
        Mode::Clock => format!("{region}: the clock is wrong"),
        Mode::Router => "a router is dead".to_owned(),
        Mode::Restart => "regions restart".to_owned(),
        Mode::Restore => format!("{region} is restored from a backup"),
    }
}

fn draw_chart(
    body: &mut String,
    lines: &[Line],
    report: &Report,
    moments: Moments,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(body, SIZE).into_drawing_area();
    let end = moments.end.as_secs_f64().max(1.0);
    let mut chart = ChartBuilder::on(&area)
        .margin_top(8)
        .margin_right(16)
        .x_label_area_size(28)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..end, 0.0..118.0)?;
    let plain = |color: RGBColor, size: f64| ("sans-serif", size).into_font().color(&color);
    let band = |from: Duration, until: Duration, color: RGBColor| {
        Rectangle::new([(from.as_secs_f64(), 0.0), (until.as_secs_f64(), 118.0)], color.filled())
    };
    chart.draw_series([band(moments.begun, moments.restore, DEAD)])?;
    let returned = report.converged_s.map_or(moments.end, |took| moments.restored + Duration::from_secs_f64(took));
    chart.draw_series([band(moments.restore, returned.min(moments.end), RETURN)])?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(GRID.mix(0.0))
        .bold_line_style(ShapeStyle::from(GRID).stroke_width(1))
        .axis_style(ShapeStyle::from(MUTED).stroke_width(1))
        .y_labels(3)
        .y_label_formatter(&|share| if *share > 100.0 { String::new() } else { format!("{share:.0} %") })
        .x_label_formatter(&|at| format!("{at:.0} s"))
        .label_style(plain(INK, 16.0))
        .draw()?;
    let fault = (moments.begun.as_secs_f64(), 115.0);
    chart.draw_series([Text::new(what(report), fault, plain(RGBColor(0x8f, 0x1d, 0x2c), 16.0))])?;
    let restore = (moments.restore.as_secs_f64(), 115.0);
    chart.draw_series([Text::new("restored", restore, plain(RGBColor(0x7a, 0x4a, 0x00), 16.0))])?;
    for (at, text, height) in [(report.detect_s, "detected", 12.0), (report.dns_s, "DNS elsewhere", 24.0)] {
        let Some(at) = at else { continue };
        let x = moments.fault.as_secs_f64() + at;
        let style = ShapeStyle::from(MUTED).stroke_width(1);
        chart.draw_series([DashedPathElement::new([(x, 0.0), (x, 108.0)], 3, 4, style)])?;
        chart.draw_series([Text::new(format!(" {text} {at:.1} s"), (x, height), plain(INK, 16.0))])?;
    }
    for (number, line) in lines.iter().enumerate() {
        let style = ShapeStyle::from(line.color).stroke_width(3);
        match line.dash {
            None => chart.draw_series([PathElement::new(line.points.clone(), style)])?,
            Some((dash, gap)) => chart.draw_series([DashedPathElement::new(line.points.clone(), dash, gap, style)])?,
        };
        // The legend stands in the middle of the plot's lower half, where lines seldom run.
        let (x, y) = (end * 0.62, 62.0 - 11.0 * number as f64);
        let sample = [(x, y - 2.5), (x + end * 0.035, y - 2.5)];
        match line.dash {
            None => chart.draw_series([PathElement::new(sample.to_vec(), style)])?,
            Some((dash, gap)) => chart.draw_series([DashedPathElement::new(sample.to_vec(), dash, gap, style)])?,
        };
        chart.draw_series([Text::new(line.name.clone(), (x + end * 0.045, y), plain(INK, 17.0))])?;
    }
    area.present()?;
    Ok(())
}
