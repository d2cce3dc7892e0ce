//! Answers whose clients do not read them.
//!
//! # The problem
//! An answer that is not read costs memory for as long as its connection lives. A client of HTTP/2 can shut the window of
//! every stream and keep the connection alive with pings: no write to the socket ever waits, so no timer of the socket
//! sees it. A client of HTTP/1.1 can send requests and never read: there the writes wait.
//!
//! # The rule
//! - It is the client's turn from the moment at which an answer, or a piece of it, is handed to hyper, until hyper has sent
//!   something of it or asks for the next piece, which it does only when there is room. A connection is closed on which it has
//!   been the client's turn for too long, for any answer ([`Readers::watch`]).
//! - If more than [`CROWD`] answers wait for their clients, a second is too long for connections with more than [`SHARE`] of
//!   them; if more than [`MOST`] wait, it is too long for all.
//! - If more than [`MOST`] wait, a connection that adds one to more than [`SHARE`] that have waited for a moment, or to more
//!   than [`BURST`], is closed at once.
//! - A write to the socket that waits for too long fails ([`Patient`]), and the kernel drops what it still holds
//!   ([`give_up_after`]).
//!
//! hyper has no such timers, and `tower_http::timeout::TimeoutBody` counts only while the body is asked, which is just what
//! does not happen here.
//!
//! # Invariants
//! - An answer that waits for its source, such as an endless stream, has all the time that it needs.

mod patient;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::Notify;

pub use patient::{Patient, give_up_after};

/// Answers that may wait for their clients before connections with many of them have only [`HURRY`].
const CROWD: usize = 256;
/// Answers that may wait for their clients before every connection has only [`HURRY`].
const MOST: usize = 512;
/// Waiting answers of one connection that are not many.
const SHARE: usize = 8;
/// Answers of one connection that may have begun to wait just now.
const BURST: usize = 32;
/// A client that reads takes something of an answer within this time, nearly always.
const MOMENT: Duration = Duration::from_millis(100);
/// How long an answer may wait for its client in a crowd.
const HURRY: Duration = Duration::from_secs(1);
/// How often the connections are looked at.
const EVERY: Duration = Duration::from_millis(500);

/// The clients of one listener. Clones share them.
#[derive(Clone)]
pub struct Readers(Arc<Shared>);

struct Shared {
    limit: Duration,
    begun: Instant,
    /// Answers that wait for their clients.
    waiting: AtomicUsize,
    next: AtomicU64,
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
}

#[derive(Default)]
struct Connection {
    answers: Mutex<Vec<Weak<Answer>>>,
    over: Notify,
}

/// One client's connection, as long as it lives.
pub struct Reader {
    readers: Readers,
    id: u64,
    connection: Arc<Connection>,
}

/// One answer under way.
struct Answer {
    readers: Readers,
    /// Since when it is the client's turn, in milliseconds from `Shared::begun`; 0 if it is not.
    since: AtomicU64,
}

impl Readers {
    /// Clients that may each take nothing for `limit`.
    #[must_use]
    pub fn new(limit: Duration) -> Readers {
        let (waiting, next, connections) = (AtomicUsize::new(0), AtomicU64::new(0), Mutex::default());
        Readers(Arc::new(Shared { limit, begun: Instant::now(), waiting, next, connections }))
    }

    /// A new connection.
    #[must_use]
    pub fn connection(&self) -> Reader {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(Connection::default());
        self.0.connections.lock().insert(id, connection.clone());
        Reader { readers: self.clone(), id, connection }
    }

    /// Looks at all connections again and again, for ever.
    pub async fn watch(&self) {
        let mut looks = tokio::time::interval(EVERY);
        loop {
            looks.tick().await;
            self.look();
        }
    }

    /// Milliseconds since the beginning, never 0.
    fn now(&self) -> u64 {
        u64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn look(&self) {
        let now = self.now();
        let hurry = millis(HURRY);
        let connections: Vec<Arc<Connection>> = self.0.connections.lock().values().cloned().collect();
        let mut waiting = 0;
        // Each connection with its longest wait, and with the number of waits that are not short.
        let mut seen: Vec<(Arc<Connection>, u64, usize)> = Vec::new();
        for connection in connections {
            let waits = connection.waits(now);
            let long = waits.iter().filter(|wait| **wait >= hurry).count();
            waiting += long;
            if let Some(longest) = waits.into_iter().max() {
                seen.push((connection, longest, long));
            }
        }
        let limit = |long: usize| {
            let is_hurried = waiting > MOST || (waiting > CROWD && long > SHARE);
            if is_hurried { hurry } else { millis(self.0.limit) }
        };
        let slow: Vec<&Arc<Connection>> = seen
            .iter()
            .filter(|(_, longest, long)| *longest >= limit(*long))
            .map(|(connection, ..)| connection)
            .collect();
        if !slow.is_empty() {
            tracing::debug!(
                connections = slow.len(),
                waiting,
                "clients take nothing of their answers: they are disconnected"
            );
        }
        slow.iter().for_each(|connection| connection.over.notify_one());
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Connection {
    /// For each answer for which it is the client's turn, for how many milliseconds.
    fn waits(&self, now: u64) -> Vec<u64> {
        let mut answers = self.answers.lock();
        answers.retain(|answer| answer.strong_count() > 0);
        let since = answers.iter().filter_map(Weak::upgrade).map(|answer| answer.since.load(Ordering::Relaxed));
        since.filter(|since| *since > 0).map(|since| now.saturating_sub(since)).collect()
    }
}

impl Reader {
    /// Resolves when the client has taken nothing for too long: the connection is to be closed.
    pub async fn is_over(&self) {
        self.connection.over.notified().await;
    }

    /// Watches an answer on this connection.
    pub fn watch<B: Body>(&self, body: B) -> Watched<B> {
        let answer = Arc::new(Answer { readers: self.readers.clone(), since: AtomicU64::new(0) });
        answer.clients_turn();
        if self.readers.0.waiting.load(Ordering::Relaxed) > MOST {
            let waits = self.connection.waits(self.readers.now());
            if waits.len() > BURST || waits.iter().filter(|wait| **wait >= millis(MOMENT)).count() > SHARE {
                self.connection.over.notify_one();
            }
        }
        let mut answers = self.connection.answers.lock();
        if answers.len() >= SHARE {
            answers.retain(|answer| answer.strong_count() > 0);
        }
        answers.push(Arc::downgrade(&answer));
        drop(answers);
        Watched { body, answer }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.readers.0.connections.lock().remove(&self.id);
    }
}

impl Answer {
    fn clients_turn(&self) {
        if self.since.swap(self.readers.now(), Ordering::Relaxed) == 0 {
            self.readers.0.waiting.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn sources_turn(&self) {
        if self.since.swap(0, Ordering::Relaxed) != 0 {
            self.readers.0.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.sources_turn();
    }
}

/// The body of an answer that is watched.
pub struct Watched<B> {
    body: B,
    answer: Arc<Answer>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Piece;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, B::Error>>> {
        self.answer.sources_turn();
        let came = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.answer.clients_turn();
        let answer = &self.answer;
        let piece = |bytes| Piece { bytes, answer: answer.clone() };
        Poll::Ready(came.map(|frame| frame.map(|frame| frame.map_data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A piece of an answer, until it is written to the socket.
pub struct Piece {
    bytes: Bytes,
    answer: Arc<Answer>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        // A body that waits for its source keeps waiting for it.
        if self.answer.since.load(Ordering::Relaxed) > 0 {
            self.answer.clients_turn();
        }
    }
}

#[cfg(test)]
mod tests;
