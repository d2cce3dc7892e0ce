//! The driver without its thread: inputs go in by hand, time is set by hand, and nothing waits.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use replication::memory::MemoryStorage;
use replication::{
    Action, BatchId, Change, Collection, DocumentId, DocumentName, LinkId, Monotonic, NodeName, Now, Outcome, Reason,
    Replica, ReplicaConfig, ReplicaId, Storage as _, StorageError, TenantId, Transmit, Turn, Value, Wall, Write,
    WriteError,
};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{mpsc, oneshot, watch};

use super::super::changes::Changes;
use super::super::commits::Commits;
use super::super::handle::QueuedWrite;
use super::super::pulse::Pulse;
use super::super::queues::{Queues, Waits, Woken};
use super::super::{Control, LinkInput};
use super::{BATCH_RECORDS, Driver, LINK_LINGER, LINK_NAP, LINK_RECORDS, Outputs};
use crate::clock::Clock;
use crate::metrics::Metrics;

const LINK: LinkId = LinkId(1);
/// Every sync takes so long that it is left to the committer.
const SLOW: Duration = Duration::from_millis(50);
const START: Wall = Wall(1_800_000_000_000);

/// A clock that a test sets, in microseconds.
#[derive(Default)]
struct Hands(AtomicU64);

impl Clock for Hands {
    fn now(&self) -> Now {
        let passed = Duration::from_micros(self.0.load(Ordering::Relaxed));
        Now { mono: Monotonic(passed), wall: START.plus(passed) }
    }
}

type Answer = oneshot::Receiver<Result<Outcome, WriteError>>;

/// A driver with the other ends of its queues.
struct Desk {
    driver: Driver,
    storage: MemoryStorage,
    hands: Arc<Hands>,
    writes: mpsc::Sender<QueuedWrite>,
    links: mpsc::Sender<LinkInput>,
    batches: std::sync::mpsc::Receiver<BatchId>,
}

fn open(name: &str, peer: &str, id: u64, storage: MemoryStorage, now: Now) -> Replica<MemoryStorage> {
    let peers = BTreeMap::from([(peer.parse().unwrap(), peer.parse().unwrap())]);
    let config = ReplicaConfig::new(name.parse().unwrap(), name.parse().unwrap(), peers);
    Replica::open(config, storage, Box::new(move || ReplicaId(id)), now).unwrap()
}

fn desk() -> Desk {
    let (storage, hands) = (MemoryStorage::default(), Arc::new(Hands::default()));
    let peers = BTreeMap::from([("b".parse().unwrap(), "b".parse().unwrap())]);
    let config = ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), peers);
    let store: crate::storage::Store = Arc::new(storage.clone());
    let replica = Replica::open(config, store.clone(), Box::new(|| ReplicaId(1)), hands.now()).unwrap();
    let (writes_in, writes) = mpsc::channel(1_000);
    let (links_in, links) = mpsc::channel(1_000);
    let (_, control) = mpsc::unbounded_channel();
    let (committer, batches) = std::sync::mpsc::channel();
    let status = watch::channel(Arc::new(replica.status(hands.now()))).0;
    let (applied, durable) = (watch::channel(BatchId(0)).0, watch::channel(BatchId(0)).0);
    let outputs = Outputs { status, applied, durable, changes: Arc::new(Changes::default()) };
    let pulse = Arc::new(Pulse::new(hands.clone(), Duration::from_millis(500)));
    let metrics = Arc::new(Metrics::new().unwrap());
    let queues = Queues { writes, links, control, unreadable: std::sync::mpsc::sync_channel(1).1 };
    let commits = Commits::new(store, committer);
    let driver = Driver::new(replica, hands.clone(), metrics, queues, outputs, commits, pulse);
    Desk { driver, storage, hands, writes: writes_in, links: links_in, batches }
}

impl Desk {
    fn pass(&self, time: Duration) {
        self.hands.0.fetch_add(u64::try_from(time.as_micros()).unwrap(), Ordering::Relaxed);
    }

    /// Carries out an input of a node that runs on.
    fn apply(&mut self, woken: Woken) -> Waits {
        match self.driver.apply(woken).unwrap() {
            ControlFlow::Continue(waits) => waits,
            ControlFlow::Break(()) => panic!("the driver has stopped"),
        }
    }

    /// The disk makes a batch durable.
    fn sync(&mut self, batch: BatchId) -> ControlFlow<(), Waits> {
        self.storage.sync().unwrap();
        self.driver.apply(Woken::Control(Control::Durable(batch, SLOW))).unwrap()
    }

    /// The peer connects. It can receive `room` frames that the test does not read.
    fn connect(&mut self, room: usize) -> mpsc::Receiver<Arc<[u8]>> {
        let (frames, sent) = mpsc::channel(room);
        self.apply(Woken::Link(LinkInput::Up { link: LINK, peer: "b".parse().unwrap(), frames }));
        sent
    }
}

fn create(number: u64) -> Write {
    let id = DocumentId::arriving(START, u128::from(number).to_be_bytes()[6..].try_into().unwrap());
    let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id };
    let key = name.expiring(START.plus(Duration::from_hours(24)));
    Write::Change { key, change: Change::create(&key, &[("n", Value::Int(1))]) }
}

fn write(number: u64) -> (QueuedWrite, Answer) {
    let (reply, answer) = oneshot::channel();
    (QueuedWrite { before: None, write: create(number), seen: Vec::new(), reply }, answer)
}

/// What the peer sends: its greeting, and then one frame for each of its own writes.
struct Peer {
    replica: Replica<MemoryStorage>,
    written: u64,
}

impl Peer {
    fn new(now: Now) -> Peer {
        let mut replica = open("b", "a", 2, MemoryStorage::default(), now);
        let peer: NodeName = "a".parse().unwrap();
        replica.handle_link_up(now, LINK, peer).unwrap();
        Peer { replica, written: 1_000_000 }
    }

    fn write(&mut self, now: Now) {
        self.written += 1;
        self.replica.handle_write(now, create(self.written)).unwrap();
    }

    fn turn(&mut self, now: Now) -> Vec<Vec<u8>> {
        let (mut turn, mut frames) = (Turn::new(now), Vec::new());
        while let Some(action) = self.replica.drive(&mut turn).unwrap() {
            match action {
                Action::Batch(_) => self.replica.settle_batches(now).unwrap(),
                Action::Send(Transmit { frame, .. }) => frames.push(frame.to_vec()),
                Action::Timers { .. } | Action::Report(_) => {}
            }
        }
        frames
    }
}

/// Driver and peer greet each other, and the batch of the greeting is durable.
fn greeted(desk: &mut Desk, room: usize) -> (Peer, mpsc::Receiver<Arc<[u8]>>) {
    let mut peer = Peer::new(desk.hands.now());
    let mut sent = desk.connect(room);
    for _ in 0..3 {
        for bytes in peer.turn(desk.hands.now()) {
            desk.apply(Woken::Link(LinkInput::Frame { link: LINK, bytes }));
        }
        while let Ok(frame) = sent.try_recv() {
            peer.replica.handle_frame(desk.hands.now(), LINK, &frame).unwrap();
        }
    }
    while let Ok(batch) = desk.batches.try_recv() {
        assert!(desk.sync(batch).is_continue());
    }
    (peer, sent)
}

#[test]
fn a_write_is_answered_once_its_batch_is_durable() {
    let mut desk = desk();
    let (queued, mut answer) = write(1);
    desk.apply(Woken::Write(queued));
    let batch = desk.batches.try_recv().unwrap();
    assert_eq!(answer.try_recv().unwrap_err(), TryRecvError::Empty, "the disk is not done");
    assert!(desk.sync(batch).is_continue());
    assert!(matches!(answer.try_recv().unwrap(), Ok(Outcome::Created(_))));
}

#[test]
fn writes_gather_while_the_disk_works() {
    let mut desk = desk();
    let (queued, _first) = write(1);
    desk.apply(Woken::Write(queued));
    let batch = desk.batches.try_recv().unwrap();
    let mut answers = Vec::new();
    for number in 2..=5 {
        let (queued, answer) = write(number);
        desk.apply(Woken::Write(queued));
        answers.push(answer);
    }
    assert!(desk.batches.try_recv().is_err(), "one batch at a time");
    assert!(desk.sync(batch).is_continue());
    let next = desk.batches.try_recv().unwrap();
    assert!(desk.sync(next).is_continue());
    for mut answer in answers {
        assert!(matches!(answer.try_recv().unwrap(), Ok(Outcome::Created(_))), "all in the second batch");
    }
}

#[test]
fn whatever_wakes_the_driver_the_writes_that_wait_are_taken_up_to_a_batch() {
    let mut desk = desk();
    for number in 0..BATCH_RECORDS as u64 + 10 {
        desk.writes.try_send(write(number).0).unwrap_or_else(|_| panic!("there is room"));
    }
    let waits = desk.apply(Woken::Time);
    assert_eq!(desk.driver.waiting.len(), BATCH_RECORDS);
    assert!(waits.for_writes, "the next batch is being gathered");
    desk.apply(Woken::Time);
    assert_eq!(desk.driver.waiting.len(), BATCH_RECORDS + 10);
}

#[test]
fn a_batch_of_links_alone_waits_for_a_local_write_but_not_long() {
    for with_write in [false, true] {
        let mut desk = desk();
        let (mut peer, _sent) = greeted(&mut desk, 100);
        peer.write(desk.hands.now());
        let frames = peer.turn(desk.hands.now());
        assert!(!frames.is_empty());
        let mut waits = None;
        for bytes in frames {
            waits = Some(desk.apply(Woken::Link(LinkInput::Frame { link: LINK, bytes })));
        }
        assert!(waits.is_some_and(|waits| waits.at_most <= LINK_LINGER), "{waits:?}");
        assert!(desk.batches.try_recv().is_err(), "more may come");
        if with_write {
            desk.apply(Woken::Write(write(1).0));
        } else {
            desk.pass(LINK_LINGER);
            desk.apply(Woken::Time);
        }
        assert!(desk.batches.try_recv().is_ok(), "with a write: {with_write}");
    }
}

#[test]
fn after_a_commit_frames_wait_for_a_write_or_the_end_of_a_nap() {
    let mut desk = desk();
    assert_eq!(desk.apply(Woken::Time).nap, Duration::ZERO, "nothing was committed");
    desk.pass(Duration::from_secs(1));
    let waits = desk.apply(Woken::Write(write(1).0));
    assert_eq!(waits.nap, LINK_NAP);
    desk.pass(LINK_NAP / 2);
    let batch = desk.batches.try_recv().unwrap();
    let ControlFlow::Continue(waits) = desk.sync(batch) else { panic!("the driver has stopped") };
    assert_eq!(waits.nap, LINK_NAP / 2);
    desk.pass(LINK_NAP / 2);
    assert_eq!(desk.apply(Woken::Time).nap, Duration::ZERO);
}

#[test]
fn a_small_batch_of_a_fast_disk_is_durable_when_the_turn_ends() {
    let mut desk = desk();
    let mut number = 0;
    loop {
        number += 1;
        assert!(number < 100, "the disk counts as fast");
        let (queued, mut answer) = write(number);
        desk.apply(Woken::Write(queued));
        let Ok(batch) = desk.batches.try_recv() else {
            assert!(matches!(answer.try_recv().unwrap(), Ok(Outcome::Created(_))));
            break;
        };
        desk.storage.sync().unwrap();
        let _ = desk.driver.apply(Woken::Control(Control::Durable(batch, Duration::ZERO))).unwrap();
    }
    assert!(desk.driver.waiting.is_empty());
}

#[test]
fn links_get_a_bounded_share_of_a_batch() {
    let mut desk = desk();
    let (mut peer, _sent) = greeted(&mut desk, 100);
    // The disk works on a batch, so nothing that comes now goes to the disk.
    desk.apply(Woken::Write(write(1).0));
    let now = desk.hands.now();
    let frames = (0..LINK_RECORDS + 20).flat_map(|_| {
        peer.write(now);
        let own = peer.replica.id();
        let frames = peer.turn(now);
        // Acknowledged at once, so that each entry has a frame of its own.
        let known = peer.replica.durable().get(own);
        let told = replication::Progress {
            vector: [(own, known)].into_iter().collect(),
            received: vec![],
            claim: None,
            horizon: Wall(0),
            wall: now.wall,
            direct: vec![own],
            missing: vec![],
        };
        peer.replica.handle_frame(now, LINK, &replication::Frame::Progress(told).encode()).unwrap();
        frames
    });
    let frames: Vec<Vec<u8>> = frames.collect();
    assert!(frames.len() > LINK_RECORDS, "{}", frames.len());
    for bytes in frames {
        desk.links.try_send(LinkInput::Frame { link: LINK, bytes }).unwrap_or_else(|_| panic!("there is room"));
    }
    let mut waits = desk.apply(Woken::Time);
    for _ in 0..5 {
        waits = desk.apply(Woken::Time);
    }
    assert!(!waits.for_links && waits.for_writes, "{waits:?}");
    assert!(desk.driver.link_records >= LINK_RECORDS);
    assert!(!desk.driver.queues.links.is_empty(), "the rest waits for the next batch");
}

#[test]
fn a_link_that_takes_no_more_frames_is_closed() {
    let mut desk = desk();
    let (_peer, mut sent) = greeted(&mut desk, 2);
    for _ in 0..6 {
        desk.pass(Duration::from_millis(500));
        desk.apply(Woken::Time);
    }
    while sent.try_recv().is_ok() {}
    assert!(sent.is_closed() && desk.driver.links.is_empty(), "its peer did not read for three heartbeats");
}

#[test]
fn a_frame_that_does_not_decode_closes_its_link_alone() {
    let mut desk = desk();
    let (_peer, sent) = greeted(&mut desk, 100);
    desk.apply(Woken::Link(LinkInput::Frame { link: LINK, bytes: vec![0xff; 3] }));
    assert!(sent.is_closed());
    let (queued, mut answer) = write(1);
    desk.apply(Woken::Write(queued));
    let batch = desk.batches.try_recv().unwrap();
    assert!(desk.sync(batch).is_continue());
    assert!(answer.try_recv().unwrap().is_ok());
}

#[test]
fn a_driver_that_stops_takes_the_writes_that_were_queued_and_makes_them_durable() {
    let mut desk = desk();
    let (queued, mut early) = write(1);
    desk.apply(Woken::Write(queued));
    let (queued, mut late) = write(2);
    desk.writes.try_send(queued).unwrap_or_else(|_| panic!("there is room"));
    desk.apply(Woken::Control(Control::Stop));
    assert!(desk.writes.try_send(write(3).0).is_err(), "no write is queued any more");
    let queued = desk.driver.queues.writes.try_recv().unwrap_or_else(|_| panic!("it was queued before"));
    desk.apply(Woken::Write(queued));
    desk.apply(Woken::NoMoreWrites);
    let mut batches = 0;
    loop {
        let batch = desk.batches.try_recv().unwrap();
        batches += 1;
        if desk.sync(batch).is_break() {
            break;
        }
    }
    assert!(batches >= 2, "{batches}");
    assert!(early.try_recv().unwrap().is_ok() && late.try_recv().unwrap().is_ok());
}

#[test]
fn a_disk_that_failed_and_a_committer_that_is_gone_end_the_driver() {
    assert!(desk().driver.apply(Woken::Control(Control::Failed(StorageError::Poisoned))).is_err());
    assert!(desk().driver.apply(Woken::Abandoned).is_err());
    let mut desk = desk();
    drop(std::mem::replace(&mut desk.batches, std::sync::mpsc::channel().1));
    assert!(desk.driver.apply(Woken::Write(write(1).0)).is_err());
}

fn queued(write: Write) -> (QueuedWrite, Answer) {
    let (reply, answer) = oneshot::channel();
    (QueuedWrite { before: None, write, seen: Vec::new(), reply }, answer)
}

/// Otherwise a guest could be told that a visit is gone, and find it again after a crash.
#[test]
fn gone_is_answered_once_the_erasure_is_durable() {
    for is_disk_busy in [false, true] {
        let mut desk = desk();
        let (first, _answer) = write(1);
        desk.apply(Woken::Write(first));
        let mut batch = desk.batches.try_recv().unwrap();
        assert!(desk.sync(batch).is_continue());
        if is_disk_busy {
            desk.apply(Woken::Write(write(2).0));
            batch = desk.batches.try_recv().unwrap();
        }
        let Write::Change { key, .. } = create(1) else { unreachable!() };
        let erase = Write::Erase { name: key.name, lasting: false, reason: Reason::Subject };
        desk.apply(Woken::Write(queued(erase).0));
        let (again, mut gone) = write(1);
        desk.apply(Woken::Write(again));
        assert_eq!(gone.try_recv().unwrap_err(), TryRecvError::Empty, "the tombstone is not durable");
        if is_disk_busy {
            assert!(desk.sync(batch).is_continue());
            assert_eq!(gone.try_recv().unwrap_err(), TryRecvError::Empty, "it is in the next batch");
        }
        let batch = desk.batches.try_recv().unwrap();
        assert!(desk.sync(batch).is_continue());
        assert!(matches!(gone.try_recv().unwrap(), Err(WriteError::Gone)));
        // What is durable already waits for nothing.
        while let Ok(batch) = desk.batches.try_recv() {
            assert!(desk.sync(batch).is_continue());
        }
        let (again, mut gone) = write(1);
        desk.apply(Woken::Write(again));
        assert!(matches!(gone.try_recv().unwrap(), Err(WriteError::Gone)));
    }
}
