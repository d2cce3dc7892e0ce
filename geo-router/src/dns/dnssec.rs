//! DNSSEC with online signing: keys, signatures over sets of records, and proofs that a name or a type does not exist.
//!
//! Every router has the same keys (`dns.dnssec_keys`) and signs what it answers. The first key signs everything; all keys
//! are in the zone's DNSKEY records and sign these. So a new key comes first as a further one, and becomes the first when
//! all caches know it. ECDSA with P-256 (algorithm 13, RFC 6605) is the only algorithm, because its signatures are short
//! and quickly made, and every validator knows it.
//!
//! hickory-proto reads keys, computes tags and digests, and encodes NSEC records. Its signer is not used, because it takes
//! parsed records, and answers here are octets; in the tests it is the independent validator.
//!
//! # Invariants
//! - A signature holds from an hour before the UTC day on which it is made until three days after that day
//!   ([`Validity`]). All routers sign for the same times, and nothing random decides when a signature is renewed.
//! - The octets of an answer decide what is signed: the set that is sent, with its TTL.
//!
//! # Not here
//! Which signatures go with which answer: [`super::secure`]. When they are made: [`super::answers`].

mod canonical;
mod denial;
mod keys;
mod signer;

pub(super) use canonical::RrSet;
pub(super) use denial::nsec_data;
pub(crate) use keys::ZoneKeys;
pub use keys::{KeyFacts, ZoneKeyError, create_key};
pub(super) use signer::{Asker, Exhausted, Made};
pub(crate) use signer::{Signer, Validity};
