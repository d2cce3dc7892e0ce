//! The edge's reading of requests, on whatever bytes come: nothing panics, and what was cleaned is clean.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use geo_router::edge::fuzzing::{self, Framing, Trusted, prefix, rules, venue};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use libfuzzer_sys::fuzz_target;

/// The lines of a head, as far as they are any.
fn headers(bytes: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|b| *b == b'\n').take(100) {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(line[colon + 1..].trim_ascii()))
        {
            headers.append(name, value);
        }
    }
    headers
}

fuzz_target!(|bytes: &[u8]| {
    let original = headers(bytes);

    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let nobody = Trusted::default();
    assert_eq!(nobody.client(peer, &original), peer);
    let all = Trusted::new(vec!["0.0.0.0/0".parse().expect("a network"), "::/0".parse().expect("a network")]);
    let _ = prefix(all.client(peer, &original));

    let (via, id) = (HeaderValue::from_static("1.1 edge"), fuzzing::request_id(&original, true));
    assert!((1..=64).contains(&id.len()));
    let _ = fuzzing::wants_websocket(&original);
    let mut sent = original.clone();
    fuzzing::strip(&mut sent);
    fuzzing::request(&mut sent, "http", &via, &id);
    for gone in ["connection", "transfer-encoding", "upgrade", "keep-alive", "expect", "x-forwarded-for", "x-real-ip"] {
        assert!(!sent.contains_key(gone), "{gone}");
    }
    assert!(fuzzing::came_through(&sent, "edge"));

    if let Ok(path) = std::str::from_utf8(bytes)
        && let Some(venue) = venue(path)
    {
        assert!(!venue.is_empty() && !venue.contains('/'));
    }

    let _ = rules::wishes(&Method::GET, &original);
    if let Some(term) = rules::term(StatusCode::OK, &original, std::time::Duration::ZERO) {
        assert!(term.age < term.fresh);
    }
    if let Some(names) = rules::varies(&original) {
        assert_eq!(rules::variant(&names, &original), rules::variant(&names, &original.clone()));
    }
    let _ = rules::has_it(&original, &original);
    let _ = rules::freshened(&original, &sent);

    // However the stream is cut, the same bytes are spoilt, and never more than one.
    let (mut whole, mut pieces) = (bytes.to_vec(), bytes.to_vec());
    Framing::http1().watch(&mut whole);
    let mut framing = Framing::http1();
    pieces.chunks_mut(7).for_each(|piece| framing.watch(piece));
    assert_eq!(whole, pieces);
    assert!(whole.iter().zip(bytes).filter(|(one, other)| one != other).count() <= 1);
});
