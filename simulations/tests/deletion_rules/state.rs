//! The model's state of three replicas, in a few bytes.
//!
//! # Invariants
//! - There is one document name. It can have three keys: `SHORT`, `LONG` (the latest expiry that rule 1 allows) and
//!   `OVERLONG` (which rule 1 refuses). Each key has a bucket of its own, whose end comes one tick after the expiry.
//! - An entry is named by its slot: `origin * SEQS + seq - 1`. Stores and vectors are six bits: two for each origin.
//! - States that differ only in the numbering of the replicas have the same hash, so the checker visits one of them.

use std::hash::{Hash, Hasher};

/// Replicas.
pub(crate) const REPLICAS: usize = 3;
/// Entries that one replica can issue.
pub(crate) const SEQS: usize = 2;
/// Entries of all logs.
pub(crate) const SLOTS: usize = REPLICAS * SEQS;

/// Key with the shorter expiry.
pub(crate) const SHORT: usize = 0;
/// Key with the latest expiry that the name allows (`L`).
pub(crate) const LONG: usize = 1;
/// Key that lives longer than rule 1 allows.
pub(crate) const OVERLONG: usize = 2;
/// Keys.
pub(crate) const KEYS: usize = 3;
/// `x` of each key. A short one's bucket is gone everywhere before a long one expires, and a long one's before an
/// overlong one does: the order in which early forgetting hurts.
pub(crate) const EXPIRY: [u8; KEYS] = [3, 7, 11];
/// `end(B(x))` of each key.
pub(crate) const END: [u8; KEYS] = [4, 8, 12];
/// `s`, more than the distance from an expiry to its bucket's end, as in reality (a minute against milliseconds).
pub(crate) const SKEW: u8 = 2;
/// How far ahead a clock is that is wrong beyond the skew.
pub(crate) const FAR: u8 = 8;

/// The content of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// The slot was never used, or its entry was lost before any replica was told of it.
    #[default]
    None,
    /// A document with this key.
    Document(u8),
    /// A tombstone of the name, lying in this key's bucket.
    Tombstone(u8),
}

/// A wall clock against true time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Clock {
    /// Right.
    #[default]
    Right,
    /// Ahead by the skew.
    Ahead,
    /// Behind by the skew.
    Behind,
    /// Ahead beyond the skew.
    Far,
}

/// One replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Replica {
    /// Entries that a crash leaves, by slot.
    pub disk: u8,
    /// Entries that are visible, by slot.
    pub mem: u8,
    /// `D`.
    pub durable: u8,
    /// `V`.
    pub vector: u8,
    /// Stored documents whose expiry was changed to the long one; none with rule 1.
    pub extended: u8,
    /// Entries of `mem` that were documents and only say that they are erased.
    pub erased: u8,
    /// The same, as a crash leaves them.
    pub erased_disk: u8,
    /// Those of them that are in the tombstone's bucket and not in the document's.
    pub beside: u8,
    /// The wall clock.
    pub clock: Clock,
    /// The clock is not believed, or not confirmed: `C` runs on by itself.
    pub doubt: bool,
    /// `C`.
    pub certain: u8,
    /// `C` as a crash leaves it, unless it was noted a moment before.
    pub certain_disk: u8,
    /// `H`.
    pub horizon: u8,
    /// `H` as a crash leaves it.
    pub horizon_disk: u8,
    /// The rows of the tombstone are yet to go; forgotten in a crash.
    pub removal_due: bool,
    /// Keys that were dead here since the process started, or for good.
    pub dead: u8,
    /// Keys that were dead here by something durable: a tombstone, or the drop of their bucket.
    pub gone: u8,
    /// Buckets dropped here.
    pub dropped: u8,
}

/// The world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// True time.
    pub now: u8,
    /// Every entry ever issued, by slot.
    pub kinds: [Kind; SLOTS],
    /// The slots of `kinds` that hold documents, and those that hold tombstones.
    pub documents: u8,
    /// The latter.
    pub tombstones: u8,
    /// Creations that were acknowledged, by slot.
    pub acknowledged: u8,
    /// The replicas.
    pub replicas: [Replica; REPLICAS],
    /// One plus the replica that has a batch in flight. No other replica moves meanwhile, because nothing that is not
    /// durable leaves a replica, so no other could tell the difference.
    pub in_flight: u8,
    /// A dot was used a second time while some replica knew its first use.
    pub forked: bool,
    /// What may still happen: creations, erasures, crashes, clock steps.
    pub left: [u8; 4],
    /// What happened in the last step, for the properties that some state must have.
    pub witness: Witness,
    /// Whether that is part of the state's identity. It does not change what can happen next.
    pub witnessed: bool,
}

/// A situation of the last step that the model must reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Witness {
    /// Nothing special.
    #[default]
    None,
    /// A document was refused because of a tombstone.
    RefusedErased,
    /// A document was refused because its time is over.
    RefusedExpired,
    /// A document was refused by a replica that had dropped its bucket before.
    RefusedAfterDrop,
    /// A frame said less than its sender's log once held.
    Gap,
    /// A replica learnt of an erasure before its tombstone.
    PassedOn,
    /// A replica's `max(C, H)` went back.
    TimeSank,
    /// A batch survived a crash in some of its buckets only.
    TornBatch,
}

/// The seq that a vector has for an origin.
pub(crate) fn seq(vector: u8, origin: usize) -> usize {
    usize::from(vector >> (2 * origin) & 3)
}

/// The vector with another seq for an origin.
pub(crate) fn with_seq(vector: u8, origin: usize, seq: usize) -> u8 {
    #[allow(clippy::cast_possible_truncation)]
    let seq = seq as u8;
    vector & !(3 << (2 * origin)) | seq << (2 * origin)
}

/// Entry `seq` of an origin.
pub(crate) fn slot(origin: usize, seq: usize) -> usize {
    origin * SEQS + seq - 1
}

/// The slots that a vector covers.
pub(crate) fn covered(vector: u8) -> u8 {
    COVERED[usize::from(vector)]
}

const COVERED: [u8; 64] = {
    let mut table = [0; 64];
    let mut vector = 0;
    while vector < 64 {
        let mut origin = 0;
        while origin < REPLICAS {
            let seq = vector >> (2 * origin) & 3;
            table[vector] |= if seq == 0 { 0 } else { 1 << (2 * origin) };
            table[vector] |= if seq < 2 { 0 } else { 2 << (2 * origin) };
            origin += 1;
        }
        vector += 1;
    }
    table
};

/// Whether a set of slots, keys or buckets has a member.
pub(crate) fn has(set: u8, member: usize) -> bool {
    set >> member & 1 == 1
}

/// The slots of a set.
pub(crate) fn slots(set: u8) -> impl Iterator<Item = usize> {
    let mut rest = set;
    std::iter::from_fn(move || {
        let slot = rest.trailing_zeros() as usize;
        (rest != 0).then(|| {
            rest &= rest - 1;
            slot
        })
    })
}

/// Two bits per origin, under another numbering of the origins.
const fn renumbered(set: u8, order: [usize; REPLICAS]) -> u8 {
    (set >> (2 * order[0]) & 3) | (set >> (2 * order[1]) & 3) << 2 | (set >> (2 * order[2]) & 3) << 4
}

const ORDERS: [[usize; REPLICAS]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Every renumbering of every six bits.
const RENUMBERED: [[u8; 64]; 6] = {
    let mut table = [[0; 64]; 6];
    let mut order = 0;
    while order < 6 {
        let mut set = 0;
        while set < 64 {
            #[allow(clippy::cast_possible_truncation)]
            let bits = set as u8;
            table[order][set] = renumbered(bits, ORDERS[order]);
            set += 1;
        }
        order += 1;
    }
    table
};

impl Replica {
    /// The part of the state that does not depend on how replicas are numbered.
    fn own_bits(&self) -> u64 {
        let clocks = u64::from(self.certain) | u64::from(self.horizon) << 6 | u64::from(self.horizon_disk) << 12;
        let clocks = clocks | u64::from(self.certain_disk) << 18;
        let sets = u64::from(self.dead) | u64::from(self.gone) << 3 | u64::from(self.dropped) << 6;
        let flags = u64::from(self.doubt) | u64::from(self.removal_due) << 1 | (self.clock as u64) << 2;
        clocks | sets << 24 | flags << 36
    }

    fn shared_bits(&self, order: &[u8; 64]) -> u64 {
        let field = |set: u8, at: u32| u64::from(order[usize::from(set)]) << at;
        field(self.disk, 0)
            | field(self.mem, 6)
            | field(self.durable, 12)
            | field(self.vector, 18)
            | field(self.extended, 24)
            | field(self.erased, 30)
            | field(self.erased_disk, 36)
            | field(self.beside, 42)
    }
}

impl Replica {
    /// Turns entries into "erased" ones, or into gaps.
    pub(crate) fn erase(&mut self, rows: u8, say_so: bool) {
        if say_so {
            self.erased |= rows;
        } else {
            self.mem &= !rows;
        }
    }

    /// Clears the flags of entries that are not stored.
    pub(crate) fn forget_of_missing(&mut self) {
        self.extended &= self.mem;
        self.erased &= self.mem;
        self.beside &= self.erased;
    }
}

impl State {
    /// Writes an entry, or forgets that it was ever issued.
    pub(crate) fn set(&mut self, slot: usize, kind: Kind) {
        self.kinds[slot] = kind;
        let bit = 1 << slot;
        self.documents = self.documents & !bit | if matches!(kind, Kind::Document(_)) { bit } else { 0 };
        self.tombstones = self.tombstones & !bit | if matches!(kind, Kind::Tombstone(_)) { bit } else { 0 };
    }

    fn numbered(&self, order: usize, own: &[u64; REPLICAS]) -> [u64; 2 * REPLICAS + 1] {
        let (places, table) = (&ORDERS[order], &RENUMBERED[order]);
        let mut bits = [0; 2 * REPLICAS + 1];
        for (at, place) in places.iter().enumerate() {
            bits[at] = own[*place] << 1 | u64::from(usize::from(self.in_flight) == place + 1);
            bits[REPLICAS + at] = self.replicas[*place].shared_bits(table);
            for seq in 0..SEQS {
                let kind = match self.kinds[place * SEQS + seq] {
                    Kind::None => 0,
                    Kind::Document(key) => 1 + key,
                    Kind::Tombstone(key) => 4 + key,
                };
                bits[2 * REPLICAS] |= u64::from(kind) << (3 * (at * SEQS + seq));
            }
        }
        bits[2 * REPLICAS] |= u64::from(table[usize::from(self.acknowledged)]) << 32;
        bits
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let own = [self.replicas[0].own_bits(), self.replicas[1].own_bits(), self.replicas[2].own_bits()];
        let sorted = |order: &[usize; REPLICAS]| own[order[0]] <= own[order[1]] && own[order[1]] <= own[order[2]];
        // Only numberings that order the replicas by their own part of the state can be the least one.
        let least = (0..6).filter(|order| sorted(&ORDERS[*order])).map(|order| self.numbered(order, &own)).min();
        least.hash(hasher);
        (self.now, self.forked, self.left).hash(hasher);
        if self.witnessed {
            self.witness.hash(hasher);
        }
    }
}
