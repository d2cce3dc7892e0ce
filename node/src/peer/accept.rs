//! Accepts links from peers with smaller names.

use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use governor::{Quota, RateLimiter};
use replication::{Frame, NodeName};
use service::ended::Ended;
use service::listen::{Accepted, Listener};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::link::{framed, run};
use super::{Links, inquiry, tls};

/// How long a connection may take to show a certificate and to greet.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most handshakes at one time, so that strangers cannot make this node hold more sockets.
const HANDSHAKES: usize = 64;

/// Most log lines about refused connections in a minute, because strangers cause them. The metric counts all.
const LINES: NonZeroU32 = NonZeroU32::new(20).expect("not 0");

/// Why a connection is refused.
#[derive(Debug, thiserror::Error)]
enum Stranger {
    #[error("TLS handshake failed")]
    Tls(#[source] std::io::Error),
    #[error("it hung up before it had shown who it is")]
    HungUp,
    #[error("its question could not be answered")]
    Asked(#[source] std::io::Error),
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
    let handshakes = Arc::new(tokio::sync::Semaphore::new(HANDSHAKES));
    let ends = links.metrics.ended.of("replication");
    let mut listener = Listener::unlimited(socket).counting(ends.clone());
    let lines = Arc::new(RateLimiter::direct(Quota::per_minute(LINES)));
    while let Some(Accepted { stream: socket, peer: address, .. }) = listener.accept(&mut shutdown).await {
        let Ok(permit) = handshakes.clone().try_acquire_owned() else {
            ends.count(Ended::Limit);
            continue;
        };
        let (links, mut shutdown, lines, ends) = (links.clone(), shutdown.clone(), lines.clone(), ends.clone());
        tokio::spawn(async move {
            let serve = async {
                let greeted = tokio::time::timeout(HANDSHAKE_TIMEOUT, greet(&links, socket)).await;
                if let Some(reason) = reason(&greeted) {
                    ends.count(reason);
                }
                match greeted {
                    Ok(Ok(None)) => {}
                    Ok(Ok(Some((peer, frames, hello)))) => {
                        drop(permit);
                        let shown = tls::shown(frames.get_ref().get_ref().1);
                        if let Err(error) = run(&links, &peer, &shown, frames, Some(hello)).await {
                            tracing::info!(%peer, %error, "a link broke: the peer dials again");
                        }
                    }
                    // A peer that waited in vain for this node, for example because its process was frozen.
                    Ok(Err(Stranger::HungUp)) => tracing::debug!(%address, "a connection ended before it greeted"),
                    Ok(Err(Stranger::Cut)) => tracing::debug!(%address, "a fault cuts the way to a peer that dialled"),
                    Ok(Err(_)) | Err(_) if lines.check().is_err() => links.metrics.refused_peers.inc(),
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

/// Why a connection is refused, in the words of the metric; `None` if it is not, or if its other end left.
fn reason<T, E>(greeted: &Result<Result<T, Stranger>, E>) -> Option<Ended> {
    match greeted {
        Ok(Ok(_) | Err(Stranger::HungUp)) => None,
        Ok(Err(Stranger::Tls(_) | Stranger::WrongName(_) | Stranger::NoMember(_))) => Some(Ended::Tls),
        Ok(Err(Stranger::Asked(_) | Stranger::Silent | Stranger::NoHello)) => Some(Ended::Protocol),
        Ok(Err(Stranger::Cut)) => Some(Ended::Fault),
        Err(_) => Some(Ended::HeadDeadline),
    }
}

/// Why a handshake or an answer failed: because the other end left, or as `otherwise` says.
fn failed(error: std::io::Error, otherwise: fn(std::io::Error) -> Stranger) -> Stranger {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Stranger::HungUp,
        _ => otherwise(error),
    }
}

type Greeted = (NodeName, super::link::Frames<tokio_rustls::server::TlsStream<TcpStream>>, bytes::Bytes);

/// Completes TLS and reads the greeting, whose name the certificate must prove. `None` for a node that only asked
/// whether it is a member, and has its answer.
async fn greet(links: &Links, socket: TcpStream) -> Result<Option<Greeted>, Stranger> {
    // Without TCP_NODELAY small frames wait for acknowledgements. A link works that way too.
    let _ = socket.set_nodelay(true);
    let stream = TlsAcceptor::from(links.identity.server()).accept(socket).await;
    let stream = stream.map_err(|error| failed(error, Stranger::Tls))?;
    if stream.get_ref().1.alpn_protocol() == Some(tls::INQUIRY) {
        return inquiry::answer(links, stream).await.map(|()| None).map_err(|error| failed(error, Stranger::Asked));
    }
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
    Ok(Some((hello.node, frames, first)))
}
