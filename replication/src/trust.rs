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
//! - An operator's statement of the time ends any doubt. It is refused while regions disagree and no more agree, unless
//!   it is forced. It moves certain time forward by at most a day.
//! - Trusted time goes back at an operator's statement, when a majority confirms the clock anew, and when a clock that
//!   was wrong by more than twice the skew is right again: otherwise a replica that was once a month ahead would hide
//!   everything for a month. Without a statement it goes back no further than certain time, unless certain time is
//!   itself ahead of the clock by more than twice the skew.
//!
//! # The parts
//! | file | concern |
//! | --- | --- |
//! | `trust/votes.rs` | what the regions say of our clock |
//! | `trust/slew.rs` | whether our clock advances with the monotonic clock |
//! | `trust/times.rs` | the two times, and how each follows a clock or runs on |
//!
//! Here is the judgement: whether the clock is in doubt, and why.

mod slew;
mod times;
mod votes;

use std::time::Duration;

use crate::ids::{NodeName, RegionId};
use crate::time::{Monotonic, Now, Wall};

use slew::Slew;
use times::Times;
use votes::Votes;

/// Longest downtime after which a clock ahead of the persisted time is believed without a peer.
const UNQUESTIONED_DOWNTIME: Duration = Duration::from_hours(24);

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

/// Why an operator's statement of the time was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClockStatementRefused {
    /// The statement gives another time than this machine's clock shows.
    #[error("this machine's clock shows {wall}, {apart:?} from the time that was stated")]
    OtherTime {
        /// What the clock shows.
        wall: Wall,
        /// How far the two are apart.
        apart: Duration,
    },
    /// Regions that are heard disagree with the clock, and the statement was not forced.
    #[error("{disagree} regions disagree with this clock and {agree} agree")]
    Contradicted {
        /// Regions whose clocks agree.
        agree: usize,
        /// Regions whose clocks do not.
        disagree: usize,
    },
}

/// The wall clock, what regions say of it, and the two times that follow.
#[derive(Clone, Debug)]
pub(crate) struct TrustedClock {
    max_skew: Duration,
    /// No peer is configured, so none can confirm the clock.
    is_alone: bool,
    /// Both clocks as last read.
    last: Now,
    doubt: Option<Doubt>,
    /// More regions agreed than disagreed at least once since the start, or an operator stated the time.
    is_confirmed: bool,
    votes: Votes,
    slew: Slew,
    times: Times,
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
    pub(crate) fn new(
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
        let floor = if has_peers { persisted } else { Some(trusted) };
        TrustedClock {
            max_skew,
            is_alone: !has_peers,
            last: now,
            doubt,
            is_confirmed: false,
            votes: Votes::new(max_skew, forget_after),
            slew: Slew::new(now, max_skew),
            times: Times::new(trusted, floor, reached),
        }
    }

    /// Whether no peer is left that could confirm the clock.
    pub(crate) fn set_alone(&mut self, is_alone: bool) {
        if is_alone && self.doubt == Some(Doubt::Unconfirmed) {
            // No region disagrees any more.
            self.doubt = None;
        }
        // A clock that was believed alone is not doubted because the first region that is added has another one.
        self.is_confirmed |= self.is_alone && !is_alone && self.doubt.is_none();
        self.is_alone = is_alone;
    }

    /// A peer of `region` told its wall clock.
    pub(crate) fn hear(&mut self, now: Now, peer: &NodeName, region: &RegionId, wall: Wall) {
        self.votes.hear(now.mono, peer, region, wall);
        self.observe(now);
    }

    /// A peer is out of reach: what its clock said no longer counts.
    pub(crate) fn lose(&mut self, peer: &NodeName) {
        self.votes.lose(peer);
    }

    /// Looks at both clocks; to be called at least every heartbeat.
    pub(crate) fn observe(&mut self, now: Now) {
        let passed = now.mono.since(self.last.mono);
        self.last = now;
        let tally = self.votes.tally(now);
        let jumped = self.slew.has_jumped(now, self.doubt == Some(Doubt::Jumped));
        let doubt = match self.doubt {
            _ if tally.majority_agrees() => None,
            Some(Doubt::Restarted) => Some(Doubt::Restarted),
            // The regions that outvoted the clock may have fallen silent: the doubt stays.
            Some(Doubt::Outvoted) => Some(Doubt::Outvoted),
            _ if jumped => Some(Doubt::Jumped),
            _ if tally.is_outvoted() => Some(Doubt::Outvoted),
            Some(Doubt::Unconfirmed) if tally.agree == 0 => Some(Doubt::Unconfirmed),
            _ if !self.is_confirmed && tally.disagree > 0 && tally.agree == 0 => Some(Doubt::Unconfirmed),
            _ => None,
        };
        self.doubt = doubt;
        self.is_confirmed |= tally.majority_agrees();
        if doubt.is_some() {
            self.times.run_on(passed);
            return;
        }
        self.times.follow(now.wall, passed, self.max_skew, tally.majority_agrees(), self.is_alone);
        if tally.majority_agrees() {
            self.slew.believe(now);
        }
    }

    /// An operator states that it is `stated` now and that the wall clock shows it. `force` takes the statement
    /// although regions disagree.
    ///
    /// # Errors
    /// [`ClockStatementRefused`]; nothing changes then.
    pub(crate) fn believe(&mut self, now: Now, stated: Wall, force: bool) -> Result<(), ClockStatementRefused> {
        let apart = now.wall.distance(stated);
        if apart > self.max_skew {
            return Err(ClockStatementRefused::OtherTime { wall: now.wall, apart });
        }
        let tally = self.votes.tally(now);
        if tally.contradicts() && !force {
            return Err(ClockStatementRefused::Contradicted { agree: tally.agree, disagree: tally.disagree });
        }
        self.times.believe(now.wall, now.mono.since(self.last.mono));
        self.slew.believe(now);
        self.last = now;
        self.doubt = None;
        self.is_confirmed = true;
        Ok(())
    }

    /// Trusted time for a reader between two observations.
    #[must_use]
    pub(crate) fn reading(&self) -> TrustedReading {
        let trusted = self.trusted();
        let runs_on = if self.doubt.is_none() { self.last.wall } else { trusted };
        TrustedReading { taken: self.last.mono, trusted, runs_on }
    }

    /// Trusted time at the last observation.
    #[must_use]
    pub(crate) fn trusted(&self) -> Wall {
        self.times.trusted()
    }

    /// Certain time: what expired up to it may be refused and dropped for good. It is what `meta` persists.
    #[must_use]
    pub(crate) fn certain(&self) -> Wall {
        self.times.certain()
    }

    /// The latest that certain time ever was: later than it is now after it was wrong and went back.
    #[must_use]
    pub(crate) fn reached(&self) -> Wall {
        self.times.reached()
    }

    /// Why the wall clock is not believed, if it is not.
    #[must_use]
    pub(crate) fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }

    /// How far a peer's clock is ahead of ours (negative: behind), as last heard, in milliseconds.
    #[must_use]
    pub(crate) fn offset_ms(&self, now: Now, peer: &NodeName) -> Option<i64> {
        self.votes.offset_ms(now, peer)
    }

    /// The latest arrival that another replica's entry may have. Later ones are held back, because only a clock that is
    /// ahead can have dated them. `allowance` is how far a guest's own clock may be ahead.
    #[must_use]
    pub(crate) fn latest_arrival(&self, allowance: Duration) -> Wall {
        // Until the clock was confirmed once, certain time lags by as long as the process was down.
        let is_certain = self.is_confirmed || self.doubt.is_some();
        let known = if is_certain { self.certain() } else { self.trusted() };
        known.plus(allowance).plus(self.max_skew)
    }
}

#[cfg(test)]
mod tests;
