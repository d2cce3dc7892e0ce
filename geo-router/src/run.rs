//! Runs one router from start to stop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use service::access_log::{AccessLog, AccessLogError};
use service::certificates::Certificates;
use service::expiry::Expiries;
use service::operators::{Operators, OperatorsError};
use service::pid_file::{PidFile, PidFileError};
use service::process_metrics;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin::Admin;
use crate::config::RouterConfig;
use crate::control::{Control, PeerKey, PeerKeyError, Reload, Tables, TablesError};
use crate::dns::{DnsError, DnsMetrics, DnsServer, DnsSockets};
use crate::edge::{EdgeError, EdgeMetrics, EdgeServer, EdgeSockets};
use crate::location::Places;
use crate::metrics::ControlMetrics;
use crate::replace::{self, Door};
use crate::sockets::Sockets;
use crate::succession::Succession;

pub use crate::replace::ReplaceError;

/// How long a part may take to stop, beyond the time for what is under way.
const MARGIN: Duration = Duration::from_secs(6);

/// Why a router cannot run, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The operators cannot be read.
    #[error("admin.operators")]
    Operators(#[from] OperatorsError),
    /// The admin address is taken or does not belong to this machine.
    #[error("cannot listen on {address}: is another router running there?")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The location database cannot be used, or no table can be built from it.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// The routers' key cannot be used.
    #[error(transparent)]
    Key(#[from] PeerKeyError),
    /// The access log cannot be opened.
    #[error(transparent)]
    AccessLog(#[from] AccessLogError),
    /// The pid file cannot be written.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    /// The metrics cannot be registered.
    #[error("cannot register metrics")]
    Metrics(#[from] prometheus::Error),
    /// DNS does not start.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// The edge does not start.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// The router that runs is not replaced.
    #[error("the running router is not replaced, and goes on")]
    Replace(#[from] ReplaceError),
    /// A part of the router panicked; its message is in the log.
    #[error("a part of the router panicked; its message is in the log")]
    Panicked,
}

/// Folds the location database of a configuration into the table that answers come from.
///
/// # Errors
/// [`RunError`] if it cannot be used.
pub fn locate(config: &RouterConfig) -> Result<Arc<Places>, RunError> {
    Ok(Arc::clone(Tables::configured(config)?.places()))
}

/// How a router comes to its sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It binds them.
    Alone,
    /// It takes those of the router that runs with its data folder, and that router ends. If none runs, it binds them.
    Replacing,
}

/// Runs a router until `shutdown` resolves or another one has replaced it. It reads its configuration file again whenever
/// `reload` asks for it.
///
/// # Errors
/// [`RunError`].
pub async fn run(
    config: RouterConfig,
    start: Start,
    reload: Reload,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let config = Arc::new(config);
    let operators = Operators::load(config.operators.as_deref())?;
    let key = config.key_file.as_deref().map(PeerKey::load).transpose()?;
    if let Some(weakness) = config.weakness() {
        tracing::warn!(weakness, "the routers cannot decide on the health of regions in some failures");
    }
    let registry = Registry::new();
    process_metrics::register(&registry, "router")?;
    let expiries = Expiries::register(&registry)?;
    let metrics = Arc::new(ControlMetrics::register(&registry)?);
    let dns_metrics = Arc::new(DnsMetrics::register(&registry)?);
    let edge_metrics = Arc::new(EdgeMetrics::register(&registry)?);
    let ends = edge_metrics.ended.of("admin");
    // What waits is written when `_written` is dropped, after all requests have ended.
    let opened = config.access_log.as_deref().map(|path| AccessLog::open(path, &registry)).transpose()?;
    let (access_log, _written) = opened.unzip();
    let mut following = JoinSet::new();
    access_log.iter().cloned().for_each(|log| drop(following.spawn(log.reopen_on_hangup())));
    // A taken address is told before the long work, unless it is the one of the router that is to be replaced. Nothing
    // listens during that work, because a client whose connection is taken waits, and one that is refused asks elsewhere.
    config.pid_file.as_deref().map(PidFile::check).transpose()?;
    if start == Start::Alone {
        drop(Bound::bind(&config, &mut Sockets::default())?);
    }

    // A city database has millions of networks, so it is read on a blocking thread.
    let blocking = Arc::clone(&config);
    let control = tokio::task::spawn_blocking(move || Control::new(blocking, metrics));
    let mut control = control.await.map_err(|_| RunError::Panicked)??;
    let places = Arc::clone(&control.views().borrow().places);
    let (v4, v6) = places.size();
    tracing::info!(v4, v6, classes = places.classes().len(), "the table of places is built");
    drop(places);

    let mut sockets = Sockets::default();
    let (predecessor, outlook) = match start {
        Start::Alone => (None, None),
        Start::Replacing => replace::take_over(&config.data, &mut sockets, &mut control).await?,
    };
    let Bound { admin, dns, edge } = Bound::bind(&config, &mut sockets)?;
    let held = sockets.held();
    let door = Door::make(&config.data);

    let (views, control_state, handle) = (control.views(), control.state(), control.handle());
    handle.keeps_state(predecessor.is_none()).await;
    let (stop_edge, edge_stops) = watch::channel(false);
    let (stop_dns, dns_stops) = watch::channel(false);
    let (stop_admin, admin_stops) = watch::channel(false);
    let (stop_control, control_stops) = watch::channel(false);
    let succession = Succession::default();
    let mut control_tasks = JoinSet::new();
    control_tasks.spawn(control.run(key.clone(), reload, control_stops));
    tokio::pin!(shutdown);
    if let Some(outlook) = outlook {
        tokio::select! {
            ready = replace::look_around(outlook, &config.health) => ready?,
            () = &mut shutdown => {
                tracing::info!("stopped before it has replaced the router that runs");
                return Ok(());
            }
        }
    }

    let mut servers = Servers::default();
    let mut breakers = None;
    // Only DNS can still fail, so it is first: a router that is to replace another must not take a connection and end.
    if let Some((dns, bound)) = config.dns.clone().zip(dns) {
        // The server keeps its certificates to itself.
        if let Some(tls) = &dns.tls {
            expiries.show_files_of("dns", Certificates::load(tls.files.clone()).map_err(DnsError::from)?);
        }
        let server = DnsServer::serve(dns, bound, views.clone(), dns_metrics, (dns_stops, succession.clone()))?;
        tracing::info!(address = %server.address(), "answering DNS");
        servers.dns.spawn(async { server.stopped().await.map_err(RunError::Dns) });
    }
    if let Some((edge, bound)) = config.edge.clone().zip(edge) {
        bound.certificates().into_iter().for_each(|certificates| expiries.show("edge", certificates));
        let records = (edge_metrics, access_log);
        let server = EdgeServer::serve(edge, bound, views.clone(), records, (edge_stops, succession.clone()));
        tracing::info!(address = %server.address(), "forwarding HTTP");
        breakers = Some(server.breakers());
        servers.edge.spawn(async {
            server.stopped().await;
            Ok(())
        });
    }
    let name = config.name.to_string();
    let admin_api = Arc::new(Admin { name, views, control_state, breakers, key, operators, registry, ends });
    for socket in admin {
        servers.admin.spawn(Arc::clone(&admin_api).serve(socket, admin_stops.clone()));
    }
    if let Some(predecessor) = predecessor {
        predecessor.retire().await;
        handle.keeps_state(true).await;
    }
    let door = replace::open(door);
    let pid = config.pid_file.as_deref().and_then(|path| {
        // It serves, and a router that it has replaced is gone, so this is no reason to end.
        let written = PidFile::write(path).inspect_err(|error| {
            let action = "give it a place where it can be written; scripts that read it do not find this process";
            tracing::error!(error = error as &dyn std::error::Error, action, "the process id cannot be written");
        });
        written.ok()
    });
    tracing::info!(router = %config.name, admin = ?config.admin.all(), "serving");

    let mut outcome = Ok(());
    tokio::select! {
        () = shutdown => {}
        () = replace::successor(door, held, handle) => succession.happens(),
        // A part that ends before it is told to is broken. The process then ends as well, so that a supervisor notices.
        ended = servers.broken() => outcome = ended,
        Some(_) = control_tasks.join_next() => outcome = Err(RunError::Panicked),
    }
    let drain = config.edge.as_ref().map_or(Duration::ZERO, |edge| edge.timeouts.drain) + MARGIN;
    stop_edge.send_replace(true);
    if succession.has_happened() {
        // The successor answers at the same sockets.
        stop_dns.send_replace(true);
        stop_admin.send_replace(true);
    }
    // Clients of HTTP go first. DNS, which names the regions and not this router, and health checks continue meanwhile.
    servers.end(drain, &stop_dns).await;
    match pid {
        Some(pid) if succession.has_happened() => pid.leave(),
        pid => drop(pid),
    }
    stop_admin.send_replace(true);
    stop_control.send_replace(true);
    while servers.admin.join_next().await.is_some() {}
    while control_tasks.join_next().await.is_some() {}
    tracing::info!("stopped");
    outcome
}

/// The sockets of all listeners.
struct Bound {
    admin: Vec<TcpListener>,
    dns: Option<DnsSockets>,
    edge: Option<EdgeSockets>,
}

impl Bound {
    fn bind(config: &RouterConfig, sockets: &mut Sockets) -> Result<Bound, RunError> {
        let admin = sockets.all_tcp(&config.admin);
        Ok(Bound {
            admin: admin.map_err(|(address, source)| RunError::Listen { address, source })?,
            dns: config.dns.as_ref().map(|dns| DnsSockets::bind(dns, sockets)).transpose()?,
            edge: config.edge.as_ref().map(|edge| EdgeSockets::bind(edge, sockets)).transpose()?,
        })
    }
}

/// The parts that serve.
#[derive(Default)]
struct Servers {
    dns: JoinSet<Result<(), RunError>>,
    edge: JoinSet<Result<(), RunError>>,
    admin: JoinSet<()>,
}

impl Servers {
    /// Resolves when a part ends by itself.
    async fn broken(&mut self) -> Result<(), RunError> {
        let ended = tokio::select! {
            Some(ended) = self.dns.join_next() => ended.unwrap_or(Ok(())),
            Some(ended) = self.edge.join_next() => ended.unwrap_or(Ok(())),
            Some(_) = self.admin.join_next() => Ok(()),
        };
        ended.and(Err(RunError::Panicked))
    }

    /// Waits for what the edge has under way, then stops DNS and waits for it as well.
    async fn end(&mut self, drain: Duration, stop_dns: &watch::Sender<bool>) {
        let edge = tokio::time::timeout(drain, async { while self.edge.join_next().await.is_some() {} });
        let edge_ended = edge.await.is_ok();
        stop_dns.send_replace(true);
        let dns = tokio::time::timeout(MARGIN, async { while self.dns.join_next().await.is_some() {} });
        if dns.await.is_err() || !edge_ended {
            tracing::warn!("some connections did not end in time: their requests fail, and the router stops");
        }
    }
}
