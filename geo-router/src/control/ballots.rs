//! Exchanges ballots: each router asks every other one for its verdicts, over its admin listener.
//!
//! # Invariants
//! - A ballot counts only with the keyed MAC (HMAC-SHA-256, RFC 2104) over the nonce of this very request. So a sender
//!   without the routers' common secret has no vote, and an old ballot cannot be replayed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::client::{Base, Call};
use api::headers::MAC;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use service::private::{self, KeyFileError};
use sha2::Sha256;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Observation, SIZE_LIMIT};
use crate::config::Peer;
use crate::health::{Ballot, HealthRules};

/// The path of a ballot; `?nonce=` follows.
pub(crate) const PATH: &str = "/v1/router/ballot";

/// Shortest secret.
const SHORTEST: usize = 16;

/// Longest nonce that is accepted.
const LONGEST_NONCE: usize = 64;

/// The routers' common secret.
#[derive(Clone)]
pub struct PeerKey(Arc<[u8]>);

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerKeyError {
    /// Its file cannot be used.
    #[error("the routers' key")]
    File(#[from] KeyFileError),
    /// It is too short to be a secret.
    #[error("the routers' key {} is shorter than 16 bytes", path.display())]
    Short {
        /// The file.
        path: PathBuf,
    },
}

impl PeerKey {
    /// Reads the secret without the white space around it.
    ///
    /// # Errors
    /// [`PeerKeyError`].
    pub fn load(path: &Path) -> Result<PeerKey, PeerKeyError> {
        let bytes = private::read_key(path)?;
        let key = bytes.trim_ascii();
        if key.len() < SHORTEST {
            return Err(PeerKeyError::Short { path: path.to_owned() });
        }
        Ok(PeerKey(key.into()))
    }

    fn mac(&self, nonce: &str, body: &[u8]) -> Option<Hmac<Sha256>> {
        // HMAC accepts keys of any length, so there is always a MAC.
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.0).ok()?;
        mac.update(b"meridian ballot\0");
        mac.update(nonce.as_bytes());
        mac.update(b"\0");
        mac.update(body);
        Some(mac)
    }

    /// The MAC of a ballot for this request; `None` for a nonce that no router would send.
    #[must_use]
    pub fn sign(&self, nonce: &str, body: &[u8]) -> Option<String> {
        let fits = (1..=LONGEST_NONCE).contains(&nonce.len()) && nonce.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !fits {
            return None;
        }
        Some(HEXLOWER.encode(&self.mac(nonce, body)?.finalize().into_bytes()))
    }

    fn is_signed(&self, nonce: &str, body: &[u8], mac: &str) -> bool {
        let Ok(bytes) = HEXLOWER.decode(mac.as_bytes()) else { return false };
        self.mac(nonce, body).is_some_and(|expected| expected.verify_slice(&bytes).is_ok())
    }
}

/// Starts one task for each other router.
pub(super) fn spawn_all(
    tasks: &mut JoinSet<()>,
    peers: &[Peer],
    rules: &watch::Receiver<HealthRules>,
    key: &PeerKey,
    events: &mpsc::Sender<Observation>,
) {
    for peer in peers {
        let (events, key, peer, rules) = (events.clone(), key.clone(), peer.clone(), rules.clone());
        tasks.spawn(async move {
            let mut next = Instant::now();
            loop {
                tokio::time::sleep_until(next).await;
                let limit = rules.borrow().interval;
                next = Instant::now() + limit / 2;
                let nonce = HEXLOWER.encode(&rand::random::<[u8; 16]>());
                let call = Call::get(format!("{PATH}?nonce={nonce}")).limits(limit, SIZE_LIMIT);
                let Ok(answer) = call.send(&Base::from(peer.admin)).await else { continue };
                let mac = answer.headers.get(MAC).and_then(|mac| mac.to_str().ok()).unwrap_or_default();
                if !key.is_signed(&nonce, &answer.body, mac) {
                    tracing::warn!(
                        router = %peer.name, action = "give every router the same peers.key_file",
                        "a router's ballot is not signed with the common secret: it does not count"
                    );
                    continue;
                }
                let ballot = serde_json::from_slice::<Ballot>(&answer.body);
                // The name must be the one that was asked, because two routers with the same name must not count as
                // one.
                let ballot = ballot.ok().filter(|ballot| ballot.router == peer.name.as_str());
                if let Some(ballot) = ballot
                    && events.send(Observation::Heard(ballot)).await.is_err()
                {
                    return;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::PeerKey;

    fn key(secret: &str) -> PeerKey {
        PeerKey(secret.as_bytes().into())
    }

    #[test]
    fn a_ballot_counts_for_its_nonce_and_key_alone() {
        let ours = key("0123456789abcdef");
        let mac = ours.sign("a0b1", b"ballot").unwrap();
        assert!(ours.is_signed("a0b1", b"ballot", &mac));
        assert!(!ours.is_signed("a0b2", b"ballot", &mac));
        assert!(!ours.is_signed("a0b1", b"ballo", &mac));
        assert!(!key("0123456789abcdeX").is_signed("a0b1", b"ballot", &mac));
        for garbage in ["", "zz", "abc", &mac[2..]] {
            assert!(!ours.is_signed("a0b1", b"ballot", garbage));
        }
        assert_eq!(ours.sign("", b""), None);
        assert_eq!(ours.sign("no hex", b""), None);
    }
}
