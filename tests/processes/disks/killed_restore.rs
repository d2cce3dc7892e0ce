//! kill -9 of a restore before its calls to the disk.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use node::backup::UNFINISHED;
use node::config::Engine;

use super::killing::{Killed, at_some, is_kill};
use crate::common::{MERIDIAN, within};

const SOON: Duration = Duration::from_secs(60);

fn run(arguments: &[&str], environment: &[(&str, PathBuf)]) -> Output {
    let mut command = Command::new(MERIDIAN);
    command.args(arguments).env_remove("MERIDIAN_TOKEN");
    command.envs(environment.iter().map(|(name, value)| (name, value))).output().unwrap()
}

/// A backup that was being put back: the folder is empty, or a node refuses it, or it is whole.
#[test]
fn a_restore_that_is_killed_leaves_no_store_that_looks_whole() {
    for engine in [Engine::Sled, Engine::Fjall] {
        let mut killed = Killed::new(engine);
        let folder = killed.deployment.scratch().to_owned();
        let key = folder.join("key").display().to_string();
        let made = run(&["backup", "key", "--out", &key], &[]);
        let recipient = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        let (admin, to) =
            (format!("http://{}", killed.victim().admin), folder.join("backup.age").display().to_string());
        let taken = run(&["backup", "--admin", &admin, "--recipient", &recipient, "--to", &to], &[]);
        assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
        killed.down();
        let (store, environment) = (killed.victim().store(), killed.victim().environment.clone());
        let config = killed.victim().folder.join("node.toml").display().to_string();
        let restore = ["restore", "--from", &to, "--identity", &key, "--config", &config];
        let put_back = |at: Option<u64>| {
            let _ = fs::remove_dir_all(&store);
            killed.calls.kill_at(at);
            run(&restore, &environment).status
        };
        let begun = killed.calls.count();
        assert!(put_back(None).success());
        let calls = killed.calls.count() - begun;
        at_some(calls, |number| {
            let what = format!("{engine}: killed before call {number} of {calls}");
            let status = put_back(Some(number));
            if status.success() {
                return false;
            }
            assert!(is_kill(status), "{what}: {status}");
            if store.join(UNFINISHED).exists() {
                let refused = run(&["verify", &store.display().to_string()], &[]);
                assert_eq!(refused.status.code(), Some(1), "{what}");
                let again = run(&restore, &[]);
                assert!(String::from_utf8_lossy(&again.stderr).contains("delete the folder"), "{what}");
            } else if fs::read_dir(&store).is_ok_and(|mut entries| entries.next().is_some()) {
                let verified = run(&["verify", &store.display().to_string()], &[]);
                assert!(verified.status.success(), "{what}: {}", String::from_utf8_lossy(&verified.stdout));
            }
            true
        });
        assert!(put_back(None).success());
        killed.victim().restart();
        within("the restored node shows everything", SOON, || killed.shows_all());
    }
}
