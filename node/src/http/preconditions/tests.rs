//! Preconditions on their own; on requests: `http/tests/conditional.rs`.

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue, IF_NONE_MATCH};
use proptest::prelude::{any, proptest};
use replication::{ChangeHash, Wall};

use super::{Current, Preconditions, etag, has_already, list};
use crate::http::problem::Kind;

fn headers(given: &[(&'static str, &'static str)]) -> HeaderMap {
    let given = given.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    given.collect()
}

/// Whether a write with these headers is performed on the state `"a"`, which changed at 1,000 s, or on none.
fn performed(given: &[(&'static str, &'static str)], exists: bool) -> bool {
    let current = Current { etag: "\"a\"", changed: Some(Wall(1_000_999)) };
    let read = Preconditions::read(&headers(given)).expect("reads");
    match read.check(exists.then_some(&current)) {
        Ok(()) => true,
        Err(problem) => {
            assert_eq!(problem.kind(), Kind::PreconditionFailed);
            false
        }
    }
}

#[test]
fn a_write_is_performed_as_rfc_9110_says() {
    const AT: &str = "Thu, 01 Jan 1970 00:16:40 GMT";
    const BEFORE: &str = "Thu, 01 Jan 1970 00:16:39 GMT";
    for (given, on_state, on_none) in [
        (vec![], true, true),
        (vec![("if-match", "*")], true, false),
        (vec![("if-match", "\"a\"")], true, false),
        (vec![("if-match", "\"b\" , \"a\"")], true, false),
        (vec![("if-match", "\"b\"")], false, false),
        (vec![("if-match", "W/\"a\"")], false, false),
        (vec![("if-none-match", "*")], false, true),
        (vec![("if-none-match", "\"a\"")], false, true),
        (vec![("if-none-match", "W/\"a\"")], false, true),
        (vec![("if-none-match", "\"b\",\"c\"")], true, true),
        (vec![("if-unmodified-since", AT)], true, true),
        (vec![("if-unmodified-since", "Thursday, 01-Jan-70 00:16:40 GMT")], true, true),
        (vec![("if-unmodified-since", BEFORE)], false, true),
        (vec![("if-unmodified-since", "yesterday")], true, true),
        // If-Match has precedence.
        (vec![("if-match", "\"a\""), ("if-unmodified-since", BEFORE)], true, false),
        (vec![("if-match", "\"a\""), ("if-none-match", "\"a\"")], false, false),
    ] {
        assert_eq!((performed(&given, true), performed(&given, false)), (on_state, on_none), "{given:?}");
    }
}

#[test]
fn a_precondition_that_cannot_be_read_is_refused() {
    for name in ["if-match", "if-none-match"] {
        for bad in ["", "a", "\"a", "*, \"a\"", "\"a\" \"b\"", "w/\"a\"", "\"a b\"", ","] {
            let read = Preconditions::read(&headers(&[(name, bad)]));
            assert_eq!(read.err().map(|problem| problem.kind()), Some(Kind::MalformedHeader), "{name}: {bad}");
        }
    }
}

#[test]
fn a_reader_has_the_state_whose_tag_it_names() {
    let has = |value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static(value));
        has_already(&headers, "\"a\"")
    };
    assert!(has("\"a\"") && has("\"b\", W/\"a\"") && has("*"));
    assert!(!has("\"b\"") && !has("a") && !has(""));
}

#[test]
fn an_etag_follows_the_heads_whatever_their_order_and_the_rest() {
    let (a, b) = (ChangeHash([1; 32]), ChangeHash([2; 32]));
    let first = etag(&[a, b], b"1");
    assert_eq!(first, etag(&[b, a], b"1"));
    assert_ne!(first, etag(&[a], b"1"));
    assert_ne!(first, etag(&[a, b], b"2"));
    assert!(first.len() == 18 && first.starts_with('"'), "{first}");
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = list(&text);
    }

    /// What is written as a list is read as that list.
    #[test]
    fn lists_are_read(tags in proptest::collection::vec(("[!#-~]{0,5}", any::<bool>()), 1..5), blank in "[ \t]{0,2}") {
        let tags: Vec<_> = tags.into_iter().map(|(tag, weak)| (format!("\"{tag}\""), weak)).collect();
        let written: Vec<_> =
            tags.iter().map(|(tag, weak)| format!("{}{tag}", if *weak { "W/" } else { "" })).collect();
        let text = written.join(&format!("{blank},{blank}"));
        assert_eq!(list(&text), Some(tags));
    }
}
