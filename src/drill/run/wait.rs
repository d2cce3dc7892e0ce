//! Waits until a region has returned, and until all regions are equal.

use anyhow::Context as _;
use api::RegionId;
use api::client::{self, Base};
use jiff::Timestamp;
use nix::unistd::Pid;

use super::Drill;
use crate::drill::clients::Scene;
use crate::drill::observe::Observer;
use crate::drill::plan::{CONVERGENCE_LIMIT, RESTART_LIMIT};
use crate::drill::prove;
use crate::support::{deployment, poll};

impl Drill {
    /// The ids of a region's processes, as their files name them.
    pub(super) fn pids(&self, region: &RegionId) -> Vec<Option<Pid>> {
        let processes = self.site.of(region).filter_map(|node| node.process.as_ref());
        processes.map(|process| deployment::running(&process.pid_file)).collect()
    }

    /// Waits until other processes run the region, are ready and linked, and have all their clients back.
    pub(super) async fn back(
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

    pub(super) async fn converge(&self, scene: &Scene, restored: Timestamp) -> anyhow::Result<()> {
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
}
