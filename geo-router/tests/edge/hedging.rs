//! Slow and hung nodes: reads and check-ins are sent to a second node as well, within bounds, and other writes never.

use std::time::Duration;

use api::status::BreakerState;
use geo_router::fleet::RegionIndex;

use crate::support::{Act, RawNode, World, put, say, until};

/// Only a hedge ends a wait: nodes may be silent for longer than the tests are patient.
const PATIENT: &str = "hedge_after_ms = 50\n[timeouts]\nanswer_ms = 60000\nrequest_ms = 60000\n";

async fn hung() -> RawNode {
    RawNode::start(|_, _| Act::Hang).await
}

/// A breaker that never opens, so that every request needs a hedge.
const NO_BREAKER: &str = "[breaker]\nfailures = 1000\nrequests = 100000\n";

#[tokio::test]
async fn reads_and_check_ins_do_not_wait_for_a_hung_node_and_other_writes_do() {
    let (eu, us) = (hung().await, RawNode::named("us").await);
    let world = World::new([&[eu.address], &[us.address], &[]], &format!("{PATIENT}{NO_BREAKER}")).await;
    let visit = "/v1/venues/v/visits/x";
    let twice = [("PUT", visit), ("GET", visit), ("POST", "/c/v/area"), ("POST", "/console/guests")];
    for (method, path) in twice {
        let reply = world.ask(&put(path, "", "x").replace("PUT", method)).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "us"), "{method} {path}");
    }
    let once = [("GET", "/v1/venues/v/changes"), ("POST", "/"), ("POST", "/r/x"), ("DELETE", visit)];
    for (method, path) in once {
        let asked = put(path, "", "x").replace("PUT", method);
        let reply = world.ask(&asked).await_for(Duration::from_millis(400)).await;
        assert!(reply.is_none(), "{method} {path} waits for its node");
    }
    assert_eq!((eu.count(), us.count()), (8, 4));
    assert_eq!(["sent", "won", "lost"].map(|result| world.metric("hedges_total", result)), [4.0, 4.0, 0.0]);
}

/// A wait that may end without a result.
trait AwaitFor: Future + Sized {
    async fn await_for(self, limit: Duration) -> Option<Self::Output> {
        tokio::time::timeout(limit, self).await.ok()
    }
}

impl<F: Future> AwaitFor for F {}

#[tokio::test]
async fn the_same_region_comes_first_and_a_hung_node_is_soon_excluded() {
    let (first, second, us) = (hung().await, RawNode::named("second").await, RawNode::named("us").await);
    let world = World::new([&[first.address, second.address], &[us.address], &[]], PATIENT).await;
    for _ in 0..20 {
        assert_eq!(world.ask(&put("/", "", "x")).await.body, "second");
    }
    assert_eq!((world.breaker(0), us.count()), (BreakerState::Open, 0));
}

#[tokio::test]
async fn hedges_stay_within_the_budget() {
    let (eu, us) = (hung().await, RawNode::named("us").await);
    let more = "hedge_after_ms = 20\n[timeouts]\nanswer_ms = 200\n[retry]\nbudget_floor = 3\nbudget = 0.01\n";
    let world = World::new([&[eu.address], &[us.address], &[]], &format!("{more}{NO_BREAKER}")).await;
    for _ in 0..10 {
        world.ask(&put("/", "", "x")).await;
    }
    // A retry after the silence would need a token as well.
    assert_eq!((world.metric("hedges_total", "sent"), eu.count(), us.count()), (3.0, 10, 3));
}

/// Another region may not know yet what the first node knows.
#[tokio::test]
async fn a_hedge_wins_only_by_success() {
    let slow = RawNode::start(|_, _| Act::Hang).await;
    let unknown = RawNode::start(|_, _| say("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")).await;
    let world = World::new([&[slow.address], &[unknown.address], &[]], PATIENT).await;
    let waiting = world.get("/v1/venues/v/visits/x", "");
    let seen = async {
        until(|| world.signals.outcomes(RegionIndex(1), 0).0 == 1).await;
        slow.kill();
    };
    let (reply, ()) = tokio::join!(waiting, seen);
    assert_eq!((reply.status, reply.body.as_str()), (404, "no"), "it is the answer once the first node has failed");
    assert_eq!(["won", "lost"].map(|result| world.metric("hedges_total", result)), [0.0, 1.0]);
}
