//! The peers change while the replica runs: nodes are added, removed for good, or move to another region.
//!
//! # The problem
//! Everything that waits for peers, asks them or counts them was begun with other peers: the confirmation of the log
//! at a start, the filling of an empty store, completeness, the votes on the clock, the vector.
//!
//! # The rules
//! 1. A node that is added counts from now on: its region is not complete before it has claimed so, and while the
//!    replica still confirms its log, the node is asked as well. It may hold entries that a disk has lost since.
//! 2. A node that is removed is gone for good, so nothing waits for it any more. Its entries stay until they expire;
//!    then its logs are retired (`origins.rs`), because their node is no longer configured.
//! 3. While the replica confirms its log, the word of a removed node will never come. The log then goes on under a new
//!    id, which is always safe.

use std::collections::BTreeMap;

use super::{Event, Replica, StartPhase};
use crate::ids::{LinkId, NodeName, RegionId};
use crate::storage::{Storage, StorageError};
use crate::time::Now;

impl<S: Storage> Replica<S> {
    /// From now on these nodes are the peers, each with its region. Links to all others are closed.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails.
    pub fn set_peers(&mut self, now: Now, mut peers: BTreeMap<NodeName, RegionId>) -> Result<(), StorageError> {
        self.observe(now);
        peers.remove(&self.config.node);
        if peers == self.config.peers {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.config.peers, peers);
        // A node that changed its region goes and comes again, because its claims and its vote are those of a region.
        let gone: Vec<NodeName> = before
            .iter()
            .filter(|(node, region)| self.config.peers.get(*node) != Some(region))
            .map(|(n, _)| n.clone())
            .collect();
        let come: Vec<(NodeName, RegionId)> = self
            .config
            .peers
            .iter()
            .filter(|(node, region)| before.get(*node) != Some(region))
            .map(|(node, region)| (node.clone(), region.clone()))
            .collect();
        for (node, region) in before.iter().filter(|(node, _)| gone.contains(node)) {
            self.config.former.insert(node.clone(), region.clone());
            self.forget_peer(node);
        }
        for (node, region) in &come {
            self.completeness.expect(node, region);
        }
        self.clock.set_alone(self.config.peers.is_empty());
        if self.config.peers.is_empty() {
            // No peer is left that could have more than this store.
            self.awaited.end_filling();
        }
        self.pending.meta = true;
        // A removed node's logs may be over already.
        self.retire_at = now.mono;
        let StartPhase::Confirming { waiting, .. } = &mut self.phase else { return Ok(()) };
        let lost_a_witness = gone.iter().filter(|node| waiting.remove(*node)).count() > 0;
        waiting.extend(come.into_iter().map(|(node, _)| node));
        if lost_a_witness {
            self.mint_new_replica_id(now)?;
        }
        Ok(())
    }

    fn forget_peer(&mut self, node: &NodeName) {
        let links: Vec<LinkId> = self.links.iter().filter(|(_, link)| link.peer() == node).map(|(id, _)| *id).collect();
        for link in links {
            self.drop_link(link);
            self.events.push_back(Event::CloseLink { link, silent: false });
        }
        self.clock.lose(node);
        self.completeness.forget(node);
        self.awaited.forget_peer(node);
        self.last_ids.remove(node);
        self.boots.remove(node);
        self.greeted_in.remove(node);
        debug_assert!(!self.is_linked(node), "a link to a removed peer is left");
    }
}
