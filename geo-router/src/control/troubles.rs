//! What is wrong with nodes and the way to them, for operators.
//!
//! # Invariants
//! - A certificate that is not accepted, and a name that does not resolve, are logged once, until that is over.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::NodeName;

use super::names;
use super::question::Trouble;
use crate::fleet::Fleet;

/// The troubles of this moment.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    nodes: BTreeMap<NodeName, Trouble>,
    /// Host names, and why they do not resolve.
    names: BTreeMap<String, String>,
}

impl Troubles {
    /// A probe of a node ended.
    pub(super) fn probed(&mut self, name: &NodeName, trouble: Option<Trouble>) {
        let is_tls = |trouble: Option<&Trouble>| trouble.is_some_and(|trouble| trouble.is_about_tls);
        match (is_tls(self.nodes.get(name)), is_tls(trouble.as_ref())) {
            (false, true) => {
                let why = trouble.as_ref().map(|trouble| trouble.words.as_str()).unwrap_or_default();
                tracing::warn!(
                    node = %name, why,
                    action = "compare the node's certificate (`[tls.public]`, otherwise `[tls]`) with [nodes] and \
                              `server_name` of this router",
                    "a node does not prove its name over TLS: nothing is sent to it"
                );
            }
            (true, false) if trouble.is_none() => tracing::info!(node = %name, "a node proves its name over TLS again"),
            _ => {}
        }
        match trouble {
            Some(trouble) => self.nodes.insert(name.clone(), trouble),
            None => self.nodes.remove(name),
        };
    }

    /// A name was asked. Returns its addresses, if it has some.
    pub(super) fn resolved(&mut self, host: &str, found: Result<Vec<IpAddr>, String>) -> Option<Vec<IpAddr>> {
        match found {
            Ok(addresses) => {
                if self.names.remove(host).is_some() {
                    tracing::info!(host, "a host name of a node resolves again");
                }
                Some(addresses)
            }
            Err(why) => {
                if !self.names.contains_key(host) {
                    names::told_unresolved(host, &why);
                }
                self.names.insert(host.to_owned(), why);
                None
            }
        }
    }

    /// Forgets nodes and names that this fleet does not have.
    pub(super) fn keep(&mut self, fleet: &Fleet) {
        self.nodes.retain(|name, _| fleet.nodes().any(|id| fleet.node(id).name == *name));
        self.names.retain(|host, _| fleet.nodes().any(|id| fleet.node(id).at.host().host() == host));
    }

    /// The trouble of each node that has one. What a probe says comes before what the name servers say.
    pub(super) fn shown(&self, fleet: &Fleet) -> BTreeMap<NodeName, String> {
        let shown = fleet.nodes().filter_map(|id| {
            let node = fleet.node(id);
            let probed = self.nodes.get(&node.name).map(|trouble| trouble.words.clone());
            let unresolved = || {
                let why = self.names.get(node.at.host().host())?;
                Some(format!("{}: {why}; the addresses known before are used", node.at.host().host()))
            };
            Some((node.name.clone(), probed.or_else(unresolved)?))
        });
        shown.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::question::Trouble;
    use super::Troubles;
    use crate::fleet::Fleet;

    #[test]
    fn a_trouble_is_shown_until_it_is_over() {
        let fleet = Fleet { regions: Vec::new() };
        let mut troubles = Troubles::default();
        let (name, trouble) = ("a".parse().unwrap(), Trouble::new("it answers\n503".to_owned()));
        assert_eq!(trouble.words, "it answers503");
        troubles.probed(&name, Some(trouble));
        assert_eq!(troubles.nodes.len(), 1);
        troubles.probed(&name, None);
        assert_eq!(troubles.nodes.len(), 0);
        assert_eq!(troubles.resolved("a.example", Err("unknown".to_owned())), None);
        assert_eq!(troubles.names.len(), 1);
        assert_eq!(troubles.resolved("a.example", Ok(Vec::new())), Some(Vec::new()));
        assert_eq!(troubles.names.len(), 0);
        troubles.probed(&name, Some(Trouble::new("gone".to_owned())));
        troubles.keep(&fleet);
        assert!(troubles.nodes.is_empty() && troubles.shown(&fleet).is_empty());
    }
}
