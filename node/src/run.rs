//! Runs one node from start to stop.

use std::fs::{File, TryLockError};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use replication::{Reader, Replica, ReplicaConfig, ReplicaId, StorageError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::backup::{Backups, UNFINISHED};
use crate::ballast::Ballast;
use crate::clock::{Clock, SystemClock};
use crate::config::NodeConfig;
use crate::faults::{Faults, SteppedClock};
use crate::http::{self, App, ConsoleKeys, Loaded, Packs};
use crate::membership::Membership;
use crate::metrics::Metrics;
use crate::peer::{Links, TlsError, TlsIdentity, accept, ask_for_membership, dial_members};
use crate::space::Space;
use crate::storage::Store;
use crate::{driver, storage};
use registry::LONGEST_RETENTION;
use service::access_log::{AccessLog, AccessLogError};
use service::certificates::{CertificateError, Certificates};
use service::config::Listen;
use service::listen::Socket;
use service::operators::Operators;
use service::pid_file::{PidFile, PidFileError};
use service::private;

/// How long requests in flight may take before the node stops anyway.
const DRAIN: Duration = Duration::from_secs(6);

/// Why a node cannot run, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// An address is taken or does not belong to this machine.
    #[error("cannot listen on {address}: is another node running there?")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The certificate of the public listener cannot be used.
    #[error("listen.public_tls: its certificate (`[tls.public]`, otherwise `[tls]`) cannot be used")]
    PublicTls(#[from] CertificateError),
    /// TLS of the public listener cannot be set up.
    #[error("listen.public_tls: TLS cannot be set up")]
    Acceptor(#[from] rustls::Error),
    /// The policy packs cannot be used.
    #[error(transparent)]
    Packs(#[from] http::PacksError),
    /// A key of the owners' console cannot be used.
    #[error("registry.console_keys")]
    ConsoleKeys(#[from] service::signing::SigningKeyError),
    /// The operators cannot be read.
    #[error("admin.operators")]
    Operators(#[from] service::operators::OperatorsError),
    /// The access log cannot be opened.
    #[error(transparent)]
    AccessLog(#[from] AccessLogError),
    /// The pid file cannot be written.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    /// The folder of the data cannot be closed to other users.
    #[error("data: {} cannot be made, locked or closed to other users", path.display())]
    Data {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A backup was being put into the folder of the data, and that was cut short.
    #[error(
        "data: a restore into {} did not finish, so the store is not whole: delete the folder and restore again, or start \
         with an empty one, which the other regions fill",
        path.display()
    )]
    Unrestored {
        /// The folder.
        path: PathBuf,
    },
    /// Another process uses the folder of the data.
    #[error("data: {} is in use by another process: stop it, or give each node a folder of its own", path.display())]
    DataInUse {
        /// The folder.
        path: PathBuf,
    },
    /// The engine failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A thread could not be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// Runs a node until `shutdown` resolves; everything acknowledged is durable when it returns. It shows `metrics`, into
/// which the caller may write as well.
///
/// # Errors
/// [`RunError`].
pub async fn run(
    config: NodeConfig,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    run_with_clock(config, Arc::new(SystemClock::start()), metrics, shutdown).await
}

/// Runs a node on a clock of the caller's choice.
///
/// # Errors
/// [`RunError`].
pub async fn run_with_clock(
    config: NodeConfig,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let data = config.data.clone();
    let ended = serve(config, clock, metrics, shutdown).await;
    if let Err(RunError::Storage(error)) = &ended {
        storage::suspect(&data, error);
    }
    ended
}

async fn serve(
    config: NodeConfig,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let has_tls = config.listen.public_tls.is_some();
    let certificates = has_tls.then(|| Certificates::load(config.public_certificate.clone())).transpose()?;
    let acceptor = certificates.as_ref().map(Certificates::acceptor).transpose()?;
    // A taken address is told before the long work. Nothing listens during that work, because a client whose connection is
    // taken waits, and one that is refused asks another region at once.
    drop(Sockets::bind(&config, acceptor.as_ref())?);
    let (_alone, space) = folder(&config, metrics.clone())?;
    let _pid = config.pid_file.as_deref().map(PidFile::write).transpose()?;
    let packs = Packs::load(&config.registry)?;
    let console_keys = ConsoleKeys::load(&config.registry)?;
    let operators = Operators::load(config.operators.as_deref())?;
    // What waits is written when `_written` is dropped, after all requests have ended.
    let opened = config.access_log.as_deref().map(|path| AccessLog::open(path, metrics.registry())).transpose()?;
    let (access_log, _written) = opened.unzip();
    let mut following = JoinSet::new();
    access_log.iter().cloned().for_each(|log| drop(following.spawn(log.reopen_on_hangup())));
    let identity = Arc::new(TlsIdentity::load(&config.tls, &config.name, metrics.clone())?);
    let faults = Faults::new(config.faults, clock.clone(), metrics.clone());
    let clock: Arc<dyn Clock> = Arc::new(SteppedClock { right: clock, faults: faults.clone() });

    if config.data.join(UNFINISHED).exists() {
        return Err(RunError::Unrestored { path: config.data.clone() });
    }
    let data = config.data.clone();
    let (storage_config, disk_faults, disk_metrics) = (config.storage, faults.clone(), metrics.clone());
    // Recovery may read gigabytes, so it runs on a blocking thread.
    let has_peers = !config.peers.is_empty();
    let opened = tokio::task::spawn_blocking(move || {
        storage::open(&data, &storage_config, has_peers, disk_faults, disk_metrics)
    });
    let snapshots = opened.await.map_err(|_| engine_panicked())??;
    let backups = Backups::new(snapshots.clone(), config.backup.most_kept, metrics.clone());
    let store: Store = snapshots;
    let reader = Reader::new(store.clone(), LONGEST_RETENTION);
    let (membership, keeper) = Membership::begin(&config, &reader)?;
    let replica_config = replica_config(&config, &membership);
    let mut replica = Replica::open(replica_config, store.clone(), Box::new(mint), clock.now())?;
    // The process before this one may have been killed by what damaged its disk.
    replica.scrub_now(clock.now());
    let (region, node, engine) = (&config.region, &config.name, config.storage.engine);
    tracing::info!(%region, %node, replica = %replica.id(), %engine, "the store is open");
    let Sockets { public, replication, admin } = Sockets::bind(&config, acceptor.as_ref())?;
    let (handle, mut running) =
        driver::start(replica, store, reader, clock, config.replication.heartbeat, metrics.clone())
            .map_err(RunError::Thread)?;

    let (stop_in, stop) = watch::channel(false);
    let (stop_links_in, stop_links) = watch::channel(false);
    let mut servers = JoinSet::new();
    if !operators.are_known() {
        tracing::warn!(
            action = "name a file with operators in `admin.operators`",
            "no operators are configured: every client that reaches the admin listener may do everything"
        );
    }
    let plain: Vec<SocketAddr> = config.plain_addresses().collect();
    if !plain.is_empty() && config.listen.public_tls.is_none() {
        tracing::warn!(
            addresses = ?plain, action = "set `listen.public_tls`, and name it as `https` in the routers",
            "the public API is served without TLS alone: names, telephone numbers and secrets of guests cross the network \
             in the clear, unless a proxy in front of this node speaks TLS"
        );
    }
    if faults.is_enabled() {
        tracing::warn!("[faults] is enabled: operators can disturb this node");
    }
    servers.spawn(faults.clone().keep(stop.clone()));
    servers.spawn(identity.clone().keep(stop.clone()));
    let links_space = space.clone();
    servers.spawn(space.clone().keep(stop.clone()));
    let loaded = Loaded { packs, console_keys, operators, space, backups, access_log };
    let app = Arc::new(App::new(&config, handle.clone(), membership.clone(), loaded, faults.clone(), metrics.clone()));
    servers.spawn(http::public::serve(public, app.clone(), stop.clone()));
    servers.spawn(http::upkeep::keep(app.clone(), stop.clone()));
    if let Some(certificates) = certificates {
        metrics.expiries.show("public", certificates.clone());
        servers.spawn(certificates.keep_fresh(stop.clone()));
    }
    for admin in admin {
        servers.spawn(http::admin::serve(admin.tcp, app.clone(), stop.clone()));
    }
    drop(app);
    let links = Links::new(handle.clone(), identity, faults, membership, links_space, metrics);
    let mut peers = JoinSet::new();
    for replication in replication {
        peers.spawn(accept(replication.tcp, links.clone(), stop_links.clone()));
    }
    peers.spawn(dial_members(links.clone(), stop_links.clone()));
    peers.spawn(ask_for_membership(links, stop_links.clone()));
    peers.spawn(keeper.keep(handle, stop_links.clone()));
    let listen = &config.listen;
    let public_tls = listen.public_tls.as_ref().map(Listen::all);
    tracing::info!(
        public = ?listen.public.all(), ?public_tls, replication = %listen.replication, admin = ?listen.admin.all(), "serving"
    );

    tokio::select! {
        () = shutdown => {}
        failed = running.failed() => return Err(failed.into()),
    }
    // Clients go first, so that every acknowledgement that was sent holds; then peers; then the store.
    stop_in.send_replace(true);
    let drained = async { while servers.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("some connections did not end in time: their requests fail, and the node stops");
    }
    stop_links_in.send_replace(true);
    peers.shutdown().await;
    running.stop().await?;
    storage::stopped_well(&config.data);
    tracing::info!("stopped; everything acknowledged is durable");
    Ok(())
}

/// Makes the folder of the data private, and keeps other processes out of it for as long as the lock lives. Gives the
/// ballast up on a full disk, before anything is written.
fn folder(config: &NodeConfig, metrics: Arc<Metrics>) -> Result<(File, Space), RunError> {
    let path = &config.data;
    let failed = |source| RunError::Data { path: path.clone(), source };
    if private::make_folder(path).map_err(failed)? {
        let data = path.display();
        tracing::warn!(%data, "other users of this machine could read the folder of the data: it is closed to them now");
    }
    // The folder itself is locked, because a full disk may have no room for a file.
    let alone = File::open(path).map_err(failed)?;
    match alone.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(RunError::DataInUse { path: path.clone() }),
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    let ballast = Ballast::of(path, config.storage.ballast_bytes);
    Ok((alone, Space::new(path.clone(), config.storage.reserve_bytes, ballast, metrics)))
}

/// The sockets of all listeners.
struct Sockets {
    public: Vec<Socket>,
    replication: Vec<Socket>,
    admin: Vec<Socket>,
}

impl Sockets {
    fn bind(config: &NodeConfig, tls: Option<&TlsAcceptor>) -> Result<Sockets, RunError> {
        let bind = |addresses: &Listen, tls| {
            Socket::bind_all(addresses, tls).map_err(|(address, source)| RunError::Listen { address, source })
        };
        let mut public = bind(&config.listen.public, None)?;
        if let Some(addresses) = &config.listen.public_tls {
            public.extend(bind(addresses, tls)?);
        }
        let replication = bind(&config.listen.replication.into(), None)?;
        Ok(Sockets { public, replication, admin: bind(&config.listen.admin, None)? })
    }
}

fn replica_config(config: &NodeConfig, membership: &Membership) -> ReplicaConfig {
    let peers = membership.now().peer_regions();
    ReplicaConfig {
        max_retention: LONGEST_RETENTION,
        max_clock_skew: config.replication.max_clock_skew,
        heartbeat: config.replication.heartbeat,
        relay_after: config.replication.relay_after,
        former: membership.now().former.clone(),
        boot: random(),
        scrub_every: config.storage.scrub_every,
        in_flight_bytes: usize::try_from(config.replication.in_flight_bytes).unwrap_or(usize::MAX),
        ..ReplicaConfig::new(config.name.clone(), config.region.clone(), peers)
    }
}

fn mint() -> ReplicaId {
    ReplicaId(random())
}

/// A random number that is not 0, which marks a bucket that no replica has written yet.
fn random() -> u64 {
    loop {
        // There is no safe id without random bytes, so ask again.
        match getrandom::u64() {
            Ok(random) if random != 0 => return random,
            _ => std::thread::yield_now(),
        }
    }
}

fn engine_panicked() -> StorageError {
    StorageError::Engine { action: "opened", source: "the engine panicked; its message is in the log".into() }
}
