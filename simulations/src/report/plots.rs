//! The plots of a report, and the text that explains each to its reader.

use std::borrow::Cow;

use super::error::ReportError;
use super::page::Section;
use super::summary::{Requests, Summary, telling};
use super::{availability, cdf, compare, faults, heat, timelines, traffic, units};
use crate::figures::{Figures, Sample};

const CONVERGENCE: &str = "How to read it: of the ordered pairs of regions that were behind when a fault ended, the line shows which share had caught up at most so long after; steeper and further left is better. A line that ends below 100 % means that the rest never caught up. The dashed vertical line is the bound for the final healing, computed from the network and the timers.";
const STALENESS: &str = "Probabilistically bounded staleness: the height of a line is the probability that a read sees a write that was acknowledged in the other region at most so long before. Marks sit at 50 % and 99 %; what was never shown keeps a line below 100 %.";
const MAP: &str = "Rows are where a write was acknowledged, columns where it was looked for. Each cell has the median in bold and the 99th percentile below it; darker cells are staler.";
const FAULTS: &str = "Each bar is a fault; a thin one is a moment. The numbers are the same in all plots below; where very many overlap, those plots leave some numbers out.";
const LAG: &str = "What each region does not know yet: the number of entries of all other regions together, and the age of the oldest of them. Hatched bands are faults; a gap in a line means that the region was down. In a long run each point is the worst of its slice of time.";
const COMPLETENESS: &str = "A guest list in this region has every visit up to so long ago; the worst other region counts. Lower is better, and a line that climbs with time means that some region is not heard of. Bars below the plot show when a region cannot say.";
const AVAILABILITY: &str = "One panel for the clients of each region, dashed lines where faults begin and end. Light: their nearest region answered. Hatched: another region answered. Dark: no region answered; any failure is drawn at least two pixels high. Every answer counts here, also a refusal.";
const BYTES: &str = "Bytes sent over each directed pair, divided by all acknowledged writes of all regions, so that the bars add up to the cost of one write. Payload is counted before compression, metadata after it; control is greetings and progress, which flow without writes as well.";
const STORAGE: &str = "What each region stores. Regions that hold the same lie on each other; a lasting distance means that they differ, and a line of tombstones that only climbs means that none are removed.";
const SIDES_CONVERGENCE: &str = "One line for each setting: of the ordered pairs of regions that were behind when a fault ended, the share that had caught up at most so long after. If no pair ever was, the share of runs that had converged at most so long after the final healing.";
const SIDES_STALENESS: &str = "One line for each setting, all pairs of regions together: the probability that a read sees a write acknowledged at most so long before. Marks sit at 50 % and 99 %.";
const SIDES_BYTES: &str = "Bytes sent between regions, divided by the acknowledged writes, for each setting. Payload is counted before compression, metadata after it; control is greetings and progress.";

/// The plots of one scenario: those over all runs first, then those of the telling run.
pub(super) fn of_runs(runs: &[Figures], summary: &Summary) -> Result<Vec<Section>, ReportError> {
    let empty = Figures::default();
    let run = telling(runs).unwrap_or(&empty);
    let (lines, posts, since) = cdf::convergence_of(summary);
    let caught_up = format!(
        "{CONVERGENCE} When a fault ended ({} times), {}; the others had nothing to catch up with and are not counted.",
        units::count(summary.fault_ends),
        summary.behind()
    );
    let answers = format!(
        "{AVAILABILITY} Requests of this run: {}. Gone is the right answer for a visit that was erased.",
        Requests::of(run).words()
    );
    let stored = format!("{STORAGE}{}", forgotten(run));
    Ok(vec![
        section("convergence", "Convergence after a fault", caught_up, cdf::convergence(&lines, &posts, since)?),
        section("staleness", "Staleness", STALENESS, cdf::staleness(&cdf::staleness_of(runs))?),
        section("staleness-map", "Staleness from region to region", MAP, heat::figure(runs)?),
        section("bytes", "Bytes per write", BYTES, traffic::figure(runs, summary)?),
        section("faults", "Faults", FAULTS, faults::figure(run)?),
        section("lag", "Lag over time", LAG, timelines::lag(run)?),
        section("completeness", "Completeness of guest lists", COMPLETENESS, timelines::completeness(run)?),
        section("availability", "Availability", answers, availability::figure(run)?),
        section("storage", "Stored data", stored, timelines::storage(run)?),
    ])
}

/// What happened to the data after the run, in a sentence.
fn forgotten(run: &Figures) -> String {
    if run.forgotten.is_empty() {
        return String::new();
    }
    let of = |value: fn(&Sample) -> u64| run.forgotten.iter().map(value).sum::<u64>();
    format!(
        " The lines end when the regions have converged. Then nights passed until the longest retention was over, and \
         all regions together had {} documents, {} tombstones and {} log entries left ({}).",
        units::count(of(|s| s.documents)),
        units::count(of(|s| s.tombstones)),
        units::count(of(|s| s.log_entries)),
        units::bytes(of(|s| s.bytes) as f64)
    )
}

/// The plots of a comparison.
pub(super) fn of_sides(sides: &[(String, Summary)]) -> Result<Vec<Section>, ReportError> {
    let (lines, since) = compare::convergence(sides);
    Ok(vec![
        section("convergence", "Convergence after a fault", SIDES_CONVERGENCE, cdf::convergence(&lines, &[], since)?),
        section("staleness", "Staleness", SIDES_STALENESS, cdf::staleness(&compare::staleness(sides))?),
        section("bytes", "Bytes per write", SIDES_BYTES, traffic::comparison(sides)?),
    ])
}

fn section(id: &'static str, title: &'static str, caption: impl Into<Cow<'static, str>>, svg: String) -> Section {
    Section { id, title, caption: caption.into(), svg }
}
