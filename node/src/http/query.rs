//! Reads the query of a request, strictly, because a misspelt filter would give a wrong list.
//!
//! # Invariants
//! - A parameter that the route does not have, and one given twice, is refused.
//! - In a time an unencoded `+` is read as `+`, because `2026-01-01T00:00:00+01:00` has no other meaning.

use std::borrow::Cow;
use std::time::Duration;

use api::{Moment, wait};
use replication::Wall;

use super::problem::{Kind, Problem};

/// Names and values, decoded.
#[derive(Debug, Default)]
pub(super) struct Query<'a>(Vec<(&'static str, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Reads `a=b&c=d` whose names are among `allowed`.
    pub(super) fn parse(raw: Option<&'a str>, allowed: &[&'static str]) -> Result<Query<'a>, Problem> {
        let mut query = Query::default();
        for pair in raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(name) = decode(name).and_then(|name| allowed.iter().find(|known| **known == name)) else {
                let known = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
                return Err(Problem::new(Kind::MalformedQuery, format!("the parameters here are: {known}")));
            };
            if query.get(name).is_some() {
                return Err(Problem::parameter(name, "is given twice"));
            }
            let value = decode(value).ok_or_else(|| Problem::parameter(name, "is not UTF-8 in percent-encoding"))?;
            query.0.push((name, value));
        }
        Ok(query)
    }

    /// A parameter's text.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_ref())
    }

    pub(super) fn time(&self, name: &'static str) -> Result<Option<Wall>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let moment = Moment::read(&text.replace(' ', "+"));
        moment.map(Some).ok_or_else(|| {
            Problem::parameter(name, "an RFC 3339 time with an offset, such as 2026-01-01T18:30:00Z, is expected")
        })
    }

    /// A whole number of 1 to `most`.
    pub(super) fn count(&self, name: &'static str, most: usize) -> Result<Option<usize>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match digits(text).and_then(|number| usize::try_from(number).ok()) {
            Some(number) if (1..=most).contains(&number) => Ok(Some(number)),
            _ => Err(Problem::parameter(name, format!("a whole number from 1 to {most} is expected"))),
        }
    }

    /// How long the client wants the server to wait.
    pub(super) fn wait(&self) -> Result<Option<Duration>, Problem> {
        let Some(text) = self.get(wait::WAIT) else { return Ok(None) };
        match wait::parse(text) {
            Some(length) if length <= wait::LONGEST => Ok(Some(length)),
            _ => Err(Problem::parameter(wait::WAIT, "seconds up to 30, such as 5, 5s or 500ms, are expected")),
        }
    }
}

fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) { None } else { text.parse().ok() }
}

/// `application/x-www-form-urlencoded` (WHATWG URL, section 5.1), but a broken escape is refused.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|b| b == b'%' || b == b'+') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{any, proptest};
    use replication::Wall;

    use super::Query;

    const NAMES: &[&str] = &["from", "area", "limit", "wait"];

    fn query(raw: &str) -> Option<Query<'_>> {
        Query::parse(Some(raw), NAMES).ok()
    }

    #[test]
    fn values_are_decoded() {
        let read = query("area=Table+7&from=2026-01-01T01:00:00+01:00&&limit=10").expect("reads");
        assert_eq!(read.get("area"), Some("Table 7"));
        assert_eq!(read.time("from").expect("a time"), Some(Wall(1_767_225_600_000)));
        assert_eq!(read.count("limit", 10).expect("a number"), Some(10));
        assert_eq!(query("area=%C3%84%2b").expect("reads").get("area"), Some("Ä+"));
        assert_eq!(query("area").expect("reads").get("area"), Some(""));
        assert!(Query::parse(None, &[]).is_ok());
    }

    #[test]
    fn an_invalid_query_is_refused() {
        for bad in ["form=1", "area=%", "area=%4", "area=%zz", "area=%+1", "area=%ff", "area=1&area=2", "%66rom2=1"] {
            assert!(query(bad).is_none(), "{bad}");
        }
        for bad in ["limit=0", "limit=11", "limit=+1", "limit=", "limit=1e1", "limit=99999999999999999999999"] {
            assert!(query(bad).expect("reads").count("limit", 10).is_err(), "{bad}");
        }
        assert!(query("from=yesterday").expect("reads").time("from").is_err());
    }

    #[test]
    fn waits_have_a_unit_and_a_bound() {
        let wait = |text: &str| query(text).expect("reads").wait().ok().flatten();
        assert_eq!(wait("wait=5"), Some(Duration::from_secs(5)));
        assert_eq!(wait("wait=30s"), Some(Duration::from_secs(30)));
        assert_eq!(wait("wait=0"), Some(Duration::ZERO));
        assert_eq!(wait("wait=250ms"), Some(Duration::from_millis(250)));
        for bad in ["wait=31", "wait=1m", "wait=-1", "wait=", "wait=ms", "wait=1.5"] {
            assert!(query(bad).expect("reads").wait().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(raw in any::<String>()) {
            if let Some(read) = query(&raw) {
                let _ = (read.time("from"), read.count("limit", 9), read.wait());
            }
        }
    }
}
