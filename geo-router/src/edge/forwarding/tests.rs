//! Tables follow the fleet of the view: what stays keeps its breaker and connections, and nothing goes backwards.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use api::status::BreakerState;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::super::config::{EdgeConfig, EdgeSection};
use super::super::metrics::EdgeMetrics;
use super::super::testing;
use super::Forwarding;
use crate::connector::Connector;
use crate::fleet::{Fleet, NodeId, RegionIndex};
use crate::view::View;

fn view(fleet: &Arc<Fleet>) -> Arc<View> {
    Arc::new(testing::view(fleet))
}

fn forwarding(fleet: &Arc<Fleet>) -> (Forwarding, watch::Sender<Arc<View>>, Registry) {
    let (sender, views) = watch::channel(view(fleet));
    let registry = Registry::new();
    let metrics = Arc::new(EdgeMetrics::register(&registry).unwrap());
    let section = EdgeSection { sticky: true, ..EdgeSection::new(SocketAddr::from(([127, 0, 0, 1], 0))) };
    let config = EdgeConfig::check(section, std::path::Path::new("/")).unwrap();
    (Forwarding::new(config, views, metrics), sender, registry)
}

fn id(region: u8, node: usize) -> NodeId {
    NodeId { region: RegionIndex(region), node }
}

/// Labels and values of the series of a metric.
fn shown(registry: &Registry, metric: &str) -> Vec<String> {
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let name = format!("meridian_router_edge_{metric}");
    text.lines().filter_map(|line| line.strip_prefix(&name)).map(str::to_owned).collect()
}

#[tokio::test]
async fn nodes_that_stay_keep_breaker_and_connections_at_their_new_index() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut old = testing::fleet(&[1, 2]);
    old.regions[1].nodes[1].at = listener.local_addr().unwrap().into();
    let old = Arc::new(old);
    let (forwarding, views, registry) = forwarding(&old);
    let before = forwarding.now();
    // A node with an open breaker and a connection in use, and one whose region goes.
    for _ in 0..5 {
        before.tables.breakers.force(id(1, 1)).record(false);
    }
    let Ok(lease) = before.tables.pool.connection(&Connector::default(), id(1, 1), false).await else {
        panic!("no connection")
    };
    // The task of the connection runs, and the connection is ready.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let gone = before.tables.breakers.force(id(0, 0));

    let new = Arc::new(Fleet { regions: vec![old.regions[1].clone(), testing::fleet(&[1, 1, 3]).regions[2].clone()] });
    views.send_replace(view(&new));
    let after = forwarding.now();
    assert!(Arc::ptr_eq(&after.tables.fleet, &new) && Arc::ptr_eq(&after.view.fleet, &new));
    assert!(Arc::ptr_eq(&after.tables, &forwarding.now().tables), "they are built once");
    assert_eq!(after.tables.regions, ["region-1", "region-2"]);
    let (region, nodes) = (&new.regions[0].name, &new.regions[0].nodes);
    assert_eq!(after.tables.breakers.state(region, &nodes[1].name), BreakerState::Open);
    assert_eq!(after.tables.breakers.state(region, &nodes[0].name), BreakerState::Closed);
    assert_eq!(after.tables.balancer.busy(id(0, 1)).load(Ordering::Relaxed), 1);
    assert_eq!(after.tables.balancer.order(RegionIndex(1), &keys()).len(), 3);

    // Times are counted by region, also by requests that began before.
    before.tables.upstream[1].observe(0.1);
    after.tables.upstream[0].observe(0.1);
    before.tables.upstream[0].observe(0.1);
    assert!(shown(&registry, "upstream_seconds_count").contains(&"{region=\"region-1\"} 2".to_owned()));

    // The request of before ends: its connection serves requests of the new fleet.
    lease.give_back();
    assert_eq!(after.tables.balancer.busy(id(0, 1)).load(Ordering::Relaxed), 0);
    let Ok(again) = after.tables.pool.connection(&Connector::default(), id(0, 1), false).await else {
        panic!("no connection")
    };
    assert_eq!(shown(&registry, "upstream_connects_total"), [" 1"]);
    drop(again);
    // A request in the region that went ends in peace, and its series does not come back.
    forwarding.sweep();
    gone.record(false);
    assert_eq!(shown(&registry, "upstream_seconds_count"), ["{region=\"region-1\"} 2", "{region=\"region-2\"} 0"]);
    let shown = shown(&registry, "breaker_state");
    assert_eq!(shown.len(), 5, "{shown:?}");
    assert!(shown.iter().all(|labels| !labels.contains("region-0")), "{shown:?}");
}

fn keys() -> super::super::balance::HashKeys<'static> {
    super::super::balance::HashKeys { client: [192, 0, 2, 1].into(), venue: None }
}

/// Another view of the same fleet builds nothing.
#[test]
fn health_does_not_touch_the_tables() {
    let fleet = Arc::new(testing::fleet(&[2]));
    let (forwarding, views, _) = forwarding(&fleet);
    let before = forwarding.now();
    views.send_replace(view(&fleet));
    let after = forwarding.now();
    assert!(Arc::ptr_eq(&before.tables, &after.tables) && !Arc::ptr_eq(&before.view, &after.view));
}

/// However many callers meet a change, none sees a view with the tables of another fleet.
#[test]
fn view_and_tables_always_belong_together() {
    let fleets: Vec<Arc<Fleet>> = (1..=4).map(|count| Arc::new(testing::fleet(&vec![1; count]))).collect();
    let (forwarding, views, _) = forwarding(&fleets[0]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let now = forwarding.now();
                    assert!(Arc::ptr_eq(&now.view.fleet, &now.tables.fleet));
                    assert_eq!(now.tables.regions.len(), now.view.regions.len());
                }
            });
        }
        for round in 0..400 {
            views.send_replace(view(&fleets[round % fleets.len()]));
        }
    });
}
