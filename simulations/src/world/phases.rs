//! The phases of a run: faults; then the core heals, must converge within a bound and come to rest; then time passes
//! until everything has expired.

use std::collections::BTreeSet;
use std::time::Duration;

use replication::{Bucket, KeyName, VersionVector, Wall};

use super::links::LAST_BACKOFF;
use super::{World, check};
use crate::coverage::Coverage;
use crate::index::NodeIndex;
use crate::invariant::{Broken, Invariant};
use crate::model::VisitTruth;
use crate::scenario::Act;

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
    pub(crate) fn run(&mut self) -> Convergence {
        let duration = self.scenario.duration;
        self.run_until(duration);
        let mut convergence = Convergence { healed_at: self.calendar.now(), ..Convergence::default() };
        if self.broken.is_some() {
            return convergence;
        }
        self.open = false;
        let core = self.core();
        self.heal(&core);
        convergence.bound = self.bound(&core);
        let deadline = self.calendar.now() + convergence.bound;
        loop {
            self.run_until((self.calendar.now() + LOOK).min(deadline));
            if self.broken.is_some() {
                return convergence;
            }
            convergence.unmet = self.unmet(&core);
            if convergence.unmet.is_none() {
                break;
            }
            if self.calendar.now() >= deadline {
                let why = convergence.unmet.clone().unwrap_or_default();
                self.fail_run(Broken::new(
                    Invariant::Liveness,
                    self.calendar.now(),
                    None,
                    format!("not converged: {why}"),
                ));
                return convergence;
            }
        }
        convergence.took = Some(self.calendar.now() - convergence.healed_at);
        self.last_sample();
        self.check_completely(&core);
        self.comes_to_rest(&core);
        if self.scenario.checks.forget && self.broken.is_none() {
            self.forget(&core);
        }
        convergence
    }

    /// The regions that heal: those named, otherwise all that exist.
    pub(super) fn core(&self) -> BTreeSet<NodeIndex> {
        let named = self.scenario.checks.core.iter().filter_map(|name| self.scenario.region(name).ok());
        let named: BTreeSet<NodeIndex> = named.filter(|region| self.nodes[*region].exists).collect();
        if named.is_empty() {
            self.nodes.indices().filter(|region| self.nodes[*region].exists).collect()
        } else {
            named
        }
    }

    /// The longest time that healed replicas may need, from their settings and distances. Dead links are noticed and
    /// dialled again; a restarted replica waits for its peers; clocks are heard. Then, along each hop, missing entries
    /// are noticed and sent, relays wait for their time, and the backlog has to pass.
    fn bound(&self, core: &BTreeSet<NodeIndex>) -> Duration {
        let settings = &self.scenario.replica;
        let heartbeat = settings.heartbeat;
        let rtt = self.net.longest_crossing(core) * 2;
        let hops = u32::try_from(self.nodes.hops(core)).unwrap_or(u32::MAX);
        let backlog = core.iter().map(|node| self.nodes[*node].disk.contents().bytes()).max().unwrap_or(0);
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
        let is_bucket =
            |act: &Act<NodeIndex>| matches!(act, Act::LoseBucket { .. } | Act::OldBucket { .. } | Act::Flip { .. });
        let given_up =
            if self.faults.iter().any(|fault| is_bucket(&fault.act)) { heartbeat * 250 } else { Duration::ZERO };
        // The scrub reads the store once more, in slices that a peer answers for, and asks the peers in turn.
        let is_rot = |act: &Act<NodeIndex>| matches!(act, Act::Rot { .. });
        let scrubbed = if self.faults.iter().any(|fault| is_rot(&fault.act)) {
            settings.scrub_every + heartbeat * 60
        } else {
            Duration::ZERO
        };
        (connect + start + given_up + scrubbed + per_hop * hops.max(1) + backlog + sync)
            .mul_f64(self.scenario.checks.bound)
    }

    /// Whether frames vanished on links that stayed up.
    pub(super) fn was_lossy(&self) -> bool {
        self.scenario.network.loss > 0.0 || self.faults.lose_frames()
    }

    /// The first condition of convergence that is not met, by name.
    fn unmet(&self, core: &BTreeSet<NodeIndex>) -> Option<String> {
        let name = |node: NodeIndex| self.scenario.name(node);
        for node in core {
            let Some(process) = &self.nodes[*node].process else {
                return Some(format!("{} does not run", name(*node)));
            };
            let status = process.replica.status(self.now_of(*node));
            if let Some(doubt) = status.doubt {
                return Some(format!("{} doubts its clock ({doubt:?})", name(*node)));
            }
            if status.starting {
                return Some(format!("{} waits for its peers' word on its log", name(*node)));
            }
            // A wrong clock may be right again without its replica having looked at it.
            let (time, skew) = (status.clock.at(self.now_of(*node).mono), self.scenario.replica.max_clock_skew);
            if time > self.calendar.true_wall().plus(skew * 3) {
                return Some(format!("the time of {} is still ahead", name(*node)));
            }
            if time.plus(skew) < self.calendar.true_wall() {
                return Some(format!("the time of {} is still behind", name(*node)));
            }
        }
        for a in core {
            for b in core.range(NodeIndex(a.0 + 1)..) {
                if self.nodes.are_neighbours(*a, *b) && !self.nodes.are_linked(*a, *b) {
                    return Some(format!("no link between {} and {}", name(*a), name(*b)));
                }
            }
        }
        let left = self.nodes.origins_left();
        let mut all = VersionVector::default();
        for node in core {
            all.merge(&self.nodes[*node].known_of(&left)?);
        }
        for node in core {
            let known = self.nodes[*node].known_of(&left)?;
            if known != all {
                return Some(format!("{} lacks {} entries that others have", name(*node), all.ahead_of(&known)));
            }
            if self.is_rotten(*node) {
                return Some(format!("a document of {} does not open", name(*node)));
            }
            if !self.nodes[*node].is_settled() {
                return Some(format!("a batch of {} is not durable", name(*node)));
            }
        }
        // A claim may need entries that only regions outside the core have.
        let whole = self.nodes.iter().filter(|machine| machine.exists).count() == core.len();
        if whole { self.incomplete(core) } else { None }
    }

    /// A region that has everything and does not say that it is complete.
    fn incomplete(&self, core: &BTreeSet<NodeIndex>) -> Option<String> {
        // A claim is made at a heartbeat by its node's own clock, and heard at another heartbeat.
        let slack = self.scenario.replica.max_clock_skew * 2 + self.scenario.replica.heartbeat * 10;
        let statuses: Vec<_> = core
            .iter()
            .filter_map(|node| Some((*node, self.nodes[*node].process.as_ref()?.replica.status(self.now_of(*node)))))
            .collect();
        let forgot_early: BTreeSet<NodeIndex> =
            statuses.iter().filter(|(_, status)| status.dropped_too_early).map(|(node, _)| *node).collect();
        for (node, status) in statuses.iter().filter(|(node, _)| !forgot_early.contains(node)) {
            let name = |node: NodeIndex| self.scenario.name(node);
            if status.recovering {
                return Some(format!("{} still fetches its log back", name(*node)));
            }
            if status.filling {
                return Some(format!("{} still lacks what its peers had when they greeted it", name(*node)));
            }
            // A claim is believed only from its own node over a link. A region that lost entries of its own with a
            // bucket does not say that it is complete until every peer has said that it does not have them.
            let has_all_linked =
                |of: NodeIndex| self.nodes.existing().all(|peer| peer == of || self.nodes.are_neighbours(of, peer));
            let may_say = |of: NodeIndex| !self.nodes[of].lost_bucket || has_all_linked(of);
            let is_near = |of: NodeIndex| of == *node || self.nodes.are_neighbours(*node, of);
            for of in core.iter().filter(|of| !forgot_early.contains(of) && is_near(**of) && may_say(**of)) {
                let through = status.complete_through.get(&self.nodes[*of].region).copied().unwrap_or_default();
                if through.plus(slack) < self.calendar.true_wall() {
                    return Some(format!("{} does not say that it is complete for {}", name(*node), name(*of)));
                }
            }
        }
        None
    }

    /// Checks everything that must hold for healed replicas.
    fn check_completely(&mut self, core: &BTreeSet<NodeIndex>) {
        if check::bounds::is_any_overfull(self, core) {
            self.coverage.insert(Coverage::Overfull);
        }
        self.check(check::convergence::equal_vectors_mean_equal_documents(self));
        self.check(check::fork::no_dot_stands_for_two_entries(self));
        self.check(check::durability::nothing_is_lost(self, core));
        self.check(check::retention::no_change_of_a_venue_is_lost(self, core));
        self.check(check::clocks::clocks_of_others_do_no_harm(self));
        self.check(check::forgetting::nothing_outlives_its_expiry(self, core));
        self.check(check::idempotence::everything_is_there_once(self, core));
        for node in core {
            self.check_dead(*node);
            self.check(check::erasure::no_erased_bytes_anywhere(self, *node));
            self.check(check::completeness::lists_are_complete(self, *node));
        }
        if let Some(first) = core.first() {
            for other in core.range(NodeIndex(first.0 + 1)..) {
                self.check(check::convergence::equal_values(self, *first, *other));
            }
        }
    }

    /// Time passes, in nights with some waking between them, until no region may have anything of any visit: by every
    /// clock that is right within the skew, the last day of the longest retention is over, and so is every document that
    /// may have arrived in the hour of the last visit, because one key file is for all of them. Keys go at whole hours.
    fn forget(&mut self, core: &BTreeSet<NodeIndex>) {
        const NIGHTS: u32 = 3;
        const HOUR_MS: u64 = 3_600_000;
        let settings = self.scenario.replica.clone();
        let is_over = |truth: &VisitTruth| {
            let (name, longest) = (&truth.key.name, settings.max_retention);
            let last_day = Bucket::of(name.id.arrival().plus(longest)).end();
            let keys = KeyName::tree(name, false).needed_until(longest).0.next_multiple_of(HOUR_MS);
            last_day.max(Wall(keys))
        };
        let last = self.model.visits.values().map(is_over).max().unwrap_or_default();
        for nights in (1..=NIGHTS).rev() {
            let left = last.plus(settings.max_clock_skew * 2).since(self.calendar.true_wall());
            self.calendar.sleep(left / nights);
            self.wake_all();
            self.run_until(self.calendar.now() + settings.heartbeat * 30);
            for node in core {
                self.check_dead(*node);
            }
        }
        self.check(check::forgetting::everything_is_forgotten(self, core));
    }
}
