//! `listen` of a listener: `IP:PORT`, or a list of them.

use std::net::SocketAddr;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::parse_socket;

/// Most addresses of one listener.
const MOST: usize = 64;

/// The addresses of a listener: one or several, none of them twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen(Vec<SocketAddr>);

impl Listen {
    /// The first address, for what needs one of them.
    #[must_use]
    pub fn first(&self) -> SocketAddr {
        self.0[0]
    }

    /// All addresses, in the order of the file.
    #[must_use]
    pub fn all(&self) -> &[SocketAddr] {
        &self.0
    }

    /// Whether the socket of an address must take IPv6 alone. The socket of `[::]` takes IPv4 as well otherwise, which is
    /// taken already if an IPv4 address with the same port is listed.
    #[must_use]
    pub fn is_ipv6_only(&self, address: SocketAddr) -> bool {
        address.is_ipv6() && self.0.iter().any(|other| other.is_ipv4() && other.port() == address.port())
    }

    fn of(texts: &[String]) -> Result<Listen, String> {
        if texts.is_empty() || texts.len() > MOST {
            return Err(format!("a listener has 1 to {MOST} addresses"));
        }
        let mut addresses = Vec::with_capacity(texts.len());
        for text in texts {
            let address = parse_socket(text).map_err(|error| error.to_string())?;
            if addresses.contains(&address) {
                return Err(format!("`{text}` is listed twice"));
            }
            addresses.push(address);
        }
        Ok(Listen(addresses))
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Listen {
        Listen(vec![address])
    }
}

/// One address is written as a text, several as a list.
impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Listen, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = Vec<String>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("IP:PORT or a list of them")
            }

            fn visit_str<E>(self, text: &str) -> Result<Vec<String>, E> {
                Ok(vec![text.to_owned()])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(texts)
            }
        }

        Listen::of(&deserializer.deserialize_any(Texts)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::Listen;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct File {
        listen: Listen,
    }

    fn read(value: &str) -> Result<Listen, String> {
        toml::from_str::<File>(&format!("listen = {value}")).map(|file| file.listen).map_err(|error| error.to_string())
    }

    #[test]
    fn one_address_or_a_list_is_read_as_it_is_written() {
        for (written, addresses) in [
            ("\"0.0.0.0:53\"", vec!["0.0.0.0:53"]),
            ("[\"192.0.2.1:53\"]", vec!["192.0.2.1:53"]),
            ("[\"192.0.2.1:53\", \"[2001:db8::1]:53\"]", vec!["192.0.2.1:53", "[2001:db8::1]:53"]),
        ] {
            let listen = read(written).unwrap();
            let addresses: Vec<_> = addresses.iter().map(|address| address.parse().unwrap()).collect();
            assert_eq!((listen.all(), listen.first()), (&*addresses, addresses[0]), "{written}");
            let file = File { listen };
            let again: File = toml::from_str(&toml::to_string(&file).unwrap()).unwrap();
            assert_eq!(again, file);
        }
        assert_eq!(
            toml::to_string(&File { listen: read("\"0.0.0.0:53\"").unwrap() }).unwrap().trim(),
            "listen = \"0.0.0.0:53\""
        );
    }

    #[test]
    fn anything_else_is_refused_in_words() {
        for (written, says) in [
            ("[]", "1 to 64 addresses"),
            ("7", "IP:PORT or a list of them"),
            ("[7]", "string"),
            ("\"localhost:53\"", "is not IP:PORT"),
            ("[\"127.0.0.1:53\", \"127.0.0.1\"]", "`127.0.0.1` is not IP:PORT"),
            ("[\"127.0.0.1:53\", \"127.0.0.1:53\"]", "listed twice"),
        ] {
            let refused = read(written).unwrap_err();
            assert!(refused.contains(says), "{written}: {refused}");
        }
    }

    #[test]
    fn a_socket_of_ipv6_leaves_ipv4_to_an_address_in_the_list() {
        let both = read("[\"0.0.0.0:53\", \"[::]:53\", \"[::]:54\"]").unwrap();
        assert_eq!([0, 1, 2].map(|at| both.is_ipv6_only(both.all()[at])), [false, true, false]);
        let one = read("\"[::]:53\"").unwrap();
        assert!(!one.is_ipv6_only(one.first()));
    }
}
