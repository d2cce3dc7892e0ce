//! The authorities that nodes trust, with their lists of revoked certificates, and what they say of a certificate.
//!
//! # The problem
//! The verifier takes the first list whose issuer has the name of a certificate's issuer, and refuses the certificate if
//! the signature of that list is wrong. So one list of another authority with the same name would make a node refuse every
//! peer. Such files are refused when they are read instead, and the node goes on with those that it read before.
//!
//! # Invariants
//! - A list that names one of the authorities as its issuer is signed by that authority.
//! - No authority has two lists, and one of them has a list if there is a file of lists.
//!
//! # Not here
//! An end of a list's validity (nextUpdate): an old list is better than none, so its age is not a reason to ignore it.

use std::path::{Path, PathBuf};

use api::NodeName;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, OwnedCertRevocationList, RevocationCheckDepth, RevocationOptionsBuilder,
    UnknownStatusPolicy, anchor_from_trusted_cert,
};

use super::{CertsError, disk};

/// Authorities and their lists of revoked certificates, read from files.
#[derive(Debug)]
pub struct Trust {
    /// Certificates of the authorities: two while one is replaced.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Lists of revoked certificates. An authority may have none.
    pub lists: Vec<CertificateRevocationListDer<'static>>,
    parsed: Vec<CertRevocationList<'static>>,
    ca: PathBuf,
    revoked: Option<PathBuf>,
}

impl Trust {
    /// Reads the authorities in the file `ca`, and their lists in the file `revoked`.
    ///
    /// # Errors
    /// If a file cannot be read, or the lists do not belong to the authorities.
    pub fn read(ca: &Path, revoked: Option<&Path>) -> Result<Trust, CertsError> {
        let mut trust = Trust {
            authorities: disk::all(ca)?,
            lists: Vec::new(),
            parsed: Vec::new(),
            ca: ca.to_owned(),
            revoked: revoked.map(Path::to_owned),
        };
        if let Some(path) = revoked {
            trust.lists = disk::all(path)?;
            let parse = |list: &CertificateRevocationListDer<'_>| OwnedCertRevocationList::from_der(list);
            let parsed: Result<Vec<_>, _> = trust.lists.iter().map(parse).collect();
            let bad = |source| CertsError::BadList { path: path.to_owned(), source };
            trust.parsed = parsed.map_err(bad)?.into_iter().map(CertRevocationList::from).collect();
            trust.match_lists(path)?;
        }
        Ok(trust)
    }

    fn match_lists(&self, path: &Path) -> Result<(), CertsError> {
        if self.lists.is_empty() {
            return Err(CertsError::NoList { path: path.to_owned() });
        }
        let mut has_list = false;
        for (at, (der, list)) in self.lists.iter().zip(&self.parsed).enumerate() {
            if self.parsed[..at].iter().any(|earlier| earlier.issuer() == list.issuer()) {
                return Err(CertsError::TwoLists { path: path.to_owned() });
            }
            let is_issuer = |authority: &&CertificateDer<'_>| {
                anchor_from_trusted_cert(authority).is_ok_and(|anchor| &*anchor.subject == list.issuer())
            };
            for authority in self.authorities.iter().filter(is_issuer) {
                has_list = true;
                if !has_signed(authority, der) {
                    return Err(CertsError::ForeignList { path: path.to_owned(), ca: self.ca.clone() });
                }
            }
        }
        // A list of an authority that is no longer trusted does no harm beside another one.
        if has_list { Ok(()) } else { Err(CertsError::ForeignList { path: path.to_owned(), ca: self.ca.clone() }) }
    }

    /// Whether one of the lists has a certificate with this serial number.
    pub(super) fn lists_serial(&self, serial: &[u8]) -> bool {
        self.parsed.iter().any(|list| matches!(list.find_serial(serial), Ok(Some(_))))
    }

    /// Checks that peers would accept a certificate as that of the node `name`. `path` is its file, for errors.
    pub(super) fn check(
        &self,
        certificate: &CertificateDer<'_>,
        path: &Path,
        name: &NodeName,
        at: UnixTime,
    ) -> Result<(), CertsError> {
        let refused = |source| self.refused(path, name, source);
        let anchors = self.authorities.iter().map(anchor_from_trusted_cert).collect::<Result<Vec<_>, _>>();
        let anchors = anchors.map_err(refused)?;
        let end = EndEntityCert::try_from(certificate).map_err(refused)?;
        let lists: Vec<_> = self.parsed.iter().collect();
        for usage in [webpki::KeyUsage::server_auth(), webpki::KeyUsage::client_auth()] {
            // An error means that there are no lists.
            let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
                let options = options.with_depth(RevocationCheckDepth::EndEntity);
                options.with_status_policy(UnknownStatusPolicy::Allow).build()
            });
            end.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &[], at, usage, revocation, None)
                .map_err(refused)?;
        }
        self.check_name(&end, path, name)
    }

    /// Checks that a certificate is one for this name.
    pub(super) fn check_name(&self, end: &EndEntityCert<'_>, path: &Path, name: &NodeName) -> Result<(), CertsError> {
        let server = ServerName::try_from(name.as_str()).map_err(|_| CertsError::Nameless { name: name.clone() })?;
        end.verify_is_valid_for_subject_name(&server).map_err(|source| self.refused(path, name, source))
    }

    /// The error for a certificate that the verifier refuses.
    pub(super) fn refused(&self, path: &Path, name: &NodeName, source: webpki::Error) -> CertsError {
        match (source, &self.revoked) {
            (webpki::Error::CertRevoked, Some(list)) => {
                CertsError::Revoked { path: path.to_owned(), list: list.clone(), name: name.clone() }
            }
            (source, _) => CertsError::Unproven {
                path: path.to_owned(),
                ca: self.ca.clone(),
                name: name.to_string(),
                source: Box::new(source),
            },
        }
    }
}

/// Whether an authority's key has signed this certificate or list, also if it has expired. Both are a sequence of what is
/// signed, the algorithm and the signature (RFC 5280, sections 4.1 and 5.1).
pub(super) fn has_signed(authority: &CertificateDer<'_>, signed: &[u8]) -> bool {
    let parts = yasna::parse_der(signed, |reader| {
        reader.read_sequence(|reader| {
            let content = reader.next().read_der()?;
            let _algorithm = reader.next().read_der()?;
            let (signature, _bits) = reader.next().read_bitvec_bytes()?;
            Ok((content, signature))
        })
    });
    let (Ok((content, signature)), Ok(authority)) = (parts, EndEntityCert::try_from(authority)) else { return false };
    let mut algorithms = webpki::ALL_VERIFICATION_ALGS.iter();
    algorithms.any(|algorithm| authority.verify_signature(*algorithm, &content, &signature).is_ok())
}
