//! The running server: binds all sockets, starts threads and tasks, and notices when one of them dies.
//!
//! # Invariants
//! - A port that is taken or a certificate that cannot be used is an error of the start, not of a task.
//! - A part that dies is reported by [`DnsServer::stopped`] at once, whatever `stop` says.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::answers::Answers;
use super::config::{DnsConfig, EXPLAIN};
use super::cookie;
use super::dnssec::Validity;
use super::limit::Limiter;
use super::metrics::DnsMetrics;
use super::stream::{Connections, Listener};
use super::udp::{self, Worker};
use crate::fleet::Fleet;
use crate::sockets::Sockets;
use crate::succession::Succession;
use crate::view::View;
use service::certificates::{CertificateError, Certificates};

/// How often a signed zone looks whether a new day has begun.
const LOOK_AT_CLOCK_EVERY: Duration = Duration::from_secs(1);

/// How often port 0 is tried until a port is free for both UDP and TCP.
const TRIES: u32 = 32;

/// Why the DNS server does not start, or has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DnsError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({transport})")]
    Listen {
        /// `udp`, `tcp` or `tls`.
        transport: &'static str,
        /// Which address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A region has a name that the zone needs for itself.
    #[error("no region may be called {EXPLAIN}, because explain.<service> has another meaning")]
    RegionName,
    /// The names of the zone, the service and the regions are too long together.
    #[error("a name of the zone cannot be encoded")]
    Name(#[from] hickory_proto::ProtoError),
    /// The certificate for DNS over TLS.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The settings for DNS over TLS.
    #[error("DNS over TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// A socket failed permanently.
    #[error("a UDP socket failed")]
    Socket(#[source] io::Error),
    /// A part ended without being told to.
    #[error("a part of the DNS server died: {0}")]
    Died(&'static str),
}

/// A running DNS server. Dropping it stops TCP and TLS; the UDP threads end when `stop` is true or gone.
#[derive(Debug)]
pub struct DnsServer {
    address: SocketAddr,
    tls: Option<SocketAddr>,
    parts: JoinSet<Result<(), DnsError>>,
    stop: watch::Receiver<bool>,
}

impl DnsServer {
    /// Binds every socket and starts threads and tasks.
    ///
    /// # Errors
    /// [`DnsError`]; nothing runs then.
    pub async fn start(
        config: DnsConfig,
        views: watch::Receiver<Arc<View>>,
        metrics: Arc<DnsMetrics>,
        stop: watch::Receiver<bool>,
    ) -> Result<DnsServer, DnsError> {
        let bound = DnsSockets::bind(&config, &mut Sockets::default())?;
        DnsServer::serve(config, bound, views, metrics, (stop, Succession::default()))
    }

    /// Starts threads and tasks at these sockets.
    ///
    /// # Errors
    /// [`DnsError`]; nothing runs then.
    pub(crate) fn serve(
        config: DnsConfig,
        bound: DnsSockets,
        mut views: watch::Receiver<Arc<View>>,
        metrics: Arc<DnsMetrics>,
        (stop, succession): (watch::Receiver<bool>, Succession),
    ) -> Result<DnsServer, DnsError> {
        let view = Arc::clone(&views.borrow_and_update());
        if view.fleet.find(EXPLAIN).is_some() {
            return Err(DnsError::RegionName);
        }
        warn_of_mixed_families(&view.fleet);
        let tags: Vec<u16> = config.keys()?.iter().map(|key| key.tag).collect();
        if !tags.is_empty() {
            tracing::info!(?tags, "the zone is signed, by the first of these keys");
        }
        let answers = Answers::build(&config, view, cookie::now())?;
        let answers = Arc::new(ArcSwap::from_pointee(answers));
        let DnsSockets { tcp, udp, first, tls } = bound;
        let mut server = DnsServer {
            address: first,
            tls: tls.as_ref().map(|tls| tls.first),
            parts: JoinSet::new(),
            stop: stop.clone(),
        };

        let limiter = Arc::new(Limiter::new(&config.rate_limit));
        for (index, socket) in udp.into_iter().enumerate() {
            let worker = Worker::new(Arc::clone(&answers), Arc::clone(&limiter), Arc::clone(&metrics), stop.clone());
            server.thread(index, socket, worker)?;
        }
        if limiter.limits() {
            server.task("rate limiter", limiter.forget(stop.clone()));
        }
        let listener = Listener {
            answers: Arc::clone(&answers),
            metrics: Arc::clone(&metrics),
            connections: Connections::new(config.connections),
            tls: None,
            stop: stop.clone(),
            succession,
        };
        if let Some(TlsSockets { listeners, acceptor, certificates, .. }) = tls {
            for socket in listeners {
                server.task("tls", Listener { tls: Some(acceptor.clone()), ..listener.clone() }.serve(socket));
            }
            server.task("certificates", certificates.keep_fresh(stop.clone()));
        }
        for socket in tcp {
            server.task("tcp", listener.clone().serve(socket));
        }
        server.task("views", follow(config, views, answers, metrics, stop));
        Ok(server)
    }

    /// The first address for UDP and TCP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The first address for TLS, if it is on.
    #[must_use]
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls
    }

    /// Waits until everything has ended after `stop` became true.
    ///
    /// # Errors
    /// [`DnsError`] as soon as a part ends by itself.
    pub async fn stopped(mut self) -> Result<(), DnsError> {
        while let Some(ended) = self.parts.join_next().await {
            ended.map_err(|_| DnsError::Died("a task"))??;
        }
        Ok(())
    }

    /// Starts a thread, and a task that waits for its end.
    fn thread(&mut self, index: usize, socket: UdpSocket, worker: Worker) -> Result<(), DnsError> {
        // A panic drops the sender, so the task notices it.
        let (done, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name(format!("dns-udp-{index}"))
            .spawn(move || {
                let result = worker.serve(&socket);
                // The socket closes before the end is reported, because the reader of that report may want the port.
                drop(socket);
                // An error means that the task has ended already.
                let _ = done.send(result);
            })
            .map_err(DnsError::Thread)?;
        self.parts
            .spawn(async move { ended.await.map_err(|_| DnsError::Died("a UDP thread"))?.map_err(DnsError::Socket) });
        Ok(())
    }

    fn task(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.parts.spawn(async move {
            work.await;
            if *stop.borrow() || stop.has_changed().is_err() { Ok(()) } else { Err(DnsError::Died(name)) }
        });
    }
}

/// The sockets of a DNS server, and its certificate.
pub(crate) struct DnsSockets {
    tcp: Vec<TcpListener>,
    udp: Vec<UdpSocket>,
    /// The first address.
    first: SocketAddr,
    tls: Option<TlsSockets>,
}

struct TlsSockets {
    listeners: Vec<TcpListener>,
    /// The first address.
    first: SocketAddr,
    acceptor: TlsAcceptor,
    certificates: Arc<Certificates>,
}

impl DnsSockets {
    /// Binds TCP and UDP to the same port of each address, and TLS if it is configured.
    ///
    /// # Errors
    /// [`DnsError`]: an address is taken, or the certificate is not usable.
    pub(crate) fn bind(config: &DnsConfig, sockets: &mut Sockets) -> Result<DnsSockets, DnsError> {
        let mut bound = DnsSockets { tcp: Vec::new(), udp: Vec::new(), first: config.listen.first(), tls: None };
        for address in config.listen.all() {
            let (tcp, udp, at) = bind_one(*address, config, sockets)?;
            if bound.tcp.is_empty() {
                bound.first = at;
            }
            bound.tcp.push(tcp);
            bound.udp.extend(udp);
        }
        if let Some(tls) = &config.tls {
            let certificates = Certificates::load(tls.files.clone())?;
            let settings = Arc::new(certificates.server_config(&[b"dot"])?);
            let refused = |(address, source)| DnsError::Listen { transport: "tls", address, source };
            let listeners = sockets.all_tcp(&tls.listen).map_err(refused)?;
            let first = listeners.first().map_or(Ok(tls.listen.first()), TcpListener::local_addr);
            let first = first.map_err(|error| refused((tls.listen.first(), error)))?;
            bound.tls = Some(TlsSockets { listeners, first, acceptor: TlsAcceptor::from(settings), certificates });
        }
        Ok(bound)
    }
}

fn bind_one(
    address: SocketAddr,
    config: &DnsConfig,
    sockets: &mut Sockets,
) -> Result<(TcpListener, Vec<UdpSocket>, SocketAddr), DnsError> {
    let refused = |transport| move |source| DnsError::Listen { transport, address, source };
    let threads = if cfg!(target_os = "linux") { config.threads.get() } else { 1 };
    let only_v6 = config.listen.is_ipv6_only(address);
    let mut tries = 0;
    loop {
        let tcp = sockets.tcp(address, only_v6).map_err(refused("tcp"))?;
        let at = tcp.local_addr().map_err(refused("tcp"))?;
        match udp::bind(sockets, at, only_v6, threads) {
            Ok(udp) => return Ok((tcp, udp, at)),
            Err(_) if address.port() == 0 && tries < TRIES => tries += 1,
            Err(error) => return Err(refused("udp")(error)),
        }
    }
}

/// Builds the answers of each new view, whose fleet and places may be others, until `stop` is true, and signs them again
/// when a new day has begun, or the clock was set. The last answers stay if there is no new view.
async fn follow(
    config: DnsConfig,
    mut views: watch::Receiver<Arc<View>>,
    answers: Arc<ArcSwap<Answers>>,
    metrics: Arc<DnsMetrics>,
    mut stop: watch::Receiver<bool>,
) {
    let build = |view: Arc<View>| match Answers::build(&config, view, cookie::now()) {
        Ok(new) => {
            let new = Arc::new(new);
            answers.store(Arc::clone(&new));
            metrics.forget_others(&new.view.fleet);
        }
        Err(error) => {
            metrics.bad_views.inc();
            tracing::error!(
                error = &error as &dyn std::error::Error,
                action = "restart the router; shorten the names if it happens again",
                "a view cannot be turned into answers: DNS keeps its last answers and does not follow health"
            );
        }
    };
    let changes = async {
        while views.changed().await.is_ok() {
            let view = Arc::clone(&views.borrow_and_update());
            if !Arc::ptr_eq(&view.fleet, &answers.load().view.fleet) {
                warn_of_mixed_families(&view.fleet);
            }
            build(view);
        }
        std::future::pending::<()>().await;
    };
    let renewals = async {
        let Some(signer) = &config.signer else { return std::future::pending::<()>().await };
        loop {
            let present = answers.load_full();
            if Validity::at(cookie::now()) != present.validity {
                build(Arc::clone(&present.view));
            }
            metrics.show_signatures(signer.made(), answers.load().validity);
            tokio::time::sleep(LOOK_AT_CLOCK_EVERY).await;
        }
    };
    tokio::select! { _ = stop.wait_for(|stop| *stop) => {}, () = changes => {}, () = renewals => {} }
}

/// Warns if a region lacks a family that others have: it tells resolvers so, and they may believe it of all regions.
fn warn_of_mixed_families(fleet: &Fleet) {
    for (family, of_family) in [("IPv4", true), ("IPv6", false)] {
        let has = |region: &crate::fleet::Region| {
            region.nodes.iter().flat_map(|node| &node.addresses).any(|one| one.to_canonical().is_ipv4() == of_family)
        };
        let without: Vec<&str> =
            fleet.regions.iter().filter(|region| !has(region)).map(|region| region.name.as_str()).collect();
        if !without.is_empty() && without.len() < fleet.regions.len() {
            let action = "give every region's nodes addresses of both families, or of one";
            tracing::warn!(
                family,
                ?without,
                action,
                "some regions have no address of a family that others have: resolvers may use it for none"
            );
        }
    }
}
