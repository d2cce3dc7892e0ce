//! Where a client sends its requests.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::RegionId;
use api::client::Base;

use super::Scene;
use crate::drill::dns::{self, Resolved};
use crate::drill::ledger::ClientKind;
use crate::drill::site::Router;

/// The shortest time for which an answer of DNS is used, so that a TTL of 0 does not become a flood.
const SHORTEST: Duration = Duration::from_secs(1);

/// The addresses of one client.
pub(super) struct Target {
    kind: ClientKind,
    scene: Arc<Scene>,
    address: IpAddr,
    resolved: Option<(Resolved, Instant)>,
    /// The router that it asks first, whose edge or whose DNS it uses.
    router: usize,
}

impl Target {
    pub(super) fn new(kind: ClientKind, scene: Arc<Scene>, address: IpAddr, router: usize) -> Target {
        Target { kind, scene, address, resolved: None, router }
    }

    /// The addresses to try in turn, each with its region if the address tells it.
    pub(super) async fn candidates(&mut self) -> Vec<(Base, Option<RegionId>)> {
        if self.kind == ClientKind::Edge {
            return self.routers().map(|router| (router.edge.clone(), None)).collect();
        }
        let is_due = match &self.resolved {
            None => true,
            Some((resolved, since)) => self.kind == ClientKind::Ttl && since.elapsed() >= resolved.ttl.max(SHORTEST),
        };
        // A resolver that reaches no name server goes on with what it has (RFC 8767).
        if is_due && let Some(resolved) = self.resolve().await {
            self.resolved = Some((resolved, Instant::now()));
        }
        let Some((resolved, _)) = &self.resolved else { return Vec::new() };
        let nodes = resolved.addresses.iter().filter_map(|address| self.scene.site.at(*address));
        nodes.map(|node| (node.public.clone(), Some(node.region.clone()))).collect()
    }

    /// The routers in the order in which the client asks them.
    fn routers(&self) -> impl Iterator<Item = &Router> {
        let routers = &self.scene.site.routers;
        (0..routers.len()).map(|step| &routers[(self.router + step) % routers.len()])
    }

    /// The first answer of any name server.
    async fn resolve(&self) -> Option<Resolved> {
        for router in self.routers() {
            if let Ok(resolved) = dns::resolve(router.dns, &self.scene.site.service, self.address).await {
                return Some(resolved);
            }
        }
        None
    }

    /// The address at this place of the last list could be connected to; a browser stays there.
    pub(super) fn keep(&mut self, place: usize) {
        if self.kind == ClientKind::Edge {
            self.router = (self.router + place) % self.scene.site.routers.len();
        }
    }
}
