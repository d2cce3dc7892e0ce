//! Which retention a visit has: the one that held when the guests arrived.
//!
//! # The problem
//! A visit's expiry is part of its document's name, so a check-in that is sent twice makes one document only if both make
//! the same expiry. If the venue's present retention counted, a repeat after a change would make a second document: it
//! could outlive what the receipt promised, or bring a visit back that has expired.
//!
//! # The rule
//! The venue's document says since when each retention holds, and a visit has the one that held at its arrival, which its
//! id names. So every region that knows the change gives a visit the same expiry, whenever the request comes.
//!
//! # Invariants
//! - [`Retentions::at`] depends on the document and the arrival alone, never on the present time.
//! - Changes that were ordered in two regions at once count both, each from its own moment.

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
}

impl Retentions {
    /// A retention that never changed.
    pub(crate) fn always(present: Duration) -> Retentions {
        Retentions { earlier: Vec::new(), present }
    }

    /// The retentions that the concurrent values of a document's field hold, of which the present one was read already.
    pub(crate) fn read<'a>(texts: impl Iterator<Item = &'a str>, present: Duration) -> Retentions {
        let entries: BTreeSet<(Wall, u64)> = texts.flat_map(str::split_whitespace).filter_map(entry).collect();
        Retentions { earlier: entries.into_iter().collect(), present }
    }

    /// How long a visit is kept whose guests arrived at this moment.
    #[must_use]
    pub fn at(&self, arrival: Wall) -> Duration {
        let next = self.earlier.partition_point(|(since, _)| *since <= arrival);
        // The last entry is the present retention, which may have been changed by two regions at once.
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
            // Two regions may have changed it at once, or a node of release 0.1 that keeps no moments: what held is kept.
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
        Retentions::read(values.iter().filter_map(Value::as_text), present)
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
        for values in [[one.clone(), other.clone()], [other, one]] {
            let both = read(&values, HOUR * 3);
            assert_eq!(
                (both.at(NOW.minus(HOUR)), both.at(NOW), both.at(NOW.plus(HOUR))),
                (HOUR * 2, HOUR * 24, HOUR * 3)
            );
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
