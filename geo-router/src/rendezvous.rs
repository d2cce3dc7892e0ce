//! Weighted rendezvous hashing (Schindelhauer and Schomaker 2005): of several candidates, each with a hash of it and the
//! key, the one with the greatest score takes the key. When a weight changes, no more keys move than necessary.

/// The score of a candidate with this hash and weight.
#[must_use]
pub(crate) fn score(hash: u64, weight: f64) -> f64 {
    // In (0, 1), and both ends stay outside: 52 bits and a half are represented exactly, so nothing is rounded to 1.
    let unit = ((hash >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
    -weight / unit.ln()
}

#[cfg(test)]
mod tests {
    use super::score;

    #[test]
    fn scores_are_finite_and_grow_with_the_weight() {
        for hash in [0, 1, u64::MAX / 2, u64::MAX] {
            assert!(score(hash, 1.0).is_finite() && score(hash, 1.0) > 0.0, "{hash}");
            assert!(score(hash, 2.0) > score(hash, 1.0), "{hash}");
        }
    }
}
