//! Two replicas stop greeting each other, however slow the network is, however often it repeats frames, and whichever
//! greeting it loses.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::common::turn;
use replication::memory::MemoryStorage;
use replication::{Frame, LinkId, Monotonic, NodeName, Now, Replica, ReplicaConfig, ReplicaId, Wall};

const LINK: LinkId = LinkId(1);
const STEP: Duration = Duration::from_millis(100);

struct Side {
    replica: Replica<MemoryStorage>,
    greetings: usize,
}

fn side(name: &str, peer: &str, id: u64, now: Now) -> Side {
    let peer: NodeName = peer.parse().unwrap();
    let peers = BTreeMap::from([(peer.clone(), peer.as_str().parse().unwrap())]);
    let config = ReplicaConfig::new(name.parse().unwrap(), name.parse().unwrap(), peers);
    let mut replica = Replica::open(config, MemoryStorage::default(), Box::new(move || ReplicaId(id)), now).unwrap();
    replica.handle_link_up(now, LINK, peer).unwrap();
    Side { replica, greetings: 0 }
}

fn now(step: usize) -> Now {
    let passed = STEP * u32::try_from(step).unwrap();
    Now { mono: Monotonic(passed), wall: Wall(1_800_000_000_000).plus(passed) }
}

/// Lets both run for ten seconds. Each frame arrives `copies` times, after this many steps, except for the first
/// greetings of each side, which are lost.
fn play(steps_under_way: usize, copies: usize, lost: [usize; 2]) -> [Side; 2] {
    let mut sides = [side("a", "b", 1, now(0)), side("b", "a", 2, now(0))];
    let mut wire: VecDeque<(usize, usize, Vec<u8>)> = VecDeque::new();
    for step in 0..100 {
        while let Some((_, to, bytes)) = wire.pop_front_if(|(arrives, ..)| *arrives <= step) {
            sides[to].replica.handle_frame(now(step), LINK, &bytes).unwrap();
        }
        for (from, side) in sides.iter_mut().enumerate() {
            for transmit in turn(&mut side.replica, now(step)).transmits {
                let is_greeting = matches!(Frame::decode(&transmit.frame), Ok(Frame::Hello(_)));
                side.greetings += usize::from(is_greeting);
                let is_lost = is_greeting && side.greetings <= lost[from];
                for _ in 0..if is_lost { 0 } else { copies } {
                    wire.push_back((step + steps_under_way, 1 - from, transmit.frame.to_vec()));
                }
            }
        }
    }
    sides
}

/// The greetings that each side sends.
fn greetings(steps_under_way: usize, copies: usize) -> [usize; 2] {
    play(steps_under_way, copies, [0, 0]).map(|side| side.greetings)
}

#[test]
fn one_greeting_each_is_enough_on_a_fast_link() {
    assert_eq!(greetings(1, 1), [1, 1]);
}

/// The round trip takes longer than a heartbeat, so greetings are repeated before they are answered.
#[test]
fn greetings_end_on_a_slow_link() {
    for side in greetings(8, 1) {
        assert!(side <= 6, "{side} greetings in ten seconds");
    }
}

#[test]
fn greetings_end_on_a_link_that_repeats_frames() {
    for side in greetings(2, 2) {
        assert!(side <= 6, "{side} greetings in ten seconds");
    }
}

/// If one side has the other's greeting and its own was lost, both still hear each other, so only a repeated greeting
/// mends the link.
#[test]
fn a_lost_greeting_is_repeated() {
    for lost in [[1, 0], [0, 1], [1, 1], [3, 2]] {
        for side in play(1, 1, lost) {
            let linked: Vec<_> = side.replica.status(now(99)).peers.into_iter().map(|peer| peer.replica).collect();
            assert!(matches!(linked[..], [Some(_)]), "{lost:?} greetings lost: {linked:?}");
            assert!(side.greetings <= 8, "{} greetings", side.greetings);
        }
    }
}
