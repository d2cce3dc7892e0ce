//! The new router's side: takes over from the router that runs.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Offer, PROTOCOL, Ready, Request, Retires, door, memory, wire};
use crate::control::{Control, ControlMemory, LookProgress};
use crate::health::HealthRules;
use crate::sockets::{HeldSocket, Sockets};

/// How long the running router may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a first look may take beyond its probes, on a busy machine.
const MARGIN: Duration = Duration::from_secs(2);

/// Bytes of an offer: as many members, and nodes of each region, as a router keeps.
const LONGEST_OFFER: usize = 16 << 20;

/// Sockets in an offer.
const MOST_SOCKETS: usize = 4_096;

/// Why a router cannot replace the one that runs, which goes on then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceError {
    /// The running router does not hand over its sockets.
    #[error(
        "the running router (process {process}) does not hand over its sockets, and its log says why: start this one as the user of that process, and not while another one replaces it; if it hangs, stop it first"
    )]
    NoOffer {
        /// Its process id, if it is known.
        process: String,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The socket in the data folder cannot be used.
    #[error("{} cannot be used", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// This process reaches no node, although the running one does.
    #[error("this router reaches none of the nodes, although the running one does: check the regions and the network")]
    SeesNothing,
}

/// The router that runs.
#[derive(Debug)]
pub(crate) struct Predecessor {
    stream: UnixStream,
    process: String,
}

/// How far a successor has seen for itself what its predecessor knew.
pub(crate) type Outlook = watch::Receiver<LookProgress>;

/// Takes the sockets of the router that runs with this data folder, and puts its knowledge into `control`. It goes on
/// serving. Without such a router nothing happens.
///
/// # Errors
/// [`ReplaceError`].
pub(crate) async fn take_over(
    data: &Path,
    sockets: &mut Sockets,
    control: &mut Control,
) -> Result<(Option<Predecessor>, Option<Outlook>), ReplaceError> {
    let Some(mut predecessor) = Predecessor::find(data).await? else {
        tracing::info!("no router runs with this data folder: this one starts as usual");
        return Ok((None, None));
    };
    let (taken, memory) = predecessor.take().await?;
    *sockets = taken;
    let outlook = control.succeed(memory);
    Ok((Some(predecessor), Some(outlook)))
}

/// Waits until this router has seen for itself what its predecessor knew.
///
/// # Errors
/// [`ReplaceError::SeesNothing`].
pub(crate) async fn look_around(mut outlook: Outlook, rules: &HealthRules) -> Result<(), ReplaceError> {
    // Each node is probed at once, and each router is asked at once and again after half an interval.
    let limit = rules.timeout + rules.interval + MARGIN;
    let seen = timeout(limit, outlook.wait_for(LookProgress::is_complete)).await.is_ok();
    let progress = outlook.borrow().clone();
    if !progress.sees {
        return Err(ReplaceError::SeesNothing);
    }
    if !seen {
        tracing::warn!(
            routers = ?progress.unheard, has_probed = progress.has_probed,
            action = "check the other routers and peers.key_file",
            "this router does not hear all routers that the running one hears: it takes over all the same"
        );
    }
    Ok(())
}

impl Predecessor {
    /// The router that runs with this data folder; `None` if there is none.
    ///
    /// # Errors
    /// [`ReplaceError::Socket`].
    pub(crate) async fn find(data: &Path) -> Result<Option<Predecessor>, ReplaceError> {
        let path = door(data);
        let stream = match timeout(PATIENCE, UnixStream::connect(&path)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Ok(Err(source)) => return Err(ReplaceError::Socket { path, source }),
            Err(late) => return Err(ReplaceError::Socket { path, source: late.into() }),
        };
        let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let process = process.map_or_else(|| "unknown".to_owned(), |process| process.to_string());
        Ok(Some(Predecessor { stream, process }))
    }

    /// Takes its sockets and its knowledge. It goes on serving.
    ///
    /// # Errors
    /// [`ReplaceError::NoOffer`].
    pub(crate) async fn take(&mut self) -> Result<(Sockets, Option<ControlMemory>), ReplaceError> {
        let taken = timeout(PATIENCE, self.offered()).await.unwrap_or_else(|late| Err(late.into()));
        taken.map_err(|source| ReplaceError::NoOffer { process: self.process.clone(), source })
    }

    async fn offered(&mut self) -> io::Result<(Sockets, Option<ControlMemory>)> {
        wire::send(&mut self.stream, &Request { replace: PROTOCOL }).await?;
        let offer: Offer = wire::read(&mut self.stream, LONGEST_OFFER).await?;
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        if offer.sockets.len() > MOST_SOCKETS {
            return Err(invalid("too many sockets"));
        }
        let descriptors = wire::read_descriptors(&self.stream, offer.sockets.len()).await?;
        let sockets = offer.sockets.into_iter().zip(descriptors);
        let sockets: Vec<HeldSocket> =
            sockets.map(|(binding, descriptor)| HeldSocket { binding, descriptor }).collect();
        if !sockets.iter().all(HeldSocket::is_as_told) {
            return Err(invalid("a socket is not what it is said to be"));
        }
        tracing::info!(process = self.process, sockets = sockets.len(), "the running router shares its sockets");
        Ok((Sockets::taken_over(sockets), memory(offer.memory)))
    }

    /// Tells it to end, now that this router serves. If it does not answer this router serves all the same.
    pub(crate) async fn retire(mut self) {
        let retires = async {
            wire::send(&mut self.stream, &Ready { ready: true }).await?;
            wire::read::<Retires>(&mut self.stream, 1_024).await
        };
        match timeout(PATIENCE, retires).await.unwrap_or_else(|late| Err(late.into())) {
            Ok(_) => tracing::info!(process = self.process, "this router has replaced the one that ran, which ends"),
            Err(error) => tracing::warn!(
                process = self.process, %error,
                action = "stop that process if it still runs, because both take clients until then",
                "the router that was to be replaced does not answer: this one serves"
            ),
        }
    }
}
