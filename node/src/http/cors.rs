//! Pages of other origins: which of them may call the guest's routes from a browser (Fetch, section 3.3, CORS protocol).
//!
//! A city's own page may post check-ins for its visitors. It needs no cookie, because a guest proves everything with the
//! secret in a header, so credentials are never allowed. The owner's routes and the pages are not shared: a script of
//! another origin has no business with an owner's key.
//!
//! tower-http's layer was passed over: it answers preflights for a whole service, and would share the owner's routes too,
//! unless each route got a service of its own.
//!
//! # Invariants
//! - Without `http.cors_origins` no answer differs from what it would be without this module.
//! - While origins are listed, each answer of a shared resource says that it depends on the origin, so a cache does not
//!   hand the answer for one origin to another.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::reply::{Reply, full};

/// The guest's resources, with their methods.
const SHARED: &[(&str, &[Method])] = &[
    ("/v1/venues/{venue}", &[Method::GET]),
    ("/v1/venues/{venue}/visits", &[Method::POST]),
    ("/v1/venues/{venue}/visits/{visit}", &[Method::GET, Method::PUT, Method::PATCH, Method::DELETE]),
];

/// Headers that a script may send.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "content-type, meridian-secret, meridian-session, if-match, if-none-match, if-unmodified-since",
);

/// Headers that a script may read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "etag, location, retry-after, meridian-session, meridian-stale, meridian-confirmed, meridian-durability, \
     meridian-region",
);

/// Seconds for which a browser may keep the answer to a preflight. No browser keeps one for longer.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Which origins may call the guest's routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cors {
    /// Lower-case ASCII serialisations; `*` stands for any.
    origins: Vec<String>,
}

/// What one request gets.
pub(super) struct Sharing {
    /// The methods that its resource shares.
    methods: &'static [Method],
    /// The value of `Access-Control-Allow-Origin`, if the origin may read the answer.
    allowed: Option<HeaderValue>,
    /// Whether the answer depends on the origin.
    varies: bool,
    /// Whether the request asks what another one may do.
    is_preflight: bool,
}

impl Cors {
    pub(super) fn new(origins: &[String]) -> Cors {
        Cors { origins: origins.to_vec() }
    }

    /// How the resource with this template is shared with the origin of a request; `None` if it is not shared at all.
    pub(super) fn sharing(&self, template: &str, parts: &Parts) -> Option<Sharing> {
        let (_, methods) = SHARED.iter().find(|(shared, _)| *shared == template)?;
        if self.origins.is_empty() {
            return None;
        }
        let any = self.origins.iter().any(|origin| origin == "*");
        let origin = parts.headers.get(ORIGIN);
        // Where any origin is allowed each answer says so, also one to a request without an origin: a cache may give it to
        // a page of another one.
        let star = HeaderValue::from_static("*");
        let known = |origin: &&HeaderValue| self.origins.iter().any(|known| known.as_bytes() == origin.as_bytes());
        let allowed = if any { Some(&star) } else { origin.filter(known) };
        let asked = parts.headers.get(ACCESS_CONTROL_REQUEST_METHOD);
        let is_preflight = parts.method == Method::OPTIONS && asked.is_some();
        let asked = asked.filter(|_| is_preflight).and_then(|name| Method::from_bytes(name.as_bytes()).ok());
        let method = asked.as_ref().unwrap_or(&parts.method);
        let is_shared = methods.contains(method) || (method == Method::HEAD && methods.contains(&Method::GET));
        let allowed = allowed.filter(|_| is_shared).cloned();
        Some(Sharing { methods, allowed, varies: !any, is_preflight })
    }
}

impl Sharing {
    /// The answer to a preflight; `None` if the request is none.
    pub(super) fn preflight(&self) -> Option<Reply> {
        if !self.is_preflight {
            return None;
        }
        let mut reply = full(StatusCode::NO_CONTENT, "");
        if self.allowed.is_some() {
            let names = self.methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
            let headers = reply.headers_mut();
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, super::reply::header(names));
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
            headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
        Some(reply)
    }

    /// Adds to an answer that the origin may read it.
    pub(super) fn sign(self, headers: &mut HeaderMap) {
        if self.varies {
            headers.append(VARY, ORIGIN.into());
        }
        if self.is_preflight {
            headers.append(VARY, ACCESS_CONTROL_REQUEST_METHOD.into());
            headers.append(VARY, ACCESS_CONTROL_REQUEST_HEADERS.into());
        }
        if let Some(origin) = self.allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            if !self.is_preflight {
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            }
        }
    }
}
