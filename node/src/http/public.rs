//! The public listener: the table of its resources, and the path of a request from the socket to its handler.
//!
//! # Invariants
//! - Every request is counted, timed and logged by its resource's template; its path is never logged.
//! - `openapi.json` has the same resources and methods as the table; a test compares them.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use http_body_util::Either;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, Response, Version};
use service::access_log::Logged;
use service::handler;
use service::listen::{self, Listener, Serving, Socket};
use service::places::Places;
use service::request_id;
use service::router::{Resource, Router};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::call::{self, Call};
use super::cors::Sharing;
use super::problem::{Answered, Problem};
use super::reply::Body;
use super::{App, changes, cluster, guests, members, pages, probes, venues, visits};

/// How long a client's connection may be idle.
const IDLE: Duration = Duration::from_secs(60);

/// Every public resource.
const RESOURCES: &[Resource<Call, Answered>] = &[
    Resource::new("/v1/venues", &[(Method::POST, handler!(venues::create))]),
    Resource::new(
        "/v1/venues/{venue}",
        &[
            (Method::GET, handler!(venues::show)),
            (Method::PATCH, handler!(venues::change)),
            (Method::DELETE, handler!(venues::close)),
        ],
    ),
    Resource::new("/v1/venues/{venue}/visits", &[(Method::POST, handler!(visits::post))]),
    Resource::new(
        "/v1/venues/{venue}/visits/{visit}",
        &[
            (Method::GET, handler!(visits::show)),
            (Method::PUT, handler!(visits::put)),
            (Method::PATCH, handler!(visits::correct)),
            (Method::DELETE, handler!(visits::erase)),
        ],
    ),
    Resource::new("/v1/venues/{venue}/guests", &[(Method::GET, handler!(guests::list))]),
    Resource::new("/v1/venues/{venue}/contacts", &[(Method::GET, handler!(guests::contacts))]),
    Resource::new("/v1/venues/{venue}/changes", &[(Method::GET, handler!(changes::changes))]).endless(),
    Resource::new("/v1/cluster", &[(Method::GET, handler!(cluster::show))]),
    Resource::new("/v1/openapi.json", &[(Method::GET, handler!(probes::openapi))]),
    Resource::new("/c/{venue}", &[(Method::GET, handler!(pages::show)), (Method::POST, handler!(pages::accept))]),
    Resource::new(
        "/c/{venue}/{area}",
        &[(Method::GET, handler!(pages::show)), (Method::POST, handler!(pages::accept))],
    ),
    Resource::new("/r/{visit}", &[(Method::GET, handler!(pages::open)), (Method::POST, handler!(pages::act))]),
    Resource::new("/assets/{file}", &[(Method::GET, handler!(pages::asset))]),
    Resource::new("/worker.js", &[(Method::GET, handler!(pages::worker))]),
    Resource::new("/console", &[(Method::GET, handler!(pages::overview))]),
    Resource::new("/console/login", &[(Method::POST, handler!(pages::enter))]),
    Resource::new("/console/language", &[(Method::GET, handler!(pages::speak))]),
    Resource::new("/console/logout", &[(Method::POST, handler!(pages::leave))]),
    Resource::new(
        "/console/register",
        &[(Method::GET, handler!(pages::registration)), (Method::POST, handler!(pages::register))],
    ),
    Resource::new("/console/guests", &[(Method::GET, handler!(pages::ask)), (Method::POST, handler!(pages::list))]),
    Resource::new("/console/export", &[(Method::POST, handler!(pages::export))]),
    Resource::new("/console/contacts", &[(Method::POST, handler!(pages::contacts))]),
    Resource::new(
        "/console/settings",
        &[(Method::GET, handler!(pages::settings)), (Method::POST, handler!(pages::change))],
    ),
    Resource::new("/console/close", &[(Method::POST, handler!(pages::close))]),
    Resource::new("/console/poster/{file}", &[(Method::GET, handler!(pages::poster))]),
    Resource::new("/console/slips", &[(Method::GET, handler!(pages::slip)), (Method::POST, handler!(pages::take))]),
    Resource::new("/healthz", &[(Method::GET, handler!(probes::healthz))]),
    Resource::new("/readyz", &[(Method::GET, handler!(probes::readyz))]),
];

static ROUTER: LazyLock<Router<Call, Answered>> = LazyLock::new(|| Router::new(RESOURCES));

/// Serves the public API on these sockets until `stop` is true. They share the limits of connections. Returns when all
/// connections are gone, which takes until the requests in flight are answered, but five seconds at most.
pub async fn serve(sockets: Vec<Socket>, app: Arc<App>, stop: watch::Receiver<bool>) {
    let limits = &app.limits;
    let routers = app.routers.clone();
    let places = Places::new(limits.connections, limits.connections_per_client, routers, "limits.connections");
    let mut serving = JoinSet::new();
    for Socket { tcp, tls } in sockets {
        let name = if tls.is_some() { "public_tls" } else { "public" };
        let listener = Listener::limited(tcp, places.clone()).secured(tls).counting(app.metrics.ended.of(name));
        let (open, unread) = (app.metrics.http_connections.clone(), app.limits.unread);
        let (app, stopping, gate) = (app.clone(), stop.clone(), app.faults.gate());
        let answer = move |request: Request<Incoming>| answer(app.clone(), request, stopping.clone());
        let how = Serving { idle: IDLE, open: Some(open), gate: Some(gate), tell_peer: true, unread };
        serving.spawn(listen::serve(listener, how, stop.clone(), answer));
    }
    let served = async { while serving.join_next().await.is_some() {} };
    tokio::select! {
        () = served => {}
        () = app.strangers.sweep() => {}
    }
}

async fn answer(app: Arc<App>, request: Request<Incoming>, stopping: watch::Receiver<bool>) -> Response<Logged<Body>> {
    let begun = Instant::now();
    let (parts, body) = request.into_parts();
    let (resource, names) = ROUTER.find(parts.uri.path()).unzip();
    let template = resource.map_or(api::routes::NONE, |resource| resource.template());
    let method = parts.method.clone();
    let mut entry = app.access_log.as_ref().map(|log| {
        let is_router = call::peer(&parts).is_some_and(|peer| app.routers.contains(peer.to_canonical()));
        log.begin(request_id::of(&parts.headers, is_router), &method, template)
    });
    // A page's problem is told to a person, in the language and about the address of the request.
    let person = pages::is_for_person(resource.map(Resource::template), &parts).then(|| parts.clone());
    let version = parts.version;
    let sharing = app.cors.sharing(template, &parts);
    let call = Call::new(app.clone(), parts, body, names.unwrap_or_default(), stopping);
    let answered = route(resource, template, sharing.as_ref(), call).await;
    let closes = version != Version::HTTP_2 && answered.as_ref().is_err_and(Problem::closes);
    let mut reply = answered.unwrap_or_else(|problem| match &person {
        Some(parts) => pages::trouble(parts, problem),
        None => problem.into_reply(),
    });
    reply.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(sharing) = sharing {
        sharing.sign(reply.headers_mut());
    }
    if closes {
        reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let (status, took) = (reply.status(), begun.elapsed());
    app.metrics.answered(template, status.as_u16(), took);
    // Whole microseconds, because more digits carry no information and could match whatever a test searches the log
    // for.
    let took_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
    // That it is busy or not ready is counted above and logged where it begins. A line for each answer would let every
    // client fill the log.
    if status.is_server_error() && status != hyper::StatusCode::SERVICE_UNAVAILABLE {
        tracing::warn!(%method, route = template, status = status.as_u16(), took_ms, "answered with a server error");
    } else {
        tracing::debug!(%method, route = template, status = status.as_u16(), took_ms, "answered");
    }
    if let Some(entry) = &mut entry {
        entry.answered(status);
        entry.came_from(Some(app.region.as_str()), Some(app.name.as_str()));
    }
    reply.map(|body| Logged::new(body, entry))
}

/// Lets the handler of a request answer it.
async fn route(
    resource: Option<&Resource<Call, Answered>>,
    template: &str,
    sharing: Option<&Sharing>,
    call: Call,
) -> Answered {
    service::head::check(&call.parts)?;
    if let Some(preflight) = sharing.and_then(Sharing::preflight) {
        return Ok(preflight);
    }
    if let Some(options) = ROUTER.options(&call.parts, resource) {
        return Ok(options.map(|body| Either::Left(body.into())));
    }
    let handler = ROUTER.handler(resource, &call.parts.method)?;
    match members::gone(&call.app, template) {
        None => handler(call).await,
        Some(problem) => Err(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Description, described};
    use super::{RESOURCES, ROUTER, Resource};

    #[test]
    fn every_path_leads_to_its_resource() {
        let (resource, names) = ROUTER.find("/v1/venues/a/visits/b").unwrap();
        assert_eq!(
            (resource.template(), names.get("venue"), names.get("visit")),
            ("/v1/venues/{venue}/visits/{visit}", "a", "b")
        );
        ROUTER.check(&[
            "",
            "/",
            "//",
            "*",
            "v1/venues",
            "/v1",
            "/v1/venues/",
            "/v1//venues",
            "/v1/venues/a/",
            "/v1/venues/a/visits/",
            "/v1/venues/a/visits/b/",
            "/v1/venues/a/visits/b/c",
            "/v1/venues/a/guests/b",
            "/v1/venues/a/visits/b/c/d",
            "/v1/venues//visits",
            "/V1/venues",
            "/healthz/x",
            "/metrics",
        ]);
    }

    /// A router names requests by the list in `api`.
    #[test]
    fn the_list_of_templates_is_the_table() {
        let table: Vec<&str> = RESOURCES.iter().map(Resource::template).collect();
        assert_eq!(table, [&api::routes::PUBLIC[..], &api::routes::PROBES].concat());
    }

    #[test]
    fn openapi_has_the_same_resources_and_methods() {
        // Pages are for people: their forms are described by themselves.
        let is_page = |template: &str| !template.starts_with("/v1/") && !template.ends_with("z");
        let api = RESOURCES.iter().filter(|resource| !is_page(resource.template()));
        let table = api.map(|resource| (resource.template(), resource.allow()));
        assert_eq!(Description::of(super::probes::OPENAPI).methods(), described(table));
    }
}
