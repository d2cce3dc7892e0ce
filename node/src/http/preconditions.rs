//! Preconditions of requests (RFC 9110, section 13): `If-Match`, `If-None-Match`, `If-Unmodified-Since`.
//!
//! A write with a precondition is evaluated against the durable state that this node has, and the replica takes the write
//! only if that state is still there ([`Preconditions::seen`]). So no write of this node and no change that arrives from
//! another region comes between the evaluation and the write. Regions do not ask each other: two regions may each take a
//! write with the same `If-Match` at the same moment, and readers are then shown both values, as always.
//!
//! The crate `headers` was passed over: its parser of entity tags asserts in debug builds that a tag has no blank, so a
//! client could end a request with a panic, and it brings second copies of the digests.
//!
//! # Invariants
//! - A precondition that cannot be read is refused. Otherwise the client would believe that it was protected.
//! - The answer 412 shows only what is durable.

use hyper::HeaderMap;
use hyper::header::{HeaderName, IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use replication::{ChangeHash, DocumentKey, Row, Wall};
use sha2::{Digest, Sha256};

use super::problem::{Kind, Problem};
use crate::driver::SeenRows;

/// The entity tags of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    /// `*`: any current representation.
    Any,
    /// Each with its quotes, and whether it is weak.
    List(Vec<(String, bool)>),
}

/// What a request demands of the state that it is applied to.
#[derive(Clone, Debug, Default)]
pub(super) struct Preconditions {
    matches: Option<Tags>,
    matches_none: Option<Tags>,
    /// In seconds since 1970, because an HTTP date has no fractions.
    unmodified_since: Option<u64>,
}

/// The present state of a resource.
pub(super) struct Current<'a> {
    /// Its entity tag.
    pub(super) etag: &'a str,
    /// When it last changed, if that is known.
    pub(super) changed: Option<Wall>,
}

impl Preconditions {
    /// Reads the preconditions of a request.
    pub(super) fn read(headers: &HeaderMap) -> Result<Preconditions, Problem> {
        let date = headers.get(IF_UNMODIFIED_SINCE).and_then(|value| value.to_str().ok());
        // A date that is not valid is ignored (RFC 9110, section 13.1.4).
        let date = date.and_then(|text| httpdate::parse_http_date(text).ok());
        let since = date.and_then(|date| date.duration_since(std::time::UNIX_EPOCH).ok());
        Ok(Preconditions {
            matches: tags(headers, &IF_MATCH)?,
            matches_none: tags(headers, &IF_NONE_MATCH)?,
            unmodified_since: since.map(|since| since.as_secs()),
        })
    }

    /// Whether the request has none.
    pub(super) fn are_none(&self) -> bool {
        self.matches.is_none() && self.matches_none.is_none() && self.unmodified_since.is_none()
    }

    /// Whether the request has one that needs to know when the resource last changed.
    pub(super) fn ask_for_time(&self) -> bool {
        self.matches.is_none() && self.unmodified_since.is_some()
    }

    /// Refuses a write whose preconditions are not met, in the order of RFC 9110, section 13.2.2. `None` stands for a
    /// resource without a current representation.
    pub(super) fn check(&self, current: Option<&Current<'_>>) -> Result<(), Problem> {
        let failed = |detail| Err(Problem::new(Kind::PreconditionFailed, detail));
        if let Some(tags) = &self.matches {
            if !current.is_some_and(|current| tags.include(current.etag, true)) {
                return failed("If-Match does not name the present state: read it again");
            }
        } else if let (Some(since), Some(changed)) =
            (self.unmodified_since, current.and_then(|current| current.changed))
            && changed.0 / 1_000 > since
        {
            return failed("it was changed after If-Unmodified-Since: read it again");
        }
        if let (Some(tags), Some(current)) = (&self.matches_none, current)
            && tags.include(current.etag, false)
        {
            return failed("If-None-Match names the present state");
        }
        Ok(())
    }

    /// The rows that a write must still find as they were read. None for a write without preconditions, because such a
    /// write is merged with whatever it meets.
    pub(super) fn seen<'a>(&self, rows: impl IntoIterator<Item = (&'a DocumentKey, &'a Row)>) -> SeenRows {
        if self.are_none() {
            return SeenRows::new();
        }
        rows.into_iter().map(|(key, row)| (*key, row.hashes())).collect()
    }
}

impl Tags {
    /// Whether a tag is among them, by strong or by weak comparison (RFC 9110, section 8.8.3.2). Our own tags are strong.
    fn include(&self, etag: &str, strong: bool) -> bool {
        match self {
            Tags::Any => true,
            Tags::List(tags) => tags.iter().any(|(tag, weak)| tag == etag && !(strong && *weak)),
        }
    }
}

/// Whether the client has the present state of a resource already (`If-None-Match` of `GET`).
pub(super) fn has_already(headers: &HeaderMap, etag: &str) -> bool {
    // A reader with a header that is not valid gets the whole answer, as it does from caches.
    matches!(tags(headers, &IF_NONE_MATCH), Ok(Some(tags)) if tags.include(etag, false))
}

/// The entity tag of what these changes make. `rest` is what else the answer is made of.
pub(super) fn etag(heads: &[ChangeHash], rest: &[u8]) -> String {
    let mut heads: Vec<&[u8; 32]> = heads.iter().map(|hash| &hash.0).collect();
    heads.sort_unstable();
    let mut hasher = Sha256::new();
    heads.into_iter().for_each(|hash| hasher.update(hash));
    hasher.update(rest);
    format!("\"{}\"", data_encoding::BASE64URL_NOPAD.encode(&hasher.finalize()[..12]))
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    if lines.is_empty() {
        return Ok(None);
    }
    let bad = || Problem::new(Kind::MalformedHeader, format!("`{name}` is `*` or a list of quoted entity tags"));
    let lines = lines.into_iter().map(|line| line.to_str().ok()).collect::<Option<Vec<_>>>().ok_or_else(bad)?;
    let text = lines.join(",");
    if text.trim() == "*" {
        return Ok(Some(Tags::Any));
    }
    list(&text).map(|tags| Some(Tags::List(tags))).ok_or_else(bad)
}

/// A list of at least one entity tag, each with its quotes (RFC 9110, sections 5.6.1 and 8.8.3). A tag may have commas.
fn list(text: &str) -> Option<Vec<(String, bool)>> {
    let mut tags = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (weak, quoted) = rest.strip_prefix("W/").map_or((false, rest), |rest| (true, rest));
        let end = quoted.strip_prefix('"')?.find('"')? + 2;
        let (tag, after) = quoted.split_at(end);
        if !tag.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        tags.push((tag.to_owned(), weak));
        let after = after.trim_start_matches([' ', '\t']);
        rest = after.trim_start_matches([' ', '\t', ',']);
        if !after.is_empty() && !after.starts_with(',') {
            return None;
        }
    }
    if tags.is_empty() { None } else { Some(tags) }
}

#[cfg(test)]
mod tests;
