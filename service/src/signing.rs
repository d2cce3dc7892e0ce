//! Keys for what a process hands out and gets back, such as a cookie: nobody else can make or change it.

use std::fmt;
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::private::{self, KeyFileError};

/// 32 bytes that sign (HMAC-SHA-256, RFC 2104, cut to 128 bits).
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey([u8; 32]);

/// Why a key's file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningKeyError {
    /// Its file cannot be used.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// It holds something else.
    #[error("{} must hold 32 random bytes in hexadecimal or base64", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
}

impl SigningKey {
    /// Reads a key's file.
    ///
    /// # Errors
    /// [`SigningKeyError`].
    pub fn load(path: &Path) -> Result<SigningKey, SigningKeyError> {
        let text = private::read_key(path)?;
        SigningKey::parse(&text).ok_or_else(|| SigningKeyError::NotAKey { path: path.to_owned() })
    }

    /// A new random key, which is lost when the process ends.
    #[must_use]
    pub fn random() -> SigningKey {
        SigningKey(rand::random())
    }

    /// 32 bytes in hexadecimal or base64.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<SigningKey> {
        let text = text.trim_ascii();
        let bytes = if text.len() == 64 {
            HEXLOWER_PERMISSIVE.decode(text).ok()?
        } else {
            BASE64.decode(text).or_else(|_| BASE64URL_NOPAD.decode(text)).ok()?
        };
        Some(SigningKey(bytes.try_into().ok()?))
    }

    /// A message authentication code over several parts.
    #[must_use]
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 16] {
        // HMAC accepts keys of any length, so there is always a MAC.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return [0; 16] };
        for part in parts {
            // The length comes first, otherwise the same bytes could be split in two ways.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let mut short = [0; 16];
        short.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        short
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::{BASE64, SigningKey};

    #[test]
    fn a_key_has_32_bytes() {
        let base64 = BASE64.encode(&[7; 32]);
        assert_eq!(SigningKey::parse(base64.as_bytes()), SigningKey::parse("07".repeat(32).as_bytes()));
        assert!(SigningKey::parse(b"").is_none() && SigningKey::parse("zz".repeat(32).as_bytes()).is_none());
        assert_eq!(format!("{:?}", SigningKey::random()), "SigningKey(..)");
    }
}
