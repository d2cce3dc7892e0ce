//! The control plane: the one task that sees both health and I/O and builds views.
//!
//! Tasks of their own deliver probes, other routers' ballots and what nodes show as [`Observation`]s. The control plane
//! hands each event to [`Health`] and publishes a new view if the result differs from the last one. The data plane always
//! uses the last view, whatever happens here.
//!
//! The control plane also owns the fleet: the configured regions and nodes, as operators changed them since
//! ([`Members`]). When the fleet changes, or when the configuration file is read again, a blocking thread builds the
//! [`Tables`] anew, and the control plane takes up everything that has indices at once: tables, [`Health`], [`Demand`] and
//! [`Signals`]. What belongs to a region or node that stays is carried over by name.
//!
//! # Invariants
//! - Probes, ballots and orders are fetched at a fixed rate, however many regions are down, so failures add no load.
//! - Every fetch has a deadline and a size limit.
//! - An observation names its node. An index would be one of an earlier fleet by the time it is handled.

mod ballots;
mod change;
mod demand;
mod effective;
mod kept;
mod members;
mod names;
mod orders;
mod probe;
mod question;
mod succession;
mod tables;
mod troubles;
mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::members::Member;
use api::orders::Order;
use api::{NodeName, RegionId};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::MissedTickBehavior;

pub(crate) use ballots::PATH as BALLOT_PATH;
pub use ballots::{PeerKey, PeerKeyError};
pub use kept::Kept;
use members::Members;
use names::Names;
pub(crate) use succession::{ControlHandle, ControlMemory, LookProgress};
pub use tables::{Tables, TablesError};

use crate::config::{ResolveRules, RouterConfig};
use crate::connector::Connector;
use crate::endpoint::Endpoint;
use crate::health::orders::Orders;
use crate::health::{Ballot, Health, HealthRules};
use crate::metrics::ControlMetrics;
use crate::signals::Signals;
use crate::view::View;
use change::Todo;
use demand::Demand;
use effective::Ignored;
use probe::Probes;
use question::Trouble;
use succession::FirstLook;
use troubles::Troubles;
use views::FrozenNotice;

/// How often the control plane looks at effects of time: ramps, lapsed orders, routers that fell silent.
const TICK: Duration = Duration::from_millis(250);

/// Bytes of an answer to the control plane; such answers are small.
const SIZE_LIMIT: usize = 256 * 1024;

/// Events that may wait.
const QUEUE: usize = 1_024;

/// A new observation.
#[derive(Debug)]
enum Observation {
    /// A probe of the node of this name at this endpoint ended, well unless there is a trouble.
    Probed { name: NodeName, at: Endpoint, trouble: Option<Trouble> },
    /// A host name was asked: its addresses, or why it has none.
    Resolved { host: String, found: Result<Vec<IpAddr>, String> },
    /// Another router sent its verdicts.
    Heard(Ballot),
    /// A node showed operators' orders and the changes of members.
    Shown { orders: Vec<(RegionId, Order)>, members: Vec<Member> },
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
    /// What is wrong with nodes, by the latest probes.
    pub troubles: BTreeMap<NodeName, String>,
}

/// How a running router is told to read its configuration file again.
#[derive(Debug)]
pub struct Reload {
    /// The file.
    pub file: PathBuf,
    /// One message for each time; `meridian router` sends one on SIGHUP.
    pub asked: mpsc::Receiver<()>,
}

/// The state of the control plane.
pub struct Control {
    config: Arc<RouterConfig>,
    tables: Tables,
    signals: Arc<Signals>,
    metrics: Arc<ControlMetrics>,
    health: Health,
    demand: Demand,
    members: Members,
    names: Names,
    troubles: Troubles,
    ignored: BTreeSet<Ignored>,
    todo: Todo,
    frozen_notice: FrozenNotice,
    rules: watch::Sender<HealthRules>,
    resolve: watch::Sender<ResolveRules>,
    connector: watch::Sender<Arc<Connector>>,
    start: Instant,
    views: watch::Sender<Arc<View>>,
    control_state: watch::Sender<Arc<ControlState>>,
    kept: Kept,
    kept_file: PathBuf,
    first_look: FirstLook,
    handle: ControlHandle,
    asks: mpsc::Receiver<oneshot::Sender<ControlMemory>>,
}

impl Control {
    /// A control plane that continues where this router's last run ended; its first view is there at once. It reads the
    /// location database, so this belongs on a blocking thread.
    ///
    /// # Errors
    /// [`TablesError`] if the location database cannot be used.
    pub fn new(config: Arc<RouterConfig>, metrics: Arc<ControlMetrics>) -> Result<Control, TablesError> {
        let kept_file = config.data.join("state.json");
        let kept = Kept::load(&kept_file);
        let mut names = kept.names.clone();
        let wanted = names::wanted(&config.fleet);
        let unresolved = names::ask_now(wanted, &config.nodes.resolve.servers, &mut names);
        let mut troubles = Troubles::default();
        for (host, why) in unresolved {
            troubles.resolved(&host, Err(why));
        }
        let (tables, ignored) = Tables::at_start(&config, &kept.members, &names)?;
        change::warn_exposed(&tables.fleet, None);
        change::log_ignored(&BTreeSet::new(), &ignored);
        let me = (config.name.to_string(), config.region.clone());
        let (fleet, routers) = (Arc::clone(&tables.fleet), config.peers.len() + 1);
        let mut health = Health::new(fleet, config.health, me, routers, &kept.agreed, kept.orders.clone());
        let fitness = health.assess(Duration::ZERO, Timestamp::now());
        let classes = tables.places.classes().len();
        let demand = Demand::new(classes, tables.fleet.regions.len());
        let signals = Arc::new(Signals::new(&tables.fleet, classes));
        let view = views::build(0, config.ttl, &tables, &signals, &demand, fitness);
        metrics.mirror(&view);
        let control_state = ControlState {
            ballot: health.ballot(),
            heard: Vec::new(),
            orders: health.orders().clone(),
            troubles: BTreeMap::new(),
        };
        let (handle, asks) = ControlHandle::new();
        Ok(Control {
            rules: watch::Sender::new(config.health),
            resolve: watch::Sender::new(config.nodes.resolve.clone()),
            connector: watch::Sender::new(Arc::clone(&tables.connector)),
            names,
            troubles,
            members: kept.members.clone(),
            todo: Todo::default(),
            frozen_notice: FrozenNotice::default(),
            start: Instant::now(),
            views: watch::Sender::new(Arc::new(view)),
            control_state: watch::Sender::new(Arc::new(control_state)),
            config,
            tables,
            signals,
            metrics,
            health,
            demand,
            ignored,
            kept,
            kept_file,
            first_look: FirstLook::default(),
            handle,
            asks,
        })
    }

    /// The views that this control plane publishes.
    #[must_use]
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.views.subscribe()
    }

    /// Its state, for the admin listener.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<Arc<ControlState>> {
        self.control_state.subscribe()
    }

    /// Probes, listens and publishes until `stop` is true, or until a part of it breaks.
    pub async fn run(mut self, key: Option<PeerKey>, mut reload: Reload, mut stop: watch::Receiver<bool>) {
        let (sender, mut events) = mpsc::channel(QUEUE);
        let (mut tasks, mut changes) = (JoinSet::new(), JoinSet::new());
        let (rules, connector) = (self.rules.subscribe(), self.connector.subscribe());
        let mut probes = Probes::new(rules, connector, Arc::clone(&self.metrics), sender.clone());
        probes.follow(&mut tasks, &self.tables.fleet);
        orders::spawn(&mut tasks, self.rules.subscribe(), self.views.subscribe(), sender.clone());
        names::spawn(&mut tasks, self.resolve.subscribe(), self.views.subscribe(), sender.clone());
        if let Some(key) = key {
            ballots::spawn_all(&mut tasks, &self.config.peers, &self.rules.subscribe(), &key, &sender);
        }
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                // An error means that the sender is gone, which also ends the control plane.
                _ = stop.wait_for(|stop| *stop) => break,
                Some(()) = reload.asked.recv() => self.todo.read_file = true,
                Some(built) = changes.join_next() => {
                    self.take_up(built);
                    probes.follow(&mut tasks, &self.tables.fleet);
                }
                Some(answer) = self.asks.recv() => {
                    // An error means that the successor has ended.
                    let _ = answer.send(self.memory());
                }
                Some(event) = events.recv() => self.observe(event),
                _ = ticks.tick() => self.tick(),
                Some(ended) = tasks.join_next() => {
                    // The probes of a node that went are cancelled.
                    if ended.as_ref().is_err_and(JoinError::is_cancelled) {
                        continue;
                    }
                    // Without this task verdicts would never change again, so the router ends and its supervisor
                    // notices.
                    tracing::error!(
                        ?ended, action = "a supervisor should start the router again",
                        "a task of the control plane ended: the router stops itself"
                    );
                    break;
                }
            }
            if changes.is_empty()
                && let Some(change) = self.next_change(&reload.file)
            {
                changes.spawn_blocking(move || change.build());
            }
            self.refresh();
            self.keep().await;
        }
        tasks.shutdown().await;
    }

    fn observe(&mut self, event: Observation) {
        let now = self.start.elapsed();
        match event {
            Observation::Probed { name, at, trouble } => {
                self.first_look.probed(&name, &at, trouble.is_none());
                // The node may have gone while its probe waited here.
                if let Some(id) = self.tables.fleet.find_node(&name, &at) {
                    self.health.handle_probe(now, id.region, id.node, trouble.is_none());
                    self.troubles.probed(&name, trouble);
                }
            }
            Observation::Resolved { host, found } => {
                let found = self.troubles.resolved(&host, found);
                self.todo.derive_fleet |= found.is_some_and(|addresses| self.names.take(host, addresses));
            }
            Observation::Heard(ballot) => {
                self.first_look.heard(&ballot.router);
                self.health.handle_ballot(now, ballot);
            }
            Observation::Shown { orders, members } => {
                for (region, order) in orders {
                    let kind = order.kind;
                    if self.health.handle_order(region.as_str(), order) {
                        tracing::info!(%region, order = ?kind, "a node shows an operator's order for a region");
                    }
                }
                members.into_iter().for_each(|member| self.handle_member(member));
            }
        }
    }

    fn handle_member(&mut self, member: Member) {
        let (name, region, membership) = (member.name.clone(), member.region.clone(), member.membership);
        let (public, public_tls) = (member.public, member.public_tls.clone());
        let was_full = self.members.is_full();
        if self.members.take(member) {
            self.todo.derive_fleet = true;
            tracing::info!(node = %name, %region, %membership, ?public, ?public_tls, "a node shows a change of the members");
            if !was_full && self.members.is_full() {
                tracing::warn!(
                    action = "find out which node shows so many members",
                    "more changes of members are shown than a router keeps: those of further nodes are ignored"
                );
            }
        }
    }

    fn tick(&mut self) {
        let fleet = &self.tables.fleet;
        if let Some(passive) = self.demand.sample(self.start.elapsed(), &self.signals, fleet) {
            for (region, (answered, failed)) in fleet.indices().zip(passive) {
                self.health.handle_passive(region, answered, failed);
            }
        }
    }

    /// Decides what can be decided, and publishes the view if it is another one.
    fn refresh(&mut self) {
        let now = self.start.elapsed();
        let fitness = self.health.assess(now, Timestamp::now());
        let last = Arc::clone(&self.views.borrow());
        self.frozen_notice.tell(now, fitness.frozen);
        let next = views::build(last.epoch + 1, self.config.ttl, &self.tables, &self.signals, &self.demand, fitness);
        if !views::same(&last, &next) {
            views::log_changes(&last, &next);
            self.metrics.mirror(&next);
            self.views.send_replace(Arc::new(next));
        }
        let heard: Vec<String> = self.health.heard(now).into_iter().map(str::to_owned).collect();
        self.metrics.routers_heard.set(heard.len() as i64 + 1);
        let (orders, troubles) = (self.health.orders().clone(), self.troubles.shown(&self.tables.fleet));
        let control_state = ControlState { ballot: self.health.ballot(), heard, orders, troubles };
        self.control_state.send_if_modified(|old| {
            let changed = old.ballot != control_state.ballot
                || old.heard != control_state.heard
                || old.orders != control_state.orders
                || old.troubles != control_state.troubles;
            if changed {
                *old = Arc::new(control_state);
            }
            changed
        });
    }

    async fn keep(&mut self) {
        let (agreed, orders) = (self.health.agreed(), self.health.orders().clone());
        let kept = Kept { agreed, orders, members: self.members.clone(), names: self.names.clone() };
        if kept != self.kept {
            // Held while the file is written.
            let keeps = self.handle.keeps().lock().await;
            if *keeps {
                kept.save(&self.kept_file).await;
                self.kept = kept;
            }
        }
    }
}
