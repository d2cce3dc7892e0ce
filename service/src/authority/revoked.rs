//! Certificates that an authority has revoked: their copies, and the list that is made from these.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use api::NodeName;
use data_encoding::HEXLOWER;
use jiff::civil::Date;
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber};
use webpki::EndEntityCert;

use super::params::{AUTHORITY_YEARS, date, day};
use super::trust::{self, Trust};
use super::{CertificateAuthority, CertsError, IdentityFiles, disk};

/// The outcome of [`CertificateAuthority::revoke`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The copy of the certificate; its name has the serial number.
    pub copy: PathBuf,
    /// Whether the certificate was good before.
    pub is_new: bool,
}

impl CertificateAuthority {
    /// Revokes a certificate of the node `name`: the one in `file`, otherwise the one in the folder. Nodes refuse it once
    /// they have the new `crl.pem`.
    ///
    /// # Errors
    /// If this authority did not issue the certificate, if it has another name, or if the files cannot be written.
    pub fn revoke(&self, name: &NodeName, file: Option<&Path>) -> Result<Revoked, CertsError> {
        let IdentityFiles { ca, certificate, .. } = self.files(name)?;
        let path = file.map_or(certificate, Path::to_owned);
        let certificate = disk::certificate(&path)?;
        let trust = Trust::read(&ca, None)?;
        let end = EndEntityCert::try_from(&certificate).map_err(|source| trust.refused(&path, name, source))?;
        trust.check_name(&end, &path, name)?;
        if !trust::has_signed(&self.certificate, &certificate) {
            return Err(CertsError::NotIssued { path, ca });
        }
        let copies = self.copies();
        let copy = copies.join(format!("{name}-{}.pem", HEXLOWER.encode(end.serial())));
        let is_new = !copy.exists();
        if is_new {
            disk::make_folder(&copies)?;
            disk::write(&copy, disk::pem(&certificate).as_bytes(), 0o644)?;
        }
        if !self.list_is_complete()? {
            self.write_list()?;
        }
        Ok(Revoked { copy, is_new })
    }

    /// The file with the list of revoked certificates.
    #[must_use]
    pub fn list(&self) -> PathBuf {
        self.folder.join("crl.pem")
    }

    /// The folder with the copies of revoked certificates.
    fn copies(&self) -> PathBuf {
        self.folder.join("revoked")
    }

    /// The serial numbers of all certificates of this authority that were revoked, with the days on which they were.
    fn revoked(&self) -> Result<Vec<(Vec<u8>, Date)>, CertsError> {
        let copies = self.copies();
        let failed = |source| CertsError::File { path: copies.clone(), source };
        let entries = match std::fs::read_dir(&copies) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut revoked = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_none_or(|extension| extension != "pem") {
                continue;
            }
            let certificate = disk::certificate(&path)?;
            // Those of an authority that was replaced stay in the folder as a record.
            if trust::has_signed(&self.certificate, &certificate)
                && let Ok(end) = EndEntityCert::try_from(&certificate)
            {
                let since = path.metadata().and_then(|file| file.modified()).map_err(failed)?;
                revoked.push((end.serial().to_vec(), day(since)));
            }
        }
        revoked.sort_unstable();
        Ok(revoked)
    }

    /// Whether peers that get the list refuse every certificate that was revoked.
    pub(super) fn list_is_complete(&self) -> Result<bool, CertsError> {
        let Ok(trust) = Trust::read(&self.folder.join("ca.pem"), Some(&self.list())) else { return Ok(false) };
        Ok(self.revoked()?.iter().all(|(serial, _)| trust.lists_serial(serial)))
    }

    /// Makes the list again from the copies.
    pub(super) fn write_list(&self) -> Result<(), CertsError> {
        let revoked = self.revoked()?.into_iter().map(|(serial, since)| RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date(since, 0),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        let now = SystemTime::now();
        let number = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let list = CertificateRevocationListParams {
            this_update: date(day(now), 0),
            next_update: date(day(now), AUTHORITY_YEARS),
            // Grows from list to list.
            crl_number: SerialNumber::from(u64::try_from(number).unwrap_or(u64::MAX)),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.list();
        let failed = |source| CertsError::Issue { name: path.display().to_string(), source };
        let pem = list.signed_by(&self.issuer).and_then(|list| list.pem()).map_err(failed)?;
        disk::write(&path, pem.as_bytes(), 0o644)
    }
}
