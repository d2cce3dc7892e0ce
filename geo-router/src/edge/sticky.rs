//! The cookie that keeps a client at its node.
//!
//! Its value is a keyed MAC over region and node. So it reveals neither an address nor a name, only a router with the
//! key can make one, and every router with the key understands it.
//!
//! # Invariants
//! - Names go into the MAC, never addresses or positions, so a node keeps its cookie when other nodes are added or
//!   removed.
//! - A cookie that matches no node is ignored.

use std::collections::HashMap;

use data_encoding::BASE64URL_NOPAD;
use hyper::header::{COOKIE, HeaderMap, HeaderValue};

use crate::fleet::{Fleet, NodeId};
use service::signing::SigningKey;

/// The cookie's name.
pub(super) const COOKIE_NAME: &str = "meridian-node";

/// The cookies of all nodes of a fleet.
#[derive(Debug)]
pub(super) struct Sticky {
    values: Vec<Vec<String>>,
    nodes: HashMap<String, NodeId>,
}

impl Sticky {
    /// The cookies of a fleet.
    #[must_use]
    pub(super) fn new(secret: &SigningKey, fleet: &Fleet) -> Sticky {
        let mut nodes = HashMap::new();
        let mut values = Vec::new();
        for region in fleet.indices() {
            let named = fleet.region(region);
            let of_region = named.nodes.iter().enumerate().map(|(node, one)| {
                let parts = [b"sticky".as_slice(), named.name.as_str().as_bytes(), one.name.as_str().as_bytes()];
                let value = BASE64URL_NOPAD.encode(&secret.mac(&parts));
                nodes.insert(value.clone(), NodeId { region, node });
                value
            });
            values.push(of_region.collect());
        }
        Sticky { values, nodes }
    }

    /// The node that one of a request's cookies names.
    #[must_use]
    pub(super) fn node(&self, cookies: &Cookies) -> Option<NodeId> {
        cookies.0.iter().find_map(|value| self.nodes.get(value).copied())
    }

    /// The `Set-Cookie` value that keeps a client at a node.
    #[must_use]
    pub(super) fn set_cookie(&self, node: NodeId, secure: bool) -> Option<HeaderValue> {
        let value = self.values.get(node.region.at())?.get(node.node)?;
        let secure = if secure { "; Secure" } else { "" };
        HeaderValue::try_from(format!("{COOKIE_NAME}={value}; Path=/; HttpOnly; SameSite=Lax{secure}")).ok()
    }
}

/// The values of our cookie in a request. They are read before they are stripped, and the node that they name is looked
/// up when the request is sent, in the fleet of that moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Cookies(Vec<String>);

impl Cookies {
    /// The values in a head.
    #[must_use]
    pub(super) fn of(headers: &HeaderMap) -> Cookies {
        let ours = pairs(headers).filter(|(name, _)| *name == COOKIE_NAME);
        Cookies(ours.map(|(_, value)| value.to_owned()).collect())
    }
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

/// Removes our cookie from a request, because only the edge uses it.
pub fn strip(headers: &mut HeaderMap) {
    if !pairs(headers).any(|(name, _)| name == COOKIE_NAME) {
        return;
    }
    let ours =
        |pair: &&[u8]| pair.trim_ascii().strip_prefix(COOKIE_NAME.as_bytes()).is_some_and(|r| r.starts_with(b"="));
    let lines: Vec<Vec<u8>> = headers
        .get_all(COOKIE)
        .iter()
        .map(|line| line.as_bytes().split(|b| *b == b';').filter(|pair| !ours(pair)).collect::<Vec<_>>().join(&b';'))
        .collect();
    headers.remove(COOKIE);
    for line in lines {
        // Parts of a valid value are valid.
        if let Ok(value) = HeaderValue::from_bytes(line.trim_ascii())
            && !value.is_empty()
        {
            headers.append(COOKIE, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{COOKIE, HeaderMap, HeaderValue};

    use super::super::testing::fleet;
    use super::{Cookies, NodeId, SigningKey, Sticky, strip};
    use crate::fleet::{Region, RegionIndex};

    fn cookie(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_cookie_names_its_node_in_every_router_with_the_key_and_in_no_other() {
        let fleet = fleet(&[2, 1]);
        let secret = SigningKey::parse("ab".repeat(32).as_bytes()).unwrap();
        let sticky = Sticky::new(&secret, &fleet);
        let node = NodeId { region: RegionIndex(0), node: 1 };
        let set = sticky.set_cookie(node, true).unwrap();
        let set = set.to_str().unwrap();
        assert!(set.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{set}");
        let pair = set.split(';').next().unwrap();
        for name in ["127.0.0", "region", "node-1"] {
            assert!(!pair.split_once('=').unwrap().1.contains(name));
        }
        let cookies = Cookies::of(&cookie(&format!("a=b; {pair}; c=d")));
        assert_eq!(Sticky::new(&secret, &fleet).node(&cookies), Some(node));
        assert_eq!(Sticky::new(&SigningKey::random(), &fleet).node(&cookies), None);
        assert_eq!(sticky.node(&Cookies::of(&cookie("meridian-node=AAAAAAAAAAAAAAAAAAAAAA"))), None);
        // Another region comes before it: the cookie names the same node at another index.
        let mut other = fleet.clone();
        other.regions.insert(0, Region { name: "first".parse().unwrap(), ..fleet.regions[1].clone() });
        let moved = NodeId { region: RegionIndex(1), node: 1 };
        assert_eq!(Sticky::new(&secret, &other).node(&cookies), Some(moved));
    }

    #[test]
    fn our_cookie_stays_here_and_others_pass() {
        let mut headers = cookie("a=b; meridian-node=x; c=d");
        strip(&mut headers);
        assert_eq!(headers[COOKIE], "a=b; c=d");
        let mut headers = cookie("meridian-node=x");
        strip(&mut headers);
        assert!(!headers.contains_key(COOKIE));
    }
}
