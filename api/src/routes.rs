//! The path templates of the public API and its pages, by which metrics and logs name a request. A path itself has ids and
//! secrets of guests.

/// Every template, in the order of the nodes' table. A node compares them with what it serves.
pub const PUBLIC: [&str; 26] = [
    "/v1/venues",
    "/v1/venues/{venue}",
    "/v1/venues/{venue}/visits",
    "/v1/venues/{venue}/visits/{visit}",
    "/v1/venues/{venue}/guests",
    "/v1/venues/{venue}/contacts",
    "/v1/venues/{venue}/changes",
    "/v1/cluster",
    "/v1/openapi.json",
    "/c/{venue}",
    "/c/{venue}/{area}",
    "/r/{visit}",
    "/assets/{file}",
    "/worker.js",
    "/console",
    "/console/login",
    "/console/language",
    "/console/logout",
    "/console/register",
    "/console/guests",
    "/console/export",
    "/console/contacts",
    "/console/settings",
    "/console/close",
    "/console/poster/{file}",
    "/console/slips",
];

/// Probes, which routers send as well.
pub const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// The template of a path that leads nowhere.
pub const NONE: &str = "none";
