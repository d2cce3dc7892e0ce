//! Keys of backups: operators keep the private one, nodes know the public one.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

use age::secrecy::ExposeSecret as _;
use age::x25519;
use zeroize::Zeroizing;

/// A text that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadKey {
    /// No recipient.
    #[error("is no recipient: write the text that begins with age1, which `meridian backup key` prints")]
    Recipient,
    /// No identity.
    #[error("has no identity: it needs a line that begins with AGE-SECRET-KEY-1, as `meridian backup key` writes it")]
    Identity,
}

/// A public key that backups are encrypted to.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(x25519::Recipient);

impl Recipient {
    /// Itself, for encryption.
    pub(crate) fn as_age(&self) -> &dyn age::Recipient {
        &self.0
    }
}

impl FromStr for Recipient {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Recipient, BadKey> {
        text.trim().parse().map(Recipient).map_err(|_| BadKey::Recipient)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({self})")
    }
}

/// The private key that opens backups.
pub struct Identity(x25519::Identity);

impl Identity {
    /// A new one.
    #[must_use]
    pub fn generate() -> Identity {
        Identity(x25519::Identity::generate())
    }

    /// Reads the file of an identity.
    ///
    /// # Errors
    /// If it cannot be read, or has no identity.
    pub fn load(path: &Path) -> io::Result<Result<Identity, BadKey>> {
        let text = Zeroizing::new(std::fs::read_to_string(path)?);
        let found = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
        Ok(found.and_then(|line| line.parse().ok()).map(Identity).ok_or(BadKey::Identity))
    }

    /// The contents of its file.
    #[must_use]
    pub fn file(&self) -> Zeroizing<String> {
        let (recipient, secret) = (self.recipient(), self.0.to_string());
        Zeroizing::new(format!("# public key: {recipient}\n{}\n", secret.expose_secret()))
    }

    /// Itself, for decryption.
    pub(crate) fn as_age(&self) -> &dyn age::Identity {
        &self.0
    }

    /// Its public key.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        Recipient(self.0.to_public())
    }
}
