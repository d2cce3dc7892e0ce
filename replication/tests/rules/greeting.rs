//! Two replicas that greet each other come to an end with it, however slow the network and however often it repeats.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use replication::memory::MemoryStorage;
use replication::{Frame, LinkId, Monotonic, NodeName, Now, Replica, ReplicaConfig, ReplicaId, Storage as _, Wall};

const LINK: LinkId = LinkId(1);
const STEP: Duration = Duration::from_millis(100);

struct Side {
    replica: Replica<MemoryStorage>,
    storage: MemoryStorage,
    greetings: usize,
}

fn side(name: &str, peer: &str, id: u64, now: Now) -> Side {
    let peer: NodeName = peer.parse().unwrap();
    let peers = BTreeMap::from([(peer.clone(), peer.as_str().parse().unwrap())]);
    let config = ReplicaConfig::new(name.parse().unwrap(), name.parse().unwrap(), peers);
    let storage = MemoryStorage::default();
    let mut replica = Replica::open(config, storage.clone(), Box::new(move || ReplicaId(id)), now).unwrap();
    replica.handle_link_up(now, LINK, peer).unwrap();
    Side { replica, storage, greetings: 0 }
}

/// Lets both run for ten seconds; each frame arrives `copies` times, after so many steps. Returns the greetings sent.
fn greetings(steps_under_way: usize, copies: usize) -> [usize; 2] {
    let now = |step: usize| {
        let passed = STEP * u32::try_from(step).unwrap();
        Now { mono: Monotonic(passed), wall: Wall(1_800_000_000_000).plus(passed) }
    };
    let mut sides = [side("a", "b", 1, now(0)), side("b", "a", 2, now(0))];
    let mut wire: VecDeque<(usize, usize, Vec<u8>)> = VecDeque::new();
    for step in 0..100 {
        while let Some((_, to, bytes)) = wire.pop_front_if(|(arrives, ..)| *arrives <= step) {
            sides[to].replica.handle_frame(now(step), LINK, &bytes).unwrap();
        }
        for (from, side) in sides.iter_mut().enumerate() {
            side.replica.handle_timeout(now(step)).unwrap();
            if let Some(batch) = side.replica.poll_batch().unwrap() {
                side.storage.sync().unwrap();
                side.replica.handle_durable(now(step), batch).unwrap();
            }
            while let Some(transmit) = side.replica.poll_transmit(now(step)).unwrap() {
                side.greetings += usize::from(matches!(Frame::decode(&transmit.frame), Ok(Frame::Hello(_))));
                for _ in 0..copies {
                    wire.push_back((step + steps_under_way, 1 - from, transmit.frame.to_vec()));
                }
            }
        }
    }
    sides.map(|side| side.greetings)
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
