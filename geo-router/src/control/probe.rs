//! Probes: asks each node again and again whether it is ready.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::client::{Base, Call};
use rand::RngExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Observation, SIZE_LIMIT};
use crate::config::RouterConfig;
use crate::metrics::ControlMetrics;

/// Random part of the interval, so that probes of many routers do not fall into step.
const JITTER: f64 = 0.1;

/// Starts one task for each node.
pub(super) fn spawn_all(
    tasks: &mut JoinSet<()>,
    config: &Arc<RouterConfig>,
    metrics: &Arc<ControlMetrics>,
    events: &mpsc::Sender<Observation>,
) {
    let rules = config.health;
    for region in config.fleet.indices() {
        for (index, node) in config.fleet.region(region).nodes.iter().enumerate() {
            let (events, address, probes) = (events.clone(), Base::from(node.http), metrics.probes(node.name.as_str()));
            tasks.spawn(async move {
                loop {
                    let begun = Instant::now();
                    let answer = Call::get("/readyz").limits(rules.timeout, SIZE_LIMIT).send(&address).await;
                    let good = answer.is_ok_and(|answer| answer.status.is_success());
                    probes.ended(good, begun.elapsed());
                    if events.send(Observation::Probed { region, node: index, good }).await.is_err() {
                        return;
                    }
                    let pause = rules.interval.mul_f64(1.0 + JITTER * rand::rng().random_range(-1.0..=1.0));
                    tokio::time::sleep(pause.saturating_sub(begun.elapsed()).max(Duration::from_millis(1))).await;
                }
            });
        }
    }
}
