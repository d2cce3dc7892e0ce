//! How complete a list is, in plain words, and until when a printed one may be kept.

use jiff::Zoned;
use jiff::tz::TimeZone;
use replication::Wall;
use serde::Serialize;

use super::access::Owner;
use super::window;
use crate::http::App;
use crate::http::pages::texts::Texts;
use crate::http::pages::times;

/// A region that is behind by no more than this counts as up to date.
const USUAL_LAG_MS: u64 = 30_000;

/// How complete a list is.
#[derive(Serialize)]
pub(super) struct Completeness {
    /// Regions that may lack something, with the moment through which they are complete.
    behind: Vec<(String, String)>,
    /// Regions that this node never heard of since it started.
    unheard: Vec<String>,
    /// The other regions.
    complete: Vec<String>,
    /// The moment through which these are complete, if the list goes on after it.
    through: Option<String>,
}

/// For which regions the list may lack visits that were accepted before its end.
pub(super) fn completeness(app: &App, texts: &Texts, owner: &Owner, end: Wall) -> Completeness {
    let zone = times::zone(&owner.known.venue.timezone);
    let now = app.now(&owner.session.status);
    let today = times::local(now, &zone);
    let wanted = Wall(end.0.min(now.0.saturating_sub(USUAL_LAG_MS)));
    let mut state = Completeness { behind: Vec::new(), unheard: Vec::new(), complete: Vec::new(), through: None };
    let mut least = Wall::NEVER;
    for (region, through) in &owner.session.status.complete_through {
        let name = texts.region(region.as_str());
        if *through >= wanted {
            least = least.min(*through);
            state.complete.push(name);
        } else if through.0 == 0 {
            state.unheard.push(name);
        } else {
            state.behind.push((name, times::moment(texts, &times::local(*through, &zone), &today)));
        }
    }
    state.through = (least < end).then(|| times::seconds(&times::local(least, &zone)));
    state
}

/// The day on which a printed list must be gone: when the youngest visit in it would be deleted.
pub(super) fn destroy_by(texts: &Texts, owner: &Owner, now: &Zoned, zone: &TimeZone) -> String {
    let at = window::wall(now).map(|now| now.plus(owner.known.venue.retention));
    at.map_or_else(String::new, |at| times::day(texts, &times::local(at, zone)))
}
