//! The drill that puts an old backup back over a live region: to its end, stopped, and killed.

use std::path::Path;
use std::process::Output;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{Drill, SETTLED, SOON, failed};
use crate::common::{Call, Up, holds};

/// The restore of an old backup, in short.
const RESTORE: &str = "mode = \"restore\"\nregion = \"us-east\"\nkeep = [0]\nage = \"4s\"\naway = \"60s\"\n\
    phases = { baseline = \"4s\", soak = \"2s\", hold = \"8s\", after = \"1s\" }";

/// The id of the store of `us-east`.
fn replica(up: &Up) -> String {
    let status = Call::new("GET", "/v1/admin/status").to(up.at(1, 2, 2)).expect(200).json();
    status["replica"].as_str().unwrap().to_owned()
}

#[test]
fn an_old_backup_is_put_back_over_a_live_region() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let drill = Drill::on(&up, folder.path());
    let before = replica(&up);
    let (code, report) = drill.run("restore", RESTORE);
    assert_eq!((code, &report["verdict"]), (0, &"met".into()), "{}", failed(&report));
    assert_ne!(replica(&up), before, "it goes on under a new id");
    let at = |path: &str| report.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path}: {report}"));
    for none in ["/failed/edge", "/rpo/unreplicated", "/rpo/lost", "/session_breaches", "/resurrected", "/left_behind"]
    {
        assert_eq!(report.pointer(none), Some(&0.into()), "{none}: {}", failed(&report));
    }
    for some in ["backup_bytes", "documents", "erased_since", "corrected_since", "restore_s", "caught_up_s"] {
        assert!(at(&format!("/restored/{some}")) > 0.0, "{some}: {report}");
    }
    // The backup was made before the guests went on for four seconds and the region was drained for eight.
    assert!(at("/restored/age_s") > 12.0 && at("/restored/gone") >= at("/restored/erased_since"), "{report}");
    assert_eq!(report["restored"]["removed"], serde_json::json!(["the backup", "the store that was set aside"]));
    assert_eq!(report["restored"]["left"], serde_json::json!([]));
    assert!(!up.data.join("us-east/store-drill").exists());
    let page = std::fs::read_to_string(folder.path().join("reports/restore/index.html")).unwrap();
    assert!(page.contains("Backup put back in") && page.contains("<h2>Backup</h2>"), "{page}");
    let text = std::fs::read_to_string(folder.path().join("reports/restore/report.md")).unwrap();
    assert!(text.contains("| erased visits that the region has not got |"), "{text}");
    // An objective of its own that is missed.
    drill.settle();
    let (code, report) = drill.run("late", &format!("{RESTORE}\nobjectives = {{ caught-up = \"1us\" }}"));
    assert_eq!((code, &report["verdict"]), (1, &"missed".into()), "{}", failed(&report));
    let missed = report["objectives"].as_array().unwrap().iter().filter(|one| one["met"] == false);
    assert_eq!(missed.map(|one| one["name"].as_str().unwrap()).collect::<Vec<_>>(), ["caught-up"]);
    up.stop();
}

/// The restored store hears no other region, so it never catches up.
#[test]
fn a_restore_that_is_stopped_puts_the_own_store_of_the_region_back() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let drill = Drill::on(&up, folder.path());
    let before = replica(&up);
    let mut child = drill.start_until("aborted", RESTORE, "and it is stopped");
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    let log = || std::fs::read_to_string(folder.path().join("aborted.log")).unwrap();
    assert!(!log().contains("has the place of its store"), "{}", log());
    for region in [1, 3] {
        let fault = serde_json::json!({"act": {"kind": "partition", "to": ["us-east"]}, "for": "10m", "by": "mk"});
        let call = Call::new("POST", "/v1/admin/faults").json(&fault).header("Authorization", up.operator());
        call.to(up.at(1, region, 2)).expect(201);
    }
    kill(pid, Signal::SIGCONT).unwrap();
    holds("the restored store is in use", SOON, || log().contains("has the place of its store"));
    kill(pid, Signal::SIGINT).unwrap();
    holds("everything is restored", SOON, || log().contains("verything is restored"));
    let node = std::fs::read_to_string(up.data.join("us-east/log")).unwrap();
    let opened: Vec<&str> = node.lines().filter(|line| line.contains("the store is open")).collect();
    // It hears no peer, so it goes on under a new id soon.
    let has_own = |line: &&str| line.contains(&before);
    assert!(opened.len() == 3 && has_own(&opened[0]) && !has_own(&opened[1]) && has_own(&opened[2]), "{opened:#?}");
    for region in [1, 3] {
        let end = Call::new("DELETE", "/v1/admin/faults").header("Authorization", up.operator());
        end.to(up.at(1, region, 2)).expect(200);
    }
    assert_eq!(child.wait().unwrap().code(), Some(3), "{}", log());
    let report = std::fs::read(folder.path().join("reports/aborted/report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert!(report["reason"].as_str().unwrap().contains("Ctrl-C"), "{}", failed(&report));
    assert_eq!((&report["rpo"]["lost"], &report["resurrected"]), (&0.into(), &0.into()), "{report}");
    // It could not tell the others what pinned clients may have told it, so it is kept, and named.
    assert_eq!(report["restored"]["removed"], serde_json::json!(["the backup"]), "{report}");
    let left = report["restored"]["left"].as_array().unwrap();
    assert!(left.len() == 1 && left[0].as_str().unwrap().contains("us-east/store-drill/given-up has guests' data"));
    assert!(
        up.data.join("us-east/store-drill/given-up").exists() && !up.data.join("us-east/store-drill/aside").exists()
    );
    up.stop();
}

#[test]
fn a_restore_that_is_killed_ends_by_itself_and_the_next_drill_names_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let drill = Drill::on(&up, folder.path());
    // A node that encrypts to its operators alone is no node for this drill.
    let file = up.data.join("us-east/node.toml");
    let written = std::fs::read_to_string(&file).unwrap();
    let recipient = node::backup_key::Identity::generate().recipient();
    std::fs::write(&file, written.replace("recipients = []", &format!("recipients = [\"{recipient}\"]"))).unwrap();
    let checked = |name: &str, own: &str| {
        let Output { status, stdout, .. } = drill.command("check", name, own).output().unwrap();
        let checks: Value = serde_json::from_slice(&stdout).unwrap();
        (status.code(), checks["checks"].clone())
    };
    let of = |checks: &Value, name: &str| {
        let found = checks.as_array().unwrap().iter().find(|check| check["name"] == name).cloned();
        found.map(|check| (check["passed"] == true, check["detail"].as_str().unwrap().to_owned())).unwrap()
    };
    let (code, checks) = checked("recipients", RESTORE);
    let (passed, detail) = of(&checks, "store");
    assert!(code == Some(4) && !passed && detail.contains("backup.recipients"), "{checks}");
    std::fs::write(&file, written).unwrap();
    let before = (replica(&up), up.pid("us-east"));
    let mut child = drill.start_until("killed", RESTORE, "and it is stopped");
    child.kill().unwrap();
    child.wait().unwrap();
    // `up` starts it again when the drill expires.
    holds("the region is back", SETTLED, || drill.all_ready());
    assert_ne!(up.pid("us-east"), before.1, "`up` has started it again");
    assert_eq!(replica(&up), before.0, "its own store is in its place");
    let left = up.data.join("us-east/store-drill");
    let backup = left.join("backup.age").display().to_string();
    drill.settle();
    // Its lock lapses in a few minutes.
    let locks = || Call::new("GET", "/v1/admin/drill").to(up.at(1, 1, 2)).expect(200).json()["locks"].clone();
    let id = locks()[0]["id"].as_str().unwrap().to_owned();
    let release = Call::new("DELETE", format!("/v1/admin/drill/{id}")).header("Authorization", up.operator());
    release.to(up.at(1, 1, 2)).expect(204);
    holds("no drill has the lock", SOON, || locks().as_array().unwrap().is_empty());
    let (code, checks) = checked("next", RESTORE);
    let (passed, detail) = of(&checks, "left over");
    assert!(code == Some(4) && !passed && detail.contains(&backup), "{checks}");
    let (code, checks) = checked("other", "mode = \"drain\"\nregion = \"us-east\"");
    let (passed, detail) = of(&checks, "left over");
    assert!(code == Some(0) && passed && detail.contains(&backup), "{checks}");
    let mode = |path: &Path| std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions()) & 0o777;
    assert_eq!((mode(&left), mode(Path::new(&backup))), (0o700, 0o600));
    std::fs::remove_dir_all(&left).unwrap();
    let (code, checks) = checked("again", RESTORE);
    assert_eq!(code, Some(0), "{checks}");
    up.stop();
}
