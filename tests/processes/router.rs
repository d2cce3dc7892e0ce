//! `meridian up` with its router: the nearest region by DNS and by HTTP, a region that dies under load, operators'
//! orders, and a router that no longer hears the others.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::process::Process;
use crate::common::up::REGIONS;
use crate::common::{Call, MERIDIAN, Up, Venue, dns, holds, router, within};
use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{RData, RecordType};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Clients in Germany, the United States and Singapore.
const CLIENTS: [&str; 3] = ["46.4.0.1", "8.8.8.8", "202.156.0.1"];
/// Time limit of steps that take seconds, on a busy machine.
const SOON: Duration = Duration::from_secs(30);
/// Longer than any load that a test ends takes, so that a slow machine does not end it.
const DURATION: &str = "5m";
/// How long a load may take to send what a test waits for.
const SENT: Duration = Duration::from_secs(120);

impl Up {
    /// The status of a router, counted from 1.
    fn status(&self, router: u8) -> Value {
        Call::new("GET", "/v1/admin/status").to(self.at(0, router, 2)).expect(200).json()
    }

    fn state(&self, router: u8, region: &str) -> String {
        let status = self.status(router);
        let all = status["regions"].as_array().unwrap();
        all.iter().find(|one| one["region"] == region).unwrap()["state"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn all_up(&self) {
        holds("every region is up", SOON, || REGIONS.iter().all(|region| self.state(1, region) == "up"));
    }

    /// The region whose address DNS gives to a client, and the TTL; `None` without an answer within a second.
    fn resolved(&self, router: u8, client: &str) -> Option<(String, u32)> {
        let message = self.ask(router, "checkin.meridian.test.", RecordType::A, client)?;
        let record = message.answers.first()?;
        let RData::A(address) = &record.data else { return None };
        Some((REGIONS[usize::from(address.0.octets()[3]) - 1].to_owned(), record.ttl))
    }

    fn ask(&self, router: u8, name: &str, kind: RecordType, client: &str) -> Option<Message> {
        dns::ask(self.at(0, router, 3), name, kind, client)
    }

    /// The first answer, which a busy machine may give late.
    #[track_caller]
    fn told(&self, router: u8, name: &str, kind: RecordType, client: &str) -> Message {
        within("DNS answers", SOON, || self.ask(router, name, kind, client).ok_or("no answer"))
    }

    /// The region of the first answer.
    #[track_caller]
    fn sent_to(&self, router: u8, client: &str) -> String {
        within("DNS answers", SOON, || self.resolved(router, client).ok_or("no answer")).0
    }

    fn region_command(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new(MERIDIAN);
        command.arg("region").args(arguments).args(["--by", "test"]).arg("--data").arg(&self.data);
        command.output().unwrap()
    }
}

#[test]
fn every_client_reaches_the_nearest_region() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    up.all_up();
    for (client, region) in CLIENTS.into_iter().zip(REGIONS) {
        let message = up.told(1, "checkin.meridian.test.", RecordType::A, client);
        assert!(message.metadata.authoritative);
        let edns = message.edns.as_ref().unwrap();
        let Some(EdnsOption::Subnet(subnet)) = edns.option(EdnsCode::Subnet) else { panic!("{message:?}") };
        assert_eq!(subnet.source_prefix(), 24);
        assert!((16..=24).contains(&subnet.scope_prefix()), "{subnet:?}");
        assert_eq!(up.sent_to(1, client), region);
        assert_eq!(up.answered(client), region);
        let texts = up.told(1, "explain.checkin.meridian.test.", RecordType::TXT, client);
        let texts: String = texts.answers.iter().map(|record| record.data.to_string()).collect();
        assert!(texts.contains(&format!("region={region} reason=preferred")), "{texts}");
        assert!(!texts.contains(client), "a prefix, not the address: {texts}");
        let said = Command::new(MERIDIAN).args(["explain", client, "--data"]).arg(&up.data).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert!(said.contains(&format!("goes to {region} (preferred)")), "{said}");
    }
    let table = Command::new(MERIDIAN).args(["status", "--data"]).arg(&up.data).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("Where the routers send clients") && table.contains("router-1"), "{table}");
    // Without a subnet the resolver's address counts. Here it is this machine's, whose location is unknown: it gets
    // some region.
    let answer = Call::new("GET", "/v1/cluster").to(up.edge()).expect(200);
    assert!(REGIONS.contains(&answer.header("meridian-region").unwrap()));
    // A check-in through the one URL, read in another region through the same URL.
    let venue = Venue::make(up.edge(), "14d");
    // The nodes are asked: the edge asks another region as well before it says that there is no such venue.
    holds("the venue is known everywhere", SOON, || {
        (0..3).all(|region| Call::new("GET", &venue.path).to(up.node(region)).status == 200)
    });
    for client in CLIENTS {
        Call::new("GET", &venue.path).header("X-Forwarded-For", client).to(up.edge()).expect(200);
    }
    let visit = venue.visit("Zoë Nguyễn", "+49 151 2345678");
    let taken = visit.put().header("X-Forwarded-For", CLIENTS[1]).to(up.edge());
    // An edge sends it again when a node is slow, and then it may be a repeat.
    assert!(matches!(taken.status, 200 | 201), "{taken:?}");
    holds("it is in the list in Europe", SOON, || venue.list(up.node(0)).contains_key(&visit.id));
    let mut check = Command::new(MERIDIAN);
    check.args(["router", "--check", "--config"]).arg(up.data.join("router-1/router.toml"));
    let check = check.output().unwrap();
    assert!(check.status.success(), "{check:?}");
    up.stop();
}

#[test]
fn a_region_that_dies_under_load_fails_no_check_in_and_returns_by_ramp() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    up.all_up();
    let targets: Vec<String> = (0..3).map(|region| format!("http://{}", up.node(region))).collect();
    let mut command = Command::new(MERIDIAN);
    command.args(["load", "--json", "--rate", "150", "--duration", DURATION, "--connections", "24", "--venues", "3"]);
    command.args(["--corrections", "0", "--erasures", "0", "--seed", "1", "--timeout", "30s"]);
    command.args(["--target", &format!("http://{}", up.edge()), "--from", &CLIENTS.join(",")]);
    command.args(["--verify-at", &targets.join(","), "--verify-timeout", "60s"]);
    command.arg("--data").arg(folder.path().join("no-deployment"));
    let mut load = Process::start(command.stdout(Stdio::piped()));
    holds("the load reaches America", SOON, || {
        assert!(load.runs(), "the load has ended already");
        forwarded(&up, "us-east") >= 50.0
    });
    assert_eq!(up.sent_to(1, CLIENTS[1]), "us-east");
    let killed = Instant::now();
    up.kill("us-east");
    holds("DNS sends Americans elsewhere", SOON, || {
        up.resolved(1, CLIENTS[1]).is_some_and(|answer| answer.0 != "us-east")
    });
    println!("DNS changed {:.2} s after the kill", killed.elapsed().as_secs_f64());
    holds("it is seen", SOON, || up.state(1, "us-east") == "down");
    assert_ne!(up.answered(CLIENTS[1]), "us-east");
    let _node = up.start_again("us-east");
    // The region comes back step by step.
    let mut seen = Vec::new();
    let mut is_back = || {
        let status = up.status(1);
        let region = status["regions"].as_array().unwrap().iter().find(|one| one["region"] == "us-east").unwrap();
        let (state, admission) = (region["state"].as_str().unwrap(), region["admission"].as_f64().unwrap());
        if state == "ramping" && !seen.contains(&admission.to_bits()) {
            seen.push(admission.to_bits());
        }
        if state == "up" { Ok(()) } else { Err(region.clone()) }
    };
    holds("the load goes on", SENT, || {
        assert!(load.runs(), "the load has ended already");
        // The first step may come while a slow machine still sends.
        let _ = is_back();
        REGIONS.iter().map(|region| forwarded(&up, region)).sum::<f64>() > 2_000.0
    });
    load.signal(Signal::SIGINT);
    // So may its verification.
    let mut output = load.stdout().unwrap();
    let report = std::thread::spawn(move || {
        let mut report = String::new();
        output.read_to_string(&mut report).unwrap();
        report
    });
    within("the region is up again", Duration::from_secs(120), is_back);
    let seen: Vec<f64> = seen.into_iter().map(f64::from_bits).collect();
    assert!(seen.len() >= 5 && seen.is_sorted(), "{seen:?}");
    holds("its DNS follows", SOON, || up.resolved(1, CLIENTS[1]).is_some_and(|answer| answer.0 == "us-east"));
    let report = report.join().unwrap();
    let report: Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"));
    assert_eq!(report["verification"]["passed"], true, "{report:#}");
    let check_ins = &report["operations"].as_array().unwrap()[0];
    assert_eq!(check_ins["failed"], 0, "{report:#}");
    assert!(check_ins["acknowledged"].as_u64().unwrap() > 1_000, "{report:#}");
    up.stop();
}

/// A deployment whose regions take so many requests a second each, of which 85 % may be used, behind its own router.
fn with_limits(folder: &Path, capacity: u32) -> (Up, Process) {
    let up = Up::start(&folder.join("data"), 0);
    let router = folder.join("router.toml");
    std::fs::write(&router, with_capacity(&up, capacity)).unwrap();
    let mut command = Command::new(MERIDIAN);
    let router = Process::logged(command.args(["router", "--config"]).arg(&router), &folder.join("router.out"));
    holds("the router runs", SOON, || Call::new("GET", "/readyz").send(up.at(0, 1, 2)).is_ok());
    up.all_up();
    (up, router)
}

/// A load of clients near all three regions, read back at the first one. The claim of the dead region is missing there,
/// so the list cannot be complete; its contents are compared all the same.
fn load_through(up: &Up, folder: &Path, rate: &str, duration: &str) -> Command {
    let mut command = Command::new(MERIDIAN);
    command.args(["load", "--json", "--rate", rate, "--duration", duration, "--connections", "48", "--venues", "1"]);
    // The edge says what it makes of a request before the client gives it up.
    command.args(["--corrections", "0", "--erasures", "0", "--seed", "1", "--timeout", "40s"]);
    command.args(["--target", &format!("http://{}", up.edge()), "--from", &CLIENTS.join(",")]);
    command.args(["--verify-at", &format!("http://{}", up.node(0)), "--verify-timeout", "10s"]);
    command.arg("--data").arg(folder.join("no-deployment"));
    command
}

/// Requests that eu-central and ap-southeast, the survivors, have been sent so far, and the time.
fn survivors(up: &Up) -> ([f64; 2], Instant) {
    ([0, 2].map(|region| forwarded(up, REGIONS[region])), Instant::now())
}

fn rates(before: ([f64; 2], Instant), after: ([f64; 2], Instant)) -> [f64; 2] {
    let seconds = (after.1 - before.1).as_secs_f64();
    [0, 1].map(|survivor| (after.0[survivor] - before.0[survivor]) / seconds)
}

/// Three regions run at half of their capacity and one dies: the others take its clients and stay below their limit.
#[test]
fn survivors_of_a_failover_stay_below_their_limit() {
    let folder = tempfile::tempdir().unwrap();
    let (up, _router) = with_limits(folder.path(), 100);
    let mut load = Process::start(load_through(&up, folder.path(), "155", DURATION).stdout(Stdio::piped()));
    holds("the load reaches America", SOON, || {
        assert!(load.runs(), "the load has ended already");
        forwarded(&up, "us-east") >= 100.0
    });
    up.kill("us-east");
    holds("it is seen", SOON, || up.state(1, "us-east") == "down");
    let before = survivors(&up);
    // At least ten seconds' worth, at the rate of all clients together.
    holds("the load goes on", SENT, || {
        assert!(load.runs(), "the load has ended already");
        survivors(&up).0.iter().sum::<f64>() - before.0.iter().sum::<f64>() > 2_000.0
    });
    let rates = rates(before, survivors(&up));
    for rate in rates {
        // A slow machine sends less, of which a third belongs to each survivor.
        let least = rates.iter().sum::<f64>() / 4.0;
        // A bucket that was full at the beginning adds a second and a half's worth in ten seconds.
        assert!((least..=98.0).contains(&rate), "{rate} a second, of 85 that may be used: {rates:?}");
    }
    load.signal(Signal::SIGINT);
    let mut report = String::new();
    load.stdout().unwrap().read_to_string(&mut report).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"));
    let check_ins = &report["operations"].as_array().unwrap()[0];
    let (taken, failed) = (check_ins["acknowledged"].as_u64().unwrap(), check_ins["failed"].as_u64().unwrap());
    // 155 of the 170 for which there is room: almost no request is refused, and every refusal is a 429.
    assert!(taken > 1_800 && failed * 10 < taken, "{report:#}");
    let failures = report["failures"].as_array().unwrap();
    assert!(failures.iter().all(|failure| failure["outcome"] == "429"), "{report:#}");
    println!("{taken} taken, {failed} refused with 429");
    up.stop();
}

/// A load beyond the capacity of the survivors is shed; accepted check-ins are kept.
#[test]
fn load_beyond_the_capacity_is_shed_and_accepted_check_ins_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    // So little that the load is beyond the capacity also if a slow machine sends a third of it.
    let (up, _router) = with_limits(folder.path(), 50);
    up.kill("us-east");
    holds("it is seen", SOON, || up.state(1, "us-east") == "down");
    let before = survivors(&up);
    let report = load_through(&up, folder.path(), "300", "10s").output().unwrap();
    let report: Value = serde_json::from_slice(&report.stdout).unwrap_or_else(|error| panic!("{error}: {report:?}"));
    let after = survivors(&up).0;
    let check_ins = &report["operations"].as_array().unwrap()[0];
    let (taken, shed) = (check_ins["acknowledged"].as_f64().unwrap(), check_ins["failed"].as_f64().unwrap());
    let seconds = report["duration_s"].as_f64().unwrap();
    // A third of what was sent is near to each survivor.
    let near = ((taken + shed) / 3.0 / seconds).min(42.5);
    for survivor in [0, 1] {
        let rate = (after[survivor] - before.0[survivor]) / seconds;
        // A bucket that was full at the beginning adds a second and a half's worth.
        assert!((0.47 * near..=50.0).contains(&rate), "{rate} a second, of 42.5 that may be used: {report:#}");
    }
    // The load was beyond what both may use, and that they took.
    assert!(taken > 0.94 * near * seconds && shed > 0.0, "{report:#}");
    let failures = report["failures"].as_array().unwrap();
    assert!(failures.iter().all(|failure| failure["outcome"] == "429"), "{report:#}");
    let read = &report["verification"]["targets"].as_array().unwrap()[0];
    for wrong in ["missing", "twice", "wrong", "strangers"] {
        assert_eq!(read[wrong], 0, "{report:#}");
    }
    up.stop();
}

fn with_capacity(up: &Up, capacity: u32) -> String {
    let positions = [
        "latitude = 50.11, longitude = 8.68",
        "latitude = 39.04, longitude = -77.49",
        "latitude = 1.35, longitude = 103.82",
    ];
    let mut text = router::head(up.at(0, 1, 2), up.edge()) + "[policy.spill]\nlimit = 0.85\n";
    for (number, region) in REGIONS.into_iter().enumerate() {
        text.push_str(&format!(
            r#"
            [[regions]]
            name = "{region}"
            position = {{ {} }}
            capacity = {capacity}.0
            [[regions.nodes]]
            name = "{region}"
            http = "{}"
            "#,
            positions[number],
            up.node(number)
        ));
    }
    text
}

/// Requests that the edge sent to a region.
fn forwarded(up: &Up, region: &str) -> f64 {
    let metrics = Call::new("GET", "/metrics").to(up.at(0, 1, 2)).expect(200);
    let lines = metrics.text().lines().filter(|line| line.starts_with("meridian_router_edge_requests_total{"));
    let lines = lines.filter(|line| line.contains(&format!("region=\"{region}\"")));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
fn operators_orders_are_followed_from_any_live_node() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    up.all_up();
    // The first node that would get the order is dead.
    up.kill("ap-southeast");
    let said = up.region_command(&["drain", "us-east", "--reason", "kernel update"]);
    assert!(said.status.success(), "{said:?}");
    holds("the router follows", SOON, || up.state(1, "us-east") == "drained");
    holds("its DNS follows", SOON, || up.resolved(1, CLIENTS[1]).is_some_and(|answer| answer.0 == "eu-central"));
    holds("its edge follows", SOON, || up.answered(CLIENTS[1]) == "eu-central");
    let cluster = Call::new("GET", "/v1/cluster").to(up.node(0)).expect(200).json();
    let us = cluster["regions"].as_array().unwrap().iter().find(|one| one["region"] == "us-east").unwrap();
    assert_eq!((us["drain"].as_bool(), us["order"]["order"].as_str()), (Some(true), Some("drained")));
    assert!(!cluster.to_string().contains("kernel"), "the author and the reason are only for operators");
    let list = Command::new(MERIDIAN).args(["region", "list", "--data"]).arg(&up.data).output().unwrap();
    assert!(String::from_utf8(list.stdout).unwrap().contains("kernel update"));

    // The order survives a restart of the router, even if no node can be asked.
    up.kill("router-1");
    let router = up.start_again("router-1");
    holds("the router is back", SOON, || Call::new("GET", "/readyz").send(up.at(0, 1, 2)).is_ok());
    assert_eq!(up.state(1, "us-east"), "drained");

    // Two of three are out; the last one cannot be drained by accident.
    // So is a region that is down, whichever order it has: its routers know, and the node that gets the order as well.
    holds("it is seen", SOON, || up.state(1, "ap-southeast") == "down");
    let last = up.region_command(&["drain", "eu-central"]);
    let words = String::from_utf8_lossy(&last.stderr).into_owned();
    assert!(!last.status.success() && words.contains("us-east is drained, ap-southeast is down"), "{words}");
    let order = serde_json::json!({"order": "drained", "by": "test"});
    let order = Call::new("PUT", "/v1/admin/regions/eu-central/order").json(&order);
    let refused = order.header("Authorization", up.operator()).to(up.at(1, 1, 2)).problem(409);
    assert_eq!(refused["type"], "urn:meridian:problem:no-region-left");
    assert!(refused["detail"].as_str().unwrap().contains("because ap-southeast is down"), "{refused}");
    let _node = up.start_again("ap-southeast");
    holds("it is there", SOON, || {
        Call::new("GET", "/readyz").send(up.node(2)).is_ok_and(|answer| answer.status == 200)
    });
    assert!(up.region_command(&["drain", "ap-southeast", "--for", "1h"]).status.success());
    let last = up.region_command(&["drain", "eu-central"]);
    let words = String::from_utf8_lossy(&last.stderr).into_owned();
    assert!(!last.status.success() && words.contains("no other region would be left"), "{words}");
    assert!(!up.region_command(&["drain", "mars"]).status.success());
    assert!(up.region_command(&["restore", "us-east"]).status.success());
    holds("it serves again", SOON, || ["ramping", "up"].contains(&&*up.state(1, "us-east")));
    drop(router);
    up.stop();
}

/// One router that fails would freeze the other, so two are worse than one.
#[test]
fn two_routers_are_not_started_by_accident() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let refused = Command::new(MERIDIAN).args(["up", "--routers", "2", "--data"]).arg(&data).output().unwrap();
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && words.contains("--routers 3, or --force"), "{words}");
    assert!(!data.exists());
}

#[test]
fn a_router_that_has_lost_the_others_keeps_its_last_answer() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 3);
    up.all_up();
    holds("the routers hear each other", SOON, || up.status(1)["heard"].as_array().unwrap().len() == 2);
    // Together the routers notice that a region dies.
    up.kill("ap-southeast");
    for router in 1..=3 {
        holds("all routers agree", SOON, || up.state(router, "ap-southeast") == "down");
        holds("its DNS follows", SOON, || {
            up.resolved(router, CLIENTS[2]).is_some_and(|answer| answer.0 != "ap-southeast")
        });
    }
    // Alone, the first router decides nothing any more; the edge still finds a node that answers.
    up.kill("router-2");
    up.kill("router-3");
    holds("it knows that it is alone", SOON, || up.status(1)["frozen"] == true);
    up.kill("us-east");
    holds("its own probes see it", SOON, || {
        let status = up.status(1);
        let us = status["regions"].as_array().unwrap().iter().find(|one| one["region"] == "us-east").unwrap().clone();
        us["nodes"][0]["up"] == false
    });
    assert_eq!(up.state(1, "us-east"), "up");
    assert_eq!(up.sent_to(1, CLIENTS[1]), "us-east", "the last answer");
    assert_eq!(up.answered(CLIENTS[1]), "eu-central");
    up.stop();
}
