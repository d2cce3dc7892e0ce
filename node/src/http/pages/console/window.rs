//! Which visits a list is about: a local day of the venue, hours of it, an area.
//!
//! # Invariants
//! - Where the clocks change, local time alone is ambiguous: a list then covers both hours, because a list with one
//!   guest too many is better than one that misses a guest.
//! - Hours that end before they begin end on the next day.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{ToSpan, Zoned};
use registry::Window;
use replication::Wall;
use serde::Serialize;

use crate::http::pages::form::Form;

/// What an owner asked for.
pub(super) struct Asked {
    pub(super) window: Window,
    pub(super) area: Option<String>,
    /// As it stands in the form.
    pub(super) fields: WindowFields,
}

/// The fields of the form.
#[derive(Clone, Serialize)]
pub(super) struct WindowFields {
    pub(super) date: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) area: String,
}

impl WindowFields {
    /// The form before anything was asked: today.
    pub(super) fn today(now: &Zoned) -> WindowFields {
        WindowFields { date: now.date().to_string(), from: String::new(), to: String::new(), area: String::new() }
    }

    /// What stands in a form.
    pub(super) fn of(form: &Form) -> WindowFields {
        let field = |name: &str| form.get(name).trim().to_owned();
        WindowFields { date: field("date"), from: field("from"), to: field("to"), area: field("area") }
    }
}

/// Reads the form; the key of the message that says what is wrong, otherwise.
pub(super) fn read(fields: WindowFields, zone: &TimeZone) -> Result<Asked, &'static str> {
    let date: Date = fields.date.parse().map_err(|_| "console-bad-date")?;
    let time = |text: &str| match text {
        "" => Ok(None),
        text => text.parse::<Time>().map(Some).map_err(|_| "console-bad-time"),
    };
    let (from, to) = (time(&fields.from)?, time(&fields.to)?);
    let window = window(date, from, to, zone).ok_or("console-bad-date")?;
    let area = Some(fields.area.clone()).filter(|area| !area.is_empty());
    Ok(Asked { window, area, fields })
}

fn window(date: Date, from: Option<Time>, to: Option<Time>, zone: &TimeZone) -> Option<Window> {
    let from = from.unwrap_or(Time::midnight());
    let next = date.checked_add(1.day()).ok()?;
    let end = match to {
        None => next.to_datetime(Time::midnight()),
        Some(to) if to > from => date.to_datetime(to),
        Some(to) => next.to_datetime(to),
    };
    let begun = zone.to_ambiguous_zoned(date.to_datetime(from)).earlier().ok()?;
    let ended = zone.to_ambiguous_zoned(end).later().ok()?;
    Some(Window { from: wall(&begun)?, to: wall(&ended)? })
}

/// The local day of a moment.
pub(super) fn day_of(now: &Zoned, zone: &TimeZone) -> Option<Window> {
    window(now.date(), None, None, zone)
}

pub(super) fn wall(at: &Zoned) -> Option<Wall> {
    u64::try_from(at.timestamp().as_millisecond()).ok().map(Wall)
}

#[cfg(test)]
mod tests {
    use jiff::civil::{Date, Time};
    use jiff::tz::TimeZone;

    use super::window;

    fn of(date: &str, from: &str, to: &str) -> (String, u64) {
        let zone = TimeZone::get("Europe/Berlin").expect("a zone");
        let time = |text: &str| (!text.is_empty()).then(|| text.parse::<Time>().expect("a time"));
        let date: Date = date.parse().expect("a date");
        let window = window(date, time(from), time(to), &zone).expect("a window");
        let from = jiff::Timestamp::from_millisecond(i64::try_from(window.from.0).expect("fits")).expect("a time");
        (from.to_string(), (window.to.0 - window.from.0) / 60_000)
    }

    #[test]
    fn a_window_is_local_and_covers_both_hours_of_a_change() {
        assert_eq!(of("2026-11-28", "", ""), ("2026-11-27T23:00:00Z".into(), 24 * 60));
        assert_eq!(of("2026-11-28", "18:00", "19:00"), ("2026-11-28T17:00:00Z".into(), 60));
        // Past midnight.
        assert_eq!(of("2026-11-28", "23:40", "00:50"), ("2026-11-28T22:40:00Z".into(), 70));
        // 02:30 exists twice: from the first one to the second one.
        assert_eq!(of("2026-10-25", "02:00", "03:00"), ("2026-10-25T00:00:00Z".into(), 120));
        assert_eq!(of("2026-10-25", "02:30", "02:45"), ("2026-10-25T00:30:00Z".into(), 75));
        assert_eq!(of("2026-10-25", "", ""), ("2026-10-24T22:00:00Z".into(), 25 * 60));
        // 02:30 does not exist: the window is not empty.
        assert_eq!(of("2026-03-29", "", ""), ("2026-03-28T23:00:00Z".into(), 23 * 60));
        assert!(of("2026-03-29", "02:15", "02:45").1 >= 30);
    }
}
