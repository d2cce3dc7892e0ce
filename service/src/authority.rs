//! The private certificate authority that lets the nodes of one deployment recognise each other.
//!
//! A folder holds `ca.pem`, `ca.key` and, for each node, `<name>.pem` and `<name>.key`; keys are readable by their
//! owner alone. A node's certificate carries its name as the only DNS name and serves both ends of a link. `crl.pem` is the
//! list of revoked certificates (CRL, RFC 5280, section 5); `revoked/` has a copy of each.
//!
//! # Invariants
//! - An existing authority is never replaced unless the caller says so, because that would lock out every node at once.
//! - A certificate is written only after it was verified against the `ca.pem` that peers will use.
//! - Two authorities have two names, because a verifier finds the list for a certificate by the name of its issuer.
//! - `crl.pem` lists every certificate in `revoked/` that this authority issued, so it can be made again at any time.
//!
//! # Not here
//! Use of the files in TLS (`peer`).

mod disk;
mod error;
mod identity;
mod params;
mod revoked;
#[cfg(test)]
mod tests;
mod trust;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use api::NodeName;
use rcgen::{Issuer, KeyPair};
use rustls_pki_types::{CertificateDer, UnixTime};

pub use error::CertsError;
pub use identity::IdentityFiles;
pub use revoked::Revoked;
pub use trust::Trust;

/// A certificate that ends within this time counts as ended when certificates are issued.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);
/// Names that no node can have here, because its files would replace those of the authority.
const OWN_FILES: [&str; 2] = ["ca", "crl"];

/// The outcome of [`CertificateAuthority::issue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issued {
    /// A new key and certificate were written.
    Written,
    /// The node has a certificate that peers accept: left as it is.
    Kept,
}

/// What a folder has of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// The node.
    pub name: NodeName,
    /// Until when peers accept it; `None` if they do not accept it now.
    pub good_until: Option<SystemTime>,
    /// Whether the certificate is revoked.
    pub is_revoked: bool,
}

/// A certificate authority in a folder, able to certify nodes.
pub struct CertificateAuthority {
    folder: PathBuf,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateAuthority").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl CertificateAuthority {
    /// Makes a new authority in `folder` (created if needed), which has revoked nothing; an existing one is replaced only
    /// with `force`.
    ///
    /// # Errors
    /// [`CertsError::AuthorityExists`], or what making and writing the files brings.
    pub fn create(folder: &Path, force: bool) -> Result<Self, CertsError> {
        let path = folder.join("ca.pem");
        if !force && (path.exists() || folder.join("ca.key").exists()) {
            return Err(CertsError::AuthorityExists { path });
        }
        disk::make_folder(folder)?;
        let issue = |source| CertsError::Issue { name: params::AUTHORITY_NAME.to_owned(), source };
        let key = KeyPair::generate().map_err(issue)?;
        let params = params::authority(&params::name_of(&key));
        let certificate = params.self_signed(&key).map_err(issue)?;
        // The key is written first, because a certificate without its key would look like a complete authority.
        disk::write(&folder.join("ca.key"), key.serialize_pem().as_bytes(), 0o600)?;
        disk::write(&path, certificate.pem().as_bytes(), 0o644)?;
        let issuer = Issuer::new(params, key);
        let made = Self { folder: folder.to_owned(), certificate: certificate.into(), issuer };
        made.write_list()?;
        Ok(made)
    }

    /// Opens the authority in `folder`. Makes its list of revoked certificates again if that is missing or lacks one.
    ///
    /// # Errors
    /// If a file is missing, or key and certificate do not belong together.
    pub fn load(folder: &Path) -> Result<Self, CertsError> {
        let [path, ca] = [folder.join("ca.key"), folder.join("ca.pem")];
        let pem = std::fs::read_to_string(&path).map_err(|source| CertsError::File { path: path.clone(), source })?;
        let key = KeyPair::from_pem(&pem).map_err(|source| CertsError::Key { path: path.clone(), source })?;
        let authorities: Vec<CertificateDer<'static>> = disk::all(&ca)?;
        // The issuer's name is rebuilt, so it has to be the one on the certificate.
        let found = [params::name_of(&key), params::AUTHORITY_NAME.to_owned()].into_iter().find_map(|name| {
            let params = params::authority(&name);
            let made = params.self_signed(&key).ok()?;
            let same = |other: &&CertificateDer<'_>| {
                let [other, made] = [other, made.der()].map(webpki::anchor_from_trusted_cert);
                matches!((other, made), (Ok(other), Ok(made)) if other == made)
            };
            Some((authorities.iter().find(same)?.clone(), params))
        });
        let Some((certificate, params)) = found else {
            return Err(CertsError::OtherKey { key: path, certificate: ca });
        };
        let loaded = Self { folder: folder.to_owned(), certificate, issuer: Issuer::new(params, key) };
        if !loaded.list_is_complete()? {
            loaded.write_list()?;
        }
        Ok(loaded)
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
    /// `renew`; a revoked one is not good.
    ///
    /// # Errors
    /// [`CertsError::OwnName`], or if the files cannot be written.
    pub fn issue(&self, name: &NodeName, renew: bool) -> Result<Issued, CertsError> {
        let files = self.files(name)?;
        let soon = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs()) + RENEW_BEFORE);
        if !renew && files.are_good_at(name, soon) {
            return Ok(Issued::Kept);
        }
        let issue = |source| CertsError::Issue { name: name.to_string(), source };
        let key = KeyPair::generate().map_err(issue)?;
        let made = params::node(name).map_err(issue)?.signed_by(&key, &self.issuer).map_err(issue)?;
        files.trust()?.check(made.der(), &files.certificate, name, UnixTime::now())?;
        disk::write(&files.key, key.serialize_pem().as_bytes(), 0o600)?;
        disk::write(&files.certificate, made.pem().as_bytes(), 0o644)?;
        Ok(Issued::Written)
    }

    /// What the folder has of each node, in the order of their names.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn nodes(&self) -> Result<Vec<Certified>, CertsError> {
        let failed = |source| CertsError::File { path: self.folder.clone(), source };
        let mut nodes = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_none_or(|extension| extension != "pem") {
                continue;
            }
            // Other files may lie here as well.
            let Some(name) = path.file_stem().and_then(OsStr::to_str).and_then(|stem| stem.parse().ok()) else {
                continue;
            };
            let Ok(files) = self.files(&name) else { continue };
            let is_revoked = matches!(files.check(&name), Err(CertsError::Revoked { .. }));
            nodes.push(Certified { good_until: files.good_until(&name), is_revoked, name });
        }
        nodes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(nodes)
    }

    /// The files of a node in this folder.
    fn files(&self, name: &NodeName) -> Result<IdentityFiles, CertsError> {
        if OWN_FILES.contains(&name.as_str()) {
            return Err(CertsError::OwnName { name: name.clone() });
        }
        Ok(IdentityFiles {
            ca: self.folder.join("ca.pem"),
            certificate: self.folder.join(format!("{name}.pem")),
            key: self.folder.join(format!("{name}.key")),
            revoked: Some(self.list()),
        })
    }
}
