//! Where a process listens, as others are told it: a host, by name or by number, and a port.
//!
//! # Not here
//! Resolving the name: `service::resolve`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `host:port`, such as `127.0.1.2:7081`, `[::1]:7081` or `us-east.example.org:7081`; the port is never 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    host: String,
    port: u16,
}

/// A text that is not `host:port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be host:port, such as 127.0.1.2:7081 or [::1]:7081")]
pub struct BadHostPort;

impl HostPort {
    /// The host: a name, or an address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address, if the host is written as a number and needs no resolving.
    #[must_use]
    pub fn literal(&self) -> Option<SocketAddr> {
        self.host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, self.port))
    }
}

impl FromStr for HostPort {
    type Err = BadHostPort;

    fn from_str(text: &str) -> Result<Self, BadHostPort> {
        let (host, port) = text.rsplit_once(':').ok_or(BadHostPort)?;
        // `parse` alone would accept "+7081", which no other tool reads as a port.
        let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse::<u16>().ok().filter(|port| digits && *port != 0).ok_or(BadHostPort)?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_ok() => v6,
            Some(_) => return Err(BadHostPort),
            None if is_host(host) => host,
            None => return Err(BadHostPort),
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

/// An IPv4 address or a host name (RFC 1123), a dot at the end allowed.
fn is_host(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> HostPort {
        HostPort { host: address.ip().to_string(), port: address.port() }
    }
}

impl Serialize for HostPort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HostPort, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| D::Error::custom(format!("`{text}` {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::HostPort;

    #[test]
    fn hosts_and_ports_are_read_as_they_are_written() {
        for good in ["127.0.1.2:7081", "[::1]:7081", "us-east.example.org:7081", "node_1:1", "a.:65535"] {
            assert_eq!(good.parse::<HostPort>().unwrap().to_string(), good);
        }
        for bad in ["", ":1", "a", "a:", "a:0", "a:+1", "a:65536", "::1:7081", "[a]:1", "a b:1", "-a:1", "a..b:1"] {
            assert!(bad.parse::<HostPort>().is_err(), "{bad}");
        }
        assert!("[::1]:7081".parse::<HostPort>().unwrap().literal().is_some());
        assert!("us-east:7081".parse::<HostPort>().unwrap().literal().is_none());
        let address = "[2001:db8::1]:7443".parse::<std::net::SocketAddr>().unwrap();
        assert_eq!(HostPort::from(address).literal(), Some(address));
    }

    #[test]
    fn json_has_the_text() {
        let read: HostPort = serde_json::from_str("\"sg.example:7443\"").unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), "\"sg.example:7443\"");
        assert!(serde_json::from_str::<HostPort>("\"sg.example\"").unwrap_err().to_string().contains("host:port"));
    }
}
