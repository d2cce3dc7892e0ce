//! The TLS identity of this node, and the proof of a peer's identity.

use std::path::PathBuf;
use std::sync::Arc;

use replication::NodeName;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::config::TlsConfig;

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
    /// The authority, the certificate and the key do not belong together.
    #[error("the certificate, its key and the authority do not belong together")]
    Unusable(#[from] rustls::Error),
    /// The authority cannot verify peers.
    #[error("the authority cannot verify peers")]
    Authority(#[from] rustls::server::VerifierBuilderError),
}

/// A node's certificate and the authority that its peers must have.
pub struct TlsIdentity {
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
}

impl TlsIdentity {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(files: &TlsConfig) -> Result<TlsIdentity, TlsError> {
        let certificates = |path: &PathBuf| -> Result<Vec<CertificateDer<'static>>, TlsError> {
            let read = |source| TlsError::Read { path: path.clone(), source };
            CertificateDer::pem_file_iter(path).map_err(read)?.collect::<Result<_, _>>().map_err(read)
        };
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
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        Ok(TlsIdentity { server: Arc::new(server), client: Arc::new(client) })
    }
}

/// Whether a client's certificate, already verified against the authority, is valid for this name.
pub(super) fn proves(certificates: Option<&[CertificateDer<'_>]>, name: &NodeName) -> bool {
    let Some(certificate) = certificates.and_then(<[_]>::first) else { return false };
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return false };
    let Ok(name) = ServerName::try_from(name.as_str()) else { return false };
    certificate.verify_is_valid_for_subject_name(&name).is_ok()
}
