//! A certified peer that lies, written by hand, against two honest replicas: each lie that a review found.
//!
//! Afterwards the honest regions hold everything that was acknowledged, know the same, and have not grown.

#![allow(clippy::unwrap_used)]

mod documents;
mod world;

use std::time::Duration;

use replication::{
    Body, Claim, Collection, Delta, DocumentId, DocumentName, Dot, Hlc, Reason, ReplicaId, TenantId, Wall,
};

use crate::world::{LIAR, World, config};

#[test]
fn a_log_does_not_go_as_far_as_another_node_says() {
    let mut world = World::new();
    for (to, of) in [(0, 1), (1, 0)] {
        let origin = world.honest[of].replica.id();
        world.lie(to, &World::deltas(origin, u64::MAX, Vec::new())).unwrap();
    }
    world.holds(3);
    assert!(world.honest.iter().all(|honest| honest.replica.id() == honest.first), "no new id");
}

#[test]
fn what_arrives_in_the_year_9900_is_not_stored() {
    let mut world = World::new();
    for to in 0..2 {
        let entries = (1..=200).map(|seq| {
            let arrival = 250_000_000_000_000_u64 + seq * 86_400_000;
            let id = DocumentId::first_of(Wall(arrival));
            let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id };
            let key = name.expiring(id_arrival(&name).plus(config(0).max_retention));
            Delta { dot: Dot { origin: LIAR, seq }, hlc: Hlc::default(), key, body: Body::Tombstone(Reason::Subject) }
        });
        world.lie(to, &World::deltas(LIAR, 200, entries.collect())).unwrap();
    }
    world.holds(3);
}

fn id_arrival(name: &DocumentName) -> Wall {
    name.id.arrival()
}

#[test]
fn no_word_of_one_peer_makes_ids_without_end() {
    let mut world = World::new();
    for round in 0..200_u64 {
        for to in 0..2 {
            let own = world.honest[to].replica.id();
            let seq = if round % 2 == 0 { u64::MAX } else { 1_000 };
            world.greet(to, [(own, seq)].into_iter().collect());
        }
        world.run(1);
    }
    // 20 seconds: one new id at most, and the old log is not waited for without end.
    world.run(1_300);
    world.holds(6);
}

#[test]
fn invented_origins_are_bounded_and_go() {
    let mut world = World::new();
    for number in 0..4_500 {
        let _ = world.lie(0, &World::deltas(ReplicaId(1 << 40 | number), 1, Vec::new()));
        if number % 500 == 0 {
            world.run(1);
        }
    }
    world.run(10);
    let known = world.honest.iter().map(|honest| honest.replica.durable().len()).max().unwrap();
    assert!((1_000..=4_100).contains(&known), "{known} origins");
    // No entry of these origins is stored, so their names are forgotten within the hour. The machines are suspended
    // meanwhile.
    world.elapsed += Duration::from_secs(3_601);
    world.run(50);
    world.holds(3);
}

#[test]
fn a_claim_counts_from_its_own_node_alone() {
    let mut world = World::new();
    let (now, b) = (world.now().wall, world.honest[1].replica.id());
    // The regions cannot hear each other, and b writes what a does not have.
    world.are_linked = false;
    world.check_in(1);
    world.run(10);
    for needs in [Vec::new(), vec![(b, 1)]] {
        let through = world.now().wall;
        let (node, region) = ("b".parse().unwrap(), "b".parse().unwrap());
        let claim = Claim { node, region, through, needs, rests_on: Vec::new() };
        let frame = world.progress(Some(claim));
        world.lie(0, &frame).unwrap();
    }
    let complete = world.honest[0].replica.status(world.now()).complete_through;
    assert!(complete[&"b".parse().unwrap()] <= now, "{complete:?}");
    world.are_linked = true;
    world.holds(3);
}
