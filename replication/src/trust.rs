//! Trusted time: the wall clock as far as it may be believed.
//!
//! # Rules
//! - The wall clock is believed while it advances with the monotonic clock and no majority of the peers heard
//!   disagrees with it by more than `max_clock_skew`.
//! - A jump is believed only if it brings the clock to the majority of the peers heard.
//! - At start, a clock behind the persisted (certain) time, or more than a day ahead of it, needs the same.
//! - In doubt the last trusted time runs on by the monotonic clock; the replica takes no writes and drops nothing.
//!
//! There are two times: *trusted* time hides from readers at once, *certain* time decides what cannot be taken back
//! (refusing a peer's entry, dropping a day, leaving an entry out of a frame). Certain time follows trusted time while
//! a majority of the peers heard agrees with the clock; from then on, and after a restart from the persisted time, it
//! runs on by the monotonic clock. So a clock that is hours ahead after a restart, or was set wrong while the machine
//! slept, costs nobody a document.
//!
//! Trusted time does not go back, except to certain time when a majority confirms the clock anew, and when a clock that
//! was wrong by more than twice the skew is right again: staying a month ahead would hide everything here for a month.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::NodeName;
use crate::time::{Monotonic, Now, Wall, millis};

/// Longest downtime after which a clock ahead of the persisted time is believed without a peer.
const UNQUESTIONED_DOWNTIME: Duration = Duration::from_hours(24);
/// A clock that deviates from the monotonic one by up to this share is being slewed, not stepped (NTP's own bound is 500 ppm).
const SLEW_PPM: u128 = 1_000;

/// Why a clock is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It moved against the monotonic clock.
    Jumped,
    /// It contradicts the time persisted before the restart.
    Restarted,
    /// Most peers say otherwise.
    Outvoted,
}

/// A peer's clock as last heard.
#[derive(Clone, Copy, Debug)]
struct Heard {
    wall: Wall,
    at: Monotonic,
}

/// The state of belief.
#[derive(Clone, Debug)]
pub struct TrustedClock {
    max_skew: Duration,
    /// Silence after which a peer no longer counts as heard.
    forget_after: Duration,
    /// The believed relation of the clocks: `wall` at `at`.
    anchor: (Wall, Monotonic),
    trusted: Wall,
    /// What was certain when the clock was last confirmed or the replica started, run on by the monotonic clock. The
    /// epoch at a first start.
    floor: Wall,
    /// The latest that certain time ever was.
    reached: Wall,
    /// There is nobody who could confirm the clock.
    alone: bool,
    last: Monotonic,
    /// The wall clock as last read.
    wall: Wall,
    doubt: Option<Doubt>,
    /// How far the clock could have been slewed when it jumped: time that passes in doubt proves nothing.
    slewed_at_jump: Duration,
    peers: BTreeMap<NodeName, Heard>,
}

/// Trusted time as it was observed, and as it runs on until it is observed again: a process that stood still must not
/// show what expired meanwhile to whoever asks before its next heartbeat.
#[derive(Clone, Copy, Debug)]
pub struct TrustedReading {
    taken: Monotonic,
    trusted: Wall,
    /// The wall clock if it is believed, else trusted time itself.
    runs_on: Wall,
}

impl TrustedReading {
    /// Trusted time at a later moment, by the monotonic clock.
    #[must_use]
    pub fn at(&self, mono: Monotonic) -> Wall {
        self.trusted.max(self.runs_on.plus(mono.since(self.taken)))
    }
}

impl TrustedClock {
    /// A clock at start; `persisted` is the certain time of the store and `reached` the latest that it ever was. With
    /// nobody to ask (`has_peers` is false) a long downtime is believed.
    #[must_use]
    pub fn new(
        now: Now,
        persisted: Option<Wall>,
        reached: Wall,
        has_peers: bool,
        max_skew: Duration,
        forget_after: Duration,
    ) -> TrustedClock {
        let doubt = persisted.and_then(|persisted| {
            let behind = now.wall.plus(max_skew) < persisted;
            let ahead = has_peers && now.wall > persisted.plus(UNQUESTIONED_DOWNTIME.max(max_skew));
            (behind || ahead).then_some(Doubt::Restarted)
        });
        let trusted = match (doubt, persisted) {
            (Some(_), Some(persisted)) => persisted,
            (None, Some(persisted)) => now.wall.max(persisted),
            (_, None) => now.wall,
        };
        let floor = if has_peers { persisted.unwrap_or_default() } else { trusted };
        TrustedClock {
            max_skew,
            forget_after,
            anchor: (now.wall, now.mono),
            trusted,
            floor,
            reached: reached.max(floor),
            alone: !has_peers,
            last: now.mono,
            wall: now.wall,
            doubt,
            slewed_at_jump: Duration::ZERO,
            peers: BTreeMap::new(),
        }
    }

    /// A peer told its wall clock.
    pub fn hear(&mut self, now: Now, peer: &NodeName, wall: Wall) {
        self.peers.insert(peer.clone(), Heard { wall, at: now.mono });
        self.observe(now);
    }

    /// A peer is out of reach: what its clock said no longer counts.
    pub fn lose(&mut self, peer: &NodeName) {
        self.peers.remove(peer);
    }

    /// Looks at both clocks; to be called at least every heartbeat.
    pub fn observe(&mut self, now: Now) {
        let passed = now.mono.since(self.last);
        let certain = self.certain();
        (self.last, self.wall) = (now.mono, now.wall);
        if self.floor > Wall::default() {
            self.floor = self.floor.plus(passed);
        }
        let running = self.trusted.plus(passed);
        let (agree, disagree) = self.votes(now);
        let majority_agrees = agree > disagree && agree > 0;
        let outvoted = agree + disagree >= 2 && disagree > agree;

        let expected = self.anchor.0.plus(now.mono.since(self.anchor.1));
        let slew = if self.doubt == Some(Doubt::Jumped) {
            self.slewed_at_jump
        } else {
            let passed_ms = now.mono.since(self.anchor.1).as_millis();
            Duration::from_millis(u64::try_from(passed_ms * SLEW_PPM / 1_000_000).unwrap_or(u64::MAX))
        };
        let jumped = now.wall.distance(expected) > (self.max_skew / 2).saturating_add(slew);
        if jumped {
            self.slewed_at_jump = slew;
        }

        let doubt = match self.doubt {
            _ if majority_agrees => None,
            Some(Doubt::Restarted) => Some(Doubt::Restarted),
            _ if jumped => Some(Doubt::Jumped),
            _ if outvoted => Some(Doubt::Outvoted),
            _ => None,
        };
        if doubt.is_none() {
            // Two readings that are each within the skew can be twice as far apart: that is no reason to go back. What
            // was only hidden by a clock that nobody had confirmed is another matter: nothing was taken for gone yet.
            let is_far_ahead = |time: Wall| time.plus(passed) > now.wall.plus(self.max_skew * 2);
            self.trusted = if is_far_ahead(certain) {
                now.wall
            } else if majority_agrees || is_far_ahead(self.trusted) {
                now.wall.max(certain)
            } else {
                self.trusted.max(now.wall)
            };
            if majority_agrees {
                self.anchor = (now.wall, now.mono);
            }
            if majority_agrees || self.alone {
                self.floor = self.trusted;
            }
        } else {
            self.trusted = running;
        }
        self.doubt = doubt;
        self.reached = self.reached.max(self.certain());
    }

    /// An operator's word: the wall clock is right.
    pub fn believe(&mut self, now: Now) {
        self.anchor = (now.wall, now.mono);
        (self.last, self.wall) = (now.mono, now.wall);
        self.trusted = now.wall;
        self.doubt = None;
        self.floor = now.wall;
        self.reached = self.reached.max(now.wall);
    }

    /// Trusted time for whoever asks between two observations.
    #[must_use]
    pub fn reading(&self) -> TrustedReading {
        let runs_on = if self.doubt.is_none() { self.wall } else { self.trusted };
        TrustedReading { taken: self.last, trusted: self.trusted, runs_on }
    }

    /// Trusted time at the last observation.
    #[must_use]
    pub fn trusted(&self) -> Wall {
        self.trusted
    }

    /// The time up to which something may be taken for dead for good, and which is persisted.
    #[must_use]
    pub fn certain(&self) -> Wall {
        self.floor.min(self.trusted)
    }

    /// The latest that certain time ever was: later than it is now after it was wrong and went back.
    #[must_use]
    pub fn reached(&self) -> Wall {
        self.reached
    }

    /// Why the wall clock is not believed, if it is not.
    #[must_use]
    pub fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }

    /// How far a peer's clock is ahead of ours (negative: behind), as last heard, in milliseconds. One-way
    /// latency is not taken out: it is small against the skew that matters here.
    #[must_use]
    pub fn offset_ms(&self, now: Now, peer: &NodeName) -> Option<i64> {
        let heard = self.peers.get(peer)?;
        let theirs = heard.wall.0.saturating_add(millis(now.mono.since(heard.at)));
        Some(theirs.wrapping_sub(now.wall.0).cast_signed())
    }

    /// How many of the peers heard lately agree with our wall clock, and how many do not.
    fn votes(&self, now: Now) -> (usize, usize) {
        let mut votes = (0, 0);
        for heard in self.peers.values().filter(|heard| now.mono.since(heard.at) <= self.forget_after) {
            let theirs = heard.wall.plus(now.mono.since(heard.at));
            if theirs.distance(now.wall) <= self.max_skew {
                votes.0 += 1;
            } else {
                votes.1 += 1;
            }
        }
        votes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Doubt, TrustedClock};
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

    fn hear(clock: &mut TrustedClock, at: Now, peer: &str, wall: u64) {
        clock.hear(at, &peer.parse().unwrap(), Wall(wall));
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

    /// A process that was stopped for an hour hides what expired meanwhile before its next heartbeat.
    #[test]
    fn a_reading_runs_on() {
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
        let mut clock = clock(None);
        hear(&mut clock, now(1, 0), "b", T0 + 1_000 + 600_000);
        assert_eq!(clock.doubt(), None, "a single peer is reported, not obeyed");
        hear(&mut clock, now(1, 0), "c", T0 + 1_000 + 600_000);
        assert_eq!(clock.doubt(), Some(Doubt::Outvoted));
        clock.observe(now(2, 600_000));
        assert_eq!(clock.doubt(), None);
        assert_eq!(clock.trusted(), Wall(T0 + 2_000 + 600_000));
    }

    /// Two minutes are within what a clock may be slewed by in two days; a step of two minutes is a step all the same.
    #[test]
    fn a_jump_is_not_believed_for_having_waited() {
        let mut clock = clock(None);
        clock.observe(now(10, 120_000));
        for day in 1..5 {
            clock.observe(now(day * 86_400, 120_000));
            assert_eq!(clock.doubt(), Some(Doubt::Jumped), "day {day}");
        }
        clock.observe(now(5 * 86_400, 0));
        assert_eq!(clock.doubt(), None);
    }

    #[test]
    fn silent_peers_do_not_vote() {
        let mut clock = clock(None);
        hear(&mut clock, now(1, 0), "b", T0 + MONTH);
        hear(&mut clock, now(1, 0), "c", T0 + MONTH);
        assert_eq!(clock.doubt(), Some(Doubt::Outvoted));
        clock.observe(now(30, 0));
        assert_eq!(clock.doubt(), None);
    }

    #[test]
    fn a_restart_needs_a_peer_when_the_clock_contradicts_the_store() {
        assert_eq!(clock(Some(T0 - 3_600_000)).doubt(), None, "an hour of downtime is plausible");
        let mut behind = clock(Some(T0 + 3_600_000));
        assert_eq!(behind.doubt(), Some(Doubt::Restarted));
        assert_eq!(behind.trusted(), Wall(T0 + 3_600_000));
        behind.observe(now(5, 0));
        assert_eq!(behind.doubt(), Some(Doubt::Restarted));
        behind.believe(now(6, 0));
        assert_eq!((behind.doubt(), behind.trusted()), (None, Wall(T0 + 6_000)));

        let mut ahead = clock(Some(T0 - MONTH));
        assert_eq!((ahead.doubt(), ahead.trusted()), (Some(Doubt::Restarted), Wall(T0 - MONTH)));
        hear(&mut ahead, now(1, 0), "b", T0 + 1_000);
        assert_eq!(ahead.doubt(), None);
    }

    #[test]
    fn nothing_is_certain_before_a_peer_agrees() {
        // Three hours ahead after a restart: hidden from readers here, and yet nothing is dead for good.
        let mut clock = clock(Some(T0 - 3 * 3_600_000));
        clock.observe(now(10, 0));
        assert_eq!((clock.doubt(), clock.trusted()), (None, Wall(T0 + 10_000)));
        assert_eq!(clock.certain(), Wall(T0 - 3 * 3_600_000 + 10_000));
        hear(&mut clock, now(20, 0), "b", T0 + 20_000);
        assert_eq!(clock.certain(), Wall(T0 + 20_000));
    }

    /// A new replica whose clock was two minutes ahead, and is right when its peers are first heard.
    #[test]
    fn what_nobody_confirmed_does_not_become_certain() {
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

    /// Two minutes are within what a clock may be slewed by in two days, so a sleeper's clock is believed when it wakes.
    #[test]
    fn what_a_sleeper_believes_is_not_certain() {
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
    fn what_was_certain_is_not_taken_back_with_what_was_not() {
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
}
