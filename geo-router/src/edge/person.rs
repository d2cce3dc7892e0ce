//! The edge's own answers for a person: a browser that opens a page or sends its form gets words, and not JSON.
//!
//! Each page has both languages, so that it needs nothing but itself while everything else is down.

use std::sync::LazyLock;

use api::pages::is_page;
use bytes::Bytes;
use data_encoding::BASE64;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use sha2::{Digest, Sha256};

const UNAVAILABLE: &str = include_str!("../../pages/unavailable.html");
const REFUSED: &str = include_str!("../../pages/refused.html");

/// Nothing but the style of these pages, which both have (CSP 3, section 2.3.1).
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = UNAVAILABLE.split_once("<style>").and_then(|(_, rest)| rest.split_once("</style>"));
    let hash = BASE64.encode(&Sha256::digest(style.map_or("", |(style, _)| style)));
    let policy = format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; frame-ancestors 'none'");
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// Whether a person reads the answer to this request.
pub(super) fn reads(parts: &Parts) -> bool {
    let accepts = |value: &HeaderValue| value.to_str().is_ok_and(|types| types.contains("text/html"));
    is_page(parts.uri.path()) && parts.headers.get_all(ACCEPT).iter().any(accepts)
}

/// The same answer in words: its status and all headers that are not about the JSON stay.
pub(super) fn page(problem: Response<Bytes>) -> Response<Bytes> {
    let (mut parts, _) = problem.into_parts();
    let again = parts.status.is_server_error() || parts.status == StatusCode::TOO_MANY_REQUESTS;
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    parts.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    parts.headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    parts.headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    Response::from_parts(parts, Bytes::from_static(if again { UNAVAILABLE } else { REFUSED }.as_bytes()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::{Request, Response};

    use super::{POLICY, REFUSED, UNAVAILABLE, page, reads};

    #[test]
    fn a_browser_at_a_page_gets_words_and_a_script_gets_json() {
        let parts = |path: &str, accept: &str| {
            Request::builder().uri(path).header("accept", accept).body(()).expect("a request").into_parts().0
        };
        let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
        assert!(
            reads(&parts("/c/x", browser)) && reads(&parts("/", browser)) && reads(&parts("/console/guests", browser))
        );
        assert!(!reads(&parts("/v1/venues", browser)) && !reads(&parts("/assets/a.css", browser)));
        // The outbox of a page sends forms with `*/*` and keeps what was not answered by a page.
        assert!(!reads(&parts("/c/x", "*/*")) && !reads(&parts("/c/x", "application/json")));
    }

    #[test]
    fn both_pages_have_the_style_that_the_policy_allows() {
        let style = |page: &'static str| {
            page.split_once("<style>").map(|(_, rest)| rest.split_once("</style>").map(|(style, _)| style))
        };
        assert!(style(UNAVAILABLE).is_some() && style(UNAVAILABLE) == style(REFUSED));
        assert!(POLICY.to_str().is_ok_and(|policy| policy.contains("style-src 'sha256-")));
    }

    #[test]
    fn the_status_and_its_headers_stay() {
        let answer = |status: u16| {
            let problem =
                Response::builder().status(status).header("retry-after", "7").body(Bytes::new()).expect("a problem");
            page(problem)
        };
        let down = answer(503);
        assert_eq!((down.status().as_u16(), &down.headers()["retry-after"]), (503, &"7".parse().expect("a value")));
        assert_eq!(down.body().as_ref(), UNAVAILABLE.as_bytes());
        assert_eq!(answer(429).body().as_ref(), UNAVAILABLE.as_bytes());
        assert_eq!(answer(413).body().as_ref(), REFUSED.as_bytes());
    }
}
