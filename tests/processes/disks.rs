//! Disks that are full or hang, and two processes on one: a node serves what is right, or says why it does not.

mod failing;
mod killed_restore;
mod killing;

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::common::{Call, Deployment, MERIDIAN, Venue, holds, shim, within};

const SOON: Duration = Duration::from_secs(30);
const MIB: u64 = 1 << 20;

/// A guest who is refused needs only to repeat; reads and erasures go on however full the disk is.
#[test]
fn a_full_disk_refuses_new_visits_and_takes_them_again_by_itself() {
    let Some((mut deployment, disk)) = Deployment::on_a_small_disk(1, 96, |storage| {
        (storage.reserve_mib, storage.ballast_mib) = (32, 8);
    }) else {
        return;
    };
    let at = deployment.nodes[0].public;
    let ballast = deployment.nodes[0].store().join("ballast");
    holds("the ballast is made", SOON, || ballast.is_file());
    let venue = Venue::make(at, "14d");
    let (kept, erased, late) = (venue.visit("Zoë", "030 1"), venue.visit("Ben", "030 2"), venue.visit("Ane", "030 3"));
    kept.check_in(at);
    erased.check_in(at);

    disk.fill(24 * MIB);
    holds("the node is not ready", SOON, || {
        let ready = Call::new("GET", "/readyz").to(at);
        ready.status == 503 && ready.text().contains("the disk is nearly full")
    });
    let refused = late.put().to(at);
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(refused.problem(507)["type"], "urn:meridian:problem:disk-nearly-full");
    kept.correct("030 9").to(at).expect(200);
    assert!(ballast.is_file());

    disk.fill(0);
    holds("the ballast is given up", SOON, || !ballast.exists());
    holds("corrections are refused", SOON, || kept.correct("030 8").to(at).status == 507);
    erased.erase().to(at).expect(204);
    erased.get().to(at).problem(410);
    assert_eq!(venue.list(at).len(), 1);

    // The room that the ballast gave is enough for a start as well.
    deployment.nodes[0].kill();
    deployment.nodes[0].restart();
    holds("the node serves reads", SOON, || kept.get().send(at).is_ok_and(|answer| answer.status == 200));
    erased.get().to(at).problem(410);

    disk.empty();
    within("a guest who repeats is taken", SOON, || match late.put().to(at) {
        answer if answer.status == 201 => Ok(()),
        answer => Err(answer),
    });
    holds("the ballast is back", SOON, || ballast.is_file());
    deployment.nodes[0].wait_ready();

    // A start on a disk that filled while the node was down.
    deployment.nodes[0].kill();
    disk.fill(0);
    deployment.nodes[0].restart();
    holds("the node serves reads", SOON, || kept.get().send(at).is_ok_and(|answer| answer.status == 200));
    assert!(!ballast.exists());
    assert_eq!(venue.list(at).len(), 2);
    late.erase().to(at).expect(204);
}

/// Otherwise the entries of peers would use up the room that the ballast gave.
#[test]
fn a_node_on_a_full_disk_takes_its_peers_entries_once_there_is_room() {
    let Some((deployment, disk)) = Deployment::on_a_small_disk(2, 96, |storage| {
        (storage.reserve_mib, storage.ballast_mib) = (32, 8);
    }) else {
        return;
    };
    let [full, other] = [0, 1].map(|node| deployment.nodes[node].public);
    let ballast = deployment.nodes[0].store().join("ballast");
    holds("the ballast is made", SOON, || ballast.is_file());
    let venue = Venue::make(other, "14d");
    deployment.wait_known(&venue);
    let erased = venue.visit("Ben", "030 2");
    erased.check_in(full);
    disk.fill(0);
    holds("the ballast is given up", SOON, || !ballast.exists());
    (0..20).for_each(|_| drop(venue.visit("Zoë", "030 1").check_in(other)));
    // What the node writes itself still reaches the peer.
    erased.erase().to(full).expect(204);
    holds("the erasure arrives", SOON, || erased.get().to(other).status == 410);
    assert!(venue.list(full).is_empty(), "nothing of the peer is taken");
    disk.empty();
    holds("everything arrives", SOON, || venue.list(full).len() == 20);
    deployment.wait_complete(&venue);
    assert_eq!(venue.list(full), venue.list(other));
}

#[test]
fn a_disk_that_hangs_makes_the_node_not_ready_within_seconds() {
    let deployment = Deployment::disturbed(1);
    let at = deployment.nodes[0].public;
    let venue = Venue::make(at, "1d");
    let fault = json!({"act": {"kind": "hung-disk"}, "for": "20s", "by": "mk"});
    Call::new("POST", "/v1/admin/faults").json(&fault).to(deployment.nodes[0].admin).expect(201);
    let begun = std::time::Instant::now();
    let guest = venue.visit("Zoë", "030 1");
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| guest.put().to(at));
        holds("the node is not ready", Duration::from_secs(5), || {
            let ready = Call::new("GET", "/readyz").to(at);
            ready.status == 503 && ready.text().contains("the disk has not finished a batch")
        });
        assert!(!answer.is_finished(), "it is not acknowledged before it is durable");
        Call::new("DELETE", "/v1/admin/faults").to(deployment.nodes[0].admin).expect(200);
        assert_eq!(answer.join().unwrap().status, 201);
    });
    assert!(begun.elapsed() < Duration::from_secs(15));
    deployment.nodes[0].wait_ready();
}

/// A client whose connection is taken waits for its answer, and one that is refused asks another region at once.
#[test]
fn a_node_takes_no_connection_before_its_store_is_open() {
    let mut deployment = Deployment::start(1);
    let folder = deployment.scratch().to_owned();
    let node = &mut deployment.nodes[0];
    node.kill();
    node.environment =
        vec![("LD_PRELOAD", shim(&folder)), ("MERIDIAN_SHIM", folder.clone()), ("MERIDIAN_SHIM_BELOW", node.store())];
    let held = folder.join("held");
    std::fs::write(&held, "").unwrap();
    node.restart();
    let listeners = [node.public, node.admin, node.replication];
    let is_refused = |at: &std::net::SocketAddr| {
        let tried = std::net::TcpStream::connect_timeout(at, SOON);
        tried.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    };
    // It stands still where it opens the first file of its store.
    holds("it waits for its disk", SOON, || folder.join("waits").exists());
    assert!(listeners.iter().all(is_refused), "it takes connections");
    std::fs::remove_file(&held).unwrap();
    node.wait_ready();
    assert!(!listeners.iter().any(is_refused));
}

#[test]
fn a_second_process_on_one_folder_is_refused() {
    let deployment = Deployment::start(1);
    let folder = &deployment.nodes[0].folder;
    let text = std::fs::read_to_string(folder.join("node.toml")).unwrap();
    let mut file: node::config::NodeFile = toml::from_str(&text).unwrap();
    let [public, replication, admin] = crate::common::net::free(deployment.nodes[0].public.ip(), 3)[..] else {
        panic!("three ports")
    };
    file.listen =
        node::config::ListenSection { public: public.into(), public_tls: None, replication, admin: admin.into() };
    file.pid_file = None;
    let other = folder.join("other.toml");
    std::fs::write(&other, toml::to_string(&file).unwrap()).unwrap();
    let second = Command::new(MERIDIAN).args(["node", "--config"]).arg(&other).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("is in use by another process"), "{said}");
    deployment.nodes[0].wait_ready();
}
