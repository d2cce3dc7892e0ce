//! The console's first page: guests who are here now, and today's arrivals.

use hyper::StatusCode;
use registry::{GuestRow, LONGEST_RETENTION, Window};
use serde::Serialize;

use super::access::Owner;
use super::{door, window};
use crate::http::call::Call;
use crate::http::guests::{Item, Pages};
use crate::http::pages::page::{Frame, language, render};
use crate::http::pages::times;
use crate::http::problem::{Answered, Problem};

/// Height of the plot's tallest bar.
const TALLEST: u64 = 100;

#[derive(Serialize)]
struct OverviewPage {
    frame: Frame,
    venue: String,
    /// Until when the list of a closed venue is kept.
    kept_until: Option<String>,
    here: u64,
    arrived: u64,
    /// Persons who are here now, by area.
    areas: Vec<(String, u64)>,
    hours: Vec<Hour>,
}

/// The arrivals of an hour.
#[derive(Clone, Serialize)]
struct Hour {
    hour: usize,
    persons: u64,
    height: u64,
}

/// `GET /console`.
pub(in super::super::super) async fn show(call: Call) -> Answered {
    let texts = language(&call.parts);
    let Some(owner) = Owner::of(&call.app, &call.parts) else { return door::login(texts, &call.parts, "", false) };
    let (here, areas, hours) = counted(&call, &owner).await?;
    let venue = &owner.known.venue;
    // An earlier rule may have kept some visits for longer.
    let kept = if venue.retentions.have_changed() { LONGEST_RETENTION } else { venue.retention };
    let kept_until =
        venue.closed.map(|closed| times::day(texts, &times::local(closed.plus(kept), &times::zone(&venue.timezone))));
    let page = OverviewPage {
        frame: Frame::console(texts, texts.text("console-overview").into_owned(), &call.parts),
        venue: owner.known.venue.name.clone(),
        kept_until,
        here,
        arrived: hours.iter().map(|hour| hour.persons).sum(),
        areas,
        hours,
    };
    Ok(render(texts, StatusCode::OK, "console-overview.html", &page))
}

type Counted = (u64, Vec<(String, u64)>, Vec<Hour>);

/// Persons here now, by area as well, and the arrivals of each hour of the local day.
async fn counted(call: &Call, owner: &Owner) -> Result<Counted, Problem> {
    let (app, venue) = (&call.app, &owner.known.venue);
    let zone = times::zone(&venue.timezone);
    let now = app.now(&owner.session.status);
    let day = window::day_of(&times::local(now, &zone), &zone).ok_or_else(Problem::internal)?;
    let here_now = Window { from: now, to: now.plus(std::time::Duration::from_millis(1)) };
    let status = owner.session.status.clone();
    let mut pages = Pages::new(app.clone(), status, owner.known.clone(), day, None, None);
    let assumed_stay = pages.assumed_stay();
    let mut hours = vec![Hour { hour: 0, persons: 0, height: 0 }; 24];
    let mut areas: Vec<(String, u64)> = venue.areas.iter().map(|area| (area.clone(), 0)).collect();
    let mut here = 0;
    while let Some(items) = pages.next().await? {
        for item in items {
            let Item::Visit(found) = item else { continue };
            let row = GuestRow::of(&found.visit, &found.region, assumed_stay);
            let persons = row.persons.len() as u64;
            if row.arrived.0 >= day.from
                && let Some(hour) = hours.get_mut(usize::from(times::local(row.arrived.0, &zone).hour().unsigned_abs()))
            {
                hour.persons += persons;
            }
            if here_now.names(&found.visit, assumed_stay) {
                let persons = row.persons.iter().filter(|person| row.departure(person).0.0 > now).count() as u64;
                here += persons;
                if let Some((_, count)) = areas.iter_mut().find(|(area, _)| Some(area) == row.area.as_ref()) {
                    *count += persons;
                }
            }
        }
    }
    let most = hours.iter().map(|hour| hour.persons).max().unwrap_or(0).max(1);
    for (number, hour) in hours.iter_mut().enumerate() {
        (hour.hour, hour.height) = (number, hour.persons * TALLEST / most);
    }
    Ok((here, areas, hours))
}
