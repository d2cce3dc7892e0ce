//! What can be wrong with certificates, their keys, and lists of revoked ones.

use std::io;
use std::path::PathBuf;

use api::NodeName;

use crate::private::ExposedKey;

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
    /// A node whose files would have the names of the authority's own.
    #[error(
        "no node can be called {name} here, because {name}.pem is a file of the authority: give the node another name \
         (`name` in its configuration), such as {name}-1"
    )]
    OwnName {
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
    /// A certificate that is on the list of revoked ones.
    #[error(
        "{} is revoked in {}: make a new one (`meridian certs init --node {name}`) and put it on the node",
        path.display(), list.display()
    )]
    Revoked {
        /// The certificate.
        path: PathBuf,
        /// The list.
        list: PathBuf,
        /// The name on the certificate.
        name: NodeName,
    },
    /// A certificate that another authority issued, so this one cannot revoke it.
    #[error("{} was not issued by the authority in {}, which cannot revoke it", path.display(), ca.display())]
    NotIssued {
        /// The certificate.
        path: PathBuf,
        /// The authority's certificate.
        ca: PathBuf,
    },
    /// A file without a list of revoked certificates. Such a list exists also when none is revoked.
    #[error("{} holds no list of revoked certificates (X509 CRL): copy crl.pem from the authority's folder again", path.display())]
    NoList {
        /// The file.
        path: PathBuf,
    },
    /// A list of revoked certificates that is damaged, or of a kind that cannot be checked.
    #[error("{} is not a usable list of revoked certificates: copy crl.pem from the authority's folder again", path.display())]
    BadList {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: webpki::Error,
    },
    /// A list of revoked certificates that says nothing about the certificates of these authorities.
    #[error("the list in {} is not signed by the authority in {}: copy both files from one folder", path.display(), ca.display())]
    ForeignList {
        /// The list.
        path: PathBuf,
        /// The authority's certificate.
        ca: PathBuf,
    },
    /// Two lists of one authority, of which only the first would count.
    #[error("{} holds two lists of one authority: keep the newer one", path.display())]
    TwoLists {
        /// The file.
        path: PathBuf,
    },
}
