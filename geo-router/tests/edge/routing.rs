//! To which node a request goes, and with which head.

use api::explanation::RegionState;

use crate::support::{Act, Client, RawNode, World, ok, put, say, until, view};

async fn three() -> [RawNode; 3] {
    [RawNode::named("eu").await, RawNode::named("us").await, RawNode::named("ap").await]
}

fn addresses(nodes: &[RawNode; 3]) -> [[std::net::SocketAddr; 1]; 3] {
    [[nodes[0].address], [nodes[1].address], [nodes[2].address]]
}

#[tokio::test]
async fn only_a_trusted_proxy_names_the_client() {
    let nodes = three().await;
    let [eu, us, ap] = addresses(&nodes);
    let world = World::new([&eu, &us, &ap], "").await;
    for (client, region, name) in
        [("10.1.1.1", "eu", "eu-central"), ("8.8.8.8", "us", "us-east"), ("12.1.1.1", "ap", "ap-southeast")]
    {
        let reply = world.get("/", &format!("X-Forwarded-For: {client}\r\n")).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, region), "{client}");
        assert_eq!(reply.header("meridian-region"), Some(name));
    }
    assert_eq!(world.get("/", "").await.body, "eu");
    assert_eq!(world.get("/", "X-Forwarded-For: 12.1.1.1, nonsense\r\n").await.body, "eu");

    let mut untrusting = crate::support::section("");
    untrusting.trusted_proxies.clear();
    let world = World::with(crate::support::fleet([&eu, &us, &ap]), [true; 3], untrusting).await;
    assert_eq!(world.get("/", "X-Forwarded-For: 12.1.1.1\r\n").await.body, "eu");
}

#[tokio::test]
async fn a_new_view_counts_from_the_next_request_on() {
    let nodes = three().await;
    let [eu, us, ap] = addresses(&nodes);
    let world = World::new([&eu, &us, &ap], "").await;
    let mut client = Client::connect(world.address).await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(request).await;
    assert_eq!(client.reply(false).await.body, "eu");
    world.views.send_replace(view(&world.fleet, [RegionState::Down, RegionState::Up, RegionState::Up], 0.0));
    client.send(request).await;
    assert_eq!(client.reply(false).await.body, "us");
}

/// Another fleet is taken up between two requests of one connection; what was under way ends in the old one.
#[tokio::test]
async fn another_fleet_counts_from_the_next_request_on_and_the_connection_stays() {
    let nodes = three().await;
    let [eu, us, ap] = addresses(&nodes);
    let slow = RawNode::start(|_, _| Act::Hang).await;
    let world = World::new([&eu, &us, &[slow.address]], "").await;
    let mut client = Client::connect(world.address).await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.1.1.1\r\n\r\n";
    client.send(request).await;
    assert_eq!(client.reply(false).await.body, "eu");
    let mut under_way = Client::connect(world.address).await;
    under_way.send(request.replace("10.1.1.1", "12.1.1.1")).await;
    until(|| slow.count() == 1).await;
    // The first region has another node, and the region of the request under way is another one.
    let mut other = crate::support::fleet([&us, &eu, &ap]);
    let second = geo_router::fleet::Node { name: "second".parse().unwrap(), ..other.regions[1].nodes[0].clone() };
    other.regions[0].nodes.push(second);
    other.regions[2].name = "sa-east".parse().unwrap();
    let other = std::sync::Arc::new(other);
    world.views.send_replace(view(&other, [RegionState::Up; 3], 0.0));
    let mut seen = Vec::new();
    for _ in 0..2 {
        client.send(request).await;
        seen.push(client.reply(false).await.body);
    }
    seen.sort();
    assert_eq!(seen, ["eu", "us"], "both nodes of the region");
    let reply = world.get("/", "X-Forwarded-For: 12.1.1.1\r\n").await;
    assert_eq!((reply.body.as_str(), reply.header("meridian-region")), ("ap", Some("sa-east")));
    // The node of the region that went breaks off. The request goes on to a region that it knows.
    slow.kill();
    let reply = under_way.reply(false).await;
    assert_eq!((reply.status, reply.header("meridian-region").is_some()), (200, true), "{}", reply.raw);
}

#[tokio::test]
async fn heads_are_cleaned_both_ways_and_the_rest_is_untouched() {
    let node = RawNode::start(|_, _| {
        say("HTTP/1.1 201 Created\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
             Meridian-Session: token\r\nX-Odd: \u{00e6}\r\nLink: <a>\r\nLink: <b>\r\nContent-Length: 2\r\n\r\nok")
    })
    .await;
    let world = World::one(&node, "name = \"edge-1\"").await;
    let headers = "Connection: close, x-mine\r\nX-Mine: 1\r\nX-Forwarded-For: 10.1.1.1\r\nForwarded: for=10.1.1.1\r\n\
                   X-Real-IP: 10.1.1.1\r\nMeridian-Secret: s3cret\r\nMeridian-Session: before\r\n\
                   Authorization: Bearer k\r\nPrefer: wait=1\r\nX-Request-Id: from-proxy\r\nVia: 1.0 other\r\n\
                   Cookie: a=b\r\n";
    let reply = world.ask(&put("/v1/venues/v/visits/x%2F..%00?q=%zz", headers, "body")).await;
    assert_eq!((reply.status, reply.body.as_str()), (201, "ok"));
    assert_eq!(reply.header("x-hop"), None);
    assert_eq!(reply.header("keep-alive"), None);
    assert_eq!(reply.header("meridian-session"), Some("token"));
    assert_eq!(reply.header("via"), Some("1.1 edge-1"));
    assert_eq!(reply.header("x-request-id"), Some("from-proxy"));
    assert_eq!(reply.head.matches("link: ").count(), 2, "{}", reply.head);

    let sent = node.request(0).to_ascii_lowercase();
    assert!(sent.starts_with("put /v1/venues/v/visits/x%2f..%00?q=%zz http/1.1\r\n"), "{sent}");
    assert!(node.request(0).starts_with("PUT /v1/venues/v/visits/x%2F..%00?q=%zz HTTP/1.1\r\n"));
    for kept in [
        "host: venue.test\r\n",
        "meridian-secret: s3cret\r\n",
        "meridian-session: before\r\n",
        "authorization: bearer k\r\n",
        "prefer: wait=1\r\n",
        "cookie: a=b\r\n",
        "via: 1.0 other\r\n",
        "via: 1.1 edge-1\r\n",
        "x-request-id: from-proxy\r\n",
        "forwarded: for=_hidden;proto=http\r\n",
        "content-length: 4\r\n",
        "\r\n\r\nbody",
    ] {
        assert!(sent.contains(kept), "{kept:?} in {sent}");
    }
    for gone in ["10.1.1.1", "x-mine", "connection:", "keep-alive", "x-real-ip"] {
        assert!(!sent.contains(gone), "{gone:?} in {sent}");
    }
}

#[tokio::test]
async fn a_request_that_was_here_already_is_a_loop() {
    let node = RawNode::named("eu").await;
    let world = World::one(&node, "name = \"edge-1\"").await;
    let reply = world.get("/", "Via: 1.1 edge-1\r\n").await;
    assert_eq!((reply.status, node.count()), (508, 0));
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
}

#[tokio::test]
async fn a_cookie_keeps_a_client_at_its_node_and_names_no_address() {
    let nodes = three().await;
    let [eu, us, ap] = addresses(&nodes);
    let both = [eu[0], us[0]];
    let world = World::new([&both, &ap, &[]], "sticky = true").await;
    let first = world.get("/", "").await;
    let cookie = first.header("set-cookie").unwrap().to_owned();
    let pair = cookie.split(';').next().unwrap().to_owned();
    assert!(pair.starts_with("meridian-node=") && !pair.contains("127.0"), "{cookie}");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"));
    for _ in 0..6 {
        let again = world.get("/", &format!("Cookie: {pair}\r\n")).await;
        assert_eq!((again.body.as_str(), again.header("set-cookie")), (first.body.as_str(), None));
    }
    let node = nodes.iter().find(|node| node.count() >= 6).unwrap();
    assert!(!node.request(1).to_ascii_lowercase().contains("cookie"), "the edge's cookie does not reach the node");
    assert!(world.get("/", "Cookie: meridian-node=forged\r\n").await.header("set-cookie").is_some());

    // In a drained region the client may stay. If its node is dead, it gets another.
    world.views.send_replace(view(
        &world.fleet,
        [RegionState::Drained, RegionState::Up, RegionState::Maintenance],
        0.0,
    ));
    assert_eq!(world.get("/", &format!("Cookie: {pair}\r\n")).await.body, first.body);
    assert_eq!(world.get("/", "").await.body, "ap");
    node.kill();
    let moved = world.get("/", &format!("Cookie: {pair}\r\n")).await;
    assert_eq!((moved.status, moved.body == first.body), (200, false));
    assert!(moved.header("set-cookie").is_some());
}

#[tokio::test]
async fn a_venue_has_its_node() {
    let nodes = three().await;
    let all: Vec<_> = nodes.iter().map(|node| node.address).collect();
    let world = World::new([&all, &[], &[]], "balance = \"venue-hash\"").await;
    let mut homes = Vec::new();
    for venue in 0..60 {
        let home = world.get(&format!("/v1/venues/v{venue}"), "").await.body;
        for path in ["", "/guests", "/visits/x"] {
            assert_eq!(world.get(&format!("/v1/venues/v{venue}{path}"), "").await.body, home);
        }
        homes.push(home);
    }
    assert!(nodes.iter().all(|node| node.count() > 0), "60 venues are not all at home in one node");
    nodes[0].kill();
    for (venue, home) in homes.iter().enumerate().filter(|(_, home)| *home != "eu") {
        assert_eq!(world.get(&format!("/v1/venues/v{venue}"), "").await.body, *home, "others stay");
    }
}

#[tokio::test]
async fn signals_count_each_request_once_and_each_attempt_by_outcome() {
    let node = RawNode::named("us").await;
    let world = World::new([&[crate::support::nowhere()], &[node.address], &[]], "").await;
    for _ in 0..3 {
        assert_eq!(world.ask(&put("/", "", "x")).await.status, 200);
    }
    assert_eq!(world.signals.demand().iter().sum::<u64>(), 3);
    assert_eq!(world.signals.load()[..2], [3, 3]);
    assert_eq!(world.signals.outcomes(geo_router::fleet::RegionIndex(0), 0), (0, 3));
    assert_eq!(world.signals.outcomes(geo_router::fleet::RegionIndex(1), 0), (3, 0));
    assert_eq!(world.metric("retries_total", "never-left"), 3.0);
    assert_eq!(world.metric("requests_total", "region=\"us-east\",status=\"2xx\""), 3.0);
}

#[tokio::test]
async fn a_stopped_edge_finishes_requests_under_way() {
    let (asked, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let node = RawNode::start(move |_, request| {
        let _ = asked.send(());
        if request.contains("/slow") { crate::support::Act::Hang } else { ok("eu") }
    })
    .await;
    let world = World::one(&node, "[timeouts]\ndrain_ms = 3000\nanswer_ms = 1000").await;
    let mut idle = Client::connect(world.address).await;
    idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(idle.reply(false).await.status, 200);
    let mut slow = Client::connect(world.address).await;
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    seen.recv().await;
    seen.recv().await;
    world.stop.send_replace(true);
    assert_eq!(idle.rest().await, "", "an idle connection is closed");
    until(|| std::net::TcpStream::connect(world.address).is_err()).await;
    let reply = slow.reply(false).await;
    assert_eq!(reply.status, 504, "{}", reply.raw);
    crate::support::soon(world.server.stopped()).await;
}
