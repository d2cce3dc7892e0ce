//! The guest list as a workbook: made from pages on blocking threads, then sent as a stream of pieces.
//!
//! # Invariants
//! - A slow client holds no thread: the finished file is read a piece at a time, when the client takes the next one.
//! - The answer begins within [`BEGIN`], because the edge gives up on a node that is silent for longer. A workbook that
//!   takes longer is sent without its length, and an error then breaks the connection off, as in every long list.
//! - A workbook is made by a task of its own, so a client that reads nothing keeps no place. It is given up when the
//!   client goes away.
//! - Only few workbooks are made at one time on one node, because each keeps a processor busy and takes disk space.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use futures_util::{FutureExt, TryFutureExt};
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use registry::{GuestRow, GuestTable};
use tokio::io::AsyncReadExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use super::super::App;
use super::super::problem::{Kind, Problem};
use super::super::reply::{BrokeOff, Reply, stream as streamed};
use super::Completeness;
use super::accept::Format;
use super::pages::{Item, Pages};
use super::workbook::{GuestWorkbook, MOST_PERSONS, WorkbookError};

/// How long the answer waits for the workbook. The edge waits for five seconds by default.
pub(super) const BEGIN: Duration = Duration::from_secs(2);

/// Bytes of a piece.
const PIECE: usize = 64 << 10;

type Made = Result<File, Problem>;

/// The answer with the workbook of `pages`; it begins at the latest after `begin`.
pub(super) async fn answer(
    app: &App,
    pages: Pages,
    table: GuestTable,
    completeness: Completeness,
    begin: Duration,
) -> Result<Reply, Problem> {
    let busy = |_| Problem::new(Kind::Busy, "repeat the request in a moment, or elsewhere");
    let place = app.workbooks.clone().try_acquire_owned().map_err(busy)?;
    let data = app.data.clone();
    let begun = on_thread(move || GuestWorkbook::begin(scratch(data), table)).await?;
    let mut making = AbortOnDropHandle::new(tokio::spawn(make(begun, pages, completeness, place)));
    let Ok(made) = tokio::time::timeout(begin, &mut making).await else {
        let made = making.map(|made| made.map_err(panicked).flatten().map(pieces).map_err(|_| BrokeOff));
        return Ok(streamed(Format::Xlsx.media_type(), made.try_flatten_stream()));
    };
    let file = made.map_err(panicked)??;
    let length = file.metadata().map_err(|error| failed(&error.into()))?.len();
    let mut reply = streamed(Format::Xlsx.media_type(), pieces(file));
    reply.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    Ok(reply)
}

/// Where the rows of a workbook lie while it is made: in memory if that has the room, so that no disk keeps names that are
/// erased later, otherwise beside the data.
fn scratch(data: PathBuf) -> PathBuf {
    const MEMORY: &str = "/dev/shm";
    // The longest workbook takes half of it.
    const ROOM: u64 = 1 << 30;
    let has_room = statfs(MEMORY).is_ok_and(|found| {
        let block = u64::try_from(found.block_size()).unwrap_or_default();
        found.filesystem_type() == TMPFS_MAGIC && found.blocks_available().saturating_mul(block) >= ROOM
    });
    if has_room { MEMORY.into() } else { data }
}

/// Makes the workbook page by page. The place goes to the last thread, which goes on when the client has gone away.
async fn make(
    mut workbook: GuestWorkbook,
    mut pages: Pages,
    completeness: Completeness,
    place: OwnedSemaphorePermit,
) -> Made {
    while let Some(items) = pages.next().await? {
        let assumed_stay = pages.assumed_stay();
        workbook = on_thread(move || {
            for item in items {
                match item {
                    Item::Unreadable => workbook.add_unreadable(),
                    Item::Visit(found) => {
                        workbook.add(&GuestRow::of(&found.visit, &found.region, assumed_stay), found.accepted)?;
                    }
                }
            }
            Ok(workbook)
        })
        .await?;
    }
    on_thread(move || {
        let _place = place;
        workbook.finish(&completeness)
    })
    .await
}

/// Runs one step of a workbook on a blocking thread.
async fn on_thread<T: Send + 'static>(
    step: impl FnOnce() -> Result<T, WorkbookError> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(step).await.map_err(panicked)?;
    done.map_err(|error| failed(&error))
}

fn panicked(error: JoinError) -> Problem {
    Problem::of_thread(&error, "a workbook; see whether the disk of the data directory is full")
}

fn failed(error: &WorkbookError) -> Problem {
    if let WorkbookError::TooLong = error {
        let words = format!("a workbook holds {MOST_PERSONS} persons: ask for a shorter window, or for text/csv");
        return Problem::parameter("from", words);
    }
    tracing::error!(
        error = error as &dyn std::error::Error,
        "a workbook could not be made: the guest list is not sent"
    );
    Problem::internal()
}

/// The pieces of a file.
fn pieces(file: File) -> impl Stream<Item = Result<Bytes, BrokeOff>> + Send + 'static {
    stream::try_unfold(tokio::fs::File::from_std(file), |mut file| async move {
        let mut piece = BytesMut::with_capacity(PIECE);
        match file.read_buf(&mut piece).await {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some((piece.freeze(), file))),
            Err(error) => {
                tracing::error!(%error, "a workbook could not be read back: the answer breaks off");
                Err(BrokeOff)
            }
        }
    })
}
