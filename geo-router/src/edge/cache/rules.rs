//! Which answers may be cached, and how long they are fresh: the part of RFC 9111 that a shared cache needs if it
//! stores only answers that are expressly public.
//!
//! `http-cache-semantics` is not used, because it folds repeated header lines into one, writes `Date` in a form that
//! HTTP does not have, and computes freshness by heuristics, which are useless where `public` and an age are required.
//!
//! # Invariants
//! - An answer is cached only if it says `public` and how long, and sets no cookie, and if the request had neither
//!   credentials nor cookies.
//! - No clock: ages are arguments.

use std::time::Duration;

use hyper::header::{
    self, AGE, AUTHORIZATION, CACHE_CONTROL, COOKIE, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, PRAGMA, SET_COOKIE, VARY,
};
use hyper::{Method, StatusCode};

/// The cache directives of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// Every answer must come from a node or be confirmed by one.
    pub no_cache: bool,
    /// The greatest age of an answer.
    pub max_age: Option<Duration>,
    /// The answer must come from the cache.
    pub only_if_cached: bool,
}

/// Whether a request may be answered from the cache, and on which conditions.
#[must_use]
pub fn wishes(method: &Method, headers: &HeaderMap) -> Option<Wishes> {
    const PERSONAL: [HeaderName; 8] = [
        AUTHORIZATION,
        COOKIE,
        api::headers::SECRET,
        api::headers::SESSION,
        header::RANGE,
        header::IF_MATCH,
        header::IF_UNMODIFIED_SINCE,
        header::IF_RANGE,
    ];
    if !matches!(*method, Method::GET | Method::HEAD) || PERSONAL.iter().any(|name| headers.contains_key(name)) {
        return None;
    }
    let directives = Directives::of(headers);
    if directives.has("no-store") {
        return None;
    }
    let pragma = !headers.contains_key(CACHE_CONTROL) && list(headers, &PRAGMA).any(|word| word == "no-cache");
    Some(Wishes {
        no_cache: directives.has("no-cache") || pragma,
        max_age: directives.seconds("max-age"),
        only_if_cached: directives.has("only-if-cached"),
    })
}

/// How long an answer is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Its age when it arrived.
    pub age: Duration,
    /// The age up to which it is fresh.
    pub fresh: Duration,
    /// How much longer it may be served while nodes fail.
    pub stale_if_error: Duration,
}

/// Whether the answer to a GET may be cached, and how long it is fresh.
#[must_use]
pub fn term(status: StatusCode, headers: &HeaderMap, stale_if_error: Duration) -> Option<Term> {
    let directives = Directives::of(headers);
    let kept = matches!(status.as_u16(), 200 | 301 | 308 | 404 | 410)
        && directives.has("public")
        && !["no-store", "no-cache", "private"].iter().any(|word| directives.has(word))
        && !headers.contains_key(SET_COOKIE)
        && varies(headers).is_some();
    if !kept {
        return None;
    }
    let fresh = directives.seconds("s-maxage").or_else(|| directives.seconds("max-age"))?;
    let age =
        headers.get(AGE).and_then(|age| age.to_str().ok()?.parse().ok()).map_or(Duration::ZERO, Duration::from_secs);
    let strict = ["must-revalidate", "proxy-revalidate", "s-maxage"].iter().any(|word| directives.has(word));
    let stale_if_error = match directives.seconds("stale-if-error") {
        Some(own) => own,
        None if strict => Duration::ZERO,
        None => stale_if_error,
    };
    (age < fresh).then_some(Term { age, fresh, stale_if_error })
}

/// The request fields by which an answer varies, in order; `None` if it varies by more than fields.
#[must_use]
pub fn varies(headers: &HeaderMap) -> Option<Vec<HeaderName>> {
    let names = list(headers, &VARY).map(|name| name.parse().ok().filter(|_| name != "*"));
    let mut names = names.collect::<Option<Vec<HeaderName>>>()?;
    names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    Some(names)
}

/// The values of these fields in a request: requests with equal values get the same answer.
#[must_use]
pub fn variant(names: &[HeaderName], headers: &HeaderMap) -> Vec<u8> {
    let mut variant = Vec::new();
    for name in names {
        for value in headers.get_all(name) {
            variant.extend_from_slice(&(value.len() as u32).to_be_bytes());
            variant.extend_from_slice(value.as_bytes());
        }
        variant.extend_from_slice(&u32::MAX.to_be_bytes());
    }
    variant
}

/// Whether the client already has the stored answer (RFC 9110, section 13.1).
#[must_use]
pub fn has_it(asked: &HeaderMap, kept: &HeaderMap) -> bool {
    if asked.contains_key(IF_NONE_MATCH) {
        let Some(tag) = kept.get(header::ETAG).and_then(|tag| tag.to_str().ok()) else { return false };
        // Weak comparison.
        let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        return list(asked, &IF_NONE_MATCH).any(|one| one == "*" || opaque(&one) == opaque(tag));
    }
    // A client with a later date gets the whole answer, which is always correct.
    matches!((asked.get(IF_MODIFIED_SINCE), kept.get(header::LAST_MODIFIED)), (Some(one), Some(other)) if one == other)
}

/// Turns the request into one that asks a node whether the stored answer is still good. Returns whether that is
/// possible.
pub(crate) fn revalidate(asked: &mut HeaderMap, kept: &HeaderMap) -> bool {
    asked.remove(IF_NONE_MATCH);
    asked.remove(IF_MODIFIED_SINCE);
    for (validator, condition) in [(header::ETAG, IF_NONE_MATCH), (header::LAST_MODIFIED, IF_MODIFIED_SINCE)] {
        if let Some(value) = kept.get(validator) {
            asked.insert(condition, value.clone());
            return true;
        }
    }
    false
}

/// The stored headers, updated by a node's 304 (RFC 9111, section 3.2).
#[must_use]
pub fn freshened(kept: &HeaderMap, said: &HeaderMap) -> HeaderMap {
    let mut headers = kept.clone();
    headers.remove(AGE);
    for name in
        said.keys().filter(|name| !matches!(name.as_str(), "content-length" | "content-encoding" | "content-range"))
    {
        headers.remove(name);
        for value in said.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    headers
}

/// An age as a header.
#[must_use]
pub fn age(age: Duration) -> HeaderValue {
    HeaderValue::from(age.as_secs())
}

/// The words of a list field. Commas within quotes count as separators; the pieces of such a word match no word that
/// matters here.
fn list<'a>(headers: &'a HeaderMap, name: &'a HeaderName) -> impl Iterator<Item = String> + 'a {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(|word| word.trim().to_owned()).filter(|word| !word.is_empty())
}

struct Directives(Vec<String>);

impl Directives {
    fn of(headers: &HeaderMap) -> Directives {
        Directives(list(headers, &CACHE_CONTROL).map(|word| word.to_ascii_lowercase()).collect())
    }

    fn value(&self, name: &str) -> Option<Option<&str>> {
        self.0.iter().find_map(|word| match word.split_once('=') {
            Some((before, value)) => (before.trim_end() == name).then_some(Some(value.trim())),
            None => (word == name).then_some(None),
        })
    }

    fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// A number of seconds; a value that is not a number counts as 0 (RFC 9111, section 4.2.1: stale).
    fn seconds(&self, name: &str) -> Option<Duration> {
        let value = self.value(name)?.unwrap_or_default();
        let value = value.trim_matches('"');
        Some(Duration::from_secs(value.parse::<u32>().map_or(0, u64::from)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::headers;
    use super::*;

    fn kept(lines: &[(&str, &str)]) -> Option<Term> {
        term(StatusCode::OK, &headers(lines), Duration::from_secs(300))
    }

    #[test]
    fn only_what_is_expressly_public_is_kept() {
        let seconds = Duration::from_secs;
        let good = kept(&[("cache-control", "public, max-age=60"), ("age", "10")]).unwrap();
        assert_eq!(good, Term { age: seconds(10), fresh: seconds(60), stale_if_error: seconds(300) });
        let shared = kept(&[("cache-control", "Public, max-age=0"), ("cache-control", "S-MaxAge=\"5\"")]).unwrap();
        assert_eq!((shared.fresh, shared.stale_if_error), (seconds(5), seconds(0)));
        let own = kept(&[("cache-control", "public, max-age=1, must-revalidate, stale-if-error=7")]).unwrap();
        assert_eq!(own.stale_if_error, seconds(7));
        for refused in [
            vec![("cache-control", "max-age=60")],
            vec![("cache-control", "public")],
            vec![("cache-control", "public, max-age=soon")],
            vec![("cache-control", "public, max-age=60, private")],
            vec![("cache-control", "public, max-age=60, no-cache")],
            vec![("cache-control", "public, max-age=60"), ("cache-control", "no-store")],
            vec![("cache-control", "public, max-age=60"), ("set-cookie", "a=b")],
            vec![("cache-control", "public, max-age=60"), ("vary", "accept, *")],
            vec![("cache-control", "public, max-age=60"), ("age", "60")],
            vec![("expires", "Thu, 01 Jan 2099 00:00:00 GMT")],
        ] {
            assert_eq!(kept(&refused), None, "{refused:?}");
        }
        let public = headers(&[("cache-control", "public, max-age=60")]);
        assert!(term(StatusCode::CREATED, &public, Duration::ZERO).is_none());
        assert!(term(StatusCode::PARTIAL_CONTENT, &public, Duration::ZERO).is_none());
    }

    #[test]
    fn a_request_with_credentials_is_not_answered_from_the_cache() {
        for name in ["authorization", "cookie", "meridian-secret", "meridian-session", "range", "if-match"] {
            assert!(wishes(&Method::GET, &headers(&[(name, "x")])).is_none(), "{name}");
        }
        assert!(wishes(&Method::POST, &headers(&[])).is_none());
        assert!(wishes(&Method::GET, &headers(&[("cache-control", "no-store")])).is_none());
        assert!(wishes(&Method::HEAD, &headers(&[("pragma", "no-cache")])).unwrap().no_cache);
        let asked = wishes(&Method::GET, &headers(&[("cache-control", "max-age=3, only-if-cached")])).unwrap();
        assert_eq!((asked.no_cache, asked.max_age, asked.only_if_cached), (false, Some(Duration::from_secs(3)), true));
    }

    #[test]
    fn variants_are_told_apart() {
        let names = varies(&headers(&[("vary", "Accept-Language, accept"), ("vary", "accept")])).unwrap();
        assert_eq!(names, [header::ACCEPT, header::ACCEPT_LANGUAGE]);
        let of = |lines: &[(&str, &str)]| variant(&names, &headers(lines));
        assert_eq!(of(&[("accept", "a"), ("x", "1")]), of(&[("accept", "a"), ("x", "2")]));
        assert_ne!(of(&[("accept", "a")]), of(&[("accept-language", "a")]));
        assert_ne!(of(&[("accept", "a"), ("accept", "b")]), of(&[("accept", "ab")]));
        assert_ne!(of(&[("accept", "")]), of(&[]));
    }

    #[test]
    fn validators() {
        let stored = headers(&[("etag", "W/\"1\""), ("last-modified", "x"), ("age", "5"), ("content-length", "3")]);
        assert!(has_it(&headers(&[("if-none-match", "\"0\", \"1\"")]), &stored));
        assert!(has_it(&headers(&[("if-none-match", "*")]), &stored));
        assert!(!has_it(&headers(&[("if-none-match", "\"0\""), ("if-modified-since", "x")]), &stored));
        assert!(has_it(&headers(&[("if-modified-since", "x")]), &stored));
        assert!(!has_it(&headers(&[]), &stored));
        let mut asked = headers(&[("if-none-match", "\"0\"")]);
        assert!(revalidate(&mut asked, &stored));
        assert_eq!(asked[IF_NONE_MATCH], "W/\"1\"");
        assert!(!revalidate(&mut asked, &headers(&[])));
        assert!(asked.is_empty());
        let fresh = freshened(&stored, &headers(&[("cache-control", "public"), ("content-length", "0")]));
        assert_eq!((&fresh["content-length"], fresh.contains_key(AGE)), (&HeaderValue::from(3), false));
    }
}
