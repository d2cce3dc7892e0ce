//! Asks peers whether this node is still a member, and answers peers that ask.
//!
//! # The problem
//! A node that is removed by force while it cannot be reached hears nothing of it afterwards: the members refuse its links, so
//! their document does not reach it. It would go on and take check-ins that no other region ever gets.
//!
//! # The rule
//! A node asks the peers to which it has no link, one after the other. It dials their replication port with a TLS protocol
//! of its own (ALPN, RFC 7301), [`tls::INQUIRY`], and sends its name. The answer is the last change of its membership as JSON,
//! or an empty frame. The node writes a removal into its own document, and acts on it as on any other change there.
//!
//! # Invariants
//! - The asked node answers only about the name that the asker's certificate proves.
//! - An answer counts as much as a link: its sender has proved its name, and could write the same change over a link.
//! - A release that does not know the protocol closes the connection, and the node learns nothing.

use std::io;
use std::time::Duration;

use api::NodeName;
use api::members::{Member, Membership};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use super::dial::{Unreached, connect};
use super::{Links, tls};
use crate::config::PeerConfig;
use crate::membership;

/// How often a node that lacks a link asks one peer.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How long a peer may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Largest frame: an author and a reason have at most 400 bytes each, which JSON can make six times as long.
const LARGEST: usize = 8 << 10;

/// Why a peer gave no answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error(transparent)]
    Unreached(#[from] Unreached),
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    #[error("it does not know the question: an earlier release")]
    Unknown,
    #[error("its answer is no change of a member")]
    Malformed(#[from] serde_json::Error),
    #[error("no answer in time")]
    Timeout,
}

fn framed<S: AsyncRead + AsyncWrite>(stream: S) -> Framed<S, LengthDelimitedCodec> {
    LengthDelimitedCodec::builder().max_frame_length(LARGEST).new_framed(stream)
}

/// Asks, whenever links are missing, until `stop` is true.
pub async fn ask_for_membership(links: Links, mut stop: watch::Receiver<bool>) {
    let mut turns = tokio::time::interval(ASK_EVERY);
    // A node that starts has no links yet.
    turns.reset();
    let mut last_asked: Option<NodeName> = None;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = turns.tick() => {}
        }
        let Some(peer) = next_unlinked(&links, last_asked.as_ref()) else { continue };
        let answer = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            answer = timeout(PATIENCE, ask(&peer, &links)) => answer.unwrap_or(Err(Unanswered::Timeout)),
        };
        match answer {
            Ok(Some(change)) if change.membership == Membership::Removed => {
                let (by, region) = (&peer.name, &change.region);
                tracing::warn!(told_by = %by, %region, "a peer says that this node was removed while it was away");
                membership::take(&links.handle, &change).await;
            }
            Ok(_) => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(peer = %peer.name, error, "a peer did not say whether this node is a member");
            }
        }
        last_asked = Some(peer.name);
    }
}

/// The first peer without a link after `last`, in the order of their names; the first of all after the last one. `None`
/// if all are linked, or this node knows already that it was removed.
fn next_unlinked(links: &Links, last: Option<&NodeName>) -> Option<PeerConfig> {
    let members = links.membership.now();
    if members.is_removed {
        return None;
    }
    let status = links.handle.status();
    let is_linked = |name: &NodeName| status.peers.iter().any(|peer| peer.node == *name && peer.replica.is_some());
    let unlinked = || members.peers.values().filter(|peer| !is_linked(&peer.name));
    unlinked().find(|peer| last.is_none_or(|last| *last < peer.name)).or_else(|| unlinked().next()).cloned()
}

/// Asks one peer for the last change of this node's membership.
async fn ask(peer: &PeerConfig, links: &Links) -> Result<Option<Member>, Unanswered> {
    let stream = connect(peer, links, links.identity.inquirer()).await?;
    if stream.get_ref().1.alpn_protocol() != Some(tls::INQUIRY) {
        return Err(Unanswered::Unknown);
    }
    let own = links.membership.configured().name();
    let mut frames = framed(stream);
    frames.send(Bytes::copy_from_slice(own.as_str().as_bytes())).await?;
    let Some(answer) = frames.next().await else { return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()) };
    let answer = answer?;
    if answer.is_empty() {
        return Ok(None);
    }
    let change: Member = serde_json::from_slice(&answer)?;
    Ok(Some(change).filter(|change| change.name == *own))
}

/// Answers a node that asks: a name, then the change.
///
/// # Errors
/// The connection broke, or the name is not the one that the certificate proves.
pub(super) async fn answer(links: &Links, stream: TlsStream<TcpStream>) -> io::Result<()> {
    let mut frames = framed(stream);
    let Some(name) = frames.next().await else { return Ok(()) };
    let name: Option<NodeName> = std::str::from_utf8(&name?).ok().and_then(|name| name.parse().ok());
    let (_, connection) = frames.get_ref().get_ref();
    let name = name.filter(|name| tls::proves(connection.peer_certificates(), name));
    let Some(name) = name else { return Err(io::Error::from(io::ErrorKind::PermissionDenied)) };
    if links.faults.is_cut(&name) {
        // A fault that cuts the way is no news; the asker hears nothing.
        return Ok(());
    }
    let members = links.membership.now();
    let change = members.changes.get(&name).map(serde_json::to_vec).transpose()?;
    frames.send(Bytes::from(change.unwrap_or_default())).await?;
    SinkExt::<Bytes>::close(&mut frames).await
}
