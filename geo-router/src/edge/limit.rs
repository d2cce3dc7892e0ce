//! Limits how much one client prefix may ask, and how much a region is sent.
//!
//! # Invariants
//! - Memory is bounded: beyond [`MOST_PREFIXES`] prefixes, new ones share buckets instead of having their own.
//! - A region is not sent more than its limit for long. Requests beyond it go to a neighbour that has room, and are
//!   otherwise refused.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnetwork::IpNetwork;

use super::client::prefix;
use super::config::RateLimit;
use crate::fleet::{Fleet, RegionIndex};

/// Number of prefixes with their own buckets.
pub(super) const MOST_PREFIXES: usize = 100_000;

/// Number of buckets that the other prefixes share.
const SHARED: u128 = 4_096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Bucket {
    Own(u128),
    Shared(u128),
}

/// The rate limit of client prefixes.
pub(super) struct Prefixes {
    limiter: DefaultKeyedRateLimiter<Bucket>,
    exempt: Vec<IpNetwork>,
    crowded: AtomicBool,
    clock: DefaultClock,
}

impl Prefixes {
    pub(super) fn new(limit: &RateLimit) -> Prefixes {
        let quota = Quota::per_second(limit.per_second).allow_burst(limit.burst);
        Prefixes {
            limiter: RateLimiter::keyed(quota),
            exempt: limit.exempt.clone(),
            crowded: AtomicBool::new(false),
            clock: DefaultClock::default(),
        }
    }

    /// Takes one request of a client, or returns how long it has to wait.
    pub(super) fn take(&self, client: IpAddr) -> Result<(), Duration> {
        if self.exempt.iter().any(|network| network.contains(client)) {
            return Ok(());
        }
        let prefix = prefix(client);
        let bucket = if self.crowded.load(Ordering::Relaxed) {
            Bucket::Shared((prefix ^ (prefix >> 56) ^ (prefix >> 88)) % SHARED)
        } else {
            Bucket::Own(prefix)
        };
        self.limiter.check_key(&bucket).map_err(|early| early.wait_time_from(self.clock.now()))
    }

    /// Forgets prefixes that sent nothing for long. To be called about every second.
    pub(super) fn sweep(&self) {
        self.limiter.retain_recent();
        let crowded = self.limiter.len() > MOST_PREFIXES;
        if !crowded {
            self.limiter.shrink_to_fit();
        }
        if self.crowded.swap(crowded, Ordering::Relaxed) != crowded {
            let action = "none for a moment; if it stays true, find out which networks send the requests";
            tracing::warn!(
                crowded,
                action,
                "while crowded is true there are more client prefixes than buckets: some clients share rate limits"
            );
        }
    }
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
    use std::num::NonZeroU32;

    use super::super::testing::fleet;
    use super::{Capacity, MOST_PREFIXES, Prefixes, RateLimit};
    use crate::fleet::RegionIndex;

    fn limit(exempt: &[&str]) -> RateLimit {
        RateLimit {
            per_second: NonZeroU32::MIN,
            burst: NonZeroU32::new(3).unwrap(),
            exempt: exempt.iter().map(|network| network.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn a_prefix_has_its_burst_and_others_have_theirs() {
        let prefixes = Prefixes::new(&limit(&["10.0.0.0/8"]));
        let take = |address: &str| prefixes.take(address.parse().unwrap());
        for _ in 0..3 {
            assert!(take("2001:db8:0:aa00::1").is_ok());
        }
        let wait = take("2001:db8:0:aa77::2").unwrap_err();
        assert!(wait.as_millis() <= 1_000, "{wait:?}");
        assert!(take("2001:db8:0:ab00::1").is_ok());
        assert!((0..100).all(|_| take("10.1.2.3").is_ok()));
    }

    #[test]
    fn a_crowd_shares() {
        let prefixes = Prefixes::new(&limit(&[]));
        let client = |number: u32| std::net::IpAddr::from(number.to_be_bytes());
        for number in 0..=MOST_PREFIXES as u32 {
            assert!(prefixes.take(client(number)).is_ok());
        }
        prefixes.sweep();
        let known = prefixes.limiter.len();
        for number in 0..100_000 {
            let _ = prefixes.take(client(1_000_000 + number));
        }
        assert!(prefixes.limiter.len() <= known + super::SHARED as usize);
    }

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
