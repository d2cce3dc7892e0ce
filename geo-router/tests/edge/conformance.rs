//! HTTP as the RFCs require it: HEAD, 1xx, trailers, chunks, bodies that break off.

use tokio::io::AsyncWriteExt as _;

use crate::support::{Act, Client, RawNode, World, ok, put, say, until};

#[tokio::test]
async fn head_has_the_head_of_a_get_and_the_connection_goes_on() {
    let node = RawNode::start(|_, request| {
        if request.starts_with("HEAD") {
            say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"1\"\r\n\r\n")
        } else {
            ok("hello")
        }
    })
    .await;
    let world = World::one(&node, "").await;
    let mut client = Client::connect(world.address).await;
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let reply = client.reply(true).await;
        assert_eq!((reply.status, reply.header("content-length")), (200, Some("5")), "{}", reply.raw);
    }
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.reply(false).await.body, "hello");
    // The edge's own answers to HEAD have no body either.
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.reply(true).await.status, 417);
    assert_eq!(client.reply(false).await.body, "hello");
}

#[tokio::test]
async fn answers_without_bodies_have_none() {
    for (status, head) in [("204 No Content", ""), ("304 Not Modified", "ETag: \"1\"\r\n")] {
        let node = RawNode::start(move |_, _| say(format!("HTTP/1.1 {status}\r\n{head}\r\n"))).await;
        let world = World::one(&node, "").await;
        let mut client = Client::connect(world.address).await;
        for _ in 0..2 {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let reply = client.reply(false).await;
            assert!(status.starts_with(&reply.status.to_string()), "{}", reply.raw);
        }
    }
}

#[tokio::test]
async fn interim_answers_are_not_taken_for_the_final_one() {
    let node = RawNode::start(|_, _| {
        say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
    })
    .await;
    let world = World::one(&node, "").await;
    let reply = world.get("/", "").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "fine"));
    // An upgrade that the client did not ask for is not a valid answer.
    let node =
        RawNode::start(|_, _| say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"))
            .await;
    let world = World::one(&node, "").await;
    assert_eq!(world.get("/", "").await.status, 502);
}

#[tokio::test]
async fn a_client_that_waits_for_100_is_told_to_go_on() {
    let node = RawNode::start(|_, _| ok("fine")).await;
    let world = World::one(&node, "").await;
    let mut client = Client::connect(world.address).await;
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
    client.read_until("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(node.count(), 0);
    client.send("hello").await;
    assert_eq!(client.reply(false).await.status, 200);
    assert!(!node.request(0).to_ascii_lowercase().contains("expect"));
}

#[tokio::test]
async fn trailers_of_an_answer_pass_to_clients_that_accept_them() {
    let node = RawNode::start(|_, _| {
        say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n4\r\nfine\r\n0\r\nX-Sum: 42\r\n\r\n")
    })
    .await;
    let world = World::one(&node, "").await;
    let takes = world.get("/", "Connection: TE\r\nTE: trailers\r\n").await;
    assert!(takes.body.contains("fine") && takes.body.to_ascii_lowercase().contains("x-sum: 42"), "{}", takes.raw);
    assert!(node.request(0).to_ascii_lowercase().contains("te: trailers"));
    let does_not = world.get("/", "").await;
    // Do not search the whole answer, because the request id may contain a 42.
    assert!(does_not.body.contains("fine") && !does_not.body.contains("42"), "{}", does_not.raw);
}

#[tokio::test]
async fn chunks_arrive_as_one_body_of_known_length() {
    let node = RawNode::start(|_, _| ok("fine")).await;
    let world = World::one(&node, "").await;
    let reply = world
        .ask("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n")
        .await;
    assert_eq!(reply.status, 200);
    let request = node.request(0).to_ascii_lowercase();
    assert!(request.contains("content-length: 3\r\n") && request.ends_with("\r\n\r\nabc"), "{request}");
    assert!(!request.contains("transfer-encoding"));
}

#[tokio::test]
async fn a_body_that_breaks_off_never_arrives() {
    let node = RawNode::start(|_, _| ok("fine")).await;
    let world = World::one(&node, "").await;
    for broken in [
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello",
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ] {
        let mut client = Client::connect(world.address).await;
        client.send(broken).await;
        drop(client);
    }
    until(|| world.metric("connections", "") == 0.0).await;
    assert_eq!((node.count(), node.bytes.lock().unwrap().len()), (0, 0));
}

#[tokio::test]
async fn a_large_body_that_breaks_off_is_never_whole() {
    let node = RawNode::start(|_, _| ok("fine")).await;
    let world = World::one(&node, "[limits]\nbody_kib = 1024\n[retry]\nbuffer_kib = 16").await;
    let mut client = Client::connect(world.address).await;
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n").await;
    client.send(vec![b'x'; 100_000]).await;
    until(|| node.bytes.lock().unwrap().len() > 90_000).await;
    drop(client);
    until(|| world.metric("connections", "") == 0.0).await;
    assert_eq!(node.count(), 0, "no whole request");
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_at_the_client() {
    for broken in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let node = RawNode::start(move |_, _| Act::SayAndClose(broken.to_owned())).await;
        let world = World::one(&node, "").await;
        let mut client = Client::connect(world.address).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let got = client.rest().await;
        assert!(got.contains("half") && !got.ends_with("0\r\n\r\n"), "{got}");
        assert_eq!(node.count(), 1, "an answer that has begun is not asked for again");
        assert_eq!(world.metric("answers_broken_off_total", ""), 1.0);
    }
}

#[tokio::test]
async fn a_node_that_talks_nonsense_has_failed() {
    for nonsense in ["nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", ""] {
        let node = RawNode::start(move |_, _| Act::SayAndClose(nonsense.to_owned())).await;
        let world = World::one(&node, "").await;
        let reply = world.ask(&put("/", "", "x").replace("PUT", "POST")).await;
        assert_eq!(reply.status, 502, "{nonsense}: {}", reply.raw);
        assert_eq!(node.count(), 1, "{nonsense}: a POST is sent once");
    }
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let node = RawNode::start(|_, _| ok("fine")).await;
    let world = World::one(&node, "").await;
    let mut client = Client::connect(world.address).await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let got = client.rest().await;
    assert!(got.starts_with("HTTP/1.0 200") || got.starts_with("HTTP/1.1 200"), "{got}");
    let request = node.request(0).to_ascii_lowercase();
    assert!(request.starts_with("get / http/1.1\r\n") && request.contains("\r\nhost: "), "{request}");
}

#[tokio::test]
async fn a_client_that_ends_its_side_after_its_request_gets_the_answer() {
    let node = RawNode::named("eu").await;
    let world = World::one(&node, "").await;
    for request in [put("/", "", "x"), "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()] {
        let mut client = Client::connect(world.address).await;
        client.send(request).await;
        client.0.shutdown().await.unwrap();
        let reply = client.reply(false).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "eu"), "{}", reply.raw);
        assert_eq!(client.rest().await, "", "the connection ends then");
    }
}

#[tokio::test]
async fn a_head_that_is_not_http_gets_a_problem() {
    let node = RawNode::named("eu").await;
    let world = World::one(&node, "").await;
    for bad in ["GET / HTTP/1.1\r\nHost a\r\n\r\n", "\u{1}\u{2}\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n X: y\r\n\r\n"]
    {
        let reply = world.ask(bad).await;
        assert_eq!((reply.status, reply.header("content-type")), (400, Some("application/problem+json")), "{bad:?}");
        assert!(reply.body.contains("urn:meridian:problem:bad-request"), "{}", reply.raw);
    }
    assert_eq!(node.count(), 0);
}

#[tokio::test]
async fn options_of_the_service_as_a_whole_go_to_a_node() {
    let node = RawNode::named("eu").await;
    let world = World::one(&node, "").await;
    assert_eq!(world.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await.body, "eu");
    assert!(node.request(0).starts_with("OPTIONS * HTTP/1.1\r\n"), "{}", node.request(0));
}

/// The node decides which pages may call; the edge passes on what it says, and keeps answers for two origins apart.
#[tokio::test]
async fn the_answers_to_pages_of_other_origins_cross_the_edge() {
    let node = RawNode::start(|number, request| {
        if request.starts_with("OPTIONS") {
            return say("HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: https://a.example\r\n\
                        Access-Control-Allow-Methods: PUT\r\nVary: origin\r\n\r\n");
        }
        say(format!(
            "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: https://a.example\r\nVary: meridian-session\r\n\
                     Vary: origin\r\nCache-Control: public, max-age=60\r\nContent-Length: 1\r\n\r\n{number}"
        ))
    })
    .await;
    let world = World::one(&node, "").await;
    let asked = "Host: a\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\n\r\n";
    let reply = world.ask(&format!("OPTIONS /v1 HTTP/1.1\r\n{asked}")).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, Some("https://a.example")));
    assert_eq!(reply.header("access-control-allow-methods"), Some("PUT"));
    let request = node.request(0);
    assert!(request.contains("origin: https://a.example") && request.contains("request-method: PUT"), "{request}");
    for (origin, body) in [("a", "1"), ("b", "2"), ("a", "1"), ("b", "2")] {
        let reply = world.get("/v1", &format!("Origin: https://{origin}.example\r\n")).await;
        assert_eq!(
            (reply.body.as_str(), reply.header("access-control-allow-origin")),
            (body, Some("https://a.example"))
        );
    }
}
