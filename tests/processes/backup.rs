//! Backups of real nodes: taken, refused, put back beside live regions and alone, and what the other regions make of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::common::deployment::AGREED;
use crate::common::{Call, Deployment, MERIDIAN, Node, Up, Venue, Visit, holds, within};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const CANARY: &str = "Quetzalcoatlina Xylander";

fn meridian(arguments: &[&str]) -> Output {
    Command::new(MERIDIAN).args(arguments).env_remove("MERIDIAN_TOKEN").output().unwrap()
}

/// Runs a command that succeeds; returns what it printed.
#[track_caller]
fn done(arguments: &[&str]) -> String {
    let output = meridian(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that fails; returns its words.
#[track_caller]
fn refused(arguments: &[&str], code: i32) -> String {
    let output = meridian(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

/// A new key: the file, and the recipient.
fn key(folder: &Path, name: &str) -> (String, String) {
    let file = folder.join(name).display().to_string();
    let recipient = done(&["backup", "key", "--out", &file]).trim().to_owned();
    (file, recipient)
}

#[track_caller]
fn take(admin: &str, recipient: &str, to: &str) -> Value {
    let said = done(&["backup", "--admin", admin, "--recipient", recipient, "--to", to, "--json"]);
    serde_json::from_str(&said).unwrap()
}

fn restore<'a>(from: &'a str, identity: &'a str, config: &'a str) -> [&'a str; 8] {
    ["restore", "--from", from, "--identity", identity, "--config", config, "--json"]
}

fn config(node: &Node) -> String {
    node.folder.join("node.toml").display().to_string()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn an_old_backup_of_a_region_that_was_lost_is_put_back_beside_live_regions() {
    let mut deployment = Deployment::start(3);
    let folder = tempfile::tempdir().unwrap();
    let (identity, recipient) = key(folder.path(), "key");
    let admin = format!("http://{}", deployment.nodes[0].admin);
    let venue = Venue::make(deployment.nodes[0].public, "14d");
    deployment.wait_known(&venue);
    let mut visits: BTreeMap<String, Visit> = BTreeMap::new();
    let mut check_in = |deployment: &Deployment, count: usize| {
        for number in 0..count {
            let visit = venue.visit(CANARY, &format!("+49 151 {number:07}"));
            visit.check_in(deployment.nodes[number % 3].public);
            visits.insert(visit.id.clone(), visit);
        }
        visits.clone()
    };
    let before = check_in(&deployment, 30);
    deployment.wait_complete(&venue);
    let old = deployment.nodes[0].status()["replica"].clone();
    let summary = take(&admin, &recipient, &format!("{}/", folder.path().join("backups").display()));
    let backup = summary["to"].as_str().unwrap().to_owned();
    assert!(backup.contains("/backups/eu-central-20") && backup.ends_with(".age"), "{summary}");
    let bytes = std::fs::read(&backup).unwrap();
    assert_eq!(summary["bytes"], bytes.len());
    assert!(memchr::memmem::find(&bytes, CANARY.as_bytes()).is_none());
    assert_eq!(files(&folder.path().join("backups")), [PathBuf::from(&backup)], "and nothing else is left there");
    // The last piece is sent before.
    holds("it is counted", AGREED, || deployment.nodes[0].metric("meridian_backups_total") == 1.0);
    within("another region has it in the trail", AGREED, || {
        let trail = Call::new("GET", "/v1/admin/audit").to(deployment.nodes[1].admin).expect(200).json();
        let what = trail["entries"][0]["what"].as_str().unwrap_or_default();
        if what == format!("backup to {recipient}") { Ok(()) } else { Err(trail) }
    });

    // Afterwards guests check in and correct, and some of the old visits are erased.
    let after = check_in(&deployment, 30);
    let erased: Vec<&Visit> = before.values().take(7).collect();
    for (at, visit) in erased.iter().enumerate() {
        deployment.nodes[at % 3].ask(&visit.erase()).expect(204);
    }
    deployment.wait_complete(&venue);

    // The region is lost.
    deployment.nodes[0].kill();
    let (store, file) = (deployment.nodes[0].store(), config(&deployment.nodes[0]));
    let said = refused(&restore(&backup, &identity, &file), 1);
    assert!(said.contains("is not empty") && said.contains("Stop the node"), "{said}");
    std::fs::remove_dir_all(&store).unwrap();
    // What cannot be put back leaves nothing behind.
    let (wrong, _) = key(folder.path(), "wrong");
    assert!(refused(&restore(&backup, &wrong, &file), 1).contains("the identity does not open this backup"));
    let damaged = folder.path().join("damaged.age").display().to_string();
    std::fs::write(&damaged, &bytes[..bytes.len() - 40]).unwrap();
    assert!(refused(&restore(&damaged, &identity, &file), 1).contains("cut short or damaged"));
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    std::fs::write(&damaged, &flipped).unwrap();
    assert!(refused(&restore(&damaged, &identity, &file), 1).contains("take another one"));
    assert!(!store.exists() || files(&store).is_empty());
    // A restore that was killed leaves a folder in which no node starts.
    std::fs::create_dir_all(&store).unwrap();
    std::fs::write(store.join(node::backup::UNFINISHED), "").unwrap();
    assert!(refused(&restore(&backup, &identity, &file), 1).contains("did not finish: delete the folder"));
    deployment.nodes[0].restart();
    assert_eq!(deployment.nodes[0].ended().code(), Some(1));
    assert!(deployment.nodes[0].log().contains("did not finish"), "{}", deployment.nodes[0].log());
    std::fs::remove_dir_all(&store).unwrap();

    let put: Value = serde_json::from_str(&done(&restore(&backup, &identity, &file))).unwrap();
    assert_eq!((&put["node"], &put["expired"], &put["replica"]), (&json!("eu-central"), &json!(0), &old), "{put}");
    deployment.nodes[0].start_again();
    assert_ne!(deployment.nodes[0].status()["replica"], old, "it goes on under a new id");
    deployment.wait_linked();
    // It writes again, and every region has everything but what was erased.
    let last = venue.visit(CANARY, "+49 151 9999999");
    last.check_in(deployment.nodes[0].public);
    deployment.wait_complete(&venue);
    let mut wanted: Vec<&String> = after.keys().chain([&last.id]).collect();
    wanted.retain(|id| !erased.iter().any(|visit| visit.id == **id));
    wanted.sort();
    for node in &deployment.nodes {
        let list = venue.list(node.public);
        assert_eq!(list.keys().collect::<Vec<_>>(), wanted, "{}", node.region);
        for visit in &erased {
            node.ask(&visit.get()).problem(410);
        }
        holds("nothing is on its way", AGREED, || node.metric("meridian_replication_lag_entries") == 0.0);
        assert_eq!(node.metric("meridian_forks_total"), 0.0);
    }
}

#[test]
fn a_region_without_peers_serves_what_the_backup_had_and_one_recipient_is_enough() {
    let mut deployment = Deployment::start(1);
    let folder = tempfile::tempdir().unwrap();
    let (identity, recipient) = key(folder.path(), "key");
    let node = &mut deployment.nodes[0];
    let admin = format!("http://{}", node.admin);
    let venue = Venue::make(node.public, "14d");
    // The development policy allows it: over before the restore.
    let short = Venue::make(node.public, "5s");
    let visit = venue.visit(CANARY, "+49 151 2345678");
    visit.check_in(node.public);
    short.visit("Zephyrinus", "+49 151 2345679").check_in(node.public);
    let backup = folder.path().join("one.age").display().to_string();

    // Without a recipient, with one that is none, and over another backup.
    let to = ["backup", "--admin", &admin, "--to", &backup];
    assert!(refused(&to, 2).contains("meridian backup key"));
    assert!(refused(&[&to[..], &["--recipient", "age1xyz"]].concat(), 2).contains("is no recipient"));
    assert!(!Path::new(&backup).exists());
    take(&admin, &recipient, &backup);
    let again = refused(&[&to[..], &["--recipient", &recipient]].concat(), 2);
    assert!(again.contains("exists already"), "{again}");
    assert!(refused(&["backup", "key", "--out", &identity], 2).contains("an existing key is never replaced"));

    let later = venue.visit(CANARY, "+49 151 1111111");
    later.check_in(node.public);
    node.stop();
    std::fs::remove_dir_all(node.store()).unwrap();
    let file = config(node);
    // A key that others can read may have been copied.
    let open = std::os::unix::fs::PermissionsExt::from_mode;
    std::fs::set_permissions(&identity, open(0o644)).unwrap();
    assert!(refused(&restore(&backup, &identity, &file), 2).contains("chmod 600"));
    std::fs::set_permissions(&identity, open(0o600)).unwrap();
    // It waits until the short visit is over.
    let expired = within("the short visit is over", Duration::from_secs(20), || {
        let put: Value = serde_json::from_str(&done(&restore(&backup, &identity, &file))).unwrap();
        if put["expired"] == 1 {
            return Ok(put);
        }
        std::fs::remove_dir_all(node.store()).unwrap();
        Err(put)
    });
    assert!(expired["documents"].as_u64().unwrap() >= 3, "two venues and a visit: {expired}");
    node.start_again();
    assert_eq!(node.ask(&visit.get()).expect(200).json()["persons"][0]["name"], CANARY);
    node.ask(&later.get()).problem(404);
    let third = venue.visit("Zephyrinus", "+49 151 2222222");
    third.check_in(node.public);
    node.process().signal(Signal::SIGKILL);
    node.ended();
    node.start_again();
    assert_eq!(venue.list(node.public).len(), 2);
}

#[test]
fn a_backup_needs_the_role_operate_and_goes_to_the_configured_recipients_alone() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let (_, recipient) = key(folder.path(), "key");
    let ask = |body: Value| Call::new("POST", "/v1/admin/backup").json(&body);
    let problem = ask(json!({"recipients": [recipient]})).to(up.at(1, 1, 2)).problem(401);
    assert_eq!(problem["type"], "urn:meridian:problem:operator-token-missing");
    let asked = |body: Value| ask(body).header("Authorization", up.operator()).to(up.at(1, 1, 2));
    for body in [json!({}), json!({"recipients": ["age1xyz"]}), json!({"recipients": vec![&recipient; 17]})] {
        asked(body).problem(422);
    }
    asked(json!({"recipient": recipient})).problem(400);
    let data = up.data.display().to_string();
    let to = format!("{}/", folder.path().display());
    let printed = done(&["backup", "--data", &data, "--node", "us-east", "--recipient", &recipient, "--to", &to]);
    assert!(printed.contains("/us-east-20") && printed.contains(" documents, "), "{printed}");
    // A node whose configuration names recipients.
    let (_, other) = key(folder.path(), "other");
    let file = up.data.join("us-east/node.toml");
    let written = std::fs::read_to_string(&file).unwrap();
    let named = written.replace("recipients = []", &format!("recipients = [\"{recipient}\"]"));
    assert_ne!(named, written);
    std::fs::write(&file, named).unwrap();
    up.kill("us-east");
    let again = up.start_again("us-east");
    let admin = up.at(1, 2, 2);
    holds("it is there again", AGREED, || Call::new("GET", "/healthz").send(admin).is_ok());
    let asked = |body: Value| ask(body).header("Authorization", up.operator()).to(admin);
    let detail = asked(json!({"recipients": [other]})).problem(422)["detail"].to_string();
    assert!(detail.contains("backup.recipients"), "{detail}");
    let answer = asked(json!({})).expect(200);
    assert!(answer.body.starts_with(b"age-encryption.org/v1\n"));
    drop(again);
    up.stop();
}
