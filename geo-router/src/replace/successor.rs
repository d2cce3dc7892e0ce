//! The running router's side: waits for a successor.

use std::fs::Permissions;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::{Offer, PROTOCOL, Ready, Request, Retires, door, wire};
use crate::control::ControlHandle;
use crate::sockets::HeldSockets;

/// How long another process may take to ask, and to take what it asked for.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a successor may take until it serves.
const WARM_UP: Duration = Duration::from_secs(120);

/// Bytes of a message of a successor.
const LONGEST: usize = 1_024;

/// How long to wait after the system refused a connection.
const REFUSED: Duration = Duration::from_millis(100);

/// The socket at which a router waits for its successor.
#[derive(Debug)]
pub(crate) struct Door {
    listener: UnixListener,
    path: PathBuf,
    /// The file that is ours. `None` once a successor serves: it puts its own file there at any moment, so between a look at
    /// the file and its removal it may have become the successor's.
    inode: Option<u64>,
    user: u32,
}

/// Why a process did not become the successor.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("it is a process of another user ({0})")]
    User(u32),
    #[error("it sent no request for the sockets")]
    NoRequest(#[source] io::Error),
    #[error("its version asks in another way ({0})")]
    Version(u32),
    #[error("it did not take the sockets")]
    NotTaken(#[source] io::Error),
    #[error("it ended, or took too long, before it was ready")]
    NotReady(#[source] io::Error),
    #[error("this router's control plane ends, or does not answer in time")]
    NoMemory,
}

/// Opens a door that could be made.
pub(crate) fn open(made: io::Result<Door>) -> Option<Door> {
    made.and_then(|door| door.open().map(|()| door))
        .inspect_err(|error| {
            tracing::warn!(
                %error, action = "give the router a data folder that it can write to and whose path is short",
                "the socket in the data folder cannot be made: `meridian router --replace` will not find this router"
            );
        })
        .ok()
}

/// Waits until a successor serves, which has all of `sockets` then.
pub(crate) async fn successor(door: Option<Door>, sockets: HeldSockets, control: ControlHandle) {
    match door {
        Some(door) => door.successor(&sockets, &control).await,
        None => std::future::pending().await,
    }
}

impl Door {
    /// Makes the socket, beside that of a predecessor.
    pub(crate) fn make(data: &Path) -> io::Result<Door> {
        std::fs::create_dir_all(data)?;
        let path = door(data);
        let next = next(&path);
        match std::fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&next)?;
        std::fs::set_permissions(&next, Permissions::from_mode(0o600))?;
        let made = std::fs::symlink_metadata(&next)?;
        // The file is this process's own, so its user is this process's.
        Ok(Door { listener, path, inode: Some(made.ino()), user: made.uid() })
    }

    /// Puts the socket in the place of the predecessor's.
    fn open(&self) -> io::Result<()> {
        std::fs::rename(next(&self.path), &self.path)
    }

    async fn successor(mut self, sockets: &HeldSockets, control: &ControlHandle) {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the system refuses a connection of a successor");
                    tokio::time::sleep(REFUSED).await;
                    continue;
                }
            };
            let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
            match self.hand_over(stream, sockets, control).await {
                Ok(()) => {
                    tracing::info!(process, "another router has taken over: this one ends");
                    self.inode = None;
                    return;
                }
                Err(why) => tracing::warn!(
                    process,
                    why = &why as &dyn std::error::Error,
                    action = "read the log of the other process",
                    "a process was to replace this router and did not: this router goes on as before"
                ),
            }
        }
    }

    async fn hand_over(
        &self,
        mut stream: UnixStream,
        sockets: &HeldSockets,
        control: &ControlHandle,
    ) -> Result<(), Refused> {
        let peer = stream.peer_cred().map_err(Refused::NoRequest)?;
        if peer.uid() != self.user {
            return Err(Refused::User(peer.uid()));
        }
        let Request { replace } =
            in_time(PATIENCE, wire::read(&mut stream, LONGEST)).await.map_err(Refused::NoRequest)?;
        if replace != PROTOCOL {
            return Err(Refused::Version(replace));
        }
        tracing::info!(process = peer.pid(), "another router is about to replace this one");
        let memory = timeout(PATIENCE, control.memory()).await.ok().flatten().ok_or(Refused::NoMemory)?;
        let offer = Offer {
            sockets: sockets.iter().map(|held| held.binding).collect(),
            memory: serde_json::to_value(&memory).ok(),
        };
        let descriptors: Vec<_> = sockets.iter().map(|held| held.descriptor.as_fd()).collect();
        let offered = async {
            wire::send(&mut stream, &offer).await?;
            wire::send_descriptors(&stream, &descriptors).await
        };
        in_time(PATIENCE, offered).await.map_err(Refused::NotTaken)?;
        let Ready { ready } = in_time(WARM_UP, wire::read(&mut stream, LONGEST)).await.map_err(Refused::NotReady)?;
        if !ready {
            return Err(Refused::NotReady(io::ErrorKind::InvalidData.into()));
        }
        // A disk that hangs must not keep the successor waiting.
        if timeout(PATIENCE, control.keeps_state(false)).await.is_err() {
            tracing::warn!(action = "check the disk", "the state of this router is still being written while it ends");
        }
        // The successor serves already, so it does not matter whether it hears this.
        let _ = in_time(PATIENCE, wire::send(&mut stream, &Retires { retires: true })).await;
        Ok(())
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // It is not ours any more if somebody has put another one there.
        let Some(inode) = self.inode else { return };
        for path in [&self.path, &next(&self.path)] {
            if std::fs::symlink_metadata(path).is_ok_and(|file| file.ino() == inode) {
                // A file that stays does no harm, because nothing listens at it.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// Where the socket is made.
fn next(path: &Path) -> PathBuf {
    path.with_extension("next")
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, work).await.unwrap_or_else(|late| Err(late.into()))
}
