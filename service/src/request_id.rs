//! The id that names one request in the logs of every process on its way.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// The field that carries it.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request: that of the sender if it is trusted, otherwise a new one. Other senders could put anything into the
/// logs, names of guests included.
#[must_use]
pub fn of(headers: &HeaderMap, is_trusted: bool) -> HeaderValue {
    let is_good = |id: &&HeaderValue| {
        (1..=64).contains(&id.len())
            && id.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    match headers.get(REQUEST_ID).filter(is_good) {
        Some(id) if is_trusted => id.clone(),
        _ => {
            let id = format!("{:032x}", rand::random::<u128>());
            HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("none"))
        }
    }
}
