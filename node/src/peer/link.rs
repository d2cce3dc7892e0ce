//! One connection: passes frames from the socket to the driver and from the driver to the socket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use replication::{Frame, FrameKind, LinkId, MAX_FRAME, NodeName};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use super::Links;
use crate::driver::LinkInput;
use crate::faults::disturb;
use crate::space::Room;
use api::faults::Direction;

/// Frames that may wait for the socket. The replica's own limit on bytes in flight is reached first.
const WAITING: usize = 1024;
/// Longest time that a peer may take to read what we send.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long frames that were read may take to the driver after their link has ended.
const LAST_FRAMES: Duration = Duration::from_millis(200);

pub(super) type Frames<S> = Framed<S, LengthDelimitedCodec>;

pub(super) fn framed<S: AsyncRead + AsyncWrite>(stream: S) -> Frames<S> {
    LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME).new_framed(stream)
}

/// Runs a link to its end. `shown` are the certificates by which the peer proved its name, `first` is a frame that was
/// already read.
pub(super) async fn run<S>(
    links: &Links,
    peer: &NodeName,
    shown: &[CertificateDer<'static>],
    frames: Frames<S>,
    first: Option<Bytes>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let link = links.next_id();
    let (frames_in, frames_out) = mpsc::channel(WAITING);
    let up = LinkInput::Up { link, peer: peer.clone(), frames: frames_in };
    if links.handle.links.send(up).await.is_err() {
        return Ok(());
    }
    tracing::info!(link = link.0, %peer, "link up");
    let result = tokio::select! {
        biased;
        () = links.identity.until_refused(peer, shown) => Ok(()),
        result = pump(links, peer, link, frames, first, frames_out) => result,
    };
    // An error means that the driver is gone: the node is stopping.
    let _ = links.handle.links.send(LinkInput::Down { link }).await;
    result
}

/// What disturbs the frames of a link, in each direction.
struct Stages {
    /// Frames for the driver.
    into_driver: mpsc::Sender<LinkInput>,
    running: JoinSet<()>,
}

impl Stages {
    /// Puts a stage before the driver, and one behind it: `out` then gives what the faults let pass.
    fn start(links: &Links, peer: &NodeName, out: &mut mpsc::Receiver<Arc<[u8]>>) -> Stages {
        let (into_driver, arriving) = mpsc::channel(1);
        let (leaving, passed) = mpsc::channel(1);
        let from_driver = std::mem::replace(out, passed);
        let mut running = JoinSet::new();
        let (faults, peer) = (|| links.faults.clone(), || peer.clone());
        running.spawn(disturb(faults(), peer(), Direction::In, arriving, links.handle.links.clone()));
        running.spawn(disturb(faults(), peer(), Direction::Out, from_driver, leaving));
        Stages { into_driver, running }
    }

    /// Lets frames that were read before the link ended reach the driver.
    async fn finish(mut self) {
        drop(self.into_driver);
        let passed = async { while self.running.join_next().await.is_some() {} };
        // An error means that a fault still holds frames back: they are lost with the link.
        let _ = tokio::time::timeout(LAST_FRAMES, passed).await;
    }
}

async fn pump<S>(
    links: &Links,
    peer: &NodeName,
    link: LinkId,
    frames: Frames<S>,
    first: Option<Bytes>,
    mut out: mpsc::Receiver<Arc<[u8]>>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (mut sink, mut stream) = frames.split();
    // Without `[faults]` no frame takes the way through a stage.
    let stages = links.faults.is_enabled().then(|| Stages::start(links, peer, &mut out));
    let reading = async {
        if let Some(first) = first
            && links.handle.links.send(LinkInput::Frame { link, bytes: first.to_vec() }).await.is_err()
        {
            return Ok(());
        }
        while let Some(frame) = stream.next().await {
            // The codec refuses a length above the largest frame before it allocates.
            let frame = frame.inspect_err(|error| {
                if error.kind() == io::ErrorKind::InvalidData {
                    links.metrics.bad_frames.inc();
                }
            })?;
            // As if it were lost: the peer sends entries again that its next greeting or progress finds missing.
            if links.space.room() == Room::Hardly && Frame::kind(&frame) == Some(FrameKind::Deltas) {
                continue;
            }
            let frame = LinkInput::Frame { link, bytes: frame.to_vec() };
            let to = stages.as_ref().map_or(&links.handle.links, |stages| &stages.into_driver);
            if to.send(frame).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let writing = async {
        // The driver closes a link by dropping its end of the channel.
        while let Some(frame) = out.recv().await {
            let write = async {
                sink.feed(Bytes::from_owner(frame)).await?;
                while let Ok(more) = out.try_recv() {
                    sink.feed(Bytes::from_owner(more)).await?;
                }
                sink.flush().await
            };
            tokio::time::timeout(WRITE_TIMEOUT, write).await??;
        }
        Ok(())
    };
    let result = tokio::select! {
        result = reading => result,
        result = writing => result,
    };
    if let Some(stages) = stages {
        stages.finish().await;
    }
    result
}
