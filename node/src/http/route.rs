//! The public routes: maps a path to a resource, and a resource to its template and methods.
//!
//! # Invariants
//! - [`ROUTES`] is the only list: metrics are labelled by its templates, `Allow` is its methods, and a test proves that
//!   `openapi.json` has the same.

/// One resource: its path template and its methods, as `Allow` names them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resource {
    /// As in OpenAPI.
    pub(super) template: &'static str,
    /// Comma-separated.
    pub(super) allow: &'static str,
}

/// A path that was recognised; its ids are not parsed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Venues,
    Venue(&'a str),
    Visits(&'a str),
    Visit(&'a str, &'a str),
    Guests(&'a str),
    Contacts(&'a str),
    Changes(&'a str),
    Cluster,
    OpenApi,
    Healthz,
    Readyz,
}

/// All resources, in the order of [`Route`].
pub(super) const ROUTES: [Resource; 11] = [
    Resource { template: "/v1/venues", allow: "POST" },
    Resource { template: "/v1/venues/{venue}", allow: "GET, HEAD, PATCH, DELETE" },
    Resource { template: "/v1/venues/{venue}/visits", allow: "POST" },
    Resource { template: "/v1/venues/{venue}/visits/{visit}", allow: "GET, HEAD, PUT, PATCH, DELETE" },
    Resource { template: "/v1/venues/{venue}/guests", allow: "GET, HEAD" },
    Resource { template: "/v1/venues/{venue}/contacts", allow: "GET, HEAD" },
    Resource { template: "/v1/venues/{venue}/changes", allow: "GET" },
    Resource { template: "/v1/cluster", allow: "GET, HEAD" },
    Resource { template: "/v1/openapi.json", allow: "GET, HEAD" },
    Resource { template: "/healthz", allow: "GET, HEAD" },
    Resource { template: "/readyz", allow: "GET, HEAD" },
];

impl<'a> Route<'a> {
    /// The route at a path.
    pub(super) fn find(path: &'a str) -> Option<Route<'a>> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let parts = [parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next()];
        if parts.iter().flatten().any(|part| part.is_empty()) {
            return None;
        }
        Some(match parts {
            [Some("v1"), Some("venues"), None, ..] => Route::Venues,
            [Some("v1"), Some("venues"), Some(venue), None, ..] => Route::Venue(venue),
            [Some("v1"), Some("venues"), Some(venue), Some("visits"), None, _] => Route::Visits(venue),
            [Some("v1"), Some("venues"), Some(venue), Some("visits"), Some(visit), None] => Route::Visit(venue, visit),
            [Some("v1"), Some("venues"), Some(venue), Some("guests"), None, _] => Route::Guests(venue),
            [Some("v1"), Some("venues"), Some(venue), Some("contacts"), None, _] => Route::Contacts(venue),
            [Some("v1"), Some("venues"), Some(venue), Some("changes"), None, _] => Route::Changes(venue),
            [Some("v1"), Some("cluster"), None, ..] => Route::Cluster,
            [Some("v1"), Some("openapi.json"), None, ..] => Route::OpenApi,
            [Some("healthz"), None, ..] => Route::Healthz,
            [Some("readyz"), None, ..] => Route::Readyz,
            _ => return None,
        })
    }

    /// Its template and methods.
    pub(super) fn resource(&self) -> &'static Resource {
        &ROUTES[match self {
            Route::Venues => 0,
            Route::Venue(_) => 1,
            Route::Visits(_) => 2,
            Route::Visit(..) => 3,
            Route::Guests(_) => 4,
            Route::Contacts(_) => 5,
            Route::Changes(_) => 6,
            Route::Cluster => 7,
            Route::OpenApi => 8,
            Route::Healthz => 9,
            Route::Readyz => 10,
        }]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ROUTES, Route};

    #[test]
    fn every_template_leads_to_itself() {
        for resource in &ROUTES {
            let path = resource.template.replace(['{', '}'], "");
            let route = Route::find(&path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(route.resource(), resource);
        }
        assert_eq!(Route::find("/v1/venues/a/visits/b"), Some(Route::Visit("a", "b")));
    }

    #[test]
    fn other_paths_have_no_route() {
        for path in [
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
            "/V1/venues",
            "/healthz/x",
            "/metrics",
        ] {
            assert_eq!(Route::find(path), None, "{path}");
        }
    }

    /// Two lists that must be equal: ours and the document that clients read.
    #[test]
    fn openapi_has_the_same_routes_and_methods() {
        let document: serde_json::Value = serde_json::from_slice(super::super::probes::OPENAPI).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let methods = |item: &serde_json::Value| {
            let keys = item.as_object().expect("an item").keys().map(|key| key.to_uppercase());
            keys.filter(|key| key != "PARAMETERS").collect::<BTreeSet<_>>()
        };
        let theirs: BTreeSet<_> = paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect();
        let ours = ROUTES.iter().map(|resource| {
            // HEAD is GET without its body: OpenAPI need not repeat it.
            let methods = resource.allow.split(", ").filter(|method| *method != "HEAD").map(str::to_owned);
            (resource.template.to_owned(), methods.collect::<BTreeSet<_>>())
        });
        assert_eq!(theirs, ours.collect());
    }
}
