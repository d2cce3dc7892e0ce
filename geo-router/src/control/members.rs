//! The nodes that operators added, moved or removed while the deployment runs, as live nodes show them.
//!
//! # Invariants
//! - Of each node the newest change counts, whichever node showed it. So a node that lags undoes nothing.
//! - The number of changes that are kept is bounded, because a node could show ever new names.

use std::collections::BTreeMap;

use api::NodeName;
use api::members::Member;
use serde::{Deserialize, Serialize};

/// Most nodes whose changes are kept.
const MOST: usize = 1_024;

/// The newest change of each node's membership.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Members(BTreeMap<NodeName, Member>);

impl Members {
    /// Takes a change that a node showed. Returns whether it is news.
    pub fn take(&mut self, member: Member) -> bool {
        let is_news = match self.0.get(&member.name) {
            Some(known) => member.replaces(known),
            None => self.0.len() < MOST,
        };
        if is_news {
            // Only nodes show the author and the reason, and no client is sent to a replication listener.
            let kept = Member { replication: None, introduced: false, by: None, reason: None, ..member };
            self.0.insert(kept.name.clone(), kept);
        }
        is_news
    }

    /// The newest change of a node.
    #[must_use]
    pub fn of(&self, node: &NodeName) -> Option<&Member> {
        self.0.get(node)
    }

    /// All changes, by the nodes' names.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.0.values()
    }

    /// Whether as many changes are kept as can be, so that those of other nodes are ignored.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }
}

#[cfg(test)]
mod tests {
    use api::members::{Member, Membership};

    use super::{MOST, Members};

    fn member(name: &str, membership: Membership, since: &str) -> Member {
        Member {
            name: name.parse().unwrap(),
            region: "eu".parse().unwrap(),
            membership,
            since: since.parse().unwrap(),
            position: None,
            public: None,
            public_tls: None,
            server_name: None,
            replication: Some("10.0.0.1:7081".to_owned()),
            introduced: false,
            by: Some("ana".to_owned()),
            reason: Some("a secret".to_owned()),
        }
    }

    #[test]
    fn the_newest_change_counts_whatever_a_lagging_node_says() {
        let mut members = Members::default();
        let added = member("eu-2", Membership::Member, "2026-05-01T10:00:00Z");
        let removed = member("eu-2", Membership::Removed, "2026-05-01T11:00:00Z");
        assert!(members.take(added.clone()) && !members.take(added.clone()));
        assert!(members.take(removed) && !members.take(added));
        assert_eq!(members.of(&"eu-2".parse().unwrap()).unwrap().membership, Membership::Removed);
        // At the same moment the change that leaves fewer nodes counts, in every router.
        assert!(!members.take(member("eu-2", Membership::Member, "2026-05-01T11:00:00Z")));
        let kept = serde_json::to_string(&members).unwrap();
        assert!(!kept.contains("secret") && !kept.contains("ana"), "{kept}");
        assert_eq!(serde_json::from_str::<Members>(&kept).unwrap(), members);
    }

    #[test]
    fn ever_new_names_are_not_kept_for_ever() {
        let mut members = Members::default();
        for number in 0..2 * MOST {
            members.take(member(&format!("n{number}"), Membership::Member, "2026-05-01T10:00:00Z"));
        }
        assert!(members.is_full() && members.iter().count() == MOST);
        assert!(members.take(member("n0", Membership::Removed, "2026-05-02T10:00:00Z")), "a known one still changes");
    }
}
