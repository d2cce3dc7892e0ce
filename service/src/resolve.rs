//! Resolves the host name of an address each time that it is asked.
//!
//! Nothing is kept here: a name that moves is followed as soon as the name server says so, and the caches on the way keep to
//! its TTL. `tokio::net::lookup_host` was passed over, because it blocks a thread and asks no other server than the
//! system's.

use std::net::SocketAddr;

use api::HostPort;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{Resolver, ResolverBuilder, TokioResolver};

/// Why a name has no address now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The name servers cannot be asked, do not answer, or do not know the name.
    #[error("its host name does not resolve")]
    Failed(#[source] Box<NetError>),
    /// The name exists and has no address.
    #[error("its host name has no address")]
    NoAddress,
}

/// The addresses of a host: the one that is written, or those that the `servers` give, in a fixed order. Without
/// `servers` the system's configuration counts (`/etc/resolv.conf`, `/etc/hosts`), which is read anew each time.
///
/// # Errors
/// [`ResolveError`].
pub async fn resolve(address: &HostPort, servers: &[SocketAddr]) -> Result<Vec<SocketAddr>, ResolveError> {
    if let Some(literal) = address.literal() {
        return Ok(vec![literal]);
    }
    let failed = |error: NetError| ResolveError::Failed(Box::new(error));
    let builder = if servers.is_empty() { TokioResolver::builder_tokio().map_err(failed)? } else { asking(servers) };
    let found = builder.build().map_err(failed)?.lookup_ip(address.host()).await.map_err(failed)?;
    // Name servers change the order from answer to answer.
    let mut found: Vec<SocketAddr> = found.iter().map(|ip| SocketAddr::new(ip, address.port())).collect();
    found.sort_unstable();
    found.dedup();
    if found.is_empty() { Err(ResolveError::NoAddress) } else { Ok(found) }
}

fn asking(servers: &[SocketAddr]) -> ResolverBuilder<TokioRuntimeProvider> {
    let servers = servers.iter().map(|server| {
        let mut config = NameServerConfig::udp_and_tcp(server.ip());
        config.connections.iter_mut().for_each(|connection| connection.port = server.port());
        config
    });
    let config = ResolverConfig::from_name_servers(servers.collect());
    Resolver::builder_with_config(config, TokioRuntimeProvider::default())
}
