//! The HTTP edge: takes clients' requests and forwards each to a node that answers it.
//!
//! The path of a request: [`listen`] accepts its connection, [`session`] reads it, [`request_check`] checks its head, [`service::client`] determines the client,
//! [`limit`] its rate, and [`cache`] answers what is public. [`forward`] walks regions and nodes in the order of the view and of
//! [`balance`], under [`breaker`]s ([`exclusion`]), the table of [`retry`] and the [`budget`]. [`hop_headers`] cleans heads in both directions, and
//! [`body`] streams.
//!
//! # Invariants
//! - Nodes get only what clients sent, and not more often than the retry table allows.
//! - Memory is bounded: connections, bodies, heads, caches and tables have limits, and a streamed body is never
//!   gathered.
//! - Only the view decides on regions: the edge never waits for the control plane.
//! - Clients' connections outlive the fleet: what is sized by it is in [`forwarding`], which follows the view.
//!
//! pingora was passed over, only its consistent hash is used. Its smallest forward path, without any of the rules here,
//! took 2.63 times nginx's processor time for a GET and 2.68 for a PUT, where this edge took 2.20 and 2.41 in the same run, and
//! 87 KiB for an idle connection, where this edge takes 3.4: the rules would still have to be written, for no gain (`docs/adr/0004-hyper-at-the-edge.md`).
//!
//! # Not here
//! Which regions are healthy ([`crate::health`]) and which suit which client ([`crate::policy`]).

mod alarms;
mod balance;
mod body;
mod breaker;
mod budget;
mod cache;
mod config;
mod connection;
mod exclusion;
mod expected_wait;
mod forward;
mod forwarding;
mod framing;
mod hop_headers;
mod io;
mod limit;
mod listen;
mod metrics;
mod passes;
mod person;
mod pool;
mod problem;
mod relay;
mod request_check;
mod retry;
mod route;
mod serve;
mod session;
mod sticky;
mod streams;
mod told;
mod upgrade;

/// The parsers of hostile input, for the fuzz target `edge`.
pub mod fuzzing {
    pub use super::balance::venue;
    pub use super::cache::rules;
    pub use super::framing::Framing;
    pub use super::hop_headers::{came_through, request, wants_websocket};
    pub use super::sticky::strip;
    pub use service::client::{Trusted, prefix};
    pub use service::request_id::of as request_id;
}

#[cfg(test)]
mod testing;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::Quota;
use hyper::header::HeaderValue;
use service::limit::PerClient;
use service::listen::Listener;
use service::places::Places;
use service::unread::Readers;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::{
    Balance, BreakerSection, CacheSection, EdgeConfig, EdgeConfigError, EdgeSection, LimitsSection, RateLimitSection,
    RetrySection, TimeoutsSection, TlsSection,
};
pub use forwarding::Breakers;
pub use metrics::EdgeMetrics;

use self::alarms::Alarms;
use self::budget::Budget;
use self::cache::Cache;
use self::config::RateLimit;
use self::forwarding::Forwarding;
use self::session::Protocols;
use crate::sockets::Sockets;
use crate::succession::Succession;
use crate::view::View;
use service::access_log::AccessLog;
use service::certificates::{CertificateError, Certificates};
use service::client::Trusted;
use service::config::Listen;

/// The name of the limit of connections, for operators.
const LIMIT: &str = "edge.limits.connections";

/// How often tables are swept.
const SWEEP: Duration = Duration::from_secs(1);

/// Why the edge does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EdgeError {
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// Certificate or key.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// TLS settings.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// The state that all connections share.
struct Edge {
    config: EdgeConfig,
    metrics: Arc<EdgeMetrics>,
    access_log: Option<AccessLog>,
    trusted: Trusted,
    forwarding: Arc<Forwarding>,
    budget: Budget,
    alarms: Alarms,
    per_client: Option<PerClient>,
    venues_per_client: PerClient,
    cache: Option<Arc<Cache>>,
    via: HeaderValue,
    protocols: Protocols,
    readers: Readers,
    connections: TaskTracker,
    tunnels: TaskTracker,
    views: watch::Receiver<Arc<View>>,
    stop: watch::Receiver<bool>,
    succession: Succession,
    /// Ends the connections that go on without a request after the router has got a successor.
    hurry: CancellationToken,
    /// Drops the connections that are left.
    kill: CancellationToken,
}

/// A running edge.
#[derive(Debug)]
pub struct EdgeServer {
    address: SocketAddr,
    tls_address: Option<SocketAddr>,
    breakers: Breakers,
    running: JoinHandle<()>,
}

impl EdgeServer {
    /// Binds the listeners and starts to serve, until `stop` is true.
    ///
    /// # Errors
    /// [`EdgeError`]: an address is taken, or a certificate is not usable.
    pub async fn start(
        config: EdgeConfig,
        views: watch::Receiver<Arc<View>>,
        metrics: Arc<EdgeMetrics>,
        stop: watch::Receiver<bool>,
    ) -> Result<EdgeServer, EdgeError> {
        let bound = EdgeSockets::bind(&config, &mut Sockets::default())?;
        Ok(EdgeServer::serve(config, bound, views, (metrics, None), (stop, Succession::default())))
    }

    /// Starts to serve at these sockets, until `stop` is true.
    pub(crate) fn serve(
        config: EdgeConfig,
        EdgeSockets { plain, tls }: EdgeSockets,
        views: watch::Receiver<Arc<View>>,
        records: (Arc<EdgeMetrics>, Option<AccessLog>),
        (stop, succession): (watch::Receiver<bool>, Succession),
    ) -> EdgeServer {
        let proxies = Trusted::new(config.trusted_proxies.clone());
        let places = Places::new(config.limits.connections, config.limits.connections_per_client, proxies, LIMIT);
        let edge = Arc::new(Edge::new(config, views, records, (stop.clone(), succession)));
        let breakers = Breakers(edge.forwarding.clone());
        let mut tasks = JoinSet::new();
        let address = plain.first;
        let tls_address = tls.as_ref().map(|(bound, ..)| bound.first);
        let mut accept = |bound: Bound, acceptor: Option<TlsAcceptor>| {
            for listener in bound.listeners {
                let listener = Listener::limited(listener, places.clone());
                tasks.spawn(listen::accept(edge.clone(), listener, acceptor.clone(), stop.clone()));
            }
        };
        accept(plain, None);
        if let Some((bound, acceptor, certificates)) = tls {
            accept(bound, Some(acceptor));
            tasks.spawn(certificates.keep_fresh(stop.clone()));
        }
        let mut sweeping = tokio::spawn(sweep(edge.clone()));
        let running = tokio::spawn(async move {
            // A task that ends before `stop` has panicked. The edge is incomplete then, so it ends as a whole.
            tokio::select! { _ = tasks.join_next() => {}, _ = &mut sweeping => {}, () = edge.readers.watch() => {} }
            if *stop.borrow() {
                while tasks.join_next().await.is_some() {}
            } else {
                tasks.shutdown().await;
            }
            edge.drain().await;
            sweeping.abort();
        });
        tracing::info!(%address, tls = ?tls_address, "the edge takes requests");
        EdgeServer { address, tls_address, breakers, running }
    }

    /// The first address for HTTP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The first address for HTTP with TLS.
    #[must_use]
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_address
    }

    /// The nodes' breakers, for operators.
    #[must_use]
    pub fn breakers(&self) -> Breakers {
        self.breakers.clone()
    }

    /// Resolves once the edge was stopped or has broken, and everything under way has ended.
    pub async fn stopped(self) {
        // A panic was already reported where it happened.
        let _ = self.running.await;
    }
}

/// The sockets of a listener.
struct Bound {
    listeners: Vec<TcpListener>,
    /// The address of the first one.
    first: SocketAddr,
}

/// The sockets of an edge, and its certificate.
pub(crate) struct EdgeSockets {
    plain: Bound,
    tls: Option<(Bound, TlsAcceptor, Arc<Certificates>)>,
}

impl EdgeSockets {
    /// Binds the listeners.
    ///
    /// # Errors
    /// [`EdgeError`]: an address is taken, or a certificate is not usable.
    pub(crate) fn bind(config: &EdgeConfig, sockets: &mut Sockets) -> Result<EdgeSockets, EdgeError> {
        let plain = bind(&config.listen, sockets)?;
        let tls = match &config.tls {
            None => None,
            Some((listen, files)) => {
                let certificates = Certificates::load(files.clone())?;
                let settings = certificates.server_config(&[b"h2", b"http/1.1"])?;
                Some((bind(listen, sockets)?, TlsAcceptor::from(Arc::new(settings)), certificates))
            }
        };
        Ok(EdgeSockets { plain, tls })
    }

    /// The certificates that it serves.
    pub(crate) fn certificates(&self) -> Option<Arc<Certificates>> {
        self.tls.as_ref().map(|(.., certificates)| Arc::clone(certificates))
    }
}

fn bind(listen: &Listen, sockets: &mut Sockets) -> Result<Bound, EdgeError> {
    let failed = |(address, source)| EdgeError::Listen { address, source };
    let listeners = sockets.all_tcp(listen).map_err(failed)?;
    let first = listeners.first().map_or(Ok(listen.first()), TcpListener::local_addr);
    Ok(Bound { first: first.map_err(|error| failed((listen.first(), error)))?, listeners })
}

async fn sweep(edge: Arc<Edge>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        edge.forwarding.sweep();
        if let Some(per_client) = &edge.per_client {
            per_client.sweep();
        }
        edge.venues_per_client.sweep();
        if let Some(cache) = &edge.cache {
            cache.sweep();
        }
    }
}

impl Edge {
    fn new(
        config: EdgeConfig,
        views: watch::Receiver<Arc<View>>,
        (metrics, access_log): (Arc<EdgeMetrics>, Option<AccessLog>),
        (stop, succession): (watch::Receiver<bool>, Succession),
    ) -> Edge {
        let via = HeaderValue::try_from(format!("1.1 {}", config.name));
        Edge {
            trusted: Trusted::new(config.trusted_proxies.clone()),
            forwarding: Arc::new(Forwarding::new(config.clone(), views.clone(), metrics.clone())),
            views,
            stop,
            succession,
            hurry: CancellationToken::new(),
            alarms: Alarms::default(),
            budget: Budget::new(config.retry.budget, config.retry.budget_floor, Instant::now()),
            venues_per_client: PerClient::new(Quota::per_hour(config.limits.venues_per_hour), Vec::new()),
            per_client: config.rate_limit.as_ref().map(RateLimit::per_client),
            cache: config.cache.map(|rules| Cache::new(rules, metrics.clone())),
            via: via.unwrap_or(HeaderValue::from_static("")),
            protocols: Protocols::new(&config.limits),
            readers: Readers::new(config.timeouts.write),
            connections: TaskTracker::new(),
            tunnels: TaskTracker::new(),
            kill: CancellationToken::new(),
            config,
            metrics,
            access_log,
        }
    }

    /// Whether the edge stops, so that every connection ends with its next answer.
    fn stops(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits for what is under way, then drops what is left.
    async fn drain(&self) {
        self.connections.close();
        self.tunnels.close();
        let limit = self.config.timeouts.drain;
        let end = tokio::time::Instant::now() + limit;
        let ended = async {
            self.connections.wait().await;
            self.tunnels.wait().await;
        };
        tokio::pin!(ended);
        if self.succession.has_happened() {
            // Half of the time belongs to connections without a request, the other half to what is under way then.
            if tokio::time::timeout(limit / 2, &mut ended).await.is_ok() {
                return;
            }
            self.hurry.cancel();
        }
        if tokio::time::timeout_at(end, ended).await.is_err() {
            let (connections, tunnels) = (self.connections.len(), self.tunnels.len());
            tracing::warn!(
                connections,
                tunnels,
                "connections did not end in time: they are dropped, and their requests fail"
            );
            self.kill.cancel();
            self.connections.wait().await;
            self.tunnels.wait().await;
        }
    }
}
