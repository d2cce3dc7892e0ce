//! Connections to nodes: HTTP/1.1 over what the [`Connector`] gives, kept open between requests.
//!
//! The task of a request drives the connection that it uses: a task for each connection would be two more wake-ups for each
//! request.
//!
//! hyper-util's pooled client hides what the retry rules need to know: whether a request was sent at all, and whether
//! the connection had been used before. Therefore this file has its own pool around hyper's connection.
//!
//! # Invariants
//! - A connection serves one request at a time, and returns to the pool only after the whole answer was read.
//! - A connection whose certificate was verified by files that have changed since serves no further request.
//! - A request on a connection that its node had already closed was never sent: it continues on another connection.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::unconstrained;

use super::alarms::{Alarms, Wait};
use super::balance::Balancer;
use super::body::{Outgoing, UploadProgress};
use super::problem::Problem;
use crate::connector::{ConnectError, Connector, NodeStream, Purpose, Trusted};
use crate::fleet::{Fleet, NodeId};

/// Idle connections that are kept for one node.
const MOST_IDLE: usize = 512;

/// How long an idle connection is kept: well below the 60 s after which nodes close theirs.
const IDLE: Duration = Duration::from_secs(20);

/// How long a connection may take to become ready again after its answer was read.
const SETTLE: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum SendError {
    /// There is no connection; the request was not touched.
    #[error("no connection to the node")]
    Connect(#[source] ConnectError),
    /// The request was not sent; here is its body.
    #[error("the connection was closed before the request was sent")]
    NeverLeft(Box<Outgoing>),
    /// The connection broke; the node may have acted.
    #[error("the connection to the node broke")]
    Broke {
        /// Whether it had served requests before. If so, the node may just have closed it as idle.
        reused: bool,
        /// The error.
        #[source]
        source: hyper::Error,
    },
    /// The client's body ended early, which is not the node's fault.
    #[error("the client did not send the whole body")]
    Withdrawn(Problem),
    /// No answer in time; the node may have acted.
    #[error("the node did not answer in time")]
    Silent,
}

/// One connection.
struct Link {
    sender: SendRequest<Outgoing>,
    driver: Driver,
}

/// What reads and writes on a connection.
enum Driver {
    /// The task that uses it.
    User(Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>),
    /// A task of its own.
    Task,
    /// It has ended.
    Ended,
}

impl Link {
    /// Reads and writes what there is.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Driver::User(connection) = &mut self.driver
            && let Poll::Ready(ended) = connection.as_mut().poll(cx)
        {
            self.driver = Driver::Ended;
            log_end(ended);
        }
    }

    /// Gives the connection a task, which ends when the sender and the answer's body are gone, or when the node closes.
    fn detach(&mut self) {
        match std::mem::replace(&mut self.driver, Driver::Task) {
            Driver::User(connection) => drop(tokio::spawn(async move { log_end(connection.await) })),
            driver => self.driver = driver,
        }
    }

    /// Whether it can take a request now.
    fn is_ready(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.sender.is_ready()
    }
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to a node broke");
    }
}

struct Idle {
    link: Link,
    since: Instant,
    /// How its certificate was verified; `None` for plain HTTP.
    trusted: Option<Arc<Trusted>>,
}

/// The idle connections of one node.
type Slot = Arc<Mutex<Vec<Idle>>>;

/// The connections to all nodes of a fleet.
pub(super) struct Pool {
    fleet: Arc<Fleet>,
    balancer: Arc<Balancer>,
    idle: Vec<Vec<Slot>>,
    connect: Duration,
    connects: IntCounter,
}

impl Pool {
    pub(super) fn new(fleet: Arc<Fleet>, balancer: Arc<Balancer>, connect: Duration, connects: IntCounter) -> Pool {
        let slots = |count: usize| (0..count).map(|_| Slot::default()).collect();
        let idle = fleet.regions.iter().map(|region| slots(region.nodes.len())).collect();
        Pool { fleet, balancer, idle, connect, connects }
    }

    /// A pool for another fleet. A node that is still the same listener keeps its connections, and those that are in use
    /// return to them.
    pub(super) fn carried(&self, fleet: Arc<Fleet>, balancer: Arc<Balancer>) -> Pool {
        let mut pool = Pool::new(Arc::clone(&fleet), balancer, self.connect, self.connects.clone());
        for id in fleet.nodes() {
            let node = fleet.node(id);
            if let Some(known) = self.fleet.find_node(&node.name, &node.at) {
                pool.idle[id.region.at()][id.node] = Arc::clone(&self.idle[known.region.at()][known.node]);
            }
        }
        pool
    }

    fn slot(&self, node: NodeId) -> &Slot {
        &self.idle[node.region.at()][node.node]
    }

    /// A ready connection: the one used last. If there is none, or with `fresh`, a new one.
    pub(super) async fn connection(
        &self,
        connector: &Connector,
        node: NodeId,
        fresh: bool,
    ) -> Result<Lease, SendError> {
        let at = &self.fleet.node(node).at;
        let failed = SendError::Connect;
        let trusted = at.server_name().map(|_| connector.trusted()).transpose();
        let trusted = trusted.map_err(|error| failed(error.into()))?;
        if !fresh && let Some(link) = self.idle_one(node, trusted.as_ref()) {
            return Ok(self.lease(node, link, trusted, true));
        }
        // Boxed, because most requests find a connection.
        let stream = Box::pin(connector.connect(at, Purpose::Requests, self.connect)).await.map_err(failed)?;
        self.connects.inc();
        let link = match stream {
            NodeStream::Plain(stream) => speak(stream).await,
            NodeStream::Tls(stream) => speak(stream).await,
        };
        let link = link.map_err(|error| failed(ConnectError::Tcp(std::io::Error::other(error))))?;
        Ok(self.lease(node, link, trusted, false))
    }

    fn idle_one(&self, node: NodeId, trusted: Option<&Arc<Trusted>>) -> Option<Link> {
        let is_trusted = |idle: &Idle| idle.trusted.as_ref().map(Arc::as_ptr) == trusted.map(Arc::as_ptr);
        let mut slot = self.slot(node).lock();
        while let Some(mut idle) = slot.pop() {
            if idle.since.elapsed() < IDLE && is_trusted(&idle) && idle.link.is_ready() {
                return Some(idle.link);
            }
        }
        None
    }

    fn lease(&self, node: NodeId, link: Link, trusted: Option<Arc<Trusted>>, reused: bool) -> Lease {
        let busy = Arc::clone(self.balancer.busy(node));
        busy.fetch_add(1, Ordering::Relaxed);
        Lease { slot: Arc::clone(self.slot(node)), busy, link: Some(link), trusted, reused }
    }

    /// Closes connections that were idle for too long. To be called every few seconds.
    pub(super) fn sweep(&self) {
        for slot in self.idle.iter().flatten() {
            let mut slot = slot.lock();
            slot.retain_mut(|idle| idle.since.elapsed() < IDLE && idle.link.is_ready());
            slot.shrink_to(16);
        }
    }
}

/// Speaks HTTP on a connection.
async fn speak<S>(stream: S) -> hyper::Result<Link>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new().handshake(TokioIo::new(stream)).await?;
    Ok(Link { sender, driver: Driver::User(Box::pin(connection.with_upgrades())) })
}

/// One connection in use. It is closed if this is dropped without [`give_back`](Self::give_back).
pub(super) struct Lease {
    slot: Slot,
    /// Requests under way at the node.
    busy: Arc<AtomicUsize>,
    link: Option<Link>,
    trusted: Option<Arc<Trusted>>,
    reused: bool,
}

impl Lease {
    /// Sends a request and waits for the head of its answer, at most `silence_limit` after the last progress.
    pub(super) async fn send(
        &mut self,
        request: Request<Outgoing>,
        progress: Option<UploadProgress>,
        (alarms, silence_limit): (&Alarms, Duration),
    ) -> Result<Response<Incoming>, SendError> {
        let Some(link) = &mut self.link else { return Err(SendError::NeverLeft(Box::new(request.into_body()))) };
        if progress.is_some() {
            // The body goes on while nothing reads the answer.
            link.detach();
        }
        let mut answer = pin!(unconstrained(link.sender.try_send_request(request)));
        let mut answer = poll_fn(|cx| match &link.driver {
            Driver::Task => answer.as_mut().poll(cx),
            Driver::User(_) | Driver::Ended => {
                link.drive(cx);
                // Only driving brings the answer, so it wakes nothing. The budget of the task must not hide that the
                // answer is there, hence `unconstrained`.
                answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            }
        });
        let mut seen = progress.as_ref().map(UploadProgress::pieces);
        let result = loop {
            let deadline = tokio::time::Instant::now() + silence_limit;
            match alarms.until(Wait::Answer, deadline, &mut answer).await {
                Some(result) => break result,
                None => {
                    let now = progress.as_ref().map(UploadProgress::pieces);
                    let client_is_slow = progress.as_ref().is_some_and(UploadProgress::waits_for_client);
                    if now == seen && !client_is_slow {
                        return Err(SendError::Silent);
                    }
                    seen = now;
                }
            }
        };
        result.map_err(|mut error| match (error.take_message(), progress.and_then(|progress| progress.cut())) {
            (Some(request), _) => SendError::NeverLeft(Box::new(request.into_body())),
            (None, Some(problem)) => SendError::Withdrawn(problem),
            (None, None) => SendError::Broke { reused: self.reused, source: error.into_error() },
        })
    }

    /// Reads and writes what there is, for the body of the answer.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(link) = &mut self.link {
            link.drive(cx);
        }
    }

    /// Lets the connection become something else than HTTP.
    pub(super) fn detach(&mut self) {
        self.link.iter_mut().for_each(Link::detach);
    }

    /// Returns the connection to the pool after the whole answer was read.
    pub(super) fn give_back(mut self) {
        let Some(mut link) = self.link.take() else { return };
        if link.is_ready() {
            self.put(link);
        } else if !link.sender.is_closed() {
            // The last piece of the request may still be on its way.
            link.detach();
            tokio::spawn(async move {
                if let Ok(Ok(())) = tokio::time::timeout(SETTLE, link.sender.ready()).await {
                    self.put(link);
                }
            });
        }
    }

    fn put(&self, link: Link) {
        let mut slot = self.slot.lock();
        if slot.len() < MOST_IDLE {
            slot.push(Idle { link, since: Instant::now(), trusted: self.trusted.clone() });
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.busy.fetch_sub(1, Ordering::Relaxed);
    }
}
