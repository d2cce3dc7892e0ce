//! The phases of a run: faults; then the core heals, must converge within a bound and come to rest; then time passes
//! until everything has expired.

use std::collections::BTreeSet;
use std::time::Duration;

use replication::{Bucket, VersionVector};

use super::World;
use super::fault::Act;
use super::links::LAST_BACKOFF;
use crate::check::{Broken, Invariant};
use crate::model::VisitTruth;

/// How often convergence is checked.
const LOOK: Duration = Duration::from_millis(20);

/// How the second phase went.
#[derive(Clone, Debug, Default)]
pub struct Convergence {
    /// The time within which the core had to converge.
    pub bound: Duration,
    /// How long it took; `None` if it did not converge.
    pub took: Option<Duration>,
    /// The first condition that was not met.
    pub unmet: Option<String>,
    /// When the phase began.
    pub healed_at: Duration,
}

impl World {
    /// Runs all phases.
    pub fn run(&mut self) -> Convergence {
        let duration = self.scenario.duration;
        self.run_until(duration);
        let mut convergence = Convergence { healed_at: self.now, ..Convergence::default() };
        if self.broken.is_some() {
            return convergence;
        }
        self.open = false;
        let core = self.core();
        self.heal(&core);
        convergence.bound = self.bound(&core);
        let deadline = self.now + convergence.bound;
        loop {
            self.run_until((self.now + LOOK).min(deadline));
            if self.broken.is_some() {
                return convergence;
            }
            convergence.unmet = self.unmet(&core);
            if convergence.unmet.is_none() {
                break;
            }
            if self.now >= deadline {
                let why = convergence.unmet.clone().unwrap_or_default();
                self.break_off(Broken::new(Invariant::Liveness, self.now, None, format!("not converged: {why}")));
                return convergence;
            }
        }
        convergence.took = Some(self.now - convergence.healed_at);
        self.last_sample();
        self.check_completely(&core);
        self.comes_to_rest(&core);
        if self.scenario.checks.forget && self.broken.is_none() {
            self.forget(&core);
        }
        convergence
    }

    /// The regions that heal: those named, otherwise all that exist.
    fn core(&self) -> BTreeSet<usize> {
        let named = self.scenario.checks.core.iter().filter_map(|name| self.scenario.region(name).ok());
        let named: BTreeSet<usize> = named.filter(|region| self.nodes[*region].exists).collect();
        if named.is_empty() {
            (0..self.nodes.len()).filter(|region| self.nodes[*region].exists).collect()
        } else {
            named
        }
    }

    /// The longest time that healed replicas may need, from their settings and distances. Dead links are noticed and
    /// dialled again; a restarted replica waits for its peers; clocks are heard. Then, along each hop, missing entries
    /// are noticed and sent, relays wait for their time, and the backlog has to pass.
    fn bound(&self, core: &BTreeSet<usize>) -> Duration {
        let settings = &self.scenario.replica;
        let heartbeat = settings.heartbeat;
        let rtt = self.longest_crossing(core) * 2;
        let hops = u32::try_from(self.hops(core)).unwrap_or(u32::MAX);
        let backlog = core.iter().map(|at| self.nodes[*at].disk.contents().bytes()).max().unwrap_or(0);
        let backlog = Duration::from_secs_f64(backlog as f64 * 2.0 / self.net.bytes_per_second());
        // Closing a silent link, dialling, greeting (repeated at heartbeats until answered).
        let connect = heartbeat * 11 + LAST_BACKOFF + rtt * 3 + heartbeat * 2;
        // A restarted replica waits six heartbeats; a clock is heard with the next.
        let start = heartbeat * 8;
        // Missing entries are noticed by a heartbeat or by silence on acknowledgements: after four heartbeats, doubled
        // once, or after up to 32 if acknowledgements were lost repeatedly.
        let silence = if self.was_lossy() { 32 } else { 10 };
        let per_hop = heartbeat * (silence + 4) + settings.relay_after + rtt * 2;
        let sync = self.scenario.disks.sync * 40;
        // After a bucket was lost, entries that no peer has are given up after 120 heartbeats without news: once for
        // the whole store and once for the own log.
        let is_bucket = |act: &Act| matches!(act, Act::LoseBucket { .. } | Act::OldBucket { .. } | Act::Flip { .. });
        let given_up =
            if self.faults.iter().any(|fault| is_bucket(&fault.act)) { heartbeat * 250 } else { Duration::ZERO };
        (connect + start + given_up + per_hop * hops.max(1) + backlog + sync).mul_f64(self.scenario.checks.bound)
    }

    /// Whether frames vanished on links that stayed up.
    pub(super) fn was_lossy(&self) -> bool {
        self.scenario.network.loss > 0.0
            || self.scenario.faults.iter().any(|fault| fault.loss.is_some_and(|loss| loss > 0.0))
    }

    /// The longest of the shortest paths in the core, in links.
    fn hops(&self, core: &BTreeSet<usize>) -> usize {
        let mut longest = 0;
        for start in core {
            let mut reached = BTreeSet::from([*start]);
            let mut steps = 0;
            loop {
                let next = core.iter().filter(|to| reached.iter().any(|from| self.are_neighbours(*from, **to)));
                let before = reached.len();
                let next: Vec<usize> = next.copied().collect();
                reached.extend(next);
                if reached.len() == before {
                    break;
                }
                steps += 1;
            }
            longest = longest.max(steps);
        }
        longest
    }

    /// The first condition of convergence that is not met, by name.
    fn unmet(&self, core: &BTreeSet<usize>) -> Option<String> {
        let name = |at: usize| self.scenario.regions[at].as_str();
        for at in core {
            let Some(process) = &self.nodes[*at].process else { return Some(format!("{} does not run", name(*at))) };
            let status = process.replica.status(self.now_of(*at));
            if let Some(doubt) = status.doubt {
                return Some(format!("{} doubts its clock ({doubt:?})", name(*at)));
            }
            if status.starting {
                return Some(format!("{} waits for its peers' word on its log", name(*at)));
            }
            // A wrong clock may be right again without its replica having looked at it.
            let (time, skew) = (status.clock.at(self.now_of(*at).mono), self.scenario.replica.max_clock_skew);
            if time > self.true_wall().plus(skew * 3) {
                return Some(format!("the time of {} is still ahead", name(*at)));
            }
            if time.plus(skew) < self.true_wall() {
                return Some(format!("the time of {} is still behind", name(*at)));
            }
        }
        for a in core {
            for b in core.range(a + 1..) {
                if self.are_neighbours(*a, *b) && !self.are_linked(*a, *b) {
                    return Some(format!("no link between {} and {}", name(*a), name(*b)));
                }
            }
        }
        let left = self.origins_left();
        let mut all = VersionVector::default();
        for at in core {
            all.merge(&self.known_of(*at, &left)?);
        }
        for at in core {
            let known = self.known_of(*at, &left)?;
            if known != all {
                return Some(format!("{} lacks {} entries that others have", name(*at), all.ahead_of(&known)));
            }
            if !self.is_settled(*at) {
                return Some(format!("a batch of {} is not durable", name(*at)));
            }
        }
        // A claim may need entries that only regions outside the core have.
        let whole = self.nodes.iter().filter(|node| node.exists).count() == core.len();
        if whole { self.incomplete(core) } else { None }
    }

    /// A region that has everything and does not say that it is complete.
    fn incomplete(&self, core: &BTreeSet<usize>) -> Option<String> {
        // A claim is made at a heartbeat by its node's own clock, and heard at another heartbeat.
        let slack = self.scenario.replica.max_clock_skew * 2 + self.scenario.replica.heartbeat * 10;
        let statuses: Vec<_> = core
            .iter()
            .filter_map(|at| Some((*at, self.nodes[*at].process.as_ref()?.replica.status(self.now_of(*at)))))
            .collect();
        let forgot_early: BTreeSet<usize> =
            statuses.iter().filter(|(_, status)| status.dropped_too_early).map(|(at, _)| *at).collect();
        for (at, status) in statuses.iter().filter(|(at, _)| !forgot_early.contains(at)) {
            let name = |at: usize| self.scenario.regions[at].as_str();
            if status.recovering {
                return Some(format!("{} still fetches its log back", name(*at)));
            }
            if status.filling {
                return Some(format!("{} still lacks what its peers had when they greeted it", name(*at)));
            }
            // A claim is believed only from its own node over a link. A region that lost entries of its own with a
            // bucket does not say that it is complete until every peer has said that it does not have them.
            let has_all_linked = |of: usize| {
                self.nodes
                    .iter()
                    .enumerate()
                    .all(|(peer, node)| peer == of || !node.exists || self.are_neighbours(of, peer))
            };
            let may_say = |of: usize| !self.nodes[of].lost_bucket || has_all_linked(of);
            let is_near = |of: usize| of == *at || self.are_neighbours(*at, of);
            for of in core.iter().filter(|of| !forgot_early.contains(of) && is_near(**of) && may_say(**of)) {
                let through = status.complete_through.get(&self.nodes[*of].region).copied().unwrap_or_default();
                if through.plus(slack) < self.true_wall() {
                    return Some(format!("{} does not say that it is complete for {}", name(*at), name(*of)));
                }
            }
        }
        None
    }

    /// Checks everything that must hold for healed replicas.
    fn check_completely(&mut self, core: &BTreeSet<usize>) {
        self.look_for_overfull(core);
        self.equal_vectors_mean_equal_documents();
        self.no_dot_stands_for_two_entries();
        self.nothing_is_lost(core);
        self.clocks_of_others_do_no_harm();
        self.nothing_outlives_its_expiry(core);
        self.everything_is_there_once(core);
        for at in core {
            self.no_resurrection_at_all(*at);
            self.no_erased_bytes_anywhere(*at);
            self.lists_are_complete(*at);
        }
        if let Some(first) = core.first() {
            for other in core.range(first + 1..) {
                self.equal_values(*first, *other);
            }
        }
    }

    /// Time passes, in nights with some waking between them, until no region may have anything of any visit: by every
    /// clock that is right within the skew, the last day of the longest retention is over.
    fn forget(&mut self, core: &BTreeSet<usize>) {
        const NIGHTS: u32 = 3;
        let settings = self.scenario.replica.clone();
        let last_day = |truth: &VisitTruth| Bucket::of(truth.key.name.id.arrival().plus(settings.max_retention)).end();
        let last = self.model.visits.values().map(last_day).max().unwrap_or_default();
        for nights in (1..=NIGHTS).rev() {
            let left = last.plus(settings.max_clock_skew * 2).since(self.true_wall());
            self.slept += left / nights;
            self.wake_all();
            self.run_until(self.now + settings.heartbeat * 30);
            for at in core {
                self.no_resurrection_at_all(*at);
            }
        }
        self.everything_is_forgotten(core);
    }
}
