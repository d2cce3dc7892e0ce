//! Probes: asks each node again and again whether it is ready, over a connection like those of requests.
//!
//! # Invariants
//! - There is one task for each node at each endpoint. It ends when the node goes, and goes on when other nodes change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::NodeName;
use api::client::Call;
use api::status::Readiness;
use rand::RngExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::question::{Trouble, ask};
use super::{Observation, SIZE_LIMIT};
use crate::connector::Connector;
use crate::endpoint::Endpoint;
use crate::fleet::Fleet;
use crate::health::HealthRules;
use crate::metrics::{ControlMetrics, ProbeMetrics};

/// Random part of the interval, so that probes of many routers do not fall into step.
const JITTER: f64 = 0.1;

/// The probes of all nodes.
pub(super) struct Probes {
    running: BTreeMap<NodeName, (Endpoint, AbortHandle)>,
    rules: watch::Receiver<HealthRules>,
    connector: watch::Receiver<Arc<Connector>>,
    metrics: Arc<ControlMetrics>,
    events: mpsc::Sender<Observation>,
}

impl Probes {
    /// No probes yet. Each round goes by the latest `rules` and `connector`.
    pub(super) fn new(
        rules: watch::Receiver<HealthRules>,
        connector: watch::Receiver<Arc<Connector>>,
        metrics: Arc<ControlMetrics>,
        events: mpsc::Sender<Observation>,
    ) -> Probes {
        Probes { running: BTreeMap::new(), rules, connector, metrics, events }
    }

    /// Probes exactly the nodes of this fleet from now on.
    pub(super) fn follow(&mut self, tasks: &mut JoinSet<()>, fleet: &Fleet) {
        let nodes: BTreeMap<&NodeName, &Endpoint> =
            fleet.nodes().map(|id| (&fleet.node(id).name, &fleet.node(id).at)).collect();
        self.running.retain(|name, (at, probe)| {
            let stays = nodes.get(name).is_some_and(|now| *now == at);
            if !stays {
                probe.abort();
            }
            stays
        });
        for (name, at) in nodes {
            self.running.entry(name.clone()).or_insert_with(|| {
                let metrics = self.metrics.probes(name.as_str());
                let (rules, connector) = (self.rules.clone(), self.connector.clone());
                let probe = probe((name.clone(), at.clone()), rules, connector, metrics, self.events.clone());
                (at.clone(), tasks.spawn(probe))
            });
        }
    }
}

async fn probe(
    (name, at): (NodeName, Endpoint),
    rules: watch::Receiver<HealthRules>,
    connector: watch::Receiver<Arc<Connector>>,
    metrics: ProbeMetrics,
    events: mpsc::Sender<Observation>,
) {
    loop {
        let (begun, rules, connector) = (Instant::now(), *rules.borrow(), Arc::clone(&connector.borrow()));
        let call = Call::get("/readyz").limits(rules.timeout, SIZE_LIMIT);
        let trouble = match ask(&connector, &at, call, rules.timeout).await {
            Ok(answer) if answer.status.is_success() => None,
            Ok(answer) => {
                let reasons = answer.json_of_any_status::<Readiness>().map(|told| told.reasons.join("; "));
                let reasons = reasons.ok().filter(|reasons| !reasons.is_empty());
                Some(Trouble::new(reasons.unwrap_or_else(|| format!("it answers {}", answer.status))))
            }
            Err(trouble) => Some(trouble),
        };
        metrics.ended(trouble.is_none(), begun.elapsed());
        if events.send(Observation::Probed { name: name.clone(), at: at.clone(), trouble }).await.is_err() {
            return;
        }
        let pause = rules.interval.mul_f64(1.0 + JITTER * rand::rng().random_range(-1.0..=1.0));
        tokio::time::sleep(pause.saturating_sub(begun.elapsed()).max(Duration::from_millis(1))).await;
    }
}
