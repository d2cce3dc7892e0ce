//! The files by which a node proves its name, checked as its peers would check them.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use api::NodeName;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use super::trust::Trust;
use super::{CertsError, disk};
use crate::private;

/// PEM files by which a node proves its name and checks those of its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// Certificate of the authority that every peer must have been certified by; of two while one is replaced.
    pub ca: PathBuf,
    /// The node's certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Lists of revoked certificates, if there is such a file.
    pub revoked: Option<PathBuf>,
}

impl IdentityFiles {
    /// The authorities and their lists.
    ///
    /// # Errors
    /// [`Trust::read`].
    pub fn trust(&self) -> Result<Trust, CertsError> {
        Trust::read(&self.ca, self.revoked.as_deref())
    }

    /// Checks the files as a peer would see them: certified by the authority, not revoked, valid now, carrying `name`,
    /// with its own key.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, name: &NodeName) -> Result<(), CertsError> {
        private::check_key(&self.key)?;
        Read::files(self)?.check_at(name, UnixTime::now())
    }

    /// Until when the files will be good, to the day; `None` if they are not good now. A peer refuses the node then,
    /// whichever of the two certificates ends first.
    ///
    /// The chain is verified at days to come, because the verifier says whether a certificate is valid and not until when.
    #[must_use]
    pub fn good_until(&self, name: &NodeName) -> Option<SystemTime> {
        const DAY: Duration = Duration::from_hours(24);
        let now = Duration::from_secs(UnixTime::now().as_secs());
        let read = Read::files(self).ok()?;
        let good = |days: u32| read.check_at(name, UnixTime::since_unix_epoch(now + DAY * days)).is_ok();
        if !good(0) {
            return None;
        }
        // Good after `low` days, and not after `high` days: no authority lasts for a hundred years.
        let (mut low, mut high) = (0, 36_525);
        while low + 1 < high {
            let middle = u32::midpoint(low, high);
            *(if good(middle) { &mut low } else { &mut high }) = middle;
        }
        Some(SystemTime::UNIX_EPOCH + now + DAY * low)
    }

    /// Whether the files are good at this time, as far as is known now.
    pub(super) fn are_good_at(&self, name: &NodeName, at: UnixTime) -> bool {
        Read::files(self).is_ok_and(|read| read.check_at(name, at).is_ok())
    }
}

/// The contents of the files. The key is that of the certificate.
struct Read<'a> {
    files: &'a IdentityFiles,
    trust: Trust,
    certificate: CertificateDer<'static>,
}

impl Read<'_> {
    fn files(files: &IdentityFiles) -> Result<Read<'_>, CertsError> {
        let certificate = disk::certificate(&files.certificate)?;
        let trust = files.trust()?;
        let pem = |source| CertsError::Pem { path: files.key.clone(), source };
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(pem)?;
        let other = || CertsError::OtherKey { key: files.key.clone(), certificate: files.certificate.clone() };
        let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|_| other())?;
        let certified = rustls::sign::CertifiedKey::new(vec![certificate.clone()], key);
        certified.keys_match().map_err(|_| other())?;
        Ok(Read { files, trust, certificate })
    }

    fn check_at(&self, name: &NodeName, at: UnixTime) -> Result<(), CertsError> {
        self.trust.check(&self.certificate, &self.files.certificate, name, at)
    }
}
