//! Accepts links from peers with smaller names.

use std::time::Duration;

use futures_util::StreamExt as _;
use replication::{Frame, NodeName};
use service::listen::{Accepted, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::link::{framed, run};
use super::{Links, tls};

/// How long a connection may take to show a certificate and to greet.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most handshakes at one time, so that strangers cannot make this node hold more sockets.
const HANDSHAKES: usize = 64;

/// Why a connection is refused.
#[derive(Debug, thiserror::Error)]
enum Stranger {
    #[error("TLS handshake failed")]
    Tls(#[source] std::io::Error),
    #[error("no greeting")]
    Silent,
    #[error("the first frame is not a greeting")]
    NoHello,
    #[error("a fault that an operator ordered cuts the way to it")]
    Cut,
    #[error("its certificate does not prove the name {0}")]
    WrongName(NodeName),
    #[error("{0} is not a member of this deployment")]
    NoMember(NodeName),
}

/// Accepts links until `shutdown` turns true.
pub async fn accept(socket: TcpListener, links: Links, mut shutdown: watch::Receiver<bool>) {
    let handshakes = std::sync::Arc::new(tokio::sync::Semaphore::new(HANDSHAKES));
    let listener = Listener::unlimited(socket);
    while let Some(Accepted { stream: socket, peer: address, .. }) = listener.accept(&mut shutdown).await {
        let Ok(permit) = handshakes.clone().try_acquire_owned() else { continue };
        let (links, mut shutdown) = (links.clone(), shutdown.clone());
        tokio::spawn(async move {
            let serve = async {
                match tokio::time::timeout(HANDSHAKE_TIMEOUT, greet(&links, socket)).await {
                    Ok(Ok((peer, frames, hello))) => {
                        drop(permit);
                        if let Err(error) = run(&links, &peer, frames, Some(hello)).await {
                            tracing::info!(%peer, %error, "a link broke: the peer dials again");
                        }
                    }
                    Ok(Err(Stranger::Cut)) => tracing::debug!(%address, "a fault cuts the way to a peer that dialled"),
                    Ok(Err(stranger @ Stranger::NoMember(_))) => {
                        links.metrics.refused_peers.inc();
                        let action = "stop it, or add it with `meridian region add`";
                        tracing::info!(%address, error = %stranger, action, "refused a node on the replication port");
                    }
                    Ok(Err(stranger)) => {
                        links.metrics.refused_peers.inc();
                        let action = "none if it is a scanner; otherwise check the peer's certificate and name";
                        let error = &stranger as &dyn std::error::Error;
                        tracing::warn!(
                            %address, error, action,
                            "refused a connection on the replication port"
                        );
                    }
                    Err(_) => {
                        links.metrics.refused_peers.inc();
                        let action = "none if it is a scanner; otherwise check the network to the peer";
                        tracing::warn!(%address, action, "refused a connection that did not greet in time");
                    }
                }
            };
            tokio::select! {
                () = serve => {}
                _ = shutdown.wait_for(|stop| *stop) => {}
            }
        });
    }
}

type Greeted = (NodeName, super::link::Frames<tokio_rustls::server::TlsStream<TcpStream>>, bytes::Bytes);

/// Completes TLS and reads the greeting, whose name the certificate must prove.
async fn greet(links: &Links, socket: TcpStream) -> Result<Greeted, Stranger> {
    // Without TCP_NODELAY small frames wait for acknowledgements. A link works that way too.
    let _ = socket.set_nodelay(true);
    let stream = TlsAcceptor::from(links.identity.server()).accept(socket).await.map_err(Stranger::Tls)?;
    let mut frames = framed(stream);
    let first = match frames.next().await {
        Some(Ok(first)) => first.freeze(),
        _ => return Err(Stranger::Silent),
    };
    let Ok(Frame::Hello(hello)) = Frame::decode(&first) else { return Err(Stranger::NoHello) };
    let (_, connection) = frames.get_ref().get_ref();
    if !tls::proves(connection.peer_certificates(), &hello.node) {
        return Err(Stranger::WrongName(hello.node));
    }
    if !links.membership.now().peers.contains_key(&hello.node) {
        return Err(Stranger::NoMember(hello.node));
    }
    if links.faults.is_cut(&hello.node) {
        return Err(Stranger::Cut);
    }
    Ok((hello.node, frames, first))
}
