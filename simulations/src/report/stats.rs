//! Distributions and long series. An event that never happened counts in every share and every quantile.

/// How many points of a line are drawn at most.
const POINTS: usize = 800;

/// How many slices of time an upper edge has at most.
const SLICES: usize = 200;

/// Times until something happened, and how often it never did.
#[derive(Clone, Debug, Default)]
pub(super) struct Cdf {
    sorted: Vec<f64>,
    never: u64,
}

impl Cdf {
    /// Takes times in any order; those that are not finite are left out.
    pub(super) fn new(times: impl IntoIterator<Item = f64>, never: u64) -> Self {
        let mut sorted: Vec<f64> = times.into_iter().filter(|t| t.is_finite()).map(|t| t.max(0.0)).collect();
        sorted.sort_by(f64::total_cmp);
        Self { sorted, never }
    }

    /// Takes times, some of which are unknown because the event never happened.
    pub(super) fn of_options(times: impl IntoIterator<Item = Option<f64>>) -> Self {
        let mut never = 0;
        let known: Vec<f64> = times.into_iter().inspect(|t| never += u64::from(t.is_none())).flatten().collect();
        Self::new(known, never)
    }

    /// How many there are, with those that never happened.
    pub(super) fn total(&self) -> u64 {
        self.sorted.len() as u64 + self.never
    }

    /// How many never happened.
    pub(super) fn never(&self) -> u64 {
        self.never
    }

    /// The longest time that was seen.
    pub(super) fn max(&self) -> Option<f64> {
        self.sorted.last().copied()
    }

    /// The time within which a share `q` happened, by nearest rank; `None` if so many never did.
    pub(super) fn quantile(&self, q: f64) -> Option<f64> {
        let rank = (q * self.total() as f64).ceil().max(1.0) as usize;
        self.sorted.get(rank - 1).copied()
    }

    /// The share that happened within `time`; `None` if there is nothing to share.
    pub(super) fn within(&self, time: f64) -> Option<f64> {
        let seen = self.sorted.partition_point(|t| *t <= time);
        (self.total() > 0).then(|| seen as f64 / self.total() as f64)
    }

    /// The corners of the stair from `from` to `until`.
    pub(super) fn stair(&self, from: f64, until: f64) -> Vec<(f64, f64)> {
        let total = self.total() as f64;
        let mut points = vec![(from, 0.0)];
        let steps = self.sorted.len().min(POINTS / 2);
        let mut last = 0.0;
        for step in 1..=steps {
            let rank = step * self.sorted.len() / steps;
            let time = self.sorted[rank - 1];
            let share = rank as f64 / total;
            points.extend([(time, last), (time, share)]);
            last = share;
        }
        points.push((until, last));
        points
    }
}

/// The parts of a line between its gaps, each with few enough points to draw. Peaks and dips stay.
pub(super) fn thin(series: &[(f64, Option<f64>)]) -> Vec<Vec<(f64, f64)>> {
    let mut parts: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut open = false;
    for (at, value) in series {
        match value.filter(|v| v.is_finite() && at.is_finite()) {
            Some(value) => {
                if !open {
                    parts.push(Vec::new());
                }
                if let Some(part) = parts.last_mut() {
                    part.push((*at, value));
                }
                open = true;
            }
            None => open = false,
        }
    }
    let bucket = series.len().div_ceil(POINTS / 2).max(1);
    if bucket > 2 {
        for part in &mut parts {
            *part = part.chunks(bucket).flat_map(extremes).collect();
        }
    }
    parts
}

/// The worst value of each slice of time, for values that jump around: where several lines meet, only their upper
/// edge can be read. A slice in which a value is missing throughout stays a gap.
pub(super) fn upper(series: &[(f64, Option<f64>)]) -> Vec<(f64, Option<f64>)> {
    let each = series.len().div_ceil(SLICES).max(1);
    let worst = |slice: &[(f64, Option<f64>)]| {
        let known = slice.iter().filter(|(_, value)| value.is_some_and(f64::is_finite));
        known.max_by(|a, b| a.1.unwrap_or(0.0).total_cmp(&b.1.unwrap_or(0.0))).or(slice.first()).copied()
    };
    series.chunks(each).filter_map(worst).collect()
}

/// The lowest and the highest point of some, in order of time.
fn extremes(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let low = points.iter().enumerate().min_by(|a, b| a.1.1.total_cmp(&b.1.1));
    let high = points.iter().enumerate().max_by(|a, b| a.1.1.total_cmp(&b.1.1));
    let mut kept: Vec<_> = low.into_iter().chain(high).collect();
    kept.sort_by_key(|(at, _)| *at);
    kept.dedup_by_key(|(at, _)| *at);
    kept.into_iter().map(|(_, point)| *point).collect()
}

#[cfg(test)]
mod tests {
    use super::{Cdf, thin};

    #[test]
    fn what_never_happened_counts() {
        let cdf = Cdf::of_options([Some(3.0), Some(1.0), None, Some(2.0)]);
        assert_eq!(cdf.quantile(0.5), Some(2.0));
        assert_eq!(cdf.quantile(0.99), None);
        assert_eq!(cdf.within(2.5), Some(0.5));
        assert_eq!(cdf.stair(0.0, 9.0).last(), Some(&(9.0, 0.75)));
        assert_eq!(Cdf::default().quantile(0.5), None);
        assert_eq!(Cdf::default().within(1.0), None);
    }

    #[test]
    fn a_long_line_keeps_its_peak_and_its_gap() {
        let mut series: Vec<_> = (0..10_000).map(|i| (f64::from(i), Some(1.0))).collect();
        series[5_001].1 = Some(9.0);
        series[7_000].1 = None;
        let parts = thin(&series);
        assert_eq!(parts.len(), 2);
        assert!(parts[0].contains(&(5_001.0, 9.0)));
        assert!(parts.iter().map(Vec::len).sum::<usize>() <= 802);
    }
}
