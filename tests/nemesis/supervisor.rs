//! Carries the plan out, and starts nodes again that have ended, as an operator's supervisor would.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::cluster::Node;
use crate::forwarder::{Forwarder, Line};
use crate::http::Ask;
use crate::plan::{Fault, Planned};

/// How often the supervisor looks whether a node has ended.
const LOOK: Duration = Duration::from_millis(100);
/// How long a node has to take a fault.
const ORDER: Duration = Duration::from_secs(1);
/// How long after a full disk a node may still end because of it.
const AFTER: Duration = Duration::from_secs(5);

/// All nodes, and what was done to them.
pub(crate) struct Supervisor {
    pub nodes: Vec<Node>,
    pub forwarder: Forwarder,
    /// How often each kind of fault had its effect.
    pub made: BTreeMap<&'static str, u32>,
    /// How often nodes ended by themselves because of a disk that was full.
    pub ended: u32,
    /// Nodes that ended by themselves without such a fault.
    pub wrongly_ended: Vec<&'static str>,
    active: Vec<Planned>,
    /// Until when a node may end by itself. No disk hangs for so long that the watchdog ends its node.
    may_end: BTreeMap<usize, Instant>,
}

impl Supervisor {
    pub(crate) fn new(nodes: Vec<Node>, forwarder: Forwarder) -> Supervisor {
        Supervisor {
            nodes,
            forwarder,
            made: BTreeMap::new(),
            ended: 0,
            wrongly_ended: Vec::new(),
            active: Vec::new(),
            may_end: BTreeMap::new(),
        }
    }

    /// Carries the plan out until its last fault has ended, then heals everything.
    pub(crate) async fn carry_out(&mut self, plan: &[Planned], lasts: Duration) {
        let begun = Instant::now();
        let mut waiting = plan.iter().copied().peekable();
        loop {
            let now = u64::try_from(begun.elapsed().as_millis()).unwrap();
            let ended: Vec<Planned> = self.active.extract_if(.., |one| one.end <= now).collect();
            for one in ended {
                self.end(one.fault);
            }
            while let Some(one) = waiting.next_if(|one| one.begin <= now) {
                self.begin(one).await;
            }
            self.look();
            if begun.elapsed() >= lasts {
                break;
            }
            let ends = self.active.iter().map(|one| one.end);
            let next = waiting.peek().map(|one| one.begin).into_iter().chain(ends).min();
            let next = next.map_or(LOOK, |next| Duration::from_millis(next.saturating_sub(now)).min(LOOK));
            sleep_until(Instant::now() + next.max(Duration::from_millis(1))).await;
        }
        for one in std::mem::take(&mut self.active) {
            self.end(one.fault);
        }
        self.lines();
    }

    async fn begin(&mut self, one: Planned) {
        let lasts = Duration::from_millis(one.end - one.begin);
        let has_effect = match one.fault {
            Fault::Kill { node } => self.nodes[node].kill(),
            Fault::KillAll => self.nodes.iter_mut().map(Node::kill).fold(false, |any, ran| any | ran),
            Fault::Freeze { node } => self.nodes[node].signal(Signal::SIGSTOP),
            Fault::Break { from, to } => {
                self.forwarder.break_pair(from, to);
                true
            }
            Fault::Cut { .. } | Fault::Isolate { .. } | Fault::Delay { .. } | Fault::Rate { .. } => true,
            Fault::SlowDisk { node, by_ms } => {
                order(self.nodes[node].admin, json!({"kind": "slow-disk", "by": format!("{by_ms}ms")}), lasts).await
            }
            Fault::HungDisk { node } => order(self.nodes[node].admin, json!({"kind": "hung-disk"}), lasts).await,
            Fault::FullDisk { node } => {
                self.may_end.insert(node, Instant::now() + ORDER + lasts + AFTER);
                order(self.nodes[node].admin, json!({"kind": "full-disk"}), lasts).await
            }
            Fault::Clock { node, by_ms } => {
                order(self.nodes[node].admin, json!({"kind": "clock-step", "by-ms": by_ms}), lasts).await
            }
        };
        if has_effect {
            *self.made.entry(one.fault.kind()).or_default() += 1;
        }
        self.active.push(one);
        self.lines();
    }

    fn end(&mut self, fault: Fault) {
        match fault {
            Fault::Kill { node } => self.nodes[node].start(),
            Fault::KillAll => self.nodes.iter_mut().for_each(Node::start),
            Fault::Freeze { node } => {
                self.nodes[node].signal(Signal::SIGCONT);
            }
            // The node ends these by itself.
            Fault::SlowDisk { .. } | Fault::HungDisk { .. } | Fault::FullDisk { .. } | Fault::Clock { .. } => {}
            Fault::Cut { .. }
            | Fault::Isolate { .. }
            | Fault::Delay { .. }
            | Fault::Rate { .. }
            | Fault::Break { .. } => {
                self.lines();
            }
        }
    }

    /// Starts nodes again that have ended.
    fn look(&mut self) {
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if !node.has_ended() {
                continue;
            }
            if self.may_end.remove(&index).is_some_and(|until| Instant::now() < until) {
                self.ended += 1;
            } else {
                self.wrongly_ended.push(node.region);
            }
            node.start();
        }
    }

    /// Sets every line as the active faults want it together.
    fn lines(&self) {
        for from in 0..self.nodes.len() {
            for to in (0..self.nodes.len()).filter(|to| *to != from) {
                let mut line = Line::default();
                for one in &self.active {
                    match one.fault {
                        Fault::Cut { from: f, to: t } if (f, t) == (from, to) => line.is_cut = true,
                        Fault::Isolate { node } if node == from || node == to => line.is_cut = true,
                        Fault::Delay { from: f, to: t, by_ms } if (f, t) == (from, to) => {
                            line.delay += Duration::from_millis(by_ms);
                        }
                        Fault::Rate { from: f, to: t, bytes } if (f, t) == (from, to) => {
                            line.rate = Some(line.rate.map_or(bytes, |rate| rate.min(bytes)));
                        }
                        _ => {}
                    }
                }
                self.forwarder.set(from, to, line);
            }
        }
    }
}

/// Orders a fault of a node. A node that is down or frozen does not take it.
async fn order(admin: SocketAddr, act: Value, lasts: Duration) -> bool {
    let fault = json!({"act": act, "for": format!("{}ms", lasts.as_millis().max(100)), "by": "nemesis"});
    let ask = Ask::new("POST", "/v1/admin/faults").body("application/json", fault);
    ask.send(admin, ORDER).await.is_ok_and(|answer| answer.status == 201)
}
