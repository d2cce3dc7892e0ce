//! The lock that lets one drill run at a time in a deployment.

use std::time::Duration;

use anyhow::Context as _;
use api::client::{self, Base, Call};
use api::drills::{DrillLock, DrillLocks, NewDrillLock};
use hyper::Method;

use super::site::Site;
use crate::support::poll;

/// How long a lock may take to be known everywhere.
const LIMIT: Duration = Duration::from_secs(10);

/// The lock that a drill has now, as any node that answers knows it.
pub(crate) async fn held(site: &Site) -> Option<DrillLock> {
    for node in &site.nodes {
        if let Ok(known) = client::get::<DrillLocks>(&node.admin, "/v1/admin/drill").await
            && let Some(lock) = known.locks.into_iter().next()
        {
            return Some(lock);
        }
    }
    None
}

/// The lock of this drill.
pub(crate) struct Lock {
    id: String,
    admins: Vec<Base>,
}

impl Lock {
    /// Takes the lock at one node, and waits until every node shows it and no other one.
    ///
    /// A lock that was taken elsewhere at the same time is seen by at least one of the two drills: either its node knew
    /// of the other lock and refused, or both locks were written, and the drill that reads last reads both.
    pub(crate) async fn take(site: &Site, new: &NewDrillLock) -> anyhow::Result<Lock> {
        let lock = Lock { id: new.id.clone(), admins: site.nodes.iter().map(|node| node.admin.clone()).collect() };
        let first = lock.admins.first().context("there is no node")?;
        let call = Call::new(Method::POST, "/v1/admin/drill").json(new)?;
        if let Err(error) = call.send(first).await.and_then(|answer| answer.json::<DrillLock>()) {
            // The node may have taken it, although its answer was lost.
            lock.release().await;
            return Err(error.into());
        }
        let alone = poll::until(LIMIT, async || lock.is_alone().await).await;
        match alone {
            Ok(None) => Ok(lock),
            Ok(Some(other)) => {
                lock.release().await;
                anyhow::bail!(
                    "the drill `{}` of {} took the lock at the same moment; begin again later",
                    other.name,
                    other.by
                )
            }
            Err(error) => {
                lock.release().await;
                Err(error.context("the lock did not reach every node"))
            }
        }
    }

    /// Another lock, or none; an error until every node shows this one.
    async fn is_alone(&self) -> anyhow::Result<Option<DrillLock>> {
        for admin in &self.admins {
            let known: DrillLocks = client::get(admin, "/v1/admin/drill").await?;
            if let Some(other) = known.locks.iter().find(|lock| lock.id != self.id) {
                return Ok(Some(other.clone()));
            }
            anyhow::ensure!(!known.locks.is_empty(), "{admin} does not know the lock");
        }
        Ok(None)
    }

    /// Releases the lock at the first node that takes the order. If none does, the lock lapses by itself.
    pub(crate) async fn release(&self) {
        let path = format!("/v1/admin/drill/{}", self.id);
        for admin in &self.admins {
            let answer = Call::new(Method::DELETE, path.clone()).send(admin).await;
            if answer.is_ok_and(|answer| answer.status.is_success()) {
                return;
            }
        }
    }
}
