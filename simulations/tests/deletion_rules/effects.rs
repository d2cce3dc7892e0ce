//! The effect of each step: sections 2 to 5 of `replication/ALGORITHM.md`, one after another.
//!
//! # Invariant
//! With all rules on, a step looks only at the replicas that it names.

use crate::rules::DeletionRules;
use crate::state::{
    Clock, END, EXPIRY, KEYS, Kind, LONG, OVERLONG, REPLICAS, Replica, SEQS, SKEW, State, Witness, covered, has, seq,
    slot, slots, with_seq,
};
use crate::steps::{LASTING, Step};

impl DeletionRules {
    pub(crate) fn deliver(
        &self,
        state: &mut State,
        from: usize,
        to: usize,
        origin: usize,
        (after, through): (usize, usize),
    ) {
        let sender = state.replicas[from];
        let unsent = !self.rules.sent_when_durable && usize::from(state.in_flight) == from + 1;
        let stored = if unsent { sender.mem } else { sender.disk };
        let dead_at_sender = Self::gone_through(&sender);
        for seq in after + 1..=through {
            let at = slot(origin, seq);
            // An entry that the sender does not have, or holds expired, is a gap in its frame.
            let key = Self::held_key(state, &sender, at).filter(|_| !has(sender.erased, at));
            if !has(stored, at) || key.is_some_and(|key| EXPIRY[key] <= dead_at_sender) {
                state.witness = Witness::Gap;
                continue;
            }
            if let Some(witness) = self.admit(state, to, at, &sender) {
                state.witness = witness;
            }
        }
        let receiver = &mut state.replicas[to];
        receiver.vector = with_seq(receiver.vector, origin, through);
        self.pass_on(state, to);
    }

    /// Section 3: a replica that learns of an erasure without a tombstone issues one in its own log, in the same batch.
    fn pass_on(&self, state: &mut State, at: usize) {
        let replica = &state.replicas[at];
        if replica.erased == 0 || Self::tombstoned(state, replica.mem) || !self.rules.erasures_passed_on {
            return;
        }
        let until = u8::try_from(Self::until(state)).unwrap_or_default();
        if let Some(next) = Self::next_seq(state, at) {
            self.append(state, at, next, Kind::Tombstone(until));
            state.witness = Witness::PassedOn;
        }
    }

    /// Whether the receiver of a frame could pass on what it learns: the model's logs are short.
    pub(crate) fn has_room(&self, state: &State, from: usize, to: usize, origin: usize, frame: (usize, usize)) -> bool {
        let (sender, receiver) = (&state.replicas[from], &state.replicas[to]);
        let learns = (frame.0 + 1..=frame.1).any(|seq| has(sender.erased, slot(origin, seq)));
        !learns || Self::tombstoned(state, receiver.mem) || Self::next_seq(state, to).is_some()
    }

    /// Section 3, the admission check of each entry. Returns why an entry was refused.
    pub(crate) fn admit(&self, state: &mut State, to: usize, at: usize, sender: &Replica) -> Option<Witness> {
        let receiver = state.replicas[to];
        let extended = has(sender.extended, at);
        let erased = Self::tombstoned(state, receiver.mem);
        let gone_through = Self::gone_through(&receiver);
        match state.kinds[at] {
            Kind::None => return None,
            Kind::Tombstone(bucket) => {
                if (erased && !self.rules.second_tombstones_stored) || self.is_over(&receiver, usize::from(bucket)) {
                    return None;
                }
            }
            Kind::Document(_) if has(sender.erased, at) => {
                if !self.is_over(&receiver, Self::until(state)) {
                    Self::store_erased(&mut state.replicas[to], at);
                }
                return None;
            }
            Kind::Document(key) => {
                let key = if extended { LONG } else { usize::from(key) };
                if key == OVERLONG && self.rules.expiry_within_latest {
                    return None;
                }
                if EXPIRY[key] <= gone_through && self.rules.admission_refuses_expired {
                    let dropped = has(receiver.dropped, key);
                    return Some(if dropped { Witness::RefusedAfterDrop } else { Witness::RefusedExpired });
                }
                if erased && self.rules.admission_refuses_erased {
                    if self.rules.erased_entries_say_so {
                        Self::store_erased(&mut state.replicas[to], at);
                    }
                    return Some(Witness::RefusedErased);
                }
            }
        }
        let receiver = &mut state.replicas[to];
        receiver.mem |= 1 << at;
        receiver.extended |= u8::from(extended) << at;
        if matches!(state.kinds[at], Kind::Tombstone(_)) && !self.rules.tombstone_before_rows {
            self.remove_rows(state, to);
        }
        None
    }

    /// Whether no replica needs a tombstone any more.
    fn is_over(&self, replica: &Replica, bucket: usize) -> bool {
        if self.rules.tombstones_kept_until_droppable {
            END[bucket] + SKEW <= replica.certain || END[bucket] <= replica.horizon
        } else {
            EXPIRY[bucket] <= Self::gone_through(replica)
        }
    }

    fn store_erased(replica: &mut Replica, at: usize) {
        replica.mem |= 1 << at;
        replica.erased |= 1 << at;
        replica.beside |= 1 << at;
    }

    pub(crate) fn issue(&self, state: &mut State, at: usize, kind: Kind) {
        let Some(next) = Self::issuable(state, at) else { return };
        self.append(state, at, next, kind);
        state.in_flight = u8::try_from(at + 1).unwrap_or_default();
    }

    fn append(&self, state: &mut State, at: usize, next: usize, kind: Kind) {
        let new = slot(at, next);
        state.forked |= state.replicas.iter().enumerate().any(|(other, r)| other != at && has(covered(r.vector), new));
        state.set(new, kind);
        let replica = &mut state.replicas[at];
        replica.vector = with_seq(replica.vector, at, next);
        replica.mem |= 1 << new;
        if matches!(kind, Kind::Tombstone(_)) && !self.rules.tombstone_before_rows {
            self.remove_rows(state, at);
        } else if matches!(kind, Kind::Document(_)) && !self.rules.acknowledged_when_durable {
            state.acknowledged |= 1 << new;
        }
    }

    pub(crate) fn sync(state: &mut State, at: usize) {
        let replica = state.replicas[at];
        let new = replica.mem & !replica.disk;
        let rows = Self::rows(state, &replica);
        state.acknowledged |= new & rows & 3 << (SEQS * at);
        let tombstones = new & state.tombstones;
        let replica = &mut state.replicas[at];
        if tombstones != 0 {
            // A tombstone has become durable, so its rows may go now.
            replica.removal_due = rows != 0;
        }
        replica.disk = replica.mem;
        replica.erased_disk = replica.erased;
        replica.durable = replica.vector;
        replica.horizon_disk = replica.horizon;
    }

    /// `meta` is durable.
    pub(crate) fn note_meta(replica: &mut Replica) {
        replica.horizon_disk = replica.horizon;
        replica.certain_disk = replica.certain;
    }

    /// The buckets that the batch on its way touches.
    pub(crate) fn touched(state: &State, replica: &Replica) -> u8 {
        let rows = slots(Self::unsynced(replica)).map(|slot| 1 << Self::bucket(state, replica, slot));
        let vector = u8::from(replica.vector != replica.durable) << LASTING;
        rows.fold(vector, |all, bucket| all | bucket)
    }

    /// The entries that differ from those on the disk.
    fn unsynced(replica: &Replica) -> u8 {
        (replica.mem ^ replica.disk) | (replica.erased ^ replica.erased_disk)
    }

    pub(crate) fn crash(&self, state: &mut State, at: usize, kept: u8, stale: bool) {
        let before = state.replicas[at];
        let mut after = before;
        let touched = Self::touched(state, &before);
        let torn = kept != touched;
        if torn && kept != 0 {
            state.witness = Witness::TornBatch;
        }
        for slot in slots(Self::unsynced(&before)) {
            if !has(kept, Self::bucket(state, &before, slot)) {
                after.mem ^= (before.mem ^ before.disk) & 1 << slot;
                after.erased ^= (before.erased ^ before.erased_disk) & 1 << slot;
            }
        }
        if torn {
            // Own seqs are used up if any bucket's header names them.
            let issued = seq(if kept == 0 { before.durable } else { before.vector }, at);
            if self.rules.torn_batch_rolls_back {
                for slot in slots(after.mem & !before.disk).filter(|slot| slot / SEQS != at) {
                    after.mem &= !(u8::from(!has(covered(before.durable), slot)) << slot);
                }
                after.vector = before.durable;
            }
            after.vector = with_seq(after.vector, at, issued);
        }
        for slot in slots(before.mem & !after.mem).filter(|slot| slot / SEQS == at && !has(before.disk, *slot)) {
            // Lost before any replica was told, unless a rule is off.
            let known = state.replicas.iter().enumerate().any(|(other, r)| other != at && has(r.mem, slot));
            if !known {
                state.set(slot, Kind::None);
            }
        }
        after.horizon = after.horizon_disk;
        after.removal_due = false;
        after.dead &= after.gone;
        after.forget_of_missing();
        if Self::tombstoned(state, after.mem) && self.rules.removals_finished_at_restart {
            after.erase(Self::rows(state, &after), self.rules.erased_entries_say_so);
        }
        after.forget_of_missing();
        after.disk = after.mem;
        after.erased_disk = after.erased;
        after.durable = after.vector;
        let persisted = if stale { before.certain_disk } else { before.certain };
        let wall = Self::wall(state.now, after.clock);
        let agrees = wall.abs_diff(persisted) <= SKEW;
        after.doubt =
            !(agrees || (after.clock == Clock::Far && (!self.rules.certain_time || self.believes(Clock::Far))));
        after.certain = if after.doubt { persisted } else { wall.max(persisted) };
        after.certain_disk = persisted;
        state.in_flight = 0;
        state.replicas[at] = after;
    }

    pub(crate) fn drop_buckets(state: &mut State, at: usize, buckets: u8) {
        let replica = state.replicas[at];
        for slot in slots(replica.mem) {
            if !has(buckets, Self::bucket(state, &replica, slot)) {
                continue;
            }
            state.replicas[at].mem &= !(1 << slot);
            state.replicas[at].disk &= !(1 << slot);
        }
        state.replicas[at].forget_of_missing();
        state.replicas[at].erased_disk &= state.replicas[at].disk;
        let rows = Self::rows(state, &state.replicas[at]);
        state.replicas[at].removal_due &= rows != 0;
        state.replicas[at].dropped |= buckets;
        state.replicas[at].gone |= buckets;
    }

    /// Notes the keys that are dead now and must stay dead.
    pub(crate) fn note_dead(state: &mut State) {
        for at in 0..REPLICAS {
            let replica = &state.replicas[at];
            let dead = Self::dead(state, replica);
            let erased = if Self::tombstoned(state, replica.disk) { 0b111 } else { 0 };
            let replica = &mut state.replicas[at];
            replica.gone |= erased;
            replica.dead |= dead | replica.gone;
        }
    }

    pub(crate) fn apply(&self, state: &mut State, step: Step) {
        match step {
            Step::Create { at, key } => {
                state.left[0] -= 1;
                self.issue(state, at, Kind::Document(u8::try_from(key).unwrap_or_default()));
            }
            Step::Erase { at } => {
                state.left[1] -= 1;
                let replica = &state.replicas[at];
                let held =
                    slots(Self::rows(state, replica)).filter_map(|slot| Self::held_key(state, replica, slot)).max();
                let until = if self.rules.tombstone_until_latest_expiry { LONG } else { held.unwrap_or(LONG) };
                self.issue(state, at, Kind::Tombstone(u8::try_from(until).unwrap_or_default()));
            }
            Step::Remove { at } => {
                self.remove_rows(state, at);
                state.replicas[at].removal_due = false;
                state.in_flight = u8::try_from(at + 1).unwrap_or_default();
            }
            Step::Sync { at } => {
                Self::sync(state, at);
                state.in_flight = 0;
            }
            Step::SyncMeta { at } => Self::note_meta(&mut state.replicas[at]),
            Step::Crash { at, kept, stale } => {
                state.left[2] -= 1;
                self.crash(state, at, kept, stale);
            }
            Step::Deliver { from, to, origin, after, through } => {
                self.deliver(state, from, to, origin, (after, through));
                if state.in_flight == 0 {
                    state.in_flight = u8::try_from(to + 1).unwrap_or_default();
                } else {
                    // Told too early (a rule is off): the sender's batch is still in flight.
                    Self::sync(state, to);
                }
            }
            Step::Horizon { from, to } => {
                state.replicas[to].horizon = state.replicas[from].horizon;
                if !self.rules.horizon_drops_nothing {
                    let replica = &state.replicas[to];
                    let ended = (0..KEYS).filter(|key| END[*key] <= replica.horizon).map(|key| 1 << key).sum();
                    state.replicas[to].horizon_disk = state.replicas[to].horizon;
                    Self::drop_buckets(state, to, ended);
                }
            }
            Step::Drop { at } => {
                let buckets = self.passed(state, &state.replicas[at]);
                let latest = (0..KEYS).filter(|key| has(buckets, *key)).map(|key| END[key]).max().unwrap_or_default();
                state.replicas[at].horizon = state.replicas[at].horizon.max(latest);
                if self.rules.horizon_durable_before_drop {
                    Self::note_meta(&mut state.replicas[at]);
                }
                Self::drop_buckets(state, at, buckets);
            }
            Step::SetClock { at, to } => {
                state.left[3] -= 1;
                let returns = state.replicas[at].clock == Clock::Far;
                state.replicas[at].clock = to;
                // A jump back to where the clock was believed ends the doubt by itself.
                state.replicas[at].doubt = !self.believes(to) || (state.replicas[at].doubt && !returns);
                self.observe(state.now, &mut state.replicas[at]);
            }
            Step::Confirm { at } => {
                state.replicas[at].doubt = false;
                self.observe(state.now, &mut state.replicas[at]);
            }
            Step::Extend { at } => state.replicas[at].extended |= Self::rows(state, &state.replicas[at]),
            Step::Tick => {
                let next = self.bounds.moments.iter().copied().find(|moment| *moment > state.now).unwrap_or(state.now);
                for replica in &mut state.replicas {
                    if replica.doubt {
                        replica.certain += next - state.now;
                    }
                    self.observe(next, replica);
                }
                state.now = next;
            }
        }
    }
}
