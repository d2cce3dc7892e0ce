//! The world: replicas with their disks and clocks, the network between them, citizens, and a calendar of events.
//!
//! Events happen one at a time, in the order of the calendar. Nothing else decides what happens next, so a seed
//! determines the whole run.

mod attempt;
mod calendar;
mod check;
mod client;
mod clock;
mod disk;
mod fault;
mod links;
mod machine;
mod machines;
mod network;
mod phases;
mod rest;
mod rot;
mod router;
mod sample;
mod sealed;
mod stale;
mod turn;
mod venues;
mod verdict;
mod visits;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use replication::{BatchId, LinkId, Monotonic, Now, Wall};

use crate::coverage::{Coverage, Covered};
use crate::figures::FaultBand;
use crate::history::History;
use crate::index::{FaultIndex, NodeIndex, OperationIndex};
use crate::invariant::Broken;
use crate::meter::Meter;
use crate::model::Model;
use crate::reply::Answer;
use crate::scenario::{Act, Operation, Resolved, Scenario};
use crate::trace::Trace;

use attempt::Attempt;
use calendar::Calendar;
pub(crate) use disk::Engine;
use fault::Faults;
use machine::Machine;
use machines::Machines;
use network::Network;
pub use phases::Convergence;

#[derive(Clone, Debug)]
enum CalendarEvent {
    Timer { node: NodeIndex, epoch: u64 },
    Synced { node: NodeIndex, epoch: u64, batch: BatchId },
    Input { node: NodeIndex, input: Input },
    Ready { node: NodeIndex, epoch: u64 },
    Dial { pair: (NodeIndex, NodeIndex) },
    Established { pair: (NodeIndex, NodeIndex) },
    Restart { node: NodeIndex, epoch: u64 },
    Reconfigure(NodeIndex),
    Ask(OperationIndex),
    Answer { attempt: Attempt, answer: Answer },
    GiveUp(Attempt),
    FaultBegins(FaultIndex),
    FaultEnds(FaultIndex),
    Flap(FaultIndex),
    Backup(FaultIndex),
    Probe(NodeIndex),
    Detect { node: NodeIndex, epoch: u64 },
    DetectHang { node: NodeIndex, epoch: u64, batch: BatchId },
    RestartAgain(FaultIndex),
    Sample,
    Check,
}

/// An input that reaches a machine from outside.
#[derive(Clone, Debug)]
enum Input {
    Frame { link: LinkId, from: NodeIndex, bytes: Arc<[u8]>, clock: Option<Arc<[u64]>> },
    Closed { link: LinkId },
    Request(Attempt),
}

/// The state of a run: machines, network, clients, calendar, and what was found so far.
pub(crate) struct World {
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) operations: Arc<[Operation]>,
    seed: u64,
    pub(crate) calendar: Calendar,
    pub(crate) nodes: Machines,
    net: Network,
    links: links::Links,
    router: router::Router,
    clients: client::Clients,
    pub(crate) model: Model,
    pub(crate) meter: Meter,
    pub(crate) trace: Trace,
    pub(crate) history: History,
    faults: Faults,
    /// Kinds of faults that really happened, and other things that a sweep must have seen.
    coverage: Covered,
    /// The first broken invariant ends the run.
    pub(crate) broken: Option<Broken>,
    /// Machines whose clocks a fault has touched.
    clocks_touched: BTreeSet<NodeIndex>,
    /// When an acknowledged write was last lost by contract. Its dots may be used again (A8).
    lost_at: Option<Duration>,
    /// When a replica last forgot an origin.
    retired_at: Option<Duration>,
    /// Requests are still being made.
    pub(crate) open: bool,
    /// Regular samples are still being taken.
    sampling: bool,
}

impl World {
    /// A world at its first moment. `scenario` must be a drawn plan (no workload, no swarm); `faults` are
    /// `scenario.faults`, resolved.
    ///
    /// # Errors
    /// [`crate::scenario::ScenarioError`] if the scenario contradicts itself.
    pub(crate) fn new(
        scenario: Scenario,
        faults: Vec<Resolved>,
        seed: u64,
        history: History,
        engine: Engine,
    ) -> Result<World, crate::scenario::ScenarioError> {
        let nights = faults.iter().filter(|fault| fault.act == Act::Night {}).map(|fault| (fault.at, fault.lasts));
        let added: BTreeSet<NodeIndex> = faults
            .iter()
            .filter_map(|fault| if let Act::Add { region } = fault.act { Some(region) } else { None })
            .collect();
        let net = Network::new(&scenario, seed);
        let nodes = Machines::new(Machine::all(&scenario, seed, &added, engine), scenario.network.topology);
        let regions = scenario.regions.len();
        let mut scenario = scenario;
        let operations: Arc<[Operation]> = std::mem::take(&mut scenario.operations).into();
        let mut world = World {
            seed,
            calendar: Calendar::new(scenario.start, nights.collect()),
            links: links::Links::new(seed),
            router: router::Router::new(&scenario, &net, seed),
            clients: client::Clients::new(&scenario, &operations)?,
            model: Model::default(),
            meter: Meter::new(regions, &scenario),
            trace: Trace::default(),
            history,
            faults: Faults::new(faults),
            coverage: Covered::default(),
            broken: None,
            clocks_touched: BTreeSet::new(),
            lost_at: None,
            retired_at: None,
            open: true,
            sampling: true,
            net,
            nodes,
            operations,
            scenario: Arc::new(scenario),
        };
        world.introduce_visits();
        world.plan_faults();
        for node in world.nodes.indices() {
            if world.nodes[node].exists {
                world.start(node);
            }
            world.schedule_probe(node);
        }
        world.plan_samples();
        world.next_operation();
        Ok(world)
    }

    /// Runs until `until` of awake time, or until something broke.
    fn run_until(&mut self, until: Duration) {
        while self.broken.is_none()
            && let Some(event) = self.calendar.next(until)
        {
            self.happen(event);
        }
        if self.broken.is_none() {
            self.calendar.wait_until(until);
        }
    }

    fn happen(&mut self, event: CalendarEvent) {
        match event {
            CalendarEvent::Timer { node, epoch } => self.timer(node, epoch),
            CalendarEvent::Synced { node, epoch, batch } => self.synced(node, epoch, batch),
            CalendarEvent::Input { node, input } => self.arrive(node, input),
            CalendarEvent::Ready { node, epoch } => self.work_off(node, epoch),
            CalendarEvent::Dial { pair } => self.dial(pair),
            CalendarEvent::Established { pair } => self.established(pair),
            CalendarEvent::Restart { node, epoch } => {
                if self.nodes[node].epoch == epoch {
                    self.start(node);
                }
            }
            CalendarEvent::Reconfigure(node) => self.reconfigured(node),
            CalendarEvent::Ask(operation) => {
                self.ask(operation);
                self.next_operation();
            }
            CalendarEvent::Answer { attempt, answer } => self.answered(attempt, answer),
            CalendarEvent::GiveUp(attempt) => self.attempt_timed_out(attempt),
            CalendarEvent::FaultBegins(fault) => self.fault_begins(fault),
            CalendarEvent::FaultEnds(fault) => self.fault_ends(fault),
            CalendarEvent::Flap(fault) => self.flap(fault),
            CalendarEvent::Backup(fault) => self.backup(fault),
            CalendarEvent::Probe(region) => self.probe(region),
            CalendarEvent::Detect { node, epoch } => self.must_be_detected(node, epoch),
            CalendarEvent::DetectHang { node, epoch, batch } => self.hang_must_be_detected(node, epoch, batch),
            CalendarEvent::RestartAgain(fault) => self.restart_again(fault),
            CalendarEvent::Sample => self.sample(),
            CalendarEvent::Check => self.checkpoint(),
        }
    }

    /// The readings of the clocks of a machine.
    pub(crate) fn now_of(&self, node: NodeIndex) -> Now {
        let elapsed = self.calendar.elapsed();
        let node = &self.nodes[node];
        let started = node.process.as_ref().map_or(elapsed, |process| process.started);
        let wall = self.calendar.true_wall().0.saturating_add_signed(node.clock.error_ms(elapsed));
        Now { mono: Monotonic(elapsed.saturating_sub(started)), wall: Wall(wall) }
    }

    /// What came up.
    #[must_use]
    pub(crate) fn coverage(&self) -> BTreeSet<Coverage> {
        self.coverage.union(self.net.happened())
    }

    /// How far a machine's wall clock is ahead of true time.
    pub(crate) fn clock_error(&self, node: NodeIndex) -> i64 {
        self.nodes[node].clock.error_ms(self.calendar.elapsed())
    }

    /// Whether a fault has touched a machine's clock so far.
    pub(crate) fn was_clock_wrong(&self, node: NodeIndex) -> bool {
        self.clocks_touched.contains(&node)
    }

    /// The faults as bands in time.
    pub(crate) fn bands(&self) -> Vec<FaultBand> {
        let ends = self.scenario.duration;
        let band = |fault: &crate::scenario::Fault| FaultBand {
            kind: fault.kind().to_string(),
            label: fault.label(),
            from: fault.at.as_secs_f64(),
            until: fault.ends_at().min(ends).as_secs_f64(),
        };
        self.scenario.faults.iter().map(band).collect()
    }
}
