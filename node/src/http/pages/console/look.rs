//! The owner's last look at a list: a cookie with the moment and with what the browser had seen then, a version vector.
//! With it a list marks what came since, in whichever region it is read.

use hyper::header::{COOKIE, HeaderValue};
use hyper::http::request::Parts;
use replication::{VersionVector, Wall};

use crate::http::App;
use crate::http::reply::header;
use crate::http::session;

/// The name of the cookie.
const LOOK: &str = "meridian-look";

/// The moment of the last look, and what this owner's browser had seen then.
pub(super) fn last_look(parts: &Parts) -> Option<(Wall, VersionVector)> {
    let cookies = parts.headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, text) = pairs.find(|(name, _)| *name == LOOK)?;
    let (at, token) = text.split_once('.')?;
    Some((Wall(at.parse().ok()?), session::read(&HeaderValue::from_str(token).ok()?)?))
}

/// The cookie after a look that saw this.
pub(super) fn remember(app: &App, now: Wall, seen: VersionVector) -> HeaderValue {
    let secure = if app.public_url.starts_with("https://") { "; Secure" } else { "" };
    let token = session::write(seen);
    header(format!("{LOOK}={}.{token}; Path=/console; HttpOnly; SameSite=Strict{secure}", now.0))
}
