//! Scales: linear, logarithmic, and logarithmic from a value on with room for zero. Every value has a finite place.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::units;

/// How values lie on an axis.
#[derive(Clone, Copy, Debug)]
enum Scale {
    Linear,
    /// Needs a positive begin.
    Log,
    /// Linear up to about this value, logarithmic beyond.
    LogFrom(f64),
}

/// An axis: its scale, its ends in values, and its labelled ticks.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    ticks: Vec<(f64, String)>,
    /// What the values are.
    pub(super) title: String,
}

impl Axis {
    fn new(scale: Scale, ends: (f64, f64), ticks: impl IntoIterator<Item = f64>, unit: fn(f64) -> String) -> Self {
        let ticks = ticks.into_iter().filter(|t| (ends.0..=ends.1 * 1.000_001).contains(t));
        let ticks = ticks.map(|t| (t, unit(t))).collect();
        Self { scale, low: ends.0, high: ends.1, ticks, title: String::new() }
    }

    pub(super) fn titled(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Linear from zero to `max` rounded up, with about `ticks` ticks.
    pub(super) fn linear(max: f64, ticks: u32, unit: fn(f64) -> String) -> Self {
        let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
        let rough = max / f64::from(ticks.max(1));
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough * 0.999).unwrap_or(power);
        let steps = (max / step - 1e-9).ceil().max(1.0);
        Self::new(Scale::Linear, (0.0, steps * step), (0..=steps as u32).map(|i| f64::from(i) * step), unit)
    }

    /// A share from nothing to everything.
    pub(super) fn share(ticks: u32) -> Self {
        let every = (0..=ticks).map(|i| f64::from(i) / f64::from(ticks));
        Self::new(Scale::Linear, (0.0, 1.0), every, |v| format!("{}\u{202f}%", (v * 100.0).round()))
    }

    /// The time of a run that ends at `end`.
    pub(super) fn time(end: f64, ticks: usize) -> Self {
        const STEPS: [f64; 18] = [
            0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0,
            21_600.0,
        ];
        let end = if end.is_finite() && end > 0.0 { end } else { 1.0 };
        let step = STEPS.into_iter().find(|s| end / s <= ticks as f64).unwrap_or_else(|| end / ticks as f64);
        let every = (0..=(end / step) as u32).map(|i| f64::from(i) * step);
        let unit = if step < 60.0 || end < 180.0 {
            |v: f64| format!("{}\u{202f}s", units::digits(v))
        } else if end < 10_800.0 {
            |v: f64| format!("{}\u{202f}min", units::digits(v / 60.0))
        } else {
            |v: f64| format!("{}\u{202f}h", units::digits(v / 3600.0))
        };
        Self::new(Scale::Linear, (0.0, end), every, unit)
    }

    /// Milliseconds from one up, logarithmic.
    pub(super) fn log_millis(max: f64) -> Self {
        let max = if max.is_finite() { max.max(100.0) } else { 100.0 };
        let decades = (max.log10() - 1e-9).ceil().clamp(2.0, 12.0);
        let high = 10f64.powf(decades);
        let every = (0..=decades as i32).map(|d| 10f64.powi(d));
        Self::new(Scale::Log, (1.0, high), every, units::millis)
    }

    /// Seconds from zero, logarithmic from a tenth of a second.
    pub(super) fn log_seconds(max: f64) -> Self {
        const SHORT: &[f64] = &[0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
        const LONG: &[f64] =
            &[0.0, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 36_000.0, 345_600.0, 3_456_000.0, 34_560_000.0];
        let max = if max.is_finite() { max } else { 1.0 };
        let high = (max * 1.1).clamp(1.0, 1e9);
        let every = if high > 60.0 { LONG } else { SHORT };
        Self::new(Scale::LogFrom(0.1), (0.0, high), every.iter().copied(), units::seconds)
    }

    /// Whole numbers from zero, logarithmic from one.
    pub(super) fn log_counts(max: f64) -> Self {
        let max = if max.is_finite() { max } else { 1.0 };
        let decades = (max.max(10.0).log10() - 1e-9).ceil().clamp(1.0, 15.0);
        // On a long axis there is no room between zero and one.
        let first = i32::from(decades > 2.0);
        let every = std::iter::once(0.0).chain((first..=decades as i32).map(|d| 10f64.powi(d)));
        Self::new(Scale::LogFrom(1.0), (0.0, 10f64.powf(decades)), every, units::short_count)
    }

    /// The largest value.
    pub(super) fn high(&self) -> f64 {
        self.high
    }

    /// The smallest value.
    pub(super) fn low(&self) -> f64 {
        self.low
    }

    /// Where a value lies between the ends, as a share.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = if value.is_finite() { value.clamp(self.low, self.high) } else { self.low };
        let even = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Log => value.log10(),
            Scale::LogFrom(from) => (1.0 + value / from).log10(),
        };
        let (low, high) = (even(self.low), even(self.high));
        ((even(value) - low) / (high - low)).clamp(0.0, 1.0)
    }

    /// The ticks: value and label.
    pub(super) fn ticks(&self) -> &[(f64, String)] {
        &self.ticks
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, until): (i32, i32)) -> i32 {
        from + (f64::from(until - from) * self.place(*value)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Light lines would come between the labelled ones.
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.iter().map(|(at, _)| *at).collect() }
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|(at, _)| at == value);
        tick.map_or_else(String::new, |(_, label)| label.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::Axis;

    #[test]
    fn every_value_has_a_finite_place() {
        let axes = [
            Axis::linear(0.0, 5, super::units::digits),
            Axis::linear(f64::NAN, 5, super::units::digits),
            Axis::time(0.0, 8),
            Axis::log_millis(0.0),
            Axis::log_seconds(f64::INFINITY),
            Axis::log_counts(0.0),
        ];
        for axis in axes {
            for value in [0.0, -1.0, 1e300, f64::NAN, f64::INFINITY] {
                let place = axis.place(value);
                assert!((0.0..=1.0).contains(&place), "{axis:?}");
            }
            assert!(axis.high() > axis.low() && !axis.ticks().is_empty());
        }
    }

    #[test]
    fn a_linear_axis_ends_at_a_tick() {
        let axis = Axis::linear(37.0, 5, super::units::digits);
        let ticks: Vec<f64> = axis.ticks().iter().map(|(at, _)| *at).collect();
        assert_eq!((axis.high(), ticks), (40.0, vec![0.0, 10.0, 20.0, 30.0, 40.0]));
    }
}
