//! `meridian drill` against deployments of `meridian up`: each mode, each refusal, each guard rail, each exit code.

mod restore;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::common::up::REGIONS;
use crate::common::{Call, MERIDIAN, Up, holds, within};

const SOON: Duration = Duration::from_secs(60);

/// A region that was down takes its whole share again after hold-down and ramp, 50 seconds, and later if it fell often.
const SETTLED: Duration = Duration::from_secs(240);

/// What all drills of these tests have in common: short phases, few clients, and room for a busy machine to be slow in.
const COMMON: &str = r#"
name = "trial"
about = "A trial."
phases = { baseline = "2s", soak = "2s", hold = "12s", after = "1s" }
capacity = { eu-central = 2000, us-east = 2000, ap-southeast = 2000 }
clients = { rate = 40, edge = 8, ttl = 8, pinned = 4, timeout = "8s" }
guards = { p99 = "30s" }
objectives = { converged = "60s" }
"#;

struct Drill<'a> {
    up: &'a Up,
    folder: &'a Path,
}

impl<'a> Drill<'a> {
    /// Drills against a deployment in which a region that was down gets its clients back soon. Every router reads its
    /// file again, so hold-down and ramp of 50 seconds need not be waited for after each failure.
    fn on(up: &'a Up, folder: &'a Path) -> Drill<'a> {
        for router in 1..=up.routers() {
            let file = up.data.join(format!("router-{router}/router.toml"));
            let written = std::fs::read_to_string(&file).unwrap();
            let quick = written.replace("hold_down_s = 20", "hold_down_s = 2").replace("ramp_s = 30", "ramp_s = 3");
            assert_ne!(quick, written, "the file has other figures");
            std::fs::write(&file, quick).unwrap();
            kill(up.pid(&format!("router-{router}")), Signal::SIGHUP).unwrap();
            let log = up.data.join(format!("router-{router}/log"));
            holds("the router has read its file again", SOON, || {
                std::fs::read_to_string(&log).unwrap().contains("the configuration file was read again")
            });
        }
        let drill = Drill { up, folder };
        drill.settle();
        drill
    }

    fn file(&self, name: &str, own: &str) -> PathBuf {
        let file = self.folder.join(format!("{name}.toml"));
        // A table of its own replaces the common one.
        let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
        let own_keys: Vec<String> = own.lines().map(key).collect();
        let common: Vec<&str> =
            COMMON.lines().filter(|line| !own_keys.contains(&key(line)) || line.is_empty()).collect();
        std::fs::write(&file, format!("{own}\n{}", common.join("\n"))).unwrap();
        file
    }

    fn command(&self, verb: &str, name: &str, own: &str) -> Command {
        let mut command = Command::new(MERIDIAN);
        command.args(["drill", verb]).arg(self.file(name, own));
        command.args(["--by", "mk", "--json", "--data"]).arg(&self.up.data).env_remove("MERIDIAN_TOKEN");
        if verb == "run" {
            command.arg("--report").arg(self.folder.join("reports").join(name));
        }
        command
    }

    /// Runs a drill to its end; returns its exit code and its report.
    fn run(&self, name: &str, own: &str) -> (i32, Value) {
        let Output { status, stdout, stderr } = self.command("run", name, own).output().unwrap();
        let code = status.code().unwrap();
        let report = std::fs::read(self.folder.join("reports").join(name).join("report.json"));
        let said = String::from_utf8_lossy(&stderr);
        let report: Value = serde_json::from_slice(&report.unwrap_or_else(|_| panic!("{code}: {said}"))).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&stdout).unwrap(), report, "--json prints the report");
        (code, report)
    }

    /// Starts a drill and waits until it has made its fault.
    fn start(&self, name: &str, own: &str) -> std::process::Child {
        self.start_until(name, own, "the fault is made")
    }

    /// Starts a drill and waits until it says this.
    fn start_until(&self, name: &str, own: &str, what: &str) -> std::process::Child {
        let mut command = self.command("run", name, own);
        let log = self.folder.join(format!("{name}.log"));
        let file = std::fs::File::create(&log).unwrap();
        let mut child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        holds(what, SOON, || {
            let said = std::fs::read_to_string(&log).unwrap();
            assert_eq!(child.try_wait().unwrap(), None, "{name} has ended: {said}");
            said.contains(what)
        });
        child
    }

    fn all_ready(&self) -> bool {
        let ready = |at| Call::new("GET", "/readyz").send(at).is_ok_and(|answer| answer.status == 200);
        self.up.public.into_iter().all(ready)
    }

    /// The deployment is as it was: every router sends every region its whole share again.
    fn settle(&self) {
        let routers = self.up.routers();
        within("every region takes its whole share", SETTLED, || {
            for router in 1..=routers {
                let answer = Call::new("GET", "/v1/admin/status").send(self.up.at(0, router, 2));
                let status = answer.map_err(|error| format!("router {router}: {error:?}"))?.json();
                let whole = |region: &Value| region["state"] == "up" && region["admission"] == 1.0;
                if status["frozen"] != false || !status["regions"].as_array().is_some_and(|all| all.iter().all(whole)) {
                    return Err(format!("router {router}: {status}"));
                }
            }
            if self.all_ready() { Ok(()) } else { Err("a node is not ready".to_owned()) }
        });
    }

    /// Makes a fault on the node of a region.
    fn order(&self, region: usize, act: &str) {
        let fault = serde_json::json!({"act": {"kind": act}, "for": "10m", "by": "mk"});
        let call = Call::new("POST", "/v1/admin/faults").json(&fault).header("Authorization", self.up.operator());
        call.to(self.up.at(1, u8::try_from(region).unwrap() + 1, 2)).expect(201);
    }

    /// While `us-east` is disturbed, `disturb` breaks a guard rail (it gets the drill's process): the drill is aborted for this
    /// `reason`, its faults are gone, and nothing is lost.
    fn breaks(&self, name: &str, mode: &str, guards: &str, reason: &str, disturb: impl Fn(Pid)) {
        let mut child = self.start(name, &format!("{mode}\nguards = {{ {guards} }}"));
        disturb(Pid::from_raw(i32::try_from(child.id()).unwrap()));
        holds("its faults are gone", SOON, || self.faults(1) == 0);
        // The drill now waits until all regions are equal again.
        for region in 1..=3 {
            let end = Call::new("DELETE", "/v1/admin/faults").header("Authorization", self.up.operator());
            end.to(self.up.at(1, region, 2)).expect(200);
        }
        let code = child.wait().unwrap().code();
        let log = std::fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap();
        assert_eq!(code, Some(3), "{name}: {log}");
        let report = std::fs::read(self.folder.join("reports").join(name).join("report.json")).unwrap();
        let report: Value = serde_json::from_slice(&report).unwrap();
        assert!(report["reason"].as_str().unwrap().contains(reason), "{name}: {}", failed(&report));
        assert_eq!((&report["verdict"], &report["rpo"]["lost"]), (&"aborted".into(), &0.into()), "{name}: {report}");
        self.settle();
    }

    fn faults(&self, region: usize) -> usize {
        let at = self.up.at(1, u8::try_from(region).unwrap() + 1, 2);
        let list = Call::new("GET", "/v1/admin/faults").to(at).expect(200).json();
        list["faults"].as_array().unwrap().len()
    }
}

fn failed(report: &Value) -> String {
    format!(
        "{:#}",
        serde_json::json!({ "objectives": report["objectives"], "errors": report["errors"], "reason": report["reason"] })
    )
}

#[test]
fn a_region_is_lost_and_no_check_in_through_the_edge_fails() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let drill = Drill::on(&up, folder.path());
    let killed = up.pid("eu-central");
    let own = "mode = \"fail\"\nregion = \"eu-central\"\nclients = { rate = 100, edge = 12, ttl = 12, pinned = 6 }";
    let (code, report) = drill.run("loss", own);
    assert_eq!((code, &report["verdict"]), (0, &"met".into()), "{}", failed(&report));
    assert_ne!(up.pid("eu-central"), killed, "it was killed, and started again");
    // The contract of the report.
    assert_eq!(
        (&report["name"], &report["mode"], &report["region"]),
        (&"trial".into(), &"fail".into(), &"eu-central".into())
    );
    for seconds in
        ["/detect_s", "/dns_s", "/rto_s/ttl", "/rto_s/edge", "/rto_s/pinned", "/rpo/oldest_s", "/converged_s"]
    {
        let value = report.pointer(seconds).and_then(Value::as_f64);
        assert!(value.is_some_and(|value| (0.0..60.0).contains(&value)), "{seconds}: {report}");
    }
    for count in ["/rpo/lost", "/failed/edge", "/session_breaches", "/resurrected", "/left_behind"] {
        assert_eq!(report.pointer(count), Some(&0.into()), "{count}: {}", failed(&report));
    }
    // Clients that go by DNS or not even by that do notice, otherwise the drill would not have killed anything.
    assert!(report["failed"]["pinned"].as_u64().unwrap() > 0 && report["rto_s"]["pinned"].as_f64().unwrap() > 2.0);
    assert!(
        report["sent"]["edge"].as_u64().unwrap() > 50 && report["follow"]["read"].as_u64().unwrap() > 0,
        "{report}"
    );
    let page = std::fs::read_to_string(folder.path().join("reports/loss/index.html")).unwrap();
    assert!(page.contains("Objectives met") && page.matches("<svg").count() == 2 && !page.contains("http"), "{page}");
    let text = std::fs::read_to_string(folder.path().join("reports/loss/report.md")).unwrap();
    assert!(text.contains("| lost | 0 | 0 | met |"), "{text}");
    let said = std::fs::read_to_string(up.data.with_extension("out")).unwrap();
    assert!(said.contains("is started again, as the drill had ordered"), "{said}");
    up.stop();
}

#[test]
fn what_would_hurt_is_refused_with_its_figures_and_disturbs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let drill = Drill::on(&up, folder.path());
    let before = REGIONS.map(|region| up.pid(region));
    let refused = |name: &str, own: &str, condition: &str, figures: &str| {
        let (code, report) = drill.run(name, own);
        assert_eq!((code, &report["verdict"]), (4, &"refused".into()), "{name}: {report}");
        let fits = |check: &Value| {
            check["passed"] == false
                && check["name"] == condition
                && check["detail"].as_str().unwrap().contains(figures)
        };
        assert!(report["checks"].as_array().unwrap().iter().any(fits), "{name}: {:#}", report["checks"]);
        let checked = drill.command("check", name, own).output().unwrap();
        assert_eq!(checked.status.code(), Some(4), "{name}");
    };
    let loss = "mode = \"fail\"\nregion = \"eu-central\"";
    refused("small", &format!("{loss}\ncapacity = {{ us-east = 20, ap-southeast = 20 }}"), "capacity", "times 1.2");
    refused("unknown", &format!("{loss}\ncapacity = {{ ap-southeast = 2000 }}"), "capacity", "that of us-east");
    refused("router", "mode = \"router\"", "clients", "one router");
    refused("never", &format!("{loss}\nbefore = {{ window = [\"00:00:00\", \"00:00:00\"] }}"), "window", "allowed");
    refused("nowhere", &format!("{loss}\nclients = {{ networks = [\"8.8.8.0/24\"] }}"), "clients", "eu-central");
    // A region that is not whole.
    Call::new("POST", "/v1/admin/faults")
        .json(&serde_json::json!({"act": {"kind": "unready"}, "for": "10m", "by": "mk"}))
        .header("Authorization", up.operator())
        .to(up.at(1, 2, 2))
        .expect(201);
    refused("unready", loss, "nodes", "us-east");
    Call::new("DELETE", "/v1/admin/faults").header("Authorization", up.operator()).to(up.at(1, 2, 2)).expect(200);
    drill.settle();
    let fault = ["fault", "begin", "--data", up.data.to_str().unwrap(), "--node", "us-east", "--for", "10m"];
    let begun = Command::new(MERIDIAN).args(fault).args(["slow-disk", "--by", "1ms"]).output().unwrap();
    assert!(begun.status.success(), "{begun:?}");
    refused("disturbed", loss, "faults", "us-east: slow-disk");
    Call::new("DELETE", "/v1/admin/faults").header("Authorization", up.operator()).to(up.at(1, 2, 2)).expect(200);
    // An order that holds is neither a reason to begin nor touched by a look.
    let region = |verb: &str| {
        let mut command = Command::new(MERIDIAN);
        command.args(["region", verb, "ap-southeast", "--by", "ana", "--data"]).arg(&up.data).output().unwrap()
    };
    assert!(region("drain").status.success());
    holds("the order is known", SOON, || {
        let all = Call::new("GET", "/v1/admin/regions").to(up.at(1, 1, 2)).expect(200).json();
        all.as_array().unwrap().iter().any(|one| one["drain"] == true)
    });
    let drain = "mode = \"drain\"\nregion = \"ap-southeast\"";
    let checked = drill.command("check", "drained", drain).output().unwrap();
    assert_eq!(checked.status.code(), Some(4));
    let all = Call::new("GET", "/v1/admin/regions").to(up.at(1, 1, 2)).expect(200).json();
    assert!(all.as_array().unwrap().iter().any(|one| one["drain"] == true), "a look gives no order: {all}");
    assert!(region("restore").status.success());
    drill.settle();
    // Another drill has the lock, which it took in another region.
    let lock = serde_json::json!({"id": "other", "name": "game-day", "by": "ana", "for": "10m"});
    Call::new("POST", "/v1/admin/drill")
        .json(&lock)
        .header("Authorization", up.operator())
        .to(up.at(1, 3, 2))
        .expect(201);
    holds("the lock is known", SOON, || {
        let known = Call::new("GET", "/v1/admin/drill").to(up.at(1, 1, 2)).expect(200).json();
        known["locks"].as_array().unwrap().len() == 1
    });
    refused("locked", loss, "drill", "game-day");
    let release = |id: &str| {
        let call = Call::new("DELETE", format!("/v1/admin/drill/{id}")).header("Authorization", up.operator());
        call.to(up.at(1, 1, 2))
    };
    release("nobody").problem(404);
    release("other").expect(204);
    // Usage: exit code 2.
    for own in [
        "mode = \"fail\"",
        "mode = \"fail\"\nregion = \"atlantis\"",
        "mode = \"fail\"\nregion = \"us-east\"\nbogus = 1",
    ] {
        let Output { status, stderr, .. } = drill.command("run", "usage", own).output().unwrap();
        assert_eq!(status.code(), Some(2), "{own}: {}", String::from_utf8_lossy(&stderr));
    }
    assert_eq!(REGIONS.map(|region| up.pid(region)), before, "nothing was disturbed");
    up.stop();
}

#[test]
fn an_objective_is_missed_and_two_drills_do_not_run_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let drill = Drill::on(&up, folder.path());
    let missed = "mode = \"drain\"\nregion = \"us-east\"\nkeep = [0]\nobjectives = { detect = \"1ms\" }";
    let mut first = drill.command("run", "first", missed).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (code, second) = drill.run("second", missed);
    let first = first.wait().unwrap().code();
    // They began in the same moment: one gives way to the other, or both do.
    assert!([(Some(1), 4), (Some(4), 1), (Some(4), 4)].contains(&(first, code)), "{first:?} {code} {second}");
    drill.settle();
    let (code, report) = drill.run("alone", missed);
    assert_eq!((code, &report["verdict"]), (1, &"missed".into()), "{}", failed(&report));
    let met = |name: &str| {
        report["objectives"].as_array().unwrap().iter().any(|one| one["name"] == name && one["met"] == true)
    };
    assert!(!met("detect") && met("lost") && met("failed-edge"), "{}", failed(&report));
    assert_eq!(report["rpo"]["unreplicated"], Value::Null, "nothing was measured");
    up.stop();
}

/// A drill that holds for much longer than a test waits.
const HANG: &str = "mode = \"fail\"\nregion = \"us-east\"\nhow = \"hang\"\n\
    phases = { baseline = \"2s\", hold = \"5m\", after = \"0s\" }";

/// A drill that holds as long, with a fault that costs no client anything.
const ASTRAY: &str = "mode = \"clock\"\nregion = \"us-east\"\nby = \"2s\"\n\
    phases = { baseline = \"2s\", hold = \"5m\", after = \"0s\" }";

#[test]
fn a_guard_rail_restores_everything_and_so_does_the_expiry_after_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let drill = Drill::on(&up, folder.path());
    // No check-in is that fast: the guard rail breaks after its five seconds.
    let (code, report) = drill.run("guard", &format!("{HANG}\nguards = {{ p99 = \"1us\" }}"));
    assert_eq!((code, &report["verdict"]), (3, &"aborted".into()), "{}", failed(&report));
    assert!(report["reason"].as_str().unwrap().contains("p99"), "{report}");
    let at = |what: &str| {
        let events = report["timeline"].as_array().unwrap();
        let event = events.iter().find(|event| event["what"].as_str().unwrap().contains(what));
        event.unwrap_or_else(|| panic!("{what}: {events:?}"))["at_s"].as_f64().unwrap()
    };
    // Two seconds on a quiet machine; the entry in the audit trail waits for the disk. The drill would hold for minutes.
    assert!(at("restored") - at("ABORTED") < 20.0, "{report}");
    assert_eq!((drill.faults(1), report["rpo"]["lost"].as_u64()), (0, Some(0)));
    drill.settle();
    // kill -9: what it made ends by itself, after hold and margin.
    let before = up.pid("us-east");
    let mut child = drill.start("killed", "mode = \"fail\"\nregion = \"us-east\"");
    child.kill().unwrap();
    child.wait().unwrap();
    holds("the region is back", SETTLED, || drill.all_ready());
    assert_ne!(up.pid("us-east"), before, "`up` has started it again");
    assert!(!up.data.join("us-east/return-at").exists());
    up.stop();
}

/// Others than the drill's clients turn up, and replication stands still.
#[test]
fn a_breach_of_load_or_lag_restores_everything() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let drill = Drill::on(&up, folder.path());
    drill.breaks("load", HANG, "load = 0.05, p99 = \"30s\"", "requests/s, above 100", |_| {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            // Together they are fast enough on a busy machine as well.
            for _ in 0..8 {
                scope.spawn(|| {
                    while drill.faults(1) > 0 && begun.elapsed() < SOON {
                        (0..100).for_each(|_| drop(Call::new("GET", "/healthz").to(up.node(0))));
                    }
                });
            }
        });
    });
    drill.breaks("lag", ASTRAY, "lag = \"3s\", p99 = \"30s\"", "lag by", |_| drill.order(2, "partition"));
    up.stop();
}

#[test]
fn failures_silence_disagreement_and_blindness_restore_everything() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 2);
    let drill = Drill::on(&up, folder.path());
    let failures = "failed = 0.2, p99 = \"30s\"";
    drill.breaks("failures", HANG, failures, "check-ins through the edge failed in 5 s, above 20 %", |_| {
        drill.order(0, "refuse-clients");
        drill.order(2, "refuse-clients");
    });
    drill.breaks(
        "silence",
        ASTRAY,
        "p99 = \"30s\"",
        "ap-southeast, which is not disturbed, is silent or not ready",
        |_| {
            drill.order(2, "unready");
        },
    );
    // The drill itself stands still for longer than it may go without a look. Check-ins that time out meanwhile do not
    // count here.
    drill.breaks("blindness", ASTRAY, "failed = 1.0, p99 = \"1m\"", "the deployment was not looked at for 1", |pid| {
        let begun = Instant::now();
        kill(pid, Signal::SIGSTOP).unwrap();
        holds("the drill is blind", SOON, || begun.elapsed() > Duration::from_secs(11));
        kill(pid, Signal::SIGCONT).unwrap();
    });
    // No router hears another one that could outvote it. The second one takes a region for dead once its file names a
    // port where nothing listens.
    let file = |router: &str| up.data.join(router).join("router.toml");
    let alone = |router: &str| {
        let written = std::fs::read_to_string(file(router)).unwrap();
        let mut alone: toml::Table = toml::from_str(&written).unwrap();
        alone.remove("peers").expect("the router has a peer");
        up.kill(router);
        std::fs::write(file(router), alone.to_string()).unwrap();
        up.start_again(router)
    };
    let _routers = ["router-1", "router-2"].map(alone);
    drill.settle();
    let right = std::fs::read_to_string(file("router-2")).unwrap();
    // Routers reach nodes over TLS.
    let wrong = right.replace(&up.at(1, 3, 3).to_string(), &up.at(1, 3, 9).to_string());
    assert_ne!(wrong, right);
    let reads = |text: &str| {
        std::fs::write(file("router-2"), text).unwrap();
        kill(up.pid("router-2"), Signal::SIGHUP).unwrap();
    };
    let disagreement = "disagreement = \"2s\", p99 = \"30s\"";
    drill.breaks("disagreement", ASTRAY, disagreement, "routers disagree about ap-southeast", |_| {
        reads(&wrong);
        holds("the drill is aborted", SOON, || drill.faults(1) == 0);
        reads(&right);
    });
    up.stop();
}

#[test]
fn an_operator_and_a_lost_terminal_restore_everything() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let drill = Drill::on(&up, folder.path());
    // Ctrl-C.
    let mut child = drill.start("stopped", HANG);
    assert_eq!(drill.faults(1), 2);
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    holds("its faults are gone", SOON, || drill.faults(1) == 0);
    assert_eq!(child.wait().unwrap().code(), Some(3));
    drill.settle();
    // The terminal is gone, and with it the reader of what the drill says.
    let mut command = drill.command("run", "gone", HANG);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    holds("the faults are made", SOON, || drill.faults(1) == 2);
    drop(child.stderr.take());
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGHUP).unwrap();
    holds("its faults are gone", SOON, || drill.faults(1) == 0);
    assert_eq!(child.wait().unwrap().code(), Some(3));
    up.stop();
}

#[test]
fn drains_cuts_and_wrong_clocks_cost_no_check_in() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let drill = Drill::on(&up, folder.path());
    let met = |name: &str, own: &str| {
        drill.settle();
        let (code, report) = drill.run(name, own);
        assert_eq!(code, 0, "{name}: {}", failed(&report));
        report
    };
    let report = met("drain", "mode = \"drain\"\nregion = \"us-east\"\nkeep = [50, 0]");
    assert!(report["dns_s"].is_number() && report["failed"]["ttl"] == 0, "{report}");
    let steps: Vec<&str> =
        report["timeline"].as_array().unwrap().iter().map(|event| event["what"].as_str().unwrap()).collect();
    let at =
        |what: &str| steps.iter().position(|step| step.contains(what)).unwrap_or_else(|| panic!("{what}: {steps:?}"));
    assert!(
        at("keeps 50 %") < at("keeps 0 %") && at("keeps 0 %") < at("gets 50 %") && at("gets 50 %") < at("restored")
    );
    let report = met("cut", "mode = \"partition\"\nregion = \"us-east\"\nguards = { lag = \"60s\", p99 = \"30s\" }");
    assert!(
        report["rpo"]["unreplicated"].as_u64().unwrap() > 0,
        "a region that is alone has writes of its own: {report}"
    );
    assert!(report["rpo"]["oldest_s"].as_f64().unwrap() > 1.0 && report["rpo"]["lost"] == 0, "{report}");
    let report = met("clock", "mode = \"clock\"\nregion = \"ap-southeast\"\nby = \"2h\"");
    assert!(report["detect_s"].is_number() && report["resurrected"] == 0, "{report}");
    up.stop();
}

#[test]
fn a_router_is_lost_and_every_region_is_restarted() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 2);
    let drill = Drill::on(&up, folder.path());
    // Every drill that ships could begin here.
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/drills");
    for file in std::fs::read_dir(shipped).unwrap().flatten() {
        let mut command = Command::new(MERIDIAN);
        command.args(["drill", "check"]).arg(file.path()).arg("--data").arg(&up.data).env_remove("MERIDIAN_TOKEN");
        let Output { status, stdout, stderr } = command.output().unwrap();
        let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{}: {said}", file.path().display());
    }
    let router = up.pid("router-2");
    let (code, report) = drill.run("router", "mode = \"router\"");
    assert_eq!(code, 0, "{}", failed(&report));
    assert_ne!(up.pid("router-2"), router, "it was killed, and started again");
    drill.settle();
    let before = REGIONS.map(|region| up.pid(region));
    let (code, report) = drill.run("restart", "mode = \"restart\"");
    assert_eq!(code, 0, "{}", failed(&report));
    assert!(REGIONS.iter().zip(before).all(|(region, pid)| up.pid(region) != pid), "all were restarted");
    up.stop();
}

#[test]
fn a_node_checks_drills_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let drill = Drill::on(&up, folder.path());
    let http = |at: std::net::SocketAddr| format!("http://{at}");
    let nodes = REGIONS.iter().enumerate().map(|(index, region)| {
        let i = u8::try_from(index).unwrap() + 1;
        let (public, admin) = (http(up.public[index]), http(up.at(1, i, 2)));
        format!("{{ name = \"{region}\", region = \"{region}\", public = \"{public}\", admin = \"{admin}\" }}")
    });
    let nodes: Vec<String> = nodes.collect();
    let (edge, admin, dns) = (http(up.edge()), http(up.at(0, 1, 2)), up.at(0, 1, 3));
    let site = format!(
        "site = {{ service = \"checkin.meridian.test\", nodes = [{}], routers = [{{ name = \"router-1\", edge = \"{edge}\", \
         admin = \"{admin}\", dns = \"{dns}\" }}] }}",
        nodes.join(", ")
    );
    let file = drill.file("watched", &format!("mode = \"fail\"\nregion = \"eu-central\"\nhow = \"hang\"\n{site}"));
    let config = up.data.join("us-east/node.toml");
    let written = std::fs::read_to_string(&config).unwrap();
    let checks = |file: &Path| written.replace("check = []", &format!("check = [\"{}\"]", file.display()));
    up.kill("us-east");
    // A drill that cannot be checked from there is told at the start.
    std::fs::write(&config, checks(&drill.file("nowhere", "mode = \"fail\"\nregion = \"eu-central\""))).unwrap();
    let refused = Command::new(MERIDIAN).args(["node", "--config"]).arg(&config).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
    std::fs::write(&config, checks(&file)).unwrap();
    let _node = up.start_again("us-east");
    let fit = within("the drill is checked", SOON, || {
        let answer = Call::new("GET", "/metrics").send(up.at(1, 2, 2)).map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let mut values = text.lines().filter_map(|line| line.strip_prefix("meridian_drill_fit{drill=\"trial\"} "));
        values.next().map(str::to_owned).ok_or_else(|| "not yet".to_owned())
    });
    // Its region has just come back, so the routers may not send it all its clients yet; the log says so then.
    let log = std::fs::read_to_string(up.data.join("us-east/log")).unwrap();
    assert_eq!(fit == "0", log.contains("a drill would be refused now"), "{log}");
    let mut by_hand = Command::new(MERIDIAN);
    let checked = by_hand.args(["drill", "check"]).arg(&file).env_remove("MERIDIAN_TOKEN").output().unwrap();
    assert!([Some(0), Some(4)].contains(&checked.status.code()), "the same file works by hand: {checked:?}");
    up.stop();
}

#[test]
fn a_region_is_not_drained_if_the_others_have_no_room_for_its_load() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let _quick = Drill::on(&up, folder.path());
    let config = up.data.join("router-1/router.toml");
    let written = std::fs::read_to_string(&config).unwrap();
    // The probes of the router alone are more than that.
    std::fs::write(&config, written.replace("\nweight = 1.0", "\nweight = 1.0\ncapacity = 0.01")).unwrap();
    let drain = |more: &[&str]| {
        let mut command = Command::new(MERIDIAN);
        command.args(["region", "drain", "us-east", "--by", "mk", "--data"]).arg(&up.data).args(more).output().unwrap()
    };
    let refused = drain(&[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("have no room for us-east") && said.contains("requests/s"), "{said}");
    assert!(drain(&["--force"]).status.success());
    up.stop();
}
