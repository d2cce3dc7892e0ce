//! How much a region is sent, and which requests come first when it is little.
//!
//! # Invariants
//! - A region is not sent more than its limit for long. Requests beyond it go to a neighbour that has room, and are
//!   otherwise refused.
//! - Guests come first: what is left for all requests ends before what is left for a guest's.
//! - `now` is an argument: nothing here reads a clock.
//!
//! `governor` was passed over here, because it cannot leave a part of its room to others.

use std::time::Instant;

use hyper::Method;
use hyper::http::request::Parts;
use parking_lot::Mutex;

use crate::fleet::{Fleet, RegionIndex};

/// How much room a bucket has, in seconds of its rate: requests do not come evenly.
const BURST_S: f64 = 1.5;

/// The part of a bucket that is left to guests.
const FOR_GUESTS: f64 = 1.0 / 3.0;

/// The part of a bucket that must be full for a request beyond the plan's capacity.
const BEYOND_PLAN: f64 = 1.0 / 3.0;

/// Whether a request asks a node for a new venue, which every region keeps for good. The nodes do not know the client.
pub(super) fn makes_a_venue(parts: &Parts) -> bool {
    parts.method == Method::POST && ["/v1/venues", "/console/register"].contains(&parts.uri.path())
}

/// Which requests a region has room for if it has little.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Urgency {
    /// A guest checks in, reads, corrects or erases a visit, or opens a page for that.
    pub(super) is_guest: bool,
    /// By the plan no region has capacity for it. The plan rests on the rates of the last seconds, and there may be room
    /// all the same.
    pub(super) is_beyond_plan: bool,
}

impl Urgency {
    pub(super) fn of(parts: &Parts, is_beyond_plan: bool) -> Urgency {
        Urgency { is_guest: is_guest(parts.uri.path()), is_beyond_plan }
    }

    /// The part of a bucket that the request must leave.
    fn leaves(self) -> f64 {
        let for_guests = if self.is_guest { 0.0 } else { FOR_GUESTS };
        for_guests + if self.is_beyond_plan { BEYOND_PLAN } else { 0.0 }
    }
}

/// Whether guests open this path when they check in, or later with their receipt. Lists, contacts and the console are for
/// owners and offices.
fn is_guest(path: &str) -> bool {
    let of_venue = path.strip_prefix("/v1/venues/").and_then(|rest| rest.split_once('/'));
    match of_venue {
        Some((_, rest)) => rest == "visits" || rest.starts_with("visits/"),
        None => ["/c/", "/r/", "/v1/venues/", "/assets/"].iter().any(|start| path.starts_with(start)),
    }
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    room: f64,
    state: Mutex<(f64, Instant)>,
}

impl Bucket {
    fn new(rate: f64, now: Instant) -> Bucket {
        let room = (rate * BURST_S).max(1.0);
        Bucket { rate, room, state: Mutex::new((room, now)) }
    }

    /// Takes room for one request that leaves this part of the bucket.
    fn take(&self, now: Instant, leaves: f64) -> bool {
        let mut state = self.state.lock();
        let (left, since) = *state;
        let left = (left + self.rate * now.saturating_duration_since(since).as_secs_f64()).min(self.room);
        // A full bucket has room for every request, however small it is.
        let is_room = left >= (1.0 + leaves * self.room).min(self.room);
        *state = (if is_room { left - 1.0 } else { left }, now.max(since));
        is_room
    }
}

/// The capacity of regions.
pub(super) struct Capacity(Vec<Option<Bucket>>);

impl Capacity {
    /// The given part of each region's capacity.
    pub(super) fn new(fleet: &Fleet, part: f64, now: Instant) -> Capacity {
        let bucket = |capacity: f64| Bucket::new((capacity * part).clamp(1e-3, 1e9), now);
        Capacity(fleet.regions.iter().map(|region| region.capacity.map(bucket)).collect())
    }

    /// Takes room for one request.
    pub(super) fn take(&self, now: Instant, region: RegionIndex, urgency: Urgency) -> bool {
        self.0[region.at()].as_ref().is_none_or(|bucket| bucket.take(now, urgency.leaves()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::testing::fleet;
    use super::{Capacity, Urgency, is_guest};
    use crate::fleet::RegionIndex;

    const GUEST: Urgency = Urgency { is_guest: true, is_beyond_plan: false };
    const OWNER: Urgency = Urgency { is_guest: false, is_beyond_plan: false };

    /// Region 0 takes 80 requests a second of its 100, region 1 any number.
    fn capacity(now: Instant) -> Capacity {
        let mut fleet = fleet(&[1, 1]);
        fleet.regions[0].capacity = Some(100.0);
        Capacity::new(&fleet, 0.8, now)
    }

    fn taken(capacity: &Capacity, now: Instant, urgency: Urgency, wanted: usize) -> usize {
        (0..wanted).filter(|_| capacity.take(now, RegionIndex(0), urgency)).count()
    }

    #[test]
    fn a_region_takes_what_it_has_room_for() {
        let begun = Instant::now();
        let capacity = capacity(begun);
        let mut all = 0;
        for tenth in 0..100 {
            all += taken(&capacity, begun + Duration::from_millis(100 * tenth), GUEST, 100);
        }
        // The bucket, and what came in 9.9 seconds.
        assert!((911..=912).contains(&all), "{all}");
        assert!((0..1_000).all(|_| capacity.take(begun, RegionIndex(1), OWNER)));
    }

    /// All of a second's requests come at once, at 80 % of the limit and by any client.
    #[test]
    fn requests_that_come_in_bursts_below_the_limit_are_all_taken() {
        for urgency in [GUEST, OWNER] {
            let begun = Instant::now();
            let capacity = capacity(begun);
            for second in 0..60 {
                assert_eq!(taken(&capacity, begun + Duration::from_secs(second), urgency, 64), 64, "{urgency:?}");
            }
        }
    }

    #[test]
    fn guests_come_first() {
        let begun = Instant::now();
        let capacity = capacity(begun);
        let (mut guests, mut owners) = (0, 0);
        for tenth in 0..200 {
            let now = begun + Duration::from_millis(100 * tenth);
            owners += taken(&capacity, now, OWNER, 10);
            guests += taken(&capacity, now, GUEST, 6);
        }
        // 60 guests and 100 owners a second, of 80 that have room: owners get what guests leave.
        assert_eq!(guests, 1_200);
        assert!((400..=520).contains(&owners), "{owners}");
    }

    #[test]
    fn the_plan_is_not_stricter_than_the_room_and_even_a_small_region_serves_all() {
        let begun = Instant::now();
        let beyond = Urgency { is_beyond_plan: true, ..OWNER };
        assert_eq!(taken(&capacity(begun), begun, beyond, 1_000), 40, "the third that is left to all and to the plan");
        let mut fleet = fleet(&[1]);
        fleet.regions[0].capacity = Some(0.1);
        let small = Capacity::new(&fleet, 1.0, begun);
        assert_eq!(taken(&small, begun, beyond, 10), 1);
        assert_eq!(taken(&small, begun + Duration::from_secs(20), OWNER, 10), 1);
    }

    #[test]
    fn what_guests_open_is_told_by_its_path() {
        for path in [
            "/v1/venues/v/visits",
            "/v1/venues/v/visits/x",
            "/v1/venues/v",
            "/c/v",
            "/c/v/area",
            "/r/x",
            "/assets/a.css",
        ] {
            assert!(is_guest(path), "{path}");
        }
        for path in [
            "/v1/venues/v/guests",
            "/v1/venues/v/contacts",
            "/v1/venues/v/changes",
            "/v1/venues",
            "/console",
            "/",
            "/v1/cluster",
        ] {
            assert!(!is_guest(path), "{path}");
        }
    }
}
