//! Loopback addresses: one for each node where the machine allows it, else one for all with many ports.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use super::folder::Settings;
use super::layout::Layout;
use crate::cli::Usage;

/// How nodes are told apart.
pub(super) struct Addresses {
    /// Each node has an address of its own.
    pub(super) aliased: bool,
    /// Public port, followed by those of replication and admin.
    pub(super) base_port: u16,
    /// How many regions there are.
    pub(super) regions: u8,
}

impl Addresses {
    /// Public, replication and admin listener of node `k` of region `i`, both counted from 1.
    pub(super) fn of(&self, i: u8, k: u8) -> [SocketAddr; 3] {
        let (ip, port) = if self.aliased {
            (Ipv4Addr::new(127, 0, k, i), self.base_port)
        } else {
            let number = u16::from(i) + u16::from(self.regions) * u16::from(k - 1);
            (Ipv4Addr::LOCALHOST, self.base_port + 10 * number)
        };
        [0, 1, 2].map(|offset| SocketAddr::new(IpAddr::V4(ip), port + offset))
    }
}

/// The addresses for a deployment, and whether each node has one of its own.
///
/// All of 127.0.0.0/8 is this machine on Linux; elsewhere (macOS) only what was configured.
pub(super) fn choose(settings: &Settings, base_port: u16) -> (Addresses, bool) {
    let aliased = (1..=settings.nodes)
        .all(|k| (1..=settings.regions).all(|i| TcpListener::bind((Ipv4Addr::new(127, 0, k, i), 0)).is_ok()));
    (Addresses { aliased, base_port, regions: settings.regions }, aliased)
}

/// Proves that every listener's port is free, so that the trouble is told here and not in some node's log.
pub(super) fn check_free(layout: &Layout) -> anyhow::Result<()> {
    for node in &layout.nodes {
        for address in [node.public, node.replication, node.admin] {
            match TcpListener::bind(address) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    return Err(Usage::error(format!(
                        "{address} is in use by another process (a deployment that still runs, or a node that was \
                         started by hand: {}). Stop it, or choose other ports, such as --base-port {}",
                        node.pid_file().display(),
                        address.port().saturating_add(1000)
                    )));
                }
                Err(error) => return Err(Usage::error(format!("{address} can't be used: {error}"))),
            }
        }
    }
    Ok(())
}
