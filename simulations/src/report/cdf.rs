//! Shares over time: after a fault ended, and after a write was acknowledged. A line that stays below 100 % tells
//! that the rest never came.

use super::axis::Axis;
use super::canvas::{Area, Canvas, Drawn, Entry, NOTE, Spot, Type, px, sheet, text_width};
use super::chart::{Chart, LEFT};
use super::error::ReportError;
use super::stats::Cdf;
use super::style::{BLACK, CONTEXT, LINES, Look, MUTED, look};
use super::summary::{Summary, name, pool};
use super::units;
use crate::figures::Figures;
use crate::index::NodeIndex;

/// A plain vertical line.
const POST: Look = Look { color: BLACK, dash: None, glyph: None, width: 1 };

/// The line of a bound that must not be passed.
const BOUND: Look = Look { dash: Some((6, 4)), ..POST };

/// Where the legend begins, in pixels.
pub(super) const LEGEND: i32 = 690;

/// A distribution with its name.
pub(super) struct Curve {
    pub(super) label: String,
    pub(super) cdf: Cdf,
    /// Its look. Without one it is drawn faintly and has no label.
    pub(super) look: Option<Look>,
    /// Said in the legend, below its figures.
    pub(super) note: Option<String>,
}

/// The moment from which time is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// The end of any fault.
    Fault,
    /// The end of the phase with faults.
    Healing,
}

impl Curve {
    fn details(&self, unit: fn(f64) -> String) -> Vec<String> {
        let at = |q| self.cdf.quantile(q).map_or_else(|| "never".into(), unit);
        let mut details = vec![format!("median {} · p99 {}", at(0.5), at(0.99))];
        if self.cdf.never() > 0 {
            details.push(format!("never: {} of {}", units::count(self.cdf.never()), units::count(self.cdf.total())));
        }
        details.extend(self.note.clone());
        details
    }
}

/// A time worth a vertical line.
pub(super) struct Post {
    pub(super) at: f64,
    pub(super) label: String,
    pub(super) look: Look,
}

/// Draws distributions with their legend.
fn draw(
    canvas: &Canvas,
    plot: Area,
    x: Axis,
    share: &str,
    lines: &[Curve],
    posts: &[Post],
    unit: fn(f64) -> String,
) -> Drawn {
    let mut chart = Chart::new(canvas, plot, x, Axis::share(5).titled(share), true)?;
    chart.axes()?;
    let (low, high) = (chart.x.low(), chart.x.high());
    // Context first, so that it lies below.
    for line in lines.iter().filter(|line| line.look.is_none() && line.cdf.total() > 0) {
        chart.line(&line.cdf.stair(low, high), CONTEXT)?;
    }
    post(&chart, posts)?;
    let mut entries = Vec::new();
    for line in lines {
        let Some(look) = line.look else { continue };
        if line.cdf.total() > 0 {
            chart.line(&line.cdf.stair(low, high), look)?;
            for share in [0.5, 0.99] {
                if let (Some(at), Some(glyph)) = (line.cdf.quantile(share), look.glyph) {
                    canvas.glyph(chart.at(at, line.cdf.within(at).unwrap_or(share)), glyph, look.color)?;
                }
            }
        }
        entries.push(Entry { look, label: line.label.clone(), details: line.details(unit) });
    }
    if lines.iter().any(|line| line.look.is_none()) {
        entries.push(Entry { look: CONTEXT, label: "each pair of regions".into(), details: Vec::new() });
    }
    canvas.legend((px(LEGEND), plot.top), px(896 - LEGEND), &entries)?;
    Ok(())
}

/// Draws vertical lines whose labels, above the plot, do not meet.
fn post(chart: &Chart, posts: &[Post]) -> Drawn {
    let mut taken: Vec<(i32, i32)> = Vec::new();
    for post in posts {
        let x = chart.at(post.at, 0.0).0;
        let rise: Vec<Spot> = vec![(x, chart.plot.top - px(4)), (x, chart.plot.bottom)];
        chart.canvas.path(rise, post.look)?;
        let width = text_width(&post.label, 11);
        // The title of the vertical axis has its place on the left.
        let room = chart.plot.left + text_width(&chart.y.title, 11) - px(LEFT - 12);
        let left = (x - width / 2).min(chart.plot.right + px(12) - width).max(chart.plot.left);
        let clash = |row: i32| {
            let over = taken.iter().any(|(r, end)| *r == row && left < *end + px(8));
            over || (row == 0 && left < room)
        };
        let row = (0..3).find(|row| !clash(*row)).unwrap_or(2);
        taken.push((row, left + width));
        let spot = (left, chart.plot.top - px(12 + 14 * row));
        chart.canvas.text(&post.label, spot, Type { color: MUTED, ..NOTE })?;
    }
    Ok(())
}

/// Convergence: after each fault, by pair of regions, and after the final healing.
pub(super) fn convergence(lines: &[Curve], posts: &[Post], since: Since) -> Result<String, ReportError> {
    let about = "Cumulative shares: seconds after a fault ended, and the share of region pairs that had caught up.";
    sheet("convergence", ("Convergence after a fault ended", about), 366, |canvas| {
        let plot = Area::of(LEFT, 56, LEGEND - 24, 314);
        if posts.is_empty() && lines.iter().all(|line| line.cdf.total() == 0) {
            return canvas.no_data(plot, "no fault ended and nothing converged");
        }
        let seen = lines.iter().filter_map(|line| line.cdf.max()).fold(0.0, f64::max);
        let max = posts.iter().map(|post| post.at).fold(seen, f64::max);
        let middles = lines.iter().filter_map(|line| line.cdf.quantile(0.5)).chain(posts.iter().map(|post| post.at));
        let middle = middles.fold(f64::INFINITY, f64::min);
        let since = match since {
            Since::Fault => "time since the fault ended",
            Since::Healing => "time since the final healing",
        };
        let x = if middle < max / 12.0 {
            Axis::log_seconds(max).titled(format!("{since} (logarithmic from 0.1 s)"))
        } else {
            Axis::linear(max, 6, |v| format!("{}\u{202f}s", units::digits(v))).titled(since)
        };
        draw(canvas, plot, x, "share that has caught up", lines, posts, units::seconds)
    })
}

/// The lines and posts of the convergence of one scenario. The final healing has a line only if there are many runs. It
/// has a post only if no pair ever had to recover, because beside recoveries the post would look like their end.
pub(super) fn convergence_of(summary: &Summary) -> (Vec<Curve>, Vec<Post>, Since) {
    let (mut lines, mut posts) = (Vec::new(), Vec::new());
    let since = if summary.recovered.total() > 0 { Since::Fault } else { Since::Healing };
    if since == Since::Fault {
        lines.push(Curve {
            label: "pairs, after any fault".into(),
            cdf: summary.recovered.clone(),
            look: Some(look(0)),
            note: Some(summary.behind_in_short()),
        });
    }
    if summary.runs > 1 {
        lines.push(Curve {
            label: "all, after the final healing".into(),
            cdf: summary.converged.clone(),
            look: Some(look(1)),
            note: None,
        });
    } else if let Some(took) = summary.converged.max().filter(|_| since == Since::Healing) {
        posts.push(Post { at: took, label: format!("all converged {}", units::seconds(took)), look: POST });
    }
    if summary.bound > 0.0 && !(lines.is_empty() && posts.is_empty()) {
        let label = format!("bound of the final healing {}", units::seconds(summary.bound));
        posts.push(Post { at: summary.bound, label, look: BOUND });
    }
    (lines, posts, since)
}

/// Staleness: how likely a read sees a write that was acknowledged some time before.
pub(super) fn staleness(lines: &[Curve]) -> Result<String, ReportError> {
    let about = "Probability that a read in one region sees a write acknowledged in another at most so long before.";
    sheet("staleness", ("Staleness", about), 430, |canvas| {
        let plot = Area::of(LEFT, 34, LEGEND - 24, 374);
        if lines.iter().all(|line| line.cdf.total() == 0) {
            return canvas.no_data(plot, "no write was looked for in another region");
        }
        let max = lines.iter().filter_map(|line| line.cdf.max()).fold(0.0, f64::max);
        let x = Axis::log_millis(max).titled("time since the write was acknowledged (logarithmic)");
        draw(canvas, plot, x, "probability that a read sees the write", lines, &[], units::millis)
    })
}

/// The lines of the staleness of one scenario: one for each pair if they are few, otherwise one for each writing
/// region before all pairs.
pub(super) fn staleness_of(runs: &[Figures]) -> Vec<Curve> {
    let Some(first) = runs.first() else { return Vec::new() };
    let mut pairs: Vec<(NodeIndex, NodeIndex)> =
        runs.iter().flat_map(|run| &run.staleness).map(|s| (s.from, s.to)).filter(|(from, to)| from != to).collect();
    pairs.sort_unstable();
    pairs.dedup();
    let few = pairs.len() <= LINES;
    let mut lines: Vec<Curve> = pairs
        .iter()
        .map(|(from, to)| Curve {
            label: format!("{} → {}", name(first, *from), name(first, *to)),
            cdf: pool(runs, |pair| (pair.from, pair.to) == (*from, *to)),
            look: None,
            note: None,
        })
        .collect();
    if !few {
        let mut writers: Vec<NodeIndex> = pairs.iter().map(|(from, _)| *from).collect();
        writers.dedup();
        let mut pooled: Vec<(NodeIndex, Curve)> = writers
            .into_iter()
            .map(|from| {
                let cdf = pool(runs, |pair| pair.from == from && pair.to != from);
                (from, Curve { label: format!("written in {}", name(first, from)), cdf, look: None, note: None })
            })
            .collect();
        // Of many writing regions the slowest are worth a line; the others stay in grey with their pairs.
        pooled.sort_by(|a, b| tail(&b.1).total_cmp(&tail(&a.1)));
        pooled.truncate(LINES);
        pooled.sort_by_key(|(from, _)| *from);
        let mut pooled: Vec<Curve> = pooled.into_iter().map(|(_, line)| line).collect();
        lines.retain(|line| line.cdf.total() > 0);
        number(&mut pooled);
        lines.extend(pooled);
    } else {
        number(&mut lines);
    }
    lines
}

fn number(lines: &mut [Curve]) {
    for (at, line) in lines.iter_mut().enumerate() {
        line.look = Some(look(at));
    }
}

fn tail(line: &Curve) -> f64 {
    line.cdf.quantile(0.99).unwrap_or(f64::INFINITY)
}
