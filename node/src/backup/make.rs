//! Makes a backup: a thread reads a snapshot of the store, and the answer to the operator takes the pieces.
//!
//! # Invariants
//! - One backup at a time. It ends when the client takes its pieces no more, and after [`LONGEST`] in any case.
//! - Memory is bounded: a few pieces wait, one chunk of pairs is in work, and old values have their own bound.
//! - Only a backup that is whole ends with [`Piece::End`].

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::format::{BackupWriter, Head};
use super::lock::Locked;
use crate::backup_key::Recipient;
use crate::metrics::Metrics;
use crate::storage::{SnapshotError, Snapshots};

/// How long a backup may take.
const LONGEST: Duration = Duration::from_hours(6);
/// Bytes of pairs that are read at one time.
const CHUNK: usize = 256 << 10;
/// Bytes of a piece.
const PIECE: usize = 64 << 10;
/// Pieces that may wait.
const WAITING: usize = 8;

/// A part of a backup.
#[derive(Debug)]
pub enum Piece {
    /// Encrypted bytes.
    Bytes(Bytes),
    /// The backup is whole.
    End,
}

/// Backups of one node.
#[derive(Clone)]
pub struct Backups {
    snapshots: Arc<Snapshots>,
    metrics: Arc<Metrics>,
    /// Bytes of old values that may be kept for a backup.
    most_kept: usize,
    places: Arc<Semaphore>,
}

/// The place of the one backup that may run.
pub struct Place(OwnedSemaphorePermit);

/// How a backup ended.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("the backup took longer than six hours")]
    Late,
    #[error("a piece could not be made")]
    Write(#[from] io::Error),
}

impl Failure {
    /// The label of the metric, and what an operator does about it.
    fn told(&self) -> (&'static str, &'static str) {
        match self {
            Failure::Write(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                ("client_gone", "look at the program that took it; nothing is wrong with this node")
            }
            Failure::Snapshot(SnapshotError::TooMuchChanged { .. }) => (
                "too_much_changed",
                "raise backup.kept_mib, or take the backup at a quieter time or nearer to the node",
            ),
            Failure::Late => ("late", "take the backup nearer to the node"),
            _ => ("failed", "look at the disk of the data"),
        }
    }
}

/// Counts how a backup ended, also if its thread panics.
struct Outcome {
    metrics: Arc<Metrics>,
    is: &'static str,
}

impl Drop for Outcome {
    fn drop(&mut self) {
        self.metrics.backed_up(self.is);
    }
}

impl Backups {
    /// Backups of a store that keep at most so many bytes of old values.
    #[must_use]
    pub fn new(snapshots: Arc<Snapshots>, most_kept: usize, metrics: Arc<Metrics>) -> Backups {
        Backups { snapshots, metrics, most_kept, places: Arc::new(Semaphore::new(1)) }
    }

    /// The place of a backup; `None` if one is running.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.places.clone().try_acquire_owned().ok().map(Place)
    }

    /// Begins a backup. If the pieces end without [`Piece::End`], it is not whole, and the log says why.
    #[must_use]
    pub fn begin(&self, place: Place, head: Head, recipients: Vec<Recipient>) -> mpsc::Receiver<Piece> {
        let (pieces, taken) = mpsc::channel(WAITING);
        let backups = self.clone();
        tokio::task::spawn_blocking(move || {
            let Place(_permit) = place;
            let mut outcome = Outcome { metrics: backups.metrics.clone(), is: "failed" };
            let begun = Instant::now();
            match backups.make(&pieces, head, &recipients) {
                Ok((pairs, bytes)) => {
                    outcome.is = "whole";
                    tracing::info!(pairs, bytes, seconds = begun.elapsed().as_secs(), "a backup is made");
                }
                Err(failure) => {
                    let (outcome_is, action) = failure.told();
                    outcome.is = outcome_is;
                    let error = &failure as &dyn std::error::Error;
                    tracing::error!(error, action, "a backup broke off: what was sent of it cannot be put back");
                }
            }
            backups.metrics.backup_kept_bytes.set(0);
        });
        taken
    }

    /// Makes a backup; returns its pairs and its bytes.
    fn make(&self, pieces: &mpsc::Sender<Piece>, head: Head, recipients: &[Recipient]) -> Result<(u64, u64), Failure> {
        let until = Instant::now() + LONGEST;
        let mut snapshot = self.snapshots.begin(self.most_kept)?;
        let to = Pieces { to: pieces, waiting: BytesMut::new(), sent: 0 };
        let mut writer = BackupWriter::begin(Locked::new(to, recipients)?, head)?;
        let mut count = 0;
        while let Some(pairs) = snapshot.next(CHUNK)? {
            let kept = i64::try_from(self.snapshots.kept_bytes()).unwrap_or(i64::MAX);
            self.metrics.backup_kept_bytes.set(kept);
            if Instant::now() >= until {
                return Err(Failure::Late);
            }
            if pieces.is_closed() {
                return Err(gone().into());
            }
            count += pairs.pairs.len() as u64;
            writer.pairs(pairs)?;
        }
        let mut to = writer.finish(snapshot.dropped())?.finish()?;
        to.send()?;
        pieces.blocking_send(Piece::End).map_err(|_| gone())?;
        Ok((count, to.sent))
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the client takes the backup no more")
}

/// Gathers bytes into pieces.
struct Pieces<'a> {
    to: &'a mpsc::Sender<Piece>,
    waiting: BytesMut,
    sent: u64,
}

impl Pieces<'_> {
    fn send(&mut self) -> io::Result<()> {
        let piece = self.waiting.split().freeze();
        self.sent += piece.len() as u64;
        self.to.blocking_send(Piece::Bytes(piece)).map_err(|_| gone())
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= PIECE {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
