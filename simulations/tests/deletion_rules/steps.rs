//! The steps that can happen: sections 2 to 5 of `replication/ALGORITHM.md` as a transition system. Their effects are
//! in `effects.rs`.
//!
//! # Invariants
//! - A network that loses, delays and cuts needs no state, because an entry that was not delivered yet may be delivered
//!   at any time, in any order of logs, in frames of any length, by any replica that has it, or never.
//! - One operation is one batch. Its parts in different buckets survive a crash independently of each other.

use stateright::{Model, Property};

use crate::properties;
use crate::rules::{DeletionRules, Question};
use crate::state::{
    Clock, END, EXPIRY, FAR, KEYS, Kind, LONG, OVERLONG, REPLICAS, Replica, SEQS, SHORT, SKEW, State, Witness, has,
    seq, slots,
};

/// The lasting bucket, which every batch that moves the vector touches.
pub(crate) const LASTING: usize = KEYS;

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A client creates the document with the given key.
    Create { at: usize, key: usize },
    /// A client erases the name.
    Erase { at: usize },
    /// The second batch of an erasure: the rows go.
    Remove { at: usize },
    /// The batch in flight is durable.
    Sync { at: usize },
    /// `meta` is durable: a horizon heard from a peer survives from now on.
    SyncMeta { at: usize },
    /// The process dies and starts again. The buckets in `kept` keep the batch in flight. `stale` says that the certain
    /// time on the disk is as old as it can be.
    Crash { at: usize, kept: u8, stale: bool },
    /// A frame with the entries in `(after, through]` of one log arrives.
    Deliver { from: usize, to: usize, origin: usize, after: usize, through: usize },
    /// A peer's horizon arrives.
    Horizon { from: usize, to: usize },
    /// A heartbeat finds buckets whose days have passed.
    Drop { at: usize },
    /// The wall clock is set.
    SetClock { at: usize, to: Clock },
    /// The clock is believed again: peers agree with it.
    Confirm { at: usize },
    /// Only without rule 1: the retention of a stored document is raised.
    Extend { at: usize },
    /// Time passes.
    Tick,
}

impl DeletionRules {
    /// `max(C, H)`.
    pub(crate) fn gone_through(replica: &Replica) -> u8 {
        replica.certain.max(replica.horizon)
    }

    /// Whether a tombstone of the name is stored.
    pub(crate) fn tombstoned(state: &State, set: u8) -> bool {
        set & state.tombstones != 0
    }

    /// The keys that are dead at a replica (section 1).
    pub(crate) fn dead(state: &State, replica: &Replica) -> u8 {
        let gone_through = Self::gone_through(replica);
        let expired = |key: usize| u8::from(EXPIRY[key] <= gone_through) << key;
        if Self::tombstoned(state, replica.mem) { 0b111 } else { expired(SHORT) | expired(LONG) | expired(OVERLONG) }
    }

    /// Whether a key is dead at a replica.
    pub(crate) fn is_dead(state: &State, replica: &Replica, key: usize) -> bool {
        has(Self::dead(state, replica), key)
    }

    /// The key under which a replica holds the document of a slot.
    pub(crate) fn held_key(state: &State, replica: &Replica, slot: usize) -> Option<usize> {
        match state.kinds[slot] {
            Kind::Document(_) if has(replica.extended, slot) => Some(LONG),
            Kind::Document(key) => Some(usize::from(key)),
            Kind::None | Kind::Tombstone(_) => None,
        }
    }

    pub(crate) fn bucket(state: &State, replica: &Replica, slot: usize) -> usize {
        match state.kinds[slot] {
            Kind::Tombstone(bucket) => usize::from(bucket),
            Kind::Document(_) if has(replica.beside, slot) => Self::until(state),
            _ => Self::held_key(state, replica, slot).unwrap_or(LASTING),
        }
    }

    /// The bucket in which tombstones of the name lie.
    pub(crate) fn until(state: &State) -> usize {
        let buckets = state.kinds.iter().filter_map(|kind| match kind {
            Kind::Tombstone(bucket) => Some(usize::from(*bucket)),
            _ => None,
        });
        buckets.max().unwrap_or(LONG)
    }

    /// The slots whose documents a replica stores.
    pub(crate) fn rows(state: &State, replica: &Replica) -> u8 {
        replica.mem & state.documents & !replica.erased
    }

    pub(crate) fn remove_rows(&self, state: &mut State, at: usize) {
        let rows = Self::rows(state, &state.replicas[at]);
        state.replicas[at].erase(rows, self.rules.erased_entries_say_so);
    }

    pub(crate) fn wall(now: u8, clock: Clock) -> u8 {
        match clock {
            Clock::Right => now,
            Clock::Ahead => now + SKEW,
            Clock::Behind => now.saturating_sub(SKEW),
            Clock::Far => now + FAR,
        }
    }

    /// Section 4, reduced to what deletion sees of it: certain time.
    pub(crate) fn observe(&self, now: u8, replica: &mut Replica) {
        let wall = Self::wall(now, replica.clock);
        if !replica.doubt {
            let far = if self.rules.time_back_beyond_twice_skew { 2 * SKEW } else { SKEW };
            replica.certain = if replica.certain > wall + far { wall } else { replica.certain.max(wall) };
        }
    }

    pub(crate) fn believes(&self, clock: Clock) -> bool {
        clock != Clock::Far || !self.rules.trusted_time || self.bounds.one_wrong_certain_time
    }

    pub(crate) fn passed(&self, state: &State, replica: &Replica) -> u8 {
        let wait = if self.rules.drop_waits_for_skew { SKEW } else { 0 };
        let passed =
            |slot: &usize| END.get(Self::bucket(state, replica, *slot)).is_some_and(|e| e + wait <= replica.certain);
        slots(replica.mem).filter(passed).map(|slot| 1 << Self::bucket(state, replica, slot)).fold(0, |all, b| all | b)
    }

    /// The seq under which a client's write at `at` is issued, if it may be.
    pub(crate) fn issuable(state: &State, at: usize) -> Option<usize> {
        Self::next_seq(state, at).filter(|_| !state.replicas[at].doubt)
    }

    /// The next seq of a log, if there is room for one.
    pub(crate) fn next_seq(state: &State, at: usize) -> Option<usize> {
        let next = seq(state.replicas[at].vector, at) + 1;
        (next <= SEQS).then_some(next)
    }

    /// How old the certain time on the disk may be in a crash: if it makes a difference, both extremes.
    pub(crate) fn ages(replica: &Replica) -> impl Iterator<Item = bool> {
        [false, true].into_iter().take(if replica.certain_disk == replica.certain { 1 } else { 2 })
    }

    pub(crate) fn moves_of(&self, state: &State, at: usize, steps: &mut Vec<Step>) {
        let replica = &state.replicas[at];
        let [creations, erasures, crashes, clock_steps] = state.left;
        let erased = Self::tombstoned(state, replica.mem);
        if creations > 0 && Self::issuable(state, at).is_some() {
            let keys = if self.rules.expiry_within_latest { LONG } else { OVERLONG };
            for (key, expiry) in EXPIRY.iter().enumerate().take(keys + 1) {
                let rows = Self::rows(state, replica);
                let stored = slots(rows).any(|slot| Self::held_key(state, replica, slot) == Some(key));
                let refused = (erased && self.rules.admission_refuses_erased) || *expiry <= Self::gone_through(replica);
                if !stored && !refused {
                    steps.push(Step::Create { at, key });
                }
            }
        }
        if erasures > 0 && Self::issuable(state, at).is_some() && !Self::is_dead(state, replica, LONG) {
            steps.push(Step::Erase { at });
        }
        if replica.removal_due && erased {
            steps.push(Step::Remove { at });
        }
        if replica.horizon != replica.horizon_disk {
            steps.push(Step::SyncMeta { at });
        }
        if crashes > 0 {
            steps.extend(Self::ages(replica).map(|stale| Step::Crash { at, kept: 0, stale }));
        }
        if !replica.doubt && self.passed(state, replica) != 0 {
            steps.push(Step::Drop { at });
        }
        if clock_steps > 0 {
            let alone = state.replicas.iter().all(|other| other.clock != Clock::Far);
            for to in [Clock::Right, Clock::Ahead, Clock::Behind, Clock::Far] {
                let wrong_world = self.bounds.one_wrong_certain_time && to != Clock::Far;
                if to != replica.clock && !wrong_world && (to != Clock::Far || alone) {
                    steps.push(Step::SetClock { at, to });
                }
            }
        }
        if replica.doubt && replica.clock != Clock::Far {
            steps.push(Step::Confirm { at });
        }
        if !self.rules.expiry_immutable && Self::rows(state, replica) & !replica.extended != 0 {
            steps.push(Step::Extend { at });
        }
        for to in (0..REPLICAS).filter(|to| *to != at) {
            let peer = &state.replicas[to];
            let bound = if self.rules.horizon_bounded_by_own_time { peer.certain + SKEW } else { u8::MAX };
            if replica.horizon > peer.horizon && replica.horizon <= bound {
                steps.push(Step::Horizon { from: at, to });
            }
        }
    }

    pub(crate) fn deliveries(&self, state: &State, from: usize, known: u8, steps: &mut Vec<Step>) {
        for to in (0..REPLICAS).filter(|to| *to != from) {
            for origin in (0..REPLICAS).filter(|origin| *origin != to && (self.bounds.relay || *origin == from)) {
                let vector = seq(state.replicas[to].vector, origin);
                let have = seq(known, origin);
                let latest = if self.rules.vector_not_past_gap { vector } else { have };
                for after in vector..=latest {
                    let frames = (after + 1..=have).map(|through| (after, through));
                    let fitting = frames.filter(|frame| self.has_room(state, from, to, origin, *frame));
                    steps.extend(fitting.map(|(after, through)| Step::Deliver { from, to, origin, after, through }));
                }
            }
        }
    }
}

impl Model for DeletionRules {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let bounds = &self.bounds;
        let left = [bounds.creations, bounds.erasures, bounds.crashes, bounds.steps];
        vec![State { left, witnessed: self.question != Question::Promised, ..State::default() }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if let Some(at) = usize::from(state.in_flight).checked_sub(1) {
            steps.push(Step::Sync { at });
            if state.left[2] > 0 {
                let touched = Self::touched(state, &state.replicas[at]);
                for kept in (0..=touched).filter(|kept| kept & !touched == 0) {
                    steps.extend(Self::ages(&state.replicas[at]).map(|stale| Step::Crash { at, kept, stale }));
                }
            }
            if !self.rules.sent_when_durable {
                self.deliveries(state, at, state.replicas[at].vector, steps);
            }
            return;
        }
        for at in 0..REPLICAS {
            self.moves_of(state, at, steps);
            self.deliveries(state, at, state.replicas[at].durable, steps);
        }
        if state.now < self.bounds.last() {
            steps.push(Step::Tick);
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = State { witness: Witness::None, ..*last };
        self.apply(&mut state, step);
        if let Some(at) = usize::from(state.in_flight).checked_sub(1)
            && state.left[2] == 0
            && self.rules.sent_when_durable
        {
            // From here on no crash can come in between.
            Self::sync(&mut state, at);
            state.in_flight = 0;
        }
        Self::note_dead(&mut state);
        if state.left[2] == 0 {
            for replica in &mut state.replicas {
                // Only a crash depends on these.
                Self::note_meta(replica);
                replica.gone = replica.dead;
            }
        }
        let both = || last.replicas.iter().zip(&state.replicas);
        if both().any(|(was, is)| Self::gone_through(is) < Self::gone_through(was)) {
            state.witness = Witness::TimeSank;
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::of(self)
    }
}
