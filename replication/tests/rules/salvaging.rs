//! Stores that lost buckets: entries that are left in the other buckets are not lost, and all regions show the same.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use crate::common::mesh::Mesh;
use replication::memory::MemoryStorage;
use replication::{Bucket, Change, DocumentKey, Value, Write};

const SOON: Duration = Duration::from_secs(30);

/// Takes a check-in that expires after so many days.
fn write(mesh: &mut Mesh, at: usize, number: u64, days: u64) -> DocumentKey {
    let key = mesh.key(number);
    let key = key.name.expiring(key.name.id.arrival().plus(Duration::from_hours(days * 24)));
    let change = Change::create(&key, &[("n", Value::Int(i64::try_from(number).unwrap()))]);
    let now = mesh.now(at);
    mesh.replica(at).handle_write(now, Write::Change { key, change }).unwrap();
    mesh.turn(at);
    key
}

fn lose(mesh: &mut Mesh, at: usize, bucket: Bucket) {
    mesh.kill(at);
    mesh.storages[at].lose_bucket(bucket);
}

fn both_show(mesh: &mut Mesh, keys: &[DocumentKey]) {
    mesh.until(SOON, "both show everything", |mesh| {
        (0..2).all(|at| keys.iter().all(|key| mesh.shows(at).contains(key))) && mesh.agree()
    });
}

#[test]
fn two_regions_that_lost_different_days_end_with_both() {
    lose_different_days(0);
}

/// The entry that the origin lost looks to it like half a batch, and its peer has that entry only as an orphan.
#[test]
fn two_regions_that_lost_different_entries_keep_the_newest() {
    lose_different_days(1);
}

/// The origin loses the entry with this number, its peer the other one.
fn lose_different_days(number: usize) {
    let mut mesh = Mesh::new(2);
    mesh.run(SOON);
    let keys = [write(&mut mesh, 0, 1, 3), write(&mut mesh, 0, 2, 5)];
    both_show(&mut mesh, &keys);
    lose(&mut mesh, 0, keys[number].bucket());
    lose(&mut mesh, 1, keys[1 - number].bucket());
    mesh.start(0);
    mesh.start(1);
    // One store has the first entry of a log and the other the second, and neither vector covers its own entry.
    both_show(&mut mesh, &keys);
    // A second start finds nothing to do.
    mesh.kill(1);
    mesh.start(1);
    mesh.run(SOON);
    both_show(&mut mesh, &keys);
}

#[test]
fn a_day_that_is_lost_right_after_its_first_batch_is_not_taken_for_half_a_batch() {
    let mut mesh = Mesh::new(2);
    mesh.run(SOON);
    let key = write(&mut mesh, 0, 1, 3);
    both_show(&mut mesh, &[key]);
    lose(&mut mesh, 0, key.bucket());
    mesh.start(0);
    both_show(&mut mesh, &[key]);
}

/// A batch after the start makes the half one look whole. So the store must remember that peers were not asked about
/// it.
#[test]
fn a_lost_day_is_not_taken_for_half_a_batch_after_a_second_start_either() {
    let mut mesh = Mesh::new(3);
    mesh.run(SOON);
    let key = write(&mut mesh, 0, 1, 3);
    both_show(&mut mesh, &[key]);
    lose(&mut mesh, 0, key.bucket());
    mesh.cut(0, 1);
    mesh.start(0);
    // The third region knows nothing of the first one's log, and has a new entry for it.
    mesh.cut(1, 2);
    mesh.kill(2);
    mesh.storages[2] = MemoryStorage::default();
    mesh.start(2);
    let news = write(&mut mesh, 2, 2, 7);
    mesh.until(Duration::from_secs(2), "the first has the news", |mesh| mesh.shows(0).contains(&news));
    let now = mesh.now(0);
    assert!(mesh.replica(0).status(now).starting, "the second region is not heard");
    mesh.kill(0);
    mesh.start(0);
    mesh.cuts.clear();
    mesh.until(SOON, "the first shows it again", |mesh| mesh.shows(0).contains(&key));
}

#[test]
fn an_older_bucket_does_not_prove_entries_of_a_day_that_was_lost_since() {
    let mut mesh = Mesh::new(2);
    mesh.run(SOON);
    let keys = [write(&mut mesh, 0, 1, 3), write(&mut mesh, 0, 2, 5)];
    both_show(&mut mesh, &keys);
    let before = mesh.storages[0].snapshot();
    mesh.cut(0, 1);
    lose(&mut mesh, 0, keys[0].bucket());
    mesh.start(0);
    // The store went back, so the id is new, and takes writes at once.
    let (third, fourth) = (write(&mut mesh, 0, 3, 5), write(&mut mesh, 0, 4, 5));
    mesh.kill(0);
    // The older state of the other day's bucket knew the lost entry.
    mesh.storages[0].revert_bucket(keys[1].bucket(), &before);
    mesh.start(0);
    mesh.cuts.clear();
    both_show(&mut mesh, &keys);
    // No other store had these when their day went back.
    assert!(mesh.shows(0).is_disjoint(&[third, fourth].into()));
}
