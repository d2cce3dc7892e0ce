//! The Maelstrom node under a harness of its own: five nodes, links that lose and delay, partitions, virtual time.
//!
//! The harness restates Maelstrom's: one client for each node with one call in flight and no latency, a queue for each
//! receiver, partitions that cut what is under way when the receiver polls, an end of ten quiet seconds and one last
//! read each. The checkers restate `set-full` and `pn-counter`; unlike the original, duplicates are errors here.
//!
//! # Invariant
//! The seed determines everything: no clock, no sleep, no order of a hash map.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use replication::{Monotonic, Now, Wall};
use serde_json::{Value, json};
use simulations::maelstrom::Maelstrom;

const NODES: usize = 5;
const T0: u64 = 1_800_000_000_000;
/// Milliseconds of requests, and of quiet after the nemesis has stopped.
const BUSY: u64 = 15_000;
const QUIET: u64 = 10_000;
const RPC_TIMEOUT: u64 = 5_000;
const SEEDS: u64 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Workload {
    Broadcast,
    Set,
    GrowOnlyCounter,
    Counter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Grid,
    Line,
}

#[derive(Clone, Debug, PartialEq)]
enum Sent {
    Add(i64),
    Read,
}

#[derive(Clone, Debug, PartialEq)]
enum Ended {
    Ok(Value),
    Fail,
    Info,
}

/// One operation; `invoked` and `completed` are places in one order of all events.
#[derive(Clone, Debug)]
struct Op {
    sent: Sent,
    invoked: usize,
    completed: usize,
    ended: Ended,
    last: bool,
}

/// The answer that a client waits for.
struct Call {
    msg_id: u64,
    op: usize,
    until: u64,
}

struct World {
    rng: StdRng,
    now: u64,
    nodes: Vec<Maelstrom>,
    /// For each receiver: messages by deadline, in order of sending.
    queues: Vec<BTreeMap<(u64, u64), (String, String)>>,
    sent: u64,
    cut: BTreeSet<(usize, usize)>,
    calls: Vec<Option<Call>>,
    next_call: Vec<u64>,
    history: Vec<Op>,
    events: usize,
    msg_ids: u64,
    elements: i64,
    workload: Workload,
    loss: f64,
    /// A node whose frames never arrive anywhere.
    mute: Option<usize>,
}

fn name(node: usize) -> String {
    format!("n{node}")
}

fn node_of(id: &str) -> Option<usize> {
    id.strip_prefix('n')?.parse().ok()
}

fn client_of(id: &str) -> Option<usize> {
    id.strip_prefix('c')?.parse().ok()
}

impl World {
    fn new(seed: u64, workload: Workload, shape: Shape, mute: Option<usize>) -> World {
        let mut world = World {
            rng: StdRng::seed_from_u64(seed),
            now: 0,
            nodes: (0..NODES).map(|_| Maelstrom::new(seed)).collect(),
            queues: vec![BTreeMap::new(); NODES],
            sent: 0,
            cut: BTreeSet::new(),
            calls: (0..NODES).map(|_| None).collect(),
            next_call: vec![1_000; NODES],
            history: Vec::new(),
            events: 0,
            msg_ids: 0,
            elements: 0,
            workload,
            loss: 0.05,
            mute,
        };
        let ids: Vec<String> = (0..NODES).map(name).collect();
        for node in 0..NODES {
            world.say(node, "c99", &json!({ "type": "init", "msg_id": 1, "node_id": ids[node], "node_ids": ids }));
        }
        if workload == Workload::Broadcast {
            let topology: BTreeMap<String, Vec<String>> =
                (0..NODES).map(|node| (name(node), neighbours(shape, node).into_iter().map(name).collect())).collect();
            for node in 0..NODES {
                world.say(node, "c99", &json!({ "type": "topology", "msg_id": 2, "topology": topology }));
            }
        }
        world
    }

    fn time(&self) -> Now {
        Now { mono: Monotonic(Duration::from_millis(self.now)), wall: Wall(T0 + self.now) }
    }

    fn say(&mut self, node: usize, src: &str, body: &Value) {
        let line = json!({ "src": src, "dest": name(node), "body": body }).to_string();
        let now = self.time();
        self.nodes[node].handle_line(now, &line);
        self.collect(node);
    }

    fn exponential(&mut self, mean: f64) -> u64 {
        let draw: f64 = self.rng.random_range(1e-9..1.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let ms = (-draw.ln() * mean) as u64;
        ms
    }

    /// Delivers the lines of a node to their receivers.
    fn collect(&mut self, node: usize) {
        while let Some(line) = self.nodes[node].poll_line() {
            let message: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(message["src"], json!(name(node)));
            let dest = message["dest"].as_str().unwrap().to_owned();
            if let Some(client) = client_of(&dest) {
                self.answered(client, &message["body"]);
                continue;
            }
            let to = node_of(&dest).unwrap();
            let lost = self.rng.random_bool(self.loss) || self.mute == Some(node);
            let deadline = self.now + self.exponential(40.0);
            if !lost {
                self.sent += 1;
                self.queues[to].insert((deadline, self.sent), (name(node), line));
            }
        }
        while self.nodes[node].poll_log().is_some() {}
    }

    fn answered(&mut self, client: usize, body: &Value) {
        let awaited = |call: &mut Call| body["in_reply_to"] == json!(call.msg_id);
        let Some(call) = self.calls.get_mut(client).and_then(|call| call.take_if(awaited)) else { return };
        let ended = match (body["type"].as_str().unwrap(), &self.history[call.op].sent) {
            ("error", Sent::Read) => Ended::Fail,
            ("error", _) if body["code"] == json!(13) => Ended::Info,
            ("error", _) => Ended::Fail,
            ("read_ok", _) if self.workload == Workload::Broadcast => Ended::Ok(body["messages"].clone()),
            ("read_ok", _) => Ended::Ok(body["value"].clone()),
            ("broadcast_ok" | "add_ok", Sent::Add(_)) => Ended::Ok(Value::Null),
            other => panic!("unexpected answer {other:?}"),
        };
        self.end(call.op, ended);
        self.next_call[client] = self.now + self.exponential(150.0);
    }

    fn end(&mut self, op: usize, ended: Ended) {
        self.events += 1;
        self.history[op].completed = self.events;
        self.history[op].ended = ended;
    }

    fn call(&mut self, client: usize, sent: Sent, last: bool) {
        self.msg_ids += 1;
        self.events += 1;
        let op = self.history.len();
        let (invoked, completed) = (self.events, usize::MAX);
        self.history.push(Op { sent: sent.clone(), invoked, completed, ended: Ended::Info, last });
        self.calls[client] = Some(Call { msg_id: self.msg_ids, op, until: self.now + RPC_TIMEOUT });
        let id = self.msg_ids;
        let body = match (sent, self.workload) {
            (Sent::Read, _) => json!({ "type": "read", "msg_id": id }),
            (Sent::Add(value), Workload::Broadcast) => json!({ "type": "broadcast", "msg_id": id, "message": value }),
            (Sent::Add(value), Workload::Set) => json!({ "type": "add", "msg_id": id, "element": value }),
            (Sent::Add(value), _) => json!({ "type": "add", "msg_id": id, "delta": value }),
        };
        self.say(client, &format!("c{client}"), &body);
    }

    fn draw(&mut self) -> Sent {
        if self.rng.random_bool(0.5) {
            return Sent::Read;
        }
        match self.workload {
            Workload::Broadcast | Workload::Set => {
                self.elements += 1;
                Sent::Add(self.elements - 1)
            }
            Workload::GrowOnlyCounter => Sent::Add(self.rng.random_range(0..5)),
            Workload::Counter => Sent::Add(self.rng.random_range(-5..5)),
        }
    }

    /// One of Maelstrom's partitions: one node alone, a minority, or a ring in which each sees another majority.
    fn partition(&mut self) {
        let first = self.rng.random_range(0..NODES);
        let side = |node: usize, size: usize| (node + NODES - first) % NODES < size;
        let kind = self.rng.random_range(0..3);
        for a in 0..NODES {
            for b in 0..NODES {
                let cut = match kind {
                    0 => side(a, 1) != side(b, 1),
                    1 => side(a, NODES / 2) != side(b, NODES / 2),
                    _ => a != b && (a + 1) % NODES != b && (b + 1) % NODES != a,
                };
                if cut {
                    self.cut.insert((a, b));
                }
            }
        }
    }

    /// Runs until a moment; clients ask if `busy`.
    fn run(&mut self, until: u64, busy: bool) {
        loop {
            let queued = self.queues.iter().filter_map(|queue| queue.keys().next().map(|(at, _)| *at));
            let timers =
                self.nodes.iter().filter_map(|n| n.poll_timeout()).map(|at| at.0.as_nanos().div_ceil(1_000_000));
            let timers = timers.map(|at| u64::try_from(at).unwrap());
            let calls = self.calls.iter().flatten().map(|call| call.until);
            let idle = (0..NODES).filter(|client| busy && self.calls[*client].is_none());
            let asks = idle.map(|client| self.next_call[client]);
            let next = queued.chain(timers).chain(calls).chain(asks).min().unwrap_or(until);
            if next >= until {
                self.now = until;
                return;
            }
            self.now = self.now.max(next);
            self.step(busy);
        }
    }

    fn step(&mut self, busy: bool) {
        let now = self.time();
        for node in 0..NODES {
            while let Some(first) = self.queues[node].first_entry().filter(|first| first.key().0 <= self.now) {
                let (src, line) = first.remove();
                if !self.cut.contains(&(node, node_of(&src).unwrap())) {
                    self.nodes[node].handle_line(now, &line);
                    self.collect(node);
                }
            }
            if self.nodes[node].poll_timeout().is_some_and(|at| at <= now.mono) {
                self.nodes[node].handle_timeout(now);
                self.collect(node);
            }
        }
        for client in 0..NODES {
            if let Some(call) = self.calls[client].take_if(|call| call.until <= self.now) {
                let ended = if self.history[call.op].sent == Sent::Read { Ended::Fail } else { Ended::Info };
                self.end(call.op, ended);
            }
            if busy && self.calls[client].is_none() && self.next_call[client] <= self.now {
                let sent = self.draw();
                self.call(client, sent, false);
            }
        }
    }
}

fn neighbours(shape: Shape, node: usize) -> Vec<usize> {
    let near = |other: &usize| match shape {
        Shape::Line => node.abs_diff(*other) == 1,
        // Three columns.
        Shape::Grid => {
            let (row, column) = (node / 3, node % 3);
            row.abs_diff(other / 3) + column.abs_diff(other % 3) == 1
        }
    };
    (0..NODES).filter(near).collect()
}

/// A whole run: requests under partitions, quiet, last reads.
fn run(seed: u64, workload: Workload, shape: Shape, mute: Option<usize>) -> Vec<Op> {
    let mut world = World::new(seed, workload, shape, mute);
    let (mut at, mut cut) = (0, false);
    while at < BUSY {
        at = (at + 500 + world.exponential(4_000.0)).min(BUSY);
        world.run(at, true);
        cut = !cut;
        if cut { world.partition() } else { world.cut.clear() }
    }
    world.cut.clear();
    // Faults end. If losses went on a run might need longer, because a sender's patience doubles with each silence.
    world.loss = 0.0;
    world.run(BUSY + QUIET, false);
    for client in 0..NODES {
        world.call(client, Sent::Read, true);
    }
    world.run(BUSY + QUIET + RPC_TIMEOUT + 1, false);
    world.history
}

#[derive(Debug, Default, PartialEq, Eq)]
struct SetFull {
    stable: usize,
    lost: Vec<i64>,
    never_read: Vec<i64>,
    duplicated: Vec<i64>,
    /// Read though no client added it.
    phantoms: Vec<i64>,
}

fn set_full(history: &[Op]) -> SetFull {
    let mut reads = Vec::new();
    let mut result = SetFull::default();
    let mut attempted = BTreeMap::new();
    for op in history {
        match (&op.sent, &op.ended) {
            (Sent::Add(element), ended) if *ended != Ended::Fail => {
                attempted.insert(*element, matches!(ended, Ended::Ok(_)).then_some(op.completed));
            }
            (Sent::Read, Ended::Ok(list)) => {
                let list: Vec<i64> = list.as_array().unwrap().iter().map(|e| e.as_i64().unwrap()).collect();
                let set: BTreeSet<i64> = list.iter().copied().collect();
                if list.len() > set.len() {
                    result.duplicated.extend(set.iter().filter(|e| list.iter().filter(|other| other == e).count() > 1));
                }
                reads.push((op.invoked, op.completed, set));
            }
            _ => {}
        }
    }
    for (element, added) in &attempted {
        let present = || reads.iter().filter(|(_, _, set)| set.contains(element));
        let seen = present().map(|(_, completed, _)| *completed).min();
        let known = added.iter().chain(&seen).min();
        let last_present = present().map(|(invoked, _, _)| *invoked).max();
        let absent = reads.iter().filter(|(_, _, set)| !set.contains(element));
        let last_absent = absent.map(|(invoked, _, _)| *invoked).max();
        match (known, last_present, last_absent) {
            (_, Some(present), absent) if absent.is_none_or(|absent| absent < present) => result.stable += 1,
            (Some(known), present, Some(absent)) if present.unwrap_or(0) < absent && *known < absent => {
                result.lost.push(*element);
            }
            // Never acknowledged and never seen: the original says the same of it.
            _ => result.never_read.push(*element),
        }
    }
    let phantoms = reads.iter().flat_map(|(_, _, set)| set).filter(|element| !attempted.contains_key(element));
    result.phantoms = phantoms.copied().collect::<BTreeSet<i64>>().into_iter().collect();
    result
}

/// The last reads that no choice among the additions of unknown outcome explains.
fn pn_counter(history: &[Op]) -> Vec<Value> {
    let mut acceptable = BTreeSet::from([0]);
    for op in history {
        match (&op.sent, &op.ended) {
            (Sent::Add(delta), Ended::Ok(_)) => acceptable = acceptable.iter().map(|sum| sum + delta).collect(),
            (Sent::Add(delta), Ended::Info) => acceptable.extend(acceptable.clone().iter().map(|sum| sum + delta)),
            _ => {}
        }
    }
    let last = history.iter().filter(|op| op.last).map(|op| match &op.ended {
        Ended::Ok(value) => value.clone(),
        other => json!(format!("{other:?}")),
    });
    last.filter(|value| value.as_i64().is_none_or(|sum| !acceptable.contains(&sum))).collect()
}

fn check_set(workload: Workload, shape: Shape) {
    for seed in 0..SEEDS {
        let history = run(seed, workload, shape, None);
        let result = set_full(&history);
        let adds = history.iter().filter(|op| matches!(op.sent, Sent::Add(_))).count();
        println!("{workload:?} on a {shape:?}, seed {seed}: {adds} adds, {} reads, {result:?}", history.len() - adds);
        assert!(adds > 100 && history.iter().all(|op| matches!(op.ended, Ended::Ok(_)) || op.sent == Sent::Read));
        let none = SetFull { stable: result.stable, ..SetFull::default() };
        assert_eq!(result, none, "seed {seed}");
        assert_eq!(result.stable, adds, "seed {seed}");
    }
}

fn check_counter(workload: Workload) {
    for seed in 0..SEEDS {
        let history = run(seed, workload, Shape::Grid, None);
        println!("{workload:?}, seed {seed}: {} operations", history.len());
        assert_eq!(pn_counter(&history), Vec::<Value>::new(), "seed {seed}");
        assert_eq!(history.iter().filter(|op| op.last && matches!(op.ended, Ended::Ok(_))).count(), NODES);
    }
}

#[test]
fn broadcast_over_a_grid_and_a_line() {
    check_set(Workload::Broadcast, Shape::Grid);
    check_set(Workload::Broadcast, Shape::Line);
}

#[test]
fn a_set_that_grows() {
    check_set(Workload::Set, Shape::Grid);
}

#[test]
fn counters() {
    check_counter(Workload::GrowOnlyCounter);
    check_counter(Workload::Counter);
}

#[test]
fn a_node_whose_frames_never_arrive_is_found_out() {
    let lost = set_full(&run(1, Workload::Broadcast, Shape::Grid, Some(0))).lost;
    assert!(lost.len() > 10, "node 0 acknowledged these and no other node ever saw them: {lost:?}");
    let wrong = pn_counter(&run(1, Workload::GrowOnlyCounter, Shape::Grid, Some(0)));
    assert_eq!(wrong.len(), NODES, "nor does node 0 hear of the others, which it never greeted: {wrong:?}");
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let history = |seed| format!("{:?}", run(seed, Workload::Counter, Shape::Grid, None));
    assert_eq!(history(3), history(3));
    assert_ne!(history(3), history(4));
}

#[test]
fn the_checkers_report_what_is_wrong() {
    let op = |sent, invoked, ended| Op { sent, invoked, completed: invoked + 1, ended, last: false };
    let read = |at, list: Value| op(Sent::Read, at, Ended::Ok(list));
    let add = |at, element| op(Sent::Add(element), at, Ended::Ok(Value::Null));
    let history =
        [add(0, 1), add(2, 2), add(4, 3), read(6, json!([1, 2, 2])), read(8, json!([2, 9])), read(10, json!([2]))];
    let result = set_full(&history);
    assert_eq!((result.stable, result.lost, result.never_read), (1, vec![1, 3], vec![]));
    assert_eq!((result.duplicated, result.phantoms), (vec![2], vec![9]));
    let unknown = op(Sent::Add(5), 0, Ended::Info);
    let last = |value| Op { last: true, ..read(9, json!(value)) };
    assert_eq!(pn_counter(&[unknown, add(2, -2), last(3), last(-2), last(5)]), vec![json!(5)]);
}

/// Feeds lines to one node of two and returns what it answers, as `type` or `error <code>`, and what it logs.
fn answers(lines: &[&str]) -> (Vec<String>, usize) {
    let mut node = Maelstrom::new(7);
    let mut said = Vec::new();
    let mut logged = 0;
    for (at, line) in lines.iter().enumerate() {
        let mono = Duration::from_millis(at as u64);
        node.handle_line(Now { mono: Monotonic(mono), wall: Wall(T0 + at as u64) }, line);
        while let Some(line) = node.poll_line() {
            let message: Value = serde_json::from_str(&line).unwrap();
            match message["body"]["type"].as_str().unwrap() {
                "frame" => {}
                "error" => said.push(format!("error {}", message["body"]["code"])),
                other => said.push(other.to_owned()),
            }
        }
        while node.poll_log().is_some() {
            logged += 1;
        }
    }
    (said, logged)
}

const INIT: &str =
    r#"{"src":"c1","dest":"n0","body":{"type":"init","msg_id":1,"node_id":"n0","node_ids":["n0","N 1"]}}"#;

#[test]
fn malformed_lines_are_refused_or_logged() {
    let ask = |body: &str| format!(r#"{{"src":"c1","dest":"n0","body":{body}}}"#);
    let of = |body: &str| answers(&[INIT, &ask(body)]).0.last().unwrap().clone();
    assert_eq!(answers(&[&ask(r#"{"type":"read","msg_id":1}"#)]).0, ["error 11"], "before init");
    assert_eq!(answers(&[&ask(r#"{"type":"init","msg_id":1,"node_id":4}"#)]).0, ["error 12"]);
    assert_eq!(of(r#"{"type":"txn","msg_id":2,"txn":[]}"#), "error 10");
    assert_eq!(of(r#"{"msg_id":2}"#), "error 12");
    assert_eq!(of(r#"{"type":7,"msg_id":2}"#), "error 12");
    assert_eq!(of(r#"{"type":"add","msg_id":2}"#), "error 12");
    assert_eq!(of(r#"{"type":"add","msg_id":2,"delta":1.5}"#), "error 12");
    assert_eq!(of(r#"{"type":"add","msg_id":2,"delta":1e300}"#), "error 12");
    assert_eq!(of(r#"{"type":"broadcast","msg_id":2}"#), "error 12");
    assert_eq!(of(r#"{"type":"topology","msg_id":2,"topology":[1]}"#), "error 12");
    assert_eq!(of(r#"{"type":"init","msg_id":2,"node_id":"n7","node_ids":[]}"#), "error 12");
    assert_eq!(of(r#"{"type":"topology","msg_id":2,"topology":{"n0":["n9",3]}}"#), "topology_ok");
    assert_eq!(of(r#"{"type":"add","msg_id":2,"element":{"any":["thing"]}}"#), "add_ok");
    assert_eq!(of(r#"{"type":"add","element":4}"#), "init_ok", "without a number no answer is wanted");

    let nested = "[".repeat(100_000);
    let frame =
        |src: &str, bytes: &str| format!(r#"{{"src":"{src}","dest":"n0","body":{{"type":"frame","bytes":{bytes}}}}}"#);
    let frames = [frame("n9", r#""AAAA""#), frame("N 1", r#""?""#), frame("N 1", "5"), frame("N 1", r#""AAAA""#)];
    let mut lines = vec![INIT, "", "   ", "no json", "[]", "{}", r#"{"src":4}"#, r#"{"src":"c1","body":3}"#, &nested];
    lines.extend(frames.iter().map(String::as_str));
    assert_eq!(answers(&lines), (vec!["init_ok".to_owned()], 10), "blank lines are no mistake");
}

#[test]
fn damaged_lines_do_no_harm() {
    let good = [
        INIT,
        r#"{"src":"c1","dest":"n0","body":{"type":"topology","msg_id":2,"topology":{"n0":["N 1"]}}}"#,
        r#"{"src":"c1","dest":"n0","body":{"type":"broadcast","msg_id":3,"message":-17}}"#,
        r#"{"src":"c1","dest":"n0","body":{"type":"add","msg_id":4,"delta":9223372036854775807}}"#,
        r#"{"src":"c1","dest":"n0","body":{"type":"read","msg_id":5}}"#,
        r#"{"src":"N 1","dest":"n0","body":{"type":"frame","bytes":"AQEAAAAAAAAA"}}"#,
    ];
    let mut rng = StdRng::seed_from_u64(5);
    for _ in 0..500 {
        let mut lines: Vec<String> = vec![INIT.to_owned()];
        for _ in 0..5 {
            let mut line = good[rng.random_range(0..good.len())].as_bytes().to_vec();
            for _ in 0..rng.random_range(0..3) {
                let at = rng.random_range(0..line.len());
                line[at] = rng.random_range(32..127);
            }
            lines.push(String::from_utf8(line).unwrap());
        }
        answers(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn a_read_waits_until_the_workload_is_known_and_not_for_ever() {
    let now = |ms: u64| Now { mono: Monotonic(Duration::from_millis(ms)), wall: Wall(T0 + ms) };
    let read = r#"{"src":"c1","dest":"n0","body":{"type":"read","msg_id":2}}"#;
    let mut node = Maelstrom::new(1);
    node.handle_line(now(0), INIT);
    node.handle_line(now(1), read);
    node.handle_line(now(2), r#"{"src":"c2","dest":"n0","body":{"type":"add","msg_id":9,"delta":-3}}"#);
    let said: Vec<Value> = std::iter::from_fn(|| node.poll_line()).map(|l| serde_json::from_str(&l).unwrap()).collect();
    assert!(said.iter().any(|m| m["body"] == json!({ "type": "read_ok", "in_reply_to": 2, "value": -3 })), "{said:?}");

    let mut node = Maelstrom::new(1);
    node.handle_line(now(0), INIT);
    node.handle_line(now(1), read);
    while let Some(at) = node.poll_timeout().filter(|at| *at < Monotonic(Duration::from_secs(5))) {
        let ms = u64::try_from(at.0.as_millis()).unwrap();
        node.handle_timeout(now(ms));
    }
    let said: Vec<Value> = std::iter::from_fn(|| node.poll_line()).map(|l| serde_json::from_str(&l).unwrap()).collect();
    assert!(said.iter().any(|m| m["body"]["code"] == json!(11) && m["body"]["in_reply_to"] == json!(2)), "{said:?}");
}
