//! The key for what the edge signs.

use std::fmt;

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// 32 bytes that sign what the edge hands out.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A new random secret, which is lost when the process ends.
    #[must_use]
    pub(crate) fn random() -> Secret {
        Secret(rand::random())
    }

    /// 32 bytes in hexadecimal or base64.
    #[must_use]
    pub(crate) fn parse(text: &[u8]) -> Option<Secret> {
        let text = text.trim_ascii();
        let bytes = if text.len() == 64 {
            HEXLOWER_PERMISSIVE.decode(text).ok()?
        } else {
            BASE64.decode(text).or_else(|_| BASE64URL_NOPAD.decode(text)).ok()?
        };
        Some(Secret(bytes.try_into().ok()?))
    }

    /// A message authentication code over several parts.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; 16] {
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

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::{BASE64, Secret};

    #[test]
    fn a_secret_has_32_bytes() {
        let base64 = BASE64.encode(&[7; 32]);
        assert_eq!(Secret::parse(base64.as_bytes()), Secret::parse("07".repeat(32).as_bytes()));
        assert!(Secret::parse(b"").is_none() && Secret::parse("zz".repeat(32).as_bytes()).is_none());
        assert_eq!(format!("{:?}", Secret::random()), "Secret(..)");
    }
}
