//! The history of a run, for people and for other tools.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use simulations::history::{edn, explain, json_lines, shiviz};
use simulations::index::OperationIndex;
use simulations::run::{Keep, RunOutcome, run};
use simulations::scenario::Scenario;

fn outcome() -> RunOutcome {
    let text = "name = \"x\"\nduration = \"30s\"\nregions = [\"eu-central\", \"us-east\", \"ap-southeast\"]\n\
                [workload]\nrate = 2.0\nreads = 1.0\nerasures = 0.2\n\
                [[fault]]\nat = \"5s\"\nfor = \"10s\"\nkind = \"partition\"\nfrom = [\"us-east\"]\n";
    run(&Scenario::parse(text).unwrap(), 3, Keep { history: true, figures: true }).unwrap()
}

#[test]
fn a_request_is_followed_through_all_regions() {
    let outcome = outcome();
    let entries = &outcome.history.as_ref().unwrap().entries;
    let text =
        |op| explain(entries, &outcome.plan, OperationIndex(op)).into_iter().map(|(_, line)| line).collect::<Vec<_>>();
    let lines = text(0);
    let has = |part: &str| lines.iter().any(|line| line.contains(part));
    assert!(has("a client near") && has("acknowledges it") && has("sends it to") && has("the client has its answer"));
    assert_eq!(lines.iter().filter(|line| line.contains("durably knows it")).count(), 2, "{lines:#?}");
}

/// Every operation ends once, and both formats have the same number of lines.
#[test]
fn operations_are_well_formed_for_jepsen() {
    let outcome = outcome();
    let entries = &outcome.history.as_ref().unwrap().entries;
    let (mut open, mut guests, mut ended) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    let json = json_lines(entries);
    for (index, line) in json.lines().enumerate() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["index"], index);
        let process = line["process"].as_u64().unwrap();
        assert!(!ended.contains(&process), "process {process} goes on after an unknown outcome");
        match line["type"].as_str().unwrap() {
            "invoke" => assert_eq!(open.insert(process, line["f"].clone()), None),
            "ok" | "fail" | "info" => assert_eq!(open.remove(&process), Some(line["f"].clone())),
            other => panic!("{other}"),
        }
        if line["type"] == "info" {
            ended.insert(process);
        }
        // Reads have no visit before they are answered, and no guest writes the visit of another.
        if let Some(visit) = line["value"].as_u64() {
            assert_eq!(*guests.entry(process).or_insert(visit), visit, "{line}");
        }
    }
    let processes = guests.len();
    let visits = guests.values().collect::<BTreeSet<_>>().len();
    assert!((visits..visits + visits / 4).contains(&processes), "{processes} processes for {visits} guests");
    assert!(open.is_empty(), "{open:?}");
    let edn = edn(entries);
    assert_eq!(edn.lines().count(), json.lines().count());
    assert!(edn.lines().all(|line| line.starts_with("{:index ") && line.ends_with("]}")));
    assert!(edn.contains(":f :add") && edn.contains(":type :ok") && edn.contains(":f :remove"));
}

/// A frame is received after it was sent: its receiver's clock covers its sender's.
#[test]
fn vector_clocks_grow_and_follow_frames() {
    let outcome = outcome();
    let text = shiviz(&outcome.history.as_ref().unwrap().entries, &outcome.plan.regions);
    let mut own: BTreeMap<String, u64> = BTreeMap::new();
    let mut received = 0;
    for line in text.lines() {
        let (host, rest) = line.split_once(' ').unwrap();
        let clock = &rest[rest.rfind('{').unwrap()..];
        let clock: BTreeMap<String, u64> = serde_json::from_str(clock).unwrap();
        let before = own.insert(host.to_owned(), clock[host]).unwrap_or(0);
        assert_eq!(clock[host], before + 1, "{line}");
        if rest.contains("receives") {
            received += 1;
            assert!(clock.len() > 1, "{line}");
            assert!(clock.iter().all(|(other, count)| own.get(other).is_some_and(|seen| count <= seen)), "{line}");
        }
    }
    assert!(received > 10);
}

#[test]
fn measurements_add_up() {
    let outcome = outcome();
    let measured = outcome.figures.unwrap();
    let requests: u64 = measured.requests.iter().map(|count| count.done + count.otherwise() + count.failed).sum();
    // A few are still under way when the run ends.
    let asked = outcome.plan.operations.len();
    assert!((asked - 5..=asked).contains(&(requests as usize)), "{requests} of {asked}");
    let slices: u64 = measured.availability.iter().map(|slice| slice.at_home + slice.elsewhere + slice.failed).sum();
    assert_eq!(slices, requests);
    assert!(measured.staleness.iter().all(|pair| pair.never == 0 && pair.delays_ms.is_sorted()));
    // Frankfurt to Ashburn is 46 ms: nothing is seen sooner.
    let pair = measured.staleness.iter().find(|pair| (pair.from.0, pair.to.0) == (0, 1)).unwrap();
    assert!(pair.delays_ms[0] > 25.0, "{pair:?}");
    assert!(pair.delays_ms.last().unwrap() > &1_000.0, "the partition shows");
    assert!(measured.convergence.took.unwrap() <= measured.convergence.bound);
}

/// A visit that is checked in, erased, and requested again; and one that no region knows.
const ANSWERS: &str = r#"
    name = "answers"
    duration = "30s"
    regions = ["eu-central", "us-east"]
    operation = [
        { at = "8s", kind = "check-in", from = "eu-central", visit = 0, arrived = "8s", retention = "1h" },
        { at = "10s", kind = "look", from = "eu-central", visit = 0, arrived = "8s", retention = "1h" },
        { at = "12s", kind = "erase", from = "us-east", visit = 0, arrived = "8s", retention = "1h" },
        { at = "15s", kind = "correct", from = "eu-central", visit = 0, arrived = "8s", retention = "1h" },
        { at = "18s", kind = "correct", from = "eu-central", visit = 1, arrived = "8s", retention = "1h" },
    ]
"#;

fn answers() -> RunOutcome {
    run(&Scenario::parse(ANSWERS).unwrap(), 1, Keep { history: true, figures: true }).unwrap()
}

#[test]
fn requests_are_counted_by_what_was_answered() {
    let measured = answers().figures.unwrap();
    let of = |kind: &str| {
        let count = measured.requests.iter().find(|count| count.kind == kind).unwrap();
        [count.done, count.gone, count.unknown, count.stale, count.failed, count.writes()]
    };
    assert_eq!(of("check-in"), [1, 0, 0, 0, 0, 1]);
    assert_eq!(of("look"), [1, 0, 0, 0, 0, 0]);
    assert_eq!(of("erase"), [1, 0, 0, 0, 0, 1]);
    assert_eq!(of("correct"), [0, 1, 1, 0, 0, 0]);
    assert_eq!(measured.availability.iter().map(|slice| slice.otherwise).sum::<u64>(), 2);
}

/// When a run begins no region has heard of another. So the completeness of a guest list is unknown then, and not the
/// age of the epoch.
#[test]
fn completeness_is_unknown_before_it_is_known() {
    let measured = outcome().figures.unwrap();
    let of = |wanted: &dyn Fn(f64) -> bool| {
        let samples = measured.samples.iter().filter(|sample| wanted(sample.at));
        samples.flat_map(|sample| sample.completeness_s.iter().copied()).collect::<Vec<_>>()
    };
    assert!(of(&|at| at == 0.0).contains(&None));
    let longest = of(&|_| true).into_iter().flatten().fold(0.0, f64::max);
    assert!(longest > 5.0 && longest < 60.0, "{longest} s, with a partition of 10 s in a run of 30 s");
}

/// The last sample shows what the run has stored, not what is left after everything is forgotten.
#[test]
fn samples_end_when_the_regions_have_converged() {
    let measured = outcome().figures.unwrap();
    let last: Vec<_> = measured.samples.iter().rev().take(measured.regions.len()).collect();
    assert!(measured.samples.iter().all(|sample| sample.at <= measured.ended_at));
    assert!(last.iter().all(|sample| (sample.at - measured.ended_at).abs() < 1e-6 && sample.documents > 0));
    assert_eq!(measured.forgotten.len(), measured.regions.len());
    assert!(measured.forgotten.iter().all(|sample| sample.documents == 0 && sample.tombstones == 0));
}

/// The partition ends in the middle of the run. Both sides lack what the other wrote, and the third region lacks what
/// was written behind the cut. No region lacks entries of one that could reach it all the time.
#[test]
fn pairs_that_were_behind_are_counted_beside_all_pairs() {
    let measured = outcome().figures.unwrap();
    let [ended] = measured.fault_ends.as_slice() else { panic!("{:?}", measured.fault_ends) };
    assert_eq!((ended.at, ended.pairs), (15.0, 6));
    assert!((4..6).contains(&ended.behind), "{ended:?}");
    assert_eq!(measured.recoveries.len() as u64, ended.behind);
    let across = measured.recoveries.iter().filter(|pair| pair.from.0 == 1 || pair.to.0 == 1);
    // Connections must be made anew before any frame arrives.
    assert_eq!(across.filter(|pair| pair.took.is_some_and(|took| took > 0.1)).count(), 4);
}

/// The plan beside a report is the run itself.
#[test]
fn the_plan_of_a_report_gives_the_same_run() {
    let dir = tempfile::tempdir().unwrap();
    let first = outcome();
    simulations::report::write(dir.path(), &[first.figures.unwrap()], "").unwrap();
    let plan = Scenario::parse(&std::fs::read_to_string(dir.path().join("plan-3.toml")).unwrap()).unwrap();
    let written = plan.replay.clone().unwrap();
    assert_eq!((written.trace, written.seed.as_str()), (first.trace, "3"));
    let again = run(&plan, 3, Keep { figures: true, ..Keep::default() }).unwrap();
    assert_eq!(again.trace, first.trace);
    let settings = again.figures.unwrap().settings;
    for name in ["rate", "retentions", "max retention", "max clock skew", "jitter", "loss", "bandwidth", "sync"] {
        assert!(settings.iter().any(|(setting, value)| setting == name && !value.is_empty()), "{name}: {settings:?}");
    }
}

/// A cut, a pause and a crash, each with a request in the middle of it.
const TROUBLE: &str = r#"
    name = "trouble"
    duration = "60s"
    regions = ["eu-central", "us-east"]
    operation = [
        { at = "6s", kind = "check-in", from = "us-east", visit = 0, arrived = "6s", retention = "1h" },
        { at = "20100ms", kind = "check-in", from = "us-east", visit = 1, arrived = "20s", retention = "1h" },
        { at = "40s", kind = "check-in", from = "us-east", visit = 2, arrived = "40s", retention = "1h" },
    ]
    fault = [
        { at = "5s", for = "10s", kind = "partition", from = ["us-east"] },
        { at = "20s", for = "8s", kind = "pause", region = "us-east" },
        { at = "35s", for = "10s", kind = "crash", region = "us-east" },
    ]
"#;

fn story(outcome: &RunOutcome, operation: usize) -> Vec<String> {
    let lines = explain(&outcome.history.as_ref().unwrap().entries, &outcome.plan, OperationIndex(operation));
    assert!(lines.iter().is_sorted_by_key(|(at, _)| *at));
    lines.into_iter().map(|(_, line)| line).collect()
}

/// These lines are there, in this order.
fn in_order(lines: &[String], wanted: &[&str]) {
    let mut rest = lines.iter();
    for part in wanted {
        assert!(rest.any(|line| line.contains(part)), "no `{part}` at its place in {lines:#?}");
    }
}

#[test]
fn explain_tells_the_faults_around_a_request() {
    let outcome = run(&Scenario::parse(TROUBLE).unwrap(), 1, Keep { history: true, ..Keep::default() }).unwrap();
    let cut = story(&outcome, 0);
    assert!(cut[0].starts_with("fault begins: partition"), "it was on already: {cut:#?}");
    in_order(&cut, &["a client near us-east asks", "the client tries us-east", "us-east answers: done"]);
    let lost = "the frame from us-east to eu-central with it is lost";
    in_order(&cut, &["us-east sends it to eu-central", lost, "fault ends: partition", "eu-central durably knows it"]);
    in_order(&cut, &["fault begins: pause", "fault begins: crash", "us-east goes down", "us-east starts", "healed"]);

    let crash = story(&outcome, 2);
    in_order(&crash[..2], &["us-east goes down"]);
    in_order(
        &crash,
        &["a client near us-east asks", "eu-central answers: done", "us-east starts", "us-east durably knows it"],
    );
    assert!(!crash.iter().any(|line| line.contains("partition")), "that was over: {crash:#?}");

    let pause = story(&outcome, 1);
    in_order(&pause, &["fault begins: pause", "no answer from us-east", "the client tries eu-central"]);
    in_order(&pause, &["eu-central answers: done", "the client has its answer: done", "us-east answers too late"]);
}

#[test]
fn every_answer_is_told_as_it_was() {
    let outcome = answers();
    in_order(&story(&outcome, 3), &["eu-central answers: gone", "the client has its answer: gone"]);
    let unknown = ["eu-central answers: unknown there", "the client tries us-east", "us-east answers: unknown there"];
    in_order(&story(&outcome, 4), &unknown);
    // A run that broke before that has no record of it.
    let lines = explain(&[], &outcome.plan, OperationIndex(4));
    assert_eq!(lines, [(std::time::Duration::from_secs(18), "not asked: the run ended before".to_owned())]);
}

/// Kind, function and process of each line.
fn processes(outcome: &RunOutcome) -> Vec<(String, String, u64)> {
    let json = json_lines(&outcome.history.as_ref().unwrap().entries);
    let line = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| line[key].as_str().unwrap().to_owned();
        (text("type"), text("f"), line["process"].as_u64().unwrap())
    };
    json.lines().map(line).collect()
}

/// A guest is one process from the check-in to the requests after the erasure. Another guest is another process.
#[test]
fn a_session_is_a_process() {
    let lines = processes(&answers());
    let of: Vec<u64> = lines.iter().filter(|(kind, ..)| kind == "invoke").map(|(.., process)| *process).collect();
    assert_eq!(of, [0, 0, 0, 0, 1], "{lines:?}");
    let ended: Vec<&str> = lines.iter().filter(|(kind, ..)| kind != "invoke").map(|(kind, ..)| kind.as_str()).collect();
    assert_eq!(ended, ["ok", "ok", "ok", "fail", "fail"]);
}

/// No region answers the check-in, which may be durable all the same. The guest goes on as another process. Two
/// requests of one guest at once are two processes, since a process waits for its answer.
#[test]
fn an_unknown_outcome_ends_its_process() {
    let text = r#"
        name = "nobody"
        duration = "60s"
        regions = ["eu-central"]
        operation = [
            { at = "6s", kind = "check-in", from = "eu-central", visit = 0, arrived = "6s", retention = "1h" },
            { at = "40s", kind = "check-in", from = "eu-central", visit = 0, arrived = "6s", retention = "1h" },
            { at = "45s", kind = "correct", from = "eu-central", visit = 0, arrived = "6s", retention = "1h" },
            { at = "45s", kind = "look", from = "eu-central", visit = 0, arrived = "6s", retention = "1h" },
            { at = "50s", kind = "read", from = "eu-central", visit = 0 },
        ]
        fault = [{ at = "5s", for = "20s", kind = "pause", region = "eu-central" }]
    "#;
    let outcome = run(&Scenario::parse(text).unwrap(), 1, Keep { history: true, ..Keep::default() }).unwrap();
    let lines = processes(&outcome);
    let kind = |wanted: &str| -> Vec<(&str, u64)> {
        let lines = lines.iter().filter(|(kind, ..)| kind == wanted);
        lines.map(|(_, f, process)| (f.as_str(), *process)).collect()
    };
    assert_eq!(kind("info"), [("add", 0)]);
    // The reader has the same number as the visit, and is another session.
    assert_eq!(kind("invoke"), [("add", 0), ("add", 1), ("correct", 1), ("look", 2), ("read", 3)]);
    assert_eq!(kind("ok").len(), 4, "{lines:?}");
}
