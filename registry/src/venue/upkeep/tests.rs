//! The decision by itself, and histories of regions that use, expire and forget a venue while links come and go.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::{prop_assert, prop_assert_eq};
use replication::{Change, Document, DocumentKey, Wall};

use super::{GRACE, Upkeep, VenueSeen};
use crate::policy::LONGEST_RETENTION;
use crate::venue::document::Venue;
use crate::venue::document::tests::venue;

const DAY: Duration = Duration::from_hours(24);
const BOUND: Duration = Duration::from_hours(90 * 24);
const MADE: Wall = Wall(1_780_000_000_000);

fn seen(days: u32) -> VenueSeen {
    VenueSeen {
        created: Some(MADE),
        changed: Some(MADE),
        complete: MADE.plus(DAY * days),
        known_everywhere: true,
        has_visits: false,
    }
}

#[test]
fn only_a_venue_that_no_guest_used_expires() {
    let unused = Venue { unused: true, ..venue(&[]) };
    let at = |days| unused.upkeep(&seen(days), Some(BOUND));
    assert_eq!(
        (at(89), at(90), at(400)),
        (Upkeep::Keep, Upkeep::Expire(MADE.plus(BOUND)), Upkeep::Expire(MADE.plus(BOUND)))
    );
    assert_eq!(unused.upkeep(&seen(4_000), None), Upkeep::Keep, "never");
    assert_eq!(unused.upkeep(&VenueSeen { created: None, ..seen(400) }, Some(BOUND)), Upkeep::Keep);
    assert_eq!(unused.upkeep(&VenueSeen { has_visits: true, ..seen(400) }, Some(BOUND)), Upkeep::Use);
    // Also those of an older release, which kept no mark.
    assert_eq!(venue(&[]).upkeep(&seen(4_000), Some(BOUND)), Upkeep::Keep);
}

#[test]
fn a_closed_venue_is_forgotten_once_no_region_can_have_a_visit() {
    let closed = Venue { closed: Some(MADE.plus(DAY)), ..venue(&[]) };
    let forget = u32::try_from((LONGEST_RETENTION + GRACE).as_secs() / DAY.as_secs()).unwrap() + 1;
    let at = |days| closed.upkeep(&seen(days), None);
    assert_eq!((at(forget - 1), at(forget)), (Upkeep::Keep, Upkeep::Forget));
    let late = VenueSeen { changed: Some(MADE.plus(DAY * 9)), ..seen(forget) };
    assert_eq!(closed.upkeep(&late, None), Upkeep::Keep, "the closing may be as new as its entry");
    for unsure in [
        VenueSeen { changed: None, ..seen(400) },
        VenueSeen { known_everywhere: false, ..seen(400) },
        VenueSeen { has_visits: true, ..seen(400) },
    ] {
        assert_eq!(closed.upkeep(&unsure, Some(BOUND)), Upkeep::Keep, "{unsure:?}");
    }
}

/// What happens to a venue in three regions.
#[derive(Clone, Debug)]
enum Step {
    /// Days pass.
    Pass(u32),
    /// A guest checks in, if the region takes it.
    CheckIn(usize),
    /// The owner closes it.
    Close(usize),
    /// Two regions hear of each other, and of all that each knew.
    Meet(usize, usize),
    /// The region looks after its venues.
    Look(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let region = 0..3usize;
    prop_oneof![
        4 => (1..40u32).prop_map(Step::Pass),
        2 => region.clone().prop_map(Step::CheckIn),
        1 => (region.clone(), any::<bool>()).prop_map(|(at, rare)| if rare { Step::Close(at) } else { Step::Look(at) }),
        4 => (region.clone(), region.clone()).prop_map(|(a, b)| Step::Meet(a, b)),
        5 => region.prop_map(Step::Look),
        1 => Just(Step::Pass(91)),
    ]
}

#[derive(Clone, Default)]
struct Region {
    changes: Vec<(Change, Wall)>,
    /// Until when it has what each region acknowledged.
    complete: [Wall; 3],
    /// How many changes of its own set the other regions had when it last met them.
    told: [usize; 3],
    last_visit: Option<Wall>,
    forgot: bool,
}

impl Region {
    fn venue(&self) -> Venue {
        let changes: Vec<Change> = self.changes.iter().map(|(change, _)| change.clone()).collect();
        Venue::from_document(venue(&[]).id, &Document::of_changes(&changes).unwrap()).unwrap()
    }

    fn change(&mut self, key: &DocumentKey, updates: &[(&str, Option<replication::Value>)], now: Wall) {
        let changes: Vec<Change> = self.changes.iter().map(|(change, _)| change.clone()).collect();
        if let Some(change) = Document::of_changes(&changes).unwrap().amend(key, updates) {
            self.add(change, now);
        }
    }

    fn add(&mut self, change: Change, at: Wall) {
        match self.changes.iter_mut().find(|(known, _)| known.hash() == change.hash()) {
            Some(known) => known.1 = known.1.min(at),
            None => self.changes.push((change, at)),
        }
    }
}

proptest! {
    /// However regions meet: a venue that had a check-in is open everywhere in the end, unless its owner closed it; and no
    /// region forgets a venue while any region has a visit of it.
    #[test]
    fn no_region_takes_away_what_another_one_uses(steps in vec(step(), 1..60)) {
        let unused = Venue { unused: true, ..venue(&[]) };
        let key = unused.key();
        let mut now = MADE;
        let mut regions = [const { None::<Region> }; 3].map(|_| Region::default());
        regions.iter_mut().for_each(|region| region.add(Change::create(&key, &unused.to_fields()), MADE));
        let (mut used, mut closed) = (false, false);
        for step in steps.into_iter().chain([Step::Meet(0, 1), Step::Meet(1, 2), Step::Meet(0, 1), Step::Meet(0, 2)]) {
            match step {
                Step::Pass(days) => now = now.plus(DAY * days),
                Step::CheckIn(at) if !regions[at].forgot && regions[at].venue().closed.is_none() => {
                    used = true;
                    regions[at].change(&key, &Venue::used(), now);
                    regions[at].last_visit = Some(now);
                }
                Step::Close(at) if !regions[at].forgot && regions[at].venue().closed.is_none() => {
                    closed = true;
                    regions[at].change(&key, &Venue::closing(now), now);
                }
                Step::Meet(a, b) if a != b => {
                    for (to, from) in [(a, b), (b, a)] {
                        let other = regions[from].clone();
                        regions[from].complete[from] = now;
                        let region = &mut regions[to];
                        region.complete[to] = now;
                        region.complete[from] = now;
                        for third in 0..3 {
                            region.complete[third] = region.complete[third].max(other.complete[third]);
                        }
                        other.changes.iter().for_each(|(change, at)| region.add(change.clone(), *at));
                        region.last_visit = region.last_visit.max(other.last_visit);
                        region.forgot |= other.forgot;
                    }
                    let (one, two) = (regions[a].changes.len(), regions[b].changes.len());
                    prop_assert_eq!(one, two);
                    regions[a].told[b] = one;
                    regions[b].told[a] = two;
                }
                Step::Look(at) if !regions[at].forgot => {
                    regions[at].complete[at] = now;
                    let region = &regions[at];
                    let made = region.changes.iter().map(|(_, at)| *at);
                    let visible = |last: Wall| last.plus(LONGEST_RETENTION) > now;
                    let seen = VenueSeen {
                        created: made.clone().min(),
                        changed: made.max(),
                        complete: region.complete.into_iter().min().unwrap(),
                        known_everywhere: (0..3).all(|peer| peer == at || region.told[peer] == region.changes.len()),
                        has_visits: region.last_visit.is_some_and(visible),
                    };
                    match region.venue().upkeep(&seen, Some(BOUND)) {
                        Upkeep::Keep => {}
                        Upkeep::Use => regions[at].change(&key, &Venue::used(), now),
                        Upkeep::Expire(over) => {
                            prop_assert!(over <= now);
                            regions[at].change(&key, &Venue::expiring(over), now);
                        }
                        Upkeep::Forget => {
                            let left = regions.iter().filter_map(|region| region.last_visit).any(visible);
                            prop_assert!(!left, "a region has a visit");
                            prop_assert!(!used || closed, "a venue with guests was forgotten");
                            regions[at].forgot = true;
                        }
                    }
                }
                _ => {}
            }
        }
        for region in regions.iter().filter(|region| !region.forgot) {
            if used && !closed {
                prop_assert_eq!(region.venue().closed, None);
            }
        }
    }
}
