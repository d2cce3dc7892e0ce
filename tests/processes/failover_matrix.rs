//! Every way in which a node fails, against every kind of request, at one router: what may be sent twice never fails, nothing
//! else is done twice, and event streams end or go on as the router's README says.
//!
//! Each failure has two regions of its own, near each other and far from all others: `<failure>-a`, whose node fails, and
//! `<failure>-b`, whose node is well. All fail at the same moment, and then the router is replaced. Nodes write down the
//! requests that they do, in one file, because two of them are processes that are killed and stopped.
//!
//! `MERIDIAN_MATRIX=1 cargo test --workspace --locked --test processes -- failover_matrix --nocapture` prints the times.

mod load;
mod node;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::common::process::Process;
use crate::common::router::{Router, SOON};
use crate::common::{holds, net};
use load::{Load, METHODS, Row};
use node::{Mode, Played, child};

/// A way to fail, and what becomes of the streams of that node.
struct Failure {
    name: &'static str,
    kind: Kind,
    streams: Streams,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kill,
    Stop,
    /// What the node does from then on.
    Plays(Mode),
    Order(&'static str),
    /// Nothing but the replacement of the router.
    None,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Streams {
    /// They break off, because their node is gone.
    Break,
    /// The router ends them, because their node is down or under maintenance.
    End,
    GoOn,
    /// They end if the node is found down, which depends on when its probes come.
    Either,
}

const fn failure(name: &'static str, kind: Kind, streams: Streams) -> Failure {
    Failure { name, kind, streams }
}

const FAILURES: [Failure; 12] = [
    failure("kill", Kind::Kill, Streams::Break),
    failure("stop", Kind::Stop, Streams::End),
    failure("black-hole", Kind::Plays(Mode::BlackHole), Streams::End),
    failure("not-ready", Kind::Plays(Mode::NotReady), Streams::End),
    failure("refuse", Kind::Plays(Mode::Refuses), Streams::Either),
    failure("reset", Kind::Plays(Mode::Resets), Streams::End),
    failure("half", Kind::Plays(Mode::Half), Streams::End),
    failure("slow", Kind::Plays(Mode::Slow), Streams::GoOn),
    failure("flap", Kind::Plays(Mode::Flaps), Streams::Either),
    failure("drain", Kind::Order("drained"), Streams::GoOn),
    failure("maintenance", Kind::Order("maintenance"), Streams::End),
    failure("replace", Kind::None, Streams::GoOn),
];

impl Failure {
    fn regions(&self) -> [String; 2] {
        ["a", "b"].map(|which| format!("{}-{which}", self.name))
    }

    /// Whether the other region answers while it lasts.
    fn moves_clients(&self) -> bool {
        !matches!(self.kind, Kind::None | Kind::Plays(Mode::Slow | Mode::Flaps))
    }
}

/// The node of a failure, however it runs.
enum Failing {
    Here(Played),
    There(Process),
}

/// The configuration: pairs of regions, each pair with clients of its own.
fn file(base: &str, addresses: &[[std::net::SocketAddr; 2]]) -> String {
    // Five probes, because a busy machine may answer a few late.
    let mut text = base.replace("down_after = 10", "down_after = 5");
    for (number, failure) in FAILURES.iter().enumerate() {
        let region = &failure.regions()[0];
        text.push_str(&format!(
            "[[location.overrides]]\nnetwork = \"10.{}.0.0/16\"\nregion = \"{region}\"\n",
            100 + number
        ));
    }
    for (number, (failure, at)) in FAILURES.iter().zip(addresses).enumerate() {
        for (which, (region, at)) in failure.regions().iter().zip(at).enumerate() {
            let (latitude, longitude) = (number * 10 + which, number * 25 + which);
            text.push_str(&format!(
                "[[regions]]\nname = \"{region}\"\nposition = {{ latitude = {}.0, longitude = {}.0 }}\n\
                 [[regions.nodes]]\nname = \"{region}\"\nhttp = \"{at}\"\n",
                latitude as i32 - 60,
                longitude as i32 - 150
            ));
        }
    }
    // So many failures at one time are not what the budget is made for.
    text + "[edge.retry]\nbudget_floor = 1000\n"
}

#[test]
fn no_failure_fails_what_may_be_sent_twice() {
    let (folder, begun) = (tempfile::tempdir().unwrap(), std::time::Instant::now());
    let says = |what: &str| println!("{:5.1} s: {what}", begun.elapsed().as_secs_f64());
    let done = folder.path().join("done");
    let addresses = FAILURES.each_ref().map(|_| [(); 2].map(|()| net::free(net::address(), 1)[0]));
    let orders = node::Orders::default();
    let mut failing: Vec<Failing> = Vec::new();
    let mut well: Vec<Played> = Vec::new();
    for (failure, at) in FAILURES.iter().zip(addresses) {
        let [a, b] = failure.regions();
        failing.push(match failure.kind {
            Kind::Kill | Kind::Stop => Failing::There(child(&a, at[0], &done)),
            _ => Failing::Here(Played::start(&a, at[0], &done, &orders)),
        });
        well.push(Played::start(&b, at[1], &done, &orders));
    }
    let mut router = Router::start_with(&[], |base| file(&base, &addresses));
    holds("all regions are up", SOON, || {
        let regions = router.regions();
        regions.len() == 2 * FAILURES.len() && regions.iter().all(|region| region.ends_with(" up"))
    });
    says("all regions are up");
    let names: Vec<&'static str> = FAILURES.iter().map(|failure| failure.name).collect();
    let load = Load::start(router.at[1], &names);
    load.goes_on(5);
    says("the load goes on");

    let ordered = FAILURES.iter().filter_map(|failure| match failure.kind {
        Kind::Order(order) => Some((failure.regions()[0].clone(), order)),
        _ => None,
    });
    orders.give(ordered.collect());
    for (failure, node) in FAILURES.iter().zip(&mut failing) {
        match (failure.kind, node) {
            (Kind::Kill, Failing::There(process)) => process.signal(nix::sys::signal::Signal::SIGKILL),
            (Kind::Stop, Failing::There(process)) => process.signal(nix::sys::signal::Signal::SIGSTOP),
            (Kind::Plays(mode), Failing::Here(node)) => node.plays(mode),
            _ => {}
        }
    }
    for (failure, row) in FAILURES.iter().zip(&load.rows) {
        let what = format!("{}: its streams do what they should", failure.name);
        holds(&what, SOON, || match failure.streams {
            Streams::Break => row.broken.load(Ordering::Relaxed) > 0,
            Streams::End => row.ended.load(Ordering::Relaxed) > 0,
            Streams::GoOn | Streams::Either => true,
        });
        if failure.moves_clients() {
            let wanted = failure.regions()[1].clone();
            holds(&format!("{}: the other region answers", failure.name), SOON, || row.answers() == wanted);
        }
        says(failure.name);
    }
    load.goes_on(20);
    let ended_before: Vec<usize> = load.rows.iter().map(|row| row.ended.load(Ordering::Relaxed)).collect();
    for (failure, (row, ended)) in FAILURES.iter().zip(load.rows.iter().zip(&ended_before)) {
        let broken = row.broken.load(Ordering::Relaxed);
        assert!(broken == 0 || failure.streams == Streams::Break, "{}: {broken} streams broke off", failure.name);
        assert!(*ended == 0 || failure.streams != Streams::GoOn, "{}: {ended} streams ended", failure.name);
    }

    says("every failure was seen; the router is replaced");
    let mut old = router.replace();
    for (failure, (row, before)) in FAILURES.iter().zip(load.rows.iter().zip(ended_before)) {
        let what = format!("{}: its stream ends with the old router", failure.name);
        holds(&what, SOON, || row.ended.load(Ordering::Relaxed) > before);
    }
    load.goes_on(10);
    says("the old router has no stream");
    assert!(old.ended(SOON).0.success());
    says("the old router has ended");
    let rows = load.ends();

    let mut times: HashMap<String, usize> = HashMap::new();
    for line in std::fs::read_to_string(&done).unwrap().lines() {
        *times.entry(line.to_owned()).or_default() += 1;
    }
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "POSTs that were done twice: {twice:?}");
    assert!(!times.is_empty(), "no POST was done");
    let failures: Vec<String> = rows.iter().flat_map(|row| row.failures()).collect();
    assert!(failures.is_empty(), "{failures:#?}\n{}", router.log());
    for row in &rows {
        for id in row.confirmed() {
            assert_eq!(times.get(&id), Some(&1), "{id} was answered with 200");
        }
    }
    if std::env::var_os("MERIDIAN_MATRIX").is_some() {
        print(&rows);
    }
}

/// Times of a debug build, for comparisons in one run.
fn print(rows: &[Row]) {
    println!("{:<12}       {:>6} {:>9} {:>9} {:>9}  refused", "failure", "sent", "p50 ms", "p99.9 ms", "most ms");
    for row in rows {
        for (method, of_method) in METHODS.iter().zip(row.kinds.iter()) {
            let mut took = of_method.took.lock().unwrap().clone();
            took.sort_unstable();
            let at = |part: f64| took[((took.len() - 1) as f64 * part).ceil() as usize];
            let ms = |took: Duration| took.as_secs_f64() * 1e3;
            println!(
                "{:<12} {method:<5} {:>6} {:>9.1} {:>9.1} {:>9.1}  {}",
                row.name,
                took.len(),
                ms(at(0.5)),
                ms(at(0.999)),
                ms(at(1.0)),
                of_method.refused.load(Ordering::Relaxed)
            );
        }
    }
}
