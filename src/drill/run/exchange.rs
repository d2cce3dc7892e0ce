//! An old backup takes the place of the region's store: taken, left to grow old, put back, caught up, proven.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use api::client;
use api::status::NodeStatus;
use api::{Moment, NodeName, RegionId};
use jiff::Timestamp;

use super::{Drill, Progress};
use crate::drill::clients::{Scene, come_back};
use crate::drill::disturb::Disturber;
use crate::drill::ledger::SentVisit;
use crate::drill::observe::Observer;
use crate::drill::plan::OldBackup;
use crate::drill::prove::{self, Proof};
use crate::drill::report::Restored;
use crate::support::poll;

/// A backup that was taken.
pub(super) struct Taken {
    /// When it began: what came later is not in it.
    begun: Instant,
    /// The id of the store that it is of.
    replica: String,
}

impl Drill {
    /// Takes a backup, and waits until it is old: guests have erased and corrected visits that are in it.
    pub(super) async fn take_backup(
        &self,
        scene: &Scene,
        observer: &Observer,
        disturber: &Disturber,
        old: &OldBackup,
        progress: &mut Progress,
    ) -> anyhow::Result<Taken> {
        let (region, name) = self.restored_node()?;
        let look = Arc::clone(&observer.latest.borrow());
        let replica = look.nodes.get(&name).with_context(|| format!("{name} does not answer"))?.replica.clone();
        let (begun, before) = (Instant::now(), scene.start.elapsed());
        let taking = tokio::time::timeout(old.away, disturber.back_up());
        let backup_bytes = taking.await.context("the backup takes longer than `away`")??;
        let mut restored = Restored { backup_bytes, backup_s: begun.elapsed().as_secs_f64(), ..Restored::default() };
        self.note(scene, progress, &format!("a backup of {name} is made, {backup_bytes} bytes"));
        let (later, ()) =
            tokio::join!(come_back(scene, &self.plan, region, before, old.age), tokio::time::sleep(old.age));
        (restored.erased_since, restored.corrected_since) = (later.erased, later.corrected);
        progress.restored = Some(restored);
        anyhow::ensure!(
            later.erased > 0,
            "no visit of the backup was erased: lengthen `baseline`, or raise `clients.rate`"
        );
        let (erased, corrected) = (later.erased, later.corrected);
        self.note(scene, progress, &format!("{erased} visits of the backup are erased since, {corrected} corrected"));
        Ok(Taken { begun, replica })
    }

    /// Puts the backup in the place of the region's store, and waits until the region has what the others have.
    pub(super) async fn exchange(
        &self,
        scene: &Scene,
        disturber: &Disturber,
        old: &OldBackup,
        taken: &Taken,
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        let (_, name) = self.restored_node()?;
        let begun = Instant::now();
        let left = || old.away.saturating_sub(begun.elapsed());
        disturber.hand_over(left()).await.context("what the region acknowledged is not elsewhere")?;
        disturber.stop_node().await?;
        self.note(scene, progress, &format!("the others have all that {name} acknowledged, and it is stopped"));
        self.unreplicated(scene, scene.start.elapsed(), progress).await;
        let only_here = progress.unreplicated.context("whether the others have everything is not known")?.count;
        anyhow::ensure!(only_here == 0, "{only_here} acknowledged writes of {name} are in no other region");
        let (age, putting) = (taken.begun.elapsed(), Instant::now());
        let late = || format!("{name} has not caught up within {} s", old.away.as_secs());
        let put = tokio::time::timeout(left(), disturber.put_back()).await.with_context(late)??;
        let restored = progress.restored.get_or_insert_default();
        (restored.documents, restored.expired) = (put.documents, put.expired);
        restored.age_s = Some(age.as_secs_f64());
        restored.restore_s = Some(putting.elapsed().as_secs_f64());
        disturber.exchange().await?;
        let (started, since) = (Instant::now(), Timestamp::now());
        let told = format!("the backup, {} s old, has the place of its store, and {name} starts", age.as_secs());
        self.note(scene, progress, &told);
        poll::until(left(), async || self.has_caught_up(&taken.replica, since.into()).await)
            .await
            .with_context(late)?;
        disturber.keep_restored().await?;
        progress.restored.get_or_insert_default().caught_up_s = Some(started.elapsed().as_secs_f64());
        self.note(scene, progress, &format!("{name} has caught up"));
        Ok(())
    }

    /// Whether the region's node runs on another store than before, is ready and linked, and has all that every region
    /// acknowledged before `since`.
    async fn has_caught_up(&self, before: &str, since: Moment) -> anyhow::Result<()> {
        let (region, name) = self.restored_node()?;
        let node = self.site.of(region).next().context("the region has no node")?;
        let status: NodeStatus = client::get(&node.admin, "/v1/admin/status").await?;
        anyhow::ensure!(status.ready, "{name} is not ready: {}", status.reasons.join(", "));
        anyhow::ensure!(status.replica != before, "{name} runs on its old store");
        anyhow::ensure!(status.peers.iter().all(|peer| peer.connected), "{name} is not linked");
        let lacks = |of: &RegionId| status.complete_through.get(of).is_none_or(|through| *through < since);
        let lacking = self.site.regions().into_iter().find(lacks);
        lacking.map_or(Ok(()), |of| Err(anyhow::anyhow!("{name} lacks writes of {of}")))
    }

    /// Asks the restored node for each visit that was erased.
    pub(super) async fn are_gone(&self, scene: &Scene, visits: &[SentVisit], progress: &mut Progress) {
        let Ok((region, _)) = self.restored_node() else { return };
        let Some(node) = self.site.of(region).next() else { return };
        match prove::gone(scene, node, visits).await {
            Ok((gone, back)) => {
                progress.resurrected = progress.resurrected.max(back);
                progress.restored.get_or_insert_default().gone = gone;
                self.note(scene, progress, &format!("{gone} erased visits were asked for there, {back} are back"));
            }
            Err(error) => progress.errors.push(format!("whether erased visits are gone is not known: {error:#}")),
        }
    }

    /// Removes the files of the drill, and says so.
    pub(super) async fn clear(&self, scene: &Scene, disturber: &Disturber, proof: &Proof, progress: &mut Progress) {
        let is_lost = proof.lost > 0 || !proof.errors.is_empty() || progress.is_unequal;
        let cleared = disturber.clear(is_lost).await;
        for left in &cleared.left {
            progress.errors.push(left.clone());
        }
        if cleared.removed.is_empty() && cleared.left.is_empty() {
            return;
        }
        if !cleared.removed.is_empty() {
            self.note(scene, progress, &format!("removed: {}", cleared.removed.join(", ")));
        }
        let restored = progress.restored.get_or_insert_default();
        (restored.removed, restored.left) = (cleared.removed, cleared.left);
    }

    fn restored_node(&self) -> anyhow::Result<(&RegionId, NodeName)> {
        let region = self.plan.region.as_ref().context("the drill names no region")?;
        let node = self.site.of(region).next().context("the region has no node")?;
        Ok((region, node.name.clone()))
    }
}
