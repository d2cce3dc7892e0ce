//! Reads every guest list back in every region and compares it with the acknowledged operations.
//!
//! # What must hold for each target
//! - An acknowledged check-in is in the list once, with its persons, corrected if the correction was acknowledged.
//! - A visit whose erasure was acknowledged is not in the list, and neither is a visit that was never sent.
//! - A visit without an answer may be in the list or not, but equally in all targets.

pub(crate) mod list;
mod truth;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::ProgressBar;
use jiff::Timestamp;
use serde::Serialize;

use self::truth::{Seen, Truth};
use super::run::Ran;
use super::shared::Shared;
use crate::support::poll;
use api::client::Base;

/// Most examples of errors that are printed.
const EXAMPLES: usize = 10;

/// The outcome for all targets.
#[derive(Debug, Serialize)]
pub(crate) struct Verification {
    /// Whether everything holds.
    pub(crate) passed: bool,
    /// Visits compared in each target.
    pub(crate) visits: u64,
    /// Seconds until all targets were complete, or until the time limit.
    pub(crate) waited_s: f64,
    /// Seconds of reading and comparing.
    pub(crate) read_s: f64,
    /// Visits that differ between targets.
    pub(crate) differing: u64,
    /// One entry for each target.
    pub(crate) targets: Vec<Checked>,
    /// The errors of the first few visits.
    pub(crate) examples: Vec<String>,
}

/// The outcome for one target.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Checked {
    /// Its URL.
    pub(crate) target: String,
    /// Whether its guest lists covered the whole run, according to their completeness.
    pub(crate) complete: bool,
    /// Why it is not complete or could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// Rows read.
    pub(crate) rows: u64,
    /// Acknowledged, but not in the list.
    pub(crate) missing: u64,
    /// More than once in the list.
    pub(crate) twice: u64,
    /// Erased, but in the list.
    pub(crate) resurrected: u64,
    /// In the list with other content.
    pub(crate) wrong: u64,
    /// In the list, but never sent.
    pub(crate) strangers: u64,
}

impl Checked {
    fn holds(&self) -> bool {
        let wrong = self.missing + self.twice + self.resurrected + self.wrong + self.strangers;
        self.complete && self.error.is_none() && wrong == 0
    }
}

/// Waits until every target is complete, at most `patience`, then reads and compares.
pub(crate) async fn verify(shared: &Arc<Shared>, ran: &Ran, patience: Duration, progress: bool) -> Verification {
    let bar = if progress { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    let begun = Instant::now();
    let mut incomplete = Vec::new();
    for target in shared.read_at.iter() {
        bar.set_message(format!("waiting until {target} is complete"));
        bar.tick();
        let left = patience.saturating_sub(begun.elapsed());
        incomplete.push(complete(shared, target, ran, left).await.err());
    }
    let waited_s = begun.elapsed().as_secs_f64();
    let reading = Instant::now();
    let truth = Arc::new(Truth::new(Arc::clone(shared), ran));
    let mut outcome = pass(&truth, &incomplete, &bar).await;
    // An operation without an answer may still have been executed while the first lists were read.
    if outcome.differing > 0 && outcome.targets.iter().all(Checked::holds) {
        outcome = pass(&truth, &incomplete, &bar).await;
    }
    bar.finish_and_clear();
    Verification { waited_s, read_s: reading.elapsed().as_secs_f64(), ..outcome }
}

/// Waits until a target's guest lists cover the whole run.
async fn complete(shared: &Shared, target: &Base, ran: &Ran, patience: Duration) -> anyhow::Result<()> {
    let venue = shared.venues.first().context("there is no venue")?;
    let end = Timestamp::from_millisecond(ran.between.1.0.cast_signed())?;
    poll::until(patience, async || {
        let completeness = list::completeness(target, venue).await?;
        let late: Vec<String> = completeness
            .into_iter()
            .filter(|(_, through)| through.is_none_or(|through| through < end))
            .map(|(region, through)| match through {
                Some(through) => format!("{region} through {through}"),
                None => format!("{region} unknown"),
            })
            .collect();
        anyhow::ensure!(late.is_empty(), "not complete: {}, wanted through {end}", late.join(", "));
        Ok(())
    })
    .await
}

/// Reads all targets at the same time and compares them.
async fn pass(truth: &Arc<Truth>, incomplete: &[Option<anyhow::Error>], bar: &ProgressBar) -> Verification {
    let mut reading = tokio::task::JoinSet::new();
    for target in 0..truth.targets() {
        let (truth, bar) = (Arc::clone(truth), bar.clone());
        reading.spawn(async move {
            let mut seen = truth.nothing_seen();
            let read = truth.read(target, &mut seen, &bar).await;
            (target, seen, read.err())
        });
    }
    let mut read = reading.join_all().await;
    read.sort_by_key(|(target, ..)| *target);
    let mut outcome = Verification {
        passed: false,
        visits: truth.visits.len() as u64,
        waited_s: 0.0,
        read_s: 0.0,
        differing: 0,
        targets: Vec::new(),
        examples: Vec::new(),
    };
    for ((target, seen, error), incomplete) in read.iter().zip(incomplete) {
        let checked = truth.judge(*target, seen, &mut outcome.examples);
        let why = incomplete.as_ref().or(error.as_ref()).map(|error| format!("{error:#}"));
        outcome.targets.push(Checked { complete: incomplete.is_none(), error: why, ..checked });
    }
    let readable: Vec<&Seen> = read.iter().filter(|(.., error)| error.is_none()).map(|(_, seen, _)| seen).collect();
    outcome.differing = truth.differing(&readable, &mut outcome.examples);
    outcome.passed = outcome.differing == 0 && outcome.targets.iter().all(Checked::holds);
    outcome
}
