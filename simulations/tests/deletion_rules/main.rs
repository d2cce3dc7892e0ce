//! An exhaustive check of the rules of deletion in `replication/ALGORITHM.md`, with the model checker stateright.
//!
//! Three replicas, one document name, every schedule: all worlds here are explored completely, breadth first. With all
//! rules every promise holds in every state. Each rule left out breaks one, and the shortest way to that is printed
//! (`cargo test -p simulations --test deletion_rules -- --nocapture`). `DELETION_RULES=large` explores larger worlds.
//!
//! # Architecture invariant
//! This is a model of the rules, not of the code: it shares no line with `replication`. The generated histories and the
//! simulator check that the code keeps the rules.
#![allow(clippy::unwrap_used)]

mod effects;
mod properties;
mod rules;
mod state;
mod steps;

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model};

use properties::{ERASED_ALWAYS, ERASED_BEFORE_EXPIRY, SAME_AROUND_EXPIRY, TIME_SURVIVES};
use rules::{Bounds, DeletionRules, Question, Rules};
use steps::Step;

/// Enough moments if all clocks are right: before, at and after each expiry, and when each bucket is dropped.
const RIGHT: &[u8] = &[0, 3, 6, 7, 10];
/// With a clock that differs by the skew, moments in between matter as well.
const SKEWED: &[u8] = &[0, 1, 3, 4, 5, 6, 7, 8];

/// A world with this many creations, erasures, crashes and clock steps.
const fn world(left: [u8; 4], moments: &'static [u8]) -> Bounds {
    let [creations, erasures, crashes, steps] = left;
    Bounds { creations, erasures, crashes, steps, moments, relay: true, one_wrong_certain_time: false }
}

const WRITES: Bounds = world([2, 1, 0, 0], RIGHT);
const TWO_ERASURES: Bounds = world([1, 2, 0, 0], RIGHT);
const CRASHES: Bounds = world([1, 1, 1, 0], RIGHT);
const CLOCKS: Bounds = world([1, 1, 0, 1], SKEWED);
const TWO_KEYS_AND_CLOCKS: Bounds = world([2, 0, 0, 1], SKEWED);
const CLOCKS_AND_CRASHES: Bounds = world([1, 0, 1, 1], SKEWED);
const SWINGS: Bounds = world([1, 0, 0, 2], SKEWED);
/// One replica breaks assumption A2, and no replica relays another one's log.
const ONE_WRONG: Bounds = Bounds { relay: false, one_wrong_certain_time: true, ..world([1, 1, 0, 1], SKEWED) };

/// Explored only if asked for: minutes.
const LARGE: [Bounds; 4] =
    [world([1, 1, 0, 2], SKEWED), world([1, 1, 1, 1], SKEWED), world([2, 1, 0, 1], SKEWED), world([2, 0, 1, 0], RIGHT)];

const RISEN: &str = "I3: what is dead stays dead (lemma 1)";

/// Explores a world completely; asserts that every promise holds.
fn explore(rules: Rules, bounds: Bounds) {
    let checker = DeletionRules { rules, bounds, question: Question::Promised }.checker();
    let checker = checker.threads(2).spawn_bfs().join();
    println!("{} unique states, {} steps: {bounds:?}", checker.unique_state_count(), checker.state_count());
    checker.assert_properties();
}

/// The shortest way to break one of the properties, or a certain one.
fn shortest(model: DeletionRules, wanted: Option<&'static str>) -> Option<(&'static str, Vec<Step>)> {
    let mut found: Option<(&'static str, Vec<Step>)> = None;
    loop {
        let stop = wanted.map_or(HasDiscoveries::AnyFailures, |name| HasDiscoveries::AllOf(BTreeSet::from([name])));
        let checker = model.checker().finish_when(stop);
        // After a discovery the checker goes on to the end of its block, and may end with a longer one.
        let limit = found.as_ref().map_or(0, |(_, steps)| steps.len() + 1);
        let checker = checker.target_max_depth(limit).spawn_bfs().join();
        let discoveries = checker.discoveries().into_iter().map(|(name, path)| (path.into_actions(), name));
        let shorter = discoveries.filter(|(_, name)| wanted.is_none_or(|wanted| wanted == *name));
        match shorter.min_by_key(|(steps, name)| (steps.len(), *name)) {
            Some((steps, name)) => found = Some((name, steps)),
            None => return found,
        }
    }
}

/// Leaves a rule out and expects this to break.
fn without(rule: &str, leave_out: fn(&mut Rules), bounds: Bounds, breaks: &'static str) {
    let mut rules = Rules::ALL;
    leave_out(&mut rules);
    let model = DeletionRules { rules, bounds, question: Question::Promised };
    let (_, steps) = shortest(model, Some(breaks)).unwrap_or_else(|| panic!("without {rule} this holds: {breaks}"));
    println!("without {rule}: {breaks}\n  {} steps: {steps:?}", steps.len());
}

/// A property that the algorithm does not promise: expects it to break.
fn not_promised(property: &'static str, bounds: Bounds) {
    let model = DeletionRules { rules: Rules::ALL, bounds, question: Question::Beyond };
    let (_, steps) = shortest(model, Some(property)).unwrap_or_else(|| panic!("holds, promise it: {property}"));
    println!("not promised: {property}\n  {} steps: {steps:?}", steps.len());
}

#[test]
fn all_rules_hold_in_every_state() {
    for bounds in [WRITES, TWO_ERASURES, CRASHES, CLOCKS, TWO_KEYS_AND_CLOCKS, CLOCKS_AND_CRASHES] {
        explore(Rules::ALL, bounds);
    }
    if std::env::var("DELETION_RULES").is_ok_and(|worlds| worlds == "large") {
        for bounds in LARGE {
            explore(Rules::ALL, bounds);
        }
    }
}

#[test]
fn the_model_reaches_every_situation_that_the_rules_are_about() {
    let mut missing: BTreeSet<_> = {
        let model = DeletionRules { rules: Rules::ALL, bounds: WRITES, question: Question::Reached };
        model.properties().iter().map(|property| property.name).collect()
    };
    for bounds in [CLOCKS_AND_CRASHES, world([2, 0, 0, 0], RIGHT), CRASHES] {
        let checker = DeletionRules { rules: Rules::ALL, bounds, question: Question::Reached }.checker();
        let checker = checker.finish_when(HasDiscoveries::AllOf(missing.clone())).spawn_bfs().join();
        for (name, path) in checker.discoveries() {
            if missing.remove(name) {
                println!("reached: {name}\n  {:?}", path.into_actions());
            }
        }
    }
    assert_eq!(missing, BTreeSet::new());
}

#[test]
fn one_replica_whose_certain_time_is_wrong_harms_no_other_that_hears_each_log_from_its_origin() {
    explore(Rules::ALL, ONE_WRONG);
}

#[test]
fn a_replica_whose_certain_time_is_wrong_harms_others_through_what_it_relays() {
    // Why lemma 4 needs A2 for the sender as well.
    let bounds = Bounds { relay: true, ..ONE_WRONG };
    let model = DeletionRules { rules: Rules::ALL, bounds, question: Question::Promised };
    let (broken, steps) = shortest(model, None).unwrap();
    println!("without A2, with relays: {broken}\n  {} steps: {steps:?}", steps.len());
    assert_eq!(broken, "I1: a vector tells no lie (lemma 4)");
}

#[test]
fn each_rule_is_needed() {
    const ONE: Bounds = world([1, 0, 0, 0], RIGHT);
    const ONE_ERASED: Bounds = world([1, 1, 0, 0], RIGHT);
    const ONE_CRASH: Bounds = world([1, 0, 1, 0], RIGHT);
    const LIE: &str = "I1: a vector tells no lie (lemma 4)";
    const LOST: &str = "I1: what was acknowledged is not lost by its origin";
    const BESIDE: &str = "I4: at rest nothing lies beside its tombstone";
    const AHEAD: &str = "I6: no horizon is ahead of true time";
    const DIFFER: &str = "I2: equal vectors and equal times show the same (theorem 2)";

    without("rule 1, expiry never changes", |r| r.expiry_immutable = false, ONE, DIFFER);
    without("rule 1, expiry within L", |r| r.expiry_within_latest = false, ONE_ERASED, RISEN);
    without("rule 2, admission and the erased", |r| r.admission_refuses_erased = false, ONE_ERASED, BESIDE);
    let stays = "I5: a bucket that was dropped stays empty";
    without("rule 2, admission and the expired", |r| r.admission_refuses_expired = false, CRASHES, stays);
    without(
        "rule 2, readers",
        |r| r.readers_see_no_dead = false,
        ONE_ERASED,
        "I3: an erasure below the vector is not shown",
    );
    without("rule 3, wait for the skew", |r| r.drop_waits_for_skew = false, CLOCKS, AHEAD);
    without("rule 3, horizon durable first", |r| r.horizon_durable_before_drop = false, ONE_CRASH, RISEN);
    without("rule 4, until L", |r| r.tombstone_until_latest_expiry = false, WRITES, RISEN);
    without("rule 4, tombstone before rows", |r| r.tombstone_before_rows = false, CRASHES, DIFFER);
    without("section 2, removals at restart", |r| r.removals_finished_at_restart = false, CRASHES, BESIDE);
    without("rule 5, bound", |r| r.horizon_bounded_by_own_time = false, ONE_WRONG, AHEAD);
    without("section 4, trusted time", |r| r.trusted_time = false, CLOCKS, LIE);
    without("section 4, certain time", |r| r.certain_time = false, CLOCKS_AND_CRASHES, LIE);
    without("section 3, no gap", |r| r.vector_not_past_gap = false, WRITES, LIE);
    without("section 2, torn batches", |r| r.torn_batch_rolls_back = false, ONE_CRASH, LIE);
    without("section 2, erased entries say so", |r| r.erased_entries_say_so = false, ONE_ERASED, DIFFER);
    without("section 3, erasures passed on", |r| r.erasures_passed_on = false, ONE_ERASED, DIFFER);
    without("section 3, second tombstones", |r| r.second_tombstones_stored = false, TWO_ERASURES, DIFFER);
    without("section 2, acknowledged when durable", |r| r.acknowledged_when_durable = false, ONE_CRASH, LOST);
    without("section 2, sent when durable", |r| r.sent_when_durable = false, ONE_CRASH, LIE);
    let twice = "I11: no dot is used twice";
    without("section 2, sent when durable", |r| r.sent_when_durable = false, world([2, 0, 1, 0], RIGHT), twice);
}

#[test]
fn the_rule_that_a_peers_horizon_drops_nothing_is_not_needed() {
    // A horizon hides documents for good, so removing their bytes as well changes nothing that a reader sees.
    let rules = Rules { horizon_drops_nothing: false, ..Rules::ALL };
    for bounds in [CLOCKS, ONE_WRONG] {
        assert_eq!(shortest(DeletionRules { rules, bounds, question: Question::Promised }, None), None);
    }
}

#[test]
fn stronger_properties_do_not_hold() {
    not_promised(SAME_AROUND_EXPIRY, CLOCKS);
    not_promised(ERASED_ALWAYS, CRASHES);
    not_promised(TIME_SURVIVES, CRASHES);
}

#[test]
fn a_clock_that_swings_from_one_end_of_the_skew_to_the_other_revives_no_document() {
    explore(Rules::ALL, SWINGS);
    without("section 4, back beyond 2 s", |r| r.time_back_beyond_twice_skew = false, SWINGS, RISEN);
}

#[test]
fn a_tombstone_is_passed_on_until_its_bucket_goes() {
    let erased = |rules| {
        let model = DeletionRules { rules, bounds: CLOCKS, question: Question::Beyond };
        shortest(model, Some(ERASED_BEFORE_EXPIRY))
    };
    assert_eq!(erased(Rules::ALL), None);
    let (broken, steps) = erased(Rules { tombstones_kept_until_droppable: false, ..Rules::ALL }).unwrap();
    println!("without section 3, tombstones until their bucket goes: {broken}\n  {} steps: {steps:?}", steps.len());
}
