//! Nodes of two releases: each reads what the other one writes, and a deployment is renewed node by node.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use crate::common::mesh::Mesh;
use crate::common::{OWN, after, config, turn};
use replication::memory::MemoryStorage;
use replication::{
    Body, Change, Collection, Deltas, DocumentId, DocumentKey, DocumentName, Dot, Frame, FrameError, Hello, Hlc,
    LinkId, Progress, Protocol, Reason, Replica, ReplicaId, TenantId, Value, VersionVector, Wall,
};

const SOON: Duration = Duration::from_secs(20);
const AT: Wall = Wall(1_780_000_000_000);

/// What the frames of the release before say.
fn frames() -> [Frame; 3] {
    let vector: VersionVector = [(ReplicaId(7), 3), (ReplicaId(9), 40)].into_iter().collect();
    let hello = Hello {
        replica: ReplicaId(7),
        node: "eu-central".parse().unwrap(),
        boot: 5,
        region: "eu-central".parse().unwrap(),
        vector: vector.clone(),
        seen: vector.clone(),
        yours: None,
        wall: AT,
        max_retention_ms: 2_419_200_000,
        newest: Protocol::OLDEST,
    };
    let progress = Progress {
        vector,
        received: vec![(ReplicaId(9), 41)],
        claim: None,
        horizon: Wall(1_779_000_000_000),
        wall: AT,
        direct: vec![ReplicaId(9)],
        missing: vec![],
    };
    let key = |number: u8| {
        let id = DocumentId::arriving(AT, [number; 10]);
        let name = DocumentName { collection: Collection(2), tenant: TenantId([number; 16]), id };
        name.expiring(AT.plus(Duration::from_hours(14 * 24)))
    };
    let change =
        |key: &DocumentKey, text: &str| Body::Change(Change::create(key, &[("name", Value::Text(text.to_owned()))]));
    let delta = |seq: u64, key: DocumentKey, body| {
        let dot = Dot { origin: ReplicaId(7), seq };
        replication::Delta { dot, hlc: Hlc(AT.0 << 16 | seq), key, body }
    };
    let (one, two) = (key(1), key(2));
    let entries = vec![
        delta(1, one, change(&one, "Zoë")),
        delta(2, two, change(&two, "Ane")),
        delta(3, one, Body::Tombstone(Reason::Subject)),
    ];
    let deltas = Deltas { origin: ReplicaId(7), after: 0, through: 3, heads: Some([11, 22]), entries };
    [Frame::Hello(hello), Frame::Progress(progress), Frame::Deltas(deltas)]
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn frames_of_the_release_before_are_read() {
    let file = include_str!("../data/frames-3.txt");
    let lines: Vec<(&str, &str)> =
        file.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_once(' ').unwrap()).collect();
    assert_eq!(lines.len(), 3);
    for ((kind, hex), frame) in lines.into_iter().zip(frames()) {
        let read = Frame::decode(&bytes(hex)).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(read, frame, "{kind}");
        // The release before reads only what it would have written itself, apart from the compression.
        let written = frame.encode_in(Protocol::OLDEST);
        assert_eq!(written[..2], bytes(hex)[..2], "{kind}");
        if kind != "deltas" {
            assert_eq!(written, bytes(hex), "{kind}");
        }
    }
}

#[test]
fn a_hello_names_the_newest_version_and_what_later_ones_add_is_skipped() {
    let [Frame::Hello(hello), ..] = frames() else { panic!("a greeting") };
    let hello = Hello { newest: Protocol::NEWEST, ..hello };
    let mut bytes = Frame::Hello(hello.clone()).encode();
    assert_eq!(Frame::decode(&bytes).unwrap(), Frame::Hello(hello.clone()));
    // A later release: a higher version in the header, a higher newest one, and more fields.
    let newest = bytes.len() - 1;
    (bytes[0], bytes[newest]) = (9, 11);
    bytes.extend([1, 2, 3]);
    let Frame::Hello(later) = Frame::decode(&bytes).unwrap() else { panic!("a greeting") };
    assert!(later.newest > Protocol::NEWEST);
    assert_eq!(Hello { newest: Protocol::NEWEST, ..later }, hello);
    // A version that contradicts itself, one that is too old, and other frames of a later version.
    bytes[newest] = 8;
    assert!(matches!(Frame::decode(&bytes), Err(FrameError::Payload)));
    bytes[0] = 2;
    assert!(matches!(Frame::decode(&bytes), Err(FrameError::Version(_))));
    for frame in &frames()[1..] {
        let mut bytes = frame.encode();
        bytes[0] = 9;
        assert!(matches!(Frame::decode(&bytes), Err(FrameError::Version(_))));
        assert_eq!(Frame::kind(&bytes), None);
    }
}

/// Nodes are renewed one after the other while guests check in. A node of the release before closes a link on which it
/// hears of a later version, so the others must greet it in its own.
#[test]
fn a_deployment_is_renewed_node_by_node() {
    let mut mesh = Mesh::new(3);
    mesh.previous = [0, 1, 2].into();
    let mut number = 0;
    for renewed in 0..3 {
        for at in 0..3 {
            mesh.write(at, number);
            number += 1;
        }
        mesh.until(SOON, "all agree", |mesh| mesh.agree() && mesh.shows(0).len() as u64 == number);
        mesh.kill(renewed);
        mesh.previous.remove(&renewed);
        mesh.start(renewed);
        mesh.write((renewed + 1) % 3, number);
        number += 1;
        mesh.until(SOON, "the links are up", |mesh| {
            (0..3).all(|at| {
                mesh.replicas[at].as_ref().unwrap().status(mesh.now(at)).peers.iter().all(|p| p.replica.is_some())
            })
        });
        mesh.until(SOON, "all agree", |mesh| mesh.agree() && mesh.shows(0).len() as u64 == number);
        // Those that are left of the release before still hear of nothing else.
        assert!(
            mesh.refused_by_previous < 12,
            "{} links were closed by nodes of the release before",
            mesh.refused_by_previous
        );
    }
    mesh.versions.clear();
    mesh.run(Duration::from_secs(2));
    assert_eq!(mesh.versions, [5].into(), "all speak the newest version in the end");
}

/// The roll-back of a renewal: a node goes back to the release before.
#[test]
fn a_node_goes_back_to_the_release_before() {
    let mut mesh = Mesh::new(2);
    mesh.write(0, 0);
    mesh.until(SOON, "both agree", |mesh| mesh.agree() && mesh.shows(1).len() == 1);
    mesh.kill(1);
    mesh.previous.insert(1);
    mesh.start(1);
    mesh.write(0, 1);
    mesh.until(SOON, "both agree", |mesh| mesh.agree() && mesh.shows(1).len() == 2);
}

/// A peer that broke off before its greeting may be of the release before, so it is greeted in that version the next time.
/// If it is not, it is told that this node speaks the newest version as well.
#[test]
fn a_peer_that_was_taken_for_an_older_one_is_greeted_again() {
    let mint = Box::new(|| OWN);
    let mut replica = Replica::open(config(), MemoryStorage::default(), mint, after(0)).unwrap();
    let greetings = |replica: &mut Replica<MemoryStorage>, seconds: u64| -> Vec<u8> {
        let transmits = turn(replica, after(seconds)).transmits;
        let greetings = transmits.iter().filter(|sent| matches!(Frame::decode(&sent.frame), Ok(Frame::Hello(_))));
        greetings.map(|sent| sent.frame[0]).collect()
    };
    replica.handle_link_up(after(1), LinkId(1), "b".parse().unwrap()).unwrap();
    assert_eq!(greetings(&mut replica, 1), [5]);
    replica.handle_link_down(after(1), LinkId(1));
    replica.handle_link_up(after(2), LinkId(2), "b".parse().unwrap()).unwrap();
    assert_eq!(greetings(&mut replica, 2), [3]);
    replica.handle_link_down(after(2), LinkId(2));
    replica.handle_link_up(after(3), LinkId(3), "b".parse().unwrap()).unwrap();
    assert_eq!(greetings(&mut replica, 3), [5]);
    replica.handle_link_down(after(3), LinkId(3));
    // Its greeting meets ours of the release before.
    replica.handle_link_up(after(4), LinkId(4), "b".parse().unwrap()).unwrap();
    assert_eq!(greetings(&mut replica, 4), [3]);
    greet_again(&mut replica, 4);
    assert_eq!(greetings(&mut replica, 4), [5]);
}

/// The peer `b`, of this release, greets on a link that is up.
fn greet_again(replica: &mut Replica<MemoryStorage>, link: u64) {
    let [Frame::Hello(hello), ..] = frames() else { panic!("a greeting") };
    let hello = Hello {
        node: "b".parse().unwrap(),
        region: "b".parse().unwrap(),
        vector: VersionVector::default(),
        seen: VersionVector::default(),
        wall: after(link).wall,
        max_retention_ms: u64::try_from(config().max_retention.as_millis()).unwrap(),
        newest: Protocol::NEWEST,
        ..hello
    };
    replica.handle_frame(after(link), LinkId(link), &Frame::Hello(hello).encode()).unwrap();
}
