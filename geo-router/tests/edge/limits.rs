//! Limits of one client, and of all together.

use api::explanation::RegionState;

use crate::support::{Client, RawNode, World, ok, put, section, soon, until, view};

#[tokio::test]
async fn heads_have_limits() {
    let node = RawNode::named("eu").await;
    let world = World::one(&node, "[limits]\nhead_kib = 8\nheaders = 20").await;
    let many: String = (0..30).map(|number| format!("X-{number}: y\r\n")).collect();
    for headers in [many, format!("X: {}\r\n", "y".repeat(8_190)), format!("X: {}\r\n", "y".repeat(20_000))] {
        let reply = world.get("/", &headers).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (431, Some("application/problem+json")),
            "{}",
            reply.raw
        );
        assert!(reply.body.contains("urn:meridian:problem:head-too-large"), "{}", reply.raw);
    }
    let reply = world.get(&format!("/{}", "y".repeat(70_000)), "").await;
    assert!(matches!(reply.status, 414 | 431), "{}", reply.raw);
    assert_eq!(node.count(), 0);
}

#[tokio::test]
async fn bodies_have_limits() {
    let node = RawNode::named("eu").await;
    let world = World::one(&node, "[limits]\nbody_kib = 16").await;
    assert_eq!(world.ask(&put("/", "", &"x".repeat(16 << 10))).await.status, 200);
    let seen = node.bytes.lock().unwrap().len();
    let reply = world.ask("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 16385\r\n\r\n").await;
    assert_eq!((reply.status, reply.header("connection")), (413, Some("close")), "{}", reply.raw);
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(16 << 10));
    let reply = world
        .ask(&format!("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}1\r\nx\r\n0\r\n\r\n"))
        .await;
    assert_eq!(reply.status, 413);
    assert_eq!(node.bytes.lock().unwrap().len(), seen, "none of it arrived");
}

#[tokio::test]
async fn a_client_that_does_not_send_its_body_is_not_a_failure_of_the_node() {
    let node = RawNode::named("eu").await;
    let more = "[limits]\nbody_kib = 32\n[retry]\nbuffer_kib = 1\n[breaker]\nfailures = 1\n\
                [timeouts]\nanswer_ms = 50\nbody_idle_ms = 300";
    let world = World::one(&node, more).await;
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(16 << 10));
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let reply = world.ask(&format!("{head}{}0\r\n\r\n", chunk.repeat(3))).await;
    assert_eq!(reply.status, 413, "{}", reply.raw);
    let reply = world.ask(&format!("{head}{chunk}")).await;
    assert_eq!(reply.status, 408, "{}", reply.raw);
    let broken = world.ask(&format!("{head}{chunk}zz\r\n")).await;
    assert_eq!(broken.status, 400, "{}", broken.raw);
    let state = world.breaker(0);
    assert_eq!((state, node.count()), (api::status::BreakerState::Closed, 0));
}

#[tokio::test]
async fn slow_clients_are_closed() {
    let node = RawNode::named("eu").await;
    let world = World::one(&node, "[timeouts]\nhead_ms = 150\nbody_idle_ms = 150\nidle_ms = 300").await;
    for beginning in
        ["", "G", "GET / HTTP/1.1\r\nHost: a\r\n", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let mut client = Client::connect(world.address).await;
        client.send(beginning).await;
        let said = client.rest().await;
        // Not any "200", because the request id may contain one.
        assert!(!said.contains("HTTP/1.1 200"), "{beginning}: {said}");
    }
    // One byte now and then does not extend the limit.
    let mut client = Client::connect(world.address).await;
    let dripping = async {
        loop {
            client.send("X").await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! { () = dripping => {}, () = until(|| world.metric("connections", "") == 0.0) => {} }
    until(|| world.ended("edge", "head_deadline") == 6.0).await;

    let mut client = Client::connect(world.address).await;
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello").await;
    let reply = client.reply(false).await;
    assert_eq!(reply.status, 408, "{}", reply.raw);
    // A connection must not idle for ever either.
    let mut client = Client::connect(world.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.reply(false).await.status, 200);
    client.rest().await;
    assert_eq!(node.count(), 1);
    until(|| world.ended("edge", "idle") == 1.0).await;
    let mut client = Client::connect(world.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nno field\r\n\r\n").await;
    client.rest().await;
    until(|| world.ended("edge", "protocol") == 1.0).await;
}

#[tokio::test]
async fn a_prefix_that_asks_too_much_is_told_when_to_come_back() {
    let node = RawNode::named("eu").await;
    let world = World::one(&node, "[rate_limit]\nrequests_per_second = 1\nburst = 3\nexempt = [\"12.0.0.0/8\"]").await;
    let from = |client: &str| format!("X-Forwarded-For: {client}\r\n");
    for _ in 0..3 {
        assert_eq!(world.get("/", &from("10.1.1.1")).await.status, 200);
    }
    let reply = world.get("/", &from("10.1.1.1")).await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("1")));
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    assert!(reply.body.contains("urn:meridian:problem:rate-limited") && !reply.raw.contains("10.1.1.1"));
    assert_eq!(world.get("/", &from("10.1.1.2")).await.status, 200);
    for _ in 0..5 {
        assert_eq!(world.get("/", &from("12.1.1.1")).await.status, 200);
    }
    assert_eq!(world.metric("refused_total", "rate-limit"), 1.0);
}

/// The plan rests on the rates of the last seconds. What it has no capacity for is refused once there is little room.
#[tokio::test]
async fn requests_beyond_the_plan_are_shed_if_there_is_no_room() {
    for (capacity, is_room) in [(1e6, true), (10.0, false)] {
        let node = RawNode::named("eu").await;
        let mut fleet = crate::support::fleet([&[node.address], &[], &[]]);
        for region in &mut fleet.regions {
            region.capacity = Some(capacity);
        }
        let world = World::with(fleet, [true, false, false], section("")).await;
        // A spilling policy would decide which part is shed; any assignment with a shed part is good enough here.
        let up = [RegionState::Up, RegionState::Maintenance, RegionState::Maintenance];
        let mut shedding = std::sync::Arc::try_unwrap(view(&world.fleet, up, 0.0)).unwrap();
        let mut assignment = geo_router::policy::Assignment::default();
        for _ in 0..shedding.places.classes().len() {
            assignment.push([(geo_router::fleet::RegionIndex(0), 0.5)]);
        }
        shedding.assignment = assignment;
        let part = shedding.shed(geo_router::location::PlaceClass(0));
        assert!((part - 0.5).abs() < 1e-6, "{part}");
        world.views.send_replace(shedding.into());
        let mut shed = 0;
        for _ in 0..200 {
            let reply = world.ask(&put("/", "", "x")).await;
            assert!(matches!(reply.status, 200 | 429), "{}", reply.raw);
            if reply.status == 429 {
                assert_eq!(reply.header("retry-after"), Some("1"));
                shed += 1;
            }
        }
        assert_eq!(shed == 0, is_room, "{shed}");
        assert_eq!(node.count(), 200 - shed);
        assert_eq!(world.metric("refused_total", "reason=\"shed\"") > 0.0, !is_room);
    }
}

/// Lists are refused first, so that guests can check in as long as there is room for them.
#[tokio::test]
async fn check_ins_come_before_lists() {
    let node = RawNode::named("eu").await;
    let mut fleet = crate::support::fleet([&[node.address], &[], &[]]);
    // 90 at once, of which 30 are left to guests.
    fleet.regions[0].capacity = Some(60.0);
    let world = World::with(fleet, [true, false, false], section("capacity_limit = 1.0")).await;
    let list = "/v1/venues/v/guests";
    let mut lists = 0;
    let begun = std::time::Instant::now();
    while world.get(list, "").await.status == 200 {
        lists += 1;
    }
    let came = 60.0 * begun.elapsed().as_secs_f64();
    assert!((60.0..=61.0 + came).contains(&f64::from(lists)), "{lists}");
    for guest in 0..25 {
        let reply = world.ask(&put(&format!("/v1/venues/v/visits/{guest}"), "", "x")).await;
        assert_eq!(reply.status, 200, "{}", reply.raw);
    }
}

#[tokio::test]
async fn a_full_region_spills_to_one_with_room_and_no_region_is_overloaded() {
    let (eu, us) = (RawNode::named("eu").await, RawNode::named("us").await);
    let mut fleet = crate::support::fleet([&[eu.address], &[us.address], &[]]);
    fleet.regions[0].capacity = Some(20.0);
    fleet.regions[1].capacity = Some(40.0);
    let world = World::with(fleet, [true, true, false], section("capacity_limit = 0.5")).await;
    let mut statuses = Vec::new();
    let begun = std::time::Instant::now();
    for _ in 0..200 {
        let reply = world.ask(&put("/", "", "x")).await;
        if reply.status == 429 {
            assert!(reply.body.contains("urn:meridian:problem:no-capacity"));
        }
        statuses.push(reply.status);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let (eu, us) = (eu.count() as f64, us.count() as f64);
    assert!(eu <= 10.0 * seconds + 16.0 && us <= 20.0 * seconds + 31.0, "{eu} and {us} in {seconds} s");
    assert!(eu >= 1.0 && us >= 1.0 && statuses.contains(&429));
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
}

#[tokio::test]
async fn connections_have_a_limit_and_the_next_waits() {
    let node = RawNode::named("eu").await;
    // For trusted proxies there is a reserve.
    let mut untrusting = crate::support::section("[limits]\nconnections = 2");
    untrusting.trusted_proxies.clear();
    let world = World::with(crate::support::fleet([&[node.address], &[], &[]]), [true, false, false], untrusting).await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut first = Client::connect(world.address).await;
    let mut second = Client::connect(world.address).await;
    for client in [&mut first, &mut second] {
        client.send(request).await;
        assert_eq!(client.reply(false).await.status, 200);
    }
    let mut third = Client::connect(world.address).await;
    third.send(request).await;
    let early = tokio::time::timeout(std::time::Duration::from_millis(100), third.reply(false)).await;
    assert!(early.is_err() && node.count() == 2);
    drop(first);
    assert_eq!(third.reply(false).await.status, 200);
}

#[tokio::test]
async fn a_client_with_too_many_connections_is_counted() {
    let node = RawNode::named("eu").await;
    let mut untrusting = crate::support::section("[limits]\nconnections_per_client = 1");
    untrusting.trusted_proxies.clear();
    let world = World::with(crate::support::fleet([&[node.address], &[], &[]]), [true, false, false], untrusting).await;
    let _first = Client::connect(world.address).await;
    let mut second = Client::connect(world.address).await;
    assert_eq!(second.rest().await, "");
    assert_eq!(world.ended("edge", "client_limit"), 1.0);
}

#[tokio::test]
async fn two_thousand_idle_connections_are_counted_and_served() {
    let node = RawNode::start(|_, _| ok("eu")).await;
    let world = World::one(&node, "").await;
    let mut idle = Vec::new();
    for _ in 0..2_000 {
        let mut client = Client::connect(world.address).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.reply(false).await.status, 200);
        idle.push(client);
    }
    until(|| world.metric("connections", "") == 2_000.0).await;
    assert_eq!(soon(world.get("/", "")).await.status, 200);
    drop(idle);
    until(|| world.metric("connections", "") == 0.0).await;
}
