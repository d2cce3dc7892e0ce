//! Connections between machines: dialled with backoff, and lost with or without a notice to the other end.
//!
//! A connection needs both directions open while it is made. If a process dies, its kernel closes the connection, if
//! the path is open. Otherwise the other end notices by silence.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::RngExt as _;
use replication::LinkId;

use super::{CalendarEvent, Input, World};
use crate::index::NodeIndex;
use crate::seed::{Stream, stream};

const FIRST_BACKOFF: Duration = Duration::from_millis(50);
/// The longest wait between two attempts.
pub(super) const LAST_BACKOFF: Duration = Duration::from_secs(2);

/// Connections being made.
pub(super) struct Links {
    next: u64,
    dialling: BTreeSet<(NodeIndex, NodeIndex)>,
    backoff: BTreeMap<(NodeIndex, NodeIndex), Duration>,
    draws: Stream,
}

impl Links {
    pub(super) fn new(seed: u64) -> Links {
        Links { next: 1, dialling: BTreeSet::new(), backoff: BTreeMap::new(), draws: stream(seed, "links", 0) }
    }

    /// How long to wait before a pair is dialled. None if it is being dialled already.
    fn backoff(&mut self, pair: (NodeIndex, NodeIndex)) -> Option<Duration> {
        if !self.dialling.insert(pair) {
            return None;
        }
        let wait = self.backoff.get(&pair).copied().unwrap_or(FIRST_BACKOFF);
        self.backoff.insert(pair, (wait * 2).min(LAST_BACKOFF));
        Some(wait.mul_f64(0.5 + self.draws.random::<f64>() / 2.0))
    }

    fn new_id(&mut self) -> LinkId {
        let link = LinkId(self.next);
        self.next += 1;
        link
    }
}

impl World {
    /// A new process dials every neighbour, and every neighbour that waits for it will dial it.
    pub(super) fn dial_all(&mut self, node: NodeIndex) {
        for peer in self.nodes.indices() {
            if self.nodes.are_neighbours(node, peer) {
                self.links.backoff.remove(&pair(node, peer));
                self.dial_soon(node, peer);
            }
        }
    }

    fn dial_soon(&mut self, a: NodeIndex, b: NodeIndex) {
        let pair = pair(a, b);
        if let Some(wait) = self.links.backoff(pair) {
            self.calendar.schedule(self.calendar.now() + wait, CalendarEvent::Dial { pair });
        }
    }

    fn can_connect(&self, (a, b): (NodeIndex, NodeIndex)) -> bool {
        let ready = |node: NodeIndex| self.nodes[node].is_up();
        self.nodes.are_neighbours(a, b) && ready(a) && ready(b) && self.net.is_open_both(a, b)
    }

    pub(super) fn dial(&mut self, pair: (NodeIndex, NodeIndex)) {
        if self.nodes.are_linked(pair.0, pair.1) {
            self.links.dialling.remove(&pair);
            return;
        }
        if self.can_connect(pair) {
            // TCP and TLS take three crossings before the first frame.
            let (a, b) = pair;
            let crossings = self.net.latency(a, b) * 2 + self.net.latency(b, a);
            self.calendar.schedule(self.calendar.now() + crossings, CalendarEvent::Established { pair });
            return;
        }
        self.links.dialling.remove(&pair);
        let (a, b) = pair;
        let wanted =
            self.nodes.are_neighbours(a, b) && (self.nodes[a].process.is_some() || self.nodes[b].process.is_some());
        if wanted {
            self.dial_soon(a, b);
        }
    }

    pub(super) fn established(&mut self, pair: (NodeIndex, NodeIndex)) {
        self.links.dialling.remove(&pair);
        let (a, b) = pair;
        if !self.can_connect(pair) {
            self.dial_soon(a, b);
            return;
        }
        self.links.backoff.remove(&pair);
        let link = self.links.new_id();
        self.trace.note(self.calendar.now(), b'u', a.0, &[u8::try_from(b.0).unwrap_or(u8::MAX)]);
        for (end, peer) in [(a, b), (b, a)] {
            let now = self.now_of(end);
            let name = self.nodes[peer].name.clone();
            let Some(process) = &mut self.nodes[end].process else { continue };
            if process.replica.handle_link_up(now, link, name).is_ok() {
                process.links.insert(link, peer);
            }
        }
        // A process that was started with an older configuration may not know the other one. Then there is no link.
        self.turn(a);
        self.turn(b);
    }

    /// This end closes a connection.
    pub(super) fn close(&mut self, node: NodeIndex, link: LinkId) {
        let now = self.now_of(node);
        let Some(process) = &mut self.nodes[node].process else { return };
        let Some(peer) = process.links.remove(&link) else { return };
        process.replica.handle_link_down(now, link);
        self.say_closed(node, peer, link);
        self.redial(node, peer);
    }

    /// The other end has closed it.
    pub(super) fn lose_link(&mut self, node: NodeIndex, link: LinkId) {
        let now = self.now_of(node);
        let Some(process) = &mut self.nodes[node].process else { return };
        let Some(peer) = process.links.remove(&link) else { return };
        process.replica.handle_link_down(now, link);
        self.redial(node, peer);
    }

    fn redial(&mut self, node: NodeIndex, peer: NodeIndex) {
        let still =
            self.nodes[node].process.as_ref().is_some_and(|process| process.links.values().any(|other| *other == peer));
        if !still {
            self.dial_soon(node, peer);
        }
    }

    /// Tells the other end, if the way is open; otherwise that end notices by silence.
    pub(super) fn say_closed(&mut self, node: NodeIndex, peer: NodeIndex, link: LinkId) {
        for arrives in self.net.send(self.calendar.now(), node, peer, 40).into_iter().flatten() {
            self.calendar.schedule(arrives, CalendarEvent::Input { node: peer, input: Input::Closed { link } });
        }
    }
}

fn pair(a: NodeIndex, b: NodeIndex) -> (NodeIndex, NodeIndex) {
    (a.min(b), a.max(b))
}
