//! What clients without a credential may make this node, and with it every region, keep: venues, and tombstones of visits
//! that it has not seen. Check-ins are not limited, because a stadium stands behind one address, and they expire.
//!
//! # Invariants
//! - Memory is bounded: a limiter forgets those that asked for nothing lately, once a second ([`Strangers::sweep`]).
//!
//! # Not here
//! Limits of clients that come through a router: its edge knows their addresses, this node does not.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use registry::VenueId;
use service::limit::PerClient;

use super::problem::{Kind, Problem};
use crate::config::LimitsConfig;

/// How many clients' erasures one venue may have.
const BACKSTOP: NonZeroU32 = NonZeroU32::new(50).expect("not 0");

/// How often limiters forget.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The limits.
pub(super) struct Strangers {
    venues: PerClient,
    erasures: PerClient,
    erasures_of_venue: DefaultKeyedRateLimiter<VenueId>,
    clock: DefaultClock,
}

impl Strangers {
    pub(super) fn new(limits: &LimitsConfig) -> Strangers {
        Strangers {
            venues: PerClient::new(Quota::per_hour(limits.venues_per_hour), limits.routers.clone()),
            erasures: PerClient::new(Quota::per_hour(limits.erasures_per_hour), limits.routers.clone()),
            // Guests whose visits are in another region use it as well, so a stranger must not use it up easily.
            erasures_of_venue: RateLimiter::keyed(Quota::per_hour(limits.erasures_per_hour.saturating_mul(BACKSTOP))),
            clock: DefaultClock::default(),
        }
    }

    /// One more venue of a client.
    pub(super) fn take_venue(&self, client: Option<IpAddr>) -> Result<(), Problem> {
        let Some(client) = client else { return Ok(()) };
        self.venues
            .take(client)
            .map_err(|wait| too_many("this network has made too many venues in the last hour", wait))
    }

    /// One more erasure of a client of a visit that this node has not seen.
    pub(super) fn take_erasure(&self, client: Option<IpAddr>, venue: VenueId) -> Result<(), Problem> {
        if let Some(client) = client {
            let detail = "this network has erased too many visits that this region has not seen";
            self.erasures.take(client).map_err(|wait| too_many(detail, wait))?;
        }
        self.erasures_of_venue.check_key(&venue).map_err(|early| {
            let wait = early.wait_time_from(self.clock.now());
            too_many("too many visits of this venue were erased that this region has not seen: try again later", wait)
        })
    }

    /// Forgets those that asked for nothing lately, for ever.
    pub(super) async fn sweep(&self) {
        let mut turns = tokio::time::interval(SWEEP_EVERY);
        loop {
            turns.tick().await;
            self.venues.sweep();
            self.erasures.sweep();
            self.erasures_of_venue.retain_recent();
        }
    }
}

fn too_many(detail: &'static str, wait: Duration) -> Problem {
    Problem::new(Kind::Limited, detail).after(u32::try_from(wait.as_secs().saturating_add(1)).unwrap_or(u32::MAX))
}
