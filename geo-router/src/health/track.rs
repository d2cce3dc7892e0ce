//! Probes of one node, turned into a verdict that does not flap.
//!
//! Three counters as in gdnsd: `down_after` failures make an up node down unless `ok_after` successes in a row forgive
//! them first, and `up_after` successes in a row make a down node up. In addition a node that falls repeatedly has to
//! prove itself longer: `up_after` is multiplied by the square of its recent falls, where a fall is a failed probe
//! after a good one. A node that was killed and comes back has one fall, and is up after `up_after` probes and the
//! hold-down. A node that answers every other probe collects falls faster than it can make up for.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{HealthRules, Verdict};

/// Falls beyond this many make no difference.
const MOST_FALLS: usize = 64;

/// The probes of one node and their result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Track {
    verdict: Verdict,
    failures: u32,
    successes: u32,
    /// When it last went down.
    down_since: Option<Duration>,
    /// When a failed probe followed a good one.
    falls: VecDeque<Duration>,
    /// It was added while the router runs.
    is_added: bool,
}

impl Track {
    /// A node that was down when the router stopped. It has to prove itself like any node that is down.
    #[must_use]
    pub fn down() -> Track {
        Track { verdict: Verdict::Down, down_since: Some(Duration::ZERO), ..Track::default() }
    }

    /// A node that was added while the router runs. Clients are sent to it after its first good probe, because there
    /// are other nodes meanwhile.
    #[must_use]
    pub fn added() -> Track {
        Track { is_added: true, ..Track::default() }
    }

    /// Whether clients may be sent to the node.
    #[must_use]
    pub fn may_serve(&self) -> bool {
        match self.verdict {
            Verdict::Up => true,
            Verdict::Unknown => !self.is_added,
            Verdict::Down => false,
        }
    }

    /// The present verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Records the outcome of one probe.
    pub fn record(&mut self, now: Duration, good: bool, rules: &HealthRules) {
        while self.falls.front().is_some_and(|fall| *fall + rules.flap_memory < now) {
            self.falls.pop_front();
        }
        if good {
            self.success(now, rules);
        } else {
            self.failure(now, rules);
        }
    }

    fn success(&mut self, now: Duration, rules: &HealthRules) {
        self.successes = self.successes.saturating_add(1);
        match self.verdict {
            Verdict::Unknown => self.rise(),
            Verdict::Up if self.successes >= rules.ok_after => self.failures = 0,
            Verdict::Up => {}
            Verdict::Down => {
                let held = self.down_since.is_some_and(|since| now < since + rules.hold_down);
                if self.successes >= self.needed(rules) && !held {
                    self.rise();
                }
            }
        }
    }

    fn rise(&mut self) {
        self.verdict = Verdict::Up;
        self.failures = 0;
        self.down_since = None;
    }

    fn failure(&mut self, now: Duration, rules: &HealthRules) {
        if self.successes > 0 {
            self.falls.push_back(now);
            if self.falls.len() > MOST_FALLS {
                self.falls.pop_front();
            }
        }
        self.successes = 0;
        self.failures = self.failures.saturating_add(1);
        if self.verdict != Verdict::Down && self.failures >= rules.down_after {
            self.verdict = Verdict::Down;
            self.down_since = Some(now);
        }
    }

    /// Successes in a row that a down node needs.
    fn needed(&self, rules: &HealthRules) -> u32 {
        let falls = u32::try_from(self.falls.len()).unwrap_or(u32::MAX).max(1);
        let cap = (rules.hold_cap.as_millis() / rules.interval.as_millis().max(1)).max(u128::from(rules.up_after));
        let needed = rules.up_after.saturating_mul(falls.saturating_mul(falls));
        needed.min(u32::try_from(cap).unwrap_or(u32::MAX))
    }

    /// The soonest time from now at which the verdict can change.
    #[must_use]
    pub(crate) fn until_change(&self, now: Duration, rules: &HealthRules) -> Duration {
        match self.verdict {
            Verdict::Unknown => rules.interval,
            Verdict::Up => rules.interval * rules.down_after.saturating_sub(self.failures).max(1),
            Verdict::Down => {
                let probes = rules.interval * self.needed(rules).saturating_sub(self.successes).max(1);
                let held =
                    self.down_since.map_or(Duration::ZERO, |since| (since + rules.hold_down).saturating_sub(now));
                probes.max(held)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::rngs::SmallRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::super::{HealthRules, Verdict};
    use super::Track;

    /// Records probes at one a second; returns how often the verdict changed after the first one.
    fn run(track: &mut Track, from: u64, probes: impl IntoIterator<Item = bool>) -> u32 {
        let rules = HealthRules::default();
        let mut changes = 0;
        for (second, good) in (from..).zip(probes) {
            let before = track.verdict();
            let now = Duration::from_secs(second);
            let bound = track.until_change(now, &rules);
            track.record(now, good, &rules);
            assert!(bound > Duration::ZERO);
            changes += u32::from(before != Verdict::Unknown && before != track.verdict());
        }
        changes
    }

    #[test]
    fn three_failures_are_down_and_a_lone_one_is_nothing() {
        let mut track = Track::default();
        assert_eq!(run(&mut track, 0, [true, true, false, false, true, true, true, false, false]), 0);
        assert_eq!(run(&mut track, 9, [false]), 1);
        assert_eq!(track.verdict(), Verdict::Down);
    }

    #[test]
    fn a_node_that_never_answered_is_down_after_as_many() {
        let mut track = Track::default();
        run(&mut track, 0, [false, false]);
        assert_eq!(track.verdict(), Verdict::Unknown);
        run(&mut track, 2, [false]);
        assert_eq!(track.verdict(), Verdict::Down);
    }

    #[test]
    fn a_killed_node_returns_after_five_probes_and_the_hold_down() {
        let rules = HealthRules::default();
        let mut track = Track::default();
        run(&mut track, 0, [true; 10]);
        run(&mut track, 10, [false; 60]);
        run(&mut track, 70, [true; 4]);
        assert_eq!(track.verdict(), Verdict::Down);
        assert_eq!(track.until_change(Duration::from_secs(74), &rules), Duration::from_secs(1));
        run(&mut track, 74, [true]);
        assert_eq!(track.verdict(), Verdict::Up);
        // A node that comes back at once is held down for a while.
        let mut quick = Track::default();
        run(&mut quick, 0, [true; 10]);
        run(&mut quick, 10, [false; 3]);
        run(&mut quick, 13, [true; 15]);
        assert_eq!(quick.verdict(), Verdict::Down);
        run(&mut quick, 28, [true; 5]);
        assert_eq!(quick.verdict(), Verdict::Up);
    }

    /// Half of the probes fail for ten minutes, in 10,000 different ways.
    #[test]
    fn a_flapping_node_changes_state_at_most_twice_in_ten_minutes() {
        for seed in 0..10_000 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let changes = run(&mut Track::default(), 0, (0..600).map(|_| rng.random_bool(0.5)));
            assert!(changes <= 2, "seed {seed}: {changes} changes");
        }
        let changes = run(&mut Track::default(), 0, (0..600).map(|second| second % 2 == 0));
        assert!(changes <= 2, "every other probe: {changes}");
    }

    /// A lossy path is not a dead node: losing one probe in fifty takes no node out.
    #[test]
    fn a_little_loss_does_no_harm() {
        let mut down = 0;
        for seed in 0..1_000 {
            let mut rng = SmallRng::seed_from_u64(seed);
            down += u32::from(run(&mut Track::default(), 0, (0..600).map(|_| !rng.random_bool(0.02))) > 0);
        }
        assert!(down < 50, "{down} of 1000 went down");
    }

    #[test]
    fn flaps_are_forgotten() {
        let mut track = Track::default();
        run(&mut track, 0, (0..300).map(|second| second % 2 == 0));
        assert_eq!(track.verdict(), Verdict::Down);
        let rules = HealthRules::default();
        run(&mut track, 300, [true; 295]);
        assert_eq!(track.verdict(), Verdict::Down, "the node is held down for the cap");
        run(&mut track, 595, [true; 10]);
        assert_eq!(track.verdict(), Verdict::Up);
        run(&mut track, 605, [true; 600]);
        run(&mut track, 1205, [false; 3]);
        assert_eq!(track.needed(&rules), rules.up_after);
    }
}
