//! Nodes that are added and removed while replicas run: from then on they count, or nothing waits for them.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use crate::common::mesh::{Mesh, name};
use replication::memory::MemoryStorage;
use replication::{Event, LinkError, LinkId, RegionId, Status, Wall};

const SOON: Duration = Duration::from_secs(10);

fn status(mesh: &Mesh, at: usize) -> Status {
    mesh.replicas[at].as_ref().unwrap().status(mesh.now(at))
}

fn is_ready(mesh: &Mesh, at: usize) -> bool {
    let status = status(mesh, at);
    !status.starting && !status.filling && !status.recovering && status.doubt.is_none()
}

fn region(at: usize) -> RegionId {
    name(at).as_str().parse().unwrap()
}

fn knows(mesh: &Mesh, at: usize, region: &RegionId) -> Option<Wall> {
    status(mesh, at).complete_through.get(region).copied()
}

/// A mesh of four of which the last is not part of the deployment yet.
fn without_the_last() -> Mesh {
    let mut mesh = Mesh::new(4);
    mesh.strangers.insert(3);
    mesh.kill(3);
    mesh.storages[3] = MemoryStorage::default();
    mesh.tell_peers();
    mesh.until(SOON, "three are ready", |mesh| (0..3).all(|at| is_ready(mesh, at)));
    mesh
}

#[test]
fn a_node_that_is_added_fetches_everything_and_counts_from_then_on() {
    let mut mesh = without_the_last();
    for number in 0..50 {
        mesh.write(0, number);
    }
    mesh.until(SOON, "three agree", |mesh| mesh.agree() && mesh.shows(2).len() == 50);
    assert_eq!(knows(&mesh, 0, &region(3)), None, "nothing is known of it yet");

    mesh.strangers.clear();
    mesh.tell_peers();
    assert_eq!(knows(&mesh, 0, &region(3)), Some(Wall(0)), "a list is not complete without it");
    assert!((0..3).all(|at| is_ready(&mesh, at)), "and it is not waited for");

    // It starts with the address of one live node, and learns of the others from that one.
    mesh.cut(1, 3);
    mesh.cut(2, 3);
    mesh.start(3);
    let (now, mut one) = (mesh.now(3), mesh.peers(3));
    one.retain(|peer, _| *peer == name(0));
    mesh.replica(3).set_peers(now, one).unwrap();
    mesh.until(SOON, "it has everything", |mesh| is_ready(mesh, 3) && mesh.shows(3).len() == 50);
    mesh.cuts.clear();
    mesh.tell_peers();
    mesh.write(3, 100);
    let has_claimed = |mesh: &mut Mesh| (0..3).all(|at| knows(mesh, at, &region(3)) > Some(Wall(0)));
    mesh.until(SOON, "lists are complete for its region as well", has_claimed);
    mesh.until(SOON, "all agree", |mesh| mesh.agree() && mesh.shows(1).len() == 51);
}

#[test]
fn a_node_that_is_removed_is_waited_for_by_nothing_and_forgotten_after_the_retention() {
    let mut mesh = Mesh::new(4);
    mesh.until(SOON, "all are ready", |mesh| (0..4).all(|at| is_ready(mesh, at)));
    mesh.write(3, 0);
    mesh.until(SOON, "all agree", |mesh| mesh.agree() && mesh.shows(0).len() == 1);
    let old = mesh.replica(3).id();
    for at in 0..3 {
        mesh.cut(at, 3);
    }
    mesh.run(Duration::from_secs(20));
    let stands = knows(&mesh, 0, &region(3));
    mesh.strangers.insert(3);
    mesh.tell_peers();
    for at in 0..3 {
        assert!(is_ready(&mesh, at));
        assert_eq!(knows(&mesh, at, &region(3)), None, "it stood at {stands:?}");
        assert!(status(&mesh, at).peers.iter().all(|peer| peer.node != name(3)));
        assert_eq!(mesh.shows(at).len(), 1, "its entries stay until they expire");
    }
    let now = mesh.now(0);
    let refused = mesh.replica(0).handle_link_up(now, LinkId(9_999), name(3));
    assert!(matches!(refused, Err(LinkError::WrongName { .. })), "{refused:?}");

    mesh.elapsed += Duration::from_hours(16 * 24);
    mesh.until(SOON, "its log is forgotten", |mesh| {
        (0..3).all(|at| mesh.replica(at).durable().get(old) == 0 && mesh.shows(at).is_empty())
    });
    assert!((0..3).all(|at| mesh.events[at].contains(&Event::Retired(old))));
}

/// A removed node will never say whether it knows more of our log.
#[test]
fn a_start_that_waits_for_a_removed_node_goes_on_under_a_new_id() {
    let mut mesh = Mesh::new(3);
    mesh.until(SOON, "all are ready", |mesh| (0..3).all(|at| is_ready(mesh, at)));
    mesh.write(0, 0);
    mesh.until(SOON, "all agree", |mesh| mesh.agree() && mesh.shows(2).len() == 1);
    let old = mesh.replica(0).id();
    mesh.cut(0, 1);
    mesh.cut(0, 2);
    mesh.kill(0);
    mesh.start(0);
    mesh.tick();
    assert!(status(&mesh, 0).starting);
    mesh.strangers.insert(2);
    mesh.tell_peers();
    assert!(!status(&mesh, 0).starting && mesh.replica(0).id() != old);
    mesh.cuts.remove(&(0, 1));
    mesh.write(0, 1);
    mesh.until(SOON, "the two agree", |mesh| {
        mesh.replicas[0].as_ref().unwrap().durable() == mesh.replicas[1].as_ref().unwrap().durable()
    });
}

/// A node that is added while another one confirms its log is asked as well, because it may hold entries that the disk
/// has lost.
#[test]
fn a_start_asks_a_node_that_is_added_meanwhile() {
    let mut mesh = without_the_last();
    mesh.write(0, 0);
    mesh.until(SOON, "three agree", |mesh| mesh.agree());
    let id = mesh.replica(0).id();
    for peer in 1..4 {
        mesh.cut(0, peer);
    }
    mesh.kill(0);
    mesh.start(0);
    mesh.tick();
    mesh.strangers.clear();
    mesh.start(3);
    mesh.tell_peers();
    mesh.cuts.remove(&(0, 1));
    mesh.cuts.remove(&(0, 2));
    mesh.run(Duration::from_secs(1));
    assert!(status(&mesh, 0).starting, "the new node has not answered");
    mesh.cuts.clear();
    mesh.until(SOON, "it goes on under its id", |mesh| is_ready(mesh, 0));
    assert_eq!(mesh.replica(0).id(), id);
}

/// Without peers nothing can confirm the clock, and nothing is waited for.
#[test]
fn the_last_node_goes_on_alone() {
    let mut mesh = Mesh::new(2);
    mesh.until(SOON, "both are ready", |mesh| (0..2).all(|at| is_ready(mesh, at)));
    mesh.write(0, 0);
    mesh.run(SOON);
    mesh.cut(0, 1);
    mesh.kill(1);
    mesh.strangers.insert(1);
    mesh.tell_peers();
    mesh.elapsed += Duration::from_hours(16 * 24);
    mesh.until(SOON, "the day is dropped", |mesh| mesh.events[0].iter().any(|e| matches!(e, Event::Forgot(_))));
    assert!(is_ready(&mesh, 0));
}
