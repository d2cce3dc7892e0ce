//! Moments in words, in the venue's own time zone.

use fluent_bundle::FluentArgs;
use jiff::Timestamp;
use jiff::Zoned;
use jiff::tz::TimeZone;
use replication::Wall;

use super::texts::Texts;

/// The time zone of a venue. An unknown name, which the registry refuses, counts as UTC.
pub(super) fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

/// A moment as the clocks at the venue show it.
pub(super) fn local(at: Wall, zone: &TimeZone) -> Zoned {
    let at = i64::try_from(at.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.unwrap_or_default().to_zoned(zone.clone())
}

/// "12 December 2026".
pub(super) fn day(texts: &Texts, at: &Zoned) -> String {
    let (day, month) = (at.day().to_string(), month(texts, at));
    texts.with("day", &[("day", &day), ("month", &month), ("year", &at.year().to_string())])
}

fn month(texts: &Texts, at: &Zoned) -> String {
    let mut month = FluentArgs::new();
    month.set("number", i64::from(at.month()));
    texts.fill("month", Some(&month)).into_owned()
}

/// "14:05", as 24 hours.
pub(super) fn clock(texts: &Texts, at: &Zoned) -> String {
    texts.with("clock", &[("time", &hours(at))])
}

/// "14:05" on the day that a list is about, "30 November, 00:50" on another. In the night in which summer time ends a
/// time that exists twice has its offset beside it.
pub(super) fn clock_on(texts: &Texts, at: &Zoned, day: &Zoned) -> String {
    let twice = at.time_zone().to_ambiguous_zoned(at.datetime()).is_ambiguous();
    let offset = if twice { format!(" (UTC{})", at.strftime("%:z")) } else { String::new() };
    if at.date() == day.date() {
        return clock(texts, at) + &offset;
    }
    let (day, month) = (at.day().to_string(), month(texts, at));
    texts.with("date-at", &[("day", &day), ("month", &month), ("time", &hours(at))]) + &offset
}

/// "12 December 2026, 14:05".
pub(super) fn day_and_clock(texts: &Texts, at: &Zoned) -> String {
    texts.with("day-at", &[("day", &day(texts, at)), ("time", &hours(at))])
}

/// "today, 14:05", or the day if it is another.
pub(super) fn moment(texts: &Texts, at: &Zoned, now: &Zoned) -> String {
    let time = hours(at);
    if at.date() == now.date() { texts.with("today-at", &[("time", &time)]) } else { day_and_clock(texts, at) }
}

/// "14:05:09".
pub(super) fn seconds(at: &Zoned) -> String {
    format!("{}:{:02}", hours(at), at.second())
}

fn hours(at: &Zoned) -> String {
    format!("{:02}:{:02}", at.hour(), at.minute())
}

#[cfg(test)]
mod tests {
    use replication::Wall;

    use super::{clock, clock_on, day, local, moment, zone};
    use crate::http::pages::texts::Texts;

    #[test]
    fn a_moment_is_shown_as_the_venues_clocks_show_it() {
        let (de, en) = (Texts::of("de").expect("German"), Texts::of("en").expect("English"));
        let berlin = zone("Europe/Berlin");
        let now = local(Wall(1_785_000_000_000), &berlin);
        let then = local(Wall(1_798_765_500_000), &berlin);
        assert_eq!((day(de, &then), day(en, &then)), ("1. Januar 2027".into(), "1 January 2027".into()));
        assert_eq!((clock(de, &then), clock(en, &then)), ("02:05 Uhr".into(), "02:05".into()));
        assert_eq!(moment(de, &then, &now), "1. Januar 2027, 02:05 Uhr");
        assert_eq!(moment(en, &now, &now), "today, 19:20");
        let night = |ms| clock_on(en, &local(Wall(ms), &berlin), &local(Wall(1_792_879_200_000), &berlin));
        assert_eq!(night(1_792_879_200_000), "00:00");
        assert_eq!(night(1_792_888_200_000), "02:30 (UTC+02:00)");
        assert_eq!(night(1_792_891_800_000), "02:30 (UTC+01:00)");
        assert_eq!(night(1_792_969_200_000), "26 October, 00:00");
        assert_eq!(zone("Mars/Olympus"), jiff::tz::TimeZone::UTC);
    }
}
