//! Restarts: an id is kept if that is safe, replaced if it is not, and forgotten when its entries are over.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use crate::common::mesh::Mesh;
use crate::common::turn;
use replication::{Bucket, Event, SessionToken};

const SOON: Duration = Duration::from_secs(10);

fn is_ready(mesh: &Mesh, at: usize) -> bool {
    let status = mesh.replicas[at].as_ref().unwrap().status(mesh.now(at));
    !status.starting && !status.filling && !status.recovering && status.doubt.is_none()
}

/// Text of a token that covers what a replica knows.
fn token(mesh: &Mesh, at: usize) -> usize {
    let vector = mesh.replicas[at].as_ref().unwrap().durable().clone();
    SessionToken(vector).encode().len().div_ceil(3) * 4
}

#[test]
fn a_thousand_restarts_leave_tokens_short() {
    let mut mesh = Mesh::new(3);
    mesh.until(SOON, "all are ready", |mesh| (0..3).all(|at| is_ready(mesh, at)));
    for number in 0..1_000 {
        mesh.write(0, number);
        mesh.tick();
        mesh.kill(0);
        mesh.start(0);
        mesh.until(SOON, "it is ready again", |mesh| is_ready(mesh, 0));
    }
    mesh.until(SOON, "all agree", |mesh| mesh.agree());
    assert_eq!(mesh.shows(2).len(), 1_000);
    assert_eq!(mesh.replica(1).durable().len(), 1, "one id wrote");
    assert!(token(&mesh, 1) < 200, "{} characters", token(&mesh, 1));
}

/// One peer is dead. The other one, which was linked as well, confirms the log.
#[test]
fn restarts_beside_a_dead_peer_keep_the_id() {
    let mut mesh = Mesh::new(3);
    mesh.until(SOON, "all are ready", |mesh| (0..3).all(|at| is_ready(mesh, at)));
    mesh.write(0, 0);
    mesh.run(Duration::from_secs(2));
    mesh.kill(2);
    mesh.run(Duration::from_secs(2));
    for number in 1..50 {
        mesh.write(0, number);
        mesh.run(Duration::from_millis(300));
        mesh.kill(0);
        mesh.start(0);
        mesh.until(SOON, "it is ready again", |mesh| is_ready(mesh, 0));
    }
    assert_eq!(mesh.replica(1).durable().len(), 1, "{:?}", mesh.replicas[1].as_ref().unwrap().durable());
    assert!(token(&mesh, 1) < 200);
}

/// An id that has written nothing is in no vector and in no store.
#[test]
fn alone_a_restart_takes_a_new_id_with_its_first_entry() {
    let mut mesh = Mesh::new(2);
    mesh.until(SOON, "both are ready", |mesh| (0..2).all(|at| is_ready(mesh, at)));
    mesh.write(0, 0);
    mesh.run(Duration::from_secs(1));
    mesh.kill(1);
    let first = mesh.replica(0).id();
    for _ in 0..5 {
        mesh.kill(0);
        mesh.start(0);
        mesh.until(SOON, "it is ready alone", |mesh| is_ready(mesh, 0));
        assert_ne!(mesh.replica(0).id(), first, "its peer may know more of its log");
        assert_eq!(mesh.replica(0).durable().len(), 1);
    }
    mesh.write(0, 1);
    mesh.tick();
    assert_eq!(mesh.replica(0).durable().len(), 2);
}

#[test]
fn an_origin_is_forgotten_when_its_entries_are_over() {
    let mut mesh = Mesh::new(2);
    mesh.until(SOON, "both are ready", |mesh| (0..2).all(|at| is_ready(mesh, at)));
    mesh.write(0, 0);
    mesh.run(Duration::from_secs(1));
    // Alone the node takes a new id, and both logs have an entry.
    mesh.kill(1);
    mesh.kill(0);
    mesh.start(0);
    mesh.until(SOON, "it is ready alone", |mesh| is_ready(mesh, 0));
    mesh.write(0, 1);
    mesh.tick();
    mesh.start(1);
    mesh.until(SOON, "both agree", |mesh| mesh.agree());
    let old = *mesh.replica(1).durable().iter().map(|(origin, _)| origin).collect::<Vec<_>>().iter().min().unwrap();
    let present = mesh.replica(0).id();
    assert_ne!(old, present);
    mesh.elapsed += Duration::from_hours(16 * 24);
    mesh.until(Duration::from_mins(2), "the old id is forgotten", |mesh| {
        (0..2).all(|at| mesh.replica(at).durable().iter().all(|(origin, _)| origin != old))
    });
    mesh.run(Duration::from_secs(10));
    for at in 0..2 {
        assert!(mesh.replica(at).durable().iter().all(|(origin, _)| origin != old), "and stays so");
        assert!(mesh.events[at].iter().any(|event| matches!(event, Event::Retired(origin) if *origin == old)));
        assert!(mesh.shows(at).is_empty());
    }
    mesh.write(0, 2);
    mesh.until(SOON, "both agree", |mesh| mesh.agree());
    assert_eq!(mesh.shows(1).len(), 1);
}

#[test]
fn a_copied_store_begins_with_an_empty_past() {
    let mut mesh = Mesh::new(3);
    mesh.until(SOON, "all are ready", |mesh| (0..3).all(|at| is_ready(mesh, at)));
    for number in 0..20 {
        mesh.write(0, number);
    }
    mesh.run(Duration::from_secs(2));
    // An operator might seed a new region with a copy.
    mesh.kill(1);
    mesh.storages[1] = replication::memory::MemoryStorage::default();
    mesh.storages[1].restore(&mesh.storages[0].snapshot());
    mesh.start(1);
    mesh.until(SOON, "the copy is ready", |mesh| is_ready(mesh, 1));
    let a = mesh.replica(0).id();
    assert!(mesh.events[1].iter().any(|event| matches!(event, Event::CopiedFrom(node) if node.as_str() == "a")));
    mesh.write(0, 100);
    mesh.write(1, 101);
    mesh.until(SOON, "all agree", |mesh| mesh.agree());
    assert!((0..3).all(|at| mesh.shows(at).len() == 22), "the link between the two lives");
    let now = mesh.now(2);
    let status = mesh.replica(2).status(now);
    assert_eq!(status.origins[&a].as_str(), "a", "and the log of the one is not the other's");
}

/// A bucket was lost while the process was down. Everything comes back, and until then the replica is not fit to serve.
#[test]
fn a_lost_bucket_comes_back_from_the_peers() {
    for lasting in [false, true] {
        let mut mesh = Mesh::new(3);
        mesh.until(SOON, "all are ready", |mesh| (0..3).all(|at| is_ready(mesh, at)));
        for number in 0..300 {
            mesh.write(usize::try_from(number % 3).unwrap(), number);
        }
        mesh.run(Duration::from_secs(2));
        let all = mesh.shows(1);
        assert_eq!(all.len(), 300);
        mesh.kill(1);
        let day = all.first().unwrap().bucket();
        mesh.storages[1].lose_bucket(if lasting { Bucket::Lasting } else { day });
        let old = mesh.replica(0).durable().clone();
        mesh.start(1);
        let now = mesh.now(1);
        let bucket = mesh.replica(1).status(now);
        assert!(bucket.filling, "it is not ready");
        assert_eq!(bucket.complete_through[&"b".parse().unwrap()], replication::Wall(0), "nor complete for itself");
        assert!(old.covers(mesh.replica(1).durable()) && old != *mesh.replica(1).durable());
        mesh.until(SOON, "it is ready", |mesh| is_ready(mesh, 1));
        assert_eq!(mesh.shows(1), all, "with all that the peers have");
        assert!(mesh.events[1].iter().any(|event| matches!(event, Event::BucketsLost(_))));
        mesh.write(1, 1_000);
        mesh.until(SOON, "all agree", |mesh| mesh.agree());
        assert!((0..3).all(|at| mesh.shows(at).len() == 301));
    }
}

/// Two processes run as one node. The one that was replaced cannot come back unnoticed.
#[test]
fn a_clone_takes_a_new_id() {
    let mut mesh = Mesh::new(2);
    mesh.until(SOON, "both are ready", |mesh| (0..2).all(|at| is_ready(mesh, at)));
    mesh.write(0, 0);
    mesh.run(Duration::from_secs(1));
    // The machine is cloned with its disk; both go on under the same id, one after the other.
    let clone = mesh.storages[0].snapshot();
    mesh.write(0, 1);
    mesh.write(0, 2);
    mesh.run(Duration::from_secs(1));
    let id = mesh.replica(0).id();
    mesh.cut(0, 1);
    mesh.kill(0);
    mesh.storages[0] = replication::memory::MemoryStorage::default();
    mesh.storages[0].restore(&clone);
    // As after a failover without fencing: the clone is started without peers to ask, so it keeps the id.
    let peers = std::collections::BTreeMap::new();
    let alone = replication::ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), peers);
    let now = mesh.now(0);
    let mint = Box::new(|| replication::ReplicaId(77));
    let mut copy = replication::Replica::open(alone, mesh.storages[0].clone(), mint, now).unwrap();
    assert_eq!(copy.id(), id);
    for number in 10..12 {
        let key = mesh.key(number);
        let change = replication::Change::create(&key, &[("n", replication::Value::Int(1))]);
        copy.handle_write(now, replication::Write::Change { key, change }).unwrap();
    }
    copy.settle_batches(now).unwrap();
    drop(copy);
    // The peer holds other entries 2 and 3 of this log.
    mesh.start(0);
    mesh.cuts.clear();
    mesh.until(SOON, "the fork is seen", |mesh| {
        mesh.events[0].iter().any(|event| matches!(event, Event::Forked { .. }))
    });
    assert_ne!(mesh.replica(0).id(), id);
    mesh.write(0, 20);
    mesh.until(SOON, "what is new arrives", |mesh| mesh.shows(1).len() >= 4);
}

/// A process is killed before its batch is synced, and the power fails after the next process has started.
#[test]
fn writes_left_by_a_killed_process_are_synced_before_they_count_as_durable() {
    let mut mesh = Mesh::new(2);
    mesh.until(SOON, "both are ready", |mesh| (0..2).all(|at| is_ready(mesh, at)));
    mesh.write(0, 0);
    mesh.replica(0).poll_batch().unwrap().unwrap();
    mesh.kill(0);
    mesh.storages[0].kill(|_, count| count);
    mesh.start(0);
    let told = mesh.replica(0).durable().clone();
    let shown = mesh.shows(0);
    assert_eq!((told.len(), shown.len()), (1, 1), "it finds what was applied");
    mesh.kill(0);
    mesh.storages[0].crash(|_, _| 0);
    mesh.start(0);
    assert!(mesh.replica(0).durable().covers(&told), "and has told its peers of it");
    assert_eq!(mesh.shows(0), shown);
}

/// A correction rests on the check-in that it corrects: a region that has the one without the other shows neither.
#[test]
fn a_claim_names_what_its_acknowledgements_rest_on() {
    let mut mesh = Mesh::new(3);
    mesh.until(SOON, "all are ready", |mesh| (0..3).all(|at| is_ready(mesh, at)));
    let (key, _) = mesh.write(0, 0);
    mesh.until(SOON, "b has it", |mesh| mesh.shows(1).contains(&key));
    let origin = mesh.replica(0).id();
    let rows = replication::Reader::new(mesh.storages[1].clone(), mesh.config(1, 0).max_retention);
    let row = rows.all(replication::Wall(0)).unwrap().remove(&key).unwrap();
    let change = row.document().unwrap().amend(&key, &[("n", Some(replication::Value::Int(7)))]).unwrap();
    let now = mesh.now(1);
    mesh.replica(1).handle_write(now, replication::Write::Change { key, change }).unwrap();
    // The claims that b makes to c in its next heartbeats.
    let claims = |mesh: &mut Mesh| {
        mesh.turn(1);
        mesh.elapsed += Duration::from_secs(1);
        let now = mesh.now(1);
        let mut told = turn(mesh.replica(1), now).frames().into_iter().filter_map(|frame| match frame {
            replication::Frame::Progress(told) => told.claim,
            _ => None,
        });
        told.next_back().unwrap()
    };
    let claim = claims(&mut mesh);
    assert!(claim.rests_on.contains(&(origin, 1)), "{claim:?}");
    assert!(claim.needs.iter().all(|(own, _)| *own != origin), "it is not b's own");
}

/// While a node is away all its entries expire. Its disk goes back, and its peers still know how far its log went.
#[test]
fn a_node_whose_entries_expired_while_it_was_away_reuses_no_dot() {
    let mut mesh = Mesh::new(2);
    mesh.until(SOON, "both are ready", |mesh| (0..2).all(|at| is_ready(mesh, at)));
    mesh.write(0, 0);
    mesh.run(Duration::from_secs(1));
    let backup = mesh.storages[0].snapshot();
    mesh.write(0, 1);
    mesh.run(Duration::from_secs(1));
    let id = mesh.replica(0).id();
    mesh.kill(0);
    mesh.elapsed += Duration::from_hours(16 * 24);
    mesh.run(Duration::from_secs(10));
    assert!(mesh.shows(1).is_empty(), "all is over");
    mesh.storages[0].restore(&backup);
    mesh.start(0);
    mesh.until(SOON, "it is ready", |mesh| is_ready(mesh, 0));
    assert_ne!(mesh.replica(0).id(), id, "its second entry is no longer in its store, and was one");
}
