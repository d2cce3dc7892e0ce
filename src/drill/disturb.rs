//! Makes the disturbance of a drill, and takes it back.
//!
//! # Invariants
//! - Each thing that is made carries its own end where it is made: an order and a fault on the node, the return of a
//!   process with `meridian up`. So the end does not depend on this command.
//! - To restore twice does no harm.

use std::time::Duration;

use anyhow::Context as _;
use api::client::Call;
use api::faults::{Act, ActiveFault, Direction, NewFault};
use api::orders::{NewOrder, OrderKind, RegionOrder};
use api::{Moment, RegionId};
use hyper::Method;
use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};

use super::plan::{Disturbance, Plan};
use super::site::{Node, Process, Site};
use crate::support::deployment;

/// The length of the fault that is begun and ended to try the way back.
const TRIAL: Duration = Duration::from_secs(10);

/// What a drill disturbs.
pub(crate) struct Disturber<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) site: &'a Site,
    /// The operator.
    pub(crate) by: &'a str,
}

impl Disturber<'_> {
    fn region(&self) -> anyhow::Result<&RegionId> {
        self.plan.region.as_ref().context("the drill names no region")
    }

    fn nodes(&self) -> anyhow::Result<Vec<&Node>> {
        Ok(self.site.of(self.region()?).collect())
    }

    /// The processes that the drill kills.
    fn killed(&self) -> anyhow::Result<Vec<&Process>> {
        let processes: Vec<Option<&Process>> = match self.plan.disturbance {
            Disturbance::Kill => self.nodes()?.into_iter().map(|node| node.process.as_ref()).collect(),
            Disturbance::KillRouter => {
                self.site.routers.last().map(|router| router.process.as_ref()).into_iter().collect()
            }
            Disturbance::Restart => self.site.nodes.iter().map(|node| node.process.as_ref()).collect(),
            _ => Vec::new(),
        };
        processes
            .into_iter()
            .collect::<Option<Vec<&Process>>>()
            .context("only processes of `meridian up` can be killed by a drill; use how = \"hang\" elsewhere")
    }

    /// Tries the way back before anything is disturbed.
    pub(crate) async fn rehearse(&self) -> anyhow::Result<()> {
        match &self.plan.disturbance {
            Disturbance::Drain(_) => self.order(OrderKind::Serving, 0).await,
            Disturbance::Kill | Disturbance::KillRouter | Disturbance::Restart => {
                let folder = self.site.folder.as_deref().context("only processes of `meridian up` can be killed")?;
                anyhow::ensure!(
                    deployment::is_run_by_up(folder)?,
                    "`meridian up` does not run in {}: nothing would start the process again",
                    folder.display()
                );
                for process in self.killed()? {
                    anyhow::ensure!(
                        deployment::running(&process.pid_file).is_some(),
                        "{} names no running process",
                        process.pid_file.display()
                    );
                    // Far in the future, so that nothing happens.
                    write_return(process, Timestamp::now() + TRIAL)?;
                    std::fs::remove_file(&process.return_file)?;
                }
                Ok(())
            }
            Disturbance::Faults(_) | Disturbance::Cut(_) => {
                for node in self.nodes()? {
                    // The mildest fault that there is.
                    let act = Act::Degrade {
                        to: Vec::new(),
                        direction: Direction::Out,
                        latency: Duration::from_millis(1),
                        loss: 0.0,
                    };
                    let id = self.begin(node, act, TRIAL).await?.id;
                    let ended = Call::new(Method::DELETE, format!("/v1/admin/faults/{id}")).send(&node.admin).await?;
                    if !ended.status.is_success() {
                        return Err(ended.refused().into());
                    }
                }
                Ok(())
            }
        }
    }

    /// Makes the disturbance; of a drain the step in which the region keeps `keep` per cent of its clients.
    pub(crate) async fn make(&self, keep: u8) -> anyhow::Result<()> {
        match &self.plan.disturbance {
            Disturbance::Drain(_) => self.order(OrderKind::Drained, keep).await,
            Disturbance::Kill | Disturbance::KillRouter => {
                let returns = Timestamp::now() + self.plan.expiry();
                for process in self.killed()? {
                    write_return(process, returns)?;
                    signal(process, Signal::SIGKILL)?;
                }
                Ok(())
            }
            Disturbance::Faults(acts) => {
                for node in self.nodes()? {
                    for act in acts {
                        self.begin(node, act.clone(), self.plan.expiry()).await?;
                    }
                }
                Ok(())
            }
            Disturbance::Cut(regions) => {
                let others = self.site.nodes.iter().filter(|node| regions.contains(&node.region));
                let to: Vec<_> = others.map(|node| node.name.clone()).collect();
                for node in self.nodes()? {
                    let act = Act::Partition { to: to.clone(), direction: Direction::Both };
                    self.begin(node, act, self.plan.expiry()).await?;
                }
                Ok(())
            }
            // One region after the other: `stop`.
            Disturbance::Restart => Ok(()),
        }
    }

    /// Stops the processes of a region; `meridian up` starts them again at once.
    pub(crate) fn stop(&self, region: &RegionId) -> anyhow::Result<()> {
        for node in self.site.of(region) {
            let process =
                node.process.as_ref().context("only processes of `meridian up` can be restarted by a drill")?;
            write_return(process, Timestamp::now())?;
            signal(process, Signal::SIGTERM)?;
        }
        Ok(())
    }

    /// Takes everything back. What does not answer ends by itself; the errors say so.
    pub(crate) async fn restore(&self) -> Vec<String> {
        let mut errors = Vec::new();
        match &self.plan.disturbance {
            Disturbance::Drain(_) => errors.extend(self.order(OrderKind::Serving, 0).await.err()),
            Disturbance::Kill | Disturbance::KillRouter | Disturbance::Restart => {
                for process in self.killed().unwrap_or_default() {
                    // Only what the drill killed is waited for.
                    if process.return_file.exists() {
                        errors.extend(write_return(process, Timestamp::now()).err());
                    }
                }
            }
            Disturbance::Faults(_) | Disturbance::Cut(_) => {
                for node in self.nodes().unwrap_or_default() {
                    let ended = Call::new(Method::DELETE, "/v1/admin/faults").send(&node.admin).await;
                    let refused = ended.map_err(anyhow::Error::from).and_then(|answer| {
                        if answer.status.is_success() { Ok(()) } else { Err(answer.refused().into()) }
                    });
                    errors.extend(refused.err());
                }
            }
        }
        errors.into_iter().map(|error| format!("{error:#}")).collect()
    }

    async fn begin(&self, node: &Node, act: Act, lasts: Duration) -> anyhow::Result<ActiveFault> {
        let reason = format!("drill {}", self.plan.name);
        let new = NewFault { act, lasts, by: self.by.to_owned(), reason };
        let answer = Call::new(Method::POST, "/v1/admin/faults").json(&new)?.send(&node.admin).await?;
        answer.json().with_context(|| format!("{} takes no fault", node.name))
    }

    /// Gives an order at the first node of another region that takes it.
    async fn order(&self, kind: OrderKind, keep: u8) -> anyhow::Result<()> {
        let region = self.region()?;
        let until = (kind != OrderKind::Serving).then(|| Moment::from(Timestamp::now() + self.plan.expiry()));
        let (by, reason) = (self.by.to_owned(), format!("drill {}", self.plan.name));
        let order = NewOrder { kind, keep, by, reason, until, force: false };
        let call = Call::new(Method::PUT, format!("/v1/admin/regions/{region}/order")).json(&order)?;
        let mut last = anyhow::anyhow!("there is no node in another region");
        for node in self.site.nodes.iter().filter(|node| node.region != *region) {
            match call.clone().send(&node.admin).await.and_then(|answer| answer.json::<RegionOrder>()) {
                Ok(_) => return Ok(()),
                Err(error) => last = error.into(),
            }
        }
        Err(last.context("no node took the order"))
    }
}

/// Tells `meridian up` when a process is started again. The file appears whole, because it is renamed into place.
fn write_return(process: &Process, at: Timestamp) -> anyhow::Result<()> {
    let file = &process.return_file;
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{at}\n"))
        .and_then(|()| std::fs::rename(&new, file))
        .with_context(|| format!("cannot write {}", file.display()))
}

fn signal(process: &Process, signal: Signal) -> anyhow::Result<()> {
    let file = &process.pid_file;
    let pid = deployment::running(file).with_context(|| format!("{} names no running process", file.display()))?;
    kill(pid, signal).with_context(|| format!("cannot end process {pid}"))
}
