//! Connections on which nothing is on its way hold no buffers, and go on as if they did.

use crate::support::{Act, Client, RawNode, World, ok, until};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A world with one client, whose connection rests after its first request.
async fn rested(node: &RawNode, more: &str) -> (World, Client) {
    let world = World::one(node, more).await;
    let mut client = Client::connect(world.address).await;
    until(|| world.metric("resting_connections", "") == 1.0).await;
    client.send(GET).await;
    assert_eq!(client.reply(false).await.status, 200);
    until(|| world.metric("resting_connections", "") == 1.0).await;
    (world, client)
}

#[tokio::test]
async fn a_connection_rests_between_requests_and_goes_on() {
    let node = RawNode::named("eu").await;
    let (world, mut client) = rested(&node, "").await;
    for bytes in [GET.to_owned(), GET.repeat(3), format!("\r\n{GET}")] {
        client.send(&bytes).await;
        for _ in 0..bytes.matches("GET").count() {
            assert_eq!(client.reply(false).await.status, 200);
        }
        until(|| world.metric("resting_connections", "") == 1.0).await;
    }
    drop(client);
    until(|| world.metric("resting_connections", "") == 0.0 && world.metric("connections", "") == 0.0).await;
}

#[tokio::test]
async fn a_connection_with_a_part_of_a_request_does_not_rest() {
    let node = RawNode::named("eu").await;
    let (world, mut client) = rested(&node, "[timeouts]\nidle_ms = 1000").await;
    client.send("GET / HT").await;
    until(|| world.metric("resting_connections", "") == 0.0).await;
    client.send("TP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.reply(false).await.status, 200);
    until(|| world.metric("resting_connections", "") == 1.0).await;
    // What is begun after a rest must end in time as well.
    client.send("GET / HT").await;
    assert_eq!(client.rest().await, "");
    until(|| world.ended("edge", "idle") == 1.0).await;
}

#[tokio::test]
async fn a_connection_that_waits_for_its_answer_does_not_rest() {
    let node = RawNode::start(|number, _| if number == 0 { ok("") } else { Act::Hang }).await;
    let (world, mut client) = rested(&node, "[timeouts]\nanswer_ms = 1000\n[retry]\nattempts = 1").await;
    client.send(GET).await;
    until(|| world.metric("resting_connections", "") == 0.0).await;
    assert_eq!(client.reply(false).await.status, 504);
}

#[tokio::test]
async fn http_2_begins_only_a_connection() {
    let node = RawNode::named("eu").await;
    let (world, mut client) = rested(&node, "").await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    client.rest().await;
    until(|| world.metric("connections", "") == 0.0).await;
    assert_eq!(node.count(), 1);
}
