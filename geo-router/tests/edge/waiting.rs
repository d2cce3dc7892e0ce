//! Requests that wait at a node that does not answer: which leave it, when, and for where.

use std::sync::Arc;

use api::explanation::RegionState::{Down, Maintenance, Up};
use api::status::BreakerState;

use crate::support::{Act, Client, RawNode, World, fleet, put, soon, until, view};

/// Nodes are silent for longer than the tests are patient, so only the loss of a node ends a wait.
const PATIENT: &str = "hedge_after_ms = 0\n[timeouts]\nanswer_ms = 60000\nrequest_ms = 60000\n";

/// A node that never answers.
async fn hung() -> RawNode {
    RawNode::start(|_, _| Act::Hang).await
}

/// A request on its way.
async fn sent(world: &World, method: &str) -> Client {
    let mut client = Client::connect(world.address).await;
    client.send(put("/v1/venues/v/visits/x", "", "x").replace("PUT", method)).await;
    client
}

#[tokio::test]
async fn what_may_be_sent_twice_leaves_a_node_when_its_verdict_falls() {
    let (eu, us) = (hung().await, RawNode::named("us").await);
    let world = World::new([&[eu.address], &[us.address], &[]], PATIENT).await;
    let mut waiting = Vec::new();
    for method in ["PUT", "GET", "DELETE", "POST"] {
        waiting.push((method, sent(&world, method).await));
    }
    until(|| eu.count() == 4).await;
    assert_eq!(us.count(), 0);
    world.views.send_replace(view(&world.fleet, [Down, Up, Maintenance], 0.0));
    let (_, mut post) = waiting.pop().unwrap();
    for (method, client) in &mut waiting {
        let reply = client.reply(false).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "us"), "{method}");
    }
    assert_eq!(world.metric("retries_total", "reason=\"lost\""), 3.0);
    // The node may have done the POST, so it is never sent again, also when its connection breaks.
    eu.kill();
    assert_eq!(post.reply(false).await.status, 502);
    assert_eq!((eu.count(), us.count()), (4, 3));
}

/// It may end what it has begun.
#[tokio::test]
async fn a_request_waits_on_at_a_node_that_goes() {
    let (eu, us) = (hung().await, RawNode::named("us").await);
    let world = World::new([&[eu.address], &[us.address], &[]], PATIENT).await;
    let mut client = sent(&world, "PUT").await;
    until(|| eu.count() == 1).await;
    let other = RawNode::named("other").await;
    let fleet = Arc::new(fleet([&[other.address], &[us.address], &[]]));
    world.views.send_replace(view(&fleet, [Up, Up, Maintenance], 0.0));
    // New requests follow, which shows that the edge has seen the change.
    assert_eq!(world.ask(&put("/", "", "x")).await.body, "other");
    assert_eq!((eu.count(), us.count()), (1, 0));
    // A request ends with the view of its beginning, so the next node is one of that fleet.
    eu.kill();
    assert_eq!(client.reply(false).await.body, "us");
}

#[tokio::test]
async fn what_may_be_sent_twice_leaves_a_node_when_its_breaker_opens() {
    let eu = RawNode::start(|_, text| if text.contains("/breaks") { Act::Reset } else { Act::Hang }).await;
    let us = RawNode::named("us").await;
    let more = "[breaker]\nfailures = 2\nopen_ms = 60000\nopen_max_ms = 60000";
    let world = World::new([&[eu.address], &[us.address], &[]], &format!("{PATIENT}{more}")).await;
    let mut client = sent(&world, "PUT").await;
    until(|| eu.count() == 1).await;
    assert_eq!(world.ask(&put("/breaks", "", "x")).await.body, "us");
    assert_eq!((world.breaker(0), us.count()), (BreakerState::Closed, 1), "one failure is not enough");
    assert_eq!(world.ask(&put("/breaks", "", "x")).await.body, "us");
    assert_eq!(client.reply(false).await.body, "us");
}

/// The budget is for retries that help. A request without it is better off where it may still be answered.
#[tokio::test]
async fn without_budget_a_request_waits_on() {
    let (eu, us) = (hung().await, RawNode::named("us").await);
    let more = format!("{PATIENT}[retry]\nbudget = 0.01\nbudget_floor = 0");
    let world = World::new([&[eu.address], &[us.address], &[]], &more).await;
    let mut client = sent(&world, "PUT").await;
    until(|| eu.count() == 1).await;
    world.views.send_replace(view(&world.fleet, [Down, Up, Maintenance], 0.0));
    until(|| world.metric("retries_refused_total", "reason=\"lost\"") == 1.0).await;
    let mut piece = [0; 1];
    assert!(client.0.try_read(&mut piece).is_err(), "it still waits");
    eu.kill();
    assert_eq!(soon(client.reply(false)).await.status, 502);
    assert_eq!(us.count(), 0);
}

/// A node under maintenance ends what it has begun.
#[tokio::test]
async fn an_order_ends_no_wait() {
    let (eu, us) = (hung().await, RawNode::named("us").await);
    let world = World::new([&[eu.address], &[us.address], &[]], PATIENT).await;
    let mut client = sent(&world, "PUT").await;
    until(|| eu.count() == 1).await;
    world.views.send_replace(view(&world.fleet, [Maintenance, Up, Maintenance], 0.0));
    // New requests follow the order, which shows that the edge has seen it.
    assert_eq!(world.ask(&put("/", "", "x")).await.body, "us");
    assert_eq!(us.count(), 1);
    world.views.send_replace(view(&world.fleet, [Down, Up, Maintenance], 0.0));
    assert_eq!(client.reply(false).await.body, "us");
}
