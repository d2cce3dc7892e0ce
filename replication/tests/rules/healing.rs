//! Damaged and lost rows are found, are never taken for expired ones, and come back from peers.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use replication::{
    Bucket, BucketBatch, Change, Check, DocumentKey, Dot, Event, Frame, LogEntry, Reader, Reason, Reference,
    Storage as _, Value, View, Wall, Write, WriteBatch, WriteError, log_key, scan_logs,
};

use crate::common::mesh::Mesh;

const SOON: Duration = Duration::from_secs(30);

/// Replicas that begin a scrub every few seconds and agree on some documents.
fn mesh(count: usize, documents: u64) -> (Mesh, Vec<DocumentKey>) {
    let mut mesh = Mesh::scrubbing(count, Duration::from_secs(3));
    mesh.run(Duration::from_secs(5));
    let keys = (0..documents).map(|number| mesh.write(0, number).0).collect();
    mesh.until(SOON, "all agree", |mesh| mesh.agree() && mesh.shows(0).len() == usize::try_from(documents).unwrap());
    (mesh, keys)
}

fn row_key(key: &DocumentKey) -> Vec<u8> {
    [&b"d"[..], &key.encode()].concat()
}

/// Writes past the replica, as a disk does that gives back other bytes.
fn overwrite(mesh: &Mesh, at: usize, bucket: Bucket, key: Vec<u8>, value: Option<&[u8]>) {
    let writes = vec![(key, value.map(<[u8]>::to_vec))];
    mesh.storages[at].apply(&WriteBatch { buckets: vec![(bucket, BucketBatch { writes })] }).unwrap();
}

fn damage(mesh: &Mesh, at: usize, key: &DocumentKey) {
    overwrite(mesh, at, key.bucket(), row_key(key), Some(b"\x02 other bytes"));
}

fn entries(mesh: &Mesh, at: usize, key: &DocumentKey) -> Vec<(Dot, LogEntry)> {
    let mut found = Vec::new();
    scan_logs(&mesh.storages[at], key.bucket(), &mut |dot, entry| found.push((dot, entry))).unwrap();
    let names = |entry: &LogEntry| match entry.what {
        Reference::Change(other) => other == *key,
        Reference::Tombstone(name, ..) | Reference::Erased(name, ..) => name == key.name,
    };
    found.retain(|(_, entry)| names(entry));
    found
}

/// Whether a replica shows every document with the changes that another one shows. A damaged row counts as not shown.
fn shows_the_same(mesh: &Mesh, at: usize, other: usize) -> bool {
    let all = |at: usize| {
        let reader = Reader::new(mesh.storages[at].clone(), mesh.config(at, 0).max_retention);
        let rows = reader.all(Wall(0)).ok()?.into_iter();
        Some(rows.map(|(key, row)| (key, row.hashes())).collect::<Vec<_>>())
    };
    all(at).is_some() && all(at) == all(other)
}

fn count(mesh: &Mesh, at: usize, is: fn(&Event) -> bool) -> usize {
    mesh.events[at].iter().filter(|event| is(event)).count()
}

fn healed(mesh: &Mesh, at: usize) -> usize {
    count(mesh, at, |event| matches!(event, Event::DamageHealed(_)))
}

fn lost(mesh: &Mesh, at: usize) -> usize {
    count(mesh, at, |event| matches!(event, Event::DamageLost(_)))
}

#[test]
fn rows_that_do_not_decode_come_back_from_a_peer() {
    let (mut mesh, keys) = mesh(3, 700);
    for key in keys.iter().step_by(3) {
        damage(&mesh, 1, key);
    }
    mesh.until(SOON, "all are healed", |mesh| shows_the_same(mesh, 1, 0) && healed(mesh, 1) == 234);
    let now = mesh.now(1);
    assert_eq!(mesh.replica(1).status(now).damaged, 0);
    assert!((0..3).all(|at| lost(&mesh, at) == 0) && healed(&mesh, 0) + healed(&mesh, 2) == 0);
}

#[test]
fn a_row_that_is_missing_comes_back() {
    let (mut mesh, keys) = mesh(2, 10);
    overwrite(&mesh, 0, keys[4].bucket(), row_key(&keys[4]), None);
    mesh.until(SOON, "it is back", |mesh| shows_the_same(mesh, 0, 1) && healed(mesh, 0) == 1);
    assert_eq!(mesh.shows(0).len(), 10);
}

/// Nothing in the store itself says that anything is missing: equal vectors, different documents.
#[test]
fn a_document_that_is_missing_with_its_log_entries_comes_back() {
    let (mut mesh, keys) = mesh(3, 10);
    for (dot, _) in entries(&mesh, 2, &keys[7]) {
        overwrite(&mesh, 2, keys[7].bucket(), log_key(dot), None);
    }
    overwrite(&mesh, 2, keys[7].bucket(), row_key(&keys[7]), None);
    assert!(mesh.agree(), "the vectors are equal");
    mesh.until(SOON, "it is back", |mesh| shows_the_same(mesh, 2, 0) && healed(mesh, 2) == 1);
    assert_eq!(entries(&mesh, 2, &keys[7]), entries(&mesh, 0, &keys[7]), "its log entry is back as well");
}

#[test]
fn one_change_of_several_comes_back() {
    let (mut mesh, keys) = mesh(2, 3);
    let key = keys[1];
    let stored = mesh.storages[1].get(key.bucket(), &row_key(&key)).unwrap().unwrap();
    let reader = Reader::new(mesh.storages[0].clone(), mesh.config(0, 0).max_retention);
    let row = reader.row(&key, View::applied(Wall(0))).unwrap().unwrap();
    let change = row.document().unwrap().amend(&key, &[("n", Some(Value::Int(7)))]).unwrap();
    let now = mesh.now(0);
    mesh.replica(0).handle_write(now, Write::Change { key, change }).unwrap();
    mesh.turn(0);
    mesh.until(SOON, "both have it", |mesh| mesh.agree() && shows_the_same(mesh, 1, 0));
    overwrite(&mesh, 1, key.bucket(), row_key(&key), Some(&stored));
    assert!(!shows_the_same(&mesh, 1, 0), "the page of before is back");
    mesh.until(SOON, "it is back", |mesh| shows_the_same(mesh, 1, 0) && healed(mesh, 1) == 1);
}

/// What a peer corrects meanwhile is kept, and no reader takes it for the whole document.
#[test]
fn a_part_of_a_damaged_document_is_not_shown() {
    let (mut mesh, keys) = mesh(3, 3);
    let key = keys[1];
    mesh.cut(0, 1);
    damage(&mesh, 1, &key);
    // The second correction rests on the first one.
    for number in [7, 8] {
        let reader = Reader::new(mesh.storages[2].clone(), mesh.config(2, 0).max_retention);
        let row = reader.row(&key, View::applied(Wall(0))).unwrap().unwrap();
        let change = row.document().unwrap().amend(&key, &[("n", Some(Value::Int(number)))]).unwrap();
        let now = mesh.now(2);
        mesh.replica(2).handle_write(now, Write::Change { key, change }).unwrap();
        mesh.turn(2);
        let seen = std::cell::Cell::new(false);
        mesh.until(SOON, "the correction is here", |mesh| {
            let reader = Reader::new(mesh.storages[1].clone(), mesh.config(1, 0).max_retention);
            let row = reader.row(&key, View::applied(Wall(0)));
            // Damaged, or everything that it had and what is new.
            seen.set(seen.get() || row.is_err());
            assert!(row.is_err() || row.unwrap().unwrap().hashes().len() > 1);
            mesh.agree()
        });
        assert!(seen.get() || number == 8, "the damage was there");
    }
    mesh.until(SOON, "it is healed", |mesh| shows_the_same(mesh, 1, 2) && healed(mesh, 1) == 1);
    assert_eq!(lost(&mesh, 1), 0);
}

/// Both regions took the same check-in, so the peer has the change, under its own dot alone. The place in this log is still
/// in the sending window.
#[test]
fn an_own_entry_that_no_peer_has_comes_back_from_the_sending_window() {
    let (mut mesh, _) = mesh(2, 1);
    mesh.cut(0, 1);
    let key = mesh.write(0, 50).0;
    assert_eq!(mesh.write(1, 50).0, key);
    mesh.run(Duration::from_secs(2));
    damage(&mesh, 0, &key);
    // The first one hears of the other's entry, and cannot send its own.
    mesh.mute.insert(0);
    mesh.cuts.clear();
    mesh.run(Duration::from_secs(20));
    mesh.mute.clear();
    mesh.until(SOON, "it is healed", |mesh| mesh.agree() && shows_the_same(mesh, 0, 1) && healed(mesh, 0) == 1);
    assert_eq!((lost(&mesh, 0), entries(&mesh, 0, &key).len()), (0, 2));
    let now = mesh.now(0);
    let erase = Write::Erase { name: key.name, lasting: false, reason: Reason::Subject };
    mesh.replica(0).handle_write(now, erase).unwrap();
    mesh.until(SOON, "it is erased", |mesh| mesh.agree() && !mesh.shows(1).contains(&key));
}

/// What comes in for a damaged document that no peer has whole is kept, and shown once the rest is known to be lost.
#[test]
fn what_is_left_of_a_lost_document_is_shown() {
    let (mut mesh, keys) = mesh(2, 2);
    let key = keys[0];
    let reader = Reader::new(mesh.storages[0].clone(), mesh.config(0, 0).max_retention);
    let row = reader.row(&key, View::applied(Wall(0))).unwrap().unwrap();
    let change = row.document().unwrap().amend(&key, &[("n", Some(Value::Int(7)))]).unwrap();
    mesh.cut(0, 1);
    damage(&mesh, 1, &key);
    let now = mesh.now(0);
    mesh.replica(0).handle_write(now, Write::Change { key, change: change.clone() }).unwrap();
    mesh.turn(0);
    // The creation is damaged on both disks, and the correction is on its way.
    let of = entries(&mesh, 0, &key).into_iter().map(|(dot, _)| dot).max_by_key(|dot| dot.seq).unwrap();
    let mut left = replication::Row::default();
    left.add(of, change.clone());
    overwrite(&mesh, 0, key.bucket(), row_key(&key), Some(&left.encode().unwrap()));
    mesh.cuts.clear();
    let shown = |mesh: &Mesh, at: usize| {
        let reader = Reader::new(mesh.storages[at].clone(), mesh.config(at, 0).max_retention);
        Some(reader.row(&key, View::applied(Wall(0))).ok()??.hashes())
    };
    mesh.until(SOON, "what is left is shown", |mesh| {
        shown(mesh, 1) == Some(BTreeSet::from([change.hash()])) && lost(mesh, 1) == 1
    });
    assert_eq!(shown(&mesh, 0), shown(&mesh, 1));
}

#[test]
fn a_damaged_row_is_not_sent_as_an_expired_one() {
    let (mut mesh, keys) = mesh(3, 1);
    mesh.cut(0, 2);
    mesh.cut(1, 2);
    let more: Vec<DocumentKey> = (10..20).map(|number| mesh.write(0, number).0).collect();
    mesh.until(SOON, "two have them", |mesh| mesh.shows(1).len() == 11);
    mesh.cut(0, 1);
    damage(&mesh, 0, &more[3]);
    // A process that starts does not have the entries in memory any more.
    mesh.kill(0);
    mesh.start(0);
    // Only the damaged origin reaches the region that lacks the entries.
    mesh.cuts.remove(&(0, 2));
    mesh.run(Duration::from_secs(8));
    let shown = mesh.shows(2);
    assert!(shown.is_superset(&more[..3].iter().copied().collect()), "what comes before is sent");
    assert!(!shown.contains(&more[4]), "the log waits for the damaged change");
    mesh.cuts.clear();
    mesh.until(SOON, "all show everything", |mesh| {
        mesh.agree() && shows_the_same(mesh, 2, 1) && shows_the_same(mesh, 0, 1) && mesh.shows(2).len() == 11
    });
    assert!(mesh.shows(2).contains(&keys[0]) && (0..3).all(|at| lost(&mesh, at) == 0));
}

#[test]
fn an_erasure_reaches_a_damaged_row() {
    let (mut mesh, keys) = mesh(2, 5);
    damage(&mesh, 0, &keys[2]);
    let now = mesh.now(0);
    let erase = Write::Erase { name: keys[2].name, lasting: false, reason: Reason::Subject };
    mesh.replica(0).handle_write(now, erase).unwrap();
    mesh.until(SOON, "both have erased it", |mesh| shows_the_same(mesh, 0, 1) && mesh.shows(1).len() == 4);
    assert!(mesh.storages[0].values().iter().all(|value| value != b"\x02 other bytes"), "no byte is left");
    let what = entries(&mesh, 0, &keys[2]).into_iter().map(|(_, entry)| entry.what);
    assert!(what.into_iter().all(|what| matches!(what, Reference::Erased(..))), "its log entry says so");
    mesh.run(SOON);
    assert_eq!((mesh.shows(0).len(), mesh.replica(0).status(now).damaged), (4, 0), "nothing brings it back");
}

#[test]
fn a_client_does_not_write_to_a_damaged_row() {
    let (mut mesh, keys) = mesh(2, 2);
    damage(&mesh, 0, &keys[1]);
    let repeat = || Change::create(&keys[1], &[("n", Value::Text("guest 1".into()))]);
    let now = mesh.now(0);
    let refused = mesh.replica(0).handle_write(now, Write::Change { key: keys[1], change: repeat() });
    assert!(matches!(refused, Err(WriteError::Damaged)), "{refused:?}");
    // The write has shown the damage, so no scrub is waited for.
    mesh.until(Duration::from_secs(2), "it is healed", |mesh| healed(mesh, 0) == 1);
    let now = mesh.now(0);
    mesh.replica(0).handle_write(now, Write::Change { key: keys[1], change: repeat() }).unwrap();
    mesh.until(SOON, "it is a repeat", |mesh| {
        mesh.events[0].iter().any(|e| matches!(e, Event::Written { outcome: replication::Outcome::Repeat, .. }))
    });
}

#[test]
fn what_no_peer_has_is_lost_and_holds_up_nothing() {
    let (mut mesh, keys) = mesh(3, 4);
    let damage_all = |mesh: &Mesh| (0..3).for_each(|at| damage(mesh, at, &keys[1]));
    damage_all(&mesh);
    mesh.until(SOON, "the sending window of its origin has it", |mesh| (0..3).all(|at| healed(mesh, at) == 1));
    // A new process has no window.
    mesh.kill(0);
    mesh.start(0);
    mesh.run(Duration::from_secs(5));
    damage_all(&mesh);
    mesh.until(SOON, "all say that it is lost", |mesh| (0..3).all(|at| lost(mesh, at) == 1));
    let late = mesh.write(0, 9).0;
    mesh.until(SOON, "logs go on", |mesh| mesh.agree() && (0..3).all(|at| shows_the_same(mesh, at, at)));
    assert!((0..3).all(|at| mesh.shows(at).contains(&late)));
    assert!((0..3).all(|at| mesh.shows(at).len() == 4 && entries(&mesh, at, &keys[1]).is_empty()));
}

#[test]
fn a_replica_without_peers_keeps_what_is_damaged() {
    let (mut mesh, keys) = mesh(1, 4);
    damage(&mesh, 0, &keys[1]);
    mesh.run(SOON);
    let now = mesh.now(0);
    assert_eq!((mesh.replica(0).status(now).damaged, lost(&mesh, 0)), (1, 0));
    assert!(mesh.storages[0].get(keys[1].bucket(), &row_key(&keys[1])).unwrap().is_some());
}

/// A peer could otherwise put entries into logs that are not its own.
#[test]
fn a_repair_that_nobody_asked_for_changes_nothing() {
    let (mut mesh, keys) = mesh(3, 4);
    mesh.cut(0, 1);
    overwrite(&mesh, 0, keys[1].bucket(), row_key(&keys[1]), None);
    mesh.until(SOON, "it is back", |mesh| healed(mesh, 0) == 1);
    let is_repair = |frame: &[u8]| matches!(Frame::decode(frame), Ok(Frame::Check(Check::Repair(_))));
    let repairs: Vec<_> = mesh.checks.iter().filter(|frame| is_repair(frame)).cloned().collect();
    assert!(!repairs.is_empty(), "the third replica has repaired it");
    // It would be taken if it had been asked for.
    overwrite(&mesh, 1, keys[1].bucket(), row_key(&keys[1]), None);
    let before = mesh.storages[1].values();
    let (now, link) = (mesh.now(1), mesh.link(1, 2));
    for frame in repairs {
        mesh.replica(1).handle_frame(now, link, &frame).unwrap();
    }
    mesh.turn(1);
    assert_eq!(mesh.storages[1].values(), before);
}

#[test]
fn a_repair_that_comes_after_an_erasure_brings_nothing_back() {
    let (mut mesh, keys) = mesh(2, 3);
    damage(&mesh, 0, &keys[1]);
    let is_want = |frame: &[u8]| matches!(Frame::decode(frame), Ok(Frame::Check(Check::Want(_))));
    mesh.until(SOON, "the peer is asked", |mesh| mesh.checks.iter().any(|frame| is_want(frame)));
    // The peer answers.
    mesh.tick();
    let is_repair = |frame: &[u8]| matches!(Frame::decode(frame), Ok(Frame::Check(Check::Repair(_))));
    assert!(mesh.checks.iter().any(|frame| is_repair(frame)));
    let now = mesh.now(0);
    let erase = Write::Erase { name: keys[1].name, lasting: false, reason: Reason::Subject };
    mesh.replica(0).handle_write(now, erase).unwrap();
    mesh.turn(0);
    // Its answer arrives.
    mesh.tick();
    let text = b"guest 1";
    assert!(mesh.storages[0].values().iter().all(|value| !value.windows(text.len()).any(|part| part == text)));
    mesh.until(SOON, "both have erased it", |mesh| mesh.agree() && shows_the_same(mesh, 0, 1));
    assert_eq!(mesh.shows(0).len(), 2);
}

/// Whether every replica has an entry of its log for each change of this row.
fn is_everywhere(mesh: &Mesh, key: &DocumentKey) -> bool {
    let first = entries(mesh, 0, key);
    !first.is_empty() && (1..mesh.storages.len()).all(|at| entries(mesh, at, key) == first)
}

/// Writes, erasures, cuts and deaths of processes, while rows are damaged or lost that every replica had. In the end all show
/// what was written and not erased.
#[test]
fn whatever_happens_beside_the_damage_all_replicas_end_whole() {
    let first = std::env::var("HEALING_FIRST").map_or(0, |seed| seed.parse().unwrap());
    for seed in first..first + seeds() {
        let mut draws = StdRng::seed_from_u64(seed);
        let (mut mesh, mut alive) = mesh(3, 20);
        let mut damaged = 0;
        for number in 100..160 {
            let at = draws.random_range(0..3);
            match draws.random_range(0..10) {
                0..3 => alive.push(mesh.write(at, number).0),
                3 => {
                    let key = alive.swap_remove(draws.random_range(0..alive.len()));
                    let now = mesh.now(at);
                    let erase = Write::Erase { name: key.name, lasting: false, reason: Reason::Subject };
                    if mesh.replica(at).handle_write(now, erase).is_err() {
                        alive.push(key);
                    }
                }
                4..7 => {
                    let key = alive[draws.random_range(0..alive.len())];
                    if is_everywhere(&mesh, &key) && (0..3).all(|other| holds_row(&mesh, other, &key)) {
                        damaged += 1;
                        let gone = draws.random_bool(0.3);
                        if gone {
                            overwrite(&mesh, at, key.bucket(), row_key(&key), None);
                        } else {
                            damage(&mesh, at, &key);
                        }
                    }
                }
                7 => mesh.cut(at, (at + 1) % 3),
                8 => mesh.cuts.clear(),
                _ => {
                    mesh.kill(at);
                    mesh.start(at);
                    mesh.run(Duration::from_secs(4));
                }
            }
            // What was taken is durable, so a process that dies next has acknowledged it.
            (0..3).for_each(|at| mesh.turn(at));
            mesh.run(Duration::from_millis(draws.random_range(0..1_500)));
        }
        mesh.cuts.clear();
        let whole: BTreeSet<DocumentKey> = alive.iter().copied().collect();
        let is_whole = |mesh: &Mesh| {
            mesh.agree() && shows_the_same(mesh, 0, 1) && shows_the_same(mesh, 1, 2) && mesh.shows(2) == whole
        };
        let limit = mesh.elapsed + Duration::from_secs(90);
        while !is_whole(&mesh) && mesh.elapsed < limit {
            mesh.tick();
        }
        let missing = |at: usize| whole.iter().filter(|key| !holds_row(&mesh, at, key)).collect::<Vec<_>>();
        let missing: Vec<_> = (0..3).map(missing).collect();
        assert!(is_whole(&mesh), "seed {seed}: missing {missing:?}, {:?}", mesh.events);
        assert!(damaged > 0 && (0..3).all(|at| lost(&mesh, at) == 0), "seed {seed}");
    }
}

/// How many seeds are run; `HEALING_SEEDS` asks for more, `HEALING_FIRST` for others.
fn seeds() -> u64 {
    std::env::var("HEALING_SEEDS").map_or(40, |seeds| seeds.parse().unwrap())
}

fn holds_row(mesh: &Mesh, at: usize, key: &DocumentKey) -> bool {
    let stored = mesh.storages[at].get(key.bucket(), &row_key(key)).unwrap();
    stored.is_some_and(|stored| replication::Row::decode(&stored).is_ok())
}
