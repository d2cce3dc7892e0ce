//! Acknowledgements and retries: an owed acknowledgement is sent, a lost frame is sent again at the first sign of its
//! loss, and a partly filled frame does not wait for an acknowledgement.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use crate::common::{START, config, greet};
use replication::memory::MemoryStorage;
use replication::{
    BatchId, Body, Change, Collection, Delta, Deltas, DocumentId, DocumentName, Dot, Event, Frame, Hlc, LinkError,
    LinkId, Monotonic, Now, Progress, Replica, ReplicaId, Storage as _, TenantId, Value, VersionVector, Wall, Write,
};

const LINK: LinkId = LinkId(1);
const PEER: ReplicaId = ReplicaId(101);

fn ms(ms: u64) -> Now {
    let time = Duration::from_millis(ms);
    Now { mono: Monotonic(time), wall: START.plus(time) }
}

fn change(number: u64) -> (replication::DocumentKey, Change) {
    let mut rest = [0; 10];
    rest[2..].copy_from_slice(&number.to_be_bytes());
    let id = DocumentId::arriving(START, rest);
    let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id };
    let key = name.expiring(START.plus(Duration::from_hours(100)));
    (key, Change::create(&key, &[("n", Value::Text(format!("guest {number}")))]))
}

fn open(storage: &MemoryStorage) -> Replica<MemoryStorage> {
    let mut replica = Replica::open(config(), storage.clone(), Box::new(|| ReplicaId(1)), ms(0)).unwrap();
    greet(&mut replica, ms(0), 1, "b", 0);
    frames(&mut replica, ms(0));
    replica
}

fn entry(seq: u64) -> Frame {
    let (key, change) = change(seq);
    let delta = Delta { dot: Dot { origin: PEER, seq }, hlc: Hlc(START.0 << 16), key, body: Body::Change(change) };
    Frame::Deltas(Deltas { origin: PEER, after: seq - 1, through: seq, heads: None, entries: vec![delta] })
}

fn frames(replica: &mut Replica<MemoryStorage>, now: Now) -> Vec<Frame> {
    let transmits = std::iter::from_fn(|| replica.poll_transmit(now).unwrap());
    transmits.map(|transmit| Frame::decode(&transmit.frame).unwrap()).collect()
}

fn durable(replica: &mut Replica<MemoryStorage>, storage: &MemoryStorage, now: Now, batch: BatchId) {
    storage.sync().unwrap();
    replica.handle_durable(now, batch).unwrap();
}

/// How far the last `Progress` among these frames acknowledges the peer's log.
fn acknowledged(frames: &[Frame]) -> Option<u64> {
    let mut told =
        frames.iter().rev().filter_map(|frame| if let Frame::Progress(told) = frame { Some(told) } else { None });
    told.next().map(|told| told.vector.get(PEER))
}

/// Once the end of an earlier batch, which did not hold the frame, cleared the acknowledgement that was owed.
#[test]
fn a_frame_that_arrives_during_a_sync_is_acknowledged_with_its_own_batch() {
    let storage = MemoryStorage::default();
    let mut replica = open(&storage);
    replica.handle_frame(ms(1), LINK, &entry(1).encode()).unwrap();
    let first = replica.poll_batch().unwrap().unwrap();
    replica.handle_frame(ms(2), LINK, &entry(2).encode()).unwrap();
    durable(&mut replica, &storage, ms(3), first);
    assert!(acknowledged(&frames(&mut replica, ms(3))).is_none_or(|seq| seq == 1));
    let second = replica.poll_batch().unwrap().unwrap();
    durable(&mut replica, &storage, ms(5), second);
    assert_eq!(acknowledged(&frames(&mut replica, ms(5))), Some(2), "at once, and not with the next heartbeat");
}

fn take(replica: &mut Replica<MemoryStorage>, storage: &MemoryStorage, now: Now, number: u64) {
    let (key, change) = change(number);
    replica.handle_write(now, Write::Change { key, change }).unwrap();
    let batch = replica.poll_batch().unwrap().unwrap();
    durable(replica, storage, now, batch);
}

fn entries(frames: &[Frame]) -> usize {
    frames.iter().map(|frame| if let Frame::Deltas(deltas) = frame { deltas.entries.len() } else { 0 }).sum()
}

#[test]
fn a_partly_filled_frame_waits_a_few_milliseconds_and_no_round_trip() {
    let storage = MemoryStorage::default();
    let mut replica = open(&storage);
    replica.handle_timeout(ms(10)).unwrap();
    take(&mut replica, &storage, ms(10), 0);
    assert_eq!(entries(&frames(&mut replica, ms(10))), 1, "the first at once");
    for number in 2..6 {
        take(&mut replica, &storage, ms(11), number);
        assert_eq!(entries(&frames(&mut replica, ms(11))), 0, "more may come");
    }
    let due = replica.poll_timeout();
    assert!(due > ms(11).mono && due <= ms(20).mono, "{due:?}");
    let later = ms(20);
    let sent = frames(&mut replica, later);
    assert_eq!((entries(&sent), sent.iter().filter(|f| matches!(f, Frame::Deltas(_))).count()), (4, 1), "in one frame");
}

fn progress(replica: &mut Replica<MemoryStorage>, now: Now, known: u64, received: u64) {
    let own = replica.id();
    let vector: VersionVector = [(own, known)].into_iter().collect();
    let received = if received > known { vec![(own, received)] } else { vec![] };
    let direct = vec![own];
    let told = Progress { vector, received, claim: None, horizon: Wall(0), wall: now.wall, direct, missing: vec![] };
    replica.handle_frame(now, LINK, &Frame::Progress(told).encode()).unwrap();
}

/// Research finding A: outages whose period divides the resend timer swallowed every resend.
#[test]
fn a_progress_that_shows_a_loss_is_answered_at_once() {
    let storage = MemoryStorage::default();
    let mut replica = open(&storage);
    // An acknowledgement takes 100 ms on this link.
    take(&mut replica, &storage, ms(1_000), 0);
    assert_eq!(entries(&frames(&mut replica, ms(1_000))), 1);
    progress(&mut replica, ms(1_100), 1, 1);
    take(&mut replica, &storage, ms(1_200), 1);
    assert_eq!(entries(&frames(&mut replica, ms(1_200))), 1, "and this one is lost");
    progress(&mut replica, ms(1_250), 1, 1);
    assert_eq!(entries(&frames(&mut replica, ms(1_250))), 0, "it may still be on its way");
    progress(&mut replica, ms(1_700), 1, 1);
    assert_eq!(entries(&frames(&mut replica, ms(1_700))), 1, "sent again");
    progress(&mut replica, ms(2_200), 1, 2);
    assert_eq!(entries(&frames(&mut replica, ms(2_200))), 0, "it is on its way to the disk there");
    progress(&mut replica, ms(2_700), 2, 2);
    assert_eq!(entries(&frames(&mut replica, ms(2_700))), 0);
}

#[test]
fn a_heartbeat_that_is_short_against_the_round_trip_is_warned_of() {
    let storage = MemoryStorage::default();
    let mut replica = open(&storage);
    take(&mut replica, &storage, ms(0), 0);
    frames(&mut replica, ms(0));
    progress(&mut replica, ms(2_100), 1, 1);
    replica.handle_timeout(ms(2_500)).unwrap();
    replica.handle_timeout(ms(3_500)).unwrap();
    let warned = std::iter::from_fn(|| replica.poll_event()).filter(|event| matches!(event, Event::SlowLink { .. }));
    assert_eq!(warned.count(), 1, "once");
}

/// A thread that stood still for half a minute once dropped every link, though their frames were waiting.
#[test]
fn a_stall_of_the_process_does_not_count_as_silence_of_its_peers() {
    let storage = MemoryStorage::default();
    let mut replica = open(&storage);
    replica.handle_timeout(ms(500)).unwrap();
    replica.handle_timeout(ms(30_000)).unwrap();
    let closed = |replica: &mut Replica<MemoryStorage>| {
        std::iter::from_fn(|| replica.poll_event()).any(|event| matches!(event, Event::CloseLink { .. }))
    };
    assert!(!closed(&mut replica));
    for at in 61..80 {
        replica.handle_timeout(ms(at * 500)).unwrap();
    }
    assert!(closed(&mut replica), "silence while the process runs counts");
}

/// Two processes run as `b`: the one that was replaced speaks again.
#[test]
fn two_processes_on_one_name_are_noticed() {
    let storage = MemoryStorage::default();
    let mut replica = open(&storage);
    greet(&mut replica, ms(100), 2, "b", 0);
    // `greet` gives each link a process of its own; the first one's comes again.
    replica.handle_link_up(ms(200), LinkId(3), "b".parse().unwrap()).unwrap();
    let hello = replication::Hello {
        replica: ReplicaId(101),
        node: "b".parse().unwrap(),
        region: "b".parse().unwrap(),
        boot: 1,
        vector: VersionVector::default(),
        seen: VersionVector::default(),
        yours: None,
        wall: ms(200).wall,
        max_retention_ms: u64::try_from(config().max_retention.as_millis()).unwrap(),
        newest: replication::Protocol::NEWEST,
    };
    let refused = replica.handle_frame(ms(200), LinkId(3), &Frame::Hello(hello).encode());
    assert!(matches!(refused, Err(LinkError::TwoProcesses { .. })), "{refused:?}");
}
