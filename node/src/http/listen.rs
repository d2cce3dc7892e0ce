//! A listener: accepts connections, serves HTTP/1.1 and HTTP/2 without TLS on them, and ends gracefully.
//!
//! # Invariants
//! - There are never more than `limit` connections; further clients wait in the operating system's queue.
//! - A connection that sends no whole request head in time is closed, whatever it sends meanwhile.
//! - After `shutdown` the listener accepts no connection, finishes requests in flight, and drops what is left after
//!   [`GRACE`].

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::reply::Reply;

/// How long the head of the first request may take. This also bounds the detection of the protocol, which hyper does
/// not bound.
const FIRST_HEAD: Duration = Duration::from_secs(10);

/// How long the head of a later request may take, which is also how long a connection may be idle.
const NEXT_HEAD: Duration = Duration::from_secs(60);

/// How long requests in flight may take to finish once the node stops.
const GRACE: Duration = Duration::from_secs(5);

/// How long to wait after the system refused a connection, for example because it has no file descriptors left.
const REFUSED: Duration = Duration::from_millis(100);

const MAX_HEADERS: usize = 64;
const MAX_HEAD_BYTES: usize = 32 * 1024;
const MAX_STREAMS: u32 = 128;

/// Serves `answer` on `listener` until `shutdown` is true and all connections are gone.
pub(super) async fn serve<F, Answer>(
    listener: TcpListener,
    limit: usize,
    open: Option<IntGauge>,
    mut shutdown: watch::Receiver<bool>,
    answer: F,
) where
    F: Fn(Request<Incoming>) -> Answer + Clone + Send + Sync + 'static,
    Answer: Future<Output = Reply> + Send + 'static,
{
    let builder = Arc::new(builder());
    let permits = Arc::new(Semaphore::new(limit));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            // An error means that the sender is gone, which also ends the listener.
            _ = shutdown.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept(&listener, &permits) => accepted,
        };
        let (stream, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                let action = "raise the limit of open files (ulimit -n) above limits.connections if this goes on";
                tracing::warn!(%error, action, "the system refuses a connection: the listener waits a moment");
                tokio::time::sleep(REFUSED).await;
                continue;
            }
        };
        let (builder, answer, watcher, open) = (builder.clone(), answer.clone(), graceful.watcher(), open.clone());
        connections.spawn(async move {
            let open = open.map(Open::count);
            connection(&builder, stream, watcher, answer).await;
            drop((open, permit));
        });
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        let connections = connections.len();
        tracing::warn!(connections, "connections did not end in time: they are dropped, and their requests fail");
    }
    connections.shutdown().await;
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

async fn connection<F, Answer>(builder: &Builder<TokioExecutor>, stream: TcpStream, watcher: Watcher, answer: F)
where
    F: Fn(Request<Incoming>) -> Answer + Send + 'static,
    Answer: Future<Output = Reply> + Send + 'static,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let begun = Arc::new(AtomicBool::new(false));
    let seen = begun.clone();
    let service = service_fn(move |request| {
        seen.store(true, Ordering::Relaxed);
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let served = watcher.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
    tokio::pin!(served);
    let first = tokio::select! {
        result = &mut served => Some(result),
        () = tokio::time::sleep(FIRST_HEAD) => None,
    };
    let result = match first {
        Some(result) => result,
        None if begun.load(Ordering::Relaxed) => served.await,
        None => return,
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection broke");
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(NEXT_HEAD)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// An open connection, counted as long as it is.
struct Open(IntGauge);

impl Open {
    fn count(gauge: IntGauge) -> Open {
        gauge.inc();
        Open(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
