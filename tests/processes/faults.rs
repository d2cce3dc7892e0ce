//! Faults that an operator makes through the admin listener: each does what it says, is seen, and ends by itself.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Answer, Call, Deployment, MERIDIAN, Venue, holds};

const SOON: Duration = Duration::from_secs(30);

/// Longer than any step of a test.
const LONG: &str = "10m";

fn begin(deployment: &Deployment, node: usize, act: &Value, lasts: &str) -> Answer {
    let fault = json!({"act": act, "for": lasts, "by": "mk", "reason": "a drill"});
    Call::new("POST", "/v1/admin/faults").json(&fault).to(deployment.nodes[node].admin)
}

fn end_all(deployment: &Deployment, node: usize) {
    Call::new("DELETE", "/v1/admin/faults").to(deployment.nodes[node].admin).expect(200);
}

fn active(deployment: &Deployment, node: usize) -> Vec<String> {
    let list = Call::new("GET", "/v1/admin/faults").to(deployment.nodes[node].admin).expect(200).json();
    let kind = |fault: &Value| fault["act"]["kind"].as_str().unwrap().to_owned();
    list["faults"].as_array().unwrap().iter().map(kind).collect()
}

fn readyz(deployment: &Deployment, node: usize) -> Option<u16> {
    Call::new("GET", "/readyz").send(deployment.nodes[node].public).ok().map(|answer| answer.status)
}

#[test]
fn a_partition_holds_visits_back_until_it_ends() {
    let deployment = Deployment::disturbed(2);
    deployment.wait_linked();
    let venue = Venue::make(deployment.nodes[0].public, "1d");
    deployment.wait_known(&venue);
    begin(&deployment, 0, &json!({"kind": "partition"}), LONG).expect(201);
    assert_eq!(active(&deployment, 0), ["partition"]);
    assert!(deployment.nodes[0].status()["faults"][0]["until"].is_string());
    assert!((deployment.nodes[0].metric("meridian_faults_active") - 1.0).abs() < 0.1);
    holds("both notice that the link is gone", SOON, || (0..2).all(|node| deployment.nodes[node].linked().is_empty()));
    // The region that is cut off goes on, and the other one does not know of it.
    venue.visit("Zoë", "030 1").check_in(deployment.nodes[0].public).expect(201);
    assert!(venue.list(deployment.nodes[1].public).is_empty());
    end_all(&deployment, 0);
    deployment.wait_linked();
    holds("the visit is everywhere", SOON, || venue.list(deployment.nodes[1].public).len() == 1);
    let log = deployment.nodes[0].log();
    assert!(log.contains("a fault begins") && log.contains("a fault ends"), "{log}");
    assert!(!log.contains("a drill"), "what operators write is in no log");
}

#[test]
fn clients_are_refused_or_hang_and_are_served_again_at_once() {
    let deployment = Deployment::disturbed(1);
    deployment.nodes[0].wait_ready();
    begin(&deployment, 0, &json!({"kind": "unready"}), LONG).expect(201);
    assert_eq!(readyz(&deployment, 0), Some(503));
    begin(&deployment, 0, &json!({"kind": "refuse-clients"}), LONG).expect(201);
    assert_eq!(readyz(&deployment, 0), None);
    end_all(&deployment, 0);
    deployment.nodes[0].wait_ready();
    // A request that hangs is answered once the fault ends.
    let begun = std::time::Instant::now();
    begin(&deployment, 0, &json!({"kind": "hang-clients"}), "2s").expect(201);
    assert!(readyz(&deployment, 0).is_some());
    assert!(begun.elapsed() >= Duration::from_secs(2), "it hung");
}

#[test]
fn a_clock_that_steps_is_doubted_and_a_disk_that_is_slow_is_waited_for() {
    let deployment = Deployment::disturbed(3);
    deployment.wait_linked();
    let venue = Venue::make(deployment.nodes[0].public, "1d");
    deployment.wait_known(&venue);
    begin(&deployment, 0, &json!({"kind": "clock-step", "by-ms": 7_200_000}), LONG).expect(201);
    holds("the clock is doubted", SOON, || deployment.nodes[0].status()["clock"]["in_doubt"] == true);
    end_all(&deployment, 0);
    holds("the clock is believed again", SOON, || deployment.nodes[0].status()["clock"]["in_doubt"] == false);
    begin(&deployment, 1, &json!({"kind": "slow-disk", "by": "700ms"}), LONG).expect(201);
    let begun = std::time::Instant::now();
    venue.visit("Zoë", "030 1").check_in(deployment.nodes[1].public).expect(201);
    assert!(begun.elapsed() > Duration::from_millis(600), "an acknowledgement waits for the disk");
    end_all(&deployment, 1);
}

#[test]
fn a_node_whose_disk_is_full_ends_itself_and_loses_nothing() {
    let mut deployment = Deployment::disturbed(1);
    let venue = Venue::make(deployment.nodes[0].public, "1d");
    venue.visit("Zoë", "030 1").check_in(deployment.nodes[0].public).expect(201);
    begin(&deployment, 0, &json!({"kind": "full-disk"}), LONG).expect(201);
    let at = deployment.nodes[0].public;
    let refused = venue.visit("Ane", "030 2").put().send(at);
    assert!(refused.is_err() || refused.is_ok_and(|answer| answer.status >= 500), "it is not acknowledged");
    assert!(!deployment.nodes[0].ended().success());
    deployment.nodes[0].start_again();
    assert!(active(&deployment, 0).is_empty(), "a fault ends with its process");
    assert_eq!(venue.list(deployment.nodes[0].public).len(), 1);
}

#[test]
fn a_fault_that_is_wrong_or_not_allowed_is_refused() {
    let deployment = Deployment::disturbed(2);
    let refused = |act: Value, lasts: &str, status: u16| begin(&deployment, 0, &act, lasts).problem(status);
    assert!(refused(json!({"kind": "unready"}), "2h", 422)["detail"].as_str().unwrap().contains("1h"));
    let stranger = refused(json!({"kind": "partition", "to": ["nowhere"]}), "5s", 422);
    assert!(stranger["detail"].as_str().unwrap().contains(deployment.nodes[1].region), "{stranger}");
    refused(json!({"kind": "earthquake"}), "5s", 400);
    refused(json!({"kind": "degrade"}), "5s", 422);
    Call::new("DELETE", "/v1/admin/faults/7").to(deployment.nodes[0].admin).problem(404);
    assert!(active(&deployment, 0).is_empty());
    let begun = begin(&deployment, 0, &json!({"kind": "unready"}), LONG).expect(201).json();
    Call::new("DELETE", format!("/v1/admin/faults/{}", begun["id"])).to(deployment.nodes[0].admin).expect(204);
    deployment.nodes[0].wait_ready();
    // A node takes faults only if its configuration says so.
    let other = Deployment::start(1);
    assert!(
        begin(&other, 0, &json!({"kind": "unready"}), LONG).problem(403)["detail"]
            .as_str()
            .unwrap()
            .contains("[faults]")
    );
}

#[test]
fn an_operator_begins_lists_and_ends_faults_by_command() {
    let deployment = Deployment::disturbed(2);
    let admin = format!("http://{}", deployment.nodes[0].admin);
    let meridian = |args: &[&str]| {
        let output = Command::new(MERIDIAN).arg("fault").args(args).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let begin = ["begin", "--admin", &admin, "--for", "5m", "--reason", "kernel"];
    let (code, said, _) = meridian(&[&begin[..], &["clock-step", "--by", "-90s"]].concat());
    assert_eq!((code, active(&deployment, 0)), (0, vec!["clock-step".to_owned()]));
    assert!(said.contains("clock-step by -90000 ms") && said.contains("ends by itself"), "{said}");
    let (code, said, _) = meridian(&["list", "--admin", &admin]);
    assert!(code == 0 && said.contains("clock-step by -90000 ms") && said.contains("kernel"), "{said}");
    let (code, said, _) = meridian(&["list", "--json", "--admin", &admin]);
    let list: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &list[0]["faults"][0]["act"]["by-ms"]), (0, &json!(-90_000)));
    assert_eq!(meridian(&["end", "--admin", &admin]).0, 0);
    assert_eq!(meridian(&["list", "--admin", &admin]).1.trim(), "No fault is active.");
    // What is wrong is said: usage with 2, refusals of the node with 1.
    let (code, _, said) = meridian(&["begin", "--admin", &admin, "--for", "2h", "unready"]);
    assert!(code == 2 && said.contains("1h"), "{code} {said}");
    let (code, _, said) = meridian(&[&begin[..], &["partition", "--to", "nowhere"]].concat());
    assert!(code == 1 && said.contains("peers of this node"), "{code} {said}");
    assert_eq!(meridian(&["end", "--admin", &admin, "7"]).0, 1);
    assert_eq!(meridian(&["begin", "--for", "1s", "unready"]).0, 2, "no node is named");
}
