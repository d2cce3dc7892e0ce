//! What a control plane hands to that of its router's successor, and how the successor becomes ready.
//!
//! The successor goes on from the predecessor's knowledge and its clock ([`ControlMemory`]), so its first view is the
//! predecessor's last one. It then has to prove that it can see for itself, before it takes clients: every node was probed
//! once, and the routers that the predecessor heard were heard ([`FirstLook`]).

use crate::endpoint::Endpoint;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::NodeName;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::Control;
use super::demand::DemandMemory;
use super::members::Members;
use crate::fleet::Fleet;
use crate::health::HealthMemory;

/// Everything that a control plane knows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ControlMemory {
    /// The time since the start of the router, which the times below count from.
    now: Duration,
    health: HealthMemory,
    members: Members,
    demand: DemandMemory,
}

/// Asks a running control plane.
#[derive(Clone, Debug)]
pub(crate) struct ControlHandle {
    asked: mpsc::Sender<oneshot::Sender<ControlMemory>>,
    keeps: Arc<Mutex<bool>>,
}

impl ControlHandle {
    pub(super) fn new() -> (ControlHandle, mpsc::Receiver<oneshot::Sender<ControlMemory>>) {
        let (asked, asks) = mpsc::channel(1);
        (ControlHandle { asked, keeps: Arc::new(Mutex::new(true)) }, asks)
    }

    /// All that it knows now; nothing once it has ended.
    pub(crate) async fn memory(&self) -> Option<ControlMemory> {
        let (answer, answered) = oneshot::channel();
        self.asked.send(answer).await.ok()?;
        answered.await.ok()
    }

    /// Whether it writes the kept state. Two routers must not write the same file, so a predecessor stops before its
    /// successor begins. Returns once the last write has ended.
    pub(crate) async fn keeps_state(&self, keeps: bool) {
        *self.keeps.lock().await = keeps;
    }

    pub(super) fn keeps(&self) -> &Mutex<bool> {
        &self.keeps
    }
}

/// What a successor has still to see for itself.
#[derive(Debug)]
pub(super) struct FirstLook {
    unprobed: Vec<(NodeName, Endpoint)>,
    unheard: BTreeSet<String>,
    needs_a_good_probe: bool,
    progress: watch::Sender<LookProgress>,
}

/// How far a successor is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LookProgress {
    /// Every node was probed.
    pub(crate) has_probed: bool,
    /// A node has answered well, or none did when the predecessor looked.
    pub(crate) sees: bool,
    /// The routers that the predecessor heard and this one does not.
    pub(crate) unheard: Vec<String>,
}

impl LookProgress {
    pub(crate) fn is_complete(&self) -> bool {
        self.has_probed && self.unheard.is_empty()
    }
}

impl Default for FirstLook {
    /// There is nothing to be seen.
    fn default() -> FirstLook {
        let progress = watch::Sender::new(LookProgress { has_probed: true, sees: true, unheard: Vec::new() });
        FirstLook { unprobed: Vec::new(), unheard: BTreeSet::new(), needs_a_good_probe: false, progress }
    }
}

impl FirstLook {
    fn of(fleet: &Fleet, unheard: BTreeSet<String>, needs_a_good_probe: bool) -> FirstLook {
        let node = |id| (fleet.node(id).name.clone(), fleet.node(id).at.clone());
        let look = FirstLook {
            unprobed: fleet.nodes().map(node).collect(),
            unheard,
            needs_a_good_probe,
            progress: watch::Sender::default(),
        };
        look.tell();
        look
    }

    pub(super) fn probed(&mut self, name: &NodeName, at: &Endpoint, good: bool) {
        if self.unprobed.is_empty() && !self.needs_a_good_probe {
            return;
        }
        self.unprobed.retain(|(other, endpoint)| !(other == name && endpoint.continues(at)));
        self.needs_a_good_probe &= !good;
        self.tell();
    }

    pub(super) fn heard(&mut self, router: &str) {
        if self.unheard.remove(router) {
            self.tell();
        }
    }

    fn tell(&self) {
        self.progress.send_replace(LookProgress {
            has_probed: self.unprobed.is_empty(),
            sees: !self.needs_a_good_probe,
            unheard: self.unheard.iter().cloned().collect(),
        });
    }
}

impl Control {
    /// A handle for the router.
    pub(crate) fn handle(&self) -> ControlHandle {
        self.handle.clone()
    }

    pub(super) fn memory(&self) -> ControlMemory {
        ControlMemory {
            now: self.start.elapsed(),
            health: self.health.memory(),
            members: self.members.clone(),
            demand: self.demand.memory(&self.tables.fleet, self.tables.places.classes()),
        }
    }

    /// Goes on from what the predecessor knew, or from the kept state. Returns how far this router has seen for itself.
    pub(crate) fn succeed(&mut self, memory: Option<ControlMemory>) -> watch::Receiver<LookProgress> {
        let (mut unheard, mut needs_a_good_probe) = (BTreeSet::new(), false);
        if let Some(ControlMemory { now, health, members, demand }) = memory {
            // Times of the predecessor stay what they are if the clock goes on from its start.
            if let Some(start) = Instant::now().checked_sub(now) {
                self.start = start;
            }
            let peers = &self.config.peers;
            let is_peer = |name: &&str| peers.iter().any(|peer| peer.name.as_str() == *name);
            unheard = health.heard().filter(is_peer).map(str::to_owned).collect();
            needs_a_good_probe = health.has_a_node_up();
            for member in members.iter() {
                self.todo.derive_fleet |= self.members.take(member.clone());
            }
            self.health.go_on_from(health);
            let places = self.tables.places.classes();
            self.demand.go_on_from(demand, self.start.elapsed(), &self.tables.fleet, places);
            self.refresh();
        }
        self.first_look = FirstLook::of(&self.tables.fleet, unheard, needs_a_good_probe);
        self.first_look.progress.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::{BTreeSet, FirstLook};
    use crate::fleet::{Fleet, Node, Region};

    #[test]
    fn a_successor_is_ready_once_it_has_seen_everything_for_itself() {
        let node = |name: &str, port: u16| Node {
            name: name.parse().unwrap(),
            at: std::net::SocketAddr::from(([127, 0, 0, 1], port)).into(),
            addresses: Vec::new(),
            weight: 1,
        };
        let region = Region {
            name: "eu".parse().unwrap(),
            position: api::Position { latitude: 0.0, longitude: 0.0 },
            weight: 1.0,
            capacity: None,
            nodes: vec![node("a", 1), node("b", 2)],
        };
        let fleet = Fleet { regions: vec![region] };
        let [(a, at_a), (b, at_b)] =
            [0, 1].map(|at| (&fleet.regions[0].nodes[at].name, &fleet.regions[0].nodes[at].at));
        let mut look = FirstLook::of(&fleet, BTreeSet::from(["router-2".to_owned()]), true);
        let progress = look.progress.subscribe();
        let is_ready = || (progress.borrow().is_complete(), progress.borrow().sees);
        look.probed(a, at_a, false);
        look.probed(a, at_a, false);
        assert_eq!(is_ready(), (false, false));
        look.heard("router-3");
        look.probed(b, at_b, false);
        assert_eq!(is_ready(), (false, false));
        look.heard("router-2");
        assert_eq!(is_ready(), (true, false), "it sees no node, although its predecessor does");
        look.probed(b, at_b, true);
        assert_eq!(is_ready(), (true, true));
        assert!(FirstLook::default().progress.borrow().is_complete());
    }
}
