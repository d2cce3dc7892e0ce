//! Checks the head of a request: only heads with exactly one meaning are let in.
//!
//! hyper refuses most of what has two meanings (RFC 9112, section 11.2). This refuses the rest.
//!
//! # Invariants
//! - A request that passes has at most one host, one length and no transfer coding but `chunked`.

use api::problem::Kind;
use hyper::Version;
use hyper::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;

use crate::problem::Problem;

/// A head that has two meanings, or none.
#[must_use]
pub fn bad(detail: &'static str) -> Problem {
    Problem::new(Kind::BadRequest, detail)
}

/// Checks a head whose target and headers stay as they are.
///
/// # Errors
/// A problem.
pub fn check(parts: &Parts) -> Result<(), Problem> {
    framing(parts)?;
    host(parts).map(|_| ())
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
