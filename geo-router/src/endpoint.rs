//! Where a node is reached, and how: plain HTTP, or TLS with the name that its certificate must show.
//!
//! # Invariants
//! - TLS is a part of the address: nothing falls back from it to plain HTTP.
//! - An endpoint never changes. A host name that resolves to other addresses makes another endpoint.
//!
//! # Not here
//! Connecting ([`crate::connector`]) and resolving (`service::resolve`).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use api::{HostPort, NodeName};
use rustls_pki_types::ServerName;
use serde::{Deserialize, Serialize};

/// Whether no node can be at an address.
pub(crate) fn leads_nowhere(ip: &IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_unspecified() || ip.is_multicast()
}

/// The public listener of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Endpoint {
    host: HostPort,
    /// The name that the certificate must show; `None` for plain HTTP.
    server_name: Option<ServerName<'static>>,
    /// Where the host is now: empty for a name that was never resolved.
    sockets: Vec<SocketAddr>,
}

/// A name that no certificate can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a host name or an IP address, as on the node's certificate")]
pub struct BadServerName;

/// An endpoint as one router tells it another.
#[derive(Serialize, Deserialize)]
struct Written {
    host: HostPort,
    server_name: Option<String>,
    sockets: Vec<SocketAddr>,
}

impl From<Endpoint> for Written {
    fn from(Endpoint { host, server_name, sockets }: Endpoint) -> Written {
        Written { host, server_name: server_name.map(|name| name.to_str().into_owned()), sockets }
    }
}

impl TryFrom<Written> for Endpoint {
    type Error = BadServerName;

    fn try_from(Written { host, server_name, sockets }: Written) -> Result<Endpoint, BadServerName> {
        let server_name = server_name.map(ServerName::try_from).transpose().map_err(|_| BadServerName)?;
        Ok(Endpoint { host, server_name, sockets })
    }
}

impl From<SocketAddr> for Endpoint {
    /// Plain HTTP at an address.
    fn from(address: SocketAddr) -> Endpoint {
        Endpoint { host: address.into(), server_name: None, sockets: vec![address] }
    }
}

impl Endpoint {
    /// Plain HTTP at a host.
    #[must_use]
    pub fn plain(host: HostPort) -> Endpoint {
        Endpoint { sockets: host.literal().into_iter().collect(), host, server_name: None }
    }

    /// TLS at a host. The certificate must show `server_name`; without one the name of the host, or the name of the node if
    /// the host is an address, because the certificates of a deployment's own authority show that.
    ///
    /// # Errors
    /// [`BadServerName`].
    pub fn tls(host: HostPort, server_name: Option<&str>, node: &NodeName) -> Result<Endpoint, BadServerName> {
        let own = if host.literal().is_some() { node.as_str() } else { host.host().trim_end_matches('.') };
        let name = ServerName::try_from(server_name.unwrap_or(own).to_owned()).map_err(|_| BadServerName)?;
        Ok(Endpoint { server_name: Some(name), ..Endpoint::plain(host) })
    }

    /// The same endpoint, whose name has resolved to these addresses.
    #[must_use]
    pub(crate) fn resolved(self, sockets: Vec<SocketAddr>) -> Endpoint {
        Endpoint { sockets, ..self }
    }

    /// The host and port, as they are written.
    #[must_use]
    pub fn host(&self) -> &HostPort {
        &self.host
    }

    /// The name that the certificate must show; `None` for plain HTTP.
    #[must_use]
    pub fn server_name(&self) -> Option<&ServerName<'static>> {
        self.server_name.as_ref()
    }

    /// Where the host is now; empty for a name that was never resolved.
    #[must_use]
    pub fn sockets(&self) -> &[SocketAddr] {
        &self.sockets
    }

    /// The host, if it is a name that has to be resolved.
    pub(crate) fn name(&self) -> Option<&HostPort> {
        self.host.literal().is_none().then_some(&self.host)
    }

    /// Whether this is plain HTTP to another machine. A name counts as another machine, unless it leads only here.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        let is_here = |socket: &SocketAddr| socket.ip().to_canonical().is_loopback();
        let is_local =
            self.host.host() == "localhost" || (!self.sockets.is_empty() && self.sockets.iter().all(is_here));
        self.server_name.is_none() && !is_local
    }

    /// Whether another endpoint is the same listener: reached alike, and at one of the same addresses. What is known of the
    /// one holds for the other then.
    #[must_use]
    pub(crate) fn continues(&self, other: &Endpoint) -> bool {
        let shares = self.sockets.iter().any(|socket| other.sockets.contains(socket));
        self.server_name == other.server_name && (self == other || shares)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.server_name.is_some() { "https" } else { "http" }, self.host)
    }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::ServerName;

    use super::Endpoint;

    fn tls(host: &str, server_name: Option<&str>) -> Result<Endpoint, super::BadServerName> {
        Endpoint::tls(host.parse().unwrap(), server_name, &"us-east".parse().unwrap())
    }

    #[test]
    fn the_name_on_the_certificate_is_given_or_follows_from_the_host() {
        for (host, given, expected) in [
            ("node-1.sg.example:7443", None, "node-1.sg.example"),
            ("node-1.sg.example.:7443", None, "node-1.sg.example"),
            ("node-1.sg.example:7443", Some("us-east"), "us-east"),
            ("10.0.0.1:7443", None, "us-east"),
            ("10.0.0.1:7443", Some("10.0.0.1"), "10.0.0.1"),
        ] {
            let name = ServerName::try_from(expected).unwrap();
            assert_eq!(tls(host, given).unwrap().server_name(), Some(&name), "{host} {given:?}");
        }
        assert!(tls("10.0.0.1:7443", Some("not a name")).is_err());
        assert_eq!(tls("[::1]:7443", None).unwrap().to_string(), "https://[::1]:7443");
    }

    #[test]
    fn an_endpoint_is_told_to_another_router_whole() {
        for endpoint in [tls("sg.example:7443", Some("us-east")).unwrap(), Endpoint::plain("[::1]:80".parse().unwrap())]
        {
            let endpoint = endpoint.resolved(vec!["10.0.0.1:7443".parse().unwrap()]);
            let told = serde_json::to_string(&endpoint).unwrap();
            assert_eq!(serde_json::from_str::<Endpoint>(&told).unwrap(), endpoint);
        }
        assert!(serde_json::from_str::<Endpoint>(r#"{"host":"a:1","server_name":"not a name","sockets":[]}"#).is_err());
    }

    #[test]
    fn plain_http_to_another_machine_is_exposed() {
        let plain = |host: &str| Endpoint::plain(host.parse().unwrap());
        let at = |address: &str| vec![address.parse().unwrap()];
        assert!(plain("10.0.0.1:80").is_exposed() && plain("sg.example:80").is_exposed());
        assert!(plain("sg.example:80").resolved(at("10.0.0.1:80")).is_exposed());
        assert!(!plain("sg.example:80").resolved(at("127.0.0.1:80")).is_exposed());
        assert!(
            !plain("127.0.3.1:80").is_exposed()
                && !plain("[::1]:80").is_exposed()
                && !plain("localhost:80").is_exposed()
        );
        assert!(!tls("10.0.0.1:443", None).unwrap().is_exposed());
    }

    #[test]
    fn a_listener_is_the_same_while_one_address_stays() {
        let at = |addresses: &[&str]| {
            let sockets = addresses.iter().map(|address| address.parse().unwrap()).collect();
            tls("sg.example:443", None).unwrap().resolved(sockets)
        };
        let one = at(&["10.0.0.1:443", "10.0.0.2:443"]);
        assert!(one.continues(&at(&["10.0.0.2:443", "10.0.0.3:443"])) && !one.continues(&at(&["10.0.0.3:443"])));
        assert!(at(&[]).continues(&at(&[])));
        let plain = Endpoint::plain("sg.example:443".parse().unwrap()).resolved(one.sockets().to_vec());
        assert!(!one.continues(&plain), "plain HTTP is another listener");
    }
}
