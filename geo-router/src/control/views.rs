//! Builds views, compares them, and says what changed.

use std::sync::Arc;
use std::time::Duration;

use super::demand::Demand;
use super::tables::Tables;
use crate::health::Fitness;
use crate::policy::PolicyInput;
use crate::signals::Signals;
use crate::view::View;

/// The view of a moment. `ttl` are the bounds of the TTL.
pub(super) fn build(
    epoch: u64,
    ttl: (Duration, Duration),
    tables: &Tables,
    signals: &Arc<Signals>,
    demand: &Demand,
    fitness: Fitness,
) -> View {
    let moment = PolicyInput {
        fleet: &tables.fleet,
        admission: &fitness.admission,
        places: tables.places.classes(),
        demand: demand.by_class(),
    };
    let (min, max) = ttl;
    let ttl = fitness.until_change.clamp(min, max.max(min)).as_secs();
    View {
        epoch,
        assignment: tables.policy.assign(&moment),
        fleet: Arc::clone(&tables.fleet),
        connector: Arc::clone(&tables.connector),
        places: Arc::clone(&tables.places),
        signals: Arc::clone(signals),
        ttl: u32::try_from(ttl).unwrap_or(u32::MAX),
        fail_open: fitness.fail_open,
        frozen: fitness.frozen,
        regions: fitness.regions,
    }
}

/// Whether the data plane would do the same with both.
pub(super) fn same(one: &View, other: &View) -> bool {
    Arc::ptr_eq(&one.fleet, &other.fleet)
        && Arc::ptr_eq(&one.connector, &other.connector)
        && Arc::ptr_eq(&one.places, &other.places)
        && one.regions == other.regions
        && one.assignment == other.assignment
        && (one.ttl, one.fail_open, one.frozen) == (other.ttl, other.fail_open, other.frozen)
}

/// Tells operators what is different in the new view.
pub(super) fn log_changes(old: &View, new: &View) {
    for index in new.fleet.indices() {
        let (region, after) = (&new.fleet.region(index).name, new.regions[index.at()].state);
        let before = old.fleet.find(region.as_str()).map(|index| old.regions[index.at()].state);
        if before != Some(after) {
            let from = before.map_or("none", |state| state.name());
            tracing::info!(%region, from, to = after.name(), epoch = new.epoch, "a region changed its state");
        }
    }
    match (old.fail_open, new.fail_open) {
        (false, true) => tracing::warn!(
            action = "check the nodes",
            "no region is fit: health is ignored, and clients are sent to their normal regions"
        ),
        (true, false) => tracing::info!("a region is fit again: clients are sent by health"),
        _ => {}
    }
}

/// How long a router that has just started may hear too few others before that is said. At a good start it hears them
/// after a moment.
const START: Duration = Duration::from_secs(10);

/// The last notice to operators about routers that are not heard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FrozenNotice {
    /// The router has decided since it started.
    has_decided: bool,
    is_told: bool,
}

/// A notice to operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notice {
    Frozen,
    Decides,
}

impl FrozenNotice {
    /// Tells operators if too few routers are heard, or if enough are heard again. `now` counts from the start.
    pub(super) fn tell(&mut self, now: Duration, frozen: bool) {
        match self.take(now, frozen) {
            Some(Notice::Frozen) => tracing::warn!(
                action = "check the other routers",
                "too few routers are heard to decide: the last verdicts hold until more are heard"
            ),
            Some(Notice::Decides) => tracing::info!("enough routers are heard again to decide"),
            None => {}
        }
    }

    fn take(&mut self, now: Duration, frozen: bool) -> Option<Notice> {
        self.has_decided |= !frozen;
        let is_due = frozen && (self.has_decided || now >= START);
        let notice = match (self.is_told, frozen) {
            (false, true) if is_due => Notice::Frozen,
            (true, false) => Notice::Decides,
            _ => return None,
        };
        self.is_told = frozen;
        Some(notice)
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, FrozenNotice, Notice};

    fn told(steps: &[(u64, bool)]) -> Vec<(u64, Notice)> {
        let mut notice = FrozenNotice::default();
        let take =
            |(second, frozen): &(u64, bool)| Some((*second, notice.take(Duration::from_secs(*second), *frozen)?));
        steps.iter().filter_map(take).collect()
    }

    #[test]
    fn a_good_start_is_no_reason_to_warn() {
        assert_eq!(told(&[(0, true), (1, true), (2, false), (60, false)]), []);
        assert_eq!(told(&[(0, false), (60, false)]), []);
    }

    #[test]
    fn a_router_that_hears_no_other_says_so_once_and_says_when_it_is_over() {
        let start = [(0, true), (9, true), (10, true), (11, true), (12, false), (13, false)];
        assert_eq!(told(&start), [(10, Notice::Frozen), (12, Notice::Decides)]);
        let later = [(0, true), (1, false), (2, true), (3, true), (4, false), (5, true)];
        assert_eq!(told(&later), [(2, Notice::Frozen), (4, Notice::Decides), (5, Notice::Frozen)]);
    }
}
