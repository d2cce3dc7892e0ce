//! The state with which a replica begins, from what `meta` and the headers of the buckets say together.
//!
//! The headers are newer than `meta`, because every batch writes headers and only some batches write `meta`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Event;
use super::headers::{self, BucketHeader, StoreState};
use super::meta::Meta;
use crate::ids::{NodeName, ReplicaId};
use crate::key::Bucket;
use crate::version::VersionVector;

/// The state with which a replica begins.
pub(super) struct Begun {
    pub(super) id: ReplicaId,
    pub(super) needs_id: bool,
    pub(super) past: BTreeSet<ReplicaId>,
    pub(super) ended: VersionVector,
    pub(super) vector: VersionVector,
    pub(super) settled: VersionVector,
    pub(super) issued: u64,
    pub(super) head: Option<u32>,
    /// Own entries that are to be fetched back.
    pub(super) recover: VersionVector,
    pub(super) filling: bool,
    /// Own seqs that were issued in a batch which some of its buckets lack. Unless a peer knows of them, that batch was
    /// never durable.
    pub(super) unproven: VersionVector,
    /// How far entries may lie beyond the vector in buckets that are not lost.
    pub(super) orphans: VersionVector,
    pub(super) events: VecDeque<Event>,
}

impl Begun {
    pub(super) fn of(
        meta: &Meta,
        headers: &BTreeMap<Bucket, BucketHeader>,
        found: &StoreState,
        last: &BucketHeader,
        node: &NodeName,
    ) -> Begun {
        let mut issued = headers::issued(headers);
        issued.advance(meta.id, meta.issued);
        // Ids that are newer than `meta`: the batch with the first entry under such an id did not reach all its
        // buckets.
        let lasting = headers.get(&Bucket::Lasting).map_or(0, |header| header.batch);
        let newer = headers.values().filter(|header| header.batch > lasting);
        let newer = newer.filter_map(|header| header.replica).filter(|id| *id != meta.id);
        let mut past: BTreeSet<ReplicaId> = meta.past.iter().copied().chain(newer).collect();
        let mut events = VecDeque::new();
        let is_copy = !meta.node.is_empty() && meta.node != node.as_str();
        let has_head = |header: &&BucketHeader| header.replica == Some(meta.id) && header.issued == issued.get(meta.id);
        let mut begun = Begun {
            id: meta.id,
            needs_id: false,
            past: BTreeSet::new(),
            ended: meta.ended.clone(),
            vector: VersionVector::default(),
            settled: meta.settled.clone(),
            issued: issued.get(meta.id),
            head: if issued.get(meta.id) == 0 { Some(0) } else { headers.values().find(has_head).and_then(|m| m.head) },
            recover: VersionVector::default(),
            filling: false,
            unproven: VersionVector::default(),
            orphans: meta.orphans.clone(),
            events: VecDeque::new(),
        };
        match found {
            StoreState::Whole(vector) | StoreState::Half(vector) => {
                begun.vector = meta.vector.clone();
                begun.vector.merge(vector);
                begun.settled.merge(&last.settled);
                // Seqs issued in the newest batch are used up. The seqs of ids in `meta.past` are left out: they were
                // settled when the id was given up, and if a bucket was lost since, some of their entries are still to
                // be fetched back.
                let is_settled = |origin: &ReplicaId| meta.past.contains(origin);
                let used = issued.iter().filter(|(o, _)| (*o == meta.id || past.contains(o)) && !is_settled(o));
                for (origin, seq) in used {
                    if matches!(found, StoreState::Half(_)) || meta.unproven.get(origin) == seq {
                        begun.unproven.advance(origin, seq);
                    } else {
                        begun.vector.advance(origin, seq);
                    }
                }
                // A later id that has issued nothing does not change `meta`, but its batches write headers. Then only
                // the vector says how far the log under the stored id goes.
                let known = begun.vector.get(meta.id);
                if known > begun.issued {
                    (begun.issued, begun.head) = (known, None);
                }
            }
            StoreState::WentBack { proven, missing } => {
                begun.vector = proven.clone();
                // Rows that were removed may be back, so the removals of every tombstone are repeated.
                begun.settled = VersionVector::default();
                begun.filling = true;
                for known in headers.values().map(|header| &header.vector).chain([&meta.vector, &issued]) {
                    begun.orphans.merge(known);
                }
                events.push_back(Event::BucketsLost(missing.clone()));
            }
        }
        if is_copy {
            if let Ok(of) = meta.node.parse() {
                events.push_back(Event::CopiedFrom(of));
            }
            begun.filling = true;
            past.clear();
            begun.ended = VersionVector::default();
        } else if begun.filling {
            past.extend(Some(meta.id).filter(|id| issued.get(*id) > 0));
            for (origin, seq) in issued.iter().filter(|(origin, _)| past.contains(origin)) {
                begun.ended.advance(origin, seq);
            }
            begun.recover = begun.ended.clone();
        } else {
            for (origin, seq) in issued.iter().filter(|(origin, _)| past.contains(origin)) {
                begun.ended.advance(origin, seq);
            }
        }
        // If nothing was issued under the stored id, the disk may have gone back to before its first entry: take a new
        // one.
        if begun.filling || begun.issued == 0 {
            (begun.needs_id, begun.issued, begun.head) = (true, 0, Some(0));
        }
        if begun.needs_id && !is_copy {
            past.insert(meta.id);
        } else {
            past.remove(&meta.id);
        }
        debug_assert!(begun.needs_id || !past.contains(&begun.id), "the id that goes on was given up");
        debug_assert!(!begun.needs_id || begun.issued == 0, "a new id has issued entries");
        Begun { past, events, ..begun }
    }
}
