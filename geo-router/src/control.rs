//! The control plane: the one task that sees both health and I/O and builds views.
//!
//! Tasks of their own deliver probes, other routers' ballots and nodes' orders as [`Observation`]s. The control plane hands
//! each event to [`Health`] and publishes a new view if the result differs from the last one. The data plane always
//! uses the last view, whatever happens here.
//!
//! # Invariants
//! - Probes, ballots and orders are fetched at a fixed rate, however many regions are down, so failures add no load.
//! - Every fetch has a deadline and a size limit.

mod ballots;
mod demand;
mod kept;
mod orders;
mod probe;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::RegionId;
use api::orders::Order;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

pub(crate) use ballots::PATH as BALLOT_PATH;
pub use ballots::{PeerKey, PeerKeyError};
pub use kept::Kept;

use crate::config::RouterConfig;
use crate::fleet::{Fleet, RegionIndex};
use crate::health::orders::Orders;
use crate::health::{Ballot, Fitness, Health};
use crate::location::Places;
use crate::metrics::ControlMetrics;
use crate::policy::PolicyInput;
use crate::signals::Signals;
use crate::view::View;
use demand::Demand;

/// How often the control plane looks at effects of time: ramps, lapsed orders, routers that fell silent.
const TICK: Duration = Duration::from_millis(250);

/// Bytes of an answer to the control plane; such answers are small.
const SIZE_LIMIT: usize = 256 * 1024;

/// Events that may wait.
const QUEUE: usize = 1_024;

/// A new observation.
#[derive(Debug)]
enum Observation {
    Probed { region: RegionIndex, node: usize, good: bool },
    Heard(Ballot),
    Ordered(Vec<(RegionId, Order)>),
}

/// The state of the control plane for the admin listener.
#[derive(Clone, Debug)]
pub struct ControlState {
    /// This router's verdicts by its own probes, which it sends to other routers.
    pub ballot: Ballot,
    /// The other routers that are heard.
    pub heard: Vec<String>,
    /// Operators' orders.
    pub orders: Orders,
}

/// The state of the control plane.
pub struct Control {
    config: Arc<RouterConfig>,
    places: Arc<Places>,
    signals: Arc<Signals>,
    metrics: Arc<ControlMetrics>,
    health: Health,
    demand: Demand,
    start: Instant,
    views: watch::Sender<Arc<View>>,
    control_state: watch::Sender<Arc<ControlState>>,
    kept: Kept,
    file: PathBuf,
}

impl Control {
    /// A control plane that continues where this router's last run ended, with the first view and its control_state.
    #[must_use]
    pub fn new(
        config: Arc<RouterConfig>,
        places: Arc<Places>,
        signals: Arc<Signals>,
        metrics: Arc<ControlMetrics>,
    ) -> (Control, watch::Receiver<Arc<View>>, watch::Receiver<Arc<ControlState>>) {
        let file = config.data.join("state.json");
        let kept = Kept::load(&file);
        let me = (config.name.to_string(), config.region.clone());
        let (fleet, rules, routers) = (Arc::clone(&config.fleet), config.health, config.peers.len() + 1);
        let mut health = Health::new(Arc::clone(&fleet), rules, me, routers, &kept.agreed, kept.orders.clone());
        let fitness = health.assess(Duration::ZERO, Timestamp::now());
        let demand = Demand::new(places.classes().len(), fleet.regions.len());
        let view = build_view(0, &config, &places, &demand, fitness);
        metrics.mirror(&view);
        let control_state =
            ControlState { ballot: health.ballot(), heard: Vec::new(), orders: health.orders().clone() };
        let (views, view) = watch::channel(Arc::new(view));
        let (standing_in, control_state) = watch::channel(Arc::new(control_state));
        let control = Control {
            config,
            places,
            signals,
            metrics,
            health,
            demand,
            start: Instant::now(),
            views,
            control_state: standing_in,
            kept,
            file,
        };
        (control, view, control_state)
    }

    /// Probes, listens and publishes until `stop` is true, or until a part of it breaks.
    pub async fn run(mut self, key: Option<PeerKey>, mut stop: watch::Receiver<bool>) {
        let (sender, mut events) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        probe::spawn_all(&mut tasks, &self.config, &self.metrics, &sender);
        orders::spawn(&mut tasks, &self.config, self.views.subscribe(), sender.clone());
        if let Some(key) = key {
            ballots::spawn_all(&mut tasks, &self.config, &key, &sender);
        }
        drop(sender);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                // An error means that the sender is gone, which also ends the control plane.
                _ = stop.wait_for(|stop| *stop) => break,
                Some(event) = events.recv() => self.handle(event),
                _ = ticks.tick() => self.tick(),
                Some(ended) = tasks.join_next() => {
                    // Without this task verdicts would never change again, so the router ends and its supervisor
                    // notices.
                    tracing::error!(
                        ?ended, action = "a supervisor should start the router again",
                        "a task of the control plane ended: the router stops itself"
                    );
                    break;
                }
            }
            self.publish().await;
        }
        tasks.shutdown().await;
    }

    fn handle(&mut self, event: Observation) {
        let now = self.start.elapsed();
        match event {
            Observation::Probed { region, node, good } => self.health.handle_probe(now, region, node, good),
            Observation::Heard(ballot) => self.health.handle_ballot(now, ballot),
            Observation::Ordered(orders) => {
                for (region, order) in orders {
                    let kind = order.kind;
                    if self.health.handle_order(region.as_str(), order) {
                        tracing::info!(%region, order = ?kind, "a node shows an operator's order for a region");
                    }
                }
            }
        }
    }

    fn tick(&mut self) {
        if let Some(passive) = self.demand.sample(self.start.elapsed(), &self.signals, &self.config.fleet) {
            for (region, (answered, failed)) in self.config.fleet.indices().zip(passive) {
                self.health.handle_passive(region, answered, failed);
            }
        }
    }

    async fn publish(&mut self) {
        let now = self.start.elapsed();
        let fitness = self.health.assess(now, Timestamp::now());
        let last = Arc::clone(&self.views.borrow());
        let next = build_view(last.epoch + 1, &self.config, &self.places, &self.demand, fitness);
        if !same(&last, &next) {
            log_changes(&self.config.fleet, &last, &next);
            self.metrics.mirror(&next);
            self.views.send_replace(Arc::new(next));
        }
        let heard: Vec<String> = self.health.heard(now).into_iter().map(str::to_owned).collect();
        self.metrics.routers_heard.set(heard.len() as i64 + 1);
        let control_state = ControlState { ballot: self.health.ballot(), heard, orders: self.health.orders().clone() };
        self.control_state.send_if_modified(|old| {
            let changed = old.ballot != control_state.ballot
                || old.heard != control_state.heard
                || old.orders != control_state.orders;
            if changed {
                *old = Arc::new(control_state);
            }
            changed
        });
        let kept = Kept { agreed: self.health.agreed(), orders: self.health.orders().clone() };
        if kept != self.kept {
            kept.save(&self.file).await;
            self.kept = kept;
        }
    }
}

fn build_view(epoch: u64, config: &RouterConfig, places: &Arc<Places>, demand: &Demand, fitness: Fitness) -> View {
    let moment = PolicyInput {
        fleet: &config.fleet,
        admission: &fitness.admission,
        places: places.classes(),
        demand: demand.by_class(),
    };
    let (min, max) = config.ttl;
    let ttl = fitness.until_change.clamp(min, max.max(min)).as_secs();
    View {
        epoch,
        assignment: config.policy.assign(&moment),
        fleet: Arc::clone(&config.fleet),
        places: Arc::clone(places),
        ttl: u32::try_from(ttl).unwrap_or(u32::MAX),
        fail_open: fitness.fail_open,
        frozen: fitness.frozen,
        regions: fitness.regions,
    }
}

fn same(one: &View, other: &View) -> bool {
    one.regions == other.regions
        && one.assignment == other.assignment
        && (one.ttl, one.fail_open, one.frozen) == (other.ttl, other.fail_open, other.frozen)
}

fn log_changes(fleet: &Fleet, old: &View, new: &View) {
    for (region, (before, after)) in fleet.regions.iter().zip(old.regions.iter().zip(&new.regions)) {
        if before.state != after.state {
            let (region, from, to) = (&region.name, before.state.name(), after.state.name());
            tracing::info!(%region, from, to, epoch = new.epoch, "a region changed its state");
        }
    }
    if old.frozen != new.frozen {
        tracing::warn!(
            frozen = new.frozen,
            action = "check the other routers",
            "while frozen is true too few routers are heard to decide: the last verdicts hold"
        );
    }
    if old.fail_open != new.fail_open {
        tracing::warn!(
            fail_open = new.fail_open,
            action = "check the nodes",
            "while fail_open is true no region is fit: health is ignored, and clients are sent to their normal regions"
        );
    }
}
