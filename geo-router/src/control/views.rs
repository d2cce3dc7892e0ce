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
    if old.frozen != new.frozen {
        tracing::warn!(
            frozen = new.frozen,
            action = "check the other routers",
            "while frozen is true too few routers are heard to decide: the last verdicts hold"
        );
    }
    if old.fail_open != new.fail_open {
        tracing::warn!(
            fail_open = new.fail_open,
            action = "check the nodes",
            "while fail_open is true no region is fit: health is ignored, and clients are sent to their normal regions"
        );
    }
}
