//! A node for Maelstrom, the workbench for distributed systems: the shipped replica behind its protocol.
//!
//! Maelstrom starts one process for each node and talks JSON lines with it on stdin and stdout. [`Maelstrom`] is that
//! process without the process: lines and the time go in, lines come out. The workloads `broadcast`, `g-set`,
//! `g-counter` and `pn-counter` are served; everything written becomes a document that lasts, and replicas send their
//! frames to each other in messages of the type `frame`.
//!
//! `meridian simulate maelstrom` (`src/simulate/maelstrom.rs`) runs it as a process, and `tests/maelstrom.rs` without one.
//! Nothing else in this crate uses it.
//!
//! # Invariants
//! - No input makes it panic or end. Input that it cannot read is reported ([`Maelstrom::poll_log`]) and ignored.
//! - A write is acknowledged only when it is durable.
//! - The answer to a read depends on the workload, which no message names. The node learns it from the first write or
//!   topology, or from the first document that arrives. A read before that waits for a while and is then refused.

mod message;
mod values;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use data_encoding::BASE64;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use replication::memory::MemoryStorage;
use replication::{
    Action, Change, DocumentKey, Event, LinkError, LinkId, Monotonic, NodeName, Now, Reader, RegionId, Replica,
    ReplicaConfig, ReplicaId, Ticket, Transmit, Turn, Wall, Write, WriteError,
};
use serde_json::{Map, Value, json};

use message::{Asker, Code, Request};
use values::{View, Workload};

/// Longest wait of a read whose workload is not known yet; Maelstrom gives up after five seconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a node waits for a topology before it links with every other node.
const TOPOLOGY_WAIT: Duration = Duration::from_secs(1);
/// After this silence (three heartbeats) a link is opened anew, as a connection that a partition has broken would be.
/// Lost frames are then sent again at once, and not only when the sender's growing patience is over.
const BROKEN_AFTER: Duration = Duration::from_millis(1_500);
/// Most writes that wait for the replica to start, and most reads that wait for their workload.
const QUEUE: usize = 1_024;

/// One node. Call a `handle_*` when something happened, then drain [`Maelstrom::poll_line`] and
/// [`Maelstrom::poll_log`].
pub struct Maelstrom {
    seed: u64,
    node: Option<MaelstromNode>,
    lines: VecDeque<String>,
    logs: VecDeque<String>,
}

struct MaelstromNode {
    id: String,
    replica: Replica<MemoryStorage>,
    storage: MemoryStorage,
    /// Every other node and the name under which the replica knows it.
    peers: BTreeMap<String, NodeName>,
    /// The nodes to link with; `None` until a topology or the first request came.
    neighbours: Option<BTreeSet<String>>,
    /// When to link with every other node, if no topology comes.
    mesh_at: Monotonic,
    links: BTreeMap<String, LinkId>,
    /// How often the link with each peer was opened, because replicas expect connections, which begin and end for both.
    /// Both ends count: every frame carries the number, the greater one wins, and a frame with a smaller one came over
    /// a link that is gone.
    numbers: BTreeMap<String, u64>,
    /// When each neighbour was last heard.
    heard: BTreeMap<String, Monotonic>,
    next_link: u64,
    /// Writes on their way to the disk: the asker, and the type of the answer.
    writing: BTreeMap<Ticket, (Asker, &'static str)>,
    /// Writes that came while the replica was starting.
    waiting: VecDeque<(DocumentKey, Change, Asker, &'static str)>,
    workload: Option<Workload>,
    view: View,
    /// Reads that wait until the workload is known, and until when.
    reads: VecDeque<(Monotonic, Asker)>,
    /// Number of additions whose requests had no number to make them unique.
    unnumbered: u64,
    /// The storage failed, so the node no longer knows what is durable.
    broken: bool,
}

impl Maelstrom {
    /// A node before its `init`. Replica ids are drawn from the seed, which must differ from process to process (the
    /// node's name is mixed in).
    #[must_use]
    pub fn new(seed: u64) -> Maelstrom {
        Maelstrom { seed, node: None, lines: VecDeque::new(), logs: VecDeque::new() }
    }

    /// A line arrived.
    pub fn handle_line(&mut self, now: Now, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        let request = match Request::read(line) {
            Ok(request) => request,
            Err(why) => {
                self.logs.push_back(format!("ignored a line: {why}"));
                return;
            }
        };
        let Some(node) = &mut self.node else {
            self.first(now, &request);
            return;
        };
        let mut out = Out { lines: &mut self.lines, logs: &mut self.logs };
        node.request(now, &request, &mut out);
        node.drain(now, &mut out);
    }

    /// Does everything that is due now. To be called when [`Maelstrom::poll_timeout`] says so.
    pub fn handle_timeout(&mut self, now: Now) {
        let Some(node) = &mut self.node else { return };
        let mut out = Out { lines: &mut self.lines, logs: &mut self.logs };
        node.timeout(now, &mut out);
        node.drain(now, &mut out);
    }

    /// When [`Maelstrom::handle_timeout`] wants to be called; `None` before `init`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        let node = self.node.as_ref().filter(|node| !node.broken)?;
        let read = node.reads.front().map(|(until, _)| *until);
        let mesh = node.neighbours.is_none().then_some(node.mesh_at);
        [Some(node.replica.poll_timeout()), read, mesh].into_iter().flatten().min()
    }

    /// The next line to be written to stdout.
    #[must_use]
    pub fn poll_line(&mut self) -> Option<String> {
        self.lines.pop_front()
    }

    /// The next line for the log.
    #[must_use]
    pub fn poll_log(&mut self) -> Option<String> {
        self.logs.pop_front()
    }

    /// The first message must be `init`.
    fn first(&mut self, now: Now, request: &Request) {
        let mut refuse = |code, text: &str| {
            let dest = request.body.get("node_id").and_then(Value::as_str).unwrap_or_default();
            self.lines.extend(request.asker().refuse(dest, code, text));
        };
        if request.kind != "init" {
            refuse(Code::TemporarilyUnavailable, "this node was not initialised");
            return;
        }
        let id = request.body.get("node_id").and_then(Value::as_str);
        let ids = request.body.get("node_ids").and_then(Value::as_array);
        let (Some(id), Some(ids)) = (id, ids) else {
            refuse(Code::MalformedRequest, "init names node_id and node_ids");
            return;
        };
        let peers = ids.iter().filter_map(Value::as_str).filter(|peer| *peer != id);
        match MaelstromNode::open(now, self.seed, id, peers) {
            Ok(node) => {
                self.lines.extend(request.asker().answer(id, "init_ok", &[]));
                self.node = Some(node);
            }
            Err(why) => refuse(Code::Crash, &why),
        }
    }
}

/// Where answers and reports go.
struct Out<'a> {
    lines: &'a mut VecDeque<String>,
    logs: &'a mut VecDeque<String>,
}

/// The replica's name for a node: the node's own if it can be one, else a hash of it.
fn name_of(id: &str) -> Option<NodeName> {
    id.parse().or_else(|_| format!("node-{:016x}", values::short_hash(id)).parse()).ok()
}

impl MaelstromNode {
    fn open<'a>(now: Now, seed: u64, id: &str, peers: impl Iterator<Item = &'a str>) -> Result<MaelstromNode, String> {
        let region = |name: &NodeName| name.as_str().parse::<RegionId>().map_err(|e| e.to_string());
        let name = name_of(id).ok_or("no name for this node")?;
        let peers: BTreeMap<String, NodeName> = peers.filter_map(|p| Some((p.to_owned(), name_of(p)?))).collect();
        let mut regions = BTreeMap::new();
        for peer in peers.values() {
            regions.insert(peer.clone(), region(peer)?);
        }
        let config = ReplicaConfig::new(name.clone(), region(&name)?, regions);
        let mut random = StdRng::seed_from_u64(seed ^ values::short_hash(id));
        let mint = Box::new(move || ReplicaId(random.random()));
        let storage = MemoryStorage::default();
        let replica = Replica::open(config, storage.clone(), mint, now).map_err(|e| e.to_string())?;
        Ok(MaelstromNode {
            id: id.to_owned(),
            replica,
            storage,
            peers,
            neighbours: None,
            mesh_at: now.mono.plus(TOPOLOGY_WAIT),
            links: BTreeMap::new(),
            numbers: BTreeMap::new(),
            heard: BTreeMap::new(),
            next_link: 1,
            writing: BTreeMap::new(),
            waiting: VecDeque::new(),
            workload: None,
            view: View::default(),
            reads: VecDeque::new(),
            unnumbered: 0,
            broken: false,
        })
    }

    fn request(&mut self, now: Now, request: &Request, out: &mut Out<'_>) {
        let asker = request.asker();
        if self.broken {
            out.lines.extend(asker.refuse(&self.id, Code::Crash, "the storage failed"));
            return;
        }
        match request.kind.as_str() {
            "frame" => self.frame(now, request, out),
            "topology" => self.topology(now, request, out),
            "read" => self.read(now, asker, out),
            "init" if request.body.get("node_id").and_then(Value::as_str) == Some(&self.id) => {
                out.lines.extend(asker.answer(&self.id, "init_ok", &[]));
            }
            "init" => out.lines.extend(asker.refuse(&self.id, Code::MalformedRequest, "this node has another id")),
            "broadcast" => match request.body.get("message") {
                Some(message) => {
                    let (key, change) = values::element(Workload::Broadcast, message);
                    self.take(now, Workload::Broadcast, (key, change, asker, "broadcast_ok"), out);
                }
                None => out.lines.extend(asker.refuse(&self.id, Code::MalformedRequest, "broadcast names a message")),
            },
            "add" => self.add(now, request, out),
            "" => out.lines.extend(asker.refuse(&self.id, Code::MalformedRequest, "a body has a type")),
            other => {
                // Answers and errors of other nodes ask for nothing.
                if !request.body.contains_key("in_reply_to") {
                    let text = format!("{other} is not supported");
                    out.lines.extend(asker.refuse(&self.id, Code::NotSupported, &text));
                }
            }
        }
    }

    fn add(&mut self, now: Now, request: &Request, out: &mut Out<'_>) {
        let asker = request.asker();
        if let Some(element) = request.body.get("element") {
            let (key, change) = values::element(Workload::Set, element);
            self.take(now, Workload::Set, (key, change, asker, "add_ok"), out);
        } else if let Some(delta) = request.body.get("delta").and_then(Value::as_i64) {
            self.unnumbered += u64::from(request.msg_id.is_none());
            let unique = (self.id.as_str(), request.src.as_str(), request.msg_id, self.unnumbered);
            let unique = (unique.0, unique.1, unique.2, if unique.2.is_none() { unique.3 } else { 0 });
            let (key, change) = values::delta(unique, delta);
            self.take(now, Workload::Counter, (key, change, asker, "add_ok"), out);
        } else {
            let text = "add names an element or a whole delta";
            out.lines.extend(asker.refuse(&self.id, Code::MalformedRequest, text));
        }
    }

    fn take(
        &mut self,
        now: Now,
        workload: Workload,
        write: (DocumentKey, Change, Asker, &'static str),
        out: &mut Out<'_>,
    ) {
        self.workload = Some(workload);
        self.link(now, None, out);
        let asker = write.2.clone();
        let overflow = self.waiting.len() >= QUEUE;
        if overflow {
            out.lines.extend(asker.refuse(&self.id, Code::TemporarilyUnavailable, "too many writes are waiting"));
        } else {
            self.waiting.push_back(write);
        }
    }

    /// Hands waiting writes to the replica, in order.
    fn write(&mut self, now: Now, out: &mut Out<'_>) {
        while let Some((key, change, asker, kind)) = self.waiting.pop_front() {
            let code = match self.replica.handle_write(now, Write::Change { key, change: change.clone() }) {
                Ok(ticket) => {
                    self.writing.insert(ticket, (asker, kind));
                    continue;
                }
                Err(WriteError::Starting) => {
                    self.waiting.push_front((key, change, asker, kind));
                    return;
                }
                Err(WriteError::ClockInDoubt) => Code::TemporarilyUnavailable,
                Err(WriteError::Storage(why)) => {
                    self.breaks(&why.to_string(), out);
                    Code::Crash
                }
                Err(_) => Code::Abort,
            };
            out.lines.extend(asker.refuse(&self.id, code, "the replica does not take this write now"));
        }
    }

    fn read(&mut self, now: Now, asker: Asker, out: &mut Out<'_>) {
        if self.reads.len() >= QUEUE {
            out.lines.extend(asker.refuse(&self.id, Code::TemporarilyUnavailable, "too many reads are waiting"));
        } else {
            self.reads.push_back((now.mono.plus(PATIENCE), asker));
        }
    }

    fn answer_reads(&mut self, now: Now, out: &mut Out<'_>) {
        if let Some(workload) = self.workload {
            let (field, value) = self.view.read(workload);
            for (_, asker) in std::mem::take(&mut self.reads) {
                out.lines.extend(asker.answer(&self.id, "read_ok", &[(field, value.clone())]));
            }
        }
        while let Some((_, asker)) = self.reads.pop_front_if(|(until, _)| *until <= now.mono) {
            let text = "nothing was written yet, so the workload is not known";
            out.lines.extend(asker.refuse(&self.id, Code::TemporarilyUnavailable, text));
        }
    }

    fn topology(&mut self, now: Now, request: &Request, out: &mut Out<'_>) {
        let asker = request.asker();
        let Some(topology) = request.body.get("topology").and_then(Value::as_object) else {
            out.lines.extend(asker.refuse(&self.id, Code::MalformedRequest, "topology maps nodes to lists of nodes"));
            return;
        };
        // A link has two ends, and either may name the other.
        let names = |of: &str, whom: &str| {
            topology.get(of).and_then(Value::as_array).is_some_and(|list| list.iter().any(|n| n.as_str() == Some(whom)))
        };
        let neighbours = self.peers.keys().filter(|peer| names(&self.id, peer) || names(peer, &self.id)).cloned();
        let neighbours: BTreeSet<String> = neighbours.collect();
        self.workload = self.workload.or(Some(Workload::Broadcast));
        for (peer, link) in std::mem::take(&mut self.links) {
            if neighbours.contains(&peer) {
                self.links.insert(peer, link);
            } else {
                self.replica.handle_link_down(now, link);
            }
        }
        self.link(now, Some(neighbours), out);
        out.lines.extend(asker.answer(&self.id, "topology_ok", &[]));
    }

    /// Opens the links that are missing. Without a topology every other node is a neighbour.
    fn link(&mut self, now: Now, topology: Option<BTreeSet<String>>, out: &mut Out<'_>) {
        if topology.is_some() {
            self.neighbours = topology;
        }
        let neighbours = self.neighbours.get_or_insert_with(|| self.peers.keys().cloned().collect());
        for peer in neighbours.iter() {
            let Some(name) = self.peers.get(peer).filter(|_| !self.links.contains_key(peer)) else { continue };
            let link = LinkId(self.next_link);
            self.next_link += 1;
            match self.replica.handle_link_up(now, link, name.clone()) {
                Ok(()) => {
                    self.links.insert(peer.clone(), link);
                }
                Err(why) => out.logs.push_back(format!("no link to {peer}: {why}")),
            }
        }
    }

    fn frame(&mut self, now: Now, request: &Request, out: &mut Out<'_>) {
        // Peers write before this node has been asked anything.
        if self.neighbours.is_none() {
            self.link(now, None, out);
        }
        let peer = &request.src;
        if !self.links.contains_key(peer) {
            out.logs.push_back(format!("ignored a frame from {peer}: no link to it is open"));
            return;
        }
        let theirs = request.body.get("link").and_then(Value::as_u64).unwrap_or_default();
        let ours = self.numbers.get(peer).copied().unwrap_or_default();
        let last = self.heard.insert(peer.clone(), now.mono).unwrap_or(now.mono);
        if theirs > ours {
            self.close(now, peer, theirs);
            self.link(now, None, out);
        } else if now.mono.since(last) >= BROKEN_AFTER {
            self.close(now, peer, ours.saturating_add(1));
            self.link(now, None, out);
            return;
        } else if theirs < ours {
            return;
        }
        let Some(link) = self.links.get(peer).copied() else { return };
        let bytes = request.body.get("bytes").and_then(Value::as_str).map(|text| BASE64.decode(text.as_bytes()));
        let Some(Ok(bytes)) = bytes else {
            out.logs.push_back(format!("ignored a frame from {peer}: not valid base64"));
            return;
        };
        match self.replica.handle_frame(now, link, &bytes) {
            Ok(()) => {}
            Err(LinkError::Storage(why)) => self.breaks(&why.to_string(), out),
            Err(why) => {
                out.logs.push_back(format!("link to {peer} closed: {why}"));
                // Opened again at the next heartbeat.
                self.close(now, peer, theirs.max(ours).saturating_add(1));
            }
        }
    }

    /// Ends a link; the next one has the given number.
    fn close(&mut self, now: Now, peer: &str, next: u64) {
        if let Some(link) = self.links.remove(peer) {
            self.replica.handle_link_down(now, link);
        }
        self.numbers.insert(peer.to_owned(), next);
    }

    fn timeout(&mut self, now: Now, out: &mut Out<'_>) {
        if self.broken {
            return;
        }
        if self.neighbours.is_some() || now.mono >= self.mesh_at {
            self.link(now, None, out);
        }
    }

    fn breaks(&mut self, why: &str, out: &mut Out<'_>) {
        out.logs.push_back(format!("storage failed: {why}"));
        self.broken = true;
    }

    /// Runs the replica's timers, makes everything gathered durable and hands out the answers and frames that follow.
    fn drain(&mut self, now: Now, out: &mut Out<'_>) {
        if !self.broken
            && let Err(why) = self.advance(now, out)
        {
            self.breaks(&why.to_string(), out);
        }
        self.answer_reads(now, out);
    }

    fn advance(&mut self, now: Now, out: &mut Out<'_>) -> Result<(), replication::StorageError> {
        let mut turn = Turn::new(now);
        while let Some(action) = self.replica.drive(&mut turn)? {
            match action {
                Action::Timers { .. } => self.write(now, out),
                Action::Batch(_) => self.replica.settle_batches(now)?,
                Action::Send(transmit) => self.send(&transmit, out),
                Action::Report(event) => self.event(now, event, out)?,
            }
        }
        Ok(())
    }

    fn send(&self, transmit: &Transmit, out: &mut Out<'_>) {
        let peer = self.links.iter().find(|(_, link)| **link == transmit.link).map(|(peer, _)| peer);
        if let Some(peer) = peer {
            let mut body = Map::new();
            body.insert("type".to_owned(), json!("frame"));
            body.insert("link".to_owned(), json!(self.numbers.get(peer).copied().unwrap_or_default()));
            body.insert("bytes".to_owned(), json!(BASE64.encode(&transmit.frame)));
            out.lines.push_back(message::line(&self.id, peer, body));
        }
    }

    fn event(&mut self, now: Now, event: Event, out: &mut Out<'_>) -> Result<(), replication::StorageError> {
        match event {
            Event::Written { ticket, .. } => {
                if let Some((asker, kind)) = self.writing.remove(&ticket) {
                    out.lines.extend(asker.answer(&self.id, kind, &[]));
                }
            }
            Event::Changed(name) => {
                let reader = Reader::new(self.storage.clone(), Duration::ZERO);
                if let Some(row) = reader.row(&name.expiring(Wall::NEVER), replication::View::applied(now.wall))? {
                    let learned = self.view.learn(&name, &row);
                    self.workload = self.workload.or(learned);
                }
            }
            Event::CloseLink { link, .. } => {
                // Opened again at the next heartbeat: the peer may be behind a partition.
                if let Some(peer) = self.links.iter().find(|(_, open)| **open == link).map(|(peer, _)| peer.clone()) {
                    let number = self.numbers.get(&peer).copied().unwrap_or_default();
                    self.close(now, &peer, number.saturating_add(1));
                }
            }
            other => out.logs.push_back(format!("{other:?}")),
        }
        Ok(())
    }
}
