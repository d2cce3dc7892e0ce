//! How much longer than usual a node may take, because the request asked it to wait.
//!
//! A request may ask its node to wait for other regions (`?wait=`, `?durability=`), or bring a session that the node
//! waits to cover. A node that waits as it was asked is not silent. Without this rule such requests would be repeated
//! elsewhere and would open breakers.

use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName};

/// The longest time that nodes wait.
const MOST: Duration = Duration::from_secs(30);

/// How long nodes wait if the request does not say.
const USUAL: Duration = Duration::from_secs(5);

const SESSION: HeaderName = HeaderName::from_static("meridian-session");

/// How long a request asks its node to wait.
#[must_use]
pub fn asked_for(query: Option<&str>, headers: &HeaderMap) -> Duration {
    let parameters = || query.unwrap_or_default().split('&').filter_map(|one| one.split_once('='));
    let waits = headers.contains_key(SESSION) || parameters().any(|(name, _)| name == "durability");
    match parameters().find(|(name, _)| *name == "wait") {
        Some((_, wait)) => duration(wait).unwrap_or(USUAL).min(MOST),
        None if waits => USUAL,
        None => Duration::ZERO,
    }
}

/// Whole seconds (`5`, `5s`) or milliseconds (`500ms`).
fn duration(text: &str) -> Option<Duration> {
    match text.strip_suffix("ms") {
        Some(millis) => millis.parse().ok().map(Duration::from_millis),
        None => text.strip_suffix('s').unwrap_or(text).parse().ok().map(Duration::from_secs),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::header::{HeaderMap, HeaderValue};

    use super::{SESSION, asked_for};

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
            assert_eq!(asked_for(query, headers), Duration::from_millis(millis), "{query:?}");
        }
    }
}
