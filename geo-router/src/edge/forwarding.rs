//! Everything of the edge that is sized by the fleet, in one piece: when the fleet changes it is built anew, and the
//! connections of clients go on.
//!
//! # Invariants
//! - A request takes a view and the tables of its fleet together, once, and uses both until its end.
//! - Tables only go forward: they are built for the fleet of the latest view, never for an earlier one.
//! - A node that stays at its address keeps its breaker, its idle connections and its count of requests under way.
//! - The connections of a node that went end with the requests that use them.

use std::sync::Arc;
use std::time::Instant;

use api::status::BreakerState;
use api::{NodeName, RegionId};
use arc_swap::ArcSwap;
use hyper::header::HeaderValue;
use parking_lot::Mutex;
use prometheus::Histogram;
use tokio::sync::watch;

use super::balance::Balancer;
use super::config::EdgeConfig;
use super::exclusion;
use super::limit::Capacity;
use super::metrics::EdgeMetrics;
use super::pool::Pool;
use super::sticky::Sticky;
use crate::fleet::Fleet;
use crate::view::View;

/// The tables of one fleet.
pub(super) struct Tables {
    pub(super) fleet: Arc<Fleet>,
    pub(super) balancer: Arc<Balancer>,
    pub(super) breakers: Arc<exclusion::Breakers>,
    pub(super) pool: Pool,
    pub(super) capacity: Capacity,
    pub(super) sticky: Option<Sticky>,
    /// Each region's name as a header.
    pub(super) regions: Vec<HeaderValue>,
    /// How long each region's nodes take.
    pub(super) upstream: Vec<Histogram>,
}

impl Tables {
    fn new(
        config: &EdgeConfig,
        metrics: &Arc<EdgeMetrics>,
        views: &watch::Receiver<Arc<View>>,
        fleet: &Arc<Fleet>,
        before: Option<&Tables>,
    ) -> Tables {
        let (balancer, pool) = match before {
            None => {
                let balancer = Arc::new(Balancer::new(config.balance, fleet));
                let (connect, connects) = (config.timeouts.connect, metrics.connects.clone());
                let pool = Pool::new(Arc::clone(fleet), Arc::clone(&balancer), connect, connects);
                (balancer, pool)
            }
            Some(before) => {
                let balancer = Arc::new(before.balancer.carried(&before.fleet, fleet));
                let pool = before.pool.carried(Arc::clone(fleet), Arc::clone(&balancer));
                (balancer, pool)
            }
        };
        let known = before.map(|before| &*before.breakers);
        let name = |name: &RegionId| HeaderValue::try_from(name.as_str()).unwrap_or(HeaderValue::from_static(""));
        let upstream = fleet.regions.iter().map(|region| metrics.upstream(region.name.as_str())).collect();
        let (views, metrics) = (views.clone(), Arc::clone(metrics));
        let breakers = exclusion::Breakers::new(config.breaker, Arc::clone(fleet), views, metrics, known);
        Tables {
            balancer,
            breakers: Arc::new(breakers),
            pool,
            capacity: Capacity::new(fleet, config.capacity_limit, Instant::now()),
            sticky: config.sticky.then(|| Sticky::new(&config.secret, fleet)),
            regions: fleet.regions.iter().map(|region| name(&region.name)).collect(),
            upstream,
            fleet: Arc::clone(fleet),
        }
    }
}

/// The latest view with the tables of its fleet.
#[derive(Clone)]
pub(super) struct Now {
    pub(super) view: Arc<View>,
    pub(super) tables: Arc<Tables>,
}

/// Keeps the tables at the latest fleet.
pub(super) struct Forwarding {
    config: EdgeConfig,
    metrics: Arc<EdgeMetrics>,
    views: watch::Receiver<Arc<View>>,
    tables: ArcSwap<Tables>,
    /// Held while tables are built.
    building: Mutex<()>,
}

impl Forwarding {
    /// Tables for the fleet of the present view.
    pub(super) fn new(config: EdgeConfig, views: watch::Receiver<Arc<View>>, metrics: Arc<EdgeMetrics>) -> Forwarding {
        let tables = Tables::new(&config, &metrics, &views, &Arc::clone(&views.borrow().fleet), None);
        Forwarding { config, metrics, views, tables: ArcSwap::from_pointee(tables), building: Mutex::new(()) }
    }

    /// The latest view and the tables of its fleet. The first caller after a change of the fleet builds them.
    pub(super) fn now(&self) -> Now {
        let now = self.fitting();
        now.unwrap_or_else(|_| {
            let _building = self.building.lock();
            // Another caller may have built them meanwhile. The view is read again under the lock, otherwise a caller
            // that was slow could bring tables of an earlier fleet back.
            self.fitting().unwrap_or_else(|Now { view, tables }| {
                let tables =
                    Arc::new(Tables::new(&self.config, &self.metrics, &self.views, &view.fleet, Some(&tables)));
                self.tables.store(Arc::clone(&tables));
                Now { view, tables }
            })
        })
    }

    /// Whether the present fleet has a region of this name.
    pub(super) fn knows(&self, region: &str) -> bool {
        self.tables.load().fleet.find(region).is_some()
    }

    /// The latest view and tables, as an error if the tables are of an earlier fleet.
    fn fitting(&self) -> Result<Now, Now> {
        let view = Arc::clone(&self.views.borrow());
        let now = Now { tables: self.tables.load_full(), view };
        if Arc::ptr_eq(&now.view.fleet, &now.tables.fleet) { Ok(now) } else { Err(now) }
    }

    /// Closes idle connections and breakers without requests, and removes the series of what went. To be called about
    /// every second.
    pub(super) fn sweep(&self) {
        let now = self.now();
        now.tables.pool.sweep();
        now.tables.breakers.rest(&now.view);
        self.metrics.forget_others(&now.tables.fleet);
    }
}

/// The nodes' circuit breakers, for operators; a cheap handle.
#[derive(Clone)]
pub struct Breakers(pub(super) Arc<Forwarding>);

impl Breakers {
    /// The state of a node's breaker; closed for a node that is not known.
    #[must_use]
    pub fn state(&self, region: &RegionId, node: &NodeName) -> BreakerState {
        self.0.now().tables.breakers.state(region, node)
    }
}

impl std::fmt::Debug for Breakers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Breakers").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
