//! Connects to nodes, for the requests of clients, for probes and for the control plane alike: TCP, and TLS where the
//! endpoint has it.
//!
//! # What is verified
//! A node's certificate leads to the authority in `nodes.ca`, or to one that the system trusts if no file is named; it is
//! valid now, is not on the list in `nodes.revoked`, and shows the name that the endpoint expects. Nothing is sent before.
//! The node verifies no certificate of a router: its public listener takes every client.
//!
//! # Invariants
//! - An endpoint with TLS is never connected to without it.
//! - A probe makes a whole handshake each time, because a session that is resumed does not show the certificate again.
//! - Files that change are read again. Connections that were made by the earlier ones are not used for another request.
//!   Unusable files are reported and change nothing.
//!
//! The roots come from the system (`rustls-native-certs`) and not from the binary (`webpki-roots`), because an operator
//! renews and restricts them there. `rustls-platform-verifier` does the same on servers, but logs an error for each
//! handshake that fails, and probes fail once a second.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use api::client::Connection;
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use service::authority::{CertsError, Trust};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::endpoint::Endpoint;

/// Time between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The files by which nodes are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustFiles {
    /// Certificates of the authorities; those of the system without a file.
    pub ca: Option<PathBuf>,
    /// Their lists of revoked certificates, if there is such a file.
    pub revoked: Option<PathBuf>,
}

/// Why no node can be trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The authority or its list cannot be read.
    #[error(transparent)]
    Files(#[from] CertsError),
    /// The system trusts no authority.
    #[error("nodes.ca: no file is named, and this system has no trusted certificates (SSL_CERT_FILE, ca-certificates)")]
    NoRoots,
    /// The authority cannot be used.
    #[error("the authority of the nodes cannot be used")]
    Unusable(#[from] rustls::Error),
    /// The authority cannot verify nodes.
    #[error("the authority of the nodes cannot verify them")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

/// Why there is no connection to a node.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("its host name has no address yet")]
    NoAddress,
    #[error("cannot connect")]
    Tcp(#[source] io::Error),
    #[error("its certificate is not accepted")]
    Refused(#[source] rustls::Error),
    #[error("TLS handshake failed")]
    Tls(#[source] io::Error),
    #[error("no certificate can be verified")]
    Trust(#[from] TrustError),
    #[error("no connection in time")]
    Late,
}

impl ConnectError {
    /// The error with its causes.
    pub(crate) fn in_words(&self) -> String {
        let mut words = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            words = format!("{words}: {cause}");
            source = cause.source();
        }
        words
    }

    /// Whether an operator has to act: the node cannot prove its name, or does not speak TLS.
    pub(crate) fn is_about_tls(&self) -> bool {
        match self {
            ConnectError::Refused(_) | ConnectError::Trust(_) => true,
            // Without an error of TLS the connection has only ended.
            ConnectError::Tls(error) => error.get_ref().is_some_and(|cause| cause.is::<rustls::Error>()),
            ConnectError::NoAddress | ConnectError::Tcp(_) | ConnectError::Late => false,
        }
    }
}

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Requests of clients, over sessions that are resumed.
    Requests,
    /// A probe or a question of the control plane, which must see the certificate.
    Probe,
}

/// A connection to a node.
pub(crate) enum NodeStream {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS; boxed, because its state is large.
    Tls(Box<TlsStream<TcpStream>>),
}

/// The TLS settings by one state of the files.
#[derive(Debug)]
pub(crate) struct Trusted {
    requests: Arc<ClientConfig>,
    probes: Arc<ClientConfig>,
}

/// A file's time, which is coarse, and its length: one of them changes when the file does.
type Mark = Option<(SystemTime, u64)>;

/// The way to all nodes of a deployment.
#[derive(Debug, Default)]
pub struct Connector {
    files: TrustFiles,
    /// Read at the first need if no file is named.
    trusted: ArcSwapOption<Trusted>,
    looked: Mutex<Option<(Instant, [Mark; 2])>>,
    is_told: AtomicBool,
}

impl Connector {
    /// Reads the files. Without `nodes.ca` the roots of the system are read when a node with TLS is reached first.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn load(files: TrustFiles) -> Result<Connector, TrustError> {
        // The marks are read before the contents, so that a file that changes in between is read again.
        let marks = marks(&files);
        let trusted = files.ca.is_some().then(|| Trusted::read(&files)).transpose()?;
        let looked = Mutex::new(Some((Instant::now(), marks)));
        Ok(Connector {
            files,
            trusted: ArcSwapOption::new(trusted.map(Arc::new)),
            looked,
            is_told: AtomicBool::new(false),
        })
    }

    /// Reads the roots of the system now, so that an error shows before a node is reached.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn check(&self) -> Result<(), TrustError> {
        self.trusted().map(drop)
    }

    /// The files that it was made with.
    pub(crate) fn files(&self) -> &TrustFiles {
        &self.files
    }

    /// The TLS settings of this moment. A connection that was made with others is not used for another request.
    pub(crate) fn trusted(&self) -> Result<Arc<Trusted>, TrustError> {
        self.renew();
        if let Some(trusted) = self.trusted.load_full() {
            return Ok(trusted);
        }
        let trusted = Arc::new(Trusted::read(&self.files)?);
        // Of several tasks that read the roots at once, all go on with those of the first.
        let before = self.trusted.compare_and_swap(&None::<Arc<Trusted>>, Some(Arc::clone(&trusted)));
        Ok(before.as_ref().map_or(trusted, Arc::clone))
    }

    /// Connects within `limit`, the handshake included, to the first address that takes the connection.
    pub(crate) async fn connect(
        &self,
        to: &Endpoint,
        purpose: Purpose,
        limit: Duration,
    ) -> Result<NodeStream, ConnectError> {
        let tls = match to.server_name() {
            Some(name) => Some((name, self.trusted()?.of(purpose))),
            None => None,
        };
        let connected = async {
            let stream = tcp(to.sockets(), limit).await?;
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY");
            }
            let Some((name, config)) = tls else { return Ok(NodeStream::Plain(stream)) };
            let stream = TlsConnector::from(config).connect(name.clone(), stream).await.map_err(failed)?;
            Ok(NodeStream::Tls(Box::new(stream)))
        };
        tokio::time::timeout(limit, connected).await.unwrap_or(Err(ConnectError::Late))
    }

    /// A connection for a question of the control plane.
    pub(crate) async fn ask(&self, to: &Endpoint, limit: Duration) -> Result<Connection, ConnectError> {
        let connection = match self.connect(to, Purpose::Probe, limit).await? {
            NodeStream::Plain(stream) => Connection::over(stream).await,
            NodeStream::Tls(stream) => Connection::over(stream).await,
        };
        connection.map_err(ConnectError::Tcp)
    }

    /// Reads the files again if they have changed.
    fn renew(&self) {
        let Some(mut looked) = self.looked.try_lock() else { return };
        if self.files == TrustFiles::default() || looked.is_some_and(|(at, _)| at.elapsed() < LOOK_EVERY) {
            return;
        }
        let marks = marks(&self.files);
        let before = looked.replace((Instant::now(), marks));
        let is_told = self.is_told.load(Ordering::Relaxed);
        // What could not be read is tried again: the reason may have passed.
        if before.is_some_and(|(_, before)| before == marks) && !is_told {
            return;
        }
        match Trusted::read(&self.files) {
            Ok(trusted) => {
                self.trusted.store(Some(Arc::new(trusted)));
                self.is_told.store(false, Ordering::Relaxed);
                tracing::info!("the authority of the nodes and its list were read again");
            }
            Err(_) if is_told => {}
            Err(error) => {
                self.is_told.store(true, Ordering::Relaxed);
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    action = "repair the files of [nodes]; they are read again",
                    "the authority of the nodes cannot be read again: the one known before stays"
                );
            }
        }
    }
}

impl Trusted {
    fn read(files: &TrustFiles) -> Result<Trusted, TrustError> {
        let mut roots = RootCertStore::empty();
        let mut lists = Vec::new();
        match &files.ca {
            Some(ca) => {
                let trust = Trust::read(ca, files.revoked.as_deref())?;
                for authority in trust.authorities {
                    roots.add(authority)?;
                }
                lists = trust.lists;
            }
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
        if roots.is_empty() {
            return Err(TrustError::NoRoots);
        }
        let provider = Arc::new(ring::default_provider());
        // An authority may have no list: none was made yet, or the authority is being replaced.
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .with_crls(lists)
            .only_check_end_entity_revocation()
            .allow_unknown_revocation_status()
            .build()?;
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut requests = builder.with_webpki_verifier(verifier).with_no_client_auth();
        // The pool has one request at a time on a connection.
        requests.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut probes = requests.clone();
        probes.resumption = Resumption::disabled();
        Ok(Trusted { requests: Arc::new(requests), probes: Arc::new(probes) })
    }

    fn of(&self, purpose: Purpose) -> Arc<ClientConfig> {
        Arc::clone(if purpose == Purpose::Probe { &self.probes } else { &self.requests })
    }
}

/// Connects to the first address that answers. Each gets its part of the time, so that a silent one does not use all of it.
async fn tcp(addresses: &[SocketAddr], limit: Duration) -> Result<TcpStream, ConnectError> {
    let mut last = ConnectError::NoAddress;
    let each = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    for address in addresses {
        last = match tokio::time::timeout(each, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => ConnectError::Tcp(error),
            Err(_) => ConnectError::Late,
        };
    }
    Err(last)
}

fn failed(error: io::Error) -> ConnectError {
    let refused = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match refused {
        Some(refused @ rustls::Error::InvalidCertificate(_)) => ConnectError::Refused(refused.clone()),
        _ => ConnectError::Tls(error),
    }
}

fn marks(files: &TrustFiles) -> [Mark; 2] {
    let mark = |path: &Path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len()))
    };
    [files.ca.as_deref().and_then(mark), files.revoked.as_deref().and_then(mark)]
}
