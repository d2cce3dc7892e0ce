//! Serves one request from its head to its answer: checks and counts it, and answers it from the cache or by a node.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::headers::REGION;
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Version};

use service::access_log::{AccessLog, Logged};
use service::request_id;
use service::unread::Watched;

use super::balance::{HashKeys, happens, venue};
use super::body::{Prepared, prepare};
use super::cache::{self, Cache, Flight, LookupResult, Stored, Turn};
use super::connection::{Connection, UnderWay};
use super::exclusion::Witness;
use super::forward::{Answered, Sending};
use super::forwarding::Tables;
use super::problem::{Kind, Problem, closes};
use super::relay::{Answer, Origin, Relay};
use super::sticky::Cookies;
use super::{Edge, hop_headers, limit, person, request_check, route, sticky, streams, upgrade};
use crate::fleet::NodeId;
use service::head;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How a request went, for the access log.
#[derive(Default)]
struct Trace {
    attempts: u32,
    /// The node that answered, and the tables of its fleet.
    node: Option<(NodeId, Arc<Tables>)>,
}

/// A request that was let in.
struct Admitted<'a> {
    connection: &'a Arc<Connection>,
    trace: &'a mut Trace,
    parts: Parts,
    client: std::net::IpAddr,
    cookies: Cookies,
    /// The node that its cookie names.
    sticky: Option<NodeId>,
    websocket: Option<OnUpgrade>,
}

/// The client asks for too much.
fn limited(detail: &'static str, wait: Duration) -> Problem {
    let seconds = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
    Problem::new(Kind::Limited, detail).after(seconds)
}

impl Edge {
    /// Answers a request. It never fails, and is a `Result` because hyper's services are.
    pub(super) async fn serve(
        self: Arc<Self>,
        connection: Arc<Connection>,
        request: Request<Incoming>,
    ) -> Result<Response<Watched<Logged<Answer>>>, Infallible> {
        let (parts, body) = request.into_parts();
        let under_way = UnderWay::begin(connection.clone(), parts.version);
        let (version, head) = (parts.version, parts.method == Method::HEAD);
        let person = person::reads(&parts);
        let id = request_id::of(&parts.headers, self.trusted.contains(connection.peer));
        let begin = |log: &AccessLog| log.begin(id.clone(), &parts.method, route::template(parts.uri.path()));
        let mut entry = self.access_log.as_ref().map(begin);
        let mut trace = Trace::default();
        let mut response = match self.handle((&connection, &mut trace), parts, body, &id).await {
            Ok(response) => response,
            Err(problem) => {
                let closes = closes(&problem);
                let response = problem.into_response();
                let response = if person { person::page(response) } else { response };
                let mut response = response.map(Either::Left);
                hop_headers::response(response.headers_mut(), &self.via, &id);
                if closes && version != Version::HTTP_2 {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                if head {
                    *response.body_mut() = Either::Left(bytes::Bytes::new());
                }
                response
            }
        };
        let region = response.headers().get(REGION).and_then(|region| region.to_str().ok());
        let region = region.filter(|region| self.forwarding.knows(region));
        self.metrics.answered(region, response.status());
        if let Some(entry) = &mut entry {
            let node = trace.node.as_ref().map(|(node, tables)| tables.fleet.node(*node).name.as_str());
            entry.answered(response.status());
            entry.came_from(region, node);
            entry.sent(trace.attempts);
        }
        // hyper sets it from the body. A wrong length from elsewhere would give the answer a second end.
        if response.status() == StatusCode::NO_CONTENT {
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        if self.stops() && version != Version::HTTP_2 && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response.map(|origin| connection.reader.watch(Logged::new(Answer::new(origin, under_way), entry))))
    }

    async fn handle(
        self: &Arc<Self>,
        (connection, trace): (&Arc<Connection>, &mut Trace),
        mut parts: Parts,
        body: Incoming,
        id: &HeaderValue,
    ) -> Result<Response<Origin>, Problem> {
        head::bounded(&parts, self.config.limits.head).inspect_err(|_| self.metrics.refused("malformed"))?;
        request_check::check(&mut parts).inspect_err(|_| self.metrics.refused("malformed"))?;
        if hop_headers::came_through(&parts.headers, &self.config.name) {
            self.metrics.refused("loop");
            return Err(Problem::new(Kind::Loop, "a node's address leads back to this router"));
        }
        let client = self.trusted.client(connection.peer, &parts.headers);
        if let Some(per_client) = &self.per_client
            && let Err(wait) = per_client.take(client)
        {
            self.metrics.refused("rate-limit");
            return Err(limited("wait before the next request", wait));
        }
        if limit::makes_a_venue(&parts) {
            self.venues_per_client.take(client).map_err(|wait| {
                self.metrics.refused("rate-limit");
                limited("this network has made too many venues in the last hour", wait)
            })?;
        }
        let cookies = if self.config.sticky { Cookies::of(&parts.headers) } else { Cookies::default() };
        sticky::strip(&mut parts.headers);
        let wants_websocket = parts.version == Version::HTTP_11 && hop_headers::wants_websocket(&parts.headers);
        let websocket = if wants_websocket { parts.extensions.remove::<OnUpgrade>() } else { None };
        hop_headers::request(&mut parts.headers, connection.scheme(), &self.via, id);
        if websocket.is_some() {
            hop_headers::upgrade(&mut parts.headers);
        }
        // The length is set from the body as it is sent.
        parts.headers.remove(CONTENT_LENGTH);
        let admitted = Admitted { connection, trace, parts, client, cookies, sticky: None, websocket };
        let limits = &self.config.limits;
        let body = prepare(body, self.config.retry.buffer, limits, (&self.alarms, &self.config.timeouts))
            .await
            .inspect_err(|_| self.metrics.refused("body"))?;
        let mut response = match &self.cache {
            Some(cache) if admitted.websocket.is_none() => self.through_cache(cache, admitted, body).await?,
            _ => {
                let (answered, admitted) = self.forward(admitted, body).await;
                self.answer(answered?, admitted)
            }
        };
        let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        hop_headers::response(response.headers_mut(), &self.via, id);
        if upgraded {
            hop_headers::upgrade(response.headers_mut());
        }
        Ok(response)
    }

    /// Sends a request to the nodes.
    async fn forward<'a>(
        &self,
        mut admitted: Admitted<'a>,
        body: Prepared,
    ) -> (Result<Answered, Problem>, Admitted<'a>) {
        let now = self.forwarding.now();
        let view = &now.view;
        admitted.sticky = now.tables.sticky.as_ref().and_then(|sticky| sticky.node(&admitted.cookies));
        let class = view.places.leaf(admitted.client).class;
        view.signals.asked(class);
        if !view.places.place(class).is_known() {
            self.metrics.unknown_location.inc();
        }
        let is_beyond_plan = happens(view.shed(class));
        let ranking = view.ranking(admitted.client);
        let sending = Sending {
            edge: self,
            now,
            parts: &admitted.parts,
            urgency: limit::Urgency::of(&admitted.parts, is_beyond_plan),
            asked: HashKeys { client: admitted.client, venue: venue(admitted.parts.uri.path()) },
            sticky: admitted.sticky,
            websocket: admitted.websocket.is_some(),
        };
        let (result, attempts) = sending.run(body, ranking).await;
        admitted.trace.attempts = attempts;
        if let Err(problem) = &result {
            self.metrics.refused(match problem.kind() {
                Kind::Shed if is_beyond_plan => "shed",
                Kind::Shed => "capacity",
                _ => "no-answer",
            });
        }
        (result, admitted)
    }

    /// A node's answer in the form that the client gets.
    fn answer(self: &Arc<Self>, answered: Answered, admitted: Admitted<'_>) -> Response<Origin> {
        let Answered { node, tables, mut response, read, lease, mut witness } = answered;
        admitted.trace.node = Some((node, Arc::clone(&tables)));
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(client) = admitted.websocket
        {
            let upstream = hyper::upgrade::on(&mut response);
            witness.iter_mut().for_each(Witness::is_good);
            upgrade::tunnel(self, admitted.connection.clone(), client, upstream, lease);
            let mut response = response.map(|_| Either::Left(bytes::Bytes::new()));
            response.headers_mut().insert(REGION, tables.regions[node.region.at()].clone());
            return response;
        }
        if let Some(cache) = &self.cache
            && !matches!(admitted.parts.method, Method::GET | Method::HEAD | Method::OPTIONS)
            && (response.status().is_success() || response.status().is_redirection())
        {
            cache.written(&cache::path(&admitted.parts, admitted.connection.secure));
        }
        let public = response
            .headers()
            .get(hyper::header::CACHE_CONTROL)
            .is_some_and(|value| value.as_bytes().windows(6).any(|word| word.eq_ignore_ascii_case(b"public")));
        // A cookie on a public answer would go to every client.
        if let Some(sticky) = &tables.sticky
            && admitted.sticky != Some(node)
            && !public
            && let Some(cookie) = sticky.set_cookie(node, admitted.connection.secure)
        {
            response.headers_mut().append(hyper::header::SET_COOKIE, cookie);
        }
        response.headers_mut().insert(REGION, tables.regions[node.region.at()].clone());
        let (idle, broke_off) = (self.config.timeouts.answer_idle, self.metrics.broke_off.clone());
        match read {
            Some(bytes) => {
                lease.give_back();
                response.map(|_| Either::Left(bytes))
            }
            None => {
                let is_stream = streams::is_stream(&response);
                response.map(|body| {
                    let mut relay = Relay::new(body, lease, idle, broke_off, witness);
                    if is_stream {
                        relay.ends_by(self.stream_of(&tables.fleet, node));
                    }
                    Either::Right(Box::new(relay))
                })
            }
        }
    }

    async fn through_cache(
        self: &Arc<Self>,
        cache: &Arc<Cache>,
        mut admitted: Admitted<'_>,
        body: Prepared,
    ) -> Result<Response<Origin>, Problem> {
        let Some(asked) = cache.asked(&admitted.parts, admitted.connection.secure) else {
            let (answered, admitted) = self.forward(admitted, body).await;
            return Ok(self.answer(answered?, admitted));
        };
        let (found, flight) = self.look(cache, &asked).await;
        let stale = match found {
            LookupResult::Fresh(stored) => {
                self.metrics.cached("hit");
                return Ok(self.kept(&stored, &asked, "hit"));
            }
            LookupResult::Stale(stored) => Some(stored),
            LookupResult::Missing | LookupResult::Unknown => None,
        };
        if asked.wishes.only_if_cached {
            return Err(Problem::new(Kind::Timeout, "the answer is not in the cache, and the request allows no other"));
        }
        let revalidates = match &stale {
            Some(stored) if asked.method == Method::GET => {
                cache::rules::revalidate(&mut admitted.parts.headers, &stored.headers)
            }
            _ => false,
        };
        let (answered, admitted) = self.forward(admitted, body).await;
        let failed = match &answered {
            Ok(answered) => matches!(answered.response.status().as_u16(), 500 | 502..=504),
            Err(problem) => {
                matches!(problem.kind(), Kind::BadGateway | Kind::Unavailable | Kind::Timeout | Kind::Shed)
            }
        };
        if let Some(stored) = stale.as_ref().filter(|stored| failed && stored.serves_on_error(Instant::now())) {
            self.metrics.cached("stale");
            return Ok(self.kept(stored, &asked, "hit; detail=stale-if-error"));
        }
        let answered = answered?;
        if let Some(stored) = stale.filter(|_| revalidates && answered.response.status() == StatusCode::NOT_MODIFIED) {
            self.metrics.cached("confirmed");
            let fresh = cache.confirmed(&asked, &stored, answered.response.headers());
            // Reads the answer to its end, so that the connection can serve again.
            drop(self.answer(answered, admitted));
            return Ok(self.kept(&fresh, &asked, "fwd=stale; fwd-status=304"));
        }
        self.metrics.cached("miss");
        let mut response = self.answer(answered, admitted);
        let mut status = if asked.wishes.no_cache { "fwd=request" } else { "fwd=uri-miss" };
        if asked.method == Method::GET
            && let Some(region) = response.headers().get(REGION).cloned()
            && let Some(filling) = cache.fill(asked, flight, (response.status(), &cleaned(response.headers())), region)
            && let Either::Right(relay) = response.body_mut()
        {
            relay.fill(filling);
            status = if status == "fwd=request" { "fwd=request; stored" } else { "fwd=uri-miss; stored" };
        }
        self.show_status(&mut response, status);
        Ok(response)
    }

    /// Looks the request up; while another request asks a node for the same path, waits for its answer.
    async fn look(&self, cache: &Arc<Cache>, asked: &cache::CacheLookup) -> (LookupResult, Option<Flight>) {
        let found = cache.find(asked, Instant::now());
        let alone = matches!(found, LookupResult::Fresh(_) | LookupResult::Unknown);
        if alone || asked.method != Method::GET || asked.wishes.no_cache || asked.wishes.only_if_cached {
            return (found, None);
        }
        match cache.flights.begin(&asked.path) {
            Turn::Ours(flight) => (found, Some(flight)),
            Turn::Theirs(mut over) => {
                // Whether that request ended well or took too long: the cache decides.
                let _ = tokio::time::timeout(self.config.timeouts.answer, over.changed()).await;
                (cache.find(asked, Instant::now()), None)
            }
        }
    }

    fn kept(&self, stored: &Stored, asked: &cache::CacheLookup, status: &str) -> Response<Origin> {
        let mut response = stored.answer(asked, Instant::now()).map(Either::Left);
        response.headers_mut().insert(REGION, stored.region.clone());
        self.show_status(&mut response, status);
        response
    }

    fn show_status(&self, response: &mut Response<Origin>, status: &str) {
        if let Ok(value) = HeaderValue::try_from(format!("{}; {status}", self.config.name)) {
            response.headers_mut().append(CACHE_STATUS, value);
        }
    }
}

/// The head of an answer as it is stored: without fields that concern only one connection.
fn cleaned(headers: &hyper::HeaderMap) -> hyper::HeaderMap {
    let mut headers = headers.clone();
    hop_headers::strip_hop_by_hop(&mut headers);
    headers
}
