//! Determines the client: the peer, or the address that a trusted proxy names.
//!
//! Only `X-Forwarded-For` is read, not RFC 7239's `Forwarded`. With two sources a client could fill in the one that the
//! proxy before us does not write.
//!
//! # Invariants
//! - A peer that is not trusted decides nothing: its own address counts.
//! - If a header cannot be parsed, the peer counts; the edge never guesses.

use std::net::{IpAddr, Ipv6Addr};

use hyper::header::{HeaderMap, HeaderName};
use ipnetwork::IpNetwork;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies whose `X-Forwarded-For` counts.
#[derive(Clone, Debug, Default)]
pub struct Trusted(Vec<IpNetwork>);

impl Trusted {
    /// Trusts the proxies in these networks.
    #[must_use]
    pub fn new(networks: Vec<IpNetwork>) -> Trusted {
        Trusted(networks)
    }

    /// Whether an address belongs to a trusted proxy.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// The client behind `peer`: the rightmost address of `X-Forwarded-For` that does not belong to a trusted proxy.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if self.0.is_empty() || !self.contains(peer) {
            return peer;
        }
        let mut client = peer;
        for line in headers.get_all(X_FORWARDED_FOR).iter().rev() {
            let Ok(line) = line.to_str() else { return peer };
            for hop in line.rsplit(',') {
                let Some(address) = address(hop.trim()) else { return peer };
                client = address;
                if !self.contains(address) {
                    return client;
                }
            }
        }
        client
    }
}

/// An address, with or without a port or brackets.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    plain.or_else(with_port).or_else(in_brackets).map(|address| address.to_canonical())
}

/// The unit that limits count by: an IPv4 address, or the /56 that one IPv6 subscriber commonly has.
#[must_use]
pub fn prefix(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        // The numbers of IPv4 addresses are not Internet addresses in IPv6, so the two never collide.
        IpAddr::V6(address) => u128::from(address) >> 72 << 72,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use hyper::header::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::{Trusted, X_FORWARDED_FOR, prefix};

    fn trusted() -> Trusted {
        Trusted::new(vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()])
    }

    fn client(peer: &str, lines: &[&str]) -> String {
        let line = |text: &&str| (X_FORWARDED_FOR, HeaderValue::from_str(text).unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(line) {
            headers.append(name, value);
        }
        trusted().client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_rightmost_address_that_is_not_trusted_counts() {
        assert_eq!(client("127.0.0.1", &["8.8.8.8"]), "8.8.8.8");
        assert_eq!(client("127.0.0.1", &["1.1.1.1, 8.8.8.8, 10.1.2.3"]), "8.8.8.8");
        assert_eq!(client("127.0.0.1", &["1.1.1.1", "8.8.8.8 ,10.1.2.3"]), "8.8.8.8");
        assert_eq!(client("127.0.0.1", &["8.8.8.8:1234"]), "8.8.8.8");
        assert_eq!(client("127.0.0.1", &["[2001:db8::1]:1234"]), "2001:db8::1");
        assert_eq!(client("127.0.0.1", &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(client("::ffff:127.0.0.1", &["::ffff:8.8.8.8"]), "8.8.8.8");
        assert_eq!(client("127.0.0.1", &["10.9.9.9, 10.1.2.3"]), "10.9.9.9");
    }

    #[test]
    fn other_peers_and_malformed_headers_are_not_believed() {
        assert_eq!(client("9.9.9.9", &["8.8.8.8"]), "9.9.9.9");
        for nonsense in ["", "unknown", "8.8.8.8,", "8.8.8", "8.8.8.8, 10.0.0.x", "1.1.1.1;8.8.8.8"] {
            assert_eq!(client("127.0.0.1", &[nonsense]), "127.0.0.1", "{nonsense}");
        }
        assert_eq!(client("127.0.0.1", &[]), "127.0.0.1");
    }

    #[test]
    fn a_subscriber_is_one_prefix() {
        let of = |text: &str| prefix(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:aa00::1"), of("2001:db8:0:aaff:ffff::2"));
        assert_ne!(of("2001:db8:0:aa00::1"), of("2001:db8:0:ab00::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }

    proptest! {
        /// Whatever a client writes, only the address that a trusted proxy appended counts.
        #[test]
        fn addresses_written_by_the_client_do_not_count(forged in "[0-9a-f.:, ]{0,60}", real: std::net::Ipv4Addr) {
            prop_assume!(!trusted().contains(IpAddr::V4(real)));
            let line = format!("{forged}, {real}");
            let headers = HeaderMap::from_iter([(X_FORWARDED_FOR, HeaderValue::from_str(&line).unwrap())]);
            let client = trusted().client("127.0.0.1".parse().unwrap(), &headers);
            prop_assert_eq!(client, IpAddr::V4(real));
        }
    }
}
