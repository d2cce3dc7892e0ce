//! The owner's last look at a list: a cookie with the moment, with what the browser had seen then (a version vector), and
//! with which list it was. With it the same list marks what came since, in whichever region it is read.

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

/// The moment of the last look at this list, and what this owner's browser had seen then.
pub(super) fn last_look(parts: &Parts, list: &str) -> Option<(Wall, VersionVector)> {
    let mut parts = cookie(&parts.headers, LOOK)?.splitn(3, '.');
    let (at, seen, token) = (parts.next()?, parts.next()?, parts.next()?);
    if seen != list {
        return None;
    }
    Some((Wall(at.parse().ok()?), session::read(&HeaderValue::from_str(token).ok()?)?))
}

/// The cookie after a look at this list that saw this.
pub(super) fn remember(app: &App, now: Wall, list: &str, seen: VersionVector) -> HeaderValue {
    let secure = if app.public_url.starts_with("https://") { "; Secure" } else { "" };
    let token = session::write(seen);
    header(format!("{LOOK}={}.{list}.{token}; Path=/console; HttpOnly; SameSite=Strict{secure}", now.0))
}
