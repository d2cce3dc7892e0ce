//! Decides which header fields cross the edge (RFC 9110, section 7.6).
//!
//! Towards nodes the edge removes hop-by-hop fields, every field about addresses and the fields that it handles itself,
//! and adds `Via`, `Forwarded` and `X-Request-Id`. Towards clients it removes hop-by-hop fields and adds `Via`.
//!
//! # Invariants
//! - No node learns a client's address: the fields that commonly carry it end here, and `Forwarded` says `_hidden` (RFC
//!   7239, section 6.3).
//! - A field that a client names in `Connection` is removed, except those that the edge itself relies on.

use hyper::header::{
    self, CONNECTION, EXPECT, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use service::request_id::REQUEST_ID;
use smallvec::SmallVec;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED: HeaderName = header::FORWARDED;

const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Names of fields that tell a node the client's address, or claim to.
const ADDRESSES: [&str; 8] = [
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "client-ip",
    "x-original-forwarded-for",
];

/// Fields that `Connection` cannot remove, because without them the request would be a different one (RFC 9110, section
/// 7.6.1 forbids to name them).
fn is_kept(name: &HeaderName) -> bool {
    const KEPT: [HeaderName; 5] =
        [header::HOST, header::AUTHORIZATION, header::CACHE_CONTROL, header::CONTENT_LENGTH, header::CONTENT_TYPE];
    KEPT.contains(name) || name.as_str().starts_with("meridian-")
}

/// Removes fields that concern only one connection.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let lines = headers.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok());
        let named: Vec<HeaderName> =
            lines.flat_map(|line| line.split(',')).filter_map(|name| name.trim().parse().ok()).collect();
        for name in named.iter().filter(|name| !is_kept(name)) {
            headers.remove(name);
        }
    }
    remove(headers, is_hop_by_hop);
}

/// Removes the fields with such a name. Most heads have few of them, so one walk is cheaper than a look-up for each name.
fn remove(headers: &mut HeaderMap, is_gone: impl Fn(&HeaderName) -> bool) {
    let gone: SmallVec<[HeaderName; 4]> = headers.keys().filter(|name| is_gone(name)).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name)
}

/// Whether a field ends at the edge on the way to a node.
fn ends_here(name: &HeaderName) -> bool {
    // The edge has asked for the body itself, and does not use trailers.
    [EXPECT, TRAILER, FORWARDED].contains(name)
        || ADDRESSES.contains(&name.as_str())
        || name.as_str().starts_with("x-forwarded-")
}

/// Prepares a request's head for a node. The code that sends the body sets its framing.
pub fn request(headers: &mut HeaderMap, scheme: &str, via: &HeaderValue, id: &HeaderValue) {
    let trailers = wants_trailers(headers);
    strip_hop_by_hop(headers);
    remove(headers, ends_here);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    headers.append(VIA, via.clone());
    let words = if scheme == "https" { "for=_hidden;proto=https" } else { "for=_hidden;proto=http" };
    headers.insert(FORWARDED, HeaderValue::from_static(words));
    headers.insert(REQUEST_ID, id.clone());
}

/// Prepares an answer's head for the client.
pub(super) fn response(headers: &mut HeaderMap, via: &HeaderValue, id: &HeaderValue) {
    strip_hop_by_hop(headers);
    headers.append(VIA, via.clone());
    headers.insert(REQUEST_ID, id.clone());
}

/// Whether a client accepts trailers.
fn wants_trailers(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(TE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Whether a request already came through a router with this name.
pub fn came_through(headers: &HeaderMap, name: &str) -> bool {
    let lines = headers.get_all(VIA).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|hop| hop.split_ascii_whitespace().nth(1) == Some(name))
}

/// Whether a request asks to become a WebSocket. Every other upgrade is declined by not passing it on, above all `h2c`,
/// which would carry requests that the edge cannot see.
pub fn wants_websocket(headers: &HeaderMap) -> bool {
    let tokens = |name: HeaderName, token: &str| {
        let mut lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
        lines.any(|line| line.split(',').any(|one| one.trim().eq_ignore_ascii_case(token)))
    };
    let alone = headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    alone && tokens(CONNECTION, "upgrade")
}

/// Adds the fields that ask for a WebSocket, or grant it.
pub(super) fn upgrade(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderMap, HeaderName, HeaderValue, TE, VIA};
    use proptest::prelude::*;

    use super::super::testing::headers;
    use super::{REQUEST_ID, came_through, request, response, wants_websocket};

    fn via() -> HeaderValue {
        HeaderValue::from_static("1.1 edge")
    }

    fn sent(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = headers(lines);
        request(&mut headers, "http", &via(), &HeaderValue::from_static("id"));
        headers
    }

    #[test]
    fn hop_by_hop_fields_and_what_connection_names_end_here() {
        let headers = sent(&[
            ("connection", "close, X-Secret , keep-alive"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic x"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip;q=0.5, Trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("expect", "100-continue"),
            ("accept", "*/*"),
        ]);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "forwarded", "te", "via", "x-request-id"]);
        assert_eq!(headers[TE], "trailers");
    }

    #[test]
    fn connection_cannot_remove_the_fields_that_identify_the_request() {
        let headers = sent(&[
            ("connection", "authorization, host, meridian-secret, content-type"),
            ("authorization", "Bearer key"),
            ("host", "venue.test"),
            ("meridian-secret", "s"),
            ("content-type", "application/json"),
        ]);
        for name in ["authorization", "host", "meridian-secret", "content-type"] {
            assert!(headers.contains_key(name), "{name}");
        }
    }

    #[test]
    fn addresses_end_here() {
        let address = "203.0.113.7";
        let headers = sent(&[
            ("x-forwarded-for", address),
            ("x-forwarded-host", "evil.test"),
            ("forwarded", "for=203.0.113.7"),
            ("x-real-ip", address),
            ("true-client-ip", address),
            ("meridian-session", "token"),
            ("prefer", "wait=1"),
        ]);
        assert!(headers.values().all(|value| !value.to_str().unwrap().contains(address)));
        assert!(!headers.contains_key("x-forwarded-host"));
        assert_eq!(headers["forwarded"], "for=_hidden;proto=http");
        assert_eq!(
            (&headers["meridian-session"], &headers["prefer"]),
            (&"token".parse().unwrap(), &"wait=1".parse().unwrap())
        );
    }

    #[test]
    fn via_grows_and_betrays_loops() {
        let headers = sent(&[("via", "1.0 fred, 1.1 proxy")]);
        assert_eq!(headers.get_all(VIA).iter().count(), 2);
        assert!(came_through(&headers, "edge") && came_through(&headers, "fred"));
        assert!(!came_through(&headers, "1.1"));
        let mut answer = HeaderMap::new();
        response(&mut answer, &via(), &HeaderValue::from_static("id"));
        assert_eq!((&answer[VIA], &answer[REQUEST_ID]), (&via(), &HeaderValue::from_static("id")));
    }

    #[test]
    fn an_id_is_kept_only_from_a_trusted_proxy() {
        let good = headers(&[("x-request-id", "abc-1")]);
        assert_eq!(service::request_id::of(&good, true), "abc-1");
        assert_ne!(service::request_id::of(&good, false), "abc-1");
        let bad = headers(&[("x-request-id", "a b")]);
        assert_eq!(service::request_id::of(&bad, true).len(), 32);
    }

    #[test]
    fn only_websockets_are_upgrades() {
        assert!(wants_websocket(&headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")])));
        for (connection, upgrade) in [("upgrade", "h2c"), ("upgrade", "websocket, h2c"), ("close", "websocket")] {
            assert!(!wants_websocket(&headers(&[("connection", connection), ("upgrade", upgrade)])));
        }
    }

    proptest! {
        /// For any input: nothing about the connection goes out, and cleaning twice changes nothing more.
        #[test]
        fn a_clean_head_stays_clean(lines in prop::collection::vec(("[a-z-]{1,12}", "[ -~]{0,20}"), 0..20)) {
            let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let once = sent(&lines);
            prop_assert!(!once.contains_key("connection") && !once.contains_key("transfer-encoding"));
            let mut twice = once.clone();
            super::strip_hop_by_hop(&mut twice);
            twice.insert(TE, HeaderValue::from_static("trailers"));
            let mut once = once;
            once.insert(TE, HeaderValue::from_static("trailers"));
            prop_assert_eq!(once, twice);
        }
    }
}
