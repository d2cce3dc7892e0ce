//! Dials peers with larger names, and resolves their host names again at each attempt.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use service::resolve::{ResolveError, resolve};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::link::{framed, run};
use super::{Links, tls};
use crate::config::PeerConfig;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A link that lasted this long was good: the next attempt follows at once.
const GOOD_LINK: Duration = Duration::from_secs(5);
/// The longest wait between two attempts, before jitter doubles it at most. A node that restarts must be dialled within
/// [`replication::ReplicaConfig::start_grace`] (3 s), otherwise it takes a new id because it has heard no peer.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// The wait of a node that was removed: its peers refuse it, and log that, until it is added again.
const REMOVED_WAIT: Duration = Duration::from_secs(5);

fn backoff() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(LONGEST_WAIT)
        .with_jitter()
        .without_max_times()
        .build()
}

/// Why a peer was not reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreached {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("TLS handshake failed")]
    Tls(#[source] io::Error),
    #[error("a fault that an operator ordered cuts the way to it")]
    Cut,
    #[error("no connection in time")]
    Timeout,
}

impl Unreached {
    /// Whether the peer showed a certificate that is not accepted: revoked, expired, or of another name or authority.
    fn is_refusal(&self) -> bool {
        let Unreached::Tls(error) = self else { return false };
        let error = error.get_ref().and_then(|error| error.downcast_ref());
        matches!(error, Some(rustls::Error::InvalidCertificate(_)))
    }
}

/// Keeps a link to one peer until `shutdown` turns true.
pub(super) async fn dial(peer: PeerConfig, links: Links, mut shutdown: watch::Receiver<bool>) {
    let keep = async {
        let mut delays = backoff();
        let mut is_told = false;
        loop {
            let started = Instant::now();
            let reached = timeout(CONNECT_TIMEOUT, connect(&peer, &links, links.identity.client()))
                .await
                .unwrap_or(Err(Unreached::Timeout));
            match reached {
                Ok(stream) => {
                    is_told = false;
                    let shown = tls::shown(stream.get_ref().1);
                    if let Err(error) = run(&links, &peer.name, &shown, framed(stream), None).await {
                        tracing::info!(peer = %peer.name, %error, "a link broke: this node dials again");
                    }
                }
                Err(error) if error.is_refusal() && !is_told => {
                    is_told = true;
                    let action = "none if it was revoked on purpose; otherwise give the peer a new certificate";
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(peer = %peer.name, error, action, "the certificate of a peer is not accepted: no link to it");
                }
                Err(error) => {
                    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                    tracing::debug!(peer = %peer.name, %error, source, "peer not reached");
                }
            }
            if started.elapsed() >= GOOD_LINK {
                delays = backoff();
            }
            let wait = if links.membership.now().is_removed { REMOVED_WAIT } else { Duration::ZERO };
            sleep(delays.next().unwrap_or(CONNECT_TIMEOUT).max(wait)).await;
        }
    };
    tokio::select! {
        () = keep => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
}

/// Connects to a peer, whose certificate proves its name.
pub(super) async fn connect(
    peer: &PeerConfig,
    links: &Links,
    tls: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, Unreached> {
    if links.faults.is_cut(&peer.name) {
        return Err(Unreached::Cut);
    }
    let mut last = Unreached::Resolve(ResolveError::NoAddress);
    for address in resolve(&peer.address, &[]).await? {
        let socket = match TcpStream::connect(address).await {
            Ok(socket) => socket,
            Err(error) => {
                last = Unreached::Connect(error);
                continue;
            }
        };
        // Without TCP_NODELAY small frames wait for acknowledgements. A link works that way too.
        let _ = socket.set_nodelay(true);
        // The certificate must name this peer: the certificate of another region is refused here.
        let name = ServerName::try_from(peer.name.as_str().to_owned())
            .map_err(|error| Unreached::Tls(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        return TlsConnector::from(tls).connect(name, socket).await.map_err(Unreached::Tls);
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use replication::ReplicaConfig;

    use super::backoff;

    #[test]
    fn a_node_that_restarts_is_dialled_before_it_stops_waiting() {
        let name = "a".parse().expect("a name");
        let config = ReplicaConfig::new(name, "a".parse().expect("a region"), BTreeMap::new());
        assert!(backoff().take(1_000).all(|wait| wait < config.start_grace()));
    }
}
