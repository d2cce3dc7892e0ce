//! Checks that the ports of a deployment are free.

use std::io;
use std::net::TcpListener;

use super::layout::Layout;
use crate::args::Usage;

/// Checks that every listener's port is free, so that an error appears here and not in the log of a node.
pub(super) fn check_free(layout: &Layout) -> anyhow::Result<()> {
    let nodes = layout
        .nodes
        .iter()
        .map(|node| (&node.process, vec![node.public, node.replication, node.admin, node.public_tls]));
    let routers =
        layout.routers.iter().map(|router| (&router.process, vec![router.at.edge, router.at.dns, router.at.admin]));
    for (process, addresses) in nodes.chain(routers) {
        for address in addresses {
            match TcpListener::bind(address) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    return Err(Usage::error(format!(
                        "{address} is in use by another process (a deployment that still runs, or a node that was \
                         started by hand: {}). Stop it, or choose other ports, such as --base-port {}",
                        process.pid_file().display(),
                        address.port().saturating_add(1000)
                    )));
                }
                Err(error) => return Err(Usage::error(format!("{address} cannot be used: {error}"))),
            }
        }
    }
    Ok(())
}
