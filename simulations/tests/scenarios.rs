//! Every scenario that ships can be read, refuses an unknown key in any of its tables, and holds its invariants.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use simulations::coverage::Coverage;
use simulations::figures::{Figures, Sample};
use simulations::history::{Entry, MachineEvent, Record};
use simulations::index::NodeIndex;
use simulations::reply::Reply;
use simulations::run::{Keep, run};
use simulations::scenario::{FaultKind, Replay, Scenario};

/// These are run for a part of their length, because a whole day takes a minute, too long for a test.
const LONG: [&str; 2] = ["berlin-day", "reopening-day"];

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

fn read(file: &Path) -> (String, Scenario) {
    let text = std::fs::read_to_string(file).unwrap();
    let scenario = Scenario::parse(&text).unwrap_or_else(|error| panic!("{}: {error:?}", file.display()));
    (text, scenario)
}

#[test]
fn every_scenario_holds() {
    let mut all = files("scenarios");
    assert!(all.len() >= 15);
    all.extend(files("scenarios/regressions"));
    let waiting = Mutex::new(all);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(file) = { waiting.lock().unwrap().pop() } {
                    let (_, mut scenario) = read(&file);
                    if LONG.contains(&scenario.name.as_str()) {
                        // From eleven in the morning, when there are guests.
                        (scenario.start, scenario.duration) = (Duration::from_hours(11), Duration::from_mins(5));
                        scenario.faults.clear();
                    }
                    let seed = scenario.replay.as_ref().map_or(1, |replay| replay.seed.parse().unwrap());
                    let outcome = run(&scenario, seed, Keep::default()).unwrap();
                    let broken = outcome.broken.as_ref();
                    if scenario.name == "canary" {
                        assert_eq!(broken.map(|broken| broken.invariant.name()), Some("I1"), "the canary sings");
                    } else {
                        assert_eq!(broken, None, "{}", file.display());
                        assert!(outcome.convergence.took.is_some());
                    }
                }
            });
        }
    });
}

#[test]
fn an_unknown_key_is_refused_in_every_table() {
    for file in files("scenarios") {
        let (text, _) = read(&file);
        let mut table: toml::Table = toml::from_str(&text).unwrap();
        table.insert("bogus".to_owned(), true.into());
        assert!(Scenario::parse(&table.to_string()).is_err(), "{}: at the top", file.display());
        for (name, section) in toml::from_str::<toml::Table>(&text).unwrap() {
            let mut with = toml::from_str::<toml::Table>(&text).unwrap();
            let bogus = |section: &mut toml::Table| section.insert("bogus".to_owned(), true.into());
            match section {
                toml::Value::Table(mut section) => {
                    bogus(&mut section);
                    with.insert(name.clone(), section.into());
                }
                toml::Value::Array(mut all) if all.iter().any(toml::Value::is_table) => {
                    bogus(all[0].as_table_mut().unwrap());
                    with.insert(name.clone(), all.into());
                }
                _ => continue,
            }
            assert!(Scenario::parse(&with.to_string()).is_err(), "{}: in {name}", file.display());
        }
    }
}

#[test]
fn a_region_anywhere_needs_only_a_position() {
    let text = "name = \"x\"\nduration = \"20s\"\nregions = [\"eu-central\", \"atlantis\"]\n\
                [positions]\natlantis = [31.0, -24.0]\n[workload]\nrate = 1.0\n";
    let outcome = run(&Scenario::parse(text).unwrap(), 1, Keep::default()).unwrap();
    assert_eq!(outcome.broken, None);
}

/// The swarm must not draw a plan that would be refused in a file, because its plans are written to files.
#[test]
fn plans_of_the_swarm_can_be_read_again() {
    let (_, swarm) = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/swarm.toml"));
    for seed in 0..2_000 {
        let plan = simulations::plan::draw(&swarm, seed);
        plan.check().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        if seed < 50 {
            Scenario::parse(&plan.to_toml().unwrap()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
    }
}

/// `replay` must tell an edited plan from other code.
#[test]
fn an_edit_of_a_plan_is_noticed() {
    let (_, scenario) = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/one-way.toml"));
    let written = run(&scenario, 1, Keep::default()).unwrap().replayable();
    let (text, plan) = (written.to_toml().unwrap(), written.replay.unwrap().plan);
    let hash = |text: &str| Some(Replay::plan_of(text).unwrap());
    assert_eq!(hash(&text), plan);
    assert_eq!(hash(&format!("# a comment\n{text}")), plan);
    assert_eq!(hash(&text.replace("one-way\"", "another-name\"")), plan);
    assert_eq!(Scenario::parse(&text).unwrap().to_toml().unwrap(), text, "what is read is what was written");
    for (from, to) in [("bandwidth_mbps = 200.0", "bandwidth_mbps = 100.0"), ("for = \"3m\"", "for = \"2m\"")] {
        assert!(text.contains(from), "{from}: {text}");
        assert_ne!(hash(&text.replace(from, to)), plan, "{to}");
    }
}

#[test]
fn a_fault_without_effect_is_named() {
    let of = |region: &str| {
        let text = format!(
            "name = \"x\"\nduration = \"20s\"\nregions = [\"eu-central\", \"us-east\"]\n\
             [[fault]]\nat = \"5s\"\nfor = \"10s\"\nkind = \"crash\"\nregion = \"us-east\"\n\
             [[fault]]\nat = \"8s\"\nfor = \"2s\"\nkind = \"restart\"\nregion = \"{region}\"\n"
        );
        let outcome = run(&Scenario::parse(&text).unwrap(), 1, Keep::default()).unwrap();
        assert!(outcome.awake >= Duration::from_secs(20), "{:?}", outcome.awake);
        outcome.without_effect().into_iter().map(|kind| kind.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(of("us-east"), ["restart"], "what does not run cannot be restarted");
    assert!(of("eu-central").is_empty());
}

fn named(name: &str) -> Scenario {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/{name}.toml"))).1
}

/// A region can go only by the changes of a retention that it has heard of: then a visit may have two keys. Nothing else
/// may make two.
#[test]
fn a_visit_has_two_keys_only_where_a_change_was_not_heard_of() {
    let outcome = run(&named("retention-unheard"), 1, Keep { history: true, ..Keep::default() }).unwrap();
    assert_eq!(outcome.broken, None);
    for wanted in [Coverage::SecondKey, Coverage::ChangedAtOnce, Coverage::RepeatAfterChange, Coverage::OtherContent] {
        assert!(outcome.coverage.contains(&wanted), "{wanted:?}: {:?}", outcome.coverage);
    }
    let entries = outcome.history.unwrap().entries;
    let over = entries.into_iter().filter_map(|entry| match entry.record {
        Record::Over { reply, .. } => Some(reply.unwrap()),
        _ => None,
    });
    let answers: Vec<Reply> = over.collect();
    let (conflicts, gone) = (answers.iter().filter(|reply| **reply == Reply::Conflict), answers.last());
    assert_eq!((answers.len(), conflicts.count(), gone), (14, 1, Some(&Reply::Gone)), "{answers:?}");
}

fn measured(scenario: &Scenario) -> Figures {
    let outcome = run(scenario, 1, Keep { figures: true, ..Keep::default() }).unwrap();
    assert_eq!(outcome.broken, None);
    outcome.figures.unwrap()
}

/// A write that only one disk had when it went back in time breaks no invariant and is counted as lost.
#[test]
fn losses_by_contract_are_counted() {
    let lost = measured(&named("restored-alone")).losses;
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert_eq!(lost[0].region.0, 1, "only the region that was alone");
    assert!(lost[0].changes > 50 && lost[0].erasures > 5, "{lost:?}");
    assert!((1..=lost[0].erasures).contains(&lost[0].undone), "{lost:?}");
    assert_eq!(measured(&named("quiet")).losses, []);
    // Other regions had all that it acknowledged.
    assert_eq!(measured(&named("restored-backup")).losses, []);
}

/// In how many samples of a cut's last minute a node says that it is complete for Europe's first node.
fn complete_for_europe(run: &Figures, at: usize) -> usize {
    let during = run.samples.iter().filter(|sample| sample.region.0 == at && (180.0..240.0).contains(&sample.at));
    during.filter(|sample| sample.completeness_s[0].is_some_and(|behind| behind < 30.0)).count()
}

/// The same four nodes as two nodes of one region and as four regions.
#[test]
fn nodes_of_one_region_have_one_vote_and_one_completeness() {
    let together = named("two-nodes-a-region");
    let mut apart = together.clone();
    apart.region_of.clear();
    let outcome = run(&apart, 1, Keep { figures: true, ..Keep::default() }).unwrap();
    let broken = outcome.broken.unwrap();
    // Two wrong clocks of four outvote one that is right. A2 excludes that, so the run may break an invariant.
    assert_eq!((broken.invariant.name(), broken.at > Duration::from_mins(6)), ("I9", true), "{broken:?}");
    let (apart, together) = (outcome.figures.unwrap(), measured(&together));
    for at in 2..4 {
        assert_eq!(complete_for_europe(&together, at), 0, "the cut node may have what is missing");
        assert!(complete_for_europe(&apart, at) > 10);
        let is_in_doubt = |sample: &&Sample| sample.region.0 == at && sample.up && !sample.ready && sample.at > 360.0;
        assert_eq!(together.samples.iter().filter(is_in_doubt).count(), 0, "two nodes of one region are one vote");
    }
    let in_doubt = together.samples.iter().filter(|sample| sample.region.0 < 2 && !sample.ready && sample.at > 370.0);
    assert!(in_doubt.count() > 50, "and the region itself is outvoted by the two others");
}

/// Each side of a cut fills the same documents. Both refuse further changes, and those that they took together stay.
#[test]
fn a_full_document_has_an_answer_of_its_own() {
    let outcome = run(&named("full-document"), 1, Keep { history: true, figures: true }).unwrap();
    assert_eq!(outcome.broken, None);
    assert!(
        outcome.coverage.contains(&Coverage::Full) && outcome.coverage.contains(&Coverage::Overfull),
        "{:?}",
        outcome.coverage
    );
    let mut refused = BTreeSet::new();
    for Entry { at, record, .. } in &outcome.history.unwrap().entries {
        if let Record::Answered { region, reply: Some(Reply::Full), .. } = record
            && *at < Duration::from_secs(270)
        {
            refused.insert(*region);
        }
    }
    assert!(refused.contains(&NodeIndex(1)) && refused.len() > 1, "{refused:?} refused during the cut");
    let requests = outcome.figures.unwrap().requests;
    let full: Vec<(&str, u64)> = requests.iter().map(|count| (count.kind.as_str(), count.full)).collect();
    assert!(full.iter().all(|(kind, full)| (*full > 100) == (*kind == "correct")), "{full:?}");
    assert!(requests.iter().all(|count| count.failed == 0), "{requests:?}");
}

/// A version vector has a place for each id that a node ever had, and every token and every batch has such vectors.
#[test]
fn a_hundred_restarts_beside_a_dead_peer_leave_tokens_short() {
    let scenario = named("restarts-beside-the-dead");
    let outcome = run(&scenario, 1, Keep { history: true, figures: true }).unwrap();
    // A process that takes no write needs no id.
    let (mut wrote, mut has_written) = (0, false);
    for Entry { record, .. } in &outcome.history.unwrap().entries {
        match record {
            Record::Machine { node: NodeIndex(1), what: MachineEvent::Starts } => {
                wrote += i32::from(std::mem::take(&mut has_written))
            }
            Record::Acknowledged { node: NodeIndex(1), dot: Some(_), .. } => has_written = true,
            _ => {}
        }
    }
    assert!(wrote > 100, "{wrote} processes took a write and were followed by another");
    let with = outcome.figures.unwrap();
    let mut scenario = scenario;
    scenario.faults.retain(|fault| fault.kind() != FaultKind::Restarts);
    let without = measured(&scenario);
    assert!(with.longest_token < 200, "{} characters", with.longest_token);
    let bytes = |run: &Figures| run.batches.mean(run.batches.bytes);
    assert!(bytes(&with) < bytes(&without) * 1.2, "{} bytes a batch, {} without", bytes(&with), bytes(&without));
}

/// The figures of a run that broke end where it broke.
#[test]
fn a_broken_run_ends_when_it_broke() {
    let (_, canary) = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/canary.toml"));
    let outcome = run(&canary, 1, Keep::default()).unwrap();
    assert_eq!(outcome.broken.map(|broken| broken.at), Some(outcome.awake));
}

#[test]
fn a_berlin_of_240_000_visits_is_drawn() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/berlin-day.toml");
    let plan = simulations::plan::draw(&read(&file).1, 1);
    let visits = plan.operations.iter().map(|operation| operation.visit).collect::<std::collections::BTreeSet<_>>();
    assert!((235_000..245_000).contains(&visits.len()), "{}", visits.len());
}

/// Europe is cut off and its only region is down. Its guests reach no region, and guests near the other region do not
/// notice.
#[test]
fn a_cut_stops_clients_and_probes_as_well() {
    let text = r#"
        name = "cut-off"
        duration = "5m"
        regions = ["eu-central", "us-east"]
        [workload]
        rate = 2.0
        roaming = 0.0
        corrections = 0.0
        repeats = 0.0
        erasures = 0.0
        [[fault]]
        at = "1m"
        for = "3m"
        kind = "partition"
        from = ["eu-central"]
        [[fault]]
        at = "90s"
        for = "2m"
        kind = "crash"
        region = "eu-central"
    "#;
    let keep = Keep { figures: true, ..Keep::default() };
    let outcome = run(&Scenario::parse(text).unwrap(), 1, keep).unwrap();
    assert_eq!(outcome.broken, None);
    let slices = outcome.figures.unwrap().availability;
    let dark = slices.iter().filter(|slice| slice.at >= 100.0 && slice.at + slice.seconds <= 190.0);
    let (mut failed, mut answered) = ([0; 2], [0; 2]);
    for slice in dark {
        failed[slice.region.0] += slice.failed;
        answered[slice.region.0] += slice.at_home + slice.elsewhere;
    }
    assert!(failed[0] > 50 && answered[0] == 0, "near eu-central: {failed:?} failed, {answered:?} answered");
    assert!(failed[1] == 0 && answered[1] > 50, "near us-east: {failed:?} failed, {answered:?} answered");
}
