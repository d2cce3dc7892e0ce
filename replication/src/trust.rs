//! Trusted time: the wall clock as far as it may be believed.
//!
//! # The problem
//! Documents expire by the wall clock, and a wall clock can be wrong. A region whose clock is ahead would hide, refuse
//! and drop documents that are still alive, for good.
//!
//! # The insight
//! Hiding can be undone, dropping cannot. So there are two times. *Trusted* time hides documents from readers at once.
//! *Certain* time decides what cannot be taken back: refusing a peer's entry, dropping a day, leaving an entry out of a
//! frame. Certain time equals trusted time while more regions agree with the clock than disagree (and on a node without
//! peers). Otherwise it runs on by the monotonic clock, from where it was; after a restart, from the persisted time. So
//! a clock that is hours ahead after a restart, or that was set wrong while the machine slept, costs no document.
//!
//! # The algorithm
//! - Each *region* has one vote: that of most of its nodes heard lately. Our own clock has no vote.
//! - The wall clock is believed while it advances with the monotonic clock and is not outvoted: at least two regions
//!   heard, more disagreeing than agreeing.
//! - A jump is believed only if more regions agree with the clock after it than disagree.
//! - A clock that was outvoted stays in doubt until more regions agree with it than disagree. It stays in doubt when
//!   the regions that outvoted it can no longer be heard, because their silence does not make the clock right.
//! - After a start nothing has confirmed the clock yet, so one region that disagrees while none agrees is enough for
//!   a doubt.
//! - At a start, a clock behind the persisted (certain) time by more than the skew is in doubt. With peers, so is one
//!   more than a day ahead of it.
//! - While the clock is in doubt, trusted time runs on by the monotonic clock; the replica takes no writes and drops
//!   nothing.
//! - An operator's word states the time and ends any doubt. It is refused while regions disagree and no more agree,
//!   unless it is forced. It moves certain time forward by at most a day.
//! - Trusted time goes back at an operator's word, when a majority confirms the clock anew, and when a clock that was
//!   wrong by more than twice the skew is right again: otherwise a replica that was once a month ahead would hide
//!   everything for a month. Without a word it goes back no further than certain time, unless certain time is itself
//!   ahead of the clock by more than twice the skew.
//!
//! # Invariants
//! - Certain time is never ahead of trusted time.
//! - While the clock is in doubt neither time follows it; both run on by the monotonic clock.
//! - `reached`, the latest that certain time ever was, only grows.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::{NodeName, RegionId};
use crate::time::{Monotonic, Now, Wall, millis};

/// Longest downtime after which a clock ahead of the persisted time is believed without a peer.
const UNQUESTIONED_DOWNTIME: Duration = Duration::from_hours(24);
/// A clock that deviates from the monotonic one by up to this share is being slewed, not stepped (NTP's own bound is
/// 500 ppm).
const SLEW_PPM: u128 = 1_000;

/// The most by which an operator's word moves certain time forward: a word that is wrong by a month costs a day.
const LONGEST_WORD: Duration = Duration::from_hours(24);

/// Why a clock is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It moved against the monotonic clock.
    Jumped,
    /// It contradicts the time persisted before the restart.
    Restarted,
    /// More regions disagree with it than agree.
    Outvoted,
    /// No region has confirmed it since the start, and one disagrees.
    Unconfirmed,
}

/// Why an operator's word on the clock was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WordRefused {
    /// The word states another time than this machine's clock shows.
    #[error("this machine's clock shows {wall}, {apart:?} from the time that was stated")]
    OtherTime {
        /// What the clock shows.
        wall: Wall,
        /// The difference.
        apart: Duration,
    },
    /// Regions that are heard disagree with the clock, and the word was not forced.
    #[error("{disagree} regions disagree with this clock and {agree} agree")]
    Contradicted {
        /// Regions whose clocks agree.
        agree: usize,
        /// Regions whose clocks do not.
        disagree: usize,
    },
}

/// A peer's clock as last heard.
#[derive(Clone, Debug)]
struct Heard {
    region: RegionId,
    wall: Wall,
    at: Monotonic,
}

/// The wall clock, what regions say of it, and the two times that follow.
#[derive(Clone, Debug)]
pub struct TrustedClock {
    max_skew: Duration,
    /// Silence after which a peer no longer counts as heard.
    forget_after: Duration,
    /// The believed relation of the clocks: `wall` at `at`.
    anchor: (Wall, Monotonic),
    trusted: Wall,
    /// The certain time at which the clock was last confirmed or the replica started, run on by the monotonic clock.
    /// The epoch at a first start.
    floor: Wall,
    /// The latest that certain time ever was.
    reached: Wall,
    /// No peer is configured, so none can confirm the clock.
    alone: bool,
    last: Monotonic,
    /// The wall clock as last read.
    wall: Wall,
    doubt: Option<Doubt>,
    /// More regions agreed than disagreed at least once since the start, or an operator gave a word.
    confirmed: bool,
    /// How far the clock could have been slewed when it jumped. It stays fixed during the doubt, otherwise a jump would
    /// be within the slew after a while.
    slewed_at_jump: Duration,
    peers: BTreeMap<NodeName, Heard>,
}

/// Trusted time as it was observed, and as it runs on until it is observed again. Otherwise a process that stood still
/// would show expired documents to readers that ask before its next heartbeat.
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
    /// A clock at start; `persisted` is the certain time of the store and `reached` the latest that it ever was.
    /// Without peers (`has_peers` is false) a long downtime is believed, because no peer can be asked.
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
            confirmed: false,
            slewed_at_jump: Duration::ZERO,
            peers: BTreeMap::new(),
        }
    }

    /// A peer of `region` told its wall clock.
    pub fn hear(&mut self, now: Now, peer: &NodeName, region: &RegionId, wall: Wall) {
        self.peers.insert(peer.clone(), Heard { region: region.clone(), wall, at: now.mono });
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
            // The regions that outvoted the clock may have fallen silent: the doubt stays.
            Some(Doubt::Outvoted) => Some(Doubt::Outvoted),
            _ if jumped => Some(Doubt::Jumped),
            _ if outvoted => Some(Doubt::Outvoted),
            Some(Doubt::Unconfirmed) if agree == 0 => Some(Doubt::Unconfirmed),
            _ if !self.confirmed && disagree > 0 && agree == 0 => Some(Doubt::Unconfirmed),
            _ => None,
        };
        self.confirmed |= majority_agrees;
        if doubt.is_none() {
            // Two readings that are each within the skew can be twice as far apart, so time goes back only beyond that.
            // If a majority agrees, trusted time may go back to certain time, because what only trusted time hid was
            // not dropped.
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

    /// An operator's word: it is `stated` now, and the wall clock shows it. `force` takes the word although regions
    /// disagree.
    ///
    /// # Errors
    /// [`WordRefused`]; nothing changes then.
    pub fn believe(&mut self, now: Now, stated: Wall, force: bool) -> Result<(), WordRefused> {
        let apart = now.wall.distance(stated);
        if apart > self.max_skew {
            return Err(WordRefused::OtherTime { wall: now.wall, apart });
        }
        let (agree, disagree) = self.votes(now);
        if disagree > 0 && disagree >= agree && !force {
            return Err(WordRefused::Contradicted { agree, disagree });
        }
        let certain = self.certain().plus(now.mono.since(self.last));
        self.anchor = (now.wall, now.mono);
        (self.last, self.wall) = (now.mono, now.wall);
        self.trusted = now.wall;
        self.doubt = None;
        self.confirmed = true;
        // A floor at the epoch means that no clock was ever confirmed, so there is nothing to bound the word by.
        let latest = if self.floor > Wall::default() { certain.plus(LONGEST_WORD) } else { Wall::NEVER };
        self.floor = now.wall.min(latest);
        self.reached = self.reached.max(self.floor);
        Ok(())
    }

    /// Trusted time for a reader between two observations.
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

    /// Certain time: what expired up to it may be refused and dropped for good. It is what `meta` persists.
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

    /// How many regions agree with our wall clock, and how many do not, by most of their nodes heard lately. A region
    /// whose nodes are divided has no vote.
    fn votes(&self, now: Now) -> (usize, usize) {
        let mut regions: BTreeMap<&RegionId, i64> = BTreeMap::new();
        for heard in self.peers.values().filter(|heard| now.mono.since(heard.at) <= self.forget_after) {
            let theirs = heard.wall.plus(now.mono.since(heard.at));
            let agrees = theirs.distance(now.wall) <= self.max_skew;
            *regions.entry(&heard.region).or_default() += if agrees { 1 } else { -1 };
        }
        let agree = regions.values().filter(|balance| **balance > 0).count();
        (agree, regions.values().filter(|balance| **balance < 0).count())
    }

    /// The latest arrival that another replica's entry may have. Later ones are held back, because only a clock that is
    /// ahead can have dated them. `allowance` is how far a guest's own clock may be ahead.
    #[must_use]
    pub fn latest_arrival(&self, allowance: Duration) -> Wall {
        // Until the clock was confirmed once, certain time lags by as long as the process was down.
        let known = if self.confirmed || self.doubt.is_some() { self.certain() } else { self.trusted };
        known.plus(allowance).plus(self.max_skew)
    }
}

#[cfg(test)]
mod tests;
