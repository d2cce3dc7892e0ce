//! How far a log goes, and when its origin is forgotten by all replicas.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use crate::common::mesh::Mesh;
use crate::common::turn;
use replication::memory::MemoryStorage;
use replication::{Dot, Event, Frame, Outcome};

const SOON: Duration = Duration::from_secs(10);

fn is_ready(mesh: &Mesh, at: usize) -> bool {
    let status = mesh.replicas[at].as_ref().unwrap().status(mesh.now(at));
    !status.starting && !status.filling && !status.recovering && status.doubt.is_none()
}

/// Each replica looks once an hour for origins that are over. A replica that has forgotten an origin must not get its
/// empty log back from one that looks half an hour later, otherwise it would give the log back to that one in turn.
#[test]
fn an_origin_that_is_over_is_forgotten_by_all_when_the_first_has_looked() {
    let mut mesh = Mesh::new(2);
    mesh.until(SOON, "both are ready", |mesh| (0..2).all(|at| is_ready(mesh, at)));
    mesh.write(0, 0);
    mesh.until(SOON, "both agree", |mesh| mesh.agree() && !mesh.shows(1).is_empty());
    let old = mesh.replica(0).id();
    // While the node is away its log goes with the day. Its id is kept, because it may come back under it.
    mesh.kill(0);
    mesh.elapsed += Duration::from_hours(16 * 24);
    mesh.tick();
    assert!(mesh.shows(1).is_empty() && mesh.replica(1).durable().get(old) > 0);
    let first_look = mesh.elapsed + Duration::from_hours(1);

    // The node comes back under another id half an hour later, so that it looks half an hour later as well.
    mesh.elapsed += Duration::from_mins(30);
    mesh.storages[0] = MemoryStorage::default();
    mesh.start(0);
    mesh.until(SOON, "it is ready and has the empty log", |mesh| is_ready(mesh, 0) && mesh.agree());
    assert!((0..2).all(|at| mesh.replica(at).durable().get(old) > 0));
    mesh.elapsed = first_look - Duration::from_secs(20);
    mesh.run(Duration::from_secs(15));
    assert!((0..2).all(|at| mesh.replica(at).durable().get(old) > 0), "no replica has looked yet");
    mesh.run(Duration::from_secs(10));
    let knows = |mesh: &mut Mesh| [0, 1].map(|at| mesh.replica(at).durable().get(old) > 0);
    assert_eq!(knows(&mut mesh), [false; 2], "both have forgotten it");
    mesh.elapsed += Duration::from_mins(30);
    mesh.run(SOON);
    assert_eq!(knows(&mut mesh), [false; 2], "and it has not come back");
    for events in &mesh.events {
        assert_eq!(events.iter().filter(|event| **event == Event::Retired(old)).count(), 1);
    }
}

/// An id that never wrote leaves `meta` as it was, with the id before it, but the buckets' headers name the new id. The
/// next start goes on under the stored id after its last entry, which `meta` does not know.
#[test]
fn a_log_goes_on_behind_its_last_entry_after_an_id_that_never_wrote() {
    let mut mesh = Mesh::new(2);
    mesh.until(SOON, "both are ready", |mesh| (0..2).all(|at| is_ready(mesh, at)));
    for number in 0..4 {
        mesh.write(0, number);
        mesh.tick();
    }
    mesh.until(SOON, "both agree", |mesh| mesh.agree());
    let id = mesh.replica(0).id();
    assert_eq!(mesh.replica(1).durable().get(id), 4);

    // Alone the node takes another id, under which it stores an entry of its peer and writes none.
    mesh.cut(0, 1);
    mesh.kill(0);
    mesh.start(0);
    mesh.until(SOON, "it is ready alone", |mesh| is_ready(mesh, 0));
    assert_ne!(mesh.replica(0).id(), id);
    mesh.cuts.clear();
    mesh.write(1, 10);
    mesh.until(SOON, "it has its peer's entry", |mesh| mesh.shows(0).len() == 5);

    mesh.kill(0);
    mesh.start(0);
    mesh.until(SOON, "it is ready again", |mesh| is_ready(mesh, 0));
    let went_back = |event: &Event| matches!(event, Event::RolledBack { .. });
    assert!(!mesh.events[0].iter().any(went_back), "its disk did not go back");
    let (_, ticket) = mesh.write(0, 20);
    mesh.tick();
    let outcome = Outcome::Created(Dot { origin: id, seq: 5 });
    assert!(mesh.events[0].contains(&Event::Written { ticket, outcome }), "{:?}", mesh.events[0]);
}

/// A replica that hears a node's claim may lack entries that the node acknowledged under an earlier id.
#[test]
fn a_claim_names_the_logs_of_earlier_ids() {
    let mut mesh = Mesh::new(2);
    mesh.until(SOON, "both are ready", |mesh| (0..2).all(|at| is_ready(mesh, at)));
    mesh.write(0, 0);
    mesh.until(SOON, "both agree", |mesh| mesh.agree() && !mesh.shows(1).is_empty());
    let earlier = mesh.replica(0).id();
    mesh.cut(0, 1);
    mesh.kill(0);
    mesh.start(0);
    mesh.until(SOON, "it is ready alone", |mesh| is_ready(mesh, 0));
    mesh.write(0, 1);
    mesh.cuts.clear();
    mesh.until(SOON, "both agree", |mesh| mesh.agree());
    let present = mesh.replica(0).id();

    mesh.elapsed += Duration::from_secs(1);
    let now = mesh.now(0);
    let mut claims = turn(mesh.replica(0), now).frames().into_iter().filter_map(|frame| match frame {
        Frame::Progress(told) => told.claim,
        _ => None,
    });
    let mut needs = claims.next_back().unwrap().needs;
    needs.sort_unstable();
    assert_eq!(needs, [(earlier, 1), (present, 1)]);
}
