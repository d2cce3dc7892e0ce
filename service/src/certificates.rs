//! Server certificates that are renewed while they are in use.
//!
//! # Invariants
//! - A connection gets the certificate of the latest files that could be read. Unusable files are reported and change
//!   nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::config::{self, ValueError};
use crate::private::{self, ExposedKey};

/// How often the files are checked.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// PEM files of a certificate chain and its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateSection {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl CertificateSection {
    /// The same files as absolute paths; relative ones count from `base`. `table` is the table's key.
    ///
    /// # Errors
    /// [`ValueError`].
    pub fn within(self, table: &str, base: &Path) -> Result<CertificateSection, ValueError> {
        let path = |key: &str, path: &Path| config::path(format!("{table}.{key}"), path, base);
        Ok(CertificateSection { certificate: path("certificate", &self.certificate)?, key: path("key", &self.key)? })
    }
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read, or is not a PEM file of the right kind.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// Other users can read the key.
    #[error(transparent)]
    Exposed(#[from] ExposedKey),
    /// Certificate and key do not belong together, or are of an unsupported kind.
    #[error("{} and its key cannot be used together", path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

/// The certificate in use.
#[derive(Debug)]
pub struct Certificates {
    files: CertificateSection,
    current: ArcSwap<CertifiedKey>,
    seen: Mutex<[Option<SystemTime>; 2]>,
}

impl Certificates {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn load(files: CertificateSection) -> Result<Arc<Certificates>, CertificateError> {
        // Times are read before the contents, so that a file that changes in between is read again.
        let seen = times(&files);
        let current = ArcSwap::from_pointee(read(&files)?);
        Ok(Arc::new(Certificates { files, current, seen: Mutex::new(seen) }))
    }

    /// Reads the files again if they have changed. Returns whether they had.
    ///
    /// # Errors
    /// [`CertificateError`]; the old certificate stays in use.
    pub(crate) fn reload(&self) -> Result<bool, CertificateError> {
        let times = times(&self.files);
        if std::mem::replace(&mut *self.seen.lock(), times) == times {
            return Ok(false);
        }
        self.current.store(Arc::new(read(&self.files)?));
        Ok(true)
    }

    /// The chain in use, the server's own certificate first.
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.current.load().cert.clone()
    }

    /// Checks for renewed files until `stop` is true.
    pub async fn keep_fresh(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let stopped = stop.wait_for(|stop| *stop);
        let looks = async {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                match self.reload() {
                    Ok(true) => {
                        tracing::info!(file = %self.files.certificate.display(), "the renewed certificate is in use")
                    }
                    Ok(false) => {}
                    Err(error) => {
                        let action = "repair the certificate files; they are read again when they change";
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            action,
                            "the renewed certificate cannot be used: the old one stays in use"
                        );
                    }
                }
            }
        };
        tokio::select! { _ = stopped => {}, () = looks => {} }
    }

    /// A server's TLS settings with these certificates, which offers these protocols in this order.
    ///
    /// # Errors
    /// [`rustls::Error`] if the cryptography has no safe protocol version, which does not happen.
    pub fn server_config(self: &Arc<Self>, protocols: &[&[u8]]) -> Result<ServerConfig, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let mut config = builder
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        // Sessions in tickets need no memory here, so many clients that come again are as cheap as few.
        config.ticketer = ring::Ticketer::new()?;
        Ok(config)
    }

    /// What accepts connections of HTTP/2 and HTTP/1.1 with these certificates.
    ///
    /// # Errors
    /// As [`server_config`](Self::server_config).
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, rustls::Error> {
        Ok(TlsAcceptor::from(Arc::new(self.server_config(&[b"h2", b"http/1.1"])?)))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn times(files: &CertificateSection) -> [Option<SystemTime>; 2] {
    let changed = |path: &Path| -> io::Result<SystemTime> { path.metadata()?.modified() };
    [changed(&files.certificate).ok(), changed(&files.key).ok()]
}

fn read(files: &CertificateSection) -> Result<CertifiedKey, CertificateError> {
    let unread = |path: &Path| {
        let path = path.to_owned();
        move |source| CertificateError::Read { path, source }
    };
    private::check_key(&files.key)?;
    let chain = CertificateDer::pem_file_iter(&files.certificate).map_err(unread(&files.certificate))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(unread(&files.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(unread(&files.key))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map_err(|source| CertificateError::Unusable { path: files.certificate.clone(), source })
}
