//! Combines the verdicts of several routers on one region.
//!
//! Each router probes every region itself and tells the others its verdicts. A region goes down only if two thirds of
//! the routers that are heard say so, one of them from outside the region; it comes up if more than half say so. Both
//! need more than half of the configured routers to be heard, this one included; otherwise the last decision holds. So
//! a router that is cut off from everything never takes a region out alone, and of two halves at most one decides.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Verdict;

/// One router's verdicts on all regions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    /// The router's name.
    pub router: String,
    /// The region in which it runs, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Region and verdict.
    pub verdicts: Vec<(String, Verdict)>,
}

impl Ballot {
    /// The verdict on one region.
    #[must_use]
    pub fn on(&self, region: &str) -> Verdict {
        self.verdicts.iter().find(|(name, _)| name == region).map_or(Verdict::Unknown, |(_, verdict)| *verdict)
    }
}

/// A ballot with the time at which it was heard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    /// The ballot.
    pub ballot: Ballot,
    /// The time.
    pub at: Duration,
}

/// The result of the ballots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Enough ballots agree.
    Is(Verdict),
    /// Enough routers are heard, but too few agree to change anything.
    Undecided,
    /// Too few routers are heard.
    Frozen,
}

/// Decides on a region from fresh ballots, this router's own included; `configured` is the number of all routers.
#[must_use]
pub fn decide<'a>(region: &str, fresh: impl IntoIterator<Item = &'a Ballot>, configured: usize) -> Decision {
    let (mut voters, mut up, mut down, mut down_from_outside) = (0, 0, 0, false);
    for ballot in fresh {
        voters += 1;
        match ballot.on(region) {
            Verdict::Up => up += 1,
            Verdict::Down => {
                down += 1;
                down_from_outside |= ballot.region.as_deref() != Some(region);
            }
            Verdict::Unknown => {}
        }
    }
    if 2 * voters <= configured {
        Decision::Frozen
    } else if 2 * up > voters {
        Decision::Is(Verdict::Up)
    } else if 3 * down >= 2 * voters && (down_from_outside || configured == 1) {
        Decision::Is(Verdict::Down)
    } else {
        Decision::Undecided
    }
}

/// Why this set of routers cannot decide in some failure; `None` if it can.
#[must_use]
pub fn weakness(routers_by_region: &[Option<&str>]) -> Option<&'static str> {
    match routers_by_region.len() {
        0 | 1 => None,
        2 => Some("with two routers, each freezes its view when it loses the other: add a third"),
        all => {
            let in_one = |region: &str| routers_by_region.iter().filter(|other| **other == Some(region)).count();
            let too_many = routers_by_region.iter().flatten().any(|region| 2 * in_one(region) >= all);
            too_many
                .then_some("half or more of the routers stand in one region: if it fails, the rest freeze their view")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ballot, Decision, Verdict, decide, weakness};

    fn ballot(router: &str, region: Option<&str>, verdict: Verdict) -> Ballot {
        Ballot { router: router.into(), region: region.map(Into::into), verdicts: vec![("eu".into(), verdict)] }
    }

    fn on(verdicts: &[Verdict], configured: usize) -> Decision {
        let ballots: Vec<_> = verdicts.iter().map(|verdict| ballot("r", None, *verdict)).collect();
        decide("eu", &ballots, configured)
    }

    #[test]
    fn a_router_that_hears_too_few_decides_nothing() {
        use Verdict::{Down, Unknown, Up};
        assert_eq!(on(&[Down], 1), Decision::Is(Down));
        assert_eq!(on(&[Up], 1), Decision::Is(Up));
        for alone in [Down, Up, Unknown] {
            assert_eq!(on(&[alone], 2), Decision::Frozen);
            assert_eq!(on(&[alone], 3), Decision::Frozen);
        }
        assert_eq!(on(&[Down, Down], 3), Decision::Is(Down));
        assert_eq!(on(&[Down, Up], 3), Decision::Undecided);
        assert_eq!(on(&[Down, Down, Up], 3), Decision::Is(Down));
        assert_eq!(on(&[Down, Up, Up], 3), Decision::Is(Up));
        assert_eq!(on(&[Down, Unknown, Unknown], 3), Decision::Undecided);
        assert_eq!(on(&[Down, Down, Up, Up], 4), Decision::Undecided);
    }

    #[test]
    fn a_region_is_not_taken_out_by_its_own_routers_alone() {
        let inside = ballot("a", Some("eu"), Verdict::Down);
        let also_inside = ballot("b", Some("eu"), Verdict::Down);
        let outside = ballot("c", Some("us"), Verdict::Down);
        assert_eq!(decide("eu", [&inside, &also_inside], 3), Decision::Undecided);
        assert_eq!(decide("eu", [&inside, &outside], 3), Decision::Is(Verdict::Down));
    }

    /// However the routers are split in two, both sides never decide.
    #[test]
    fn of_two_halves_at_most_one_decides() {
        for configured in 1..9 {
            for one_side in 0..=configured {
                let side = |count: usize| on(&vec![Verdict::Down; count], configured);
                let frozen = [side(one_side), side(configured - one_side)].map(|said| said == Decision::Frozen);
                assert!(frozen[0] || frozen[1] || one_side == 0 || one_side == configured);
            }
        }
    }

    #[test]
    fn a_weak_set_up_is_named() {
        assert!(weakness(&[None]).is_none());
        assert!(weakness(&[Some("eu"), Some("us")]).is_some());
        assert!(weakness(&[Some("eu"), Some("eu"), Some("us")]).is_some());
        assert!(weakness(&[Some("eu"), Some("us"), Some("ap")]).is_none());
        assert!(weakness(&[None, None, None]).is_none());
    }
}
