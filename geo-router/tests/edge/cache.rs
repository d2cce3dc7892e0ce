//! Public answers are cached, personal ones never.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Act, Client, RawNode, World, put, say, soon};

/// A node that numbers its answers and adds these headers.
async fn counting(headers: &'static str) -> RawNode {
    RawNode::start(move |number, request| {
        let body = format!("answer {number}");
        if request.to_ascii_lowercase().contains("if-none-match: \"same\"") {
            return say(format!("HTTP/1.1 304 Not Modified\r\n{headers}\r\n"));
        }
        say(format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()))
    })
    .await
}

const PUBLIC: &str = "Cache-Control: public, max-age=60\r\nETag: \"same\"\r\n";

#[tokio::test]
async fn a_public_answer_is_asked_for_once() {
    let node = counting(PUBLIC).await;
    let world = World::one(&node, "").await;
    let first = world.get("/a?x=1", "").await;
    assert_eq!(first.header("cache-status"), Some("meridian; fwd=uri-miss; stored"));
    let second = world.get("/a?x=1", "X-Other: y\r\n").await;
    assert_eq!((second.body.as_str(), second.header("cache-status")), ("answer 0", Some("meridian; hit")));
    assert!(second.header("age").is_some() && second.header("meridian-region") == Some("eu-central"));
    assert_eq!(second.header("via"), Some("1.1 meridian"));
    let head = world.ask("HEAD /a?x=1 HTTP/1.1\r\nHost: venue.test\r\n\r\n").await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("8")), "{}", head.raw);
    let unchanged = world.get("/a?x=1", "If-None-Match: \"same\"\r\n").await;
    assert_eq!((unchanged.status, unchanged.body.as_str()), (304, ""));
    assert_eq!(node.count(), 1);
    assert_eq!(world.get("/a?x=2", "").await.body, "answer 1");
    let other_host = world.ask("GET /a?x=1 HTTP/1.1\r\nHost: other.test\r\n\r\n").await;
    assert_eq!(other_host.body, "answer 2");
    assert_eq!(world.metric("cache_total", "hit"), 3.0);
}

#[tokio::test]
async fn an_answer_that_is_not_expressly_public_is_always_asked_for() {
    for headers in [
        "",
        "Cache-Control: no-store\r\n",
        "Cache-Control: max-age=60\r\n",
        "Cache-Control: public, max-age=60\r\nSet-Cookie: a=b\r\n",
        "Cache-Control: public, max-age=60\r\nVary: *\r\n",
    ] {
        let node = counting(headers).await;
        let world = World::one(&node, "").await;
        assert_eq!(world.get("/a", "").await.body, "answer 0");
        assert_eq!(world.get("/a", "").await.body, "answer 1", "{headers}");
    }
    let node = counting(PUBLIC).await;
    let world = World::one(&node, "").await;
    for (number, header) in
        ["Authorization: Bearer k", "Meridian-Secret: s", "Cookie: a=b", "Range: bytes=0-1"].iter().enumerate()
    {
        assert_eq!(world.get("/a", &format!("{header}\r\n")).await.body, format!("answer {number}"), "{header}");
    }
    assert_eq!(world.get("/a", "").await.body, "answer 4", "and none of those was kept");
}

#[tokio::test]
async fn a_client_may_insist() {
    let node = counting(PUBLIC).await;
    let world = World::one(&node, "").await;
    assert_eq!(world.get("/a", "Cache-Control: only-if-cached\r\n").await.status, 504);
    assert_eq!(world.get("/a", "").await.body, "answer 0");
    let confirmed = world.get("/a", "Cache-Control: no-cache\r\n").await;
    assert_eq!(confirmed.header("cache-status"), Some("meridian; fwd=stale; fwd-status=304"));
    assert_eq!((confirmed.body.as_str(), node.count()), ("answer 0", 2));
    assert_eq!(world.get("/a", "Cache-Control: no-store\r\n").await.body, "answer 2");
    assert_eq!(world.get("/a", "Cache-Control: only-if-cached\r\n").await.body, "answer 0");
}

#[tokio::test]
async fn variants_are_kept_apart() {
    let node = counting("Cache-Control: public, max-age=60\r\nVary: Accept-Language\r\n").await;
    let world = World::one(&node, "").await;
    for (language, body) in [("da", "answer 0"), ("el", "answer 1"), ("da", "answer 0"), ("el", "answer 1")] {
        assert_eq!(world.get("/a", &format!("Accept-Language: {language}\r\n")).await.body, body);
    }
}

#[tokio::test]
async fn a_write_forgets_what_it_changes() {
    let node = counting(PUBLIC).await;
    let world = World::one(&node, "").await;
    assert_eq!(world.get("/a", "").await.body, "answer 0");
    assert_eq!(world.get("/b", "").await.body, "answer 1");
    assert_eq!(world.ask(&put("/a", "", "x")).await.status, 200);
    assert_eq!(world.get("/a", "").await.body, "answer 3");
    assert_eq!(world.get("/b", "").await.body, "answer 1");
}

#[tokio::test]
async fn a_stale_answer_is_confirmed_and_serves_while_nodes_fail() {
    let phase = Arc::new(AtomicUsize::new(0));
    let node = RawNode::start({
        let phase = phase.clone();
        move |_, _| match phase.load(Ordering::Relaxed) {
            0 => say("HTTP/1.1 200 OK\r\nCache-Control: public, max-age=1, stale-if-error=600\r\nAge: 0\r\nContent-Length: 4\r\n\r\nkept"),
            1 => say("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
            _ => Act::SayAndClose(String::new()),
        }
    })
    .await;
    let world = World::one(&node, "").await;
    assert_eq!(world.get("/a", "").await.body, "kept");
    for fails in [1, 2] {
        phase.store(fails, Ordering::Relaxed);
        // At once for a client that insists; for other clients once its second is over.
        let reply = world.get("/a", "Cache-Control: no-cache\r\n").await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "kept"));
        assert_eq!(reply.header("cache-status"), Some("meridian; hit; detail=stale-if-error"));
        soon(async { while world.get("/a", "").await.header("cache-status") == Some("meridian; hit") {} }).await;
        assert_eq!(world.get("/a", "").await.body, "kept");
    }
    node.kill();
    assert_eq!(world.get("/a", "").await.body, "kept");
    assert_eq!(world.get("/other", "").await.status, 503);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_kept() {
    let node = RawNode::start(|number, _| match number {
        0 => Act::SayAndClose(format!("HTTP/1.1 200 OK\r\n{PUBLIC}Content-Length: 9\r\n\r\nhalf")),
        _ => say(format!("HTTP/1.1 200 OK\r\n{PUBLIC}Content-Length: 4\r\n\r\nfull")),
    })
    .await;
    let world = World::one(&node, "").await;
    let mut client = Client::connect(world.address).await;
    client.send("GET /a HTTP/1.1\r\nHost: venue.test\r\n\r\n").await;
    assert!(client.rest().await.ends_with("half"));
    assert_eq!(world.get("/a", "").await.body, "full");
}

#[tokio::test]
async fn many_requests_that_miss_ask_the_node_once() {
    let node = RawNode::start(|_, _| {
        say("HTTP/1.1 200 OK\r\nCache-Control: public, max-age=600\r\nVary: X\r\nContent-Length: 2\r\n\r\nok")
    })
    .await;
    let world = Arc::new(World::one(&node, "").await);
    // A request waits only on a path of which an answer was cached before.
    assert_eq!(world.get("/a", "X: one\r\n").await.status, 200);
    let others = (0..20).map(|_| {
        let world = world.clone();
        tokio::spawn(async move { world.get("/a", "X: other\r\n").await.status })
    });
    for other in others.collect::<Vec<_>>() {
        assert_eq!(soon(other).await.unwrap(), 200);
    }
    // A request that arrives while another one asks the node waits for its answer; a later one finds the answer in the
    // cache.
    assert_eq!(node.count(), 2);
}
