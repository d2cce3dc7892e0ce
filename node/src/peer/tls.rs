//! The TLS identity of this node, and the proof of a peer's identity.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use replication::NodeName;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::config::TlsConfig;
use crate::metrics::Metrics;
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
    /// The authority, the certificate and the key do not belong together.
    #[error("the certificate, its key and the authority do not belong together")]
    Unusable(#[from] rustls::Error),
    /// The authority cannot verify peers.
    #[error("the authority cannot verify peers")]
    Authority(#[from] rustls::server::VerifierBuilderError),
}

/// A node's certificate and the authority that its peers must have, read again when their files change.
///
/// A link that exists keeps the certificate with which it began. A certificate and a key that do not belong together
/// change nothing, so an operator can replace them one after the other. A new authority counts at once for the next link:
/// `ca.pem` should hold the old and the new one until every node has a new certificate.
pub struct TlsIdentity {
    files: TlsConfig,
    name: NodeName,
    current: ArcSwap<Loaded>,
    reading: Mutex<()>,
    /// When the operator was last warned that the certificate ends soon.
    warned: Mutex<Option<SystemTime>>,
    metrics: Arc<Metrics>,
}

/// The TLS protocol of a connection that asks whether its node is a member.
pub(super) const INQUIRY: &[u8] = b"meridian-membership/1";

const DAY: Duration = Duration::from_hours(24);
/// How long before its end a certificate is warned of.
const WARN_BEFORE: Duration = Duration::from_hours(30 * 24);

/// Time between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(60);

#[derive(Clone)]
struct Loaded {
    changed: [Option<SystemTime>; 3],
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    inquirer: Arc<ClientConfig>,
}

impl TlsIdentity {
    /// Reads the files of the node `name`.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(files: &TlsConfig, name: &NodeName, metrics: Arc<Metrics>) -> Result<TlsIdentity, TlsError> {
        let current = ArcSwap::from_pointee(Loaded::read(files)?);
        let identity = TlsIdentity {
            files: files.clone(),
            name: name.clone(),
            current,
            reading: Mutex::new(()),
            warned: Mutex::new(None),
            metrics,
        };
        identity.measure();
        Ok(identity)
    }

    /// For a peer that dials.
    pub(super) fn server(&self) -> Arc<ServerConfig> {
        self.renew();
        self.current.load().server.clone()
    }

    /// For dialling a peer.
    pub(super) fn client(&self) -> Arc<ClientConfig> {
        self.renew();
        self.current.load().client.clone()
    }

    /// For asking a peer about this node's membership.
    pub(super) fn inquirer(&self) -> Arc<ClientConfig> {
        self.renew();
        self.current.load().inquirer.clone()
    }

    /// Looks once a minute whether the files have changed, because links last for weeks, until `stop` is true.
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

    /// Reads the files again if one has changed. Links are few, and a look at three times costs microseconds.
    fn renew(&self) {
        // Of many handshakes at once one reads.
        let Some(_reading) = self.reading.try_lock() else { return };
        let changed = changed(&self.files);
        if self.current.load().changed == changed {
            return;
        }
        match Loaded::read(&self.files) {
            Ok(loaded) => {
                self.current.store(Arc::new(loaded));
                self.measure();
                tracing::info!("the certificates were read again");
            }
            Err(error) => {
                let Loaded { server, client, inquirer, .. } = (**self.current.load()).clone();
                self.current.store(Arc::new(Loaded { changed, server, client, inquirer }));
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    action = "replace all files that belong together",
                    "the certificates cannot be read again yet: those known before stay"
                );
            }
        }
    }

    /// Warns once a day that the certificate ends soon.
    fn warn_if_it_ends(&self, now: SystemTime) {
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(self.metrics.certificate_until.get());
        let left = until.duration_since(now).unwrap_or_default();
        let mut warned = self.warned.lock();
        let is_new = warned.is_none_or(|at| now.duration_since(at).is_ok_and(|ago| ago >= DAY));
        if left >= WARN_BEFORE || !is_new {
            return;
        }
        *warned = Some(now);
        let days_left = left.as_secs() / DAY.as_secs();
        let action = "renew it (`meridian certs init --node NAME --renew`); it is read again without a restart";
        tracing::warn!(days_left, action, "this node's certificate ends soon: peers refuse the node then");
    }

    fn measure(&self) {
        let TlsConfig { ca, certificate, key } = &self.files;
        let until = service::authority::good_until(ca, certificate, key, &self.name);
        let until = until.and_then(|until| until.duration_since(SystemTime::UNIX_EPOCH).ok());
        self.metrics.certificate_until.set(until.map_or(0.0, |until| until.as_secs_f64()));
    }
}

fn changed(files: &TlsConfig) -> [Option<SystemTime>; 3] {
    [&files.ca, &files.certificate, &files.key].map(|file| std::fs::metadata(file).ok()?.modified().ok())
}

impl Loaded {
    fn read(files: &TlsConfig) -> Result<Loaded, TlsError> {
        let changed = changed(files);
        let certificates = |path: &PathBuf| -> Result<Vec<CertificateDer<'static>>, TlsError> {
            let read = |source| TlsError::Read { path: path.clone(), source };
            CertificateDer::pem_file_iter(path).map_err(read)?.collect::<Result<_, _>>().map_err(read)
        };
        private::check_key(&files.key)?;
        let mut roots = RootCertStore::empty();
        for authority in certificates(&files.ca)? {
            roots.add(authority)?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(&files.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .map_err(|source| TlsError::Read { path: files.key.clone(), source })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build()?;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())?;
        // A session that is resumed is not verified again, and links are too few to save a handshake.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        // A peer that dials for a link names no protocol.
        server.alpn_protocols = vec![INQUIRY.to_vec()];
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        let mut inquirer = client.clone();
        inquirer.alpn_protocols = vec![INQUIRY.to_vec()];
        Ok(Loaded { changed, server: Arc::new(server), client: Arc::new(client), inquirer: Arc::new(inquirer) })
    }
}

/// Whether a client's certificate, already verified against the authority, is valid for this name.
pub(super) fn proves(certificates: Option<&[CertificateDer<'_>]>, name: &NodeName) -> bool {
    let Some(certificate) = certificates.and_then(<[_]>::first) else { return false };
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return false };
    let Ok(name) = ServerName::try_from(name.as_str()) else { return false };
    certificate.verify_is_valid_for_subject_name(&name).is_ok()
}
