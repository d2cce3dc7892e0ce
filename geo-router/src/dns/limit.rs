//! Response rate limiting over UDP, where a sender's address may be forged: per network, with TCP as the way out.
//!
//! # Invariants
//! - Memory depends on the networks of the last moments and not on all that were ever seen: a network whose allowance
//!   is full again is forgotten within a second.
//! - A real resolver above the limit still gets through, because every n-th of its answers tells it to use TCP.
//! - A query with a good cookie ([`super::cookie`]) is neither limited nor counted, because its address is not forged.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::DefaultClock;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use ipnetwork::IpNetwork;
use tokio::sync::watch;

use super::config::RateLimitConfig;

/// How often networks are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// The treatment of a query by the rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered.
    Answer,
    /// A truncated answer, which tells the client to use TCP.
    Slip,
    /// It is not answered.
    Drop,
}

/// The allowances of all networks, shared by all threads.
#[derive(Debug)]
pub(super) struct Limiter {
    allowances: Option<RateLimiter<u64, DashMapStateStore<u64>, DefaultClock>>,
    exempt: Vec<IpNetwork>,
    slip: u32,
    above: AtomicU32,
}

impl Limiter {
    pub(super) fn new(config: &RateLimitConfig) -> Limiter {
        Limiter {
            allowances: config.responses_per_second.map(|rate| RateLimiter::dashmap(Quota::per_second(rate))),
            exempt: config.exempt.clone(),
            slip: config.slip,
            above: AtomicU32::new(0),
        }
    }

    /// The treatment of a query from an address in its canonical form; `is_proven` if a cookie shows that it is not forged.
    pub(super) fn check(&self, from: IpAddr, is_proven: bool) -> Verdict {
        let Some(allowances) = &self.allowances else { return Verdict::Answer };
        if is_proven
            || self.exempt.iter().any(|network| network.contains(from))
            || allowances.check_key(&network(from)).is_ok()
        {
            return Verdict::Answer;
        }
        // Counted over all networks, so that a network that sends in a rhythm cannot choose which queries slip.
        let above = self.above.fetch_add(1, Ordering::Relaxed);
        if self.slip > 0 && above.is_multiple_of(self.slip) { Verdict::Slip } else { Verdict::Drop }
    }

    /// Whether there is a limit at all.
    pub(super) fn limits(&self) -> bool {
        self.allowances.is_some()
    }

    /// Forgets networks until `stop` is true, or at once if there is no limit.
    pub(super) async fn forget(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let Some(allowances) = &self.allowances else { return };
        let rounds = async {
            loop {
                tokio::time::sleep(FORGET_EVERY).await;
                allowances.retain_recent();
                allowances.shrink_to_fit();
            }
        };
        tokio::select! { _ = stop.wait_for(|stop| *stop) => {}, () = rounds => {} }
    }
}

/// The network in which an address is counted: its /24, or its /56 with a bit that no IPv4 network has.
pub(super) fn network(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => u64::from(u32::from(address) >> 8),
        IpAddr::V6(address) => (u128::from(address) >> 72) as u64 | 1 << 63,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::{Limiter, RateLimitConfig, Verdict, network};

    fn limiter(rate: u32, slip: u32) -> Limiter {
        let exempt = vec!["192.0.2.0/24".parse().unwrap()];
        Limiter::new(&RateLimitConfig { responses_per_second: NonZeroU32::new(rate), slip, exempt })
    }

    #[test]
    fn a_network_has_its_allowance_and_every_second_answer_above_slips() {
        let limiter = limiter(3, 2);
        let verdicts: Vec<Verdict> = (0..7).map(|host| limiter.check([198, 51, 100, host].into(), false)).collect();
        assert_eq!(verdicts[..3], [Verdict::Answer; 3]);
        assert_eq!(verdicts[3..], [Verdict::Slip, Verdict::Drop, Verdict::Slip, Verdict::Drop]);
        assert_eq!(limiter.check([198, 51, 101, 0].into(), false), Verdict::Answer);
        for _ in 0..9 {
            assert_eq!(limiter.check([192, 0, 2, 1].into(), false), Verdict::Answer);
            assert_eq!(limiter.check([198, 51, 100, 0].into(), true), Verdict::Answer);
            assert_eq!(limiter.check([198, 51, 102, 0].into(), true), Verdict::Answer);
        }
        assert_eq!(limiter.check([198, 51, 102, 0].into(), false), Verdict::Answer, "proven addresses are not counted");
    }

    #[test]
    fn no_limit_and_no_slip() {
        let (unlimited, silent) = (limiter(0, 2), limiter(1, 0));
        for _ in 0..9 {
            assert_eq!(unlimited.check([198, 51, 100, 1].into(), false), Verdict::Answer);
        }
        assert_eq!(silent.check([198, 51, 100, 1].into(), false), Verdict::Answer);
        assert_eq!(silent.check([198, 51, 100, 1].into(), false), Verdict::Drop);
    }

    #[test]
    fn networks_are_those_that_are_given_to_one_client() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("198.51.100.1"), of("198.51.100.255"));
        assert_ne!(of("198.51.100.1"), of("198.51.101.1"));
        assert_eq!(of("2001:db8:0:aa00::1"), of("2001:db8:0:aaff::2"));
        assert_ne!(of("2001:db8:0:aa00::1"), of("2001:db8:0:ab00::1"));
        assert_ne!(of("::1"), of("0.0.0.1"));
    }
}
