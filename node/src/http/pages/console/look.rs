//! The owner's last looks at lists: a cookie with the moment of each, with what the browser had seen then (a version
//! vector), and with which list it was. With it the same list marks what came since, in whichever region it is read.

use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use registry::VenueId;
use replication::{VersionVector, Wall};
use sha2::{Digest, Sha256};

use super::window::WindowFields;
use crate::http::App;
use crate::http::pages::page::cookie;
use crate::http::reply::header;
use crate::http::session;

/// The name of the cookie.
const LOOK: &str = "meridian-look";

/// Which list it is, as text for the cookie: a hash of the venue, the window and the area.
pub(super) fn name_of(venue: VenueId, fields: &WindowFields) -> String {
    let mut hasher = Sha256::new().chain_update(venue.0);
    for field in [&fields.date, &fields.from, &fields.to, &fields.area] {
        hasher.update((field.len() as u64).to_be_bytes());
        hasher.update(field);
    }
    data_encoding::HEXLOWER.encode(&hasher.finalize()[..8])
}

/// Most lists whose last look a browser remembers; a cookie has 4 KiB at most.
const LISTS: usize = 8;

/// A look as the cookie has it: `moment.list.token`.
fn looks(parts: &Parts) -> impl Iterator<Item = &str> {
    cookie(&parts.headers, LOOK).unwrap_or_default().split('|').filter(|look| !look.is_empty())
}

fn is_of(look: &str, list: &str) -> bool {
    look.split('.').nth(1) == Some(list)
}

/// The moment of the last look at this list, and what this owner's browser had seen then.
pub(super) fn last_look(parts: &Parts, list: &str) -> Option<(Wall, VersionVector)> {
    let mut fields = looks(parts).find(|look| is_of(look, list))?.split('.');
    let (at, token) = (fields.next()?, fields.nth(1)?);
    Some((Wall(at.parse().ok()?), session::read(&HeaderValue::from_str(token).ok()?)?))
}

/// The cookie after a look at this list that saw this. The lists that were looked at last come first.
pub(super) fn remember(app: &App, parts: &Parts, now: Wall, list: &str, seen: VersionVector) -> HeaderValue {
    let secure = if app.public_url.starts_with("https://") { "; Secure" } else { "" };
    let look = format!("{}.{list}.{}", now.0, session::write(seen));
    let others = looks(parts).filter(|look| !is_of(look, list)).take(LISTS - 1);
    let all = std::iter::once(&*look).chain(others).collect::<Vec<_>>();
    let fitting = (1..=all.len()).rev().map(|count| all[..count].join("|")).find(|text| text.len() < 3_500);
    header(format!("{LOOK}={}; Path=/console; HttpOnly; SameSite=Strict{secure}", fitting.unwrap_or(look)))
}
