//! The keys of a zone: files with private keys, and the DNSKEY and DS records of them.
//!
//! Every key is a combined signing key (RFC 6781, section 3.1): flags 257, so the zone above may refer to each of them.

use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, HEXUPPER};
use hickory_proto::ProtoError;
use hickory_proto::dnssec::crypto::EcdsaSigningKey;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData};
use hickory_proto::dnssec::{Algorithm, DigestType, PublicKey as _, SigningKey as _, TBS};
use hickory_proto::rr::{Name, RData};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use service::private::{self, KeyFileError};

use super::super::wire::data_bytes;

/// Most keys of a zone. Three are there while the key that a roll-over brings is itself replaced.
const MOST: usize = 3;

/// Why keys cannot be used or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZoneKeyError {
    /// Its file cannot be used.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// A file cannot be written, or exists.
    #[error("cannot make {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "{} must hold a private key of ECDSA with P-256 in PEM form, PKCS #8 (`meridian dnssec key` makes one)",
        path.display()
    )]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// Too many keys.
    #[error("there are more than {MOST} keys")]
    TooMany,
    /// Two keys that signatures cannot tell apart.
    #[error("{} is the same key as another one, or has the same tag: make another key", path.display())]
    Twice {
        /// The second file.
        path: PathBuf,
    },
    /// No key can be made.
    #[error("a key cannot be made")]
    Make(#[source] rcgen::Error),
}

/// What operators and the zone above need to know of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFacts {
    /// Its file.
    pub file: PathBuf,
    /// Its tag (RFC 4034, appendix B).
    pub tag: u16,
    /// Whether it signs all records; the others sign the DNSKEY records alone.
    pub signs: bool,
    /// Its DS record for the zone above, as in a zone file.
    pub ds: String,
    /// Its DNSKEY record, as in a zone file.
    pub dnskey: String,
}

/// One key.
pub(super) struct ZoneKey {
    private: EcdsaSigningKey,
    pub(super) public: DNSKEY,
    pub(super) tag: u16,
    /// The data of its DNSKEY record.
    pub(super) data: Vec<u8>,
}

/// The keys of a zone: the first one signs all records.
pub(crate) struct ZoneKeys {
    pub(super) keys: Vec<ZoneKey>,
    files: Vec<PathBuf>,
}

impl ZoneKeys {
    /// Reads the files of all keys.
    ///
    /// # Errors
    /// [`ZoneKeyError`].
    pub(crate) fn load(files: &[PathBuf]) -> Result<ZoneKeys, ZoneKeyError> {
        if files.len() > MOST {
            return Err(ZoneKeyError::TooMany);
        }
        let mut keys: Vec<ZoneKey> = Vec::new();
        for file in files {
            let key = ZoneKey::load(file)?;
            if keys.iter().any(|known| known.tag == key.tag) {
                return Err(ZoneKeyError::Twice { path: file.clone() });
            }
            keys.push(key);
        }
        Ok(ZoneKeys { keys, files: files.to_vec() })
    }

    /// The public facts of each key.
    pub(crate) fn facts(&self, zone: &Name) -> Result<Vec<KeyFacts>, ProtoError> {
        let facts = |(at, (key, file)): (usize, (&ZoneKey, &PathBuf))| {
            let digest = key.public.to_digest(zone, DigestType::SHA256)?;
            let (zone, tag) = (zone.to_ascii(), key.tag);
            let public = BASE64.encode(key.public.public_key().public_bytes());
            let (flags, algorithm) = (key.public.flags(), u8::from(Algorithm::ECDSAP256SHA256));
            Ok(KeyFacts {
                file: file.clone(),
                tag,
                signs: at == 0,
                ds: format!("{zone} IN DS {tag} {algorithm} 2 {}", HEXUPPER.encode(digest.as_ref())),
                dnskey: format!("{zone} IN DNSKEY {flags} 3 {algorithm} {public}"),
            })
        };
        self.keys.iter().zip(&self.files).enumerate().map(facts).collect()
    }
}

impl PartialEq for ZoneKeys {
    fn eq(&self, other: &ZoneKeys) -> bool {
        self.files == other.files && self.keys.iter().map(|key| &key.data).eq(other.keys.iter().map(|key| &key.data))
    }
}

impl fmt::Debug for ZoneKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tags: Vec<u16> = self.keys.iter().map(|key| key.tag).collect();
        f.debug_struct("ZoneKeys").field("tags", &tags).finish_non_exhaustive()
    }
}

impl ZoneKey {
    fn load(path: &Path) -> Result<ZoneKey, ZoneKeyError> {
        let text = private::read_key(path)?;
        ZoneKey::parse(&text).ok_or_else(|| ZoneKeyError::NotAKey { path: path.to_owned() })
    }

    /// Reads a key in PEM form.
    pub(super) fn parse(text: &[u8]) -> Option<ZoneKey> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text).ok()?;
        let private = EcdsaSigningKey::from_pkcs8(&der, Algorithm::ECDSAP256SHA256).ok()?;
        let public = DNSKEY::from_key(&private.to_public_key().ok()?);
        let data = data_bytes(&RData::DNSSEC(DNSSECRData::DNSKEY(public.clone()))).ok()?;
        Some(ZoneKey { private, tag: public.calculate_key_tag().ok()?, public, data })
    }

    /// The signature of these octets; `None` if the system gives no random numbers.
    pub(super) fn sign(&self, octets: &[u8]) -> Option<Vec<u8>> {
        self.private.sign(&TBS::from(octets)).ok()
    }
}

/// Makes a new key in a file of its own, which only its user can read.
///
/// # Errors
/// [`ZoneKeyError`], also if the file exists.
pub fn create_key(path: &Path) -> Result<(), ZoneKeyError> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(ZoneKeyError::Make)?;
    let write = || {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(key.serialize_pem().as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| ZoneKeyError::Write { path: path.to_owned(), source })
}
