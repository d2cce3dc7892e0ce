//! Runs one router from start to stop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use service::operators::{Operators, OperatorsError};
use service::pid_file::{PidFile, PidFileError};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin::Admin;
use crate::config::RouterConfig;
use crate::control::{Control, PeerKey, PeerKeyError, Reload, Tables, TablesError};
use crate::dns::{DnsError, DnsMetrics, DnsServer};
use crate::edge::{EdgeError, EdgeMetrics, EdgeServer};
use crate::location::Places;
use crate::metrics::ControlMetrics;
use crate::sockets;

/// How long requests in flight may take before the router stops anyway.
const DRAIN: Duration = Duration::from_secs(10);

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
    /// A part of the router panicked; its message is in the log.
    #[error("a part of the router panicked; its message is in the log")]
    Panicked,
}

/// Reads the location database and folds it into the table that answers come from.
///
/// # Errors
/// [`RunError`] if the database cannot be used.
pub fn locate(config: &RouterConfig) -> Result<Arc<Places>, RunError> {
    Ok(Arc::clone(Tables::configured(config)?.places()))
}

/// Runs a router until `shutdown` resolves. It reads its configuration file again whenever `reload` asks for it.
///
/// # Errors
/// [`RunError`].
pub async fn run(
    config: RouterConfig,
    reload: Reload,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let config = Arc::new(config);
    let admin = sockets::all_tcp(&config.admin);
    let admin = admin.map_err(|(address, source)| RunError::Listen { address, source })?;
    let operators = Operators::load(config.operators.as_deref())?;
    let key = config.key_file.as_deref().map(PeerKey::load).transpose()?;
    if let Some(weakness) = config.weakness() {
        tracing::warn!(weakness, "the routers cannot decide on the health of regions in some failures");
    }
    let registry = Registry::new();
    let metrics = Arc::new(ControlMetrics::register(&registry)?);
    let dns_metrics = Arc::new(DnsMetrics::register(&registry)?);
    let edge_metrics = Arc::new(EdgeMetrics::register(&registry)?);
    let ends = edge_metrics.ended.of("admin");

    // A city database has millions of networks, so it is read on a blocking thread.
    let blocking = Arc::clone(&config);
    let control = tokio::task::spawn_blocking(move || Control::new(blocking, metrics));
    let control = control.await.map_err(|_| RunError::Panicked)??;
    let (views, control_state) = (control.views(), control.state());
    let places = Arc::clone(&views.borrow().places);
    let (v4, v6) = places.size();
    tracing::info!(v4, v6, classes = places.classes().len(), "the table of places is built");
    drop(places);

    let (stop_in, stop) = watch::channel(false);
    let (stop_control_in, stop_control) = watch::channel(false);
    let mut servers = JoinSet::new();
    let mut breakers = None;
    if let Some(dns) = config.dns.clone() {
        let server = DnsServer::start(dns, views.clone(), dns_metrics, stop.clone()).await?;
        tracing::info!(address = %server.address(), "answering DNS");
        servers.spawn(async { server.stopped().await.map_err(RunError::Dns) });
    }
    if let Some(edge) = config.edge.clone() {
        let server = EdgeServer::start(edge, views.clone(), edge_metrics, stop.clone()).await?;
        tracing::info!(address = %server.address(), "forwarding HTTP");
        breakers = Some(server.breakers());
        servers.spawn(async {
            server.stopped().await;
            Ok(())
        });
    }
    let _pid = config.pid_file.as_deref().map(PidFile::write).transpose()?;
    let name = config.name.to_string();
    let ballots = key.clone();
    let admin_api = Arc::new(Admin { name, views, control_state, breakers, key: ballots, operators, registry, ends });
    let mut control_tasks = JoinSet::new();
    for socket in admin {
        control_tasks.spawn(Arc::clone(&admin_api).serve(socket, stop_control.clone()));
    }
    control_tasks.spawn(control.run(key, reload, stop_control));
    tracing::info!(router = %config.name, admin = ?config.admin.all(), "serving");

    let mut outcome = Ok(());
    tokio::select! {
        () = shutdown => {}
        // A part that ends before it is told to is broken. The process then ends as well, so that a supervisor notices.
        Some(ended) = servers.join_next() => outcome = ended.unwrap_or(Ok(())).and(Err(RunError::Panicked)),
        Some(_) = control_tasks.join_next() => outcome = Err(RunError::Panicked),
    }
    // Clients go first; health checks continue while their requests end.
    stop_in.send_replace(true);
    let drained = async { while servers.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("some connections did not end in time: their requests fail, and the router stops");
    }
    stop_control_in.send_replace(true);
    while control_tasks.join_next().await.is_some() {}
    tracing::info!("stopped");
    outcome
}
