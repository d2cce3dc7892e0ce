//! Probes: asks each node again and again whether it is ready.
//!
//! # Invariants
//! - There is one task for each node at each address. It ends when the node goes, and goes on when other nodes change.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::NodeName;
use api::client::{Base, Call};
use rand::RngExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::{Observation, SIZE_LIMIT};
use crate::fleet::Fleet;
use crate::health::HealthRules;
use crate::metrics::{ControlMetrics, ProbeMetrics};

/// Random part of the interval, so that probes of many routers do not fall into step.
const JITTER: f64 = 0.1;

/// The probes of all nodes.
pub(super) struct Probes {
    running: BTreeMap<(NodeName, SocketAddr), AbortHandle>,
    rules: watch::Receiver<HealthRules>,
    metrics: Arc<ControlMetrics>,
    events: mpsc::Sender<Observation>,
}

impl Probes {
    /// No probes yet. Each round goes by the latest `rules`.
    pub(super) fn new(
        rules: watch::Receiver<HealthRules>,
        metrics: Arc<ControlMetrics>,
        events: mpsc::Sender<Observation>,
    ) -> Probes {
        Probes { running: BTreeMap::new(), rules, metrics, events }
    }

    /// Probes exactly the nodes of this fleet from now on.
    pub(super) fn follow(&mut self, tasks: &mut JoinSet<()>, fleet: &Fleet) {
        self.running.retain(|(name, http), probe| {
            let stays = fleet.find_node(name, *http).is_some();
            if !stays {
                probe.abort();
            }
            stays
        });
        for id in fleet.nodes() {
            let node = fleet.node(id);
            self.running.entry((node.name.clone(), node.http)).or_insert_with_key(|(name, http)| {
                let metrics = self.metrics.probes(name.as_str());
                tasks.spawn(probe((name.clone(), *http), self.rules.clone(), metrics, self.events.clone()))
            });
        }
    }
}

async fn probe(
    node: (NodeName, SocketAddr),
    rules: watch::Receiver<HealthRules>,
    metrics: ProbeMetrics,
    events: mpsc::Sender<Observation>,
) {
    let address = Base::from(node.1);
    loop {
        let (begun, rules) = (Instant::now(), *rules.borrow());
        let answer = Call::get("/readyz").limits(rules.timeout, SIZE_LIMIT).send(&address).await;
        let good = answer.is_ok_and(|answer| answer.status.is_success());
        metrics.ended(good, begun.elapsed());
        if events.send(Observation::Probed { name: node.0.clone(), http: node.1, good }).await.is_err() {
            return;
        }
        let pause = rules.interval.mul_f64(1.0 + JITTER * rand::rng().random_range(-1.0..=1.0));
        tokio::time::sleep(pause.saturating_sub(begun.elapsed()).max(Duration::from_millis(1))).await;
    }
}
