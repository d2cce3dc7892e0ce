//! Session tokens from a client: decoding never panics, and what it accepts survives a round trip.
//!
//! The checksum is made right first: otherwise only one input in four thousand million would be looked at.
#![no_main]

use libfuzzer_sys::fuzz_target;
use replication::{SessionToken, VersionVector};

fuzz_target!(|bytes: &[u8]| {
    let _ = SessionToken::decode(bytes);
    if let Ok(token) = SessionToken::decode(&sealed(bytes)) {
        assert_eq!(SessionToken::decode(&token.encode()), Ok(token.clone()));
        assert!(token.0.covers(&VersionVector::default()));
    }
});

/// `checksum | body`, as an honest sender would write it.
fn sealed(body: &[u8]) -> Vec<u8> {
    use sha2::Digest;
    let mut token = sha2::Sha256::digest(body)[..4].to_vec();
    token.extend_from_slice(body);
    token
}
