//! One request on its way to its handler, and what its path names.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::http::request::Parts;
use registry::{VenueId, VisitId};
use replication::RegionId;
use service::listen::Peer;
use service::router::PathNames;
use tokio::sync::watch;

use super::App;
use super::problem::{Kind, Problem};

/// One request on its way to its handler.
pub(super) struct Call {
    pub(super) app: Arc<App>,
    pub(super) parts: Parts,
    pub(super) body: Incoming,
    /// The operator who sends it, on the admin listener.
    pub(super) operator: Operator,
    names: PathNames,
    stopping: watch::Receiver<bool>,
}

/// The operator who sends a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Operator {
    /// The name of the token.
    pub(super) name: Option<String>,
    /// The address from which it comes.
    pub(super) address: Option<IpAddr>,
}

/// The address of the other end of a request's connection.
pub(super) fn peer(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<Peer>().map(|peer| peer.0.ip())
}

impl Call {
    pub(super) fn new(
        app: Arc<App>,
        parts: Parts,
        body: Incoming,
        names: PathNames,
        stopping: watch::Receiver<bool>,
    ) -> Call {
        Call { app, parts, body, operator: Operator::default(), names, stopping }
    }

    /// Whether the node is stopping.
    pub(super) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Becomes true when the node stops.
    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.clone()
    }

    /// The address of the other end of the connection: the client, or a router.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        peer(&self.parts)
    }

    /// A part of the path as it was sent.
    pub(super) fn name(&self, name: &str) -> &str {
        self.names.get(name)
    }

    /// The venue in the path.
    pub(super) fn venue(&self) -> Result<VenueId, Problem> {
        let detail = "a venue id is 26 characters of Crockford's base32";
        self.names.get("venue").parse().map_err(|_| Problem::new(Kind::MalformedId, detail))
    }

    /// The visit in the path.
    pub(super) fn visit(&self) -> Result<VisitId, Problem> {
        let detail = "a visit id is a hyphenated UUID of version 8";
        self.names.get("visit").parse().map_err(|_| Problem::new(Kind::MalformedId, detail))
    }

    /// The region in the path.
    pub(super) fn region(&self) -> Result<RegionId, Problem> {
        let members = self.app.membership.now();
        let region =
            self.names.get("region").parse::<RegionId>().ok().filter(|name| members.regions.contains_key(name));
        region.ok_or_else(|| {
            let names: Vec<&str> = members.regions.keys().map(RegionId::as_str).collect();
            Problem::new(Kind::NoRegion, format!("the regions are {}", names.join(", ")))
        })
    }
}
