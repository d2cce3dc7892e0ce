//! Which clocks are believed, by what their regions say.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::{ClockStatementRefused, Doubt, TrustedClock};
use crate::time::{Monotonic, Now, Wall};

const MONTH: u64 = 30 * 86_400_000;
const T0: u64 = 1_800_000_000_000;

fn now(seconds: u64, wall_offset_ms: i64) -> Now {
    let wall = (T0 + seconds * 1_000).saturating_add_signed(wall_offset_ms);
    Now { mono: Monotonic(Duration::from_secs(seconds)), wall: Wall(wall) }
}

fn clock(persisted: Option<u64>) -> TrustedClock {
    TrustedClock::new(
        now(0, 0),
        persisted.map(Wall),
        Wall::default(),
        true,
        Duration::from_secs(60),
        Duration::from_secs(5),
    )
}

/// A node `peer` of a region of the same name, or `region/node`.
fn hear(clock: &mut TrustedClock, at: Now, peer: &str, wall: u64) {
    let (region, node) = peer.split_once('/').unwrap_or((peer, peer));
    clock.hear(at, &node.parse().unwrap(), &region.parse().unwrap(), Wall(wall));
}

/// A clock that a region has confirmed and that has been silent since.
fn confirmed() -> TrustedClock {
    let mut clock = clock(None);
    hear(&mut clock, now(0, 0), "z", T0);
    clock.lose(&"z".parse().unwrap());
    clock
}

#[test]
fn a_jump_is_not_believed_and_trusted_time_runs_on() {
    let mut clock = clock(None);
    clock.observe(now(10, i64::try_from(MONTH).unwrap()));
    assert_eq!(clock.doubt(), Some(Doubt::Jumped));
    assert_eq!(clock.trusted(), Wall(T0 + 10_000));
    clock.observe(now(20, 0));
    assert_eq!(clock.doubt(), None);
}

/// A process that stood still for an hour hides expired documents even before its next heartbeat.
#[test]
fn a_reading_runs_on_between_two_observations() {
    let hour = Monotonic(Duration::from_hours(1));
    assert_eq!(clock(None).reading().at(hour), Wall(T0 + 3_600_000));
    let mut ahead = clock(None);
    ahead.observe(now(1, 5_000));
    ahead.observe(now(2, 0));
    assert_eq!(ahead.trusted(), Wall(T0 + 6_000), "time does not go back within the skew");
    assert_eq!(ahead.reading().at(now(4, 0).mono), Wall(T0 + 6_000), "and waits for the clock");
    ahead.observe(now(5, i64::from(u32::MAX)));
    assert_eq!(ahead.doubt(), Some(Doubt::Jumped));
    assert_eq!(ahead.reading().at(now(9, 0).mono), ahead.trusted().plus(Duration::from_secs(4)));
}

#[test]
fn a_jump_to_the_majority_is_believed() {
    let mut clock = confirmed();
    hear(&mut clock, now(1, 0), "b", T0 + 1_000 + 600_000);
    assert_eq!(clock.doubt(), None, "a single peer is reported, not obeyed");
    hear(&mut clock, now(1, 0), "c", T0 + 1_000 + 600_000);
    assert_eq!(clock.doubt(), Some(Doubt::Outvoted));
    clock.observe(now(2, 600_000));
    assert_eq!(clock.doubt(), None);
    assert_eq!(clock.trusted(), Wall(T0 + 2_000 + 600_000));
}

/// In two days a clock may be slewed by two minutes. A step of two minutes is a step all the same.
#[test]
fn a_jump_is_not_believed_however_long_ago_the_anchor_is() {
    let mut clock = clock(None);
    clock.observe(now(10, 120_000));
    for day in 1..5 {
        clock.observe(now(day * 86_400, 120_000));
        assert_eq!(clock.doubt(), Some(Doubt::Jumped), "day {day}");
    }
    clock.observe(now(5 * 86_400, 0));
    assert_eq!(clock.doubt(), None);
}

/// Nemesis finding 2: a clock was believed again when the peers that had outvoted it went away.
#[test]
fn only_a_majority_ends_the_doubt_of_an_outvoted_clock() {
    for first in [None, Some(T0)] {
        let mut clock = clock(first);
        hear(&mut clock, now(1, 0), "b", T0 + MONTH);
        hear(&mut clock, now(1, 0), "c", T0 + MONTH);
        assert_eq!(clock.doubt(), Some(Doubt::Outvoted));
        clock.observe(now(30, 0));
        assert_eq!(clock.doubt(), Some(Doubt::Outvoted), "silence does not end the doubt");
        hear(&mut clock, now(31, 0), "b", T0 + MONTH);
        assert_eq!(clock.doubt(), Some(Doubt::Outvoted));
        hear(&mut clock, now(32, 0), "c", T0 + 32_000);
        assert_eq!(clock.doubt(), Some(Doubt::Outvoted), "one against one");
        hear(&mut clock, now(33, 0), "b", T0 + 33_000);
        assert_eq!(clock.doubt(), None);
    }
}

#[test]
fn after_a_start_one_region_that_disagrees_is_enough_for_a_doubt() {
    let mut clock = clock(Some(T0 - 1_000));
    hear(&mut clock, now(1, 0), "b", T0 + MONTH);
    assert_eq!(clock.doubt(), Some(Doubt::Unconfirmed));
    clock.lose(&"b".parse().unwrap());
    clock.observe(now(30, 0));
    assert_eq!(clock.doubt(), Some(Doubt::Unconfirmed), "the one witness went away");
    hear(&mut clock, now(31, 0), "b", T0 + MONTH);
    hear(&mut clock, now(31, 0), "c", T0 + 31_000);
    assert_eq!(clock.doubt(), None, "with one for and one against, the clock is as likely right as b's");
    assert!(clock.certain() < Wall(T0 + 31_000), "but nothing is certain");
}

/// Two regions of two nodes. The other region's clocks are 90 s ahead, and by nodes they would outvote ours.
#[test]
fn each_region_has_one_vote() {
    let mut clock = confirmed();
    hear(&mut clock, now(1, 0), "us/us-2", T0 + 1_000);
    hear(&mut clock, now(1, 0), "eu/eu-1", T0 + 91_000);
    hear(&mut clock, now(1, 0), "eu/eu-2", T0 + 91_000);
    assert_eq!(clock.doubt(), None);
    hear(&mut clock, now(1, 0), "ap/ap-1", T0 + 91_000);
    assert_eq!(clock.doubt(), Some(Doubt::Outvoted), "two regions against one");
    hear(&mut clock, now(1, 0), "ap/ap-2", T0 + 1_000);
    hear(&mut clock, now(2, 0), "eu/eu-1", T0 + 2_000);
    assert_eq!(clock.doubt(), None, "ap and eu are divided and have no vote");
}

#[test]
fn an_operators_word_states_the_time_and_is_contradicted_by_regions() {
    let month = i64::try_from(MONTH).unwrap();
    let mut clock = clock(Some(T0 - 1_000));
    assert!(matches!(clock.believe(now(1, month), Wall(T0), false), Err(ClockStatementRefused::OtherTime { .. })));
    hear(&mut clock, now(1, month), "b", T0 + 1_000);
    assert_eq!(
        clock.believe(now(2, month), Wall(T0 + MONTH), false),
        Err(ClockStatementRefused::Contradicted { agree: 0, disagree: 1 })
    );
    assert!(clock.doubt().is_some());
    let before = clock.certain();
    clock.believe(now(2, month), Wall(T0 + MONTH), true).unwrap();
    assert_eq!((clock.doubt(), clock.trusted()), (None, Wall(T0 + 2_000 + MONTH)));
    assert!(clock.certain() <= before.plus(Duration::from_secs(86_402)), "certain time moves by a day at most");
}

#[test]
fn certain_time_decides_whether_an_arrival_is_in_the_future() {
    let allowance = Duration::from_secs(300);
    let mut unheard = clock(Some(T0 - 3 * 3_600_000));
    assert_eq!(unheard.latest_arrival(allowance), Wall(T0 + 360_000), "back from a downtime, nothing heard yet");
    hear(&mut unheard, now(1, 0), "b", T0 + 1_000);
    assert_eq!(unheard.latest_arrival(allowance), Wall(T0 + 361_000));
    unheard.observe(now(2, i64::try_from(MONTH).unwrap()));
    assert_eq!(unheard.latest_arrival(allowance), Wall(T0 + 362_000), "a jump moves nothing");
}

#[test]
fn a_restart_needs_a_peer_when_the_clock_contradicts_the_store() {
    assert_eq!(clock(Some(T0 - 3_600_000)).doubt(), None, "an hour of downtime is plausible");
    let mut behind = clock(Some(T0 + 3_600_000));
    assert_eq!(behind.doubt(), Some(Doubt::Restarted));
    assert_eq!(behind.trusted(), Wall(T0 + 3_600_000));
    behind.observe(now(5, 0));
    assert_eq!(behind.doubt(), Some(Doubt::Restarted));
    behind.believe(now(6, 0), Wall(T0 + 6_000), false).unwrap();
    assert_eq!((behind.doubt(), behind.trusted()), (None, Wall(T0 + 6_000)));

    let mut ahead = clock(Some(T0 - MONTH));
    assert_eq!((ahead.doubt(), ahead.trusted()), (Some(Doubt::Restarted), Wall(T0 - MONTH)));
    hear(&mut ahead, now(1, 0), "b", T0 + 1_000);
    assert_eq!(ahead.doubt(), None);
}

#[test]
fn nothing_is_certain_before_a_peer_agrees() {
    // Three hours ahead after a restart: readers here see less, but nothing is dead for good.
    let mut clock = clock(Some(T0 - 3 * 3_600_000));
    clock.observe(now(10, 0));
    assert_eq!((clock.doubt(), clock.trusted()), (None, Wall(T0 + 10_000)));
    assert_eq!(clock.certain(), Wall(T0 - 3 * 3_600_000 + 10_000));
    hear(&mut clock, now(20, 0), "b", T0 + 20_000);
    assert_eq!(clock.certain(), Wall(T0 + 20_000));
}

/// A new replica whose clock was two minutes ahead, and is right when its peers are first heard.
#[test]
fn unconfirmed_time_does_not_become_certain_when_peers_are_heard() {
    let mut clock = TrustedClock::new(
        now(0, 120_000),
        None,
        Wall::default(),
        true,
        Duration::from_secs(60),
        Duration::from_secs(5),
    );
    clock.observe(now(5, 120_000));
    assert_eq!(clock.certain(), Wall(0));
    clock.observe(now(10, 0));
    hear(&mut clock, now(11, 0), "b", T0 + 11_000);
    assert_eq!((clock.doubt(), clock.trusted(), clock.certain()), (None, Wall(T0 + 11_000), Wall(T0 + 11_000)));
}

/// In two days a clock may be slewed by two minutes, so a sleeper's clock is believed when it wakes.
#[test]
fn time_that_a_woken_sleeper_believes_is_not_certain() {
    let mut clock = clock(None);
    hear(&mut clock, now(1, 0), "b", T0 + 1_000);
    const WOKEN: u64 = 2 * 86_400;
    clock.observe(now(WOKEN, 120_000));
    assert_eq!((clock.doubt(), clock.trusted()), (None, Wall(T0 + WOKEN * 1_000 + 120_000)));
    assert_eq!(clock.certain(), Wall(T0 + WOKEN * 1_000));
    hear(&mut clock, now(WOKEN + 1, 0), "b", T0 + (WOKEN + 1) * 1_000);
    assert_eq!(clock.trusted(), Wall(T0 + (WOKEN + 1) * 1_000), "it was only hidden");
    assert_eq!(clock.certain(), clock.trusted());
}

/// A clock that is right within the skew is three hours ahead after a restart, and then right again.
#[test]
fn trusted_time_goes_back_and_certain_time_stays() {
    let mut before = clock(None);
    hear(&mut before, now(1, 50_000), "b", T0 + 1_000);
    let certain = before.certain();
    assert_eq!(certain, Wall(T0 + 51_000));
    let ahead = now(2, 3 * 3_600_000);
    let mut clock =
        TrustedClock::new(ahead, Some(certain), certain, true, Duration::from_secs(60), Duration::from_secs(5));
    assert_eq!((clock.doubt(), clock.trusted()), (None, ahead.wall));
    hear(&mut clock, now(3, 0), "b", T0 + 3_000);
    assert!(clock.certain() >= certain);
    assert!(clock.trusted() <= certain.plus(Duration::from_secs(3)));
}

/// A clock that was set ahead within the skew between two runs: certain time waits for a peer.
#[test]
fn a_restart_makes_nothing_certain() {
    let clock = clock(Some(T0 - 50_000));
    assert_eq!((clock.doubt(), clock.trusted(), clock.certain()), (None, Wall(T0), Wall(T0 - 50_000)));
}

#[test]
fn trusted_time_does_not_go_back_between_two_clocks_that_may_be_right() {
    let mut clock = clock(None);
    hear(&mut clock, now(1, 59_000), "b", T0 + 1_000);
    assert_eq!((clock.doubt(), clock.trusted()), (None, Wall(T0 + 60_000)));
    hear(&mut clock, now(2, -59_000), "b", T0 + 2_000);
    assert_eq!((clock.doubt(), clock.trusted()), (None, Wall(T0 + 60_000)));
}

#[test]
fn trusted_time_does_not_go_back_for_a_small_step() {
    let mut clock = clock(None);
    clock.observe(now(10, 0));
    clock.observe(now(11, -5_000));
    assert_eq!((clock.doubt(), clock.trusted()), (None, Wall(T0 + 10_000)));
}
