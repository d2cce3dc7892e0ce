//! Caches public answers, each until it expires; the least recently used one is evicted first.
//!
//! # Invariants
//! - An answer is stored only after its whole body ended cleanly.
//! - Stored answers of a path become unreachable as soon as a write to that path succeeds through this router.
//! - Memory is bounded by bytes, not by the number of answers.
//!
//! # Not here
//! Which answers may be cached: [`rules`]. Asking nodes: [`super::serve`].

pub mod rules;

mod filling;
mod flights;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache as Moka;

use self::rules::{Term, Wishes};
use super::config::CacheRules;
use super::metrics::EdgeMetrics;

pub(super) use filling::Filling;
pub(super) use flights::{Flight, Flights, Turn};

/// How long the `Vary` header names of a path are remembered.
const MARK_LIFE: Duration = Duration::from_secs(3_600);

/// Number of paths whose `Vary` header names are remembered.
const MOST_MARKS: u64 = 100_000;

/// Bytes that an entry takes besides its body and headers, roughly.
const OVERHEAD: usize = 512;

/// One answer.
#[derive(Debug)]
pub(super) struct Stored {
    status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Bytes,
    term: Term,
    at: Instant,
    /// The region it came from.
    pub(super) region: HeaderValue,
}

impl Stored {
    fn age(&self, now: Instant) -> Duration {
        self.term.age + now.saturating_duration_since(self.at)
    }

    /// Whether the answer may be served while nodes fail.
    pub(super) fn serves_on_error(&self, now: Instant) -> bool {
        self.age(now) < self.term.fresh + self.term.stale_if_error
    }

    /// The answer to a request.
    pub(super) fn answer(&self, asked: &CacheLookup, now: Instant) -> Response<Bytes> {
        let unchanged = self.status == StatusCode::OK && rules::has_it(&asked.headers, &self.headers);
        let head = asked.method == Method::HEAD;
        let body = if unchanged || head { Bytes::new() } else { self.body.clone() };
        let mut response = Response::new(body);
        *response.headers_mut() = self.headers.clone();
        response.headers_mut().insert(hyper::header::AGE, rules::age(self.age(now)));
        *response.status_mut() = if unchanged { StatusCode::NOT_MODIFIED } else { self.status };
        if unchanged {
            response.headers_mut().remove(hyper::header::CONTENT_LENGTH);
        } else if head {
            response.headers_mut().insert(hyper::header::CONTENT_LENGTH, self.body.len().into());
        }
        response
    }

    fn weight(&self) -> u32 {
        let headers: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        u32::try_from(OVERHEAD + headers + self.body.len()).unwrap_or(u32::MAX)
    }
}

/// The `Vary` header names of one path, with a number that changes when the path is written, so that older answers
/// become unreachable.
#[derive(Debug)]
struct Mark {
    varies: Vec<HeaderName>,
    /// A random number that distinguishes this mark from the mark of the same path before a write.
    number: u64,
}

/// The key of one answer.
type Key = (u64, Vec<u8>);

struct UntilItsTimeIsOver;

impl Expiry<Key, Arc<Stored>> for UntilItsTimeIsOver {
    fn expire_after_create(&self, _: &Key, stored: &Arc<Stored>, _: Instant) -> Option<Duration> {
        Some((stored.term.fresh + stored.term.stale_if_error).saturating_sub(stored.term.age))
    }

    fn expire_after_update(
        &self,
        key: &Key,
        stored: &Arc<Stored>,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, stored, now)
    }
}

pub(super) struct Cache {
    rules: CacheRules,
    marks: Moka<Arc<str>, Arc<Mark>>,
    answers: Moka<Key, Arc<Stored>>,
    pub(super) flights: Flights,
    metrics: Arc<EdgeMetrics>,
}

/// A request that may be answered from the cache.
pub(super) struct CacheLookup {
    pub(super) path: Arc<str>,
    pub(super) wishes: Wishes,
    pub(super) method: Method,
    headers: HeaderMap,
}

/// The result of a look-up.
pub(super) enum LookupResult {
    /// An answer that can be served without a node.
    Fresh(Arc<Stored>),
    /// An answer that a node may confirm.
    Stale(Arc<Stored>),
    /// No answer, although answers of this path were cached before.
    Missing,
    /// No answer; answers of this path may never be cached.
    Unknown,
}

impl Cache {
    pub(super) fn new(rules: CacheRules, metrics: Arc<EdgeMetrics>) -> Arc<Cache> {
        Arc::new(Cache {
            marks: Moka::builder()
                .max_capacity(MOST_MARKS)
                .eviction_policy(EvictionPolicy::lru())
                .time_to_idle(MARK_LIFE)
                .build(),
            answers: Moka::builder()
                .max_capacity(rules.bytes)
                .weigher(|_, stored: &Arc<Stored>| stored.weight())
                .eviction_policy(EvictionPolicy::lru())
                .expire_after(UntilItsTimeIsOver)
                .build(),
            flights: Flights::default(),
            rules,
            metrics,
        })
    }

    /// The request, if it may be answered from the cache.
    pub(super) fn asked(&self, parts: &Parts, secure: bool) -> Option<CacheLookup> {
        let wishes = rules::wishes(&parts.method, &parts.headers)?;
        Some(CacheLookup {
            path: path(parts, secure),
            wishes,
            method: parts.method.clone(),
            headers: parts.headers.clone(),
        })
    }

    /// Looks the request up.
    pub(super) fn find(&self, asked: &CacheLookup, now: Instant) -> LookupResult {
        let Some(mark) = self.marks.get(&asked.path) else { return LookupResult::Unknown };
        let key = (mark.number, rules::variant(&mark.varies, &asked.headers));
        let Some(stored) = self.answers.get(&key) else { return LookupResult::Missing };
        let age = stored.age(now);
        let fresh =
            age < stored.term.fresh && !asked.wishes.no_cache && asked.wishes.max_age.is_none_or(|most| age <= most);
        if fresh { LookupResult::Fresh(stored) } else { LookupResult::Stale(stored) }
    }

    /// Begins to store a node's answer, if it may be cached.
    pub(super) fn fill(
        self: &Arc<Self>,
        asked: CacheLookup,
        flight: Option<Flight>,
        response: (StatusCode, &HeaderMap),
        region: HeaderValue,
    ) -> Option<Filling> {
        let (status, headers) = response;
        let term = rules::term(status, headers, self.rules.stale_if_error)?;
        let length = headers.get(hyper::header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: usize| length > self.rules.object) {
            return None;
        }
        Some(Filling::new(self.clone(), asked, flight, status, headers.clone(), term, region))
    }

    /// A node confirmed a stored answer.
    pub(super) fn confirmed(&self, asked: &CacheLookup, stored: &Stored, said: &HeaderMap) -> Arc<Stored> {
        let headers = rules::freshened(&stored.headers, said);
        let term = rules::term(stored.status, &headers, self.rules.stale_if_error);
        let fresh = Arc::new(Stored {
            status: stored.status,
            body: stored.body.clone(),
            term: term.unwrap_or(Term { fresh: Duration::ZERO, stale_if_error: Duration::ZERO, ..stored.term }),
            at: Instant::now(),
            region: stored.region.clone(),
            headers,
        });
        if term.is_some() {
            self.store(asked, fresh.clone());
        }
        fresh
    }

    fn store(&self, asked: &CacheLookup, stored: Arc<Stored>) {
        let Some(varies) = rules::varies(&stored.headers) else { return };
        let mark = match self.marks.get(&asked.path) {
            Some(mark) if mark.varies == varies => mark,
            _ => {
                let mark = Arc::new(Mark { varies, number: rand::random() });
                self.marks.insert(asked.path.clone(), mark.clone());
                mark
            }
        };
        self.answers.insert((mark.number, rules::variant(&mark.varies, &asked.headers)), stored);
    }

    /// A write to a path succeeded: its stored answers become unreachable.
    pub(super) fn written(&self, path: &str) {
        self.marks.invalidate(path);
    }

    /// Runs pending evictions and updates the metric. To be called about every second.
    pub(super) fn sweep(&self) {
        self.answers.run_pending_tasks();
        self.marks.run_pending_tasks();
        self.metrics.cache_bytes.set(i64::try_from(self.answers.weighted_size()).unwrap_or(i64::MAX));
    }
}

/// The key of a path's answers.
pub(super) fn path(parts: &Parts, secure: bool) -> Arc<str> {
    let host = parts.headers.get(hyper::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let scheme = if secure { "https" } else { "http" };
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    format!("{scheme}://{}{target}", host.to_ascii_lowercase()).into()
}
