//! The report of a drill: `report.json`, `report.md` and one page that needs no other file.
//!
//! The page is filled by minijinja and its plot drawn by plotters, as the simulator's reports are.

mod history;
mod markdown;
mod page;
mod plot;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use api::{RegionId, named};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::figures::Recovery;
use super::ledger::{ClientKind, Follow, Sample};
use super::observe::Brief;
use super::plan::Mode;
use super::preflight::Check;

named! {
    /// How a drill ended.
    Verdict {
        /// All objectives are met.
        Met = "met",
        /// An objective is missed.
        Missed = "missed",
        /// A guard rail or an operator ended it.
        Aborted = "aborted",
        /// It did not begin.
        Refused = "refused",
    }
}

/// `report.json`. Seconds count from the fault; of a drain `detect_s`, `dns_s` and `edge_s` count from its last
/// step, the others from its first.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) verdict: Verdict,
    pub(crate) mode: Mode,
    pub(crate) region: Option<RegionId>,
    /// The id of this run.
    pub(crate) run: String,
    pub(crate) by: String,
    pub(crate) version: &'static str,
    pub(crate) begun: Timestamp,
    pub(crate) ended: Timestamp,
    /// Check-ins per second, all clients together.
    pub(crate) rate: f64,
    /// Why it was refused or aborted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    pub(crate) checks: Vec<Check>,
    /// Until every router that answers takes the region for out of service.
    pub(crate) detect_s: Option<f64>,
    /// Until no name server leads a client to the region.
    pub(crate) dns_s: Option<f64>,
    /// Until the edge sends nothing more to the region.
    pub(crate) edge_s: Option<f64>,
    /// Until 99 of 100 check-ins are good, by kind of client.
    pub(crate) rto_s: BTreeMap<&'static str, Option<f64>>,
    /// The same for 95, 99 and all of 100.
    pub(crate) recovery: BTreeMap<&'static str, Recovery>,
    pub(crate) rpo: Rpo,
    /// Check-ins from the fault on, by kind of client.
    pub(crate) failed: BTreeMap<&'static str, usize>,
    pub(crate) sent: BTreeMap<&'static str, usize>,
    pub(crate) session_breaches: u64,
    pub(crate) follow: FollowShown,
    /// From the restore until every region has all that every region acknowledged.
    pub(crate) converged_s: Option<f64>,
    /// The backup that took the place of a store; absent if none was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) restored: Option<Restored>,
    /// Acknowledged check-ins that the proof looked for.
    pub(crate) acknowledged: usize,
    /// Expired or erased visits that a region showed.
    pub(crate) resurrected: usize,
    /// Visits of the drill that could not be erased afterwards.
    pub(crate) left_behind: usize,
    pub(crate) objectives: Vec<Objective>,
    pub(crate) timeline: Vec<Event>,
    /// What went wrong beside the drill itself.
    pub(crate) errors: Vec<String>,
}

/// Acknowledged writes at the moment of the fault.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Rpo {
    /// They were in no other region; `null` if the drill does not separate the region from the others.
    pub(crate) unreplicated: Option<usize>,
    /// How long ago the oldest of them was acknowledged.
    pub(crate) oldest_s: Option<f64>,
    /// They are lost for good.
    pub(crate) lost: usize,
}

/// A backup, and the store that was made of it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Restored {
    pub(crate) backup_bytes: u64,
    /// How long it took to make the backup.
    pub(crate) backup_s: f64,
    /// Visits of the backup that guests erased afterwards.
    pub(crate) erased_since: usize,
    pub(crate) corrected_since: usize,
    /// How old it was when it was put back; `null` if it was not.
    pub(crate) age_s: Option<f64>,
    /// How long it took to put it back.
    pub(crate) restore_s: Option<f64>,
    /// Documents of it that were put back, and those that had expired and were not.
    pub(crate) documents: u64,
    pub(crate) expired: u64,
    /// From the start of the node until it had what the others have; `null` if never.
    pub(crate) caught_up_s: Option<f64>,
    /// Erased visits that the restored region was asked for and has not got.
    pub(crate) gone: usize,
    /// Files with guests' data that the drill made and removed.
    pub(crate) removed: Vec<String>,
    /// Those that it left, with what to do.
    pub(crate) left: Vec<String>,
}

/// What else the clients did.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct FollowShown {
    pub(crate) corrected: u64,
    pub(crate) erased: u64,
    pub(crate) read: u64,
    pub(crate) stale: u64,
    pub(crate) failed: u64,
}

impl From<Follow> for FollowShown {
    fn from(follow: Follow) -> Self {
        Self {
            corrected: follow.corrected,
            erased: follow.erased,
            read: follow.read,
            stale: follow.stale,
            failed: follow.failed,
        }
    }
}

/// One objective.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Objective {
    pub(crate) name: &'static str,
    /// `s` for seconds; empty for a count.
    pub(crate) unit: &'static str,
    /// The bound.
    pub(crate) bound: f64,
    /// What was measured; `null` if it never happened.
    pub(crate) measured: Option<f64>,
    pub(crate) met: bool,
}

/// Something that happened, in seconds from the start of the drill.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Event {
    pub(crate) at_s: f64,
    pub(crate) what: String,
}

/// A report of an earlier run, as far as it is compared.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Earlier {
    pub(crate) name: String,
    pub(crate) run: String,
    pub(crate) verdict: String,
    pub(crate) begun: Timestamp,
    pub(crate) dns_s: Option<f64>,
    pub(crate) rto_s: BTreeMap<String, Option<f64>>,
    pub(crate) failed: BTreeMap<String, usize>,
    pub(crate) rpo: EarlierRpo,
    pub(crate) converged_s: Option<f64>,
}

/// The part of an earlier report that says what was lost.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct EarlierRpo {
    pub(crate) lost: usize,
}

impl From<&Report> for Earlier {
    /// The report as later runs will read it.
    fn from(report: &Report) -> Self {
        Self {
            name: report.name.clone(),
            run: report.run.clone(),
            verdict: report.verdict.to_string(),
            begun: report.begun,
            dns_s: report.dns_s,
            rto_s: report.rto_s.iter().map(|(kind, rto)| ((*kind).to_owned(), *rto)).collect(),
            failed: report.failed.iter().map(|(kind, failed)| ((*kind).to_owned(), *failed)).collect(),
            rpo: EarlierRpo { lost: report.rpo.lost },
            converged_s: report.converged_s,
        }
    }
}

/// What the plots need beside the report.
#[derive(Default)]
pub(crate) struct Course {
    pub(crate) samples: Vec<Sample>,
    pub(crate) looks: Vec<Brief>,
    pub(crate) moments: Option<super::figures::Moments>,
}

/// Writes the report into a folder.
pub(crate) fn write(folder: &Path, report: &Report, course: &Course) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let earlier = history::read(folder, report);
    let plots = plot::draw(report, course)?;
    let page = page::render(report, &plots, &earlier)?;
    let mut json = serde_json::to_string_pretty(report)?;
    json.push('\n');
    for (name, text) in
        [("report.json", &json), ("report.md", &markdown::render(report, &earlier)), ("index.html", &page)]
    {
        let file = folder.join(name);
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

impl Restored {
    /// What is told of it, line by line.
    fn lines(&self) -> Vec<(&'static str, String)> {
        let files = |files: &[String]| if files.is_empty() { "nothing".to_owned() } else { files.join("; ") };
        vec![
            ("backup", format!("{} bytes, made in {:.1} s", self.backup_bytes, self.backup_s)),
            ("its age when it was put back", seconds(self.age_s)),
            (
                "its visits that were changed since",
                format!("{} erased, {} corrected", self.erased_since, self.corrected_since),
            ),
            (
                "put back",
                format!("{} documents in {} ({} had expired)", self.documents, seconds(self.restore_s), self.expired),
            ),
            ("caught up after", seconds(self.caught_up_s)),
            ("erased visits that the region has not got", self.gone.to_string()),
            ("files of the drill removed", files(&self.removed)),
            ("files of the drill left", files(&self.left)),
        ]
    }
}

impl Report {
    /// The verdict in one sentence.
    pub(crate) fn headline(&self) -> String {
        match self.verdict {
            Verdict::Met => format!("Objectives met. {}", self.about),
            Verdict::Missed => {
                let missed: Vec<&str> = self.objectives.iter().filter(|one| !one.met).map(|one| one.name).collect();
                format!("Objectives missed: {}.", missed.join(", "))
            }
            Verdict::Aborted => {
                format!("Aborted and restored: {}.", self.reason.as_deref().unwrap_or("no reason is known"))
            }
            Verdict::Refused => {
                format!("Refused before it began: {}.", self.reason.as_deref().unwrap_or("no reason is known"))
            }
        }
    }

    /// How many check-ins a kind of client sent after the fault.
    pub(crate) fn sent_by(&self, kind: ClientKind) -> usize {
        self.sent.get(kind.name()).copied().unwrap_or_default()
    }
}

/// Seconds for people.
fn seconds(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1} s"))
}
