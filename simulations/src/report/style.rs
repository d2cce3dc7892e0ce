//! How things are told apart: the Okabe–Ito colours, and for each colour a dash and a mark, so that plots read in
//! black and white as well.

use plotters::style::RGBColor;

/// Text.
pub(super) const INK: RGBColor = RGBColor(0x1f, 0x24, 0x2a);
/// Axes, notes.
pub(super) const MUTED: RGBColor = RGBColor(0x5b, 0x64, 0x6e);
pub(super) const GRID: RGBColor = RGBColor(0xe3, 0xe6, 0xea);
/// Lines that only give context.
pub(super) const FAINT: RGBColor = RGBColor(0xc2, 0xc8, 0xce);
/// Fault bands.
pub(super) const BAND: RGBColor = RGBColor(0xf4, 0xf1, 0xea);
/// Hatching and outline of fault bands.
pub(super) const BAND_LINE: RGBColor = RGBColor(0xcf, 0xc5, 0xae);
/// Background.
pub(super) const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);

pub(super) const BLACK: RGBColor = RGBColor(0x00, 0x00, 0x00);
pub(super) const ORANGE: RGBColor = RGBColor(0xe6, 0x9f, 0x00);
pub(super) const SKY: RGBColor = RGBColor(0x56, 0xb4, 0xe9);
pub(super) const GREEN: RGBColor = RGBColor(0x00, 0x9e, 0x73);
pub(super) const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xb2);
pub(super) const VERMILION: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
pub(super) const PURPLE: RGBColor = RGBColor(0xcc, 0x79, 0xa7);

/// How many lines a plot tells apart; the others are drawn faintly.
pub(super) const LINES: usize = 6;

/// A small sign on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Glyph {
    Disc,
    Ring,
    Square,
    Triangle,
    Diamond,
    Cross,
}

/// How a line looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) color: RGBColor,
    /// Dash and gap.
    pub(super) dash: Option<(i32, i32)>,
    pub(super) glyph: Option<Glyph>,
    pub(super) width: u32,
}

/// A line that only gives context.
pub(super) const CONTEXT: Look = Look { color: FAINT, dash: None, glyph: None, width: 1 };

/// The look of the line with this number. Two lines of one plot share neither dash and mark nor colour.
pub(super) fn look(number: usize) -> Look {
    // Yellow is left out, because it cannot be seen on white.
    const COLORS: [RGBColor; 7] = [BLUE, VERMILION, GREEN, PURPLE, BLACK, ORANGE, SKY];
    const DASHES: [Option<(i32, i32)>; 4] = [None, Some((9, 4)), Some((3, 3)), Some((16, 5))];
    const GLYPHS: [Glyph; 6] = [Glyph::Disc, Glyph::Ring, Glyph::Square, Glyph::Triangle, Glyph::Diamond, Glyph::Cross];
    Look {
        color: COLORS[number % COLORS.len()],
        dash: DASHES[number % DASHES.len()],
        glyph: Some(GLYPHS[number % GLYPHS.len()]),
        width: 2,
    }
}

/// How an area is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    Solid,
    Hatched,
    Open,
    Crossed,
}

/// The fill of the bar with this number.
pub(super) fn fill(number: usize) -> Fill {
    [Fill::Solid, Fill::Hatched, Fill::Open, Fill::Crossed][number % 4]
}

/// A shade of blue from nearly white (0) to nearly black (1), and the colour of text that is legible on it.
pub(super) fn shade(value: f64) -> (RGBColor, RGBColor) {
    const STOPS: [(f64, [f64; 3]); 4] = [
        (0.0, [239.0, 246.0, 252.0]),
        (0.4, [146.0, 190.0, 224.0]),
        (0.7, [44.0, 112.0, 174.0]),
        (1.0, [8.0, 40.0, 92.0]),
    ];
    let value = if value.is_finite() { value.clamp(0.0, 1.0) } else { 0.0 };
    let upper = STOPS.iter().position(|(at, _)| value <= *at).unwrap_or(STOPS.len() - 1).max(1);
    let ((from, low), (until, high)) = (STOPS[upper - 1], STOPS[upper]);
    let part = (value - from) / (until - from);
    let mix = |channel: usize| (low[channel] + (high[channel] - low[channel]) * part).round() as u8;
    (RGBColor(mix(0), mix(1), mix(2)), if value > 0.55 { PAPER } else { INK })
}
