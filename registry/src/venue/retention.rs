//! Which retention a visit has: the one that held when the guests arrived.
//!
//! # The problem
//! A visit's expiry is part of its document's name, so a check-in that is sent twice makes one document only if both make
//! the same expiry. If the venue's present retention counted, a repeat after a change would make a second document: it
//! could outlive what the receipt promised, or bring a visit back that has expired.
//!
//! # The rule
//! The venue's document says since when each retention holds, and a visit has the one that held at its arrival, which its
//! id names. So every region that knows the changes before an arrival gives its visit the same expiry, whenever the
//! request comes.
//!
//! # Invariants
//! - [`Retentions::at`] depends on the document and the arrival alone, never on the present time.
//! - Changes that were ordered in two regions at once count both, each from its own moment. So a change says nothing of
//!   arrivals before its moment, and a region that learns of it later gives those the expiry that they had.
//!
//! # What is left
//! A region that has not heard of a change gives a later arrival the expiry of before. If the same check-in is sent to it
//! and to a region that has heard of it, the visit has two rows (`simulations/scenarios/retention-unheard.toml`): readers
//! show one visit that lives until the later expiry, and an erasure removes both. The same holds for an arrival of the next
//! five minutes, which a phone whose clock is ahead may name before the change is made.

use std::collections::BTreeSet;
use std::time::Duration;

use replication::{Value, Wall};

/// How far back the arrival of a check-in may lie; with room for clocks.
const REACHED: Duration = Duration::from_hours(48);

/// Most changes that a venue keeps; beyond that the earliest are forgotten.
const MOST: usize = 64;

/// The retentions of a venue, by the moment from which each holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retentions {
    /// From which moment, and how many seconds. The first also holds for all that came before. Empty if the retention never changed.
    earlier: Vec<(Wall, u64)>,
    /// The one that holds now.
    present: Duration,
    /// Whether another one may ever have held.
    changed: bool,
}

impl Retentions {
    /// A retention that never changed.
    pub(crate) fn always(present: Duration) -> Retentions {
        Retentions { earlier: Vec::new(), present, changed: false }
    }

    /// Reads the concurrent values of a document's two fields: `texts` with the moments, and `shown` with the present
    /// retention, the winner first. `as_created` says that the latter never changed. `None` if there is none.
    pub(crate) fn read<'a>(
        texts: impl Iterator<Item = &'a str>,
        shown: &[Duration],
        as_created: bool,
    ) -> Option<Retentions> {
        let entries: BTreeSet<(Wall, u64)> = texts.flat_map(str::split_whitespace).filter_map(entry).collect();
        let winner = *shown.first()?;
        // Two regions may have changed it at once. The later moment counts, otherwise the region that made the later change
        // would have to take back what it promised. A node of release 0.1 keeps no moments, and what it set counts.
        let latest = entries.last().map(|(_, seconds)| Duration::from_secs(*seconds));
        let present = latest.filter(|latest| shown.contains(latest)).unwrap_or(winner);
        let changed = !entries.is_empty() || shown.len() > 1 || !as_created;
        Some(Retentions { earlier: entries.into_iter().collect(), present, changed })
    }

    /// The one that holds now.
    #[must_use]
    pub fn present(&self) -> Duration {
        self.present
    }

    /// Whether a visit may have been accepted under another one than the present.
    #[must_use]
    pub fn have_changed(&self) -> bool {
        self.changed
    }

    /// How long a visit is kept whose guests arrived at this moment.
    #[must_use]
    pub fn at(&self, arrival: Wall) -> Duration {
        let next = self.earlier.partition_point(|(since, _)| *since <= arrival);
        // A node of release 0.1 may have changed the last one, and keeps no moments.
        // What came before the first one that is kept had that one at the earliest.
        match self.earlier.get(next.saturating_sub(1)) {
            Some((_, seconds)) if next < self.earlier.len() => Duration::from_secs(*seconds),
            _ => self.present,
        }
    }

    /// The value of the field after a change to `new` at `now`; `None` if it is no change.
    pub(crate) fn change(&self, new: Duration, now: Wall) -> Option<Value> {
        if new == self.present {
            return None;
        }
        let mut entries = self.earlier.clone();
        match entries.last_mut() {
            None => entries.push((Wall(0), self.present.as_secs())),
            // If a node of release 0.1 changed it, which keeps no moments, what held is kept.
            Some(last) => last.1 = self.present.as_secs(),
        }
        // Moments only go on, otherwise a clock that went back would rewrite what held before.
        let after = entries.last().map_or(Wall(0), |(since, _)| Wall(since.0.saturating_add(1)));
        entries.push((now.max(after), new.as_secs()));
        // No check-in can arrive any more under those that ended long ago.
        let reached = now.minus(REACHED);
        let gone = entries.partition_point(|(since, _)| *since <= reached).saturating_sub(1);
        entries.drain(..gone.max(entries.len().saturating_sub(MOST)));
        let texts: Vec<String> = entries.iter().map(|(since, seconds)| format!("{}:{seconds}", since.0)).collect();
        Some(Value::Text(texts.join(" ")))
    }
}

fn entry(text: &str) -> Option<(Wall, u64)> {
    let (since, seconds) = text.split_once(':')?;
    Some((Wall(since.parse().ok()?), seconds.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use replication::{Value, Wall};

    use super::{MOST, REACHED, Retentions};

    const NOW: Wall = Wall(1_780_000_000_000);
    const HOUR: Duration = Duration::from_hours(1);

    /// The retentions by these values of the field, written at once.
    fn read(values: &[Value], present: Duration) -> Retentions {
        Retentions::read(values.iter().filter_map(Value::as_text), &[present], false).unwrap()
    }

    #[test]
    fn a_visit_has_the_retention_that_held_at_its_arrival() {
        let first = Retentions::always(HOUR * 2);
        assert_eq!((first.at(Wall(0)), first.at(NOW)), (HOUR * 2, HOUR * 2));
        let second = read(&[first.change(HOUR * 24, NOW).unwrap()], HOUR * 24);
        assert_eq!(second.at(NOW.minus(Duration::from_millis(1))), HOUR * 2);
        assert_eq!(second.at(NOW), HOUR * 24);
        let later = NOW.plus(HOUR);
        let third = read(&[second.change(HOUR, later).unwrap()], HOUR);
        let at = |ms: u64| third.at(Wall(ms));
        assert_eq!((at(NOW.0 - 1), at(NOW.0), at(later.0 - 1), at(later.0)), (HOUR * 2, HOUR * 24, HOUR * 24, HOUR));
        assert_eq!(third.change(HOUR, later), None, "the same again is no change");
    }

    #[test]
    fn changes_in_two_regions_at_once_count_both() {
        let before = Retentions::always(HOUR * 2);
        let one = before.change(HOUR * 24, NOW).unwrap();
        let other = before.change(HOUR * 3, NOW.plus(HOUR)).unwrap();
        // Whichever value wins, each region keeps what it promised, and the later change holds now.
        let values = [one, other];
        for shown in [[HOUR * 24, HOUR * 3], [HOUR * 3, HOUR * 24]] {
            let both = Retentions::read(values.iter().filter_map(Value::as_text), &shown, false).unwrap();
            assert_eq!(
                (both.at(NOW.minus(HOUR)), both.at(NOW), both.at(NOW.plus(HOUR)), both.present()),
                (HOUR * 2, HOUR * 24, HOUR * 3, HOUR * 3)
            );
        }
    }

    #[test]
    fn a_change_without_a_moment_counts() {
        let first = read(&[Retentions::always(HOUR).change(HOUR * 2, NOW).unwrap()], HOUR * 2);
        let moments = first.change(HOUR * 3, NOW.plus(HOUR)).unwrap();
        let set = read(&[moments], HOUR * 9);
        assert_eq!((set.present(), set.at(NOW.plus(HOUR * 2)), set.at(NOW)), (HOUR * 9, HOUR * 9, HOUR * 2));
        assert!(set.have_changed() && first.have_changed() && !Retentions::always(HOUR).have_changed());
        let bare = |as_created| Retentions::read(std::iter::empty(), &[HOUR], as_created).unwrap();
        assert!(bare(false).have_changed() && !bare(true).have_changed());
        assert_eq!(Retentions::read(std::iter::empty(), &[], true), None);
    }

    proptest::proptest! {
        /// Three regions change it, each knowing its own changes alone. A region that learns of one more gives no arrival
        /// before its moment another expiry.
        #[test]
        fn what_is_learnt_later_changes_nothing_earlier(
            mut changes in proptest::collection::vec((0u64..40, 1u32..6, 0usize..3), 1..8)
        ) {
            changes.sort_unstable();
            let mut known = [const { None::<Value> }; 3];
            let mut made: Vec<(Wall, Value, Duration)> = Vec::new();
            for (minute, hours, region) in changes {
                let (at, new) = (NOW.plus(Duration::from_mins(minute)), HOUR * hours);
                let before = match &known[region] {
                    Some(text) => {
                        let present = made.iter().rev().find(|(_, other, _)| other == text).unwrap().2;
                        read(std::slice::from_ref(text), present)
                    }
                    None => Retentions::always(HOUR * 9),
                };
                if let Some(text) = before.change(new, at) {
                    known[region] = Some(text.clone());
                    made.push((at, text, new));
                }
            }
            let merged = |count: usize| {
                let texts = made[..count].iter().filter_map(|(_, text, _)| text.as_text());
                let shown: Vec<Duration> = made[..count].iter().map(|(_, _, present)| *present).collect();
                Retentions::read(texts, &shown, false).unwrap()
            };
            for (count, (since, ..)) in made.iter().enumerate().skip(1) {
                let (before, after) = (merged(count), merged(count + 1));
                for minute in 0..40 {
                    let arrival = NOW.plus(Duration::from_mins(minute));
                    if arrival < *since {
                        proptest::prop_assert_eq!(before.at(arrival), after.at(arrival));
                    }
                }
            }
        }
    }

    #[test]
    fn what_no_check_in_can_reach_is_forgotten() {
        let mut known = Retentions::always(HOUR);
        let mut now = NOW;
        for change in 0..200u32 {
            let present = HOUR * (change % 5 + 2);
            known = read(&[known.change(present, now).unwrap()], present);
            assert!(known.earlier.len() <= MOST, "{}", known.earlier.len());
            now = now.plus(if change < 150 { Duration::from_mins(1) } else { HOUR });
        }
        let long_after = now.plus(REACHED * 2);
        let last = read(&[known.change(HOUR * 9, long_after).unwrap()], HOUR * 9);
        assert_eq!(last.earlier.len(), 2);
    }

    #[test]
    fn a_clock_that_went_back_rewrites_nothing() {
        let first = read(&[Retentions::always(HOUR).change(HOUR * 2, NOW).unwrap()], HOUR * 2);
        let second = read(&[first.change(HOUR * 3, NOW.minus(HOUR)).unwrap()], HOUR * 3);
        assert_eq!((second.at(NOW.minus(HOUR)), second.at(NOW)), (HOUR, HOUR * 2));
        assert_eq!(second.at(NOW.plus(HOUR)), HOUR * 3);
    }

    #[test]
    fn hostile_values_are_skipped() {
        for text in ["", "x", "1", ":", "1:", "-1:5", "99999999999999999999:1", "\u{0}"] {
            assert_eq!(read(&[Value::Text(text.to_owned())], HOUR).at(NOW), HOUR, "{text}");
        }
    }
}
