//! `index.html`: the verdict, the figures and the plots for a person, in one file. The template engine escapes all text;
//! the plots' text was escaped by plotters.

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use super::plot::Plot;
use super::{Earlier, Report, Restored, Verdict, seconds};
use crate::drill::ledger::ClientKind;

const TEMPLATE: &str = include_str!("page.html.j2");

/// The ending makes the engine escape.
const NAME: &str = "page.html.j2";

#[derive(Serialize)]
struct Page<'a> {
    report: &'a Report,
    /// `good`, or `bad`.
    tone: &'static str,
    verdict: &'static str,
    sentence: String,
    subtitle: String,
    begun: String,
    cards: Vec<Card>,
    plots: &'a [Plot],
    /// What is told of a backup, line by line.
    restored: Vec<(&'static str, String)>,
    earlier: Vec<Row>,
}

#[derive(Serialize)]
struct Card {
    label: &'static str,
    value: String,
    note: String,
}

#[derive(Serialize)]
struct Row {
    begun: String,
    verdict: String,
    dns: String,
    rto: String,
    failed: usize,
    lost: usize,
    converged: String,
}

/// Fills the page.
pub(super) fn render(report: &Report, plots: &[Plot], earlier: &[Earlier]) -> Result<String, minijinja::Error> {
    let verdict = match report.verdict {
        Verdict::Met => "✓ Objectives met.",
        Verdict::Missed => "✗ Objectives missed.",
        Verdict::Aborted => "■ Aborted and restored.",
        Verdict::Refused => "⊘ Refused before it began.",
    };
    let sentence = match report.verdict {
        Verdict::Met => report.about.clone(),
        Verdict::Missed => {
            let missed = report.objectives.iter().filter(|one| !one.met).map(|one| one.name);
            format!("{}.", missed.collect::<Vec<_>>().join(", "))
        }
        Verdict::Aborted | Verdict::Refused => report.reason.clone().unwrap_or_default(),
    };
    let region = report.region.as_ref().map_or(String::new(), |region| format!(" of {region}"));
    let page = Page {
        report,
        tone: if report.verdict == Verdict::Met { "good" } else { "bad" },
        verdict,
        sentence,
        subtitle: format!("Mode {}{region} · {} check-ins/s", report.mode, report.rate),
        begun: report.begun.strftime("%-d %b %Y, %H:%M:%S UTC").to_string(),
        cards: if plots.is_empty() { Vec::new() } else { cards(report) },
        plots,
        restored: report.restored.as_ref().map(Restored::lines).unwrap_or_default(),
        earlier: [Row::of_this(report)]
            .into_iter()
            .filter(|_| !plots.is_empty())
            .chain(earlier.iter().map(Row::of))
            .collect(),
    };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_template(NAME, TEMPLATE)?;
    environment.get_template(NAME)?.render(Serde(&page))
}

fn cards(report: &Report) -> Vec<Card> {
    let objective = |name: &str| {
        let found = report.objectives.iter().find(|one| one.name == name);
        found.map_or(String::new(), |one| format!("objective {} s", one.bound))
    };
    let failed = |kind: ClientKind| report.failed.get(kind.name()).copied().unwrap_or_default();
    let rpo = match (report.rpo.unreplicated, report.rpo.oldest_s) {
        (Some(0), _) => "every acknowledged write was in two regions".to_owned(),
        (Some(count), oldest) => format!("{count} were in one region for {}", seconds(oldest)),
        (None, _) => format!("of {} acknowledged check-ins", report.acknowledged),
    };
    let restored = report.restored.as_ref().map(|restored| Card {
        label: "Backup put back in",
        value: seconds(restored.restore_s),
        note: format!("{} old, caught up after {}", seconds(restored.age_s), seconds(restored.caught_up_s)),
    });
    let cards = vec![
        Card {
            label: "Failed through the edge",
            value: failed(ClientKind::Edge).to_string(),
            note: format!("of {}", report.sent_by(ClientKind::Edge)),
        },
        Card { label: "Lost for good", value: report.rpo.lost.to_string(), note: rpo },
        Card { label: "DNS answers elsewhere", value: seconds(report.dns_s), note: objective("dns") },
        Card {
            label: "RTO, clients by DNS",
            value: seconds(report.rto_s.get("ttl").copied().flatten()),
            note: format!("{} of {} failed", failed(ClientKind::Ttl), report.sent_by(ClientKind::Ttl)),
        },
        Card {
            label: "Equal again after the restore",
            value: seconds(report.converged_s),
            note: objective("converged"),
        },
    ];
    cards.into_iter().chain(restored).collect()
}

impl Row {
    fn of(earlier: &Earlier) -> Row {
        Row {
            begun: earlier.begun.strftime("%-d %b %Y, %H:%M").to_string(),
            verdict: earlier.verdict.clone(),
            dns: seconds(earlier.dns_s),
            rto: seconds(earlier.rto_s.get("ttl").copied().flatten()),
            failed: earlier.failed.get("edge").copied().unwrap_or_default(),
            lost: earlier.rpo.lost,
            converged: seconds(earlier.converged_s),
        }
    }

    /// The row of this run, among those of earlier ones.
    fn of_this(report: &Report) -> Row {
        Row { begun: format!("this run, {}", report.begun.strftime("%H:%M")), ..Row::of(&Earlier::from(report)) }
    }
}
