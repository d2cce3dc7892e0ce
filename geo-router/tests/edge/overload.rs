//! Too many requests, and regions that fail meanwhile: limits hold, and retries stay few.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use api::explanation::RegionState::{Down, Up};
use api::status::BreakerState;

use crate::support::{Act, Client, RawNode, World, nowhere, ok, put, section, soon, view};

/// The ways in which a node fails all requests.
const FAULTS: [&str; 3] = ["refuses", "resets", "hangs"];

/// A node that fails in one of the [`FAULTS`]; `None` if nothing listens at its address.
async fn faulty(fault: &str) -> (SocketAddr, Option<RawNode>) {
    let node = match fault {
        "refuses" => return (nowhere(), None),
        "resets" => RawNode::start(|_, _| Act::Reset).await,
        _ => RawNode::start(|_, _| Act::Hang).await,
    };
    (node.address, Some(node))
}

/// The statuses of so many requests of each method, sent by eight clients of the first region, and how long it took.
async fn load(world: &World, each: usize) -> (Vec<(&'static str, u16)>, Duration) {
    let begun = Instant::now();
    let address = world.address;
    let clients = (0..8).map(|_| {
        tokio::spawn(async move {
            let mut connection = Client::connect(address).await;
            let mut statuses = Vec::new();
            for _ in 0..each / 8 {
                for method in ["GET", "PUT", "POST"] {
                    let from = "X-Forwarded-For: 10.1.1.1\r\n";
                    connection.send(put("/", from, "x").replace("PUT", method)).await;
                    statuses.push((method, connection.reply(false).await.status));
                }
            }
            statuses
        })
    });
    let clients: Vec<_> = clients.collect();
    let mut statuses = Vec::new();
    for client in clients {
        statuses.extend(soon(client).await.unwrap());
    }
    (statuses, begun.elapsed())
}

/// Region 0 is down and fails like this; the others take 10 requests a second each, and 15 at once. Returns the world and its nodes.
async fn beside_the_dead(fault: &str) -> (World, Option<RawNode>, [RawNode; 2]) {
    let (dead, node) = faulty(fault).await;
    let others = [RawNode::named("us").await, RawNode::named("ap").await];
    let mut fleet = crate::support::fleet([&[dead], &[others[0].address], &[others[1].address]]);
    for region in &mut fleet.regions {
        region.capacity = Some(20.0);
    }
    let more = "capacity_limit = 0.5\n[timeouts]\nanswer_ms = 300";
    (World::with(fleet, [true; 3], section(more)).await, node, others)
}

/// However the region that is down fails, it gets no request while the others are full, and they keep their limits.
#[tokio::test]
async fn overload_is_refused_and_not_sent_to_the_region_that_is_down() {
    for fault in FAULTS {
        let (world, dead, others) = beside_the_dead(fault).await;
        let view = view(&world.fleet, [Down, Up, Up], 0.0);
        let signals = view.signals.clone();
        world.views.send_replace(view);
        let (statuses, took) = load(&world, 200).await;
        for (method, status) in &statuses {
            assert!(matches!(status, 200 | 429), "{fault}: {method} {status}");
        }
        assert!(statuses.iter().any(|(_, status)| *status == 429), "{fault}: the load was not beyond the limits");
        assert_eq!(signals.load()[0], 0, "{fault}");
        assert_eq!(dead.map_or(0, |dead| dead.count()), 0, "{fault}");
        for node in &others {
            let most = 10.0 * took.as_secs_f64() + 16.0;
            assert!(node.count() as f64 <= most, "{fault}: {} of at most {most}", node.count());
        }
    }
}

/// A region that is down by the verdict, but back by now, still helps if the others fail instead of being full.
#[tokio::test]
async fn a_region_that_is_down_is_asked_if_the_others_have_failed() {
    let eu = RawNode::start(|_, _| ok("eu")).await;
    let world = World::new([&[eu.address], &[nowhere()], &[nowhere()]], "").await;
    world.views.send_replace(view(&world.fleet, [Down, Up, Up], 0.0));
    for method in ["GET", "PUT", "POST"] {
        let reply = world.ask(&put("/", "", "x").replace("PUT", method)).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "eu"), "{method}");
    }
}

/// Before the verdict the breakers hold the failing region off. The few writes that reached it first must be placed, but
/// no stream of them goes past the limits.
#[tokio::test]
async fn limits_hold_before_the_verdict() {
    for fault in FAULTS {
        let (world, _dead, others) = beside_the_dead(fault).await;
        let (statuses, took) = load(&world, 200).await;
        assert!(statuses.iter().any(|(_, status)| *status == 429), "{fault}: the load was not beyond the limits");
        // Five failures open the breaker, up to eight requests were under way then, and it tries one now and then.
        let placed: usize = others.iter().map(RawNode::count).sum();
        let most = 2.0 * (10.0 * took.as_secs_f64() + 16.0) + 20.0;
        assert!(placed as f64 <= most, "{fault}: {placed} of at most {most}");
    }
}

const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nwhy?";

/// Three regions of two nodes that all do this.
async fn all(act: fn() -> Act, more: &str) -> (World, Vec<RawNode>) {
    let mut nodes = Vec::new();
    for _ in 0..6 {
        nodes.push(RawNode::start(move |_, _| act()).await);
    }
    let at: Vec<SocketAddr> = nodes.iter().map(|node| node.address).collect();
    (World::new([&at[..2], &at[2..4], &at[4..]], more).await, nodes)
}

/// What all nodes got, and what they may have got for so many requests: a fifth more, and the floor.
fn amplified(nodes: &[RawNode], requests: usize) -> (usize, usize) {
    (nodes.iter().map(RawNode::count).sum(), requests + requests / 5 + 30)
}

#[tokio::test]
async fn if_all_nodes_fail_the_requests_do_not_multiply() {
    for act in [|| Act::Say(UNAVAILABLE.to_owned()), || Act::Reset] {
        let (world, nodes) = all(act, "").await;
        let (statuses, _) = load(&world, 200).await;
        assert!(statuses.iter().all(|(_, status)| matches!(status, 502 | 503)), "{statuses:?}");
        let (reached, most) = amplified(&nodes, statuses.len());
        assert!((statuses.len()..=most).contains(&reached), "{reached} of at most {most}");
        // With their breakers open, a request is still tried at one node, so that it succeeds once the node is well.
        let before = nodes.iter().map(RawNode::count).sum::<usize>();
        assert!(world.ask(&put("/", "", "x")).await.status >= 500);
        let reached = nodes.iter().map(RawNode::count).sum::<usize>() - before;
        assert!(reached >= 1, "no node was asked");
    }
}

#[tokio::test]
async fn if_all_nodes_hang_the_requests_do_not_multiply_and_end_soon() {
    let (world, nodes) = all(|| Act::Hang, "hedge_after_ms = 0\n[timeouts]\nanswer_ms = 1000").await;
    let begun = Instant::now();
    let (statuses, _) = load(&world, 8).await;
    assert!(statuses.iter().all(|(_, status)| *status == 504), "{statuses:?}");
    // Three requests one after the other, each silent at two nodes at most.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let (reached, most) = amplified(&nodes, statuses.len());
    // Those that left a node when its breaker opened have not waited for it.
    let lost = world.metric("retries_total", "reason=\"lost\"") as usize;
    assert!(reached <= most.min(2 * statuses.len() + lost), "{reached} of at most {most}, {lost} lost");
}

#[tokio::test]
async fn the_budget_is_counted() {
    let (world, nodes) = all(|| Act::Say(UNAVAILABLE.to_owned()), "[retry]\nbudget_floor = 2").await;
    let (statuses, _) = load(&world, 40).await;
    let made = world.metric("retries_total", "reason=\"status\"");
    assert_eq!(nodes.iter().map(RawNode::count).sum::<usize>(), statuses.len() + made as usize);
    assert!((2.0..=2.0 + 0.2 * statuses.len() as f64).contains(&made), "{made}");
    assert!(world.metric("retries_refused_total", "reason=\"status\"") >= 1.0);
}

/// Retries that succeed put no load on nodes for nothing, so a failover is not limited by the budget.
#[tokio::test]
async fn of_a_region_that_fails_no_repeatable_request_is_lost() {
    for fault in FAULTS {
        let (dead, _node) = faulty(fault).await;
        let (us, ap) = (RawNode::named("us").await, RawNode::named("ap").await);
        // The breaker never opens, so that every single request needs a retry: five times what the budget allows.
        let more =
            "[timeouts]\nanswer_ms = 200\n[breaker]\nfailures = 1000\nrequests = 100000\n[retry]\nbudget_floor = 8";
        let world = World::new([&[dead], &[us.address], &[ap.address]], more).await;
        let (statuses, _) = load(&world, 64).await;
        for (method, status) in statuses.iter().filter(|(method, _)| *method != "POST") {
            assert_eq!(*status, 200, "{fault}: {method}");
        }
        assert_eq!(world.metric("retries_refused_total", ""), 0.0, "{fault}");
    }
}

/// The problem of a node at which too many requests wait.
const OVERLOADED: &str = "{\"type\":\"urn:meridian:problem:overloaded\",\"status\":503}";

fn overloaded() -> Act {
    Act::Say(format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n\
         Content-Length: {}\r\n\r\n{OVERLOADED}",
        OVERLOADED.len()
    ))
}

/// What a node refuses because too much waits there is no reason to fill the others.
#[tokio::test]
async fn the_overload_of_one_region_does_not_become_that_of_all() {
    let eu = RawNode::start(|_, _| overloaded()).await;
    let (us, ap) = (RawNode::named("us").await, RawNode::named("ap").await);
    let world = World::new([&[eu.address], &[us.address], &[ap.address]], "[retry]\nbudget_floor = 5").await;
    let (statuses, _) = load(&world, 80).await;
    let requests = statuses.len();
    assert_eq!(eu.count(), requests, "the node still gets what it may be able to take");
    assert_eq!(world.breaker(0), BreakerState::Closed, "it is no failure");
    let moved = us.count() + ap.count();
    assert!((5..=5 + requests / 5).contains(&moved), "{moved} of {requests}");
    let served = statuses.iter().filter(|(_, status)| *status == 200).count();
    assert_eq!(served, moved, "each retry succeeds");
    let reply = world.ask(&put("/", "", "x").replace("PUT", "POST")).await;
    assert_eq!((reply.status, reply.header("retry-after"), reply.body.as_str()), (503, Some("1"), OVERLOADED));
    // If the next node is overloaded as well, there is no third attempt.
    let more = [RawNode::start(|_, _| overloaded()).await, RawNode::start(|_, _| overloaded()).await];
    let world = World::new([&[more[0].address], &[more[1].address], &[ap.address]], "").await;
    let before = ap.count();
    assert_eq!(world.ask(&put("/", "", "x")).await.status, 503);
    assert_eq!([more[0].count(), more[1].count(), ap.count() - before], [1, 1, 0]);
}
