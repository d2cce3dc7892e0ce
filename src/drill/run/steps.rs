//! From the baseline until the regions are equal again: baseline, steps, hold, restore.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::exchange::Taken;
use super::stop::Stop;
use super::{Drill, Progress};
use crate::drill::clients::Scene;
use crate::drill::disturb::Disturber;
use crate::drill::guard::Guard;
use crate::drill::ledger::{ClientKind, SentVisit};
use crate::drill::observe::Observer;
use crate::drill::plan::{Disturbance, OldBackup};
use crate::drill::prove;

/// How long before the end of its faults a drill restores by itself.
const DEAD_MAN: Duration = Duration::from_secs(8);

/// How long the clients go on after the convergence at least, so that their recovery is seen.
const SETTLED: Duration = Duration::from_secs(4);

/// The share of check-ins that must be good before the fault.
const LEAST_GOOD: f64 = 0.99;

/// How long after the fault the lists of the survivors are read: what was under way has arrived by then.
const ARRIVED: Duration = Duration::from_secs(1);

impl Drill {
    /// From the baseline until the regions are equal again; returns why it was aborted.
    pub(super) async fn disturb(
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
        // A store that is not in its place does not go back by itself.
        let how = if self.plan.takes_a_backup() { "" } else { ", it ends by itself" };
        progress.errors.extend(errors.into_iter().map(|error| format!("not restored{how}: {error}")));
        let settle = async {
            let converged = self.converge(scene, restored).await;
            let took = scene.start.elapsed().saturating_sub(progress.moments.restored);
            match converged {
                Ok(()) => {
                    progress.converged = Some(took);
                    // A region that has just returned is the one that might show what is gone.
                    let proof = prove::prove(scene, &before, self.plan.clients.retention).await;
                    progress.resurrected = proof.resurrected;
                    if progress.restored.is_some() {
                        self.are_gone(scene, &before, progress).await;
                    }
                    self.note(scene, progress, "every region has all that every region acknowledged");
                }
                Err(error) => {
                    progress.is_unequal = true;
                    progress.errors.push(format!("the regions do not become equal: {error:#}"));
                }
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
        let taken = match &self.plan.disturbance {
            Disturbance::Restore(old) => Some(self.take_backup(scene, observer, disturber, old, progress).await?),
            _ => None,
        };
        progress.disturbed = true;
        progress.moments.begun = scene.start.elapsed();
        progress.moments.fault = progress.moments.begun;
        if self.plan.disturbance == Disturbance::Restart {
            return self.restart(scene, observer, disturber, progress).await;
        }
        // The dead man's switch of this command: before the faults end by themselves, it ends them.
        let limit = self.plan.expiry().saturating_sub(DEAD_MAN);
        tokio::time::timeout(limit, self.hold(scene, disturber, taken.as_ref(), progress)).await.unwrap_or_else(|_| {
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

    async fn hold(
        &self,
        scene: &Scene,
        disturber: &Disturber,
        taken: Option<&Taken>,
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        let phases = self.plan.phases;
        match &self.plan.disturbance {
            Disturbance::Drain(keep) | Disturbance::Restore(OldBackup { keep, .. }) => {
                for (number, keep) in keep.iter().enumerate() {
                    if number > 0 {
                        tokio::time::sleep(phases.soak).await;
                    }
                    progress.moments.fault = scene.start.elapsed();
                    disturber.make(*keep).await?;
                    self.note(scene, progress, &format!("the region keeps {keep} % of its clients"));
                }
                tokio::time::sleep(phases.hold).await;
                if let (Disturbance::Restore(old), Some(taken)) = (&self.plan.disturbance, taken) {
                    self.exchange(scene, disturber, old, taken, progress).await?;
                }
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
                self.unreplicated(scene, scene.start.elapsed(), progress).await;
            }
            _ => {
                disturber.make(0).await?;
                self.note(scene, progress, "the fault is made");
                let begun = Instant::now();
                tokio::time::sleep(ARRIVED.min(phases.hold)).await;
                self.unreplicated(scene, progress.moments.fault, progress).await;
                tokio::time::sleep(phases.hold.saturating_sub(begun.elapsed())).await;
            }
        }
        Ok(())
    }

    /// Measures which writes of the disturbed region are nowhere else. A list that cannot be read costs this figure, and does
    /// not end the drill: the guard rails say whether clients fail.
    pub(super) async fn unreplicated(&self, scene: &Scene, at: Duration, progress: &mut Progress) {
        let Some(region) = self.plan.region.as_ref().filter(|_| self.plan.separates()) else { return };
        match prove::unreplicated(scene, region, at).await {
            Ok(found) => progress.unreplicated = Some(found),
            Err(error) => {
                let missing =
                    format!("the writes that were only in {region} are not known, a list was not read: {error:#}");
                progress.errors.push(missing);
            }
        }
    }
}
