//! The TLS identity of this node, and the proof of a peer's identity.

#[cfg(test)]
mod tests;

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use replication::NodeName;
use rustls::client::WebPkiServerVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, CommonState, RootCertStore, ServerConfig, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::metrics::Metrics;
use service::authority::{CertsError, IdentityFiles};
use service::private::{self, ExposedKey};
use tokio::sync::watch;

/// Why this node cannot link to peers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read or is not PEM.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// Other users can read the key.
    #[error(transparent)]
    Exposed(#[from] ExposedKey),
    /// The authority or its list of revoked certificates cannot be used.
    #[error(transparent)]
    Trust(#[from] CertsError),
    /// The authority, the certificate and the key do not belong together.
    #[error("the certificate, its key and the authority do not belong together")]
    Unusable(#[from] rustls::Error),
    /// The authority cannot verify peers.
    #[error("the authority cannot verify peers")]
    Authority(#[from] rustls::server::VerifierBuilderError),
}

/// A node's certificate, the authority that its peers must have, and its list of revoked certificates, read again when
/// their files change.
///
/// A link that exists goes on with the certificate with which it began, and ends if the files refuse that one now: it was
/// revoked, its authority is gone from `ca.pem`, or it has expired. Files that do not belong together change nothing, so an
/// operator can replace them one after the other. While an authority is replaced, `ca.pem` should hold the old and the new
/// one until every node has a new certificate, and `crl.pem` the lists of both.
pub struct TlsIdentity {
    files: IdentityFiles,
    name: NodeName,
    /// Links wait for its changes.
    current: watch::Sender<Arc<Loaded>>,
    seen: Mutex<Seen>,
    /// Whether the own certificate is on the list.
    is_revoked: AtomicBool,
    /// When the operator was last warned that the certificate ends soon or is revoked.
    warned: Mutex<Option<SystemTime>>,
    metrics: Arc<Metrics>,
}

/// A file's time, which is coarse, its length, and its number: one of them changes when the file does, also by a rename.
type Mark = Option<(SystemTime, u64, u64)>;

/// The files at the last look.
struct Seen {
    marks: [Mark; 4],
    /// Whether they could be read.
    are_read: bool,
}

/// The TLS protocol of a connection that asks whether its node is a member.
pub(super) const INQUIRY: &[u8] = b"meridian-membership/1";

const DAY: Duration = Duration::from_hours(24);
/// How long before its end a certificate is warned of.
const WARN_BEFORE: Duration = Duration::from_hours(30 * 24);

/// Time between two looks at the files, which cost four calls of the system.
const LOOK_EVERY: Duration = Duration::from_secs(5);

struct Loaded {
    /// The own chain.
    chain: Vec<CertificateDer<'static>>,
    /// Verifies certificates of peers.
    peers: Arc<dyn ClientCertVerifier>,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    inquirer: Arc<ClientConfig>,
}

impl TlsIdentity {
    /// Reads the files of the node `name`.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(files: &IdentityFiles, name: &NodeName, metrics: Arc<Metrics>) -> Result<TlsIdentity, TlsError> {
        // The marks are read before the contents, so that a file that changes in between is read again.
        let seen = Mutex::new(Seen { marks: marks(files), are_read: true });
        let loaded = Arc::new(Loaded::read(files)?);
        let identity = TlsIdentity {
            files: files.clone(),
            name: name.clone(),
            current: watch::Sender::new(Arc::clone(&loaded)),
            seen,
            is_revoked: AtomicBool::new(false),
            warned: Mutex::new(None),
            metrics,
        };
        identity.measure(&loaded);
        Ok(identity)
    }

    /// For a peer that dials.
    pub(super) fn server(&self) -> Arc<ServerConfig> {
        self.renew();
        self.current.borrow().server.clone()
    }

    /// For dialling a peer.
    pub(super) fn client(&self) -> Arc<ClientConfig> {
        self.renew();
        self.current.borrow().client.clone()
    }

    /// For asking a peer about this node's membership.
    pub(super) fn inquirer(&self) -> Arc<ClientConfig> {
        self.renew();
        self.current.borrow().inquirer.clone()
    }

    /// Looks again and again whether the files have changed, because links last for weeks, until `stop` is true.
    pub(crate) async fn keep(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                _ = looks.tick() => {}
            }
            let own = Arc::clone(&self);
            // The files are read and the signatures verified on a thread of their own.
            let look = move || {
                own.renew();
                own.warn_if_it_ends(SystemTime::now());
            };
            let _ = tokio::task::spawn_blocking(look).await;
        }
    }

    /// Resolves once the files refuse the certificate that this peer showed, and says so.
    pub(super) async fn until_refused(&self, peer: &NodeName, shown: &[CertificateDer<'static>]) {
        let mut current = self.current.subscribe();
        loop {
            let loaded = current.borrow_and_update().clone();
            if let Err(error) = loaded.verify(shown) {
                let action = "none if it was revoked on purpose; otherwise give the peer a new certificate \
                              (`meridian certs init --node NAME`), with which it links again";
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%peer, error, action, "the certificate of a peer is not accepted any more: its link ends");
                return;
            }
            if current.changed().await.is_err() {
                return;
            }
        }
    }

    /// Reads the files again if one has changed, or if they could not be read at the last look: the reason may have passed,
    /// such as too many open files. Links are few, and a look at four times costs microseconds.
    fn renew(&self) {
        // Of many handshakes at once one reads.
        let Some(mut seen) = self.seen.try_lock() else { return };
        let marks = marks(&self.files);
        let have_changed = std::mem::replace(&mut seen.marks, marks) != marks;
        if seen.are_read && !have_changed {
            return;
        }
        let read = Loaded::read(&self.files);
        seen.are_read = read.is_ok();
        match read {
            Ok(loaded) => {
                self.measure(&loaded);
                self.current.send_replace(Arc::new(loaded));
                tracing::info!("the certificates were read again");
            }
            // It was said when they changed.
            Err(_) if !have_changed => {}
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    action = "replace all files that belong together",
                    "the certificates cannot be read again yet: those known before stay"
                );
            }
        }
    }

    /// Warns once a day that the certificate ends soon, or that it is revoked.
    fn warn_if_it_ends(&self, now: SystemTime) {
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(self.metrics.certificate_until.get());
        let left = until.duration_since(now).unwrap_or_default();
        let mut warned = self.warned.lock();
        let is_new = warned.is_none_or(|at| now.duration_since(at).is_ok_and(|ago| ago >= DAY));
        if left >= WARN_BEFORE || !is_new {
            return;
        }
        *warned = Some(now);
        if self.is_revoked.load(Ordering::Relaxed) {
            let action = "replace it (`meridian certs init --node NAME`); it is read again without a restart";
            tracing::warn!(action, "this node's certificate is revoked: peers refuse the node");
            return;
        }
        let days_left = left.as_secs() / DAY.as_secs();
        let action = "renew it (`meridian certs init --node NAME --renew`); it is read again without a restart";
        tracing::warn!(days_left, action, "this node's certificate ends soon: peers refuse the node then");
    }

    /// Looks at the own certificate as a peer would.
    fn measure(&self, loaded: &Loaded) {
        let is_revoked = matches!(self.files.check(&self.name), Err(CertsError::Revoked { .. }));
        if is_revoked != self.is_revoked.swap(is_revoked, Ordering::Relaxed) {
            // The next look says so, also if there was another warning today.
            *self.warned.lock() = None;
        }
        let until = self.files.good_until(&self.name);
        let until = until.and_then(|until| until.duration_since(SystemTime::UNIX_EPOCH).ok());
        self.metrics.certificate_until.set(until.map_or(0.0, |until| until.as_secs_f64()));
        self.metrics.expiries.set("replication", &loaded.chain);
    }
}

fn marks(files: &IdentityFiles) -> [Mark; 4] {
    let IdentityFiles { ca, certificate, key, revoked } = files;
    let mark = |file: &PathBuf| {
        let file = std::fs::metadata(file).ok()?;
        Some((file.modified().ok()?, file.len(), file.ino()))
    };
    [mark(ca), mark(certificate), mark(key), revoked.as_ref().and_then(mark)]
}

impl Loaded {
    fn read(files: &IdentityFiles) -> Result<Loaded, TlsError> {
        private::check_key(&files.key)?;
        let trust = files.trust()?;
        let mut roots = RootCertStore::empty();
        for authority in trust.authorities {
            roots.add(authority)?;
        }
        let roots = Arc::new(roots);
        let read = |path: &PathBuf| {
            let path = path.clone();
            move |source| TlsError::Read { path, source }
        };
        let chain = CertificateDer::pem_file_iter(&files.certificate).map_err(read(&files.certificate))?;
        let chain = chain.collect::<Result<Vec<_>, _>>().map_err(read(&files.certificate))?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(read(&files.key))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        // An authority may have no list: none was made yet, or the authority is being replaced.
        let peers = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .with_crls(trust.lists.iter().cloned())
            .only_check_end_entity_revocation()
            .allow_unknown_revocation_status()
            .build()?;
        let dialled = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
            .with_crls(trust.lists)
            .only_check_end_entity_revocation()
            .allow_unknown_revocation_status()
            .build()?;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&version::TLS13])?
            .with_client_cert_verifier(peers.clone())
            .with_single_cert(chain.clone(), key.clone_key())?;
        // A session that is resumed is not verified again, and links are too few to save a handshake.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        // A peer that dials for a link names no protocol.
        server.alpn_protocols = vec![INQUIRY.to_vec()];
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])?
            .with_webpki_verifier(dialled)
            .with_client_auth_cert(chain.clone(), key)?;
        let mut inquirer = client.clone();
        inquirer.alpn_protocols = vec![INQUIRY.to_vec()];
        Ok(Loaded { chain, peers, server: Arc::new(server), client: Arc::new(client), inquirer: Arc::new(inquirer) })
    }

    /// Verifies the certificate of a peer with a link, as if the peer dialled now. A node's certificate is one for both ends.
    fn verify(&self, shown: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        let (end, intermediates) = shown.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
        self.peers.verify_client_cert(end, intermediates, UnixTime::now()).map(drop)
    }
}

/// The certificates that the other end of a connection has shown, its own first.
pub(super) fn shown(connection: &CommonState) -> Vec<CertificateDer<'static>> {
    connection.peer_certificates().unwrap_or_default().to_vec()
}

/// Whether a client's certificate, already verified against the authority, is valid for this name.
pub(super) fn proves(certificates: Option<&[CertificateDer<'_>]>, name: &NodeName) -> bool {
    let Some(certificate) = certificates.and_then(<[_]>::first) else { return false };
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return false };
    let Ok(name) = ServerName::try_from(name.as_str()) else { return false };
    certificate.verify_is_valid_for_subject_name(&name).is_ok()
}
