//! Reading the body of a request: bounded in bytes and in time, JSON by its media type.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::HeaderMap;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};

use super::problem::{Kind, Problem};

/// The largest body.
pub(super) const LARGEST: usize = 16 * 1024;

/// How long a body may take to arrive.
const DEADLINE: Duration = Duration::from_secs(10);

/// Reads the whole body.
pub(super) async fn read(headers: &HeaderMap, body: Incoming) -> Result<Bytes, Problem> {
    if body.is_end_stream() && !headers.contains_key(CONTENT_LENGTH) {
        return Err(Problem::new(Kind::LengthRequired, "the request has neither a length nor a body"));
    }
    // A page of any site can make a browser send a body without a type, or with one of a form, but not one of JSON.
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !media_type.is_some_and(is_json) {
        let detail = "send Content-Type: application/json or application/merge-patch+json, in UTF-8";
        return Err(Problem::new(Kind::MediaType, detail));
    }
    let too_large = || Problem::new(Kind::TooLarge, "a body has at most 16 KiB");
    if body.size_hint().lower() > LARGEST as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(DEADLINE, Limited::new(body, LARGEST).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(Kind::MalformedBody, "the body ended early")),
        Err(_) => Err(Problem::new(Kind::BodyTimeout, "the whole body is expected within 10 seconds")),
    }
}

/// Whether a media type names JSON that can be read as UTF-8.
fn is_json(text: &str) -> bool {
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let json = ["application/json", "application/merge-patch+json"].iter().any(|t| essence.eq_ignore_ascii_case(t));
    let charset = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.eq_ignore_ascii_case("charset"));
    json && charset.is_none_or(|(_, value)| value.trim_matches('"').eq_ignore_ascii_case("utf-8"))
}

#[cfg(test)]
mod tests {
    use super::is_json;

    #[test]
    fn json_is_json_in_any_case_and_with_its_charset() {
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/merge-patch+json;charset=\"utf-8\"",
            "application/json; profile=x",
        ] {
            assert!(is_json(good), "{good}");
        }
        for bad in ["", "text/plain", "application/jsonp", "application/json; charset=latin1", "multipart/form-data"] {
            assert!(!is_json(bad), "{bad}");
        }
    }
}
