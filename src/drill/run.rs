//! The phases of a drill: conditions, baseline, steps, hold, restore, convergence, proof.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use api::RegionId;
use api::client::{self, Base};
use api::drills::NewDrillLock;
use jiff::Timestamp;
use nix::unistd::Pid;
use registry::{CreatedVenue, NewVenue};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::clients::{Clients, Scene};
use super::disturb::Disturber;
use super::figures::{self, Moments};
use super::guard::Guard;
use super::ledger::{ClientKind, Ledger, SentVisit};
use super::lock::Lock;
use super::observe::Observer;
use super::plan::{CONVERGENCE_LIMIT, Disturbance, Plan, RESTART_LIMIT};
use super::preflight::{self, Check};
use super::prove::{self, Proof, Unreplicated};
use super::report::{Course, Event, Objective, Report, Rpo, Verdict};
use super::site::Site;
use crate::load::Pool;
use crate::support::{deployment, poll, venue};

/// How long a new venue may take to be known in every region.
const VENUE_LIMIT: Duration = Duration::from_secs(30);

/// How long before the end of its faults a drill restores by itself.
const DEAD_MAN: Duration = Duration::from_secs(8);

/// How long the clients go on after the convergence at least, so that their recovery is seen.
const SETTLED: Duration = Duration::from_secs(4);

/// The share of check-ins that must be good before the fault.
const LEAST_GOOD: f64 = 0.99;

/// How long after the fault the lists of the survivors are read: what was under way has arrived by then.
const ARRIVED: Duration = Duration::from_secs(1);

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
    resurrected: usize,
    timeline: Vec<Event>,
    errors: Vec<String>,
}

/// An operator who ends the drill, or a terminal that is gone.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Stop> {
        Ok(Stop {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Which signal came.
    async fn asked(&mut self) -> String {
        let name = tokio::select! {
            _ = self.interrupt.recv() => "Ctrl-C",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => "the terminal is gone",
        };
        format!("stopped by the operator ({name})")
    }
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

    /// From the baseline until the regions are equal again; returns why it was aborted.
    async fn disturb(
        &self,
        scene: &Arc<Scene>,
        observer: &Observer,
        disturber: &Disturber,
        progress: &mut Progress,
        stop: &mut Stop,
    ) -> Option<String> {
        let guard = Guard { plan: &self.plan, scene, observer };
        let mut aborted = tokio::select! {
            ended = self.steps(scene, observer, disturber, progress) => ended.err().map(|error| format!("{error:#}")),
            breach = guard.watch() => Some(breach),
            asked = stop.asked() => Some(asked),
        };
        let now = scene.start.elapsed();
        if progress.moments.restore.is_zero() {
            progress.moments.restore = now;
        }
        if !progress.disturbed {
            (progress.moments.begun, progress.moments.fault) = (now, now);
        }
        // Restored first and told afterwards: the terminal may be what is gone.
        let restored = Timestamp::now();
        // What the lists of the restored deployment are compared with; what the clients do from now on may be under way.
        let before: Vec<SentVisit> = scene.ledger.visits.lock().clone();
        let errors = disturber.restore().await;
        progress.moments.restored = scene.start.elapsed();
        if let Some(reason) = &aborted {
            self.note_at(now, progress, &format!("ABORTED: {reason}"));
        }
        let told = if errors.is_empty() { "everything is restored" } else { "NOT everything is restored" };
        self.note(scene, progress, told);
        progress.errors.extend(errors.into_iter().map(|error| format!("not restored, it ends by itself: {error}")));
        let settle = async {
            let converged = self.converge(scene, restored).await;
            let took = scene.start.elapsed().saturating_sub(progress.moments.restored);
            match converged {
                Ok(()) => {
                    progress.converged = Some(took);
                    // A region that has just returned is the one that might show what is gone.
                    let proof = prove::prove(scene, &before, self.plan.clients.retention).await;
                    progress.resurrected = proof.resurrected;
                    self.note(scene, progress, "every region has all that every region acknowledged");
                }
                Err(error) => progress.errors.push(format!("the regions do not become equal: {error:#}")),
            }
            tokio::time::sleep(self.plan.phases.after.saturating_sub(took).max(SETTLED)).await;
        };
        tokio::select! {
            () = settle => {}
            asked = stop.asked() => aborted = Some(aborted.unwrap_or(asked)),
        }
        aborted
    }

    async fn steps(
        &self,
        scene: &Arc<Scene>,
        observer: &Observer,
        disturber: &Disturber,
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        self.note(scene, progress, "baseline");
        tokio::time::sleep(self.plan.phases.baseline).await;
        self.baseline(scene)?;
        progress.disturbed = true;
        progress.moments.begun = scene.start.elapsed();
        progress.moments.fault = progress.moments.begun;
        if self.plan.disturbance == Disturbance::Restart {
            return self.restart(scene, observer, disturber, progress).await;
        }
        // The dead man's switch of this command: before the faults end by themselves, it ends them.
        let limit = self.plan.expiry().saturating_sub(DEAD_MAN);
        tokio::time::timeout(limit, self.hold(scene, disturber, progress)).await.unwrap_or_else(|_| {
            Err(anyhow::anyhow!("the drill takes longer than planned, and its faults are about to end"))
        })
    }

    /// Whether every kind of client is well before the fault, and uses what is about to fail.
    fn baseline(&self, scene: &Scene) -> anyhow::Result<()> {
        let samples = scene.ledger.samples.lock();
        let counts = [self.plan.clients.edge, self.plan.clients.ttl, self.plan.clients.pinned];
        for (kind, _) in ClientKind::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0) {
            let of = || samples.iter().filter(|sample| sample.kind == kind);
            let (all, good) = (of().count(), of().filter(|sample| sample.good).count());
            anyhow::ensure!(
                all > 0 && good as f64 >= all as f64 * LEAST_GOOD,
                "before the fault {good} of {all} check-ins of `{kind}` clients were good"
            );
            let region = self.plan.region.as_ref();
            anyhow::ensure!(
                region.is_none() || of().any(|sample| sample.region.as_ref() == region),
                "no `{kind}` client reached the region before the fault"
            );
        }
        Ok(())
    }

    async fn restart(
        &self,
        scene: &Scene,
        observer: &Observer,
        disturber: &Disturber,
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        for region in self.site.regions() {
            *scene.restarting.lock() = Some(region.clone());
            let before = self.pids(&region);
            disturber.stop(&region)?;
            self.note(scene, progress, &format!("{region} is restarted"));
            self.back(scene, observer, &region, &before).await?;
        }
        Ok(())
    }

    async fn hold(&self, scene: &Scene, disturber: &Disturber, progress: &mut Progress) -> anyhow::Result<()> {
        let phases = self.plan.phases;
        match &self.plan.disturbance {
            Disturbance::Drain(keep) => {
                for (number, keep) in keep.iter().enumerate() {
                    if number > 0 {
                        tokio::time::sleep(phases.soak).await;
                    }
                    progress.moments.fault = scene.start.elapsed();
                    disturber.make(*keep).await?;
                    self.note(scene, progress, &format!("the region keeps {keep} % of its clients"));
                }
                tokio::time::sleep(phases.hold).await;
                progress.moments.restore = scene.start.elapsed();
                for keep in keep.iter().rev().skip(1) {
                    disturber.make(*keep).await?;
                    self.note(scene, progress, &format!("the region gets {keep} % of its clients back"));
                    tokio::time::sleep(phases.soak).await;
                }
            }
            Disturbance::Cut(_) => {
                disturber.make(0).await?;
                self.note(scene, progress, "replication is cut");
                tokio::time::sleep(phases.hold).await;
                progress.unreplicated = self.unreplicated(scene, scene.start.elapsed()).await?;
            }
            _ => {
                disturber.make(0).await?;
                self.note(scene, progress, "the fault is made");
                let begun = Instant::now();
                tokio::time::sleep(ARRIVED.min(phases.hold)).await;
                progress.unreplicated = self.unreplicated(scene, progress.moments.fault).await?;
                tokio::time::sleep(phases.hold.saturating_sub(begun.elapsed())).await;
            }
        }
        Ok(())
    }

    async fn unreplicated(&self, scene: &Scene, at: Duration) -> anyhow::Result<Option<Unreplicated>> {
        match &self.plan.region {
            Some(region) if self.plan.separates() => {
                let found = prove::unreplicated(scene, region, at).await;
                found.map(Some).context("cannot read the survivors' lists")
            }
            _ => Ok(None),
        }
    }

    /// The ids of a region's processes, as their files name them.
    fn pids(&self, region: &RegionId) -> Vec<Option<Pid>> {
        let processes = self.site.of(region).filter_map(|node| node.process.as_ref());
        processes.map(|process| deployment::running(&process.pid_file)).collect()
    }

    /// Waits until other processes run the region, are ready and linked, and have all their clients back.
    async fn back(
        &self,
        scene: &Scene,
        observer: &Observer,
        region: &RegionId,
        before: &[Option<Pid>],
    ) -> anyhow::Result<()> {
        poll::until(RESTART_LIMIT, async || {
            let now = self.pids(region);
            let is_new = now.iter().zip(before).all(|(now, before)| now.is_some() && now != before);
            anyhow::ensure!(is_new, "the processes of {region} were not started again");
            // A look that begins after the new processes were seen.
            let seen = scene.start.elapsed();
            let mut latest = observer.latest.clone();
            let look = latest.wait_for(|look| look.began > seen).await?.clone();
            for node in self.site.of(region) {
                let status = look.nodes.get(&node.name).with_context(|| format!("{} does not answer", node.name))?;
                let linked = status.peers.iter().all(|peer| peer.connected);
                anyhow::ensure!(status.ready && linked, "{} is not ready and linked", node.name);
            }
            let mut seen = look.routers.values().flat_map(|router| &router.regions);
            let whole = seen.all(|seen| seen.region != *region || seen.admission >= 1.0);
            anyhow::ensure!(whole, "the routers do not send all clients of {region} back yet");
            Ok(())
        })
        .await
        .with_context(|| format!("{region} does not come back"))
    }

    async fn converge(&self, scene: &Scene, restored: Timestamp) -> anyhow::Result<()> {
        let bases: Vec<&Base> = self.site.nodes.iter().map(|node| &node.public).collect();
        poll::until(CONVERGENCE_LIMIT, async || {
            for base in &bases {
                client::get::<api::status::Readiness>(base, "/readyz").await?;
            }
            for router in &self.site.routers {
                let status: api::status::RouterStatus = client::get(&router.admin, "/v1/admin/status").await?;
                anyhow::ensure!(!status.frozen, "{} hears too few routers to decide", router.name);
            }
            anyhow::Ok(())
        })
        .await?;
        prove::complete(scene, restored, CONVERGENCE_LIMIT).await
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

    /// A report without measurements.
    fn report(&self, checks: Vec<Check>, verdict: Verdict, reason: Option<String>) -> Report {
        Report {
            name: self.plan.name.clone(),
            about: self.plan.about.clone(),
            verdict,
            mode: self.plan.mode,
            region: self.plan.region.clone(),
            run: self.id.clone(),
            by: self.by.clone(),
            version: env!("CARGO_PKG_VERSION"),
            begun: self.began,
            ended: Timestamp::now(),
            rate: self.plan.clients.rate,
            reason,
            checks,
            detect_s: None,
            dns_s: None,
            edge_s: None,
            rto_s: ClientKind::ALL.iter().map(|kind| (kind.name(), None)).collect(),
            recovery: BTreeMap::new(),
            rpo: Rpo::default(),
            failed: ClientKind::ALL.iter().map(|kind| (kind.name(), 0)).collect(),
            sent: ClientKind::ALL.iter().map(|kind| (kind.name(), 0)).collect(),
            session_breaches: 0,
            follow: super::report::FollowShown::default(),
            converged_s: None,
            acknowledged: 0,
            resurrected: 0,
            left_behind: 0,
            objectives: Vec::new(),
            timeline: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn measure(&self, report: &mut Report, course: &Course, progress: &Progress, proof: &Proof) {
        let (samples, moments) = (&course.samples, progress.moments);
        report.ended = Timestamp::now();
        report.detect_s = figures::first(&course.looks, moments, |look| look.routers_know);
        report.dns_s = figures::first(&course.looks, moments, |look| look.dns_elsewhere);
        // Without an effect on the region's clients the edge has nothing to leave.
        report.edge_s = self.plan.region.as_ref().and_then(|region| figures::edge_left(samples, region, moments));
        for kind in ClientKind::ALL {
            let recovery = figures::recovery(samples, kind, moments);
            report.rto_s.insert(kind.name(), recovery.and_then(|recovery| recovery.p99_s));
            report.recovery.extend(recovery.map(|recovery| (kind.name(), recovery)));
            report.failed.insert(kind.name(), figures::failed(samples, kind, moments));
            let after = samples.iter().filter(|sample| sample.kind == kind && sample.at + sample.took >= moments.begun);
            report.sent.insert(kind.name(), after.count());
        }
        report.rpo = Rpo {
            unreplicated: progress.unreplicated.map(|found| found.count),
            oldest_s: progress.unreplicated.map(|found| found.oldest.as_secs_f64()),
            lost: proof.lost,
        };
        report.acknowledged = proof.acknowledged;
        report.converged_s = progress.converged.map(|took| took.as_secs_f64());
        report.resurrected = proof.resurrected.max(progress.resurrected);
        report.errors = progress.errors.iter().chain(&proof.errors).cloned().collect();
    }

    fn objectives(&self, report: &Report) -> Vec<Objective> {
        let wanted = &self.plan.objectives;
        let seconds = |bound: Option<api::duration::Text>| bound.map(|bound| bound.0.as_secs_f64());
        let rto = |kind: ClientKind| report.rto_s.get(kind.name()).copied().flatten();
        let count = |count: usize| Some(count as f64);
        let failed = report.failed.get(ClientKind::Edge.name()).copied().unwrap_or_default();
        let all = [
            ("detect", "s", seconds(wanted.detect), report.detect_s),
            ("dns", "s", seconds(wanted.dns), report.dns_s),
            ("rto-edge", "s", seconds(wanted.rto_edge), rto(ClientKind::Edge)),
            ("rto-ttl", "s", seconds(wanted.rto_ttl), rto(ClientKind::Ttl)),
            ("failed-edge", "", Some(wanted.failed_edge as f64), count(failed)),
            ("lost", "", Some(wanted.lost as f64), count(report.rpo.lost)),
            ("rpo", "s", seconds(wanted.rpo), report.rpo.oldest_s),
            ("session-breaches", "", Some(wanted.session_breaches as f64), Some(report.session_breaches as f64)),
            ("resurrected", "", Some(0.0), count(report.resurrected)),
            ("converged", "s", seconds(wanted.converged), report.converged_s),
            ("left-behind", "", Some(0.0), count(report.left_behind)),
        ];
        all.into_iter()
            .filter_map(|(name, unit, bound, measured)| {
                let bound = bound?;
                Some(Objective { name, unit, bound, measured, met: measured.is_some_and(|measured| measured <= bound) })
            })
            .collect()
    }
}
