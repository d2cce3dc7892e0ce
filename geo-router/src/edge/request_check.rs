//! Checks which requests are let in: only heads with exactly one meaning.
//!
//! [`service::head`] refuses heads that two readers could take for two different requests, and [`super::framing`] what
//! hyper resolves silently. This adds what a head must have to be forwarded.
//!
//! # Invariants
//! - A request that passes has at most one host, one length and no transfer coding but `chunked`, and no credential twice.
//! - A request that passes names a path (or `*` for `OPTIONS`), which is forwarded byte for byte.

use hyper::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Uri};
use service::head::{self, bad};

use super::hop_headers;
use super::problem::{Kind, Problem};

/// Checks a head, and rewrites it into the form in which it is forwarded: origin-form and one `Host`.
pub(super) fn check(parts: &mut Parts) -> Result<(), Problem> {
    if matches!(parts.method, Method::CONNECT | Method::TRACE) || parts.method.as_str() == "TRACK" {
        let problem = Problem::new(Kind::Method, "the edge opens no tunnels and echoes no requests");
        return Err(problem.with_allow("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    head::framing(parts)?;
    head::singletons(&parts.headers)?;
    upgrade(parts)?;
    host(parts)?;
    target(parts)?;
    if let Some(expect) = parts.headers.get(EXPECT)
        && !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")
    {
        return Err(Problem::new(Kind::Expectation, "the only expectation that is supported is 100-continue"));
    }
    Ok(())
}

fn upgrade(parts: &Parts) -> Result<(), Problem> {
    let has_length = parts.headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    let has_body = has_length || parts.headers.contains_key(TRANSFER_ENCODING);
    if hop_headers::wants_websocket(&parts.headers) && has_body {
        return Err(bad("an upgrade must not have a body"));
    }
    Ok(())
}

fn host(parts: &mut Parts) -> Result<(), Problem> {
    let host = head::host(parts)?;
    if let Some(host) = host.filter(|_| !parts.headers.contains_key(HOST)) {
        let value = HeaderValue::from_str(host.as_str()).map_err(|_| bad("the host is not a valid header value"))?;
        parts.headers.insert(HOST, value);
    }
    Ok(())
}

fn target(parts: &mut Parts) -> Result<(), Problem> {
    if let Some(scheme) = parts.uri.scheme_str()
        && !matches!(scheme, "http" | "https")
    {
        return Err(bad("the scheme must be http or https"));
    }
    let target = match parts.uri.path_and_query() {
        Some(target) if target.as_str().starts_with('/') => target.clone(),
        Some(target) if target.as_str() == "*" && parts.method == Method::OPTIONS => target.clone(),
        // `OPTIONS http://host` and `OPTIONS http://host?q`: the first is about the server (RFC 9112, section 3.2.4).
        None if parts.method == Method::OPTIONS => PathAndQuery::from_static("*"),
        _ => return Err(bad("the target must be a path")),
    };
    parts.uri = Uri::from(target);
    Ok(())
}

#[cfg(test)]
mod tests {
    use hyper::http::request::Parts;
    use hyper::{Request, Version};

    use super::check;
    use crate::edge::problem::Kind;

    fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_head_with_one_meaning_passes_in_origin_form() {
        for (method, uri, target) in [
            ("GET", "/a/%2e%2e/b?x=%00#f", "/a/%2e%2e/b?x=%00"),
            ("GET", "http://venue.test/a", "/a"),
            ("GET", "http://VENUE.test", "/"),
            ("OPTIONS", "*", "*"),
            ("PURGE", "//evil.test/a", "//evil.test/a"),
        ] {
            let mut parts = parts(method, uri, &[("host", "venue.test")]);
            check(&mut parts).unwrap();
            assert_eq!(parts.uri.to_string(), target);
        }
        let mut parts = parts("GET", "http://venue.test/", &[]);
        parts.version = Version::HTTP_2;
        check(&mut parts).unwrap();
        assert_eq!(parts.headers["host"], "venue.test");
    }

    #[test]
    fn a_head_with_two_meanings_is_refused() {
        let host = ("host", "venue.test");
        for (method, uri, headers, kind) in [
            ("CONNECT", "venue.test:80", vec![host], Kind::Method),
            ("TRACE", "/", vec![host], Kind::Method),
            ("GET", "/", vec![], Kind::BadRequest),
            ("GET", "/", vec![host, host], Kind::BadRequest),
            ("GET", "/", vec![("host", "a@b")], Kind::BadRequest),
            ("GET", "/", vec![("host", "a/b")], Kind::BadRequest),
            ("GET", "/", vec![("host", "")], Kind::BadRequest),
            ("GET", "http://other.test/", vec![host], Kind::BadRequest),
            ("GET", "ftp://venue.test/", vec![host], Kind::BadRequest),
            ("GET", "*", vec![host], Kind::BadRequest),
            ("GET", "venue.test:80", vec![host], Kind::BadRequest),
            ("PUT", "/", vec![host, ("transfer-encoding", "gzip, chunked")], Kind::Coding),
            ("PUT", "/", vec![host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], Kind::Coding),
            ("PUT", "/", vec![host, ("transfer-encoding", "chunked"), ("content-length", "1")], Kind::BadRequest),
            ("PUT", "/", vec![host, ("content-length", "1"), ("content-length", "1")], Kind::BadRequest),
            ("PUT", "/", vec![host, ("content-length", "+1")], Kind::BadRequest),
            ("GET", "/", vec![host, ("authorization", "a"), ("authorization", "a")], Kind::BadRequest),
            ("PUT", "/", vec![host, ("meridian-secret", "a"), ("meridian-secret", "b")], Kind::BadRequest),
            ("PUT", "/", vec![host, ("content-type", "a/b"), ("content-type", "a/b")], Kind::BadRequest),
            ("PUT", "/", vec![host, ("expect", "a miracle")], Kind::Expectation),
            (
                "GET",
                "/",
                vec![host, ("upgrade", "websocket"), ("connection", "upgrade"), ("content-length", "1")],
                Kind::BadRequest,
            ),
        ] {
            let refused = check(&mut parts(method, uri, &headers)).unwrap_err();
            assert_eq!(refused.kind(), kind, "{method} {uri} {headers:?}");
        }
    }
}
