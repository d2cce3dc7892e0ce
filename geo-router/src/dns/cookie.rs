//! DNS cookies (RFC 7873) in the form that all servers of an anycast set understand (RFC 9018).
//!
//! A client sends eight octets of its own, and gets them back with sixteen of ours: a keyed hash of them, of its address
//! and of the time. A client that sends ours back has received an answer at its address, so the address is not forged,
//! and response rate limiting need not count it. An attacker who does not see our answers cannot guess the hash.
//!
//! # Invariants
//! - The server keeps nothing of a client: everything that it needs to check a cookie is in the cookie and the secret.
//! - A cookie holds for one hour, and for five minutes before its time, because clocks of servers differ (RFC 9018,
//!   section 4.3).
//! - A cookie that is wrong, or too old, is treated like none (RFC 7873, section 5.2.4).
//!
//! # Not here
//! The code BADCOOKIE. It makes a client ask again before it gets an answer, which only a server that answers nothing
//! without a cookie needs. Above the rate limit a client without a good cookie is told to use TCP, as a client that knows
//! no cookies is, and that answer carries a good cookie already.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::HEXLOWER_PERMISSIVE;
use service::private::{self, KeyFileError};
use siphasher::sip::SipHasher24;

/// Octets of a client's cookie, and of ours.
const CLIENT: usize = 8;
const SERVER: usize = 16;

/// Octets of an option with a whole cookie of ours.
pub(super) const WHOLE: usize = CLIENT + SERVER;

/// The lengths of servers' cookies, those of other forms included (RFC 7873, section 4).
const SERVERS: std::ops::RangeInclusive<usize> = 8..=32;

/// The version of the form of RFC 9018, and three octets that are reserved.
const VERSION: [u8; 4] = [1, 0, 0, 0];

/// Seconds: how long a cookie holds, how far in the future it may be from, and when it is replaced by a new one (RFC 9018,
/// section 4.3).
const HOLDS: i32 = 3_600;
const AHEAD: i32 = 300;
const RENEWED: i32 = 1_800;

/// Most secrets in a file: the one that signs and those that are accepted besides.
const MOST_SECRETS: usize = 3;

/// A query's cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cookie {
    client: [u8; CLIENT],
    /// The server's part. One of another length is not ours; zeros stand for it, because their version is never valid.
    server: Option<[u8; SERVER]>,
}

/// What a query's cookie shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nothing: the client has no cookie of ours yet.
    New,
    /// The client has received an answer of ours at its address.
    Good,
    /// Nothing: the cookie is not ours, or has expired.
    Bad,
}

/// The outcome of a check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked {
    pub proof: Proof,
    /// The contents of the answer's option.
    pub answer: [u8; WHOLE],
}

/// The secrets of all servers of an anycast set, of 128 bits each: the first signs, the others are accepted as well.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct CookieSecrets {
    signs: [u8; 16],
    accepted: Vec<[u8; 16]>,
}

/// Why the file with the secrets cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CookieSecretError {
    /// Its file cannot be used.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// It holds something else.
    #[error(
        "{} must hold one to three lines, each with 16 random bytes in hexadecimal (`openssl rand -hex 16`)",
        path.display()
    )]
    NotSecrets {
        /// The file.
        path: PathBuf,
    },
}

impl Cookie {
    /// The contents of an option; `None` if its length is not one of a cookie (RFC 7873, section 5.2.2).
    pub(super) fn read(option: &[u8]) -> Option<Cookie> {
        let (client, server) = option.split_first_chunk::<CLIENT>()?;
        let server = match server.len() {
            0 => None,
            length if SERVERS.contains(&length) => Some(server.try_into().unwrap_or([0; SERVER])),
            _ => return None,
        };
        Some(Cookie { client: *client, server })
    }
}

impl CookieSecrets {
    /// Reads a file: the first line is the secret that signs, the others are those that are accepted besides.
    ///
    /// # Errors
    /// [`CookieSecretError`].
    pub(super) fn load(path: &Path) -> Result<CookieSecrets, CookieSecretError> {
        let text = private::read_key(path)?;
        CookieSecrets::parse(&text).ok_or_else(|| CookieSecretError::NotSecrets { path: path.to_owned() })
    }

    /// A new secret, which is lost when the process ends.
    pub(super) fn random() -> CookieSecrets {
        CookieSecrets { signs: rand::random(), accepted: Vec::new() }
    }

    fn parse(text: &[u8]) -> Option<CookieSecrets> {
        let lines = text.trim_ascii().split(|octet| *octet == b'\n');
        let secret = |line: &[u8]| HEXLOWER_PERMISSIVE.decode(line.trim_ascii()).ok()?.try_into().ok();
        let mut accepted: Vec<[u8; 16]> = lines.map(secret).collect::<Option<_>>()?;
        (accepted.len() <= MOST_SECRETS).then(|| CookieSecrets { signs: accepted.remove(0), accepted })
    }

    /// Checks a cookie from this address at this time, in seconds since 1970, of which only 32 bits count.
    pub(super) fn check(&self, cookie: &Cookie, from: IpAddr, now: u32) -> Checked {
        let Cookie { client, server } = cookie;
        let age = server.as_ref().and_then(|server| self.age(client, server, from, now));
        let proof = match (server, age) {
            (None, _) => Proof::New,
            (Some(_), Some(_)) => Proof::Good,
            (Some(_), None) => Proof::Bad,
        };
        let kept = server.filter(|server| {
            let is_young = age.is_some_and(|age| age <= RENEWED);
            is_young && server.starts_with(&VERSION) && is_signed(&self.signs, client, server, from)
        });
        let mut answer = [0; WHOLE];
        answer[..CLIENT].copy_from_slice(client);
        answer[CLIENT..].copy_from_slice(&kept.unwrap_or_else(|| sign(&self.signs, client, from, now)));
        Checked { proof, answer }
    }

    /// How many seconds old a cookie of ours is; `None` if it is not ours or does not hold.
    fn age(&self, client: &[u8; CLIENT], server: &[u8; SERVER], from: IpAddr, now: u32) -> Option<i32> {
        let time = u32::from_be_bytes([server[4], server[5], server[6], server[7]]);
        // Serial numbers (RFC 1982): the difference is right across the end of 32 bits.
        let age = now.wrapping_sub(time) as i32;
        let holds = server[0] == VERSION[0] && (-AHEAD..=HOLDS).contains(&age);
        let mut secrets = std::iter::once(&self.signs).chain(&self.accepted);
        (holds && secrets.any(|secret| is_signed(secret, client, server, from))).then_some(age)
    }
}

impl fmt::Debug for CookieSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieSecrets(..)")
    }
}

/// The time for [`CookieSecrets::check`].
pub(super) fn now() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32)
}

/// The hash of section 4.4 of RFC 9018: SipHash-2-4 of the client's cookie, the first half of ours and the address.
fn hash(secret: &[u8; 16], client: &[u8; CLIENT], head: &[u8], from: IpAddr) -> u64 {
    let mut input = [0; CLIENT + 8 + 16];
    input[..CLIENT].copy_from_slice(client);
    input[CLIENT..16].copy_from_slice(head);
    let used = match from {
        IpAddr::V4(from) => {
            input[16..20].copy_from_slice(&from.octets());
            20
        }
        IpAddr::V6(from) => {
            input[16..].copy_from_slice(&from.octets());
            32
        }
    };
    SipHasher24::new_with_key(secret).hash(&input[..used])
}

/// The reserved octets count with what they are, so that a later form can use them (RFC 9018, section 4.2).
fn is_signed(secret: &[u8; 16], client: &[u8; CLIENT], server: &[u8; SERVER], from: IpAddr) -> bool {
    let (head, told) = server.split_at(8);
    // Two numbers are compared in one step, so the time says nothing about how much of the hash is right.
    told.try_into().is_ok_and(|told| u64::from_le_bytes(told) == hash(secret, client, head, from))
}

fn sign(secret: &[u8; 16], client: &[u8; CLIENT], from: IpAddr, now: u32) -> [u8; SERVER] {
    let mut server = [0; SERVER];
    server[..4].copy_from_slice(&VERSION);
    server[4..8].copy_from_slice(&now.to_be_bytes());
    let hash = hash(secret, client, &server[..8], from);
    server[8..].copy_from_slice(&hash.to_le_bytes());
    server
}

#[cfg(test)]
mod tests;
