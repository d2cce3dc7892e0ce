//! Recognises the problems of nodes that decide on another attempt: the venue is not known there, too many requests wait.
//!
//! # Invariants
//! - Only the short body of a problem is read ahead; every other answer is relayed as it comes.

use api::headers::PROBLEM;
use api::problem::{Kind, MEDIA_TYPE, ProblemDetails};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::{Body, Incoming};
use hyper::header::CONTENT_TYPE;

/// The kinds that are told apart from other answers of their status.
const KINDS: [Kind; 3] = [Kind::NoVenue, Kind::Overloaded, Kind::Busy];

/// A bound above the length of a node's problems.
const LONGEST: u64 = 4_096;

/// Whether the answer is a problem whose type is worth reading.
pub(super) fn may_be<B: Body>(response: &Response<B>) -> bool {
    let is_problem = |value: &hyper::header::HeaderValue| value.as_bytes().starts_with(MEDIA_TYPE.as_bytes());
    KINDS.iter().any(|kind| kind.status() == response.status())
        && response.headers().get(CONTENT_TYPE).is_some_and(is_problem)
        && response.body().size_hint().exact().is_some_and(|length| (1..=LONGEST).contains(&length))
}

/// The kind that a page for people names in its head.
pub(super) fn in_head<B>(response: &Response<B>) -> Option<Kind> {
    let told = response.headers().get(PROBLEM)?;
    let is_it = |kind: &Kind| kind.status() == response.status() && kind.slug().as_bytes() == told.as_bytes();
    KINDS.into_iter().find(is_it)
}

/// The whole body, whose length [`may_be`] has bounded.
pub(super) async fn read(response: &mut Response<Incoming>) -> Result<Bytes, hyper::Error> {
    Ok(response.body_mut().collect().await?.to_bytes())
}

/// The kind that the body of a problem names.
pub(super) fn in_body(body: &[u8]) -> Option<Kind> {
    let problem = serde_json::from_slice::<ProblemDetails>(body).ok()?;
    Kind::of(&problem.r#type).filter(|kind| KINDS.contains(kind))
}

#[cfg(test)]
mod tests {
    use api::problem::Kind;
    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::Response;

    use super::{in_body, in_head, may_be};

    #[test]
    fn only_short_problems_with_these_statuses_are_read() {
        let answer = |status: u16, media_type: &str, body: String| {
            let response = Response::builder().status(status).header("content-type", media_type);
            may_be(&response.body(Full::new(Bytes::from(body))).unwrap())
        };
        assert!(answer(404, "application/problem+json", "{}".into()));
        assert!(answer(503, "application/problem+json", "{}".into()));
        assert!(!answer(410, "application/problem+json", "{}".into()));
        assert!(!answer(404, "text/html", "{}".into()));
        assert!(!answer(404, "application/problem+json", String::new()));
        assert!(!answer(503, "application/problem+json", "x".repeat(4_097)));
    }

    #[test]
    fn a_page_says_it_in_its_head() {
        let page = |status: u16, kind: &str| {
            in_head(&Response::builder().status(status).header("meridian-problem", kind).body(()).unwrap())
        };
        assert_eq!(page(404, "no-such-venue"), Some(Kind::NoVenue));
        assert_eq!(page(503, "overloaded"), Some(Kind::Overloaded));
        assert_eq!(page(503, "busy"), Some(Kind::Busy));
        for (status, kind) in [(404, "no-such-visit"), (410, "no-such-venue"), (404, "overloaded"), (503, "stopping")] {
            assert_eq!(page(status, kind), None, "{status} {kind}");
        }
    }

    #[test]
    fn the_type_decides() {
        let typed = |kind: &str| format!(r#"{{"title":"x","type":"urn:meridian:problem:{kind}","status":404}}"#);
        assert_eq!(in_body(typed("no-such-venue").as_bytes()), Some(Kind::NoVenue));
        assert_eq!(in_body(typed("overloaded").as_bytes()), Some(Kind::Overloaded));
        for other in [
            r#"{"type":"urn:meridian:problem:no-such-visit","detail":"urn:meridian:problem:no-such-venue"}"#,
            r#"{"type":"urn:meridian:problem:stopping","status":503}"#,
            r#"{"status":404}"#,
            "no-such-venue",
            "",
        ] {
            assert_eq!(in_body(other.as_bytes()), None, "{other}");
        }
    }
}
