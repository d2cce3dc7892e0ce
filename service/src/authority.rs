//! The private certificate authority that lets the nodes of one deployment recognise each other.
//!
//! A folder holds `ca.pem`, `ca.key` and, for each node, `<name>.pem` and `<name>.key`; keys are readable by their
//! owner alone. A node's certificate carries its name as the only DNS name and serves both ends of a link.
//!
//! # Invariants
//! - An existing authority is never replaced unless the caller says so, because that would lock out every node at once.
//! - A certificate is written only after it was verified against the `ca.pem` that peers will use.
//!
//! # Not here
//! Use of the files in TLS (`peer`). Revocation: a private authority this small is replaced instead.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use api::NodeName;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::private::{self, ExposedKey};

/// How long an authority lasts.
const AUTHORITY_YEARS: i16 = 10;
/// How long a node's certificate lasts.
const NODE_YEARS: i16 = 2;
/// A certificate that ends within this time counts as ended when certificates are issued.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);
/// The authority's name. Fixed, because the issuer's name is rebuilt from it when a folder is loaded.
const AUTHORITY_NAME: &str = "Meridian private CA";

/// Why a certificate could not be made or is not usable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertsError {
    /// There is an authority already, and the caller did not ask to replace it.
    #[error("{} exists already; replacing it locks out every node that it certified", path.display())]
    AuthorityExists {
        /// Its certificate.
        path: PathBuf,
    },
    /// Other users can read the key.
    #[error(transparent)]
    Exposed(#[from] ExposedKey),
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A file is not PEM of the kind that belongs there.
    #[error("{} is not a usable PEM file", path.display())]
    Pem {
        /// Which file.
        path: PathBuf,
        /// The error in it.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// Making a key or a certificate failed.
    #[error("cannot make a certificate for {name}")]
    Issue {
        /// The name on the certificate.
        name: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The key file does not hold a key that this authority could sign with.
    #[error("{} is not a signing key", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// A certificate that peers would refuse.
    #[error("{} does not prove the name {name} to the authority in {}", path.display(), ca.display())]
    Unproven {
        /// The certificate.
        path: PathBuf,
        /// The authority's certificate.
        ca: PathBuf,
        /// The name wanted.
        name: String,
        /// Why it is refused.
        #[source]
        source: Box<webpki::Error>,
    },
    /// A name that no certificate can carry, such as one of digits alone.
    #[error("{name} cannot be the DNS name in a certificate")]
    Nameless {
        /// The name.
        name: NodeName,
    },
    /// A certificate that belongs to another private key.
    #[error("{} is not the key of {}", key.display(), certificate.display())]
    OtherKey {
        /// The key.
        key: PathBuf,
        /// The certificate.
        certificate: PathBuf,
    },
}

/// The outcome of [`CertificateAuthority::issue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issued {
    /// A new key and certificate were written.
    Written,
    /// The node has a certificate that peers accept: left as it is.
    Kept,
}

/// A certificate authority in a folder, able to certify nodes.
pub struct CertificateAuthority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateAuthority").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl CertificateAuthority {
    /// Makes a new authority in `folder` (created if needed); an existing one is replaced only with `force`.
    ///
    /// # Errors
    /// [`CertsError::AuthorityExists`], or what making and writing the files brings.
    pub fn create(folder: &Path, force: bool) -> Result<Self, CertsError> {
        let path = folder.join("ca.pem");
        if !force && (path.exists() || folder.join("ca.key").exists()) {
            return Err(CertsError::AuthorityExists { path });
        }
        std::fs::create_dir_all(folder).map_err(|source| CertsError::File { path: folder.to_owned(), source })?;
        let issue = |source| CertsError::Issue { name: AUTHORITY_NAME.to_owned(), source };
        let key = KeyPair::generate().map_err(issue)?;
        let certificate = authority().self_signed(&key).map_err(issue)?;
        // The key is written first, because a certificate without its key would look like a complete authority.
        write(&folder.join("ca.key"), key.serialize_pem().as_bytes(), 0o600)?;
        write(&path, certificate.pem().as_bytes(), 0o644)?;
        Ok(Self { folder: folder.to_owned(), issuer: Issuer::new(authority(), key) })
    }

    /// Opens the authority in `folder`.
    ///
    /// # Errors
    /// If a file is missing or does not hold a key.
    pub fn load(folder: &Path) -> Result<Self, CertsError> {
        let path = folder.join("ca.key");
        let pem = std::fs::read_to_string(&path).map_err(|source| CertsError::File { path: path.clone(), source })?;
        let key = KeyPair::from_pem(&pem).map_err(|source| CertsError::Key { path, source })?;
        certificate(&folder.join("ca.pem"))?;
        Ok(Self { folder: folder.to_owned(), issuer: Issuer::new(authority(), key) })
    }

    /// Opens the authority in `folder`, or makes one if there is none.
    ///
    /// # Errors
    /// As [`load`](Self::load) and [`create`](Self::create).
    pub fn load_or_create(folder: &Path) -> Result<Self, CertsError> {
        if folder.join("ca.pem").exists() || folder.join("ca.key").exists() {
            Self::load(folder)
        } else {
            Self::create(folder, false)
        }
    }

    /// Gives the node `name` a key and a certificate. A certificate that is good for 30 more days is kept unless
    /// `renew`.
    ///
    /// # Errors
    /// If the files cannot be written, or this authority's key and `ca.pem` do not belong together.
    pub fn issue(&self, name: &NodeName, renew: bool) -> Result<Issued, CertsError> {
        let [ca, path, key_path] = [
            self.folder.join("ca.pem"),
            self.folder.join(format!("{name}.pem")),
            self.folder.join(format!("{name}.key")),
        ];
        let soon = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs()) + RENEW_BEFORE);
        if !renew && check_at(&ca, &path, &key_path, name, soon).is_ok() {
            return Ok(Issued::Kept);
        }
        let issue = |source| CertsError::Issue { name: name.to_string(), source };
        let key = KeyPair::generate().map_err(issue)?;
        let made = node(name).map_err(issue)?.signed_by(&key, &self.issuer).map_err(issue)?;
        verify(&ca, made.der(), &path, name, UnixTime::now())?;
        write(&key_path, key.serialize_pem().as_bytes(), 0o600)?;
        write(&path, made.pem().as_bytes(), 0o644)?;
        Ok(Issued::Written)
    }
}

/// Checks a node's files as a peer would see them: certified by `ca`, valid now, carrying `name`, with its own key.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(ca: &Path, certificate_path: &Path, key_path: &Path, name: &NodeName) -> Result<(), CertsError> {
    private::check_key(key_path)?;
    check_at(ca, certificate_path, key_path, name, UnixTime::now())
}

/// Until when a node's files will be good, to the day; `None` if they are not good now. A peer refuses the node then,
/// whichever of the two certificates ends first.
///
/// The chain is verified at days to come, because the verifier says whether a certificate is valid and not until when.
#[must_use]
pub fn good_until(ca: &Path, certificate_path: &Path, key_path: &Path, name: &NodeName) -> Option<SystemTime> {
    const DAY: Duration = Duration::from_hours(24);
    let now = Duration::from_secs(UnixTime::now().as_secs());
    let good = |days: u32| {
        let at = UnixTime::since_unix_epoch(now + DAY * days);
        check_at(ca, certificate_path, key_path, name, at).is_ok()
    };
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

fn check_at(
    ca: &Path,
    certificate_path: &Path,
    key_path: &Path,
    name: &NodeName,
    at: UnixTime,
) -> Result<(), CertsError> {
    let der = certificate(certificate_path)?;
    verify(ca, &der, certificate_path, name, at)?;
    let pem = |source| CertsError::Pem { path: key_path.to_owned(), source };
    let key = PrivateKeyDer::from_pem_file(key_path).map_err(pem)?;
    let other = || CertsError::OtherKey { key: key_path.to_owned(), certificate: certificate_path.to_owned() };
    let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|_| other())?;
    let certified = rustls::sign::CertifiedKey::new(vec![der], key);
    certified.keys_match().map_err(|_| other())
}

fn certificate(path: &Path) -> Result<CertificateDer<'static>, CertsError> {
    CertificateDer::from_pem_file(path).map_err(|source| CertsError::Pem { path: path.to_owned(), source })
}

fn verify(ca: &Path, der: &CertificateDer<'_>, path: &Path, name: &NodeName, at: UnixTime) -> Result<(), CertsError> {
    let unproven = |source: webpki::Error| CertsError::Unproven {
        path: path.to_owned(),
        ca: ca.to_owned(),
        name: name.to_string(),
        source: Box::new(source),
    };
    // While an authority is replaced, the file holds both.
    let pem = |source| CertsError::Pem { path: ca.to_owned(), source };
    let authorities: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(ca).map_err(pem)?.collect::<Result<_, _>>().map_err(pem)?;
    let anchors = authorities.iter().map(webpki::anchor_from_trusted_cert).collect::<Result<Vec<_>, _>>();
    let anchors = anchors.map_err(unproven)?;
    let end = webpki::EndEntityCert::try_from(der).map_err(unproven)?;
    for usage in [webpki::KeyUsage::server_auth(), webpki::KeyUsage::client_auth()] {
        end.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &[], at, usage, None, None).map_err(unproven)?;
    }
    let server = ServerName::try_from(name.as_str()).map_err(|_| CertsError::Nameless { name: name.clone() })?;
    end.verify_is_valid_for_subject_name(&server).map_err(unproven)
}

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    lasting(&mut params, AUTHORITY_NAME, AUTHORITY_YEARS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn node(name: &NodeName) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    lasting(&mut params, name.as_str(), NODE_YEARS);
    // Not `CertificateParams::new`, which would make an address of a name such as "10".
    params.subject_alt_names = vec![SanType::DnsName(name.as_str().try_into()?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Names the subject and sets the time of validity: from yesterday, because clocks of regions differ.
fn lasting(params: &mut CertificateParams, name: &str, years: i16) {
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let today = jiff::Timestamp::try_from(SystemTime::now()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let today = today.to_zoned(jiff::tz::TimeZone::UTC).date();
    let yesterday = today.yesterday().unwrap_or(today);
    let date = |date: jiff::civil::Date, years: i16| {
        // Most years have no 29th of February; every year has the 28th.
        let day = date.day().min(if date.month() == 2 { 28 } else { 31 });
        rcgen::date_time_ymd(i32::from(date.year() + years), date.month().unsigned_abs(), day.unsigned_abs())
    };
    params.not_before = date(yesterday, 0);
    params.not_after = date(today, years);
}

/// Replaces a file whole: a reader sees the old or the new one, and a key is never readable by others, even briefly.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertsError> {
    let new = path.with_added_extension("new");
    let result = (|| {
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    })();
    result.map_err(|source| CertsError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{CertificateAuthority, CertsError, Issued, NODE_YEARS, check, good_until};

    #[test]
    fn an_authority_certifies_nodes_and_is_never_replaced_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let [first, second] = ["eu-central", "us-east"].map(|name| name.parse().unwrap());

        let made = CertificateAuthority::load_or_create(folder.path()).unwrap();
        assert_eq!(made.issue(&first, false).unwrap(), Issued::Written);
        check(&file("ca.pem"), &file("eu-central.pem"), &file("eu-central.key"), &first).unwrap();
        for key in ["ca.key", "eu-central.key"] {
            assert_eq!(file(key).metadata().unwrap().permissions().mode() & 0o777, 0o600, "{key}");
        }

        assert!(matches!(CertificateAuthority::create(folder.path(), false), Err(CertsError::AuthorityExists { .. })));
        let loaded = CertificateAuthority::load_or_create(folder.path()).unwrap();
        assert_eq!(loaded.issue(&second, false).unwrap(), Issued::Written);
        assert_eq!(loaded.issue(&first, false).unwrap(), Issued::Kept);
        check(&file("ca.pem"), &file("us-east.pem"), &file("us-east.key"), &second).unwrap();
        let until = good_until(&file("ca.pem"), &file("us-east.pem"), &file("us-east.key"), &second).unwrap();
        let days = until.duration_since(std::time::SystemTime::now()).unwrap().as_secs() / 86_400;
        let years = u64::try_from(NODE_YEARS).unwrap();
        assert!((365 * years - 2..=366 * years).contains(&days), "{days} days");
        assert_eq!(good_until(&file("ca.pem"), &file("us-east.pem"), &file("us-east.key"), &first), None);
        let wrong_name = check(&file("ca.pem"), &file("us-east.pem"), &file("us-east.key"), &first);
        assert!(matches!(wrong_name, Err(CertsError::Unproven { .. })), "{wrong_name:?}");
        let wrong_key = check(&file("ca.pem"), &file("us-east.pem"), &file("eu-central.key"), &second);
        assert!(matches!(wrong_key, Err(CertsError::OtherKey { .. })), "{wrong_key:?}");

        let replaced = CertificateAuthority::create(folder.path(), true).unwrap();
        let old = check(&file("ca.pem"), &file("us-east.pem"), &file("us-east.key"), &second);
        assert!(matches!(old, Err(CertsError::Unproven { .. })), "{old:?}");
        assert_eq!(replaced.issue(&second, false).unwrap(), Issued::Written);
    }
}
