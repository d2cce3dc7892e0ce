//! Recognises a node's 404 that says that it does not know the venue.
//!
//! # Invariants
//! - Only the short body of a problem is read ahead; every other answer is relayed as it comes.

use api::headers::PROBLEM;
use api::problem::{Kind, MEDIA_TYPE, ProblemDetails};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{Response, StatusCode};

/// A bound above the length of a node's problems.
const LONGEST: u64 = 4_096;

/// Whether the answer is a problem whose type is worth reading.
pub(super) fn may_be<B: Body>(response: &Response<B>) -> bool {
    let is_problem = |value: &hyper::header::HeaderValue| value.as_bytes().starts_with(MEDIA_TYPE.as_bytes());
    response.status() == StatusCode::NOT_FOUND
        && response.headers().get(CONTENT_TYPE).is_some_and(is_problem)
        && response.body().size_hint().exact().is_some_and(|length| (1..=LONGEST).contains(&length))
}

/// Whether a page for people says in its head that the node does not know the venue.
pub(super) fn is_told<B>(response: &Response<B>) -> bool {
    let told = response.headers().get(PROBLEM).is_some_and(|kind| kind.as_bytes() == Kind::NoVenue.slug().as_bytes());
    response.status() == StatusCode::NOT_FOUND && told
}

/// The whole body, whose length [`may_be`] has bounded.
pub(super) async fn read(response: &mut Response<Incoming>) -> Result<Bytes, hyper::Error> {
    Ok(response.body_mut().collect().await?.to_bytes())
}

/// Whether a problem says that the node does not know the venue.
pub(super) fn is_unknown_venue(body: &[u8]) -> bool {
    serde_json::from_slice::<ProblemDetails>(body).is_ok_and(|problem| Kind::of(&problem.r#type) == Some(Kind::NoVenue))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::Response;

    use super::{is_told, is_unknown_venue, may_be};

    #[test]
    fn only_short_problems_with_status_404_are_read() {
        let answer = |status: u16, media_type: &str, body: String| {
            let response = Response::builder().status(status).header("content-type", media_type);
            may_be(&response.body(Full::new(Bytes::from(body))).unwrap())
        };
        assert!(answer(404, "application/problem+json", "{}".into()));
        assert!(!answer(410, "application/problem+json", "{}".into()));
        assert!(!answer(404, "text/html", "{}".into()));
        assert!(!answer(404, "application/problem+json", String::new()));
        assert!(!answer(404, "application/problem+json", "x".repeat(4_097)));
    }

    #[test]
    fn a_page_says_it_in_its_head() {
        let page = |status: u16, kind: &str| {
            is_told(&Response::builder().status(status).header("meridian-problem", kind).body(()).unwrap())
        };
        assert!(page(404, "no-such-venue"));
        assert!(!page(404, "no-such-visit") && !page(410, "no-such-venue"));
    }

    #[test]
    fn the_type_decides() {
        assert!(is_unknown_venue(br#"{"title":"x","type":"urn:meridian:problem:no-such-venue","status":404}"#));
        for other in [
            r#"{"type":"urn:meridian:problem:no-such-visit","detail":"urn:meridian:problem:no-such-venue"}"#,
            r#"{"status":404}"#,
            "no-such-venue",
            "",
        ] {
            assert!(!is_unknown_venue(other.as_bytes()), "{other}");
        }
    }
}
