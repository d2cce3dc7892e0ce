//! The health of all regions as one state machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::orders::{Order, OrderKind};
use jiff::Timestamp;

use super::orders::Orders;
use super::quorum::{Ballot, Decision, Heard, decide};
use super::{HealthRules, Track, Verdict};
use crate::fleet::{Fleet, Node, Region, RegionIndex};
use crate::view::RegionView;
use api::explanation::RegionState;

/// Admission grows in this many steps, so that DNS answers do not change at every moment of a ramp.
const STEPS: f64 = 20.0;

/// The part of a region's share with which a ramp begins.
const RAMP_START: f64 = 0.1;

/// The least part of a region's share that passive signals leave.
const PASSIVE_FLOOR: f64 = 0.2;

/// Number of requests that must have been seen before their failures count.
const PASSIVE_LEAST: u64 = 10;

/// The fitness of each region.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitness {
    /// In the fleet's order.
    pub regions: Vec<RegionView>,
    /// The admission for the policy, including regions that serve only because there is no better one.
    pub admission: Vec<f64>,
    /// Whether health is ignored because all regions are out.
    pub fail_open: bool,
    /// Whether too few routers are heard for a verdict.
    pub frozen: bool,
    /// Shortest time until any of this can change.
    pub until_change: Duration,
}

#[derive(Clone, Debug, Default)]
struct Agreed {
    verdict: Verdict,
    /// When its share began to come back.
    ramp_from: Option<Duration>,
    order: Option<OrderKind>,
    /// Per cent of its clients that the order leaves it.
    keeps: u8,
    /// The part of the edge's latest requests to it that failed.
    failing: f64,
    /// It was added while the router runs, and there was no verdict on it yet. It takes no clients until it is up, and
    /// then it ramps, because the other regions serve meanwhile.
    is_new: bool,
}

/// The health of all regions.
#[derive(Debug)]
pub struct Health {
    fleet: Arc<Fleet>,
    rules: HealthRules,
    /// This router's name and region.
    me: (String, Option<String>),
    /// The number of routers, this one included.
    routers: usize,
    tracks: Vec<Vec<Track>>,
    heard: BTreeMap<String, Heard>,
    orders: Orders,
    agreed: Vec<Agreed>,
    frozen: bool,
}

impl Health {
    /// Begins without observations. `restored` are the verdicts from before a restart, by region; `orders` the
    /// operators' orders.
    #[must_use]
    pub fn new(
        fleet: Arc<Fleet>,
        rules: HealthRules,
        me: (String, Option<String>),
        routers: usize,
        restored: &BTreeMap<String, Verdict>,
        orders: Orders,
    ) -> Health {
        let known = |name: &str| restored.get(name).copied().unwrap_or_default();
        let track = |name: &str| if known(name) == Verdict::Down { Track::down() } else { Track::default() };
        let tracks = fleet.regions.iter().map(|region| vec![track(region.name.as_str()); region.nodes.len()]).collect();
        let agreed = |name: &str| Agreed { verdict: known(name), keeps: 100, ..Agreed::default() };
        let agreed = fleet.regions.iter().map(|region| agreed(region.name.as_str())).collect();
        Health { fleet, rules, me, routers, tracks, heard: BTreeMap::new(), orders, agreed, frozen: false }
    }

    /// Goes on with another fleet and other rules. A region that stays keeps its verdict, ramp and order; a node that
    /// stays at its address keeps its probes, also if it moves to another region. A new region takes no clients before
    /// it is up, and then ramps; a new node takes none before its first good probe.
    pub(crate) fn go_on_with(&mut self, fleet: Arc<Fleet>, rules: HealthRules) {
        let track = |region: &Region, node: &Node| {
            let known = self.fleet.find_node(&node.name, &node.at);
            let known = known.map(|id| self.tracks[id.region.at()][id.node].clone());
            // The nodes of a region that is down prove themselves like any node that is down.
            let is_down = self.fleet.find(region.name.as_str());
            let is_down = is_down.is_some_and(|index| self.agreed[index.at()].verdict == Verdict::Down);
            known.unwrap_or_else(|| if is_down { Track::down() } else { Track::added() })
        };
        let tracks = fleet.regions.iter().map(|region| region.nodes.iter().map(|node| track(region, node)).collect());
        let tracks = tracks.collect();
        let new = Agreed { keeps: 100, is_new: true, ..Agreed::default() };
        let agreed = |region: &Region| {
            let known = self.fleet.find(region.name.as_str());
            known.map_or_else(|| new.clone(), |index| self.agreed[index.at()].clone())
        };
        let agreed = fleet.regions.iter().map(agreed).collect();
        (self.tracks, self.agreed, self.fleet, self.rules) = (tracks, agreed, fleet, rules);
    }

    /// A probe of a node ended.
    pub(crate) fn handle_probe(&mut self, now: Duration, region: RegionIndex, node: usize, good: bool) {
        self.tracks[region.at()][node].record(now, good, &self.rules);
    }

    /// Another router sent its verdicts.
    pub(crate) fn handle_ballot(&mut self, now: Duration, ballot: Ballot) {
        if ballot.router != self.me.0 {
            self.heard.insert(ballot.router.clone(), Heard { ballot, at: now });
        }
    }

    /// A node showed an operator's order. Returns whether it is new.
    pub(crate) fn handle_order(&mut self, region: &str, order: Order) -> bool {
        self.fleet.find(region).is_some() && self.orders.take(region, order)
    }

    /// The outcomes of the edge's latest requests to a region.
    pub(crate) fn handle_passive(&mut self, region: RegionIndex, answered: u64, failed: u64) {
        let all = answered + failed;
        let failing = if all < PASSIVE_LEAST { 0.0 } else { failed as f64 / all as f64 };
        // Rounded to tenths, because the figure is not more precise than that.
        self.agreed[region.at()].failing = (failing * 10.0).round() / 10.0;
    }

    /// This router's verdict on every region by its own probes: a region is up while one of its nodes is up.
    #[must_use]
    pub fn ballot(&self) -> Ballot {
        let verdict = |tracks: &[Track]| {
            let any = |verdict| tracks.iter().any(|track| track.verdict() == verdict);
            if any(Verdict::Up) {
                Verdict::Up
            } else if any(Verdict::Unknown) {
                Verdict::Unknown
            } else {
                Verdict::Down
            }
        };
        let names = self.fleet.regions.iter().map(|region| region.name.to_string());
        let verdicts = names.zip(self.tracks.iter().map(|tracks| verdict(tracks))).collect();
        Ballot { router: self.me.0.clone(), region: self.me.1.clone(), verdicts }
    }

    /// Names of the other routers that are heard now.
    #[must_use]
    pub fn heard(&self, now: Duration) -> Vec<&str> {
        self.fresh(now).map(|heard| heard.ballot.router.as_str()).collect()
    }

    /// The verdict that holds for each region, by name; the router keeps it over a restart.
    #[must_use]
    pub fn agreed(&self) -> BTreeMap<String, Verdict> {
        let names = self.fleet.regions.iter().map(|region| region.name.to_string());
        names.zip(self.agreed.iter().map(|agreed| agreed.verdict)).collect()
    }

    /// All orders that are known.
    #[must_use]
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Decides what can be decided now, and returns how fit every region is.
    pub(crate) fn assess(&mut self, now: Duration, wall: Timestamp) -> Fitness {
        self.decide(now, wall);
        let regions: Vec<RegionView> = self.fleet.indices().map(|region| self.region(now, region)).collect();
        let (admission, fail_open) = admission(&regions);
        Fitness { fail_open, admission, frozen: self.frozen, until_change: self.until_change(now, wall), regions }
    }

    fn fresh(&self, now: Duration) -> impl Iterator<Item = &Heard> {
        // A router sends its verdicts at every interval; after three missed intervals it counts as not heard.
        let oldest = now.saturating_sub(self.rules.interval * 3);
        self.heard.values().filter(move |heard| heard.at >= oldest)
    }

    fn decide(&mut self, now: Duration, wall: Timestamp) {
        let own = self.ballot();
        let mut frozen = false;
        let decisions: Vec<Decision> = self
            .fleet
            .regions
            .iter()
            .map(|region| {
                let fresh = self.fresh(now).map(|heard| &heard.ballot).chain([&own]);
                decide(region.name.as_str(), fresh, self.routers)
            })
            .collect();
        for ((agreed, decision), region) in self.agreed.iter_mut().zip(decisions).zip(&self.fleet.regions) {
            frozen |= decision == Decision::Frozen;
            let order = self.orders.on(region.name.as_str());
            let was_out = out(agreed);
            agreed.order = order.map(|order| order.at(wall.into()));
            agreed.keeps = order.map_or(100, |order| order.keeps(wall.into()));
            if let Decision::Is(verdict) = decision {
                agreed.verdict = verdict;
                agreed.is_new = false;
            }
            match (was_out, out(agreed)) {
                (true, false) => agreed.ramp_from = Some(now),
                (_, true) => agreed.ramp_from = None,
                _ => {}
            }
            if agreed.ramp_from.is_some_and(|from| now >= from + self.rules.ramp) {
                agreed.ramp_from = None;
            }
        }
        self.frozen = frozen;
    }

    fn region(&self, now: Duration, region: RegionIndex) -> RegionView {
        let agreed = &self.agreed[region.at()];
        let state = match (agreed.order, agreed.verdict) {
            (Some(OrderKind::Maintenance), _) => RegionState::Maintenance,
            (_, Verdict::Down) => RegionState::Down,
            (Some(OrderKind::Drained), _) if agreed.keeps == 0 => RegionState::Drained,
            (_, Verdict::Unknown) => RegionState::Unknown,
            (_, Verdict::Up) if agreed.ramp_from.is_some() => RegionState::Ramping,
            (_, Verdict::Up) => RegionState::Up,
        };
        let ramp = agreed.ramp_from.map_or(1.0, |from| {
            let done = (now - from).as_secs_f64() / self.rules.ramp.as_secs_f64().max(f64::MIN_POSITIVE);
            let steps = ((RAMP_START + (1.0 - RAMP_START) * done) * STEPS).floor() / STEPS;
            steps.clamp(RAMP_START, 1.0)
        });
        let passive = (1.0 - agreed.failing).max(PASSIVE_FLOOR);
        let nodes_up = self.tracks[region.at()].iter().map(Track::may_serve).collect();
        let admission =
            if state.serves() && !agreed.is_new { ramp * passive * f64::from(agreed.keeps) / 100.0 } else { 0.0 };
        RegionView { state, admission, nodes_up }
    }

    fn until_change(&self, now: Duration, wall: Timestamp) -> Duration {
        let tracks = self.tracks.iter().flatten().map(|track| track.until_change(now, &self.rules));
        let ramps = self.agreed.iter().filter(|agreed| agreed.ramp_from.is_some());
        let ramps = ramps.map(|_| self.rules.ramp.div_f64(STEPS));
        let lapses = self.fleet.regions.iter().filter_map(|region| self.orders.on(region.name.as_str())?.until);
        let lapses = lapses.filter_map(|until| Duration::try_from(Timestamp::from(until).duration_since(wall)).ok());
        tracks.chain(ramps).chain(lapses).min().unwrap_or(Duration::MAX)
    }
}

fn out(agreed: &Agreed) -> bool {
    agreed.verdict == Verdict::Down || agreed.keeps == 0 || agreed.is_new
}

/// The admission for the policy, and whether health is ignored. Regions that serve come first; if there is none, the
/// drained ones, which are healthy; if there is none, all that are not under maintenance, whatever their health; if
/// there is none, all.
fn admission(regions: &[RegionView]) -> (Vec<f64>, bool) {
    let most = regions.iter().map(|region| region.admission).fold(0.0, f64::max);
    if most > 0.0 {
        // Only relative fitness counts: if all regions return at once, no client has to be kept from the nearest one.
        return (regions.iter().map(|region| region.admission / most).collect(), false);
    }
    let only = |wanted: fn(RegionState) -> bool| -> Vec<f64> {
        regions.iter().map(|region| f64::from(u8::from(wanted(region.state)))).collect()
    };
    let drained = only(|state| state == RegionState::Drained);
    if drained.contains(&1.0) {
        return (drained, false);
    }
    let not_in_hand = only(|state| state != RegionState::Maintenance);
    if not_in_hand.contains(&1.0) { (not_in_hand, true) } else { (vec![1.0; regions.len()], true) }
}
