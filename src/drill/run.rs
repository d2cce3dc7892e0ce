//! The phases of a drill: conditions, lock, baseline, steps, hold, restore, convergence, proof.

mod exchange;
mod judge;
mod steps;
mod stop;
mod wait;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use api::client;
use api::drills::NewDrillLock;
use jiff::Timestamp;
use registry::{CreatedVenue, NewVenue};

use self::stop::Stop;
use super::clients::{Clients, Scene};
use super::disturb::Disturber;
use super::figures::Moments;
use super::ledger::Ledger;
use super::lock::Lock;
use super::observe::Observer;
use super::plan::{CONVERGENCE_LIMIT, Plan};
use super::preflight::{self, Check};
use super::prove::{self, Proof, Unreplicated};
use super::report::{Course, Event, Report, Restored, Verdict};
use super::site::Site;
use crate::load::Pool;
use crate::support::{poll, venue};

/// How long a new venue may take to be known in every region.
const VENUE_LIMIT: Duration = Duration::from_secs(30);

/// A drill that is about to run.
pub(crate) struct Drill {
    plan: Plan,
    site: Site,
    by: String,
    json: bool,
    began: Timestamp,
    id: String,
}

/// What has happened so far.
#[derive(Default)]
struct Progress {
    moments: Moments,
    /// Whether anything was disturbed.
    disturbed: bool,
    /// `None` where nothing separates the region from the others.
    unreplicated: Option<Unreplicated>,
    converged: Option<Duration>,
    /// Whether the regions did not become equal.
    is_unequal: bool,
    resurrected: usize,
    /// `None` before a backup was taken, and in drills that take none.
    restored: Option<Restored>,
    timeline: Vec<Event>,
    errors: Vec<String>,
}

impl Drill {
    pub(crate) fn new(plan: Plan, site: Site, by: String, json: bool, began: Timestamp) -> Drill {
        Drill { plan, site, by, json, began, id: format!("{:016x}", rand::random::<u64>()) }
    }

    /// Runs it to its report.
    pub(crate) async fn run(self) -> anyhow::Result<(Report, Course)> {
        // Before anything is made, so that no signal ends this process without a restore.
        let mut stop = Stop::new()?;
        self.tell(&format!("Drill {} ({}): {}", self.plan.name, self.plan.mode, self.plan.about));
        let mut checks = preflight::judge(&self.plan, &self.site).await;
        let refused = |checks: &[Check]| {
            let failed = checks.iter().find(|check| !check.passed)?;
            Some(format!("{}: {}", failed.name, failed.detail))
        };
        if let Some(reason) = refused(&checks) {
            return Ok(self.refuse(checks, reason));
        }
        let lasts = self.plan.longest();
        let (id, name, by) = (self.id.clone(), self.plan.name.clone(), self.by.clone());
        let lock = match Lock::take(&self.site, &NewDrillLock { id, name, by, lasts }).await {
            Ok(lock) => lock,
            Err(error) => return Ok(self.refuse(checks, format!("{error:#}"))),
        };
        let disturber = Disturber::new(&self.plan, &self.site, &self.by);
        checks.push(preflight::way_back(&disturber).await);
        let ran = match refused(&checks) {
            Some(reason) => Ok(self.refuse(checks, reason)),
            None => self.locked(checks, &disturber, &mut stop).await,
        };
        lock.release().await;
        ran
    }

    fn refuse(&self, checks: Vec<Check>, reason: String) -> (Report, Course) {
        if !self.json {
            super::print(&checks);
        }
        (self.report(checks, Verdict::Refused, Some(reason)), Course::default())
    }

    async fn locked(
        &self,
        checks: Vec<Check>,
        disturber: &Disturber,
        stop: &mut Stop,
    ) -> anyhow::Result<(Report, Course)> {
        let venue = match self.venue().await {
            Ok(venue) => venue,
            Err(error) => return Ok(self.refuse(checks, format!("{error:#}"))),
        };
        if !self.json {
            super::print(&checks);
        }
        let scene = Arc::new(Scene {
            site: self.site.clone(),
            venue,
            ledger: Ledger::default(),
            start: Instant::now(),
            pool: Pool::made_up(rand::random()),
            timeout: self.plan.clients.timeout,
            restarting: parking_lot::Mutex::default(),
        });
        let observer = Observer::start(&self.plan, &self.site, scene.start);
        let clients = Clients::start(&self.plan, &scene);
        let mut progress = Progress::default();
        let mut aborted = self.disturb(&scene, &observer, disturber, &mut progress, stop).await;
        clients.stop().await;
        progress.moments.end = scene.start.elapsed();
        self.note(&scene, &mut progress, "the clients have stopped; every list is read and compared");
        // Everything is restored, so an operator who cannot wait loses only the proof.
        let (proof, left_behind) = tokio::select! {
            proved = self.proof(&scene, &mut progress.errors) => proved,
            asked = stop.asked() => {
                progress.errors.push("stopped before the lists were compared: what was lost is not known".to_owned());
                aborted.get_or_insert(asked);
                (Proof::default(), 0)
            }
        };
        self.clear(&scene, disturber, &proof, &mut progress).await;
        let course = Course {
            samples: std::mem::take(&mut scene.ledger.samples.lock()),
            looks: observer.looks(),
            moments: progress.disturbed.then_some(progress.moments),
        };
        let mut report = self.report(checks, Verdict::Met, aborted);
        self.measure(&mut report, &course, &progress, &proof);
        report.follow = (*scene.ledger.follow.lock()).into();
        report.session_breaches = scene.ledger.follow.lock().breaches;
        report.left_behind = left_behind;
        report.objectives = self.objectives(&report);
        report.verdict = match (&report.reason, report.objectives.iter().all(|one| one.met)) {
            (Some(_), _) => Verdict::Aborted,
            (None, true) if report.errors.is_empty() => Verdict::Met,
            (None, _) => Verdict::Missed,
        };
        report.timeline = progress.timeline;
        Ok((report, course))
    }

    /// Compares all lists with what was acknowledged, and erases the visits of the drill; returns how many are left.
    async fn proof(&self, scene: &Arc<Scene>, errors: &mut Vec<String>) -> (Proof, usize) {
        if let Err(error) = prove::complete(scene, Timestamp::now(), CONVERGENCE_LIMIT).await {
            errors.push(format!("the regions are not equal at the end: {error:#}"));
        }
        let visits = scene.ledger.visits.lock().clone();
        let proof = prove::prove(scene, &visits, self.plan.clients.retention).await;
        let left = prove::erase(scene).await.unwrap_or_else(|error| {
            errors.push(format!("{error:#}"));
            0
        });
        (proof, left)
    }

    /// The venue of the drill's visits, known in every region.
    async fn venue(&self) -> anyhow::Result<CreatedVenue> {
        let first = &self.site.nodes.first().context("there is no node")?.public;
        let new = NewVenue {
            name: Some(format!("Drill {}", self.plan.name)),
            timezone: Some("Etc/UTC".to_owned()),
            retention: self.plan.clients.retention.map(api::duration::show_exactly),
            areas: Some(self.areas()),
            ..NewVenue::default()
        };
        let made = venue::create(first, &new).await.context("cannot make the venue of the drill")?;
        let path = format!("/v1/venues/{}", made.venue_id);
        for node in &self.site.nodes {
            let known = async || client::get::<serde_json::Value>(&node.public, &path).await;
            poll::until(VENUE_LIMIT, known).await.with_context(|| format!("{} does not know the venue", node.name))?;
        }
        Ok(made)
    }

    fn areas(&self) -> Vec<String> {
        Pool::made_up(0).areas().to_vec()
    }

    fn note(&self, scene: &Scene, progress: &mut Progress, what: &str) {
        self.note_at(scene.start.elapsed(), progress, what);
    }

    fn note_at(&self, at: Duration, progress: &mut Progress, what: &str) {
        let at_s = at.as_secs_f64();
        self.tell(&format!("{at_s:>7.1} s  {what}"));
        progress.timeline.push(Event { at_s, what: what.to_owned() });
    }

    /// Tells the operator, if there is still one to read it: a terminal that is gone must not end the drill before it
    /// is restored.
    fn tell(&self, what: &str) {
        use std::io::Write as _;
        let _ = if self.json { writeln!(std::io::stderr(), "{what}") } else { writeln!(std::io::stdout(), "{what}") };
    }
}
