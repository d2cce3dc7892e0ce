//! How much longer than usual a node may take, because the request asked it to wait.
//!
//! A request may ask its node to wait for other regions (`?wait=`, `?durability=`), or bring a session that the node
//! waits to cover. A node that waits as it was asked is not silent. Without this rule such requests would be repeated
//! elsewhere and would open breakers.

use std::time::Duration;

use api::headers::SESSION;
use api::wait::{self, DURABILITY, WAIT};
use hyper::header::HeaderMap;

/// How long a request asks its node to wait.
pub(super) fn expected_wait(query: Option<&str>, headers: &HeaderMap) -> Duration {
    let parameter = |wanted| {
        let mut pairs = query.unwrap_or_default().split('&').filter_map(|one| one.split_once('='));
        pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value)
    };
    // A request that does not name a time may wait for both, one after the other.
    let for_session = if headers.contains_key(SESSION) { wait::USUAL_FOR_SESSION } else { Duration::ZERO };
    let for_others = parameter(DURABILITY).map_or(Duration::ZERO, |_| wait::USUAL_FOR_DURABILITY);
    match parameter(WAIT) {
        Some(text) => wait::parse(text).unwrap_or(wait::USUAL_FOR_DURABILITY).min(wait::LONGEST),
        None => for_session + for_others,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::header::{HeaderMap, HeaderValue};

    use super::{SESSION, expected_wait};

    #[test]
    fn a_node_may_wait_as_long_as_it_was_asked_to() {
        let session = HeaderMap::from_iter([(SESSION, HeaderValue::from_static("token"))]);
        let nothing = HeaderMap::new();
        for (query, headers, millis) in [
            (None, &nothing, 0),
            (Some("area=x"), &nothing, 0),
            (None, &session, 1_000),
            (Some("durability=all"), &nothing, 5_000),
            (Some("durability=all"), &session, 6_000),
            (Some("durability=2&wait=9"), &nothing, 9_000),
            (Some("wait=20s"), &session, 20_000),
            (Some("wait=500ms"), &session, 500),
            (Some("wait=99999"), &nothing, 30_000),
            (Some("wait=soon"), &nothing, 5_000),
        ] {
            assert_eq!(expected_wait(query, headers), Duration::from_millis(millis), "{query:?}");
        }
    }
}
