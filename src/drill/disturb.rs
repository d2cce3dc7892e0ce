//! Makes the disturbance of a drill, and takes it back.
//!
//! # Invariants
//! - Each thing that is made carries its own end where it is made: an order and a fault on the node, the return of a
//!   process with `meridian up`. So the end does not depend on this command.
//! - What was begun is ended before anything is taken back, so a late order cannot win against the restore.
//! - To restore twice does no harm.

mod exchange;
mod process;
mod undo;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use api::client::Call;
use api::faults::{Act, ActiveFault, Direction, FaultList, NewFault};
use api::orders::{NewOrder, OrderKind, RegionOrder};
use api::{Moment, RegionId};
use hyper::Method;
use jiff::Timestamp;
use nix::sys::signal::Signal;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use self::exchange::Exchange;
use super::plan::{Disturbance, Plan};
use super::site::{Node, Process, Site};
use crate::support::deployment;

/// The length of the fault that is begun and ended to try the way back.
const TRIAL: Duration = Duration::from_secs(10);

/// How long one node may take to make or to end a disturbance.
const LIMIT: Duration = Duration::from_secs(3);

/// Largest answer to an order.
const LARGEST: usize = 256 * 1024;

/// What a drill disturbs.
#[derive(Clone)]
pub(crate) struct Disturber {
    plan: Arc<Plan>,
    site: Arc<Site>,
    /// The operator.
    by: Arc<str>,
    /// Held while something is made, so that a restore waits for it; with what became of the store of a node.
    making: Arc<Mutex<Exchange>>,
    /// Set by a restore: nothing is made any more.
    closed: Arc<AtomicBool>,
}

impl Disturber {
    pub(crate) fn new(plan: &Plan, site: &Site, by: &str) -> Disturber {
        let (plan, site) = (Arc::new(plan.clone()), Arc::new(site.clone()));
        Disturber { plan, site, by: by.into(), making: Arc::default(), closed: Arc::default() }
    }

    fn region(&self) -> anyhow::Result<&RegionId> {
        self.plan.region.as_ref().context("the drill names no region")
    }

    fn nodes(&self) -> anyhow::Result<Vec<&Node>> {
        Ok(self.site.of(self.region()?).collect())
    }

    /// The processes that the drill ends.
    fn processes(&self) -> anyhow::Result<Vec<&Process>> {
        let processes: Vec<Option<&Process>> = match self.plan.disturbance {
            Disturbance::Kill | Disturbance::Restore(_) => {
                self.nodes()?.into_iter().map(|node| node.process.as_ref()).collect()
            }
            Disturbance::KillRouter => {
                self.site.routers.last().map(|router| router.process.as_ref()).into_iter().collect()
            }
            Disturbance::Restart => self.site.nodes.iter().map(|node| node.process.as_ref()).collect(),
            _ => Vec::new(),
        };
        let only_here = "only processes of `meridian up` can be ended by a drill; use how = \"hang\" elsewhere";
        processes.into_iter().collect::<Option<Vec<&Process>>>().context(only_here)
    }

    /// Tries the way back before anything is disturbed. The caller holds the lock of the drill.
    pub(crate) async fn rehearse(&self) -> anyhow::Result<()> {
        match &self.plan.disturbance {
            // The token that took the lock may give orders. An order that changes nothing would still be one more.
            Disturbance::Drain(_) => Ok(()),
            Disturbance::Kill | Disturbance::KillRouter | Disturbance::Restart => self.rehearse_return(),
            Disturbance::Restore(_) => {
                self.rehearse_return()?;
                self.rehearse_faults().await
            }
            Disturbance::Faults(_) | Disturbance::Cut(_) => self.rehearse_faults().await,
        }
    }

    fn rehearse_return(&self) -> anyhow::Result<()> {
        let folder = self.site.folder.as_deref().context("only processes of `meridian up` can be ended")?;
        anyhow::ensure!(
            deployment::is_run_by_up(folder)?,
            "`meridian up` does not run in {}: nothing would start the process again",
            folder.display()
        );
        for process in self.processes()? {
            let pid = process.running()?;
            let file = &process.return_file;
            if process.is_left_over() {
                std::fs::remove_file(file)?;
            }
            anyhow::ensure!(
                !file.exists(),
                "{} says that a process is about to return; remove the file if none is",
                file.display()
            );
            process.returns(Timestamp::now() + TRIAL, pid.as_raw())?;
            std::fs::remove_file(file)?;
        }
        Ok(())
    }

    async fn rehearse_faults(&self) -> anyhow::Result<()> {
        for node in self.nodes()? {
            // The mildest fault that there is.
            let act = Act::Degrade {
                to: Vec::new(),
                direction: Direction::Out,
                latency: Duration::from_millis(1),
                loss: 0.0,
            };
            self.begin(node, act, TRIAL).await?;
            end_faults(node).await?;
        }
        Ok(())
    }

    /// Makes the disturbance; of a drain the step in which the region keeps `keep` per cent of its clients. A caller
    /// that is dropped does not stop it in the middle.
    pub(crate) async fn make(&self, keep: u8) -> anyhow::Result<()> {
        let own = self.clone();
        let making = tokio::spawn(async move {
            let _making = own.making.lock().await;
            own.check_open()?;
            own.make_now(keep).await
        });
        making.await?
    }

    fn check_open(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.closed.load(Ordering::SeqCst), "everything is being restored");
        Ok(())
    }

    async fn make_now(&self, keep: u8) -> anyhow::Result<()> {
        match &self.plan.disturbance {
            Disturbance::Drain(_) | Disturbance::Restore(_) => self.order(OrderKind::Drained, keep).await,
            Disturbance::Kill | Disturbance::KillRouter => {
                let returns = Timestamp::now() + self.plan.expiry();
                self.processes()?.into_iter().try_for_each(|process| process.end(Signal::SIGKILL, returns))
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

    /// Stops the processes of a region in peace; `meridian up` starts them again.
    pub(crate) fn stop(&self, region: &RegionId) -> anyhow::Result<()> {
        for node in self.site.of(region) {
            let process = node.process.as_ref().context("only processes of `meridian up` can be restarted")?;
            process.end(Signal::SIGTERM, Timestamp::now())?;
        }
        Ok(())
    }

    /// Takes everything back, everywhere at once. What does not answer ends by itself; the errors name it.
    pub(crate) async fn restore(&self) -> Vec<String> {
        // Nothing new is begun, and what was begun ends first. A call takes up to its limit.
        self.closed.store(true, Ordering::SeqCst);
        let mut making = self.making.lock().await;
        let mut errors: Vec<anyhow::Error> = Vec::new();
        match &self.plan.disturbance {
            Disturbance::Drain(_) => errors.extend(self.order(OrderKind::Serving, 0).await.err()),
            Disturbance::Restore(_) => {
                errors.extend(self.undo(&mut making).await.err());
                let served = self.order(OrderKind::Serving, 0).await;
                errors.extend(served.context("the drain ends by itself").err());
            }
            Disturbance::Kill | Disturbance::KillRouter | Disturbance::Restart => {
                for process in self.processes().unwrap_or_default() {
                    errors.extend(process.returns_now().err());
                }
            }
            Disturbance::Faults(_) | Disturbance::Cut(_) => {
                let mut ending = JoinSet::new();
                for node in self.nodes().unwrap_or_default() {
                    let node = node.clone();
                    ending.spawn(async move {
                        end_faults(&node).await.with_context(|| format!("{} still has its faults", node.name))
                    });
                }
                while let Some(ended) = ending.join_next().await {
                    errors.extend(ended.map_err(anyhow::Error::from).and_then(|ended| ended).err());
                }
            }
        }
        errors.into_iter().map(|error| format!("{error:#}")).collect()
    }

    async fn begin(&self, node: &Node, act: Act, lasts: Duration) -> anyhow::Result<ActiveFault> {
        self.check_open()?;
        self.fault(node, act, lasts).await
    }

    async fn fault(&self, node: &Node, act: Act, lasts: Duration) -> anyhow::Result<ActiveFault> {
        let reason = format!("drill {}", self.plan.name);
        let new = NewFault { act, lasts, by: self.by.to_string(), reason };
        let call = Call::new(Method::POST, "/v1/admin/faults").json(&new)?.limits(LIMIT, LARGEST);
        call.send(&node.admin).await?.json().with_context(|| format!("{} takes no fault", node.name))
    }

    /// Gives an order. An order to serve goes to every node that answers: each makes it newer than what it knows, so it
    /// wins against an order that another node took a moment before.
    async fn order(&self, kind: OrderKind, keep: u8) -> anyhow::Result<()> {
        if kind != OrderKind::Serving {
            self.check_open()?;
        }
        let region = self.region()?;
        let until = (kind != OrderKind::Serving).then(|| Moment::from(Timestamp::now() + self.plan.expiry()));
        let (by, reason) = (self.by.to_string(), format!("drill {}", self.plan.name));
        let order = NewOrder { kind, keep, by, reason, until, force: false };
        let call = Call::new(Method::PUT, format!("/v1/admin/regions/{region}/order")).json(&order)?;
        let call = call.limits(LIMIT, LARGEST);
        let mut last = anyhow::anyhow!("there is no node in another region");
        let mut taken = false;
        for node in self.site.nodes.iter().filter(|node| node.region != *region) {
            match call.clone().send(&node.admin).await.and_then(|answer| answer.json::<RegionOrder>()) {
                Ok(_) => taken = true,
                Err(error) => last = error.into(),
            }
            if taken && kind != OrderKind::Serving {
                break;
            }
        }
        if taken { Ok(()) } else { Err(last.context("no node took the order")) }
    }
}

/// Ends all faults of a node, and looks whether they are gone if the answer does not come.
async fn end_faults(node: &Node) -> anyhow::Result<()> {
    let call = Call::new(Method::DELETE, "/v1/admin/faults").limits(LIMIT, LARGEST);
    let Err(error) = call.send(&node.admin).await.and_then(|answer| answer.json::<api::faults::EndedFaults>()) else {
        return Ok(());
    };
    let list = Call::get("/v1/admin/faults").limits(LIMIT, LARGEST).send(&node.admin).await;
    match list.and_then(|answer| answer.json::<FaultList>()) {
        Ok(list) if list.faults.is_empty() => Ok(()),
        _ => Err(error.into()),
    }
}
