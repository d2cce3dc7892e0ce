//! How much a region is sent, and which requests cost more than others.
//!
//! # Invariants
//! - A region is not sent more than its limit for long. Requests beyond it go to a neighbour that has room, and are
//!   otherwise refused.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use hyper::Method;
use hyper::http::request::Parts;

use crate::fleet::{Fleet, RegionIndex};

/// Whether a request asks a node for a new venue, which every region keeps for good. The nodes do not know the client.
pub(super) fn makes_a_venue(parts: &Parts) -> bool {
    parts.method == Method::POST && ["/v1/venues", "/console/register"].contains(&parts.uri.path())
}

/// The capacity of regions.
pub(super) struct Capacity(Vec<Option<DefaultDirectRateLimiter>>);

impl Capacity {
    /// The given part of each region's capacity.
    pub(super) fn new(fleet: &Fleet, part: f64) -> Capacity {
        let limiter = |capacity: f64| {
            let rate = (capacity * part).clamp(1e-3, 1e9);
            let quota = Quota::with_period(Duration::from_secs_f64(1.0 / rate))?;
            // Allows a tenth of a second's worth at once, because requests do not come evenly.
            let burst = NonZeroU32::new((rate / 10.0) as u32).unwrap_or(NonZeroU32::MIN);
            Some(RateLimiter::direct(quota.allow_burst(burst)))
        };
        Capacity(fleet.regions.iter().map(|region| region.capacity.and_then(limiter)).collect())
    }

    /// Takes room for one request.
    pub(super) fn take(&self, region: RegionIndex) -> bool {
        self.0[region.at()].as_ref().is_none_or(|limiter| limiter.check().is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::fleet;
    use super::Capacity;
    use crate::fleet::RegionIndex;

    #[test]
    fn a_region_takes_what_it_has_room_for() {
        let mut fleet = fleet(&[1, 1]);
        fleet.regions[0].capacity = Some(100.0);
        let capacity = Capacity::new(&fleet, 0.5);
        let taken = (0..100).filter(|_| capacity.take(RegionIndex(0))).count();
        assert!((5..=15).contains(&taken), "{taken}");
        assert!((0..100).all(|_| capacity.take(RegionIndex(1))));
    }
}
