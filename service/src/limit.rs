//! How much one client may ask for: a rate for each IPv4 address, or IPv6 network that one subscriber has.
//!
//! # Invariants
//! - Memory is bounded: beyond [`MOST_PREFIXES`] prefixes, new ones share buckets instead of having their own.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnetwork::IpNetwork;

use crate::client::prefix;

/// Number of prefixes with their own buckets.
const MOST_PREFIXES: usize = 100_000;

/// Number of buckets that the other prefixes share.
const SHARED: u128 = 4_096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Bucket {
    Own(u128),
    Shared(u128),
}

/// The rate limit of client prefixes.
pub struct PerClient {
    limiter: DefaultKeyedRateLimiter<Bucket>,
    exempt: Vec<IpNetwork>,
    crowded: AtomicBool,
    clock: DefaultClock,
}

impl PerClient {
    /// Each client may have as much as `quota` says; `exempt` networks may have any number.
    #[must_use]
    pub fn new(quota: Quota, exempt: Vec<IpNetwork>) -> PerClient {
        PerClient {
            limiter: RateLimiter::keyed(quota),
            exempt,
            crowded: AtomicBool::new(false),
            clock: DefaultClock::default(),
        }
    }

    /// Takes one request of a client.
    ///
    /// # Errors
    /// How long the client has to wait.
    pub fn take(&self, client: IpAddr) -> Result<(), Duration> {
        let client = client.to_canonical();
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
    pub fn sweep(&self) {
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use governor::Quota;

    use super::{MOST_PREFIXES, PerClient};

    fn limit(exempt: &[&str]) -> PerClient {
        let quota = Quota::per_second(NonZeroU32::MIN).allow_burst(NonZeroU32::new(3).unwrap());
        PerClient::new(quota, exempt.iter().map(|network| network.parse().unwrap()).collect())
    }

    #[test]
    fn a_prefix_has_its_burst_and_others_have_theirs() {
        let prefixes = limit(&["10.0.0.0/8"]);
        let take = |address: &str| prefixes.take(address.parse().unwrap());
        for _ in 0..3 {
            assert!(take("2001:db8:0:aa00::1").is_ok());
        }
        let wait = take("2001:db8:0:aa77::2").unwrap_err();
        assert!(wait.as_millis() <= 1_000, "{wait:?}");
        assert!(take("2001:db8:0:ab00::1").is_ok());
        assert!((0..100).all(|_| take("10.1.2.3").is_ok() && take("::ffff:10.1.2.3").is_ok()));
    }

    #[test]
    fn a_crowd_shares() {
        let prefixes = limit(&[]);
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
}
