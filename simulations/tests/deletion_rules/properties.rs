//! Properties that must hold in every state, those that must hold in some, and stronger ones that do not hold. The
//! names are those of `ALGORITHM.md` (I1 to I11) and its lemmas.

use stateright::{Model, Property};

use crate::rules::{DeletionRules, Question};
use crate::state::{Clock, EXPIRY, KEYS, Kind, LONG, OVERLONG, Replica, SEQS, SKEW, State, Witness};
use crate::state::{covered, has, slots};

/// The properties that a model is checked for.
pub(crate) fn of(model: &DeletionRules) -> Vec<Property<DeletionRules>> {
    match model.question {
        Question::Promised => promised(),
        Question::Reached => reached(),
        Question::Beyond => beyond(),
    }
}

type Holds = fn(&DeletionRules, &State) -> bool;

fn always(name: &'static str, holds: Holds) -> Property<DeletionRules> {
    Property::always(name, holds)
}

fn sometimes(name: &'static str, holds: Holds) -> Property<DeletionRules> {
    Property::sometimes(name, holds)
}

fn promised() -> Vec<Property<DeletionRules>> {
    vec![
        always("I1: what was acknowledged is not lost by its origin", |_, state| {
            let kept = |slot: usize| has(covered(state.replicas[slot / SEQS].vector), slot);
            state.acknowledged & !state.documents == 0 && slots(state.acknowledged).all(kept)
        }),
        always("I1: a vector tells no lie (lemma 4)", |model, state| {
            honest(model, state).all(|replica| {
                let missing = covered(replica.vector) & state.documents & !replica.mem & !of_wrong(model, state);
                slots(missing).all(|slot| is_over(state, slot))
            })
        }),
        always("I2: equal vectors and equal times show the same (theorem 2)", |model, state| {
            pairs(model, state).all(|(a, b)| {
                let differ = shown(model, state, a) ^ shown(model, state, b);
                differ == 0
                    || differ & !over_soon(state) == 0
                    || (state.documents | state.tombstones) & of_wrong(model, state) != 0
            })
        }),
        always("I3: what is dead stays dead (lemma 1)", |model, state| {
            honest(model, state).all(|replica| {
                let live = replica.dead & !DeletionRules::dead(state, replica);
                // By the rules the name cannot have an overlong key, so that key counts only if a reader sees it.
                live & !(1 << OVERLONG) == 0 && live & shown(model, state, replica) == 0
            })
        }),
        always("I3: an erasure below the vector is not shown", |model, state| {
            honest(model, state).all(|replica| {
                !erased_below(model, state, replica) || shown(model, state, replica) & !over_soon(state) == 0
            })
        }),
        always("I4: at rest nothing lies beside its tombstone", |_, state| {
            state.in_flight != 0
                || state.replicas.iter().all(|replica| {
                    let rows = DeletionRules::rows(state, replica);
                    replica.removal_due || replica.mem & state.tombstones == 0 || rows == 0
                })
        }),
        always("I5: a bucket that was dropped stays empty", |_, state| {
            state.replicas.iter().all(|replica| replica.dropped == 0 || stored(state, replica) & replica.dropped == 0)
        }),
        always("I6: no horizon is ahead of true time", |model, state| {
            // If one clock is wrong beyond the skew, the others follow it by the skew and no further.
            let bound = if model.bounds.one_wrong_certain_time { state.now + SKEW } else { state.now };
            honest(model, state).all(|replica| replica.horizon <= bound)
        }),
        always("I6: nothing is shown after its expiry, but for the skew", |model, state| {
            honest(model, state).filter(|replica| !replica.doubt && shown(model, state, replica) != 0).all(|replica| {
                slots(DeletionRules::rows(state, replica)).all(|slot| {
                    let held = DeletionRules::held_key(state, replica, slot).unwrap_or_default();
                    let Kind::Document(key) = state.kinds[slot] else { return true };
                    !has(shown(model, state, replica), held) || EXPIRY[usize::from(key)] + SKEW > state.now
                })
            })
        }),
        always("I9: when nothing can happen any more, all vectors are equal", |model, state| {
            let equal = state.replicas.iter().all(|replica| replica.vector == state.replicas[0].vector);
            if equal || state.now < model.bounds.last() || state.in_flight != 0 {
                return true;
            }
            let mut steps = Vec::new();
            model.actions(state, &mut steps);
            !steps.is_empty()
        }),
        always("I11: no dot is used twice", |_, state| !state.forked),
    ]
}

/// Situations that the model must reach, otherwise the check would prove nothing about them.
fn reached() -> Vec<Property<DeletionRules>> {
    vec![
        sometimes("a bucket is dropped while another replica shows its documents", |model, state| {
            let dropped = state.replicas.iter().fold(0, |all, replica| all | replica.dropped);
            dropped != 0 && state.replicas.iter().any(|replica| shown(model, state, replica) & dropped != 0)
        }),
        sometimes("a tombstone arrives before the creation", |_, state| {
            state.tombstones != 0
                && state.replicas.iter().any(|replica| {
                    replica.disk & state.tombstones != 0 && state.acknowledged & !covered(replica.vector) != 0
                })
        }),
        sometimes("a tombstone is dropped while another replica still has the document", |_, state| {
            state.tombstones != 0
                && state.replicas.iter().any(|replica| has(replica.dropped, LONG))
                && state.replicas.iter().any(|replica| DeletionRules::rows(state, replica) != 0)
        }),
        sometimes("an erased document is refused at admission", |_, state| state.witness == Witness::RefusedErased),
        sometimes("an expired document is refused at admission", |_, state| state.witness == Witness::RefusedExpired),
        sometimes("a document is refused whose bucket was dropped here", |_, state| {
            state.witness == Witness::RefusedAfterDrop
        }),
        sometimes("a frame has a gap", |_, state| state.witness == Witness::Gap),
        sometimes("an erasure is learnt before its tombstone", |_, state| state.witness == Witness::PassedOn),
        sometimes("a batch is torn", |_, state| state.witness == Witness::TornBatch),
        sometimes("a peer's horizon hides what the own clock would show", |_, state| {
            state.replicas.iter().any(|replica| replica.horizon > replica.certain && replica.mem != 0)
        }),
        sometimes("two keys of one name are shown", |model, state| {
            state.replicas.iter().any(|replica| shown(model, state, replica) & 0b11 == 0b11)
        }),
        sometimes("a clock is in doubt", |_, state| {
            state.replicas.iter().any(|replica| replica.doubt && replica.clock == Clock::Far)
        }),
    ]
}

/// Stronger properties that the rules do not give.
fn beyond() -> Vec<Property<DeletionRules>> {
    vec![
        always(SAME_AROUND_EXPIRY, |model, state| {
            state.tombstones != 0 || pairs(model, state).all(|(a, b)| shown(model, state, a) == shown(model, state, b))
        }),
        always(ERASED_BEFORE_EXPIRY, |model, state| {
            let over = (0..KEYS).filter(|key| EXPIRY[*key] <= state.now).map(|key| 1 << key).sum::<u8>();
            honest(model, state).all(|r| !erased_below(model, state, r) || shown(model, state, r) & !over == 0)
        }),
        always(ERASED_ALWAYS, |model, state| {
            honest(model, state).all(|r| !erased_below(model, state, r) || shown(model, state, r) == 0)
        }),
        always(TIME_SURVIVES, |_, state| state.witness != Witness::TimeSank),
    ]
}

/// Does not hold: a relay may hold a document expired up to the skew before another does.
pub(crate) const SAME_AROUND_EXPIRY: &str =
    "equal vectors and equal times show the same, also within the skew of an expiry";
/// Does not hold: a relay may leave a tombstone out that has expired by its own clock.
pub(crate) const ERASED_BEFORE_EXPIRY: &str =
    "an erasure below the vector is not shown before the document's own expiry";
/// Does not hold: the same, and by a clock that is behind, or went back in a crash, also after the expiry.
pub(crate) const ERASED_ALWAYS: &str = "an erasure below the vector is never shown";
/// Does not hold: certain time is written now and then.
pub(crate) const TIME_SURVIVES: &str = "certain time and horizon do not go back in a crash";

/// The keys that a replica stores.
fn stored(state: &State, replica: &Replica) -> u8 {
    let documents = slots(DeletionRules::rows(state, replica));
    documents.filter_map(|slot| DeletionRules::held_key(state, replica, slot)).fold(0, |all, key| all | 1 << key)
}

/// The keys that readers of a replica see.
fn shown(model: &DeletionRules, state: &State, replica: &Replica) -> u8 {
    if DeletionRules::rows(state, replica) == 0 {
        return 0;
    }
    let hidden = if model.rules.readers_see_no_dead { DeletionRules::dead(state, replica) } else { 0 };
    stored(state, replica) & !hidden
}

/// Whether the vector covers a tombstone of the name, stored or not.
fn erased_below(model: &DeletionRules, state: &State, replica: &Replica) -> bool {
    covered(replica.vector) & state.tombstones & !of_wrong(model, state) != 0
}

/// The keys whose true expiry is over or less than the skew away.
fn over_soon(state: &State) -> u8 {
    (0..KEYS).filter(|key| EXPIRY[*key] <= state.now + SKEW).map(|key| 1 << key).sum()
}

/// Whether a document may be missing anywhere: its expiry is over, up to the skew, or it breaks rule 1.
fn is_over(state: &State, slot: usize) -> bool {
    let Kind::Document(key) = state.kinds[slot] else { return true };
    usize::from(key) == OVERLONG || EXPIRY[usize::from(key)] <= state.now + SKEW
}

/// The replicas that must keep the promises: all except the one whose certain time is wrong by assumption.
fn honest<'a>(model: &DeletionRules, state: &'a State) -> impl Iterator<Item = &'a Replica> {
    let wrong = model.bounds.one_wrong_certain_time;
    state.replicas.iter().filter(move |replica| !wrong || replica.clock != Clock::Far)
}

/// The log of that one. Entries that its own clock made it forget may be missing wherever they had not arrived yet.
fn of_wrong(model: &DeletionRules, state: &State) -> u8 {
    let wrong = state.replicas.iter().position(|replica| replica.clock == Clock::Far);
    wrong.filter(|_| model.bounds.one_wrong_certain_time).map_or(0, |at| 0b11 << (SEQS * at))
}

/// Pairs at rest with equal vectors and equal `max(C, H)`.
fn pairs<'a>(model: &DeletionRules, state: &'a State) -> impl Iterator<Item = (&'a Replica, &'a Replica)> {
    let wrong = model.bounds.one_wrong_certain_time;
    let [a, b, c] = &state.replicas;
    [(a, b), (a, c), (b, c)].into_iter().filter(move |(a, b)| {
        state.in_flight == 0
            && a.vector == b.vector
            && DeletionRules::gone_through(a) == DeletionRules::gone_through(b)
            && !(wrong && (a.clock == Clock::Far || b.clock == Clock::Far))
    })
}
