//! The address of a server, parsed once.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use hyper::Uri;
use hyper::header::HeaderValue;

use crate::HostPort;

/// `http://host[:port][/prefix]`, and the token that is shown there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// `http`, or `https` if the caller makes its connections with TLS.
    scheme: &'static str,
    host: String,
    port: u16,
    prefix: String,
    authority: HeaderValue,
    /// `Authorization`; marked as sensitive, so that its debug form does not show it.
    token: Option<HeaderValue>,
}

/// A text that is not the address of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {why}; write http://host:port")]
pub struct BadBase {
    text: String,
    why: &'static str,
}

impl Base {
    /// The host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 80 if none was given.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The beginning of every path: empty, or `/prefix`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The server at `address`, to which the caller makes connections with TLS if `secure` ([`super::Call::send_over`]).
    #[must_use]
    pub fn at(address: &HostPort, secure: bool) -> Base {
        // A host name has only characters that a header may have.
        let authority = HeaderValue::from_str(&address.to_string()).unwrap_or(HeaderValue::from_static("localhost"));
        let (host, port) = (address.host().to_owned(), address.port());
        Base {
            scheme: if secure { "https" } else { "http" },
            host,
            port,
            prefix: String::new(),
            authority,
            token: None,
        }
    }

    /// The same server, with an operator's token for every request that brings no other. A token with characters that
    /// a header cannot have is left out.
    #[must_use]
    pub fn with_token(self, token: &str) -> Base {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok();
        if let Some(value) = &mut value {
            value.set_sensitive(true);
        }
        Base { token: value, ..self }
    }

    /// The `Authorization` header of requests to the server.
    #[must_use]
    pub fn token(&self) -> Option<&HeaderValue> {
        self.token.as_ref()
    }

    /// The `Host` header.
    #[must_use]
    pub fn authority(&self) -> HeaderValue {
        self.authority.clone()
    }
}

impl From<SocketAddr> for Base {
    fn from(address: SocketAddr) -> Self {
        let authority = HeaderValue::from_str(&address.to_string());
        Self {
            scheme: "http",
            host: match address {
                // The zone of a link-local address (RFC 4007) is needed to connect.
                SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
                _ => address.ip().to_string(),
            },
            port: address.port(),
            prefix: String::new(),
            // An address has only characters that a header may have.
            authority: authority.unwrap_or(HeaderValue::from_static("localhost")),
            token: None,
        }
    }
}

impl FromStr for Base {
    type Err = BadBase;

    fn from_str(text: &str) -> Result<Self, BadBase> {
        let wrong = |why| BadBase { text: text.to_owned(), why };
        let uri: Uri = text.parse().map_err(|_| wrong("is not a URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(wrong("would need TLS, which this client does not speak")),
            _ => return Err(wrong("does not begin with http://")),
        }
        let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
        if uri.query().is_some() || text.contains('#') || authority.as_str().contains('@') {
            return Err(wrong("has more than a host, a port and a path"));
        }
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Ok(Self {
            scheme: "http",
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(80),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| wrong("has no valid host"))?,
            token: None,
        })
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority.to_str().unwrap_or(&self.host), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::Base;

    #[test]
    fn urls_are_taken_apart() {
        let base: Base = "http://127.0.1.1:7080/".parse().unwrap();
        assert_eq!((base.host(), base.port(), base.prefix()), ("127.0.1.1", 7080, ""));
        assert_eq!(base, Base::from("127.0.1.1:7080".parse::<std::net::SocketAddr>().unwrap()));
        let base: Base = "http://[::1]/at/".parse().unwrap();
        assert_eq!((base.host(), base.port(), base.prefix()), ("::1", 80, "/at"));
        assert_eq!(base.to_string(), "http://[::1]/at");
        let with = base.clone().with_token("secret");
        assert!(with.token().is_some_and(|token| token == "Bearer secret") && !format!("{with:?}").contains("secret"));
        let secure = Base::at(&"a.example:7443".parse().unwrap(), true);
        assert_eq!(
            (secure.to_string(), secure.authority()),
            ("https://a.example:7443".to_owned(), "a.example:7443".parse().unwrap())
        );
        for bad in ["", "127.0.1.1:7080", "https://a", "ftp://a", "http://", "http://a?b", "http://u@a"] {
            assert!(bad.parse::<Base>().is_err(), "{bad}");
        }
    }
}
