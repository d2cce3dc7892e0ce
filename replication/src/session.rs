//! Session tokens: what a client has seen, as bytes that it carries from region to region.
//!
//! A token is a version vector with a checksum, so that a damaged one is refused instead of waited for. It is not a
//! secret and needs no signature, because a client that forges one only makes itself wait.

use sha2::{Digest, Sha256};

use crate::encode::encode;
use crate::version::VersionVector;

const CHECKSUM: usize = 4;
/// Longest token, enough for more replicas than any deployment has. A longer one is refused before it is parsed.
const MAX_LEN: usize = 16 * 1024;

/// The version vector that a client has seen, carried in the `Meridian-Session` header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionToken(pub VersionVector);

/// Bytes that are not a valid session token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("damaged session token")]
pub struct BadToken;

impl SessionToken {
    /// `checksum | vector`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let body = encode(&self.0);
        let mut out = Sha256::digest(&body)[..CHECKSUM].to_vec();
        out.extend_from_slice(&body);
        out
    }

    /// Reads what [`SessionToken::encode`] wrote.
    ///
    /// # Errors
    /// [`BadToken`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<SessionToken, BadToken> {
        if bytes.len() < CHECKSUM || bytes.len() > MAX_LEN {
            return Err(BadToken);
        }
        let (checksum, body) = bytes.split_at(CHECKSUM);
        if Sha256::digest(body)[..CHECKSUM] != *checksum {
            return Err(BadToken);
        }
        postcard::from_bytes(body).map(SessionToken).map_err(|_| BadToken)
    }
}

#[cfg(test)]
mod tests {
    use super::{BadToken, SessionToken};
    use crate::ids::ReplicaId;

    #[test]
    fn a_flipped_bit_is_noticed() {
        let token = SessionToken([(ReplicaId(7), 3), (ReplicaId(u64::MAX), 1 << 40)].into_iter().collect());
        let bytes = token.encode();
        assert_eq!(SessionToken::decode(&bytes), Ok(token));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SessionToken::decode(&damaged), Err(BadToken), "bit {bit}");
        }
    }
}
