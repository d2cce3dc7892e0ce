//! Reports of generated runs: every file is there and well-formed, figures add up, and nothing leaks or moves.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use simulations::figures::{
    Availability, Convergence, FaultBand, FaultEnd, Figures, Losses, Recovery, RequestCount, Sample, Staleness, Traffic,
};
use simulations::index::NodeIndex;
use simulations::report::{ReportError, Written, write, write_comparison};
use simulations::scenario::Scenario;
use simulations::trace::TraceHash;

const PLOTS: [&str; 9] =
    ["convergence", "staleness", "staleness-map", "bytes", "faults", "lag", "completeness", "availability", "storage"];
const TABLES: [&str; 12] = [
    "convergence",
    "fault-ends",
    "recoveries",
    "staleness",
    "samples",
    "forgotten",
    "lags",
    "availability",
    "traffic",
    "requests",
    "losses",
    "faults",
];

/// Even numbers between 0 and 1 without a generator of random numbers.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn pairs(regions: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..regions).flat_map(move |from| (0..regions).map(move |to| (from, to))).filter(|(from, to)| from != to)
}

/// The scenario of the runs.
fn scenario() -> Scenario {
    Scenario::parse("name = \"x\"\nduration = \"10m\"\nregions = [\"eu-central\", \"us-east\"]").unwrap()
}

/// A run of ten minutes with a partition of region 1, a crash of region 2, and a moment of a stepped clock.
fn run(regions: usize, seed: u64, heartbeat_ms: f64) -> Figures {
    const NAMES: [&str; 9] = [
        "eu-central",
        "us-east",
        "ap-south",
        "sa-east",
        "af-south",
        "me-central",
        "ap-northeast",
        "us-west",
        "eu-north",
    ];
    let mut numbers = Numbers(seed);
    let band = |kind: &str, label: &str, from: f64, until: f64| FaultBand {
        kind: kind.into(),
        label: label.into(),
        from,
        until,
    };
    let mut run = Figures {
        name: "regional-outage".into(),
        about: "A region is cut off from the others while another one crashes. Guests keep checking in everywhere."
            .into(),
        seed,
        trace: TraceHash(u128::from(seed) << 64 | 0xfeed),
        asked: Some(Arc::new(scenario())),
        plan: Some(Arc::new(scenario())),
        regions: NAMES[..regions].iter().map(|n| n.to_string()).collect(),
        settings: vec![("heartbeat".into(), format!("{heartbeat_ms} ms")), ("topology".into(), "mesh".into())],
        healed_at: 480.0,
        ended_at: 600.0,
        faults: vec![
            band("partition", "partition us-east | others", 90.0, 210.0),
            band("crash", "crash ap-south, disk kept", 180.0, 300.0),
            band("clock-step", "clock of eu-central steps by +4 s", 340.0, 340.0),
            band("loss", "loss of 20 % between eu-central and ap-south", 400.0, 480.0),
        ],
        convergence: Convergence {
            bound: 12.0,
            took: Some(1.2 + 2.0 * numbers.next() + heartbeat_ms / 400.0),
            unmet: None,
        },
        ..Figures::default()
    };
    for at in [210.0, 300.0, 480.0] {
        // As many pairs again were not behind.
        let behind = pairs(regions).count() as u64;
        run.fault_ends.push(FaultEnd { at, pairs: behind * 2, behind });
        for (from, to) in pairs(regions) {
            let took = (numbers.next() > 0.02).then(|| 0.1 + heartbeat_ms / 500.0 + numbers.next().powi(2) * 3.0);
            run.recoveries.push(Recovery { from: NodeIndex(from), to: NodeIndex(to), at, took });
        }
    }
    for (from, to) in pairs(regions) {
        let near = 20.0 + 60.0 * ((from * 7 + to * 7) % 5) as f64 + heartbeat_ms / 4.0;
        let mut delays: Vec<f32> = (0..400)
            .map(|_| {
                let slow = if numbers.next() < 0.04 { 4000.0 * numbers.next() } else { 0.0 };
                (near * (0.6 + numbers.next()) + slow) as f32
            })
            .collect();
        delays.sort_by(f32::total_cmp);
        run.staleness.push(Staleness {
            from: NodeIndex(from),
            to: NodeIndex(to),
            delays_ms: delays,
            never: if to == 2 { 3 } else { 0 },
        });
    }
    for step in 0..=600 {
        let at = f64::from(step);
        for region in 0..regions {
            run.samples.push(sample(regions, region, at, &mut numbers));
        }
        if step % 5 == 0 && step < 600 {
            for region in 0..regions {
                let lost = region == 2 && (180.0..300.0).contains(&at);
                let failed = if lost && at < 195.0 { 14 } else { u64::from(numbers.next() > 0.97) };
                let elsewhere = if lost { 100 - failed } else { (numbers.next() * 3.0) as u64 };
                let at_home = if lost { 0 } else { 100 - failed - elsewhere };
                let otherwise = elsewhere.min(1);
                run.availability.push(Availability {
                    at,
                    seconds: 5.0,
                    region: NodeIndex(region),
                    at_home,
                    elsewhere,
                    otherwise,
                    failed,
                });
            }
        }
    }
    for (from, to) in pairs(regions) {
        let control = (4e7 / heartbeat_ms) as u64;
        run.traffic.push(Traffic {
            from: NodeIndex(from),
            to: NodeIndex(to),
            frames: 5000,
            payload: 900_000,
            metadata: 500_000,
            control,
            lost: 20_000,
        });
    }
    for (kind, done) in [("check-in", 9000), ("correct", 700), ("erase", 300), ("look", 5000), ("read", 4000)] {
        let (gone, unknown, stale) = if kind == "correct" { (40, 8, 0) } else { (0, 0, u64::from(kind == "read")) };
        let latency_ms = [4.2, 81.0, 2350.0];
        let count = RequestCount { kind: kind.into(), done, gone, unknown, stale, ..RequestCount::default() };
        run.requests.push(RequestCount { elsewhere: done / 20, failed: 12, latency_ms, ..count });
    }
    run
}

fn sample(regions: usize, region: usize, at: f64, numbers: &mut Numbers) -> Sample {
    let cut = (90.0..211.0).contains(&at);
    let down = region == 2 && (180.0..300.0).contains(&at);
    let behind = |other: usize| {
        if cut && (region == 1 || other == 1) { at - 90.0 } else { 0.0 }
    };
    let each = |value: &dyn Fn(usize) -> f64| -> Vec<f64> {
        (0..regions).map(|other| if other == region { 0.0 } else { value(other) }).collect()
    };
    let noise = numbers.next();
    Sample {
        at,
        region: NodeIndex(region),
        up: !down,
        ready: !down,
        documents: (at * 15.0) as u64,
        tombstones: (at * 0.5) as u64 % 130,
        log_entries: (at * 16.0) as u64 % 3000 + region as u64 * 20,
        bytes: (at * 5200.0) as u64,
        lag_entries: each(&|o| (behind(o) * 15.0 + noise * 4.0).floor()).into_iter().map(|n| n as u64).collect(),
        lag_s: each(&|o| behind(o) + noise * 0.2),
        completeness_s: (0..regions)
            .map(|o| {
                if region == 2 && (300.0..312.0).contains(&at) && o == 0 { None } else { Some(behind(o) + 0.4 + noise) }
            })
            .collect(),
    }
}

/// All files below a folder by their relative path.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.extend(contents(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else {
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

fn table(dir: &Path, name: &str) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_path(dir.join(format!("{name}.csv"))).unwrap().deserialize().map(Result::unwrap).collect()
}

fn sum(rows: &[BTreeMap<String, String>], column: &str) -> u64 {
    rows.iter().map(|row| row[column].parse::<u64>().unwrap()).sum()
}

fn check_svg(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    let tree = roxmltree::Document::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let root = tree.root_element();
    assert_eq!(root.attribute("role"), Some("img"));
    assert!(root.children().any(|c| c.has_tag_name(("http://www.w3.org/2000/svg", "title"))));
    assert!(!text.contains("NaN") && !text.contains("inf\""), "{} has a number that is none", path.display());
    let (width, height) = (1800.0, root.attribute("height").unwrap().parse::<f64>().unwrap() * 2.0);
    for node in tree.descendants().filter(|n| n.has_tag_name(("http://www.w3.org/2000/svg", "text"))) {
        let number = |name: &str| node.attribute(name).unwrap().parse::<f64>().unwrap();
        let inside = (0.0..=width).contains(&number("x")) && (0.0..=height).contains(&number("y"));
        assert!(inside, "{}: text outside: {node:?}", path.display());
    }
}

fn check_files(dir: &Path, written: &Written, plots: &[&str]) {
    let name = |kind: &str, ending: &str| dir.join(format!("{kind}.{ending}"));
    for path in plots.iter().map(|p| name(p, "svg")).chain(TABLES.iter().map(|t| name(t, "csv"))) {
        assert!(path.is_file() && written.files.contains(&path), "{} is missing", path.display());
    }
    assert_eq!(written.index, dir.join("index.html"));
    assert!(written.files.contains(&written.index) && written.files.contains(&dir.join("measured.json")));
    for plot in plots {
        check_svg(&name(plot, "svg"));
    }
    let html = fs::read_to_string(&written.index).unwrap();
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("<script"));
    for plot in plots {
        assert!(html.contains(&format!("<section id=\"{plot}\">")), "no section {plot}");
    }
}

#[test]
fn a_run_has_all_files_and_its_tables_add_up() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(4, 7, 500.0);
    let written = write(dir.path(), std::slice::from_ref(&run), "meridian simulate regional-outage --seed 7").unwrap();
    check_files(dir.path(), &written, &PLOTS);

    let rows = |name| table(dir.path(), name);
    assert_eq!(rows("convergence").len(), 1);
    assert_eq!(rows("recoveries").len(), 3 * 12);
    assert_eq!(rows("samples").len(), 601 * 4);
    assert_eq!(rows("lags").len(), 601 * 12);
    assert_eq!(rows("faults").len(), 4);
    let never = run.recoveries.iter().filter(|r| r.took.is_none()).count();
    assert_eq!(rows("recoveries").iter().filter(|row| row["took_s"].is_empty()).count(), never);
    assert_eq!(sum(&rows("availability"), "failed"), run.availability.iter().map(|a| a.failed).sum::<u64>());
    assert_eq!(sum(&rows("traffic"), "metadata_bytes"), 12 * 500_000);
    let requests = rows("requests");
    let sums = ["done", "gone", "unknown_there", "stale", "full", "failed"].map(|column| sum(&requests, column));
    assert_eq!(sums, [19_000, 40, 8, 1, 0, 60]);

    let staleness = rows("staleness");
    assert_eq!((staleness.len(), sum(&staleness, "writes"), sum(&staleness, "never_seen")), (12, 12 * 400 + 9, 9));
    for row in &staleness {
        let pair = run
            .staleness
            .iter()
            .find(|s| run.regions[s.from.0] == row["from"] && run.regions[s.to.0] == row["to"])
            .unwrap();
        let seen = pair.delays_ms.iter().filter(|ms| **ms <= 100.0).count() as f64;
        let share: f64 = row["p_seen_within_100_ms"].parse().unwrap();
        assert!((share - seen / (400 + pair.never) as f64).abs() < 1e-9);
    }

    let html = fs::read_to_string(written.index).unwrap();
    for said in ["All invariants held", "meridian simulate regional-outage --seed 7", "Median staleness", "heartbeat"] {
        assert!(html.contains(said), "the page does not say {said}");
    }
    let back: Vec<Figures> = serde_json::from_slice(&fs::read(dir.path().join("measured.json")).unwrap()).unwrap();
    assert_eq!(back[0].staleness[3].delays_ms, run.staleness[3].delays_ms);
}

/// The slowest pair after a fault comes first. The final healing has its own name and its time.
#[test]
fn recovery_after_faults_is_not_the_final_healing() {
    let dir = tempfile::tempdir().unwrap();
    let written = |run: &Figures| {
        let written = write(dir.path(), std::slice::from_ref(run), "").unwrap();
        let plot = fs::read_to_string(dir.path().join("convergence.svg")).unwrap();
        (fs::read_to_string(written.index).unwrap(), plot)
    };
    let mut run = run(4, 7, 500.0);
    for recovery in &mut run.recoveries {
        recovery.took = recovery.took.or(Some(1.0));
    }
    run.recoveries[5].took = Some(77.0);
    let (page, plot) = written(&run);
    assert!(page.contains("<dt>Slowest recovery</dt><dd>77\u{202f}s</dd>"));
    assert!(page.contains("36 of 72 pairs were behind") && plot.contains("behind: 36 of 72 pairs"));
    assert!(page.contains("after the final healing at 8\u{202f}min") && !page.contains("last fault"));
    assert!(!plot.contains("all converged") && plot.contains("since the fault ended"));
    run.recoveries[5].took = None;
    assert!(written(&run).0.contains("<dt>Slowest recovery</dt><dd>never</dd>"));
    run.recoveries.clear();
    run.fault_ends.iter_mut().for_each(|ended| ended.behind = 0);
    let (page, plot) = written(&run);
    assert!(page.contains("<dd>not needed</dd>") && page.contains("0 of 72 pairs were behind"));
    assert!(plot.contains("all converged") && plot.contains("since the final healing"));
}

/// The page says which run it shows and how to repeat it.
#[test]
fn a_report_identifies_its_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut runs = [run(4, 7, 500.0), run(4, 8, 500.0)];
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let written = write(&one, &runs[..1], "").unwrap();
    let page = fs::read_to_string(&written.index).unwrap();
    assert!(page.contains("<dd>0000000000000007000000000000feed</dd>") && page.contains("href=\"plan-7.toml\""));
    assert!(written.files.contains(&one.join("plan-7.toml")));
    Scenario::parse(&fs::read_to_string(one.join("plan-7.toml")).unwrap()).unwrap();
    let data: serde_json::Value = serde_json::from_slice(&fs::read(one.join("measured.json")).unwrap()).unwrap();
    assert_eq!(data[0]["trace"], "0000000000000007000000000000feed");
    assert!(data[0].get("plan").is_none(), "it is a file of its own");

    runs[1].settings[1].1 = "ring".into();
    let written = write(&two, &runs, "").unwrap();
    let page = fs::read_to_string(&written.index).unwrap();
    assert!(page.contains("href=\"scenario.toml\"") && !two.join("plan-7.toml").exists());
    assert!(page.contains("<dt>heartbeat</dt><dd>500 ms</dd>"));
    assert!(page.contains("<dt>topology</dt><dd>differs by seed</dd>"));
    let traces: Vec<String> = table(&two, "convergence").into_iter().map(|row| row["trace"].clone()).collect();
    assert_eq!(traces, ["0000000000000007000000000000feed", "0000000000000008000000000000feed"]);
}

/// A run that broke an invariant before the end was never healed, so the report does not judge its convergence.
#[test]
fn a_run_that_was_broken_off_has_not_failed_to_converge() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = run(4, 7, 500.0);
    run.broken.push("no erased visit comes back".into());
    run.healed_at = 250.0;
    run.convergence = Convergence::default();
    let written = write(dir.path(), &[run], "").unwrap();
    let page = fs::read_to_string(written.index).unwrap();
    assert!(page.contains("the run was broken off before the final healing") && !page.contains("Not met within"));
    let plot = fs::read_to_string(dir.path().join("faults.svg")).unwrap();
    assert!(plot.contains("the run was broken off at 4.17\u{202f}min"), "{plot}");
}

/// Answers other than the requested one are not counted as done, and each kind is named.
#[test]
fn only_the_requested_answers_are_counted_as_done() {
    let dir = tempfile::tempdir().unwrap();
    let html = |run: &Figures| {
        let written = write(dir.path(), std::slice::from_ref(run), "").unwrap();
        fs::read_to_string(written.index).unwrap()
    };
    let mut run = run(4, 7, 500.0);
    // 19,000 of 19,109.
    let page = html(&run);
    assert!(
        page.contains("99.43\u{202f}%")
            && page.contains("40 gone (erased or expired), 8 unknown there, 1 stale, 0 full, 60 failed")
    );
    let of_slices = run.availability.iter().map(|slice| slice.otherwise).sum::<u64>();
    assert!(of_slices > 0 && sum(&table(dir.path(), "availability"), "of_these_otherwise") == of_slices);
    run.requests[1].done += run.requests[1].gone;
    run.requests[1].gone = 0;
    assert!(!html(&run).contains("99.43\u{202f}%"));
}

/// Losses that the contract allows are reported by region, even if there are none.
#[test]
fn losses_by_contract_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = run(4, 7, 500.0);
    let page = |run: &Figures| {
        let written = write(dir.path(), std::slice::from_ref(run), "").unwrap();
        fs::read_to_string(written.index).unwrap()
    };
    assert!(page(&run).contains("<dt>Lost by contract</dt><dd>0</dd>"));
    run.losses.push(Losses { region: NodeIndex(1), changes: 240, erasures: 7, undone: 5 });
    run.losses.push(Losses { region: NodeIndex(2), changes: 3, ..Losses::default() });
    let page = page(&run);
    assert!(page.contains("<dt>Lost by contract</dt><dd>250</dd>"));
    assert!(page.contains("ap-south 3, us-east 247; 5 erasures came undone"));
    let rows = table(dir.path(), "losses");
    assert_eq!((rows.len(), sum(&rows, "changes"), sum(&rows, "erasures_undone")), (2, 243, 5));
    assert_eq!(rows[0]["region"], "us-east");
}

/// Looks, reads and corrections of erased visits do not count as writes: 17.76 MB for 10,000 of the 19,000 that were
/// done.
#[test]
fn bytes_are_divided_by_acknowledged_writes() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[run(4, 7, 500.0)], "").unwrap();
    let plot = fs::read_to_string(dir.path().join("bytes.svg")).unwrap();
    assert!(plot.contains("all links together: 1.78\u{202f}kB"), "{plot}");
}

#[test]
fn many_runs_show_the_one_that_failed() {
    let dir = tempfile::tempdir().unwrap();
    let mut runs: Vec<Figures> = (1..=5).map(|seed| run(9, seed, 500.0)).collect();
    runs[3].broken.push("no erased visit comes back".into());
    runs[4].convergence.took = None;
    runs[4].convergence.unmet = Some("eu-north misses 2 entries of us-west".into());
    let written = write(dir.path(), &runs, "meridian simulate regional-outage --seeds 1..5").unwrap();
    check_files(dir.path(), &written, &PLOTS);
    let html = fs::read_to_string(written.index).unwrap();
    for said in [
        "1 invariant is broken",
        "no erased visit comes back (seed 4)",
        "eu-north misses 2 entries of us-west (seed 5)",
        "show the run with seed 4",
        "1 to 5",
        "4 of 5 runs",
    ] {
        assert!(html.contains(said), "the page does not say {said}");
    }
    assert_eq!(table(dir.path(), "convergence").len(), 5);
}

#[test]
fn a_comparison_has_figures_side_by_side_and_a_report_of_each_side() {
    let dir = tempfile::tempdir().unwrap();
    let side = |label: &str, ms: f64| (label.to_owned(), (1..=3).map(|seed| run(4, seed, ms)).collect());
    let sides = [side("heartbeat 100 ms", 100.0), side("heartbeat 500 ms", 500.0), side("heartbeat 2 s", 2000.0)];
    let written = write_comparison(dir.path(), &sides, "meridian simulate compare heartbeat").unwrap();
    check_files(dir.path(), &written, &["convergence", "staleness", "bytes"]);
    let html = fs::read_to_string(written.index).unwrap();
    assert!(html.contains("Figures side by side") && html.contains("×"));
    for folder in ["1-heartbeat-100-ms", "2-heartbeat-500-ms", "3-heartbeat-2-s"] {
        assert!(html.contains(&format!("href=\"{folder}/index.html\"")));
        assert!(written.files.contains(&dir.path().join(folder).join("index.html")));
    }
    let rows = table(dir.path(), "convergence");
    assert_eq!(rows.len(), 9);
    assert_eq!(rows[8]["side"], "heartbeat 2 s");
}

#[test]
fn a_run_without_data_still_gives_a_report() {
    let alone = Figures { name: "alone".into(), regions: vec!["eu".into()], ..Figures::default() };
    let unnamed = Figures {
        staleness: vec![Staleness { from: NodeIndex(0), to: NodeIndex(9), delays_ms: vec![f32::NAN, 0.0], never: 0 }],
        faults: vec![FaultBand { kind: "crash".into(), label: "x".into(), from: f64::NAN, until: f64::INFINITY }],
        samples: vec![sample(1, 0, 0.0, &mut Numbers(1)), sample(3, 7, f64::NAN, &mut Numbers(1))],
        ..alone.clone()
    };
    for runs in [vec![], vec![Figures::default()], vec![alone.clone()], vec![alone, unnamed]] {
        let dir = tempfile::tempdir().unwrap();
        let written = write(dir.path(), &runs, "").unwrap();
        check_files(dir.path(), &written, &PLOTS);
        let measured = runs.iter().any(|run| !run.staleness.is_empty());
        let said = fs::read_to_string(dir.path().join("staleness.svg")).unwrap().contains("no data");
        assert_eq!(said, !measured);
    }
    let dir = tempfile::tempdir().unwrap();
    write_comparison(dir.path(), &[], "").unwrap();
    let sides = [("none".to_owned(), vec![]), (String::new(), vec![Figures::default()])];
    let written = write_comparison(dir.path(), &sides, "").unwrap();
    check_files(dir.path(), &written, &["convergence", "staleness", "bytes"]);
}

#[test]
fn hostile_names_stay_text() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = run(3, 1, 500.0);
    let hostile = "<script>alert('x')</script>\"&";
    run.name = hostile.into();
    run.about = hostile.into();
    run.regions[0] = hostile.into();
    run.faults[0].label = hostile.into();
    run.faults[0].kind = hostile.into();
    run.broken.push(hostile.into());
    let written = write(dir.path(), std::slice::from_ref(&run), hostile).unwrap();
    check_files(dir.path(), &written, &PLOTS);
    assert!(fs::read_to_string(&written.index).unwrap().contains("&lt;script&gt;"));
    let sides = [(format!("../{hostile}"), vec![run.clone()]), (hostile.into(), vec![run])];
    let written = write_comparison(dir.path(), &sides, hostile).unwrap();
    assert!(!fs::read_to_string(&written.index).unwrap().contains("<script"));
    assert!(written.files.iter().all(|path| path.starts_with(dir.path()) && !path.to_str().unwrap().contains("/../")));
}

#[test]
fn the_same_runs_give_the_same_bytes() {
    let runs = [run(4, 1, 500.0), run(4, 2, 500.0)];
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for dir in &dirs {
        write(&dir.path().join("one"), &runs, "command").unwrap();
        let sides = [("a".to_owned(), runs.to_vec()), ("b".to_owned(), vec![runs[1].clone()])];
        write_comparison(&dir.path().join("two"), &sides, "command").unwrap();
    }
    assert!(contents(dirs[0].path()) == contents(dirs[1].path()));
    // Writing over an earlier report gives the same bytes as well.
    write(&dirs[1].path().join("one"), &runs, "command").unwrap();
    assert!(contents(dirs[0].path()) == contents(dirs[1].path()));
}

#[test]
fn a_file_in_the_way_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("taken");
    fs::write(&path, "").unwrap();
    let error = write(&path, &[], "").unwrap_err();
    assert!(matches!(error, ReportError::NotAFolder { path: ref p } if *p == path));
}
