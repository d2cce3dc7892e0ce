//! Loopback addresses: one for each node where the machine allows it, otherwise one for all with many ports.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use super::settings::Settings;

/// Public port of every node and of the router's edge.
const DEFAULT_PORT: u16 = 7080;
/// The router's DNS.
const DEFAULT_DNS_PORT: u16 = 7053;

/// The scheme of addresses.
pub(super) struct Addresses {
    /// Whether each node has its own address.
    pub(super) aliased: bool,
    /// Public port, followed by those of replication, admin and the public API over TLS.
    pub(super) base_port: u16,
    /// The routers' DNS port.
    pub(super) dns_port: u16,
    /// The number of regions.
    pub(super) regions: u8,
    /// The number of nodes in each region.
    pub(super) nodes: u8,
}

/// The listeners of a router.
#[derive(Clone, Copy, Debug)]
pub(super) struct RouterAddresses {
    /// HTTP.
    pub(super) edge: SocketAddr,
    /// DNS over UDP and TCP.
    pub(super) dns: SocketAddr,
    /// Operators and other routers.
    pub(super) admin: SocketAddr,
}

impl Addresses {
    /// Public, replication, admin and public listener with TLS of node `k` of region `i`, both counted from 1.
    pub(super) fn of(&self, i: u8, k: u8) -> [SocketAddr; 4] {
        let (ip, port) = if self.aliased {
            (Ipv4Addr::new(127, 0, k, i), self.base_port)
        } else {
            let number = u16::from(i) + u16::from(self.regions) * u16::from(k - 1);
            (Ipv4Addr::LOCALHOST, self.base_port + 10 * number)
        };
        [0, 1, 2, 3].map(|offset| SocketAddr::new(IpAddr::V4(ip), port + offset))
    }

    /// The listeners of router `r`, counted from 1.
    pub(super) fn of_router(&self, r: u8) -> RouterAddresses {
        let (ip, shift) = if self.aliased || r == 1 {
            (Ipv4Addr::new(127, 0, 0, r), 0)
        } else {
            (Ipv4Addr::LOCALHOST, 10 * (u16::from(self.regions) * u16::from(self.nodes) + u16::from(r) - 1))
        };
        let at = |port: u16| SocketAddr::new(IpAddr::V4(ip), port + shift);
        RouterAddresses { edge: at(self.base_port), dns: at(self.dns_port), admin: at(self.base_port + 2) }
    }
}

/// The addresses for a deployment, and whether each node has its own.
///
/// On Linux all of 127.0.0.0/8 is this machine; elsewhere (macOS) only addresses that were configured.
///
/// Ports begin at `base_port`, with DNS three above; without one they are the documented ones.
pub(super) fn choose(settings: &Settings, base_port: Option<u16>) -> (Addresses, bool) {
    let nodes = (1..=settings.nodes).flat_map(|k| (1..=settings.regions).map(move |i| Ipv4Addr::new(127, 0, k, i)));
    let routers = (1..=settings.routers).map(|r| Ipv4Addr::new(127, 0, 0, r));
    let aliased = nodes.chain(routers).all(|ip| TcpListener::bind((ip, 0)).is_ok());
    let (base_port, dns_port) = base_port.map_or((DEFAULT_PORT, DEFAULT_DNS_PORT), |port| (port, port + 3));
    (Addresses { aliased, base_port, dns_port, regions: settings.regions, nodes: settings.nodes }, aliased)
}
