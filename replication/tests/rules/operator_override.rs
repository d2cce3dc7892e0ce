//! An operator's statement for a clock that was nine hours ahead, and what follows when it is taken back.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use crate::common::{OWN, START, after, config, greet};
use replication::memory::MemoryStorage;
use replication::{
    Body, Change, Claim, Collection, Delta, Deltas, DocumentId, DocumentName, Dot, Event, Frame, Hlc, LinkId, Now,
    Progress, Replica, ReplicaId, TenantId, Value, VersionVector, Wall,
};

const AHEAD: Duration = Duration::from_hours(9);
/// A replica that only the first peer ever met.
const FAR: ReplicaId = ReplicaId(4);

fn open(storage: &MemoryStorage, now: Now) -> Replica<MemoryStorage> {
    Replica::open(config(), storage.clone(), Box::new(|| OWN), now).unwrap()
}

/// Makes everything durable and returns what happened.
fn sync(replica: &mut Replica<MemoryStorage>, now: Now) -> Vec<Event> {
    replica.settle_batches(now).unwrap();
    std::iter::from_fn(|| replica.poll_event()).collect()
}

fn frames(replica: &mut Replica<MemoryStorage>, now: Now) -> Vec<(LinkId, Frame)> {
    let transmits = std::iter::from_fn(|| replica.poll_transmit(now).unwrap());
    transmits.map(|transmit| (transmit.link, Frame::decode(&transmit.frame).unwrap())).collect()
}

/// A heartbeat of the first peer, which says that it is complete through a moment.
fn claim(replica: &mut Replica<MemoryStorage>, now: Now, through: Wall) {
    let (node, region) = ("b".parse().unwrap(), "b".parse().unwrap());
    let progress = Progress {
        vector: VersionVector::default(),
        received: vec![],
        claim: Some(Claim { node, region, through, needs: vec![(ReplicaId(101), 0)], rests_on: vec![] }),
        horizon: Wall(0),
        wall: now.wall,
        direct: vec![OWN, FAR],
        missing: vec![],
    };
    replica.handle_frame(now, LinkId(1), &Frame::Progress(progress).encode()).unwrap();
}

/// Lets time pass in which both peers are heard. Returns whether the replica relays the far one's entries to the second
/// peer, and whether it makes a claim of its own.
fn relays_and_claims(replica: &mut Replica<MemoryStorage>, from: u64) -> (bool, bool) {
    let mut found = (false, false);
    for now in (from..from + 6).map(after) {
        for link in 1..=2 {
            let progress = Progress {
                vector: VersionVector::default(),
                received: vec![],
                claim: None,
                horizon: Wall(0),
                wall: now.wall,
                direct: vec![OWN],
                missing: vec![],
            };
            replica.handle_frame(now, LinkId(link), &Frame::Progress(progress).encode()).unwrap();
        }
        replica.handle_timeout(now).unwrap();
        sync(replica, now);
        for (link, frame) in frames(replica, now) {
            found.0 |= link == LinkId(2) && matches!(&frame, Frame::Deltas(deltas) if deltas.origin == FAR);
            let own = |claim: &Claim| claim.node == "a".parse().unwrap();
            found.1 |= matches!(&frame, Frame::Progress(progress) if progress.claim.as_ref().is_some_and(own));
        }
    }
    found
}

#[test]
fn a_replica_that_forgot_early_says_so_and_neither_relays_nor_claims_until_that_time_has_come() {
    let storage = MemoryStorage::default();
    let mut replica = open(&storage, after(0));
    greet(&mut replica, after(0), 1, "b", 0);
    let id = DocumentId::arriving(START, [7; 10]);
    let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id };
    let key = name.expiring(START.plus(Duration::from_hours(100)));
    let body = Body::Change(Change::create(&key, &[("name", Value::Text("Maria Musterfrau".into()))]));
    let entries = vec![Delta { dot: Dot { origin: FAR, seq: 1 }, hlc: Hlc(START.0 << 16), key, body }];
    let deltas = Frame::Deltas(Deltas { origin: FAR, after: 0, through: 1, heads: None, entries });
    replica.handle_frame(after(0), LinkId(1), &deltas.encode()).unwrap();
    claim(&mut replica, after(1), after(1).wall);
    sync(&mut replica, after(1));
    let (b, right) = ("b".parse().unwrap(), after(2));
    assert_eq!(replica.status(right).complete_through[&b], after(1).wall);

    // No peer is heard any more, and the clock is set wrong.
    replica.handle_link_down(right, LinkId(1));
    let ahead = Now { wall: right.wall.plus(AHEAD), ..right };
    replica.trust_wall_clock(ahead, ahead.wall, false).unwrap();
    assert!(!replica.dropped_too_early(), "it cannot know");
    sync(&mut replica, right);
    storage.crash(|_, _| 0);
    let mut replica = open(&storage, after(3));
    replica.trust_wall_clock(after(3), after(3).wall, false).unwrap();
    assert!(sync(&mut replica, after(3)).iter().any(|event| matches!(event, Event::DroppedTooEarly(Some(_)))));
    let status = replica.status(after(3));
    assert!(status.dropped_too_early && status.doubt.is_none());
    assert!(status.complete_through.values().all(|through| *through == Wall(0)), "{:?}", status.complete_through);

    // Another crash does not change that.
    storage.crash(|_, _| 0);
    let mut replica = open(&storage, after(4));
    for (link, node) in [(1, "b"), (2, "c")] {
        greet(&mut replica, after(4), link, node, 0);
    }
    assert_eq!(relays_and_claims(&mut replica, 5), (false, false));
    let over = AHEAD.as_secs() + 10;
    assert_eq!(relays_and_claims(&mut replica, over), (true, true));
    assert!(!replica.status(after(over + 6)).dropped_too_early);
}

#[test]
fn a_claim_through_a_time_that_has_not_come_is_not_taken_over() {
    let storage = MemoryStorage::default();
    let mut replica = open(&storage, after(0));
    greet(&mut replica, after(0), 1, "b", 0);
    let b = "b".parse().unwrap();
    claim(&mut replica, after(1), after(1).wall.plus(AHEAD));
    assert_eq!(replica.status(after(1)).complete_through[&b], Wall(0));
    claim(&mut replica, after(2), after(2).wall);
    assert_eq!(replica.status(after(2)).complete_through[&b], after(2).wall, "when its clock is right again");
}
