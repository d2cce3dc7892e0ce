//! Faults that begin and end.

use std::sync::Arc;
use std::time::Duration;

use api::faults::{Act, Direction, NewFault};
use parking_lot::Mutex;
use replication::{Monotonic, NodeName, Now, Wall};
use service::listen::Gate;
use tokio::sync::{mpsc, watch};

use super::{Faults, FrameFate, MOST, NotBegun, SteppedClock, disturb};
use crate::clock::Clock;
use crate::metrics::Metrics;

/// A clock that a test moves.
#[derive(Default)]
struct Hands(Mutex<Duration>);

const BEGUN: u64 = 1_780_000_000_000;

impl Clock for Hands {
    fn now(&self) -> Now {
        let now = *self.0.lock();
        Now { mono: Monotonic(now), wall: Wall(BEGUN).plus(now) }
    }
}

fn faults() -> (Faults, Arc<Hands>) {
    let hands = Arc::new(Hands::default());
    (Faults::new(true, hands.clone(), Arc::new(Metrics::new().expect("metrics register"))), hands)
}

fn new(act: Act, seconds: u64) -> NewFault {
    NewFault { act, lasts: Duration::from_secs(seconds), by: "mk".into(), reason: String::new() }
}

fn peer(name: &str) -> NodeName {
    name.parse().expect("a name")
}

#[test]
fn a_fault_is_there_until_its_time_is_over_or_it_is_ended() {
    let (faults, hands) = faults();
    let gate = faults.gate();
    let gate = || *gate.borrow();
    let first = faults.begin(new(Act::HangClients {}, 10)).expect("begins");
    let second = faults.begin(new(Act::RefuseClients {}, 20)).expect("begins");
    assert!(first.id != second.id && first.until.0 == Wall(BEGUN + 10_000));
    assert_eq!(gate(), Gate::Refuses, "the stricter one counts");
    assert_eq!(faults.end(Some(second.id)), 1);
    assert_eq!((faults.end(Some(second.id)), gate()), (0, Gate::Hangs));
    *hands.0.lock() = Duration::from_secs(9);
    faults.expire();
    assert_eq!(faults.shown().len(), 1);
    *hands.0.lock() = Duration::from_secs(10);
    faults.expire();
    assert_eq!((gate(), faults.shown().len()), (Gate::Open, 0));
    for _ in 0..MOST {
        faults.begin(new(Act::Unready {}, 10)).expect("begins");
    }
    assert!(faults.begin(new(Act::Unready {}, 10)).is_err() && faults.is_unready());
    assert_eq!((faults.end(None), faults.is_unready()), (MOST, false));
}

#[tokio::test]
async fn what_nobody_ends_ends_by_itself_and_a_node_that_stops_ends_all() {
    let (faults, hands) = faults();
    let (stop, stopping) = watch::channel(false);
    let keeper = tokio::spawn(faults.clone().keep(stopping));
    faults.begin(new(Act::Unready {}, 1)).expect("begins");
    *hands.0.lock() = Duration::from_secs(1);
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert!(!faults.is_unready());
    faults.begin(new(Act::Unready {}, 1_000)).expect("begins");
    stop.send_replace(true);
    keeper.await.expect("ends");
    assert!(!faults.is_unready());
    assert_eq!(faults.begin(new(Act::Unready {}, 1)).err(), Some(NotBegun::Stopping));
}

#[test]
fn a_stepped_clock_is_wrong_in_its_wall_reading_alone() {
    let (faults, hands) = faults();
    let clock = SteppedClock { right: hands, faults: faults.clone() };
    assert_eq!(clock.now().wall, Wall(BEGUN));
    faults.begin(new(Act::ClockStep { by_ms: -90_000 }, 10)).expect("begins");
    faults.begin(new(Act::ClockStep { by_ms: 30_000 }, 10)).expect("begins");
    assert_eq!((clock.now().wall, clock.now().mono), (Wall(BEGUN - 60_000), Monotonic(Duration::ZERO)));
    faults.end(None);
    assert_eq!(clock.now().wall, Wall(BEGUN));
}

#[test]
fn a_partition_cuts_the_named_links_in_the_named_direction() {
    let (faults, _) = faults();
    let fate = |name: &str, direction| faults.fate(&peer(name), direction, || 0.5);
    let passes = FrameFate::Passes(Duration::ZERO);
    faults.begin(new(Act::Partition { to: vec![peer("us")], direction: Direction::In }, 10)).expect("begins");
    assert_eq!((fate("us", Direction::In), fate("us", Direction::Out)), (FrameFate::Lost, passes));
    assert_eq!(fate("ap", Direction::In), passes);
    assert!(faults.is_cut(&peer("us")) && !faults.is_cut(&peer("ap")));
    faults.end(None);
    faults.begin(new(Act::Partition { to: Vec::new(), direction: Direction::Both }, 10)).expect("begins");
    assert!(["us", "ap"].iter().all(|name| fate(name, Direction::Out) == FrameFate::Lost));
    faults.end(None);
    let late =
        |loss| Act::Degrade { to: Vec::new(), direction: Direction::Both, latency: Duration::from_secs(1), loss };
    faults.begin(new(late(0.4), 10)).expect("begins");
    assert_eq!(fate("us", Direction::In), FrameFate::Passes(Duration::from_secs(1)), "0.5 is not below 0.4");
    faults.begin(new(late(0.6), 10)).expect("begins");
    assert_eq!(fate("us", Direction::In), FrameFate::Lost);
}

#[tokio::test]
async fn late_frames_keep_their_order_and_lost_ones_never_come() {
    let (faults, _) = faults();
    let late = Act::Degrade { to: Vec::new(), direction: Direction::Both, latency: Duration::from_secs(2), loss: 0.0 };
    let slow = faults.begin(new(late, 3_600)).expect("begins");
    let ((into, from), (to, mut out)) = (mpsc::channel(8), mpsc::channel(8));
    tokio::spawn(disturb(faults.clone(), peer("us"), Direction::In, from, to));
    let begun = tokio::time::Instant::now();
    for number in 0..3 {
        into.send(number).await.expect("runs");
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(out.try_recv().is_err(), "they are held back");
    faults.end(Some(slow.id));
    into.send(3).await.expect("runs");
    for number in 0..4 {
        assert_eq!(out.recv().await, Some(number));
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "nothing is late once the fault is over");
    let cut = faults.begin(new(Act::Partition { to: Vec::new(), direction: Direction::In }, 3_600)).expect("begins");
    into.send(4).await.expect("runs");
    tokio::time::sleep(Duration::from_millis(200)).await;
    faults.end(Some(cut.id));
    into.send(5).await.expect("runs");
    assert_eq!(out.recv().await, Some(5));
    // The link ends: frames that were read before still arrive.
    into.send(6).await.expect("runs");
    drop(into);
    assert_eq!((out.recv().await, out.recv().await), (Some(6), None));
}
