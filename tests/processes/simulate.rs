//! `meridian simulate` as people and scripts use it: its output, its files, and its exit codes.

use std::path::Path;
use std::process::{Command, Output};

fn meridian(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_meridian")).current_dir(dir).arg("simulate").args(args).output().unwrap()
}

fn scenario(name: &str) -> String {
    format!("{}/simulations/scenarios/{name}.toml", env!("CARGO_MANIFEST_DIR"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_run_in_two_processes_gives_one_trace() {
    let dir = tempfile::tempdir().unwrap();
    let run = || {
        let output = meridian(dir.path(), &["run", &scenario("one-way"), "--seed", "7", "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["outcome"], "ok");
        json["trace"].as_str().unwrap().to_owned()
    };
    assert_eq!(run(), run());
}

/// The canary scenario: a failure is reported, and can be repeated, reduced and explained.
#[test]
fn a_failure_is_reported_and_can_be_followed() {
    let dir = tempfile::tempdir().unwrap();
    let canary = scenario("canary");
    let output = meridian(dir.path(), &["run", &canary, "--seed", "1"]);
    assert_eq!(output.status.code(), Some(3), "safety");
    assert!(text(&output.stdout).contains("BROKEN I1 (durability)"), "{}", text(&output.stdout));
    let said = text(&output.stderr);
    let again = said.lines().find_map(|line| line.strip_prefix("again: meridian simulate replay ")).unwrap();

    let output = meridian(dir.path(), &["replay", again]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stdout).contains("the very same as when it was written"));

    let output = meridian(dir.path(), &["shrink", again, "--out", "small.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let small = std::fs::read_to_string(dir.path().join("small.toml")).unwrap();
    assert!(small.matches("[[operation]]").count() <= 3, "{small}");
    assert!(small.contains("lying-disk") && small.contains("outcome = \"I1\""), "{small}");
    assert_eq!(meridian(dir.path(), &["replay", "small.toml"]).status.code(), Some(3));

    let output = meridian(dir.path(), &["explain", "small.toml", "--op", "0"]);
    assert!(text(&output.stdout).contains("the run ends here: I1"), "{}", text(&output.stdout));

    let output = meridian(dir.path(), &["run", &canary, "--seeds", "0..30", "--json", "--failures", "new/folder"]);
    assert_eq!(output.status.code(), Some(3));
    let said = text(&output.stderr);
    let again = said.lines().find_map(|line| line.trim().strip_prefix("again: meridian simulate replay "));
    assert!(dir.path().join(again.unwrap()).exists(), "{said}");
}

/// Every printed command works as it is printed, whatever folders are called.
#[test]
fn printed_commands_can_be_pasted_into_a_shell() {
    let dir = tempfile::tempdir().unwrap();
    let folder = "O'Neil's $HOME; runs";
    std::fs::create_dir(dir.path().join(folder)).unwrap();
    let copy = format!("{folder}/the canary.toml");
    std::fs::copy(scenario("canary"), dir.path().join(&copy)).unwrap();
    let program =
        format!("{}:{}", Path::new(env!("CARGO_BIN_EXE_meridian")).parent().unwrap().display(), "/usr/bin:/bin");
    let paste = |line: &str| {
        let mut shell = Command::new("sh");
        shell.current_dir(dir.path()).env("PATH", &program).args(["-ec", line]).output().unwrap()
    };
    let args = ["run", &copy, "--seed", "1", "--set", "workload.rate=5.0", "--failures", folder];
    let output = meridian(dir.path(), &args);
    let said = text(&output.stderr);
    let again = said.lines().find_map(|line| line.strip_prefix("again: ")).unwrap();
    let replayed = paste(again);
    assert_eq!(replayed.status.code(), Some(3), "{again}: {}", text(&replayed.stderr));
    let plan = again.strip_prefix("meridian simulate replay ").unwrap();
    let shrunk = paste(&format!("meridian simulate shrink {plan}"));
    let said = text(&shrunk.stdout);
    for (printed, code) in [("again: ", 3), ("a request's life: ", 0)] {
        let line = said.lines().find_map(|line| line.strip_prefix(printed)).unwrap();
        let output = paste(line);
        assert_eq!(output.status.code(), Some(code), "{line}: {}", text(&output.stderr));
    }
}

/// One seed with other settings is another failure, so the first one's file must survive.
#[test]
fn failures_do_not_overwrite_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let again = |setting: &str| {
        let output = meridian(dir.path(), &["run", &scenario("canary"), "--seed", "1", "--set", setting, "--json"]);
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let (awake, broke) = (json["simulated_s"].as_f64().unwrap(), &json["broken"]);
        assert!(awake < 120.0 && !broke.is_null(), "the run ended when it broke: {json}");
        let said = text(&output.stderr);
        let file = said.lines().find_map(|line| line.strip_prefix("again: meridian simulate replay ")).unwrap();
        assert!(file.ends_with(&format!("-1-{}.toml", &json["trace"].as_str().unwrap()[..8])), "{file}");
        file.to_owned()
    };
    let files = [again("workload.rate=5.0"), again("workload.rate=6.0")];
    assert_ne!(files[0], files[1]);
    for file in files {
        let output = meridian(dir.path(), &["replay", &file]);
        assert!(text(&output.stdout).contains("the very same"), "{file}: {}", text(&output.stdout));
    }
}

#[test]
fn an_edited_plan_is_told_from_other_code() {
    let dir = tempfile::tempdir().unwrap();
    let output = meridian(dir.path(), &["run", &scenario("canary"), "--seed", "1"]);
    let said = text(&output.stderr);
    let file = said.lines().find_map(|line| line.strip_prefix("again: meridian simulate replay ")).unwrap();
    let plan = std::fs::read_to_string(dir.path().join(file)).unwrap();
    let trace = plan.lines().find(|line| line.starts_with("trace = ")).unwrap();
    let hash = plan.lines().rfind(|line| line.starts_with("plan = ")).unwrap();
    for (edited, says) in [
        (plan.replace("bandwidth_mbps = 200.0", "bandwidth_mbps = 150.0"), "the plan was edited since;"),
        (plan.replace(trace, "trace = \"0\""), "the code has changed since;"),
        (plan.replace(trace, "trace = \"0\"").replace(hash, ""), "the code has changed since, or the plan was edited;"),
    ] {
        assert_ne!(edited, plan);
        std::fs::write(dir.path().join("edited.toml"), edited).unwrap();
        let output = meridian(dir.path(), &["replay", "edited.toml"]);
        assert!(text(&output.stdout).contains(says), "{says}: {}", text(&output.stdout));
    }
}

/// The last seeds that exist, and no more.
#[test]
fn the_last_seeds_end_the_sweep() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("short.toml"),
        "name = \"short\"\nduration = \"2s\"\nregions = [\"eu-central\", \"us-east\"]\n",
    )
    .unwrap();
    let seeds = "18446744073709551610..18446744073709551615";
    let output = meridian(dir.path(), &["run", "short.toml", "--seeds", seeds, "--jobs", "3", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["seeds"], 5);
}

#[test]
fn a_fault_without_effect_is_told() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("twice.toml"),
        "name = \"twice\"\nduration = \"20s\"\nregions = [\"eu-central\", \"us-east\"]\n\
         [[fault]]\nat = \"5s\"\nfor = \"10s\"\nkind = \"crash\"\nregion = \"us-east\"\n\
         [[fault]]\nat = \"8s\"\nfor = \"2s\"\nkind = \"restart\"\nregion = \"us-east\"\n",
    )
    .unwrap();
    let output = meridian(dir.path(), &["run", "twice.toml"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("no effect: restart") && !said.contains("no effect: crash"), "{said}");
}

/// A verdict is reported even if the file with the plan cannot be written.
#[cfg(unix)]
#[test]
fn a_plan_that_cannot_be_written_hides_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("failures")).unwrap();
    let args = ["run", &scenario("canary"), "--seed", "1", "--failures", "failures"];
    let first = meridian(dir.path(), &args);
    let said = text(&first.stderr);
    let file = said.lines().find_map(|line| line.strip_prefix("again: meridian simulate replay ")).unwrap();
    // A folder in the place of the file, so that no user can write there.
    let file = dir.path().join(file);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let output = meridian(dir.path(), &args);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("BROKEN I1"), "{}", text(&output.stdout));
    let said = text(&output.stderr);
    assert!(said.contains("could not be written") && said.contains("--seed 1"), "{said}");
}

#[test]
fn regions_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    let output = meridian(dir.path(), &["regions"]);
    let said = text(&output.stdout);
    assert!(output.status.success() && said.contains("eu-central") && said.contains("Frankfurt"), "{said}");
    assert!(said.contains("at most 12"), "{said}");
    let json: Vec<serde_json::Value> =
        serde_json::from_slice(&meridian(dir.path(), &["regions", "--json"]).stdout).unwrap();
    assert!(json.len() > 30 && json.iter().all(|one| one["name"].is_string() && one["city"].is_string()), "{json:?}");
}

/// Like `meridian simulate export ... | head -1`.
#[test]
fn a_reader_that_closes_the_pipe_is_not_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    for args in [["export", &scenario("one-way"), "--format", "edn"], ["run", &scenario("one-way"), "--seed", "1"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meridian"));
        command.current_dir(dir.path()).arg("simulate").args(args).stderr(std::process::Stdio::piped());
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_bound_that_is_too_short_is_a_failure_of_liveness() {
    let dir = tempfile::tempdir().unwrap();
    let tight = meridian(
        dir.path(),
        &["run", &scenario("majority-and-minority"), "--set", "checks.bound=0.00001", "--set", "duration=3m"],
    );
    assert_eq!(tight.status.code(), Some(4), "{}{}", text(&tight.stdout), text(&tight.stderr));
    assert!(text(&tight.stdout).contains("not converged: "), "the first unmet condition has a name");
}

#[test]
fn wrong_use_is_told_and_exits_with_2() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a-file"), "").unwrap();
    for (args, says) in [
        (vec!["run", "nowhere.toml"], "nowhere.toml"),
        (vec!["run", &scenario("one-way"), "--set", "replica.heartbeat=1ms"], "replica.heartbeat"),
        (vec!["run", &scenario("one-way"), "--set", "replica.bogus=1"], "bogus"),
        (vec!["run", &scenario("one-way"), "--set", "checks.bound=-1"], "checks.bound"),
        (vec!["run", &scenario("one-way"), "--set", "checks.bound=nan"], "checks.bound"),
        (vec!["run", &scenario("one-way"), "--set", "replica.max_clock_skew=400days"], "between 1s and 1h"),
        (vec!["run", &scenario("one-way"), "--set", "duration=30s"], "`duration` ends at 30s"),
        (vec!["run", &scenario("one-way"), "--set", "workload.rate=100000"], "too many"),
        (vec!["run", &scenario("one-way"), "--seeds", "9..3"], "range of seeds"),
        (vec!["run", &scenario("one-way"), "--seeds", "0..18446744073709551615"], "the most that one sweep"),
        (vec!["run", &scenario("one-way"), "--budget", "1s"], "give --seeds"),
        (vec!["run", &scenario("one-way"), "--report", "a-file/report"], "--report a-file/report"),
        (vec!["run", &scenario("one-way"), "--failures", "a-file"], "--failures a-file"),
        (vec!["compare", &scenario("one-way"), &scenario("bridge"), "--report", "a-file"], "--report a-file"),
        (vec!["replay", &scenario("one-way")], "no [replay]"),
        (vec!["compare", &scenario("one-way"), "--report", "r"], "nothing to compare"),
        (vec!["shrink", &scenario("one-way"), "--seed", "1"], "nothing to shrink"),
        (vec!["shrink", &scenario("canary"), "--seed", "1", "--out", "a-file/small.toml"], "--out a-file"),
        (vec!["explain", &scenario("one-way"), "--op", "999999"], "counted from 0"),
    ] {
        let output = meridian(dir.path(), &args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(says), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn reports_and_comparisons_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let output = meridian(dir.path(), &["run", &scenario("one-way"), "--seeds", "2", "--report", "report"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let page = std::fs::read_to_string(dir.path().join("report/index.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("--seeds 0..2"));
    for file in
        ["measured.json", "staleness.csv", "samples.csv", "convergence.svg", "staleness.svg", "completeness.svg"]
    {
        assert!(dir.path().join("report").join(file).exists(), "{file}");
    }
    let sides = ["--with", "network.topology=mesh", "--with", "network.topology=star"];
    let one_way = scenario("one-way");
    let args = [&["compare", one_way.as_str()][..], &sides, &["--seeds", "1", "--report", "sides"]].concat();
    let output = meridian(dir.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let page = std::fs::read_to_string(dir.path().join("sides/index.html")).unwrap();
    assert!(page.contains("network.topology=mesh") && page.contains("network.topology=star"));
}

#[test]
fn histories_are_exported() {
    let dir = tempfile::tempdir().unwrap();
    for (format, has) in [("edn", ":type :invoke"), ("json", "\"type\":\"ok\""), ("shiviz", "eu_central \"")] {
        let output = meridian(dir.path(), &["export", &scenario("one-way"), "--format", format]);
        assert!(output.status.success() && text(&output.stdout).contains(has), "{format}");
    }
}
