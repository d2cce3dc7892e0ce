//! WebSockets: once a node has agreed, bytes pass both ways unread.
//!
//! # Invariants
//! - Nothing passes before the node has answered 101.
//! - A tunnel counts as a client connection; it ends when both sides are silent for too long, and when the edge stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Edge;
use super::connection::Connection;
use super::metrics::Counted;
use super::pool::Lease;

/// Bytes read at a time, each way.
const PIECE: usize = 8 * 1024;

/// Joins a client's connection and a node's until one of them ends.
pub(super) fn tunnel(
    edge: &Arc<Edge>,
    connection: Arc<Connection>,
    client: OnUpgrade,
    node: OnUpgrade,
    mut lease: Lease,
) {
    lease.detach();
    let (idle, killed) = (edge.config.timeouts.answer_idle, edge.kill.clone());
    let counted = Counted::new(&edge.metrics.upgraded);
    edge.tunnels.spawn(async move {
        let joined = async {
            let (client, node) = tokio::try_join!(client, node)?;
            let (client, node) = (TokioIo::new(client), TokioIo::new(node));
            let (mut client_reads, mut client_writes) = tokio::io::split(client);
            let (mut node_reads, mut node_writes) = tokio::io::split(node);
            let pieces = AtomicU64::new(0);
            tokio::join!(
                pump(&mut client_reads, &mut node_writes, &pieces, idle),
                pump(&mut node_reads, &mut client_writes, &pieces, idle)
            );
            hyper::Result::Ok(())
        };
        tokio::select! {
            result = joined => if let Err(error) = result {
                tracing::debug!(%error, "an upgrade failed");
            },
            () = killed.cancelled() => {}
        }
        drop((connection, counted, lease));
    });
}

/// Passes bytes one way until they end, or until neither way has any for too long.
async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    pieces: &AtomicU64,
    idle: Duration,
) {
    let mut piece = vec![0; PIECE];
    loop {
        let seen = pieces.load(Ordering::Relaxed);
        let read = match tokio::time::timeout(idle, from.read(&mut piece)).await {
            Err(_) if pieces.load(Ordering::Relaxed) == seen => break,
            Err(_) => continue,
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(read)) => read,
        };
        pieces.fetch_add(1, Ordering::Relaxed);
        let written = async {
            to.write_all(&piece[..read]).await?;
            to.flush().await
        };
        if !matches!(tokio::time::timeout(idle, written).await, Ok(Ok(()))) {
            break;
        }
    }
    // The other way may still have bytes; it ends by itself or by silence.
    let _ = to.shutdown().await;
}
