//! Randomness: one explicit seed, and from it an independent stream for each concern.
//!
//! A stream is named by a label and an index (`"latency", 7`). So a new setting, or a fault that is taken out of a
//! plan, does not change what the other streams draw. All randomness comes from these streams.

use std::hash::Hasher as _;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// A stream of one concern. ChaCha8: portable and specified, so that a seed means the same on every machine.
pub(crate) type Stream = ChaCha8Rng;

/// The stream of `label` and `index` under `seed`.
#[must_use]
pub(crate) fn stream(seed: u64, label: &str, index: u64) -> Stream {
    let mut key = [0; 32];
    for (half, out) in key.chunks_exact_mut(16).enumerate() {
        let mut hasher = SipHasher13::new_with_keys(seed, half as u64);
        hasher.write_u64(index);
        hasher.write(label.as_bytes());
        out.copy_from_slice(&hasher.finish128().as_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;

    #[test]
    fn streams_are_independent_and_the_same_every_time() {
        let draw = |seed, label, index| super::stream(seed, label, index).random::<u64>();
        assert_eq!(draw(1, "latency", 0), draw(1, "latency", 0));
        let others = [draw(1, "latency", 0), draw(2, "latency", 0), draw(1, "latency", 1), draw(1, "loss", 0)];
        let distinct: std::collections::BTreeSet<_> = others.into_iter().collect();
        assert_eq!(distinct.len(), others.len());
        // The meaning of a seed must not change, because reports and regression scenarios name seeds.
        assert_eq!(draw(42, "latency", 3), 6_651_337_255_714_551_335);
    }
}
