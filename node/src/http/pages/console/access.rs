//! Who may see a venue's console: a signed cookie that every node of every region accepts.
//!
//! An owner proves the key once. The cookie then says which venue it was, and until when the proof counts; nothing is
//! kept on the server ([`ConsoleKeys`]).
//!
//! # Invariants
//! - A browser sends the cookie only with requests that this service's own pages made (`SameSite=Strict`), and no script
//!   can read it (`HttpOnly`).
//! - A request that changes or shows something is refused if its head says that another site made it.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HOST, HeaderValue, ORIGIN, SET_COOKIE};
use hyper::http::request::Parts;
use registry::{OwnerKey, VenueId};
use replication::Wall;

use crate::http::App;
use crate::http::console_keys::ConsoleKeys;
use crate::http::pages::page::{cookies, redirect};
use crate::http::problem::Problem;
use crate::http::reply::{Reply, header};
use crate::http::session::Session;
use crate::http::venues::{self, CachedVenue};

const NAME: &str = "meridian-console";

/// How long an owner stays logged in.
const LOGIN: Duration = Duration::from_secs(12 * 3_600);

/// What the keys sign here.
const PURPOSE: &[u8] = b"meridian console 1";

fn sign(keys: &ConsoleKeys, venue: VenueId, until: Wall) -> String {
    keys.sign(PURPOSE, &[&venue.0[..], &until.0.to_be_bytes()].concat())
}

/// The venue of a cookie that one of the keys signed and that still counts.
fn read(keys: &ConsoleKeys, text: &str, now: Wall) -> Option<VenueId> {
    let said: [u8; 24] = keys.read(PURPOSE, text)?;
    let mut venue = [0; 16];
    venue.copy_from_slice(&said[..16]);
    let mut until = [0; 8];
    until.copy_from_slice(&said[16..]);
    (now < Wall(u64::from_be_bytes(until))).then_some(VenueId(venue))
}

/// An owner who is logged in.
pub(super) struct Owner {
    pub(super) session: Session,
    pub(super) known: Arc<CachedVenue>,
}

impl Owner {
    /// The owner whose cookie the request carries, if a page of this service made the request.
    pub(super) fn of(app: &App, parts: &Parts) -> Option<Owner> {
        let session = Session::without(app);
        let now = app.now(&session.status);
        let read = |(name, text): (&str, &str)| read(&app.console_keys, text, now).filter(|_| name == NAME);
        let venue = cookies(&parts.headers).find_map(read);
        let known = venue.filter(|_| is_own(parts)).and_then(|venue| venues::find_kept(app, venue, &session).ok());
        known.map(|known| Owner { session, known })
    }

    /// As [`Owner::of`], of a venue that is open.
    pub(super) fn of_open(app: &App, parts: &Parts) -> Option<Owner> {
        Owner::of(app, parts).filter(|owner| owner.known.venue.closed.is_none())
    }
}

/// The cookie of an owner who has the venue's key.
pub(super) fn cookie(app: &App, venue: VenueId, key: &OwnerKey, session: &Session) -> Result<HeaderValue, Problem> {
    venues::find_owned_venue(app, venue, key, session)?;
    Ok(fresh_cookie(app, venue, session))
}

/// The cookie of the owner of a venue that was made a moment ago.
pub(super) fn fresh_cookie(app: &App, venue: VenueId, session: &Session) -> HeaderValue {
    let text = sign(&app.console_keys, venue, app.now(&session.status).plus(LOGIN));
    let secure = if app.public_url.starts_with("https://") { "; Secure" } else { "" };
    let seconds = LOGIN.as_secs();
    header(format!("{NAME}={text}; Path=/console; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"))
}

/// Ends the login.
pub(super) fn forget() -> HeaderValue {
    HeaderValue::from_static("meridian-console=; Path=/console; Max-Age=0; HttpOnly; SameSite=Strict")
}

/// Whether the request was made by a page of this service, or typed by a person (Fetch Metadata; RFC 6454 for browsers
/// without it).
pub(super) fn is_own(parts: &Parts) -> bool {
    if let Some(site) = parts.headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = parts.headers.get(ORIGIN).and_then(|value| value.to_str().ok()) else { return true };
    let host = parts.headers.get(HOST).and_then(|value| value.to_str().ok());
    let authority = parts.uri.authority().map(hyper::http::uri::Authority::as_str).or(host);
    origin.split_once("://").is_some_and(|(_, from)| Some(from) == authority)
}

/// As [`redirect`], with a cookie.
pub(super) fn redirect_with(to: &'static str, cookie: HeaderValue) -> Reply {
    let mut reply = redirect(to);
    reply.headers_mut().insert(SET_COOKIE, cookie);
    reply
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use registry::VenueId;
    use replication::Wall;
    use service::signing::SigningKey;

    use super::{ConsoleKeys, is_own, read, sign};

    fn key(n: &str) -> SigningKey {
        SigningKey::parse(n.repeat(32).as_bytes()).expect("a key")
    }

    #[test]
    fn a_cookie_counts_for_its_venue_until_its_time_and_under_any_of_the_keys() {
        let (old, both, new) = (
            ConsoleKeys::of(vec![key("01")]),
            ConsoleKeys::of(vec![key("02"), key("01")]),
            ConsoleKeys::of(vec![key("02")]),
        );
        let venue = VenueId([7; 16]);
        let cookie = sign(&old, venue, Wall(1_000));
        assert_eq!(read(&old, &cookie, Wall(999)), Some(venue));
        assert_eq!(read(&both, &cookie, Wall(999)), Some(venue), "while the key is being replaced");
        assert_eq!(read(&new, &cookie, Wall(999)), None);
        assert_eq!(read(&new, &sign(&both, venue, Wall(1_000)), Wall(999)), Some(venue), "the first key signs");
        assert_eq!(read(&old, &cookie, Wall(1_000)), None, "its time is over");
        let mut forged = cookie.clone().into_bytes();
        for at in 0..forged.len() {
            let kept = forged[at];
            forged[at] = if kept == b'A' { b'B' } else { b'A' };
            assert_eq!(read(&old, std::str::from_utf8(&forged).expect("text"), Wall(0)), None, "{at}");
            forged[at] = kept;
        }
        assert_eq!(read(&old, "", Wall(0)), None);
    }

    #[test]
    fn a_request_that_another_site_made_is_recognised() {
        let own = |headers: &[(&str, &str)]| {
            let mut request = Request::builder().uri("/console").header("host", "a.example:80");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            is_own(&request.body(()).expect("a request").into_parts().0)
        };
        assert!(own(&[]) && own(&[("sec-fetch-site", "same-origin")]) && own(&[("sec-fetch-site", "none")]));
        assert!(own(&[("origin", "http://a.example:80")]));
        assert!(!own(&[("sec-fetch-site", "cross-site")]) && !own(&[("sec-fetch-site", "same-site")]));
        assert!(!own(&[("origin", "http://evil.example")]) && !own(&[("origin", "null")]));
    }
}
