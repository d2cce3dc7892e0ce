//! Keeps a dialler for each member that this node dials, as members come, move and go.

use std::collections::BTreeMap;

use api::NodeName;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::Links;
use super::dial::dial;
use crate::config::PeerConfig;
use crate::membership::FAREWELL;

/// The running diallers, each with the peer as it was when it began.
#[derive(Default)]
struct Diallers {
    running: BTreeMap<NodeName, (PeerConfig, AbortHandle)>,
    tasks: JoinSet<()>,
}

/// Dials the members with larger names until `stop` is true.
pub async fn dial_members(links: Links, mut stop: watch::Receiver<bool>) {
    let mut membership = links.membership.clone();
    let mut diallers = Diallers::default();
    let dial_stop = stop.clone();
    loop {
        let members = membership.now();
        let own = membership.configured().name();
        diallers.set(members.peers.values().filter(|peer| *own < peer.name), &links, &dial_stop);
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            () = membership.changed() => {}
        }
    }
    diallers.tasks.shutdown().await;
}

impl Diallers {
    /// Dials these peers. A peer at another address than before is dialled anew. A peer that was removed keeps its link
    /// for the farewell.
    fn set<'a>(&mut self, peers: impl Iterator<Item = &'a PeerConfig>, links: &Links, stop: &watch::Receiver<bool>) {
        // Diallers never end by themselves; those that were stopped are forgotten here.
        while self.tasks.try_join_next().is_some() {}
        let peers: BTreeMap<&NodeName, &PeerConfig> = peers.map(|peer| (&peer.name, peer)).collect();
        let gone =
            |name: &NodeName, dialled: &PeerConfig| peers.get(name).is_none_or(|peer| peer.address != dialled.address);
        let names: Vec<NodeName> = self
            .running
            .iter()
            .filter(|(name, (dialled, _))| gone(name, dialled))
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            let Some((_, task)) = self.running.remove(&name) else { continue };
            if peers.contains_key(&name) {
                task.abort();
            } else {
                self.tasks.spawn(async move {
                    tokio::time::sleep(FAREWELL).await;
                    task.abort();
                });
            }
        }
        for (name, peer) in peers {
            if !self.running.contains_key(name) {
                let task = self.tasks.spawn(dial(peer.clone(), links.clone(), stop.clone()));
                self.running.insert(name.clone(), (peer.clone(), task));
            }
        }
    }
}
