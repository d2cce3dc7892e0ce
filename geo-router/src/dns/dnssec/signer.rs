//! Makes signatures (RRSIG records), and keeps them while they can be used again.
//!
//! A signature costs about 20 µs of processor time. Those of sets that are the same for many queries are made before the
//! first query ([`Signer::sign`]). The others depend on the question or on the client, and are made when they are first needed
//! ([`Signer::sign_asked`]): the proof that a name does not exist, and the addresses of several regions.
//!
//! # Invariants
//! - Kept signatures are found by a hash of the set, of the key and of the day, so one that is found is right.
//! - The memory for kept signatures is bounded. Names that are asked for once do not push out those that are asked for
//!   often (moka's TinyLFU), and never the signatures of the zone's own sets.
//! - Clients whose address may be forged cause at most [`FORGEABLE_PER_SECOND`] signatures a second.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::DefaultClock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use hickory_proto::ProtoError;
use hickory_proto::dnssec::Algorithm;
use hickory_proto::rr::Name;
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::super::wire::{TYPE_DNSKEY, TYPE_RRSIG, name_bytes, push_record};
use super::canonical::RrSet;
use super::keys::{KeyFacts, ZoneKey, ZoneKeys};

/// New signatures a second for clients over UDP without a good cookie, from all networks together: a twelfth of a core.
const FORGEABLE_PER_SECOND: NonZeroU32 = NonZeroU32::new(4_000).unwrap();

/// Most kept signatures of each kind, of about 250 octets each.
const KEPT: u64 = 16_384;

const HOUR: u32 = 3_600;
const DAY: u32 = 24 * HOUR;

/// The times between which a signature holds, in seconds since 1970, as serial numbers (RFC 4034, section 3.1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    /// An hour before the UTC day, because clocks of validators may be behind.
    inception: u32,
    /// Three days after the end of the day, so that an answer that is kept for its TTL still has a signature that holds.
    pub(in crate::dns) expiration: u32,
}

impl Validity {
    /// The validity of a signature that is made at this time. It changes at midnight UTC, and only then.
    pub(crate) fn at(now: u32) -> Validity {
        let day = now - now % DAY;
        Validity { inception: day.wrapping_sub(HOUR), expiration: day.wrapping_add(4 * DAY) }
    }
}

/// The facts about a query on which new signatures depend.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) struct Asker {
    /// Seconds since 1970.
    pub time: u32,
    /// The transport or a cookie shows that the client's address is not forged.
    pub is_proven: bool,
}

/// There is no signature: too many were made this second, or the system gives no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) struct Exhausted;

/// The signatures since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::dns) struct Made {
    /// Before a query needed them.
    pub ahead: u64,
    /// For a query.
    pub asked: u64,
    /// Not made, because too many were made in that second.
    pub refused: u64,
}

type Kept = Cache<[u8; 32], Arc<[u8]>>;

/// What was made on one day is of no use on the next.
fn kept() -> Kept {
    Cache::builder().max_capacity(KEPT).time_to_live(Duration::from_secs(DAY.into())).build()
}

/// Signs for one zone.
pub(crate) struct Signer {
    keys: ZoneKeys,
    /// The zone's name in lower case, as on the wire.
    apex: Box<[u8]>,
    ahead: Kept,
    asked: Kept,
    allowance: RateLimiter<NotKeyed, InMemoryState, DefaultClock>,
    made_ahead: AtomicU64,
    made_asked: AtomicU64,
    refused: AtomicU64,
}

impl Signer {
    /// A signer for a zone, whose name is in lower case.
    ///
    /// # Errors
    /// [`ProtoError`] if the zone's name cannot be encoded.
    pub(crate) fn new(keys: ZoneKeys, zone: &Name) -> Result<Signer, ProtoError> {
        Signer::bounded(keys, zone, FORGEABLE_PER_SECOND)
    }

    fn bounded(keys: ZoneKeys, zone: &Name, rate: NonZeroU32) -> Result<Signer, ProtoError> {
        Ok(Signer {
            keys,
            apex: name_bytes(zone)?.into(),
            ahead: kept(),
            asked: kept(),
            allowance: RateLimiter::direct(Quota::per_second(rate)),
            made_ahead: AtomicU64::new(0),
            made_asked: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// The public facts of each key.
    pub(crate) fn facts(&self, zone: &Name) -> Result<Vec<KeyFacts>, ProtoError> {
        self.keys.facts(zone)
    }

    /// The data of all DNSKEY records.
    pub(in crate::dns) fn dnskeys(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.keys.iter().map(|key| &*key.data)
    }

    /// The RRSIG records of a set without their owner, made ahead: of all keys for the keys themselves, otherwise of the
    /// first one.
    ///
    /// # Errors
    /// [`ProtoError`] if the system gives no random numbers.
    pub(in crate::dns) fn sign(&self, set: &RrSet<'_>, now: u32) -> Result<Vec<Arc<[u8]>>, ProtoError> {
        let count = if set.kind == TYPE_DNSKEY { self.keys.keys.len() } else { 1 };
        let signature = |key: &ZoneKey| {
            let unsigned = Unsigned::new(self, key, set, now);
            let digest = unsigned.digest();
            if let Some(kept) = self.ahead.get(&digest) {
                return Ok(kept);
            }
            let made = unsigned.sign(key).ok_or("a record cannot be signed: there are no random numbers")?;
            self.made_ahead.fetch_add(1, Ordering::Relaxed);
            self.ahead.insert(digest, Arc::clone(&made));
            Ok(made)
        };
        self.keys.keys.iter().take(count).map(signature).collect()
    }

    /// The RRSIG record of a set without its owner, for a query. It is kept if the set has a TTL.
    ///
    /// # Errors
    /// [`Exhausted`]: the client must ask again over TCP.
    pub(in crate::dns) fn sign_asked(&self, set: &RrSet<'_>, asker: Asker) -> Result<Arc<[u8]>, Exhausted> {
        let key = self.keys.keys.first().ok_or(Exhausted)?;
        let unsigned = Unsigned::new(self, key, set, asker.time);
        let digest = (set.ttl > 0).then(|| unsigned.digest());
        if let Some(kept) = digest.and_then(|digest| self.asked.get(&digest)) {
            return Ok(kept);
        }
        if !asker.is_proven && self.allowance.check().is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Exhausted);
        }
        let made = unsigned.sign(key).ok_or(Exhausted)?;
        self.made_asked.fetch_add(1, Ordering::Relaxed);
        if let Some(digest) = digest {
            self.asked.insert(digest, Arc::clone(&made));
        }
        Ok(made)
    }

    /// The signatures since the start of the process.
    pub(in crate::dns) fn made(&self) -> Made {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Made { ahead: count(&self.made_ahead), asked: count(&self.made_asked), refused: count(&self.refused) }
    }
}

impl PartialEq for Signer {
    fn eq(&self, other: &Signer) -> bool {
        self.keys == other.keys && self.apex == other.apex
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// A signature before it is made.
struct Unsigned {
    ttl: u32,
    /// The data of the RRSIG record without the signature.
    head: Vec<u8>,
    /// The records in canonical form.
    records: Vec<u8>,
}

impl Unsigned {
    /// RFC 4034, section 3.1.
    fn new(signer: &Signer, key: &ZoneKey, set: &RrSet<'_>, now: u32) -> Unsigned {
        let Validity { inception, expiration } = Validity::at(now);
        let mut head = Vec::with_capacity(18 + signer.apex.len() + 64);
        head.extend_from_slice(&set.kind.to_be_bytes());
        head.extend_from_slice(&[u8::from(Algorithm::ECDSAP256SHA256), set.labels()]);
        for number in [set.ttl, expiration, inception] {
            head.extend_from_slice(&number.to_be_bytes());
        }
        head.extend_from_slice(&key.tag.to_be_bytes());
        head.extend_from_slice(&signer.apex);
        Unsigned { ttl: set.ttl, head, records: set.canonical() }
    }

    fn digest(&self) -> [u8; 32] {
        Sha256::new().chain_update(&self.head).chain_update(&self.records).finalize().into()
    }

    /// The whole record without its owner.
    fn sign(mut self, key: &ZoneKey) -> Option<Arc<[u8]>> {
        let signature = key.sign(&[&self.head[..], &self.records].concat())?;
        self.head.extend_from_slice(&signature);
        let mut record = Vec::with_capacity(self.head.len() + 10);
        push_record(&mut record, TYPE_RRSIG, self.ttl, &self.head);
        Some(record.into())
    }
}

#[cfg(test)]
mod tests;
