//! The page: figures, verdict, plots and tables in one file that needs nothing else. Everything is escaped by the
//! template engine, except for the plots, whose text plotters has escaped.

use std::borrow::Cow;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use super::compare::Row;
use super::summary::Summary;
use super::tables::ShownTable;
use super::units;
use crate::figures::Figures;

const TEMPLATE: &str = include_str!("page.html.j2");

/// The ending makes the engine escape.
const NAME: &str = "page.html.j2";

/// How many seeds are spelt out.
const SEEDS: usize = 24;

/// Everything that the template uses.
#[derive(Debug, Default, Serialize)]
pub(super) struct Page<'a> {
    pub(super) title: String,
    pub(super) about: String,
    pub(super) command: &'a str,
    pub(super) seeds: String,
    pub(super) trace: String,
    pub(super) source: Option<Source>,
    pub(super) runs: usize,
    pub(super) settings: Vec<(String, String)>,
    pub(super) verdict: Verdict,
    pub(super) figures: Vec<Figure>,
    /// Labels of the sides and the folders of their own reports.
    pub(super) sides: Vec<(String, String)>,
    pub(super) comparison: Vec<Row>,
    /// Which run the plots over time show, if there are several.
    pub(super) shown: String,
    pub(super) sections: Vec<Section>,
    pub(super) tables: Vec<ShownTable>,
}

/// The file that makes the runs again.
#[derive(Debug, Serialize)]
pub(super) struct Source {
    pub(super) label: &'static str,
    pub(super) file: String,
    pub(super) note: String,
}

impl Source {
    pub(super) fn plan(seed: u64) -> Self {
        let file = format!("plan-{seed}.toml");
        let note = format!("every request and every fault; `meridian simulate replay {file}` compares the trace");
        Self { label: "Plan", file, note }
    }

    pub(super) fn scenario() -> Self {
        Self { label: "Scenario", file: "scenario.toml".into(), note: "as it was run, with its settings".into() }
    }
}

/// Whether all is well, and what is not.
#[derive(Debug, Default, Serialize)]
pub(super) struct Verdict {
    pub(super) held: bool,
    pub(super) headline: String,
    /// Where and what.
    pub(super) broken: Vec<(String, String)>,
    pub(super) unmet: Vec<(String, String)>,
}

/// A key figure.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    pub(super) label: &'static str,
    pub(super) value: String,
    pub(super) note: String,
}

/// A plot with its caption.
#[derive(Debug, Serialize)]
pub(super) struct Section {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) caption: Cow<'static, str>,
    pub(super) svg: String,
}

impl Page<'_> {
    /// The page as HTML.
    pub(super) fn render(&self) -> Result<String, minijinja::Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment.add_template(NAME, TEMPLATE)?;
        environment.get_template(NAME)?.render(Serde(self))
    }
}

/// The verdict on all sides.
pub(super) fn verdict<'s>(sides: impl IntoIterator<Item = (Option<&'s str>, &'s Summary)>) -> Verdict {
    let mut verdict = Verdict::default();
    let mut runs = 0;
    for (label, side) in sides {
        runs += side.runs;
        let place = |seed: &u64| label.map_or_else(|| format!("seed {seed}"), |l| format!("{l}, seed {seed}"));
        verdict.broken.extend(side.broken.iter().map(|(seed, name)| (place(seed), name.clone())));
        verdict.unmet.extend(side.unmet.iter().map(|(seed, unmet)| (place(seed), unmet.clone())));
    }
    verdict.held = verdict.broken.is_empty() && verdict.unmet.is_empty();
    verdict.headline = match (runs, verdict.broken.len(), verdict.unmet.len()) {
        (0, ..) => "No runs.".into(),
        (1, 0, 0) => "All invariants held, and the regions converged.".into(),
        (_, 0, 0) => format!("All invariants held and the regions converged in all {runs} runs."),
        (_, 0, late) => format!("All invariants held, but {late} of {runs} runs did not converge within the bound."),
        (_, 1, _) => "1 invariant is broken.".into(),
        (_, broken, _) => format!("{broken} invariants are broken."),
    };
    verdict
}

/// The key figures of one scenario.
pub(super) fn figures(summary: &Summary) -> Vec<Figure> {
    let [recovered, converged] = [recovery(summary), convergence(summary)];
    let stale = |q| {
        summary.staleness.quantile(q).map_or_else(
            || if summary.staleness.total() > 0 { "never".into() } else { units::NONE.into() },
            units::millis,
        )
    };
    let never = format!(
        "p99 {}; {} of {} never seen",
        stale(0.99),
        units::count(summary.staleness.never()),
        units::count(summary.staleness.total())
    );
    let requests = summary.requests;
    let home = units::or_none(summary.answered_at_home(), units::percent);
    let parts = summary.bytes.parts().map(|part| units::or_none(summary.per_write(part), units::bytes));
    let [payload, metadata, control] = parts;
    vec![
        recovered,
        converged,
        Figure { label: "Median staleness", value: stale(0.5), note: never },
        Figure {
            label: "Requests done or shown",
            value: units::or_none(summary.done(), units::percent),
            note: format!(
                "the others: {} gone (erased or expired), {} unknown there, {} stale, {} full, {} failed{}; {home} of \
                 all answered by the nearest region",
                units::count(requests.gone),
                units::count(requests.unknown),
                units::count(requests.stale),
                units::count(requests.full),
                units::count(requests.failed),
                requests.conflicts()
            ),
        },
        Figure {
            label: "Bytes per acknowledged write",
            value: units::or_none(summary.per_write(summary.bytes.all()), units::bytes),
            note: format!("payload {payload}, metadata {metadata}, control {control}"),
        },
        lost(summary),
    ]
}

/// The writes lost by contract, by region.
fn lost(summary: &Summary) -> Figure {
    let note = if summary.lost == 0 {
        format!("of {} acknowledged writes", units::count(summary.writes))
    } else {
        let regions = summary.lost_in.iter().map(|(region, lost)| format!("{region} {}", units::count(*lost)));
        let regions: Vec<String> = regions.collect();
        format!(
            "of {} acknowledged writes, because every disk that had them went back in time or was taken away: {}; {} \
             erasures came undone",
            units::count(summary.writes),
            regions.join(", "),
            units::count(summary.undone)
        )
    };
    Figure { label: "Lost by contract", value: units::count(summary.lost), note }
}

/// The trace of a run; several have theirs in a table.
pub(super) fn trace(runs: &[Figures]) -> String {
    match runs {
        [] => units::NONE.into(),
        [run] => run.trace.to_string(),
        _ => "of each run in convergence.csv".into(),
    }
}

/// What a fault costs: the pair of regions that needed the longest after one.
fn recovery(summary: &Summary) -> Figure {
    let label = "Slowest recovery";
    let (value, note) = match (summary.fault_ends, summary.recovered.total(), summary.slowest_recovery()) {
        (0, 0, _) => (units::NONE.into(), "no fault ended before the final healing".into()),
        (_, 0, _) => ("not needed".into(), format!("{} when a fault ended", summary.behind())),
        (.., Some(slowest)) => (units::seconds(slowest), format!("after a fault; {}", summary.behind())),
        (.., None) => {
            let never = units::count(summary.recovered.never());
            ("never".into(), format!("{never} pairs did not recover after a fault; {}", summary.behind()))
        }
    };
    Figure { label, value, note }
}

/// The time to converge after the final healing. Most faults are over by then, so it says little about them.
fn convergence(summary: &Summary) -> Figure {
    let seconds = |value: Option<f64>| units::or_none(value, units::seconds);
    let (healed, bound) = (units::seconds(summary.healed_at), units::seconds(summary.bound));
    if summary.runs > 1 {
        let slowest = seconds(summary.converged.max());
        let converged = summary.converged.total() - summary.converged.never();
        let value = format!("{converged} of {} runs", summary.runs);
        let mut note = format!("slowest {slowest} after the final healing at {healed}; bound {bound}");
        if summary.unhealed > 0 {
            note.push_str(&format!("; {} broken off before it", summary.unhealed));
        }
        Figure { label: "Converged", value, note }
    } else if summary.unhealed > 0 {
        let note = "the run was broken off before the final healing".into();
        Figure { label: "Converged in", value: units::NONE.into(), note }
    } else {
        let value = if summary.unmet.is_empty() { seconds(summary.converged.max()) } else { "no".into() };
        Figure { label: "Converged in", value, note: format!("after the final healing at {healed}; bound {bound}") }
    }
}

/// The seeds in words.
pub(super) fn seeds<'m>(runs: impl IntoIterator<Item = &'m Figures>) -> String {
    let mut seeds: Vec<u64> = runs.into_iter().map(|run| run.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let said: Vec<String> = seeds.iter().take(SEEDS).map(u64::to_string).collect();
    let rest = seeds.len().saturating_sub(SEEDS);
    match (seeds.as_slice(), rest) {
        ([], _) => units::NONE.into(),
        ([first, .., last], _) if seeds.len() > 2 && last - first == seeds.len() as u64 - 1 => {
            format!("{first} to {last}")
        }
        (_, 0) => said.join(", "),
        _ => format!("{} and {rest} more", said.join(", ")),
    }
}
