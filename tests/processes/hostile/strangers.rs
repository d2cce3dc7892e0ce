//! Ids, keys, secrets, cursors and tokens of other clients: no request reads or changes data that is not its own.

use data_encoding::BASE64URL_NOPAD;
use registry::{OwnerKey, Secret};
use replication::{ReplicaId, SessionToken, VersionVector};
use serde_json::json;

use super::Guarded;
use crate::common::{Call, Venue};

#[test]
fn other_tenants_data_is_not_there() {
    let guarded = Guarded::start(&["development"]);
    let (node, venue, guest) = (&guarded.deployment.nodes[0], &guarded.venue, &guarded.guest);
    let other = Venue::make(node.public, "14d");
    let visit = format!("/visits/{}", guest.id);
    let owners = [
        ("GET", "/guests".to_owned()),
        ("GET", format!("/contacts?visit={}", guest.id)),
        ("GET", "/changes".to_owned()),
        ("PATCH", String::new()),
        ("DELETE", String::new()),
    ];
    for (method, rest) in owners {
        let call = |key: &str| {
            let call = Call::new(method, format!("{}{rest}", venue.path)).header("Authorization", key);
            if method == "PATCH" { call.json(&json!({"name": "Mine now"})) } else { call }
        };
        // The key of another owner, a key without an owner, and no key.
        node.ask(&call(&format!("Bearer {}", other.key))).problem(404);
        node.ask(&call(&format!("Bearer {}", OwnerKey(rand::random())))).problem(404);
        let answer = node.ask(&call("Basic Zm9vOmJhcg"));
        assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
        answer.problem(401);
    }
    // An owner's key opens only the owner's venue: it does not give access to a guest of another venue.
    node.ask(&other.call("GET", &format!("/contacts?visit={}", guest.id))).problem(404);
    assert!(other.list(node.public).is_empty());

    let body = json!({"persons": [{"name": "Somebody", "phone": "030 1234"}]});
    for method in ["GET", "PUT", "PATCH", "DELETE"] {
        let call = |path: &str| {
            let call = Call::new(method, path);
            if method == "GET" || method == "DELETE" { call } else { call.json(&body) }
        };
        let own = format!("{}{visit}", venue.path);
        for wrong in [Secret(rand::random()).to_string(), "?".to_owned(), String::new()] {
            node.ask(&call(&own).header("Meridian-Secret", wrong)).problem(403);
        }
        node.ask(&call(&own)).problem(401);
    }
    // The right secret at another venue: the visit does not exist there, and an erasure there does not erase it here.
    let elsewhere = format!("{}{visit}", other.path);
    let with_secret = |method: &str| Call::new(method, &elsewhere).header("Meridian-Secret", &guest.secret);
    node.ask(&with_secret("GET")).problem(404);
    node.ask(&with_secret("PATCH").json(&body)).problem(404);
    node.ask(&with_secret("DELETE")).expect(204);
    guest.get().to(node.public).expect(200);

    for id in ["", "..", "x", "%00", "00000000000000000000000000", "01234567-89ab-4def-8123-456789abcdef"] {
        for path in [format!("/v1/venues/{id}"), format!("{}/visits/{id}", venue.path)] {
            let answer = node.ask(&Call::new("GET", path).header("Meridian-Secret", &guest.secret));
            assert!(matches!(answer.status, 400 | 403 | 404 | 405), "{id}: {answer:?}");
            answer.clone().problem(answer.status);
        }
    }
    guarded.unharmed();
}

#[test]
fn cursors_tokens_queries_and_methods_are_read_strictly() {
    let guarded = Guarded::start(&["development"]);
    let (node, venue) = (&guarded.deployment.nodes[0], &guarded.venue);
    // A cursor of another venue is not valid here.
    let other = Venue::make(node.public, "14d");
    (0..2).for_each(|_| drop(other.visit("Cursor", "030 1234").check_in(node.public)));
    let page = node.ask(&other.call("GET", "/guests?limit=1")).expect(200).json();
    let cursor = page["cursor"].as_str().unwrap();
    node.ask(&other.call("GET", &format!("/guests?cursor={cursor}"))).expect(200);
    for bad in [cursor, "", "AAAA", "%ff", "..%2f", &"A".repeat(4_000)] {
        let problem = node.ask(&venue.call("GET", &format!("/guests?cursor={bad}"))).problem(400);
        assert_eq!(problem["errors"][0]["parameter"], "cursor", "{problem}");
    }
    for query in
        ["limit=0", "limit=-1", "limit=99999", "from=yesterday", "to=1", "form=x", "limit=1&limit=2", "wait=9h"]
    {
        let problem = node.ask(&venue.call("GET", &format!("/guests?{query}"))).problem(400);
        assert_eq!(problem["type"], "urn:meridian:problem:malformed-query");
    }
    node.ask(&venue.call("GET", "/guests").header("Accept", "image/png")).problem(406);

    for token in ["?", "AAAA", "!!!!", "", &"A".repeat(20_000)] {
        for call in [venue.call("GET", "/guests"), Call::new("GET", &venue.path), guarded.guest.put()] {
            let problem = node.ask(&call.header("Meridian-Session", token)).problem(400);
            assert_eq!(problem["type"], "urn:meridian:problem:malformed-header");
        }
    }
    // A token that covers entries that no node could have written: no request waits for them.
    let future = VersionVector::from_iter([(ReplicaId(255), 1 << 40)]);
    let token = BASE64URL_NOPAD.encode(&SessionToken(future).encode());
    let call = venue.call("GET", "/guests?wait=100ms").header("Meridian-Session", token);
    assert_eq!(node.ask(&call).expect(200).header("meridian-stale"), None);

    for (method, path, allow) in [
        ("DELETE", "/v1/venues".to_owned(), "POST, OPTIONS"),
        ("PUT", venue.path.clone(), "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("GET", format!("{}/visits", venue.path), "POST, OPTIONS"),
        ("POST", format!("{}/guests", venue.path), "GET, HEAD, OPTIONS"),
        ("BREW", "/healthz".to_owned(), "GET, HEAD, OPTIONS"),
        ("TRACE", guarded.guest.path().to_owned(), "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
    ] {
        let answer = node.ask(&Call::new(method, path));
        assert_eq!(answer.header("allow"), Some(allow));
        answer.problem(405);
    }
    for path in ["/", "/v1", "/metrics", "/v1/admin/status", "//healthz", "/v1/venues/", "/%2e%2e/etc/passwd"] {
        node.ask(&Call::new("GET", path)).problem(404);
    }
    guarded.unharmed();
}
