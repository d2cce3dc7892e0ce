//! Regular samples: measurements, and the checks that are too expensive to make at every event.

use std::time::Duration;

use super::{CalendarEvent, World, check};
use crate::figures::{FaultEnd, Sample};
use crate::index::NodeIndex;
use crate::scenario::Scenario;

/// Samples in a run.
const SAMPLES: u32 = 200;
/// Comparisons of everything in a run; fewer in worlds that are too large to be compared often.
const CHECKS: u32 = 24;
const FEW_CHECKS: u32 = 6;

/// Time between two comparisons of everything.
fn check_every(scenario: &Scenario) -> Duration {
    scenario.duration / if scenario.checks.deep { CHECKS } else { FEW_CHECKS }
}

impl World {
    pub(super) fn plan_samples(&mut self) {
        self.calendar.schedule(Duration::ZERO, CalendarEvent::Sample);
        self.calendar.schedule(check_every(&self.scenario), CalendarEvent::Check);
    }

    /// Takes a sample of every region.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.nodes.indices().map(|node| self.sample_of(node)).collect()
    }

    /// The run proper ends with a last sample. Later ones would only show lines that fall to zero, while everything is
    /// forgotten.
    pub(super) fn last_sample(&mut self) {
        self.meter.samples.extend(self.samples());
        self.sampling = false;
    }

    pub(super) fn sample(&mut self) {
        if !self.sampling {
            return;
        }
        self.meter.samples.extend(self.samples());
        let every = (self.scenario.duration / SAMPLES).max(Duration::from_millis(500));
        self.calendar.schedule(self.calendar.now() + every, CalendarEvent::Sample);
    }

    fn sample_of(&self, node: NodeIndex) -> Sample {
        let regions = self.nodes.len();
        let machine = &self.nodes[node];
        let mut sample = Sample {
            at: self.calendar.now().as_secs_f64(),
            region: node,
            up: machine.process.is_some() && machine.paused == 0,
            ready: false,
            documents: 0,
            tombstones: 0,
            log_entries: machine.disk.contents().log_entries(),
            bytes: machine.disk.contents().bytes(),
            lag_entries: vec![0; regions],
            lag_s: vec![0.0; regions],
            completeness_s: vec![None; regions],
        };
        let Some(process) = &machine.process else { return sample };
        let status = process.replica.status(self.now_of(node));
        sample.ready = self.is_ready(node);
        sample.documents = status.documents;
        sample.tombstones = status.tombstones;
        let now = self.calendar.true_wall();
        for other in self.nodes.indices() {
            if other != node {
                sample.lag_s[other.0] = self.meter.lag(self.calendar.now(), other, node).as_secs_f64();
                if let Some(peer) = &self.nodes[other].process {
                    let id = peer.replica.id();
                    sample.lag_entries[other.0] = peer.replica.durable().get(id).saturating_sub(status.durable.get(id));
                }
            }
            // Zero means that the replica has not heard of the region yet, so it cannot say.
            let through = status.complete_through.get(&self.nodes[other].region).filter(|through| through.0 > 0);
            sample.completeness_s[other.0] = through.map(|through| now.since(*through).as_secs_f64());
        }
        sample
    }

    /// A fault ended: measures how long each reachable region takes to get what the others have now. A pair that is not
    /// behind has nothing to recover from and is only counted.
    pub(super) fn watch_recovery(&mut self) {
        let mut ended = FaultEnd { at: self.calendar.now().as_secs_f64(), pairs: 0, behind: 0 };
        for from in self.nodes.indices() {
            let Some(process) = &self.nodes[from].process else { continue };
            let (origin, seq) = (process.replica.id(), process.replica.durable().get(process.replica.id()));
            for to in self.nodes.reachable(from, &self.net).into_iter().filter(|to| *to != from) {
                let behind =
                    self.nodes[to].process.as_ref().is_some_and(|process| process.replica.durable().get(origin) < seq);
                ended.pairs += 1;
                if behind {
                    ended.behind += 1;
                    self.meter.await_recovery(self.calendar.now(), from, to, origin, seq);
                }
            }
        }
        self.meter.fault_ends.push(ended);
    }

    /// Compares everything with everything.
    pub(super) fn checkpoint(&mut self) {
        self.check(check::convergence::equal_vectors_mean_equal_documents(self));
        if self.scenario.checks.deep {
            self.check(check::fork::no_dot_stands_for_two_entries(self));
            self.check(check::clocks::clocks_of_others_do_no_harm(self));
            for node in self.nodes.indices() {
                self.check_dead(node);
                self.check(check::completeness::lists_are_complete(self, node));
                if self.nodes[node].is_settled() {
                    self.check(check::erasure::no_erased_bytes_anywhere(self, node));
                }
            }
        }
        if self.open {
            self.calendar.schedule(self.calendar.now() + check_every(&self.scenario), CalendarEvent::Check);
        }
    }
}
