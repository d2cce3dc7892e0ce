//! The body of a request: kept whole if it is small, so that it can be sent again; otherwise sent once, as it arrives.
//!
//! # Invariants
//! - Each request holds in memory at most the buffer and one piece.
//! - A body that its client breaks off is never sent as if it were complete.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::Cut;
use crate::edge::alarms::{Alarms, Wait};
use crate::edge::config::{Limits, Timeouts};
use crate::edge::problem::{Kind, Problem};

/// A body on its way to a node.
pub(in crate::edge) type Outgoing = Either<Full<Bytes>, Box<Streamed>>;

/// A request's body before it is sent.
#[derive(Debug)]
pub(in crate::edge) enum Prepared {
    /// The whole body is in memory.
    Whole(Bytes),
    /// The body can be sent once.
    Once(Box<Streamed>),
    /// The body was sent.
    Gone,
}

impl Prepared {
    /// Whether it can be sent (again).
    pub(in crate::edge) fn is_there(&self) -> bool {
        !matches!(self, Prepared::Gone)
    }

    /// Whether it is in memory, so that it can be sent any number of times.
    pub(in crate::edge) fn is_kept(&self) -> bool {
        matches!(self, Prepared::Whole(_))
    }

    /// The body for an attempt, and how to see that it makes progress.
    pub(in crate::edge) fn take(&mut self) -> (Outgoing, Option<UploadProgress>) {
        match std::mem::replace(self, Prepared::Gone) {
            Prepared::Whole(bytes) => {
                *self = Prepared::Whole(bytes.clone());
                (Either::Left(Full::new(bytes)), None)
            }
            Prepared::Once(streamed) => {
                let progress = streamed.progress.clone();
                (Either::Right(streamed), Some(progress))
            }
            Prepared::Gone => (Either::Left(Full::default()), None),
        }
    }

    /// The body for an attempt that owns it: a copy if it is kept, otherwise the body itself.
    pub(in crate::edge) fn hand_over(&mut self) -> Prepared {
        match self {
            Prepared::Whole(bytes) => Prepared::Whole(bytes.clone()),
            Prepared::Once(_) | Prepared::Gone => std::mem::replace(self, Prepared::Gone),
        }
    }

    /// Takes the body of an attempt that was never sent back.
    pub(in crate::edge) fn give_back(&mut self, body: Outgoing) {
        if let Either::Right(streamed) = body {
            *self = Prepared::Once(streamed);
        }
    }
}

/// Reads a request's body: all of it if it fits into `buffer` bytes.
pub(in crate::edge) async fn prepare(
    mut body: Incoming,
    buffer: usize,
    limits: &Limits,
    (alarms, timeouts): (&Alarms, &Timeouts),
) -> Result<Prepared, Problem> {
    let hint = body.size_hint();
    if hint.lower() > limits.body {
        return Err(too_large());
    }
    if body.is_end_stream() {
        return Ok(Prepared::Whole(Bytes::new()));
    }
    let mut kept: Vec<Bytes> = Vec::new();
    let mut size = 0;
    if hint.exact().is_none_or(|exact| exact <= buffer as u64) {
        let until = Instant::now() + timeouts.body;
        loop {
            let deadline = until.min(Instant::now() + timeouts.body_idle);
            let frame = match alarms.until(Wait::Body, deadline, body.frame()).await {
                None => return Err(slow()),
                Some(None) => return Ok(Prepared::Whole(join(kept, size))),
                Some(Some(Err(_))) => return Err(broke_off()),
                Some(Some(Ok(frame))) => frame,
            };
            // Trailers are dropped, because a field that comes after the body must never count as a field of the head.
            let Ok(data) = frame.into_data() else { continue };
            size += data.len();
            kept.push(data);
            if size as u64 > limits.body {
                return Err(too_large());
            }
            if size > buffer {
                break;
            }
        }
    }
    Ok(Prepared::Once(Box::new(Streamed {
        first: Some(join(kept, size)).filter(|first| !first.is_empty()),
        rest: body,
        taken: size as u64,
        limit: limits.body,
        idle: timeouts.body_idle,
        timer: None,
        progress: UploadProgress::default(),
    })))
}

fn too_large() -> Problem {
    Problem::new(Kind::TooLarge, "the body exceeds the edge's limit")
}

fn slow() -> Problem {
    Problem::new(Kind::BodyTimeout, "send the body faster")
}

fn broke_off() -> Problem {
    Problem::new(Kind::BadRequest, "the body ended early")
}

fn join(mut pieces: Vec<Bytes>, size: usize) -> Bytes {
    if pieces.len() == 1 {
        return pieces.pop().unwrap_or_default();
    }
    let mut whole = BytesMut::with_capacity(size);
    for piece in pieces {
        whole.extend_from_slice(&piece);
    }
    whole.freeze()
}

/// The progress of the upload, for the task that waits for the answer: a slow client must not look like a silent node.
#[derive(Clone, Debug, Default)]
pub(in crate::edge) struct UploadProgress(Arc<State>);

#[derive(Debug, Default)]
struct State {
    pieces: AtomicU64,
    waits: AtomicBool,
    cut: OnceLock<Kind>,
}

impl UploadProgress {
    /// How often another piece was asked for.
    pub(in crate::edge) fn pieces(&self) -> u64 {
        self.0.pieces.load(Ordering::Relaxed)
    }

    /// Whether the upload waits for the client.
    pub(in crate::edge) fn waits_for_client(&self) -> bool {
        self.0.waits.load(Ordering::Relaxed)
    }

    /// Why the client's body ended early, if it did.
    pub(in crate::edge) fn cut(&self) -> Option<Problem> {
        self.0.cut.get().map(|kind| match kind {
            Kind::TooLarge => too_large(),
            Kind::BodyTimeout => slow(),
            _ => broke_off(),
        })
    }
}

/// A body that is sent as it arrives.
#[derive(Debug)]
pub(in crate::edge) struct Streamed {
    first: Option<Bytes>,
    rest: Incoming,
    taken: u64,
    limit: u64,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    progress: UploadProgress,
}

impl Streamed {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        loop {
            match Pin::new(&mut self.rest).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.timer = None;
                    let Ok(data) = frame.into_data() else { continue };
                    self.taken += data.len() as u64;
                    if self.taken > self.limit {
                        return Poll::Ready(Some(Err(Cut::TooLarge)));
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(Cut::Broke(error)))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    let idle = self.idle;
                    let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
                    return timer.as_mut().poll(cx).map(|()| Some(Err(Cut::Silent)));
                }
            }
        }
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let progress = self.progress.0.clone();
        progress.pieces.fetch_add(1, Ordering::Relaxed);
        let came = self.poll(cx);
        progress.waits.store(came.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(Some(Err(cut))) = &came {
            let kind = match cut {
                Cut::Silent => Kind::BodyTimeout,
                Cut::TooLarge => Kind::TooLarge,
                Cut::Broke(_) => Kind::BadRequest,
            };
            // The first reason counts.
            let _ = progress.cut.set(kind);
        }
        came
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().map_or(0, |first| first.len() as u64);
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(first + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(first + upper);
        }
        hint
    }
}
