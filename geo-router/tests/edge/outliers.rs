//! Nodes that fail a part of their requests: they are excluded, the others take over, and the last one stays.

use api::status::BreakerState;

use crate::support::{Act, RawNode, World, ok, put, say};

/// An exclusion lasts longer than the test.
const FOR_LONG: &str = "[breaker]\nopen_ms = 60000\nopen_max_ms = 60000\n";

const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nwhy?";

/// The head of an answer and half of its body.
const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf";

fn post() -> String {
    put("/", "", "x").replace("PUT", "POST")
}

#[tokio::test]
async fn a_node_whose_answers_break_off_is_excluded() {
    for half in [HALF, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"] {
        let eu = RawNode::start(move |_, _| Act::SayAndClose(half.to_owned())).await;
        let us = RawNode::named("us").await;
        let world = World::new([&[eu.address], &[us.address], &[]], FOR_LONG).await;
        let mut broken = 0;
        while world.ask(&post()).await.body != "us" {
            broken += 1;
            assert!(broken < 20, "the node is still asked");
        }
        assert_eq!((world.breaker(0), broken, us.count()), (BreakerState::Open, 5, 1));
        assert_eq!(world.metric("exclusions_total", "reason=\"in-a-row\""), 1.0);
        assert_eq!(world.signals.outcomes(geo_router::fleet::RegionIndex(0), 0).1, 5, "the control plane knows");
    }
}

/// Its answers that are good must not hide those that are not, and one good trial does not bring it back for long.
#[tokio::test]
async fn a_node_that_fails_more_than_the_others_is_excluded() {
    let worse = RawNode::start(|number, _| if number % 5 < 2 { say(UNAVAILABLE) } else { ok("worse") }).await;
    let well = RawNode::named("well").await;
    let world = World::new([&[worse.address, well.address], &[], &[]], FOR_LONG).await;
    let mut failed = 0;
    for _ in 0..200 {
        failed += usize::from(world.ask(&post()).await.status == 503);
    }
    assert_eq!(world.breaker(0), BreakerState::Open);
    assert_eq!(world.metric("exclusions_total", "node=\"node-0-0\",reason=\"above-others\""), 1.0);
    // Twenty requests show it, of the other node as well.
    assert!(worse.count() <= 30 && failed <= 12, "{} of its requests, {failed} failed", worse.count());
    assert_eq!(worse.count() + well.count(), 200, "no POST is sent twice");
}

#[tokio::test]
async fn a_fault_of_all_nodes_excludes_none_for_being_worse() {
    let act = |number: usize, _: &str| if number % 5 < 2 { say(UNAVAILABLE) } else { ok("some") };
    let nodes = [RawNode::start(act).await, RawNode::start(act).await];
    let world = World::new([&[nodes[0].address, nodes[1].address], &[], &[]], FOR_LONG).await;
    for _ in 0..200 {
        world.ask(&post()).await;
    }
    assert_eq!(world.metric("exclusions_total", ""), 0.0);
}

#[tokio::test]
async fn the_last_node_is_never_excluded() {
    let nodes = [RawNode::start(|_, _| say(UNAVAILABLE)).await, RawNode::start(|_, _| say(UNAVAILABLE)).await];
    let world = World::new([&[nodes[0].address], &[nodes[1].address], &[]], FOR_LONG).await;
    for _ in 0..100 {
        assert_eq!(world.ask(&post()).await.status, 503);
    }
    assert_eq!((world.metric("exclusions_total", ""), world.metric("breaker_state", "node-1-0")), (1.0, 0.0));
    assert!(world.metric("exclusions_refused_total", "node=\"node-1-0\"") >= 1.0);
    assert_eq!((nodes[0].count(), nodes[1].count()), (5, 95));
}
