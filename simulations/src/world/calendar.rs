//! The calendar: what happens when, and what time it is.
//!
//! Two times are kept: `now` is awake time, which a night does not advance; `elapsed` is true time since the start.
//! Events happen in the order of awake time and, at one moment, in the order in which they were put on the calendar.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use replication::Wall;

use super::CalendarEvent;

/// Midnight before 2027-01-15, from which true time counts.
const MIDNIGHT_MS: u64 = 1_799_971_200_000;

struct Queued {
    at: Duration,
    order: u64,
    event: CalendarEvent,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Queued) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Queued) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Queued) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// The events to come, and the two times.
pub(crate) struct Calendar {
    now: Duration,
    slept: Duration,
    /// True time at the start.
    start: Wall,
    /// Begin and length of each night, to know true time ahead.
    nights: Vec<(Duration, Duration)>,
    queue: BinaryHeap<Reverse<Queued>>,
    order: u64,
}

impl Calendar {
    /// An empty calendar. `start` is the time of day at which the run begins.
    pub(super) fn new(start: Duration, nights: Vec<(Duration, Duration)>) -> Calendar {
        let start = Wall(MIDNIGHT_MS).plus(start);
        Calendar { now: Duration::ZERO, slept: Duration::ZERO, start, nights, queue: BinaryHeap::new(), order: 0 }
    }

    /// Awake time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// True time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.now + self.slept
    }

    /// True time, as a wall clock that is right would show it.
    pub(super) fn true_wall(&self) -> Wall {
        self.start.plus(self.elapsed())
    }

    /// The time that such a clock will show at `awake` of the run.
    pub(super) fn wall_at(&self, awake: Duration) -> Wall {
        let slept = self.nights.iter().filter(|(at, _)| *at < awake).map(|(_, lasts)| *lasts).sum();
        self.start.plus(awake).plus(slept)
    }

    /// Puts an event on the calendar, not before now.
    pub(super) fn schedule(&mut self, at: Duration, event: CalendarEvent) {
        self.order += 1;
        self.queue.push(Reverse(Queued { at: at.max(self.now), order: self.order, event }));
    }

    /// The next event until then, which happens now.
    pub(super) fn next(&mut self, until: Duration) -> Option<CalendarEvent> {
        if self.queue.peek().is_none_or(|Reverse(next)| next.at > until) {
            return None;
        }
        let Reverse(next) = self.queue.pop()?;
        self.now = next.at;
        Some(next.event)
    }

    /// Nothing happens until then.
    pub(super) fn wait_until(&mut self, until: Duration) {
        self.now = self.now.max(until);
    }

    /// True time passes while every machine is suspended.
    pub(super) fn sleep(&mut self, length: Duration) {
        self.slept += length;
    }
}
