//! Nodes that die, hang or refuse: which requests are tried again, and which never.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::status::BreakerState;

use crate::support::{Act, Client, RawNode, World, nowhere, ok, put, say, soon, until};

fn post(body: &str) -> String {
    put("/", "", body).replace("PUT", "POST")
}

#[tokio::test]
async fn a_killed_region_fails_no_check_in() {
    let (eu, us) = (RawNode::named("eu").await, RawNode::named("us").await);
    let world = Arc::new(World::new([&[eu.address], &[us.address], &[]], "").await);
    let killed = Arc::new(AtomicBool::new(false));
    let clients = (0..16).map(|client| {
        let (world, killed) = (world.clone(), killed.clone());
        tokio::spawn(async move {
            let mut connection = Client::connect(world.address).await;
            let mut after = 0;
            let mut number = 0;
            while after < 20 {
                let body = format!("{{\"client\":{client},\"number\":{number}}}");
                connection.send(put(&format!("/v1/venues/v/visits/{client}-{number}"), "", &body)).await;
                let reply = connection.reply(false).await;
                assert_eq!(reply.status, 200, "{}", reply.raw);
                after += u32::from(killed.load(Ordering::Relaxed));
                number += 1;
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    until(|| eu.count() > 200).await;
    eu.kill();
    killed.store(true, Ordering::Relaxed);
    for client in clients {
        soon(client).await.unwrap();
    }
    assert!(us.count() >= 16 * 19, "{}", us.count());
    assert_eq!(world.breaker(0), BreakerState::Open);
    assert_eq!(world.metric("requests_total", "5xx"), 0.0);
}

#[tokio::test]
async fn only_an_idempotent_request_is_sent_twice() {
    for (act, status) in [("", 502), ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", 503)] {
        let eu = RawNode::start(move |_, _| Act::SayAndClose(act.to_owned())).await;
        let us = RawNode::named("us").await;
        let world = World::new([&[eu.address], &[us.address], &[]], "").await;
        assert_eq!(world.ask(&post("x")).await.status, status);
        assert_eq!(world.ask(&post("x").replace("POST", "PATCH")).await.status, status);
        assert_eq!((eu.count(), us.count()), (2, 0));
        for method in ["PUT", "DELETE", "GET", "OPTIONS"] {
            assert_eq!(world.ask(&post("x").replace("POST", method)).await.status, 200, "{method}");
        }
        assert_eq!(us.count(), 4);
    }
}

#[tokio::test]
async fn a_request_that_never_left_is_sent_elsewhere_whatever_its_method() {
    let us = RawNode::named("us").await;
    let world = World::new([&[nowhere()], &[us.address], &[]], "").await;
    for method in ["POST", "PATCH", "PUT", "PURGE"] {
        assert_eq!(world.ask(&post("body").replace("POST", method)).await.status, 200, "{method}");
    }
    assert!(us.request(0).ends_with("body"));
    // A body larger than the buffer is still untouched if no connection could be made.
    let world = World::new([&[nowhere()], &[us.address], &[]], "[limits]\nbody_kib=1024\n[retry]\nbuffer_kib=1").await;
    assert_eq!(world.ask(&post(&"x".repeat(100_000))).await.status, 200);
    // But once it was being sent it is gone.
    let eu = RawNode::start(|_, _| Act::SayAndClose(String::new())).await;
    let world = World::new([&[eu.address], &[us.address], &[]], "[limits]\nbody_kib=1024\n[retry]\nbuffer_kib=1").await;
    assert_eq!(world.ask(&put("/", "", &"x".repeat(100_000))).await.status, 502);
}

#[tokio::test]
async fn the_next_node_of_the_region_comes_before_the_next_region() {
    let (second, us) = (RawNode::named("second").await, RawNode::named("us").await);
    let world = World::new([&[nowhere(), second.address], &[us.address], &[]], "").await;
    for _ in 0..6 {
        assert_eq!(world.ask(&put("/", "", "x")).await.body, "second");
    }
    assert_eq!(us.count(), 0);
}

#[tokio::test]
async fn only_repeatable_requests_leave_a_hanging_node() {
    let (eu, us) = (RawNode::start(|_, _| Act::Hang).await, RawNode::named("us").await);
    // The node that does not hang must answer in this time.
    let world =
        World::new([&[eu.address], &[us.address], &[]], "hedge_after_ms = 0\n[timeouts]\nanswer_ms = 1000").await;
    assert_eq!(world.ask(&put("/", "", "x")).await.body, "us");
    let reply = world.ask(&post("x")).await;
    assert_eq!((reply.status, reply.header("retry-after")), (504, None), "{}", reply.raw);
    assert_eq!((eu.count(), us.count()), (2, 1));
    // A node that waits because it was asked to does not hang.
    let asked = std::time::Instant::now();
    assert_eq!(world.ask(&put("/?durability=all&wait=400ms", "", "x")).await.body, "us");
    assert!(asked.elapsed().as_millis() >= 1_350);
}

/// If the first region has done it, the next one would answer that the precondition is not met.
#[tokio::test]
async fn a_write_with_a_precondition_does_not_leave_a_hanging_node() {
    for precondition in ["If-Match: \"a\"\r\n", "If-None-Match: *\r\n", "If-Unmodified-Since: x\r\n"] {
        let (eu, us) = (RawNode::start(|_, _| Act::Hang).await, RawNode::named("us").await);
        let world = World::new([&[eu.address], &[us.address], &[]], "[timeouts]\nanswer_ms = 1000").await;
        assert_eq!(world.ask(&put("/", precondition, "x")).await.status, 504, "{precondition}");
        assert_eq!(world.get("/", precondition).await.body, "us", "a reader may ask twice");
        assert_eq!((eu.count(), us.count()), (2, 1));
    }
}

#[tokio::test]
async fn a_failure_of_a_node_is_passed_on_if_there_is_no_other_answer() {
    let eu = RawNode::start(|_, _| {
        say("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 4\r\n\r\nwhy?")
    })
    .await;
    let world = World::new([&[eu.address], &[nowhere()], &[]], "").await;
    let reply = world.ask(&put("/", "", "x")).await;
    assert_eq!((reply.status, reply.body.as_str(), reply.header("retry-after")), (503, "why?", Some("5")));
    let world = World::new([&[nowhere()], &[nowhere()], &[]], "").await;
    let reply = world.ask(&put("/", "", "x")).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    assert!(reply.body.contains("urn:meridian:problem:unreachable"), "{}", reply.body);
}

#[tokio::test]
async fn attempts_are_counted() {
    let nodes: Vec<_> = (0..8).map(|_| nowhere()).collect();
    let world = World::new([&nodes, &[], &[]], "[retry]\nattempts = 3").await;
    assert_eq!(world.ask(&put("/", "", "x")).await.status, 503);
    assert_eq!(world.signals.load()[0], 3);
}

#[tokio::test]
async fn a_connection_that_the_node_closed_meanwhile_costs_nothing() {
    // The node closes after each answer without announcing it: a race that every pool has.
    let eu = RawNode::start(|_, _| Act::SayAndClose("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\neu".to_owned())).await;
    let us = RawNode::named("us").await;
    let world = World::new([&[eu.address], &[us.address], &[]], "").await;
    for _ in 0..50 {
        let reply = world.ask(&put("/", "", "x")).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "eu"));
    }
    assert_eq!(us.count(), 0);
}

#[tokio::test]
async fn connections_to_nodes_are_used_again() {
    let eu = RawNode::named("eu").await;
    let world = World::one(&eu, "").await;
    for _ in 0..20 {
        assert_eq!(world.ask(&put("/", "", "x")).await.status, 200);
    }
    assert!(world.metric("upstream_connects_total", "") <= 2.0);
}

#[tokio::test]
async fn a_breaker_opens_tries_one_and_closes() {
    let well = Arc::new(AtomicBool::new(false));
    let eu = RawNode::start({
        let well = well.clone();
        move |_, _| if well.load(Ordering::Relaxed) { ok("eu") } else { Act::SayAndClose(String::new()) }
    })
    .await;
    let us = RawNode::named("us").await;
    let world = World::new([&[eu.address], &[us.address], &[]], "[breaker]\nfailures = 3\nopen_ms = 100").await;
    let state = || world.breaker(0);
    for _ in 0..3 {
        assert_eq!(world.ask(&put("/", "", "x")).await.body, "us");
    }
    assert_eq!(state(), BreakerState::Open);
    let before = eu.count();
    assert_eq!(world.ask(&put("/", "", "x")).await.body, "us");
    assert_eq!(eu.count(), before, "left alone");
    assert_eq!(world.metric("breaker_state", "node-0-0"), 2.0);
    well.store(true, Ordering::Relaxed);
    soon(async { while world.ask(&put("/", "", "x")).await.body != "eu" {} }).await;
    assert_eq!(state(), BreakerState::Closed);
}

/// Nobody asks the region any more, so only its probes can say that it is well again.
#[tokio::test]
async fn a_breaker_without_requests_closes_once_the_probes_succeed() {
    let eu = RawNode::start(|_, _| Act::SayAndClose(String::new())).await;
    let us = RawNode::named("us").await;
    let more = "[breaker]\nfailures = 1\nopen_ms = 100\nopen_max_ms = 100\nwindow_ms = 100";
    let world = World::new([&[eu.address], &[us.address], &[]], more).await;
    assert_eq!(world.ask(&put("/", "", "x")).await.body, "us");
    assert_eq!(world.metric("breaker_state", "node-0-0"), 2.0);
    until(|| world.metric("breaker_state", "node-0-0") == 0.0).await;
    assert_eq!((world.breaker(0), eu.count()), (BreakerState::Closed, 1));
}

#[tokio::test]
async fn the_last_resort_is_a_node_that_is_left_alone() {
    let eu = RawNode::start(|number, _| if number < 3 { Act::SayAndClose(String::new()) } else { ok("eu") }).await;
    let world =
        World::new([&[eu.address], &[nowhere()], &[]], "[breaker]\nfailures = 1\nopen_ms = 60000\nopen_max_ms = 60000")
            .await;
    for _ in 0..3 {
        assert!(world.ask(&put("/", "", "x")).await.status >= 500);
    }
    assert_eq!(world.breaker(0), BreakerState::Open);
    assert_eq!(world.ask(&put("/", "", "x")).await.body, "eu");
    assert_eq!(world.breaker(0), BreakerState::Closed);
}

/// A node that knows no venue.
const UNKNOWN: &str = "{\"type\":\"urn:meridian:problem:no-such-venue\",\"status\":404}";

fn not_found(body: &str) -> Act {
    say(format!(
        "HTTP/1.1 404 Not Found\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

#[tokio::test]
async fn a_venue_that_one_region_does_not_know_is_asked_for_in_the_next() {
    let (empty, beside) = (RawNode::start(|_, _| not_found(UNKNOWN)).await, RawNode::named("beside").await);
    let us = RawNode::named("us").await;
    let world = World::new([&[empty.address], &[us.address], &[]], "").await;
    for method in ["PUT", "POST", "PATCH", "DELETE", "GET"] {
        let reply = world.ask(&post("body").replace("POST", method)).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "us"), "{method}");
    }
    assert!(us.request(1).ends_with("body"), "the body goes along");
    assert_eq!((empty.count(), us.count()), (5, 5));
    assert_eq!(world.breaker(0), BreakerState::Closed, "it is no failure");
    // The other nodes of the region do not know the venue either.
    let world = World::new([&[empty.address, beside.address], &[us.address], &[]], "").await;
    for _ in 0..8 {
        let reply = world.ask(&put("/", "", "x")).await;
        assert!(reply.status == 200, "{}", reply.raw);
    }
    assert_eq!(empty.count() - 5, us.count() - 5, "after the 404 the next region and not the next node");
}

#[tokio::test]
async fn of_a_venue_that_does_not_exist_the_second_404_is_the_answer() {
    let nodes = [RawNode::start(|_, _| not_found(UNKNOWN)).await, RawNode::start(|_, _| not_found(UNKNOWN)).await];
    let third = RawNode::named("third").await;
    let world = World::new([&[nodes[0].address], &[nodes[1].address], &[third.address]], "").await;
    let reply = world.ask(&put("/", "", "x")).await;
    assert_eq!((reply.status, reply.body.as_str()), (404, UNKNOWN));
    assert_eq!((nodes[0].count(), nodes[1].count(), third.count()), (1, 1, 0));
    // There is no other node, or no attempt is left: the 404 is passed on.
    let world = World::new([&[nodes[0].address], &[nowhere()], &[]], "").await;
    assert_eq!(world.ask(&put("/", "", "x")).await.body, UNKNOWN);
    let world = World::new([&[nodes[0].address], &[third.address], &[]], "[retry]\nattempts = 1").await;
    assert_eq!(world.ask(&put("/", "", "x")).await.body, UNKNOWN);
    assert_eq!(third.count(), 0);
}

#[tokio::test]
async fn other_404_are_passed_on_at_once() {
    for body in ["{\"type\":\"urn:meridian:problem:no-such-visit\"}", "{}", "no-such-venue"] {
        let eu = RawNode::start(move |_, _| not_found(body)).await;
        let us = RawNode::named("us").await;
        let world = World::new([&[eu.address], &[us.address], &[]], "").await;
        let reply = world.ask(&put("/", "", "x")).await;
        assert_eq!((reply.status, reply.body.as_str(), us.count()), (404, body, 0));
    }
}

/// A node without room has written nothing, and it still reads and erases.
#[tokio::test]
async fn a_node_without_room_is_passed_over_for_this_request_alone() {
    let full =
        RawNode::start(|_, _| say("HTTP/1.1 507 Insufficient Storage\r\nContent-Length: 0\r\n\r\n".to_owned())).await;
    let us = RawNode::named("us").await;
    let world = World::new([&[full.address], &[us.address], &[]], "").await;
    for method in ["POST", "PUT", "PATCH"] {
        let reply = world.ask(&post("body").replace("POST", method)).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "us"), "{method}");
    }
    assert_eq!((full.count(), us.count()), (3, 3));
    assert_eq!(world.breaker(0), BreakerState::Closed, "it is no failure");
    // No region has room: the client is told so.
    let world = World::new([&[full.address], &[], &[]], "").await;
    assert_eq!(world.ask(&put("/", "", "x")).await.status, 507);
}

/// The second region may have done the request, so a 404 of the first would be wrong.
#[tokio::test]
async fn a_404_does_not_hide_that_the_request_may_be_done() {
    let eu = RawNode::start(|_, _| not_found(UNKNOWN)).await;
    let us = RawNode::start(|_, _| Act::SayAndClose(String::new())).await;
    let world = World::new([&[eu.address], &[us.address], &[]], "").await;
    for (method, retry_after) in [("POST", None), ("PUT", Some("1"))] {
        let reply = world.ask(&post("x").replace("POST", method)).await;
        // A client is not invited to check in twice.
        assert_eq!((reply.status, reply.header("retry-after")), (502, retry_after), "{method}");
    }
}
