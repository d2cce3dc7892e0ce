//! Owners, who read their guest lists in every region again and again, without a session.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::guests::{World, list, send};
use crate::history::Act;

/// How often one list of one region is read. The lists take turns.
const EVERY: Duration = Duration::from_millis(700);

/// Reads in all regions until `over` is true.
pub(crate) async fn read(world: Arc<World>, over: watch::Receiver<bool>) {
    let mut readers = JoinSet::new();
    for region in 0..world.regions.len() {
        let (world, mut over) = (world.clone(), over.clone());
        readers.spawn(async move {
            let mut looks = tokio::time::interval(EVERY);
            for turn in 0.. {
                tokio::select! {
                    _ = over.wait_for(|over| *over) => return,
                    _ = looks.tick() => {}
                }
                let venue = &world.venues[turn % world.venues.len()];
                send(&world, region, None, None, Act::List { venue: venue.name }, list(venue)).await;
            }
        });
    }
    while let Some(ended) = readers.join_next().await {
        ended.unwrap();
    }
}
