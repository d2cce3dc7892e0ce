//! The keys that sign what this node hands out and gets back: the console's cookie, invitations.
//!
//! They are shared by configuration, so every node of every region accepts what one has signed, and none keeps a list.
//! The first key signs and all of them are accepted, so a key is replaced without voiding what it signed.

use data_encoding::BASE64URL_NOPAD;
use service::signing::{SigningKey, SigningKeyError};
use subtle::ConstantTimeEq as _;

use crate::config::RegistryConfig;

/// Length of a signature.
const MAC: usize = 16;

/// The keys, the one that signs first.
pub struct ConsoleKeys(Vec<SigningKey>);

impl ConsoleKeys {
    /// Reads the configured keys. Without one a random key signs, which other nodes do not accept.
    ///
    /// # Errors
    /// [`SigningKeyError`], which names the file.
    pub fn load(config: &RegistryConfig) -> Result<ConsoleKeys, SigningKeyError> {
        if config.console_keys.is_empty() {
            return Ok(ConsoleKeys(vec![SigningKey::random()]));
        }
        config.console_keys.iter().map(|path| SigningKey::load(path)).collect::<Result<_, _>>().map(ConsoleKeys)
    }

    #[cfg(test)]
    pub(super) fn of(keys: Vec<SigningKey>) -> ConsoleKeys {
        ConsoleKeys(keys)
    }

    /// `said` with its signature as base64url. What is signed for one purpose does not count for another.
    pub(super) fn sign(&self, purpose: &[u8], said: &[u8]) -> String {
        BASE64URL_NOPAD.encode(&[said, &self.0[0].mac(&[purpose, said])].concat())
    }

    /// What one of the keys has signed for this purpose.
    pub(super) fn read<const LENGTH: usize>(&self, purpose: &[u8], text: &str) -> Option<[u8; LENGTH]> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok().filter(|bytes| bytes.len() == LENGTH + MAC)?;
        let (said, signed) = bytes.split_at(LENGTH);
        let is_signed = self.0.iter().any(|key| bool::from(key.mac(&[purpose, said])[..].ct_eq(signed)));
        if is_signed { said.try_into().ok() } else { None }
    }
}
