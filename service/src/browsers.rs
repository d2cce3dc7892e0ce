//! What keeps the pages of other sites, open in an operator's browser, away from an admin listener.
//!
//! A page may send requests to any address that its browser reaches. The browser says for which site it does so
//! (`Origin`, RFC 6454 section 7). After DNS rebinding the page's own name leads to the listener, so a request without a
//! token must name the listener in a way that no other site can: by its address, or as localhost.
//!
//! # Not here
//! Tokens ([`crate::operators`]). A page of another site does not know them, so a request with one needs no known host.

use std::net::IpAddr;

use api::problem::Kind;
use hyper::header::{HOST, ORIGIN};
use hyper::http::uri::Authority;
use hyper::{HeaderMap, Uri};

use crate::problem::Problem;

/// The host and port that a request names.
fn authority(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).and_then(|host| host.parse().ok());
    uri.authority().cloned().or(host)
}

/// Refuses a request that a page of another site sent.
///
/// # Errors
/// A problem.
pub(crate) fn check_origin(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    // `null` is the origin of a page that hides its own.
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let is_own = origin.is_some_and(|origin| {
        let own = authority(uri, headers);
        origin.authority().is_some() && origin.authority() == own.as_ref()
    });
    let detail = "send it from a command or a page of this listener";
    if is_own { Ok(()) } else { Err(Problem::new(Kind::ForeignOrigin, detail)) }
}

/// Refuses a request that names the listener as another site might: by a name that DNS resolves.
///
/// # Errors
/// A problem.
pub(crate) fn check_host(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    // HTTP/1.0 needs no host, and no browser speaks it.
    let Some(authority) = authority(uri, headers) else { return Ok(()) };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_local = host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost");
    if is_local || host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    Err(Problem::new(
        Kind::UnknownHost,
        "name the listener by its address; with `admin.operators`, an operator's token is as good",
    ))
}

#[cfg(test)]
mod tests {
    use hyper::header::{HOST, HeaderName, ORIGIN};
    use hyper::{HeaderMap, Uri};

    use super::{check_host, check_origin};

    fn headers(given: &[(HeaderName, &'static str)]) -> HeaderMap {
        given.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_page_of_another_site_is_refused() {
        let origin = |host, origin| check_origin(&Uri::from_static("/v1"), &headers(&[(HOST, host), (ORIGIN, origin)]));
        assert!(origin("127.0.1.1:7082", "http://127.0.1.1:7082").is_ok());
        for other in ["http://evil.example", "http://127.0.1.1:7080", "https://127.0.1.1", "null", "no origin"] {
            assert!(origin("127.0.1.1:7082", other).is_err(), "{other}");
        }
        assert!(check_origin(&Uri::from_static("/v1"), &headers(&[(HOST, "evil.example")])).is_ok(), "no browser");
    }

    #[test]
    fn a_name_that_dns_resolves_is_not_ours() {
        let host = |host| check_host(&Uri::from_static("/v1"), &headers(&[(HOST, host)]));
        for own in ["127.0.1.1:7082", "[::1]:7082", "10.0.0.1", "localhost:7082", "LOCALHOST", "node.localhost"] {
            assert!(host(own).is_ok(), "{own}");
        }
        for other in ["evil.example:7082", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example"] {
            assert!(host(other).is_err(), "{other}");
        }
        // HTTP/2 names it in the address.
        assert!(check_host(&Uri::from_static("http://evil.example/v1"), &HeaderMap::new()).is_err());
        assert!(check_host(&Uri::from_static("/v1"), &HeaderMap::new()).is_ok());
    }
}
