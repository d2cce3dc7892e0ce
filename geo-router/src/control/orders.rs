//! Operators' orders and changes of members, read from the replicated cluster document of any live node.

use std::sync::Arc;
use std::time::Duration;

use api::client::Call;
use api::cluster::Cluster;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::question::ask;
use super::{Observation, SIZE_LIMIT};
use crate::endpoint::Endpoint;
use crate::health::HealthRules;
use crate::view::View;

/// How long one node may take to answer.
const LIMIT: Duration = Duration::from_secs(2);

/// Starts the task that asks the nodes in turn, so that a lagging node is not the only source and a dead one blocks
/// nothing.
pub(super) fn spawn(
    tasks: &mut JoinSet<()>,
    rules: watch::Receiver<HealthRules>,
    views: watch::Receiver<Arc<View>>,
    events: mpsc::Sender<Observation>,
) {
    tasks.spawn(async move {
        let (mut next, mut readable, mut round) = (0, true, Instant::now());
        loop {
            tokio::time::sleep_until(round).await;
            round = Instant::now() + rules.borrow().interval;
            let view = Arc::clone(&views.borrow());
            let live = live(&view);
            let Some(at) = live.get(next % live.len().max(1)).copied() else { continue };
            next = next.wrapping_add(1);
            let call = Call::get("/v1/cluster").limits(LIMIT, SIZE_LIMIT);
            let Ok(answer) = ask(&view.connector, at, call, LIMIT).await else { continue };
            let cluster = match answer.json::<Cluster>() {
                Ok(cluster) => cluster,
                Err(error) => {
                    if std::mem::replace(&mut readable, false) {
                        tracing::warn!(
                            node = %at, error = &error as &dyn std::error::Error,
                            action = "compare the versions of this router and of that node",
                            "a node's orders and members cannot be read: they do not count until they can"
                        );
                    }
                    continue;
                }
            };
            readable = true;
            let orders = cluster.regions.into_iter().filter_map(|one| Some((one.region, one.order?))).collect();
            let members = cluster.members;
            if events.send(Observation::Shown { orders, members }).await.is_err() {
                return;
            }
        }
    });
}

fn live(view: &View) -> Vec<&Endpoint> {
    let nodes = view.fleet.regions.iter().zip(&view.regions);
    nodes
        .flat_map(|(region, seen)| region.nodes.iter().zip(&seen.nodes_up))
        .filter(|(_, up)| **up)
        .map(|(node, _)| &node.at)
        .collect()
}
