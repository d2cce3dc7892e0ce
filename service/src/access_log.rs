//! The access log: one line of JSON for each request, in a file, off unless it is configured.
//!
//! `tracing_appender::non_blocking` has the queue and its thread. A line does not go through `tracing`, because an event costs
//! more than the line, and a filter of the other log must not lose it.
//!
//! # Invariants
//! - No request waits for the file: a line for which the queue has no room is dropped and counted.
//! - A line has no path, query, header or address, only the template of the path. So ids of venues and visits, secrets and
//!   persons are in no line.
//! - Each line is one write to a file that is opened to append, so two processes may share it while one replaces the other.
//!
//! # Not here
//! The id of a request: [`crate::request_id`].

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use jiff::Timestamp;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines that may wait for the file: at a few hundred bytes each some megabytes at most.
const WAITING: usize = 16_384;

/// `[log]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// The file of the access log; none without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<PathBuf>,
}

/// Why there is no access log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessLogError {
    /// The file cannot be opened.
    #[error("log.access: cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The metric cannot be registered.
    #[error("cannot register metrics")]
    Metrics(#[from] prometheus::Error),
}

/// The access log of a process. Clones share it.
#[derive(Clone, Debug)]
pub struct AccessLog {
    lines: NonBlocking,
    /// The file is to be opened again.
    is_asked: Arc<AtomicBool>,
}

impl AccessLog {
    /// Opens the file, to append to it, and registers the metric. The lines that wait are written when the guard is dropped.
    ///
    /// # Errors
    /// [`AccessLogError`].
    pub fn open(path: &Path, registry: &Registry) -> Result<(AccessLog, WorkerGuard), AccessLogError> {
        let file = append(path).map_err(|source| AccessLogError::Open { path: path.to_owned(), source })?;
        let help = "Lines of the access log: written, failed (the file refused them), dropped (the file was too slow)";
        let lines = IntCounterVec::new(Opts::new("meridian_access_log_lines_total", help), &["result"])?;
        let [written, failed, dropped] =
            ["written", "failed", "dropped"].map(|result| lines.with_label_values(&[result]));
        let is_asked = Arc::<AtomicBool>::default();
        let target = Target { path: path.to_owned(), file, is_asked: Arc::clone(&is_asked), written, failed };
        let queue = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING).thread_name("access-log");
        let (queue, guard) = queue.finish(target);
        registry.register(Box::new(Lines { lines, dropped, queue: queue.error_counter() }))?;
        Ok((AccessLog { lines: queue, is_asked }, guard))
    }

    /// Opens the file again at each SIGHUP, after which a log rotation has moved it. Never returns.
    pub async fn reopen_on_hangup(self) {
        match signal(SignalKind::hangup()) {
            Ok(mut hangup) => {
                while hangup.recv().await.is_some() {
                    self.is_asked.store(true, Ordering::Relaxed);
                }
            }
            Err(error) => {
                let action = "restart the process after a log rotation";
                tracing::warn!(%error, action, "SIGHUP cannot be waited for: the access log is not opened again");
            }
        }
        std::future::pending().await
    }

    /// A request begins. Its line is written when the entry is dropped, also if there was no answer.
    #[must_use]
    pub fn begin(&self, id: HeaderValue, method: &Method, route: &'static str) -> Entry {
        Entry {
            log: self.clone(),
            time: Timestamp::now(),
            begun: Instant::now(),
            id,
            method: known(method),
            route,
            status: None,
            region: None,
            node: None,
            attempts: None,
            bytes: 0,
            is_whole: false,
        }
    }
}

/// A method's name, or `other`: a client may send any word as a method.
fn known(method: &Method) -> &'static str {
    const KNOWN: [Method; 7] =
        [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::PATCH, Method::DELETE, Method::OPTIONS];
    match KNOWN.iter().position(|known| known == method) {
        Some(at) => ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"][at],
        None => "other",
    }
}

/// A request on its way.
#[derive(Debug)]
pub struct Entry {
    log: AccessLog,
    time: Timestamp,
    begun: Instant,
    id: HeaderValue,
    method: &'static str,
    route: &'static str,
    status: Option<StatusCode>,
    region: Option<String>,
    node: Option<String>,
    attempts: Option<u32>,
    bytes: u64,
    is_whole: bool,
}

/// What a line says.
#[derive(Serialize)]
struct Line<'a> {
    /// When the request began.
    time: Timestamp,
    id: &'a str,
    method: &'a str,
    route: &'a str,
    /// Missing if the client left before there was an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    /// From the head of the request to the end of the answer.
    ms: f64,
    /// Bytes of the answer's body.
    bytes: u64,
    /// Whether the answer went out to its end.
    whole: bool,
}

impl Entry {
    /// The answer begins.
    pub fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// The region and the node that gave the answer.
    pub fn came_from(&mut self, region: Option<&str>, node: Option<&str>) {
        (self.region, self.node) = (region.map(str::to_owned), node.map(str::to_owned));
    }

    /// How often the request was sent to a node.
    pub fn sent(&mut self, attempts: u32) {
        self.attempts = Some(attempts);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let line = Line {
            // More digits would carry no information.
            time: self.time.round(jiff::Unit::Microsecond).unwrap_or(self.time),
            id: self.id.to_str().unwrap_or_default(),
            method: self.method,
            route: self.route,
            status: self.status.map(|status| status.as_u16()),
            region: self.region.as_deref(),
            node: self.node.as_deref(),
            attempts: self.attempts,
            ms: (self.begun.elapsed().as_secs_f64() * 1e6).round() / 1e3,
            bytes: self.bytes,
            whole: self.is_whole,
        };
        if let Ok(mut line) = serde_json::to_vec(&line) {
            line.push(b'\n');
            // The queue takes it or counts it as dropped.
            let _ = self.log.lines.write(&line);
        }
    }
}

/// The body of an answer, whose entry ends with it.
pub struct Logged<B> {
    body: B,
    entry: Option<Box<Entry>>,
}

impl<B: Body> Logged<B> {
    /// Passes a body on. Without an entry nothing is logged.
    pub fn new(body: B, mut entry: Option<Entry>) -> Logged<B> {
        if let Some(entry) = &mut entry {
            // An answer to HEAD has no body.
            entry.is_whole = body.is_end_stream() || entry.method == "HEAD";
        }
        Logged { body, entry: entry.map(Box::new) }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Logged<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let came = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        let is_whole = came.is_none() || self.body.is_end_stream();
        if let Some(entry) = &mut self.entry {
            match &came {
                Some(Ok(frame)) => {
                    entry.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                    entry.is_whole = is_whole;
                }
                Some(Err(_)) => {}
                None => entry.is_whole = true,
            }
        }
        Poll::Ready(came)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The file, on the thread that writes.
struct Target {
    path: PathBuf,
    file: File,
    is_asked: Arc<AtomicBool>,
    written: IntCounter,
    failed: IntCounter,
}

impl Write for Target {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.is_asked.swap(false, Ordering::Relaxed) {
            match append(&self.path) {
                Ok(file) => self.file = file,
                Err(error) => {
                    let (path, action) = (self.path.display(), "make it writable and send SIGHUP again");
                    tracing::warn!(%error, %path, action, "the access log cannot be opened again: the old file goes on");
                }
            }
        }
        match self.file.write_all(line) {
            Ok(()) => self.written.inc(),
            Err(_) => self.failed.inc(),
        }
        // A line that failed is not written again.
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// The counters of lines. The queue counts what it drops itself.
struct Lines {
    lines: IntCounterVec,
    dropped: IntCounter,
    queue: ErrorCounter,
}

impl Collector for Lines {
    fn desc(&self) -> Vec<&Desc> {
        self.lines.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let dropped = self.queue.dropped_lines() as u64;
        self.dropped.inc_by(dropped.saturating_sub(self.dropped.get()));
        self.lines.collect()
    }
}

#[cfg(test)]
mod tests;
