//! Checks the head of a request: only heads with exactly one meaning are let in.
//!
//! hyper refuses most of what has two meanings (RFC 9112, section 11.2). This refuses the rest.
//!
//! # Invariants
//! - A request that passes has at most one host, one length and no transfer coding but `chunked`.
//! - A request that asks for something that its handler would ignore does not pass: a content coding, a key for repeats.
//! - It has each credential, session and media type of its body once, because which of two counts would depend on the
//!   server that reads it.

use api::headers::{SECRET, SESSION};
use api::problem::Kind;
use hyper::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, TRANSFER_ENCODING,
};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{HeaderMap, Method, Version};

use crate::listen::MAX_HEAD_BYTES;
use crate::problem::Problem;

/// Identifies a request that a client may send again (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A head that has two meanings, or none.
#[must_use]
pub fn bad(detail: &'static str) -> Problem {
    Problem::new(Kind::BadRequest, detail)
}

/// Checks the head of a request that a handler answers.
///
/// # Errors
/// A problem.
pub fn check(parts: &Parts) -> Result<(), Problem> {
    bounded(parts, MAX_HEAD_BYTES)?;
    framing(parts)?;
    singletons(&parts.headers)?;
    host(parts)?;
    content_coding(parts)?;
    repeats(parts)
}

/// Refuses a head with more bytes than `most`. hyper's own limit is soft: it lets a head in that arrived with one read of its
/// buffer, which may be nearly twice as large.
///
/// # Errors
/// A problem.
pub fn bounded(parts: &Parts, most: usize) -> Result<(), Problem> {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let fields: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if parts.method.as_str().len() + target + fields <= most {
        return Ok(());
    }
    Err(Problem::new(Kind::HeadTooLarge, format!("a head has at most {} KiB", most / 1024)))
}

/// Refuses a body in a content coding, because none is decoded (RFC 9110, section 15.5.16).
fn content_coding(parts: &Parts) -> Result<(), Problem> {
    let lines = parts.headers.get_all(CONTENT_ENCODING).iter();
    let mut codings = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    if codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    Err(Problem::new(Kind::ContentCoding, "send the body as it is, without Content-Encoding"))
}

/// Refuses a key for repeats where a repeat is not one request. Regions do not share such keys, and the client may reach
/// another region with the repeat. `PUT` and `DELETE` keep the promise of the key without it.
fn repeats(parts: &Parts) -> Result<(), Problem> {
    let is_repeatable = !matches!(parts.method, Method::POST | Method::PATCH);
    if is_repeatable || !parts.headers.contains_key(IDEMPOTENCY_KEY) {
        return Ok(());
    }
    let detail = "leave Idempotency-Key out; a check-in by PUT with an id of the client's is one check-in in every region, \
                  and If-Match protects a PATCH";
    Err(Problem::new(Kind::IdempotencyKey, detail))
}

/// Checks that fields whose value is one thing are not repeated (RFC 9110, section 5.3).
///
/// # Errors
/// A problem.
pub fn singletons(headers: &HeaderMap) -> Result<(), Problem> {
    const ONCE: [(HeaderName, &str); 4] = [
        (AUTHORIZATION, "the request has more than one Authorization"),
        (SECRET, "the request has more than one Meridian-Secret"),
        (SESSION, "the request has more than one Meridian-Session"),
        (CONTENT_TYPE, "the request has more than one Content-Type"),
    ];
    let twice = ONCE.into_iter().find(|(name, _)| headers.get_all(name).iter().nth(1).is_some());
    twice.map_or(Ok(()), |(_, detail)| Err(bad(detail)))
}

/// Checks what says where the body ends (RFC 9112, section 6).
///
/// # Errors
/// A problem.
pub fn framing(parts: &Parts) -> Result<(), Problem> {
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
    Ok(())
}

/// The one host that a request names (RFC 9112, section 3.2); `None` for HTTP/1.0, which needs none.
///
/// # Errors
/// A problem if there is none, more than one, or one that is not valid.
pub fn host(parts: &Parts) -> Result<Option<Authority>, Problem> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("the request has more than one host"));
    }
    let authority = match (host, parts.uri.authority()) {
        (Some(host), Some(named)) => {
            if !host.as_bytes().eq_ignore_ascii_case(named.as_str().as_bytes()) {
                return Err(bad("the target and Host name different hosts"));
            }
            named.clone()
        }
        (Some(host), None) => Authority::try_from(host.as_bytes()).map_err(|_| bad("the host is not valid"))?,
        (None, Some(named)) => named.clone(),
        (None, None) if parts.version == Version::HTTP_10 => return Ok(None),
        (None, None) => return Err(bad("the request has no host")),
    };
    if authority.as_str().contains('@') {
        return Err(bad("the host must not have user information"));
    }
    Ok(Some(authority))
}

#[cfg(test)]
mod tests {
    use api::problem::Kind;
    use hyper::Request;

    use super::check;

    fn refused(method: &str, headers: &[(&str, &str)]) -> Option<Kind> {
        let mut request = Request::builder().method(method).uri("/").header("host", "x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap().into_parts().0).err().map(|problem| problem.kind())
    }

    #[test]
    fn what_would_be_ignored_is_refused() {
        for coding in ["gzip", "identity, br", "x-gzip", "zstd"] {
            assert_eq!(refused("PUT", &[("content-encoding", coding)]), Some(Kind::ContentCoding), "{coding}");
        }
        let lines = [("content-encoding", "identity"), ("content-encoding", "gzip")];
        assert_eq!(refused("POST", &lines), Some(Kind::ContentCoding));
        for coding in ["identity", "", " , Identity"] {
            assert_eq!(refused("PUT", &[("content-encoding", coding)]), None, "{coding}");
        }
        for (method, kind) in [
            ("POST", Some(Kind::IdempotencyKey)),
            ("PATCH", Some(Kind::IdempotencyKey)),
            ("PUT", None),
            ("DELETE", None),
            ("GET", None),
        ] {
            assert_eq!(
                refused(method, &[("idempotency-key", "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"")]),
                kind,
                "{method}"
            );
        }
    }

    #[test]
    fn a_head_is_bounded_exactly() {
        let of = |bytes: usize| refused("GET", &[("x", &"y".repeat(bytes))]);
        // `GET`, `/`, `host: x` and the line's own characters.
        let rest = 3 + 1 + 4 + 1 + 4 + 1 + 4;
        assert_eq!(of(super::MAX_HEAD_BYTES - rest), None);
        assert_eq!(of(super::MAX_HEAD_BYTES - rest + 1), Some(Kind::HeadTooLarge));
    }

    #[test]
    fn the_only_transfer_coding_is_chunked_once() {
        for codings in [&["gzip, chunked"][..], &["chunked, chunked"], &["identity", "chunked"], &["gzip"]] {
            let lines: Vec<_> = codings.iter().map(|coding| ("transfer-encoding", *coding)).collect();
            assert_eq!(refused("PUT", &lines), Some(Kind::Coding), "{codings:?}");
        }
        assert_eq!(refused("PUT", &[("transfer-encoding", "Chunked")]), None);
    }
}
