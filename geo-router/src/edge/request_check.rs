//! Checks which requests are let in: only heads with exactly one meaning.
//!
//! hyper refuses most of what smugglers send (RFC 9112, section 11.2). This refuses the rest: heads that two readers
//! could take for two different requests. [`super::framing`] refuses what hyper resolves silently.
//!
//! # Invariants
//! - A request that passes has at most one host, one length and no transfer coding but `chunked`.
//! - A request that passes names a path (or `*` for `OPTIONS`), which is forwarded byte for byte.

use hyper::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::http::uri::{Authority, PathAndQuery};
use hyper::{Method, Uri, Version};

use super::hop_headers;
use super::problem::{Kind, Problem};

/// Checks a head, and rewrites it into the form in which it is forwarded: origin-form and one `Host`.
pub(super) fn check(parts: &mut Parts) -> Result<(), Problem> {
    if matches!(parts.method, Method::CONNECT | Method::TRACE) || parts.method.as_str() == "TRACK" {
        let problem = Problem::new(Kind::Method, "the edge opens no tunnels and echoes no requests");
        return Err(problem.with_allow("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    framing(parts)?;
    host(parts)?;
    target(parts)?;
    if let Some(expect) = parts.headers.get(EXPECT)
        && !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")
    {
        return Err(Problem::new(Kind::Expectation, "the only expectation that is supported is 100-continue"));
    }
    Ok(())
}

fn bad(detail: &'static str) -> Problem {
    Problem::new(Kind::BadRequest, detail)
}

fn framing(parts: &Parts) -> Result<(), Problem> {
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next();
    if let Some(coding) = coding {
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(Problem::new(Kind::Coding, "the only transfer coding that is supported is chunked, once"));
        }
        if parts.version != Version::HTTP_11 {
            return Err(bad("only HTTP/1.1 has transfer codings"));
        }
    }
    let mut lengths = parts.headers.get_all(CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        if coding.is_some() {
            return Err(bad("the request has both a length and a transfer coding"));
        }
        let digits = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
        if lengths.next().is_some() || !digits {
            return Err(bad("the length must be one number"));
        }
    }
    if hop_headers::wants_websocket(&parts.headers)
        && (coding.is_some() || parts.headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0"))
    {
        return Err(bad("an upgrade must not have a body"));
    }
    Ok(())
}

fn host(parts: &mut Parts) -> Result<(), Problem> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next().cloned();
    if hosts.next().is_some() {
        return Err(bad("the request has more than one host"));
    }
    let named = parts.uri.authority();
    let authority = match (&host, named) {
        (Some(host), Some(named)) => {
            if !host.as_bytes().eq_ignore_ascii_case(named.as_str().as_bytes()) {
                return Err(bad("the target and Host name different hosts"));
            }
            named.clone()
        }
        (Some(host), None) => authority(host)?,
        (None, Some(named)) => named.clone(),
        // HTTP/1.0 needs no host.
        (None, None) if parts.version == Version::HTTP_10 => return Ok(()),
        (None, None) => return Err(bad("the request has no host")),
    };
    if authority.as_str().contains('@') {
        return Err(bad("the host must not have user information"));
    }
    if host.is_none() {
        let value =
            HeaderValue::from_str(authority.as_str()).map_err(|_| bad("the host is not a valid header value"))?;
        parts.headers.insert(HOST, value);
    }
    Ok(())
}

fn authority(host: &HeaderValue) -> Result<Authority, Problem> {
    Authority::try_from(host.as_bytes()).map_err(|_| bad("the host is not valid"))
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
