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
    let parameters = || query.unwrap_or_default().split('&').filter_map(|one| one.split_once('='));
    let waits = headers.contains_key(SESSION) || parameters().any(|(name, _)| name == DURABILITY);
    match parameters().find(|(name, _)| *name == WAIT) {
        Some((_, text)) => wait::parse(text).unwrap_or(wait::USUAL).min(wait::LONGEST),
        None if waits => wait::USUAL,
        None => Duration::ZERO,
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
            (None, &session, 5_000),
            (Some("durability=all"), &nothing, 5_000),
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
