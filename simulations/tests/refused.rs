//! Scenarios without sense are refused before they run, with an error that names the key: values that would make a
//! healthy world look broken, runs that would never end, and faults that would test nothing.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use simulations::scenario::{Fault, FaultKind, Scenario};

/// Three regions for a minute: a scenario without an error.
const GOOD: &str = "name = \"x\"\nduration = \"1m\"\nregions = [\"eu-central\", \"us-east\", \"sa-east\"]\n";

/// A fault of `kind` at one second, with these keys.
fn fault(kind: &str, keys: &str) -> String {
    format!("[[fault]]\nat = \"1s\"\nkind = \"{kind}\"\n{keys}\n")
}

/// A check-in at one second, with `keys` first.
fn operation(keys: &str) -> String {
    let keys = if keys.contains("at = ") { keys.to_owned() } else { format!("at = \"1s\"\n{keys}") };
    let keys = if keys.contains("visit") { keys } else { format!("{keys}\nvisit = 1") };
    let keys = if keys.contains("retention") { keys } else { format!("{keys}\nretention = \"1h\"") };
    format!("[[operation]]\nkind = \"check-in\"\nfrom = \"us-east\"\n{keys}\n")
}

fn refused(text: &str) -> String {
    let error = Scenario::parse(text).err().unwrap_or_else(|| panic!("is taken: {text}"));
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    format!("{error} {source}")
}

#[test]
fn sensible_scenarios_are_accepted() {
    for good in [
        fault("crash", "region = \"us-east\"\nfor = \"1ms\""),
        fault("partition", "for = \"10s\""),
        fault("partition", "from = [\"us-east\"]\nfor = \"10s\"\nflap = { down = \"10ms\", up = \"10ms\" }"),
        fault("degrade", "from = [\"us-east\"]\nfor = \"10s\"\nloss = 1.0"),
        fault("clock-step", "region = \"us-east\"\nfor = \"10s\"\nby = \"-400days\""),
        fault("remove", "region = \"us-east\"") + &fault("remove", "region = \"sa-east\""),
        fault("add", "region = \"us-east\""),
        operation("visit = 4000000000"),
        "[checks]\ncore = [\"us-east\"]\nbound = 0.00001".to_owned(),
        "[network]\nbandwidth_mbps = 0.05\njitter = 0.5\nloss = 0.3".to_owned(),
        "[network]\ntopology = \"star\"\n[checks]\ncore = [\"us-east\", \"eu-central\"]".to_owned(),
        "[swarm]\nregions = [3, 3]".to_owned(),
        "[swarm]\nregions = [2, 3]\n[[fault]]\nat = \"39s\"\nfor = \"1s\"\nkind = \"crash\"\nregion = \"us-east\""
            .to_owned(),
    ] {
        Scenario::parse(&format!("{GOOD}{good}\n")).unwrap_or_else(|error| panic!("{good}: {error}"));
    }
}

/// What owners do needs venues that are documents, and retentions that their policy pack allows.
#[test]
fn requests_of_owners_need_owners() {
    let open = "[[operation]]\nat = \"1s\"\nkind = \"open\"\nfrom = \"us-east\"\nvisit = 0\n";
    Scenario::parse(&format!("{GOOD}[owners]\n{open}retention = \"20s\"\n")).unwrap();
    for (wrong, says) in [
        (format!("{open}retention = \"20s\""), "operation.kind"),
        (format!("[owners]\n{open}"), "workload.retentions"),
        (format!("[owners]\n{open}retention = \"1500ms\""), "workload.retentions"),
        ("[owners]\nchanges = -1.0".to_owned(), "owners.changes"),
        ("[owners]\nconcurrent = 1.5".to_owned(), "owners.concurrent"),
        ("[owners]\nagain = 101".to_owned(), "owners.again"),
        ("[owners]\ncontradictions = nan".to_owned(), "owners.contradictions"),
        ("[owners]\n[workload]\nretentions = [\"29days\"]".to_owned(), "workload.retentions"),
    ] {
        let error = refused(&format!("{GOOD}{wrong}\n"));
        assert!(error.contains(says), "{wrong}: {error}");
    }
}

#[test]
fn values_out_of_range_are_refused() {
    for (section, wrong, says) in [
        ("network", "loss = 1.5", "network.loss"),
        ("network", "loss = nan", "network.loss"),
        ("network", "duplicate = 0.9", "network.duplicate"),
        ("network", "reorder = -0.1", "network.reorder"),
        ("network", "jitter = inf", "network.jitter"),
        ("network", "bandwidth_mbps = 0.001", "between 0.05"),
        ("network", "bandwidth_mbps = nan", "network.bandwidth_mbps"),
        ("network", "queue_kib = 1", "network.queue_kib"),
        ("network", "queue_kib = 64", "replica.in_flight_kib"),
        ("replica", "heartbeat = \"1ms\"", "replica.heartbeat"),
        ("replica", "heartbeat = \"1h\"", "replica.heartbeat"),
        ("replica", "relay_after = \"0s\"", "replica.relay_after"),
        ("replica", "relay_after = \"1day\"", "replica.relay_after"),
        ("replica", "max_clock_skew = \"400days\"", "between 1s and 1h"),
        ("replica", "max_retention = \"1s\"", "replica.max_retention"),
        ("replica", "max_retention = \"900days\"", "replica.max_retention"),
        ("replica", "batch_records = 0", "replica.batch_records"),
        ("replica", "in_flight_kib = 0", "replica.in_flight_kib"),
        ("clocks", "skew = \"50s\"", "clocks.skew"),
        ("clocks", "drift_ppm = 1e308", "clocks.drift_ppm"),
        ("clocks", "drift_ppm = nan", "clocks.drift_ppm"),
        ("clocks", "drift_ppm = -1.0", "clocks.drift_ppm"),
        ("clocks", "drift_ppm = 60000.0", "half of replica.max_clock_skew"),
        ("disks", "sync = \"1h\"", "disks.sync"),
        ("disks", "sync = \"0s\"", "disks.sync"),
        ("workload", "rate = -1", "workload.rate"),
        ("workload", "rate = nan", "workload.rate"),
        ("workload", "rate = 100000", "too many"),
        ("workload", "reads = inf", "workload.reads"),
        ("workload", "venues = 0", "workload.venues"),
        ("workload", "popularity = 9.0", "workload.popularity"),
        ("workload", "corrections = 2.0", "workload.corrections"),
        ("workload", "concurrent = nan", "workload.concurrent"),
        ("workload", "hot = -1.0", "workload.hot"),
        ("workload", "hot_visits = 0", "workload.hot_visits"),
        ("workload", "large = 1.5", "workload.large"),
        ("workload", "large_kib = 65", "workload.large_kib"),
        ("workload", "erasures = -0.5", "workload.erasures"),
        ("workload", "repeats = 7", "workload.repeats"),
        ("workload", "roaming = 1.01", "workload.roaming"),
        ("workload", "later = \"0s\"", "workload.later"),
        ("workload", "retentions = []", "workload.retentions"),
        ("workload", "retentions = [\"0s\"]", "workload.retentions"),
        ("workload", "rate = 1.0\nretentions = [\"30days\"]", "replica.max_retention"),
        ("checks", "bound = -1.0", "checks.bound"),
        ("checks", "bound = 0.0", "checks.bound"),
        ("checks", "bound = 1e300", "checks.bound"),
        ("checks", "bound = nan", "checks.bound"),
        ("swarm", "omit = nan\nregions = [2, 3]", "swarm.omit"),
        ("swarm", "faults = [3, 2]\nregions = [2, 3]", "swarm.faults"),
        ("swarm", "faults = [0, 4000000000]\nregions = [2, 3]", "swarm.faults"),
        ("swarm", "visits = [0, 4000000000]\nregions = [2, 3]", "swarm.visits"),
        ("swarm", "regions = [1, 3]", "swarm.regions"),
        ("swarm", "regions = [2, 4]", "swarm.regions"),
        ("swarm", "regions = [2, 2]", "third region"),
    ] {
        let error = refused(&format!("{GOOD}[{section}]\n{wrong}\n"));
        assert!(error.contains(says), "{wrong}: {error}");
    }
}

#[test]
fn top_level_keys_are_checked() {
    let text =
        |name: &str, duration: &str, rest: &str| format!("name = \"{name}\"\nduration = \"{duration}\"\n{rest}\n");
    let one = "regions = [\"eu-central\"]";
    Scenario::parse(&text("x", "31days", one)).unwrap();
    for (wrong, says) in [
        (text("x", "400days", one), "between 1s and 31days"),
        (text("x", "0s", one), "duration"),
        (text("x", "30days", &format!("start = \"24h\"\n{one}")), "start"),
        (GOOD.replace("1m", "31days") + "[replica]\nheartbeat = \"50ms\"\n", "heartbeats"),
        (text("../x", "1m", one), "name"),
        (text("", "1m", one), "name"),
        (text("x", "1m", "regions = []"), "regions"),
        (text("x", "1m", "regions = [\"us-east\", \"us-east\"]"), "different"),
        (text("x", "1m", "regions = [\"atlantis\"]"), "simulate regions"),
        (text("x", "1m", "regions = [\"eu-centrl\"]"), "is it eu-central"),
        (text("x", "1m", "regions = [\"frankfurt\"]"), "is it eu-central"),
        (text("x", "1m", "regions = [\"Atlantis\"]\n[positions]\nAtlantis = [0.0, 0.0]"), "a-z"),
        (text("x", "1m", "regions = [\"at\"]\n[positions]\nat = [91.0, 0.0]"), "latitude"),
        (text("x", "1m", "regions = [\"at\"]\n[positions]\nat = [0.0, nan]"), "longitude"),
        (text("x", "1m", "regions = [\"eu-central\"]\n[checks]\ncore = [\"us-east\"]"), "`us-east` in `regions`"),
    ] {
        let error = refused(&wrong);
        assert!(error.contains(says), "{wrong}: {error}");
    }
}

#[test]
fn nodes_of_a_region_are_listed_nodes() {
    assert!(refused(&format!("{GOOD}[region_of]\natlantis = \"us-east\"\n")).contains("atlantis"));
    assert!(refused(&format!("{GOOD}[region_of]\nus-east = \"not a name\"\n")).contains("region_of"));
    Scenario::parse(&format!("{GOOD}[region_of]\nus-east = \"america\"\nsa-east = \"america\"\n")).unwrap();
}

#[test]
fn operations_that_would_not_happen_are_refused() {
    for (wrong, says) in [
        (operation("at = \"1m\""), "operation.at"),
        (operation("at = \"2h\""), "the request would never be made"),
        (operation("visit = 4294967295"), "operation.visit"),
        (operation("retention = \"900days\""), "operation.retention"),
        (operation("retention = \"0s\""), "nothing is kept"),
        (operation("arrived = \"2m\""), "operation.arrived"),
        (operation("").replace("us-east", "atlantis"), "atlantis"),
    ] {
        let error = refused(&format!("{GOOD}{wrong}"));
        assert!(error.contains(says), "{wrong}: {error}");
    }
}

#[test]
fn faults_that_would_test_nothing_are_refused() {
    let region = "region = \"us-east\"\n";
    let on = |kind: &str, keys: &str| fault(kind, &format!("{region}for = \"10s\"\n{keys}"));
    let side = |keys: &str| fault("partition", &format!("for = \"10s\"\n{keys}"));
    let worse = |keys: &str| fault("degrade", &format!("for = \"10s\"\nfrom = [\"us-east\"]\n{keys}"));
    let mut table = vec![
        (fault("crash", "for = \"1s\""), "fault `crash` at 1s: missing field `region`"),
        (fault("crash", "region = \"atlantis\"\nfor = \"1s\""), "atlantis"),
        (on("crash", "ppm = 3"), "unknown field `ppm`, expected `region`"),
        (on("night", ""), "unknown field `region`"),
        (on("add", ""), "takes no `for`"),
        (on("earthquake", ""), "unknown variant `earthquake`, expected one of `partition`"),
        (side("from = [\"us-east\"]\nflap = { down = \"1s\", up = \"1s\", left = \"1s\" }"), "unknown field `left`"),
        (on("crash", "").replace("at = \"1s\"", "at = \"1m\""), "`duration` ends at 1m"),
        (on("crash", "").replace("at = \"1s\"", "at = \"3h\""), "`duration` ends"),
        (on("restore", "by = \"-3s\""), "\"-3s\", expected a length of time"),
        (on("restore", "by = \"0s\""), "`by`"),
        (on("restore", "by = \"400days\""), "`by`"),
        (on("slow-node", "by = \"0s\""), "`by`"),
        (on("slow-node", "by = \"1h\""), "`by`"),
        (on("slow-disk", "by = \"500us\""), "`by`"),
        (on("slow-disk", "by = \"1h\""), "`by`"),
        (on("clock-step", "by = \"-0s\""), "`by`"),
        (on("clock-step", "by = \"-9000days\""), "`by`"),
        (on("clock-step", "by = \"soon\""), "expected a length of time such as \"90s\" or \"-90s\" in `by`"),
        (on("clock-step", "").replace("for", "at"), "duplicate key"),
        (on("clock-drift", "ppm = nan"), "`ppm`"),
        (on("clock-drift", "ppm = 0.0"), "`ppm`"),
        (on("clock-drift", "ppm = 1e308"), "`ppm`"),
        (on("read-errors", "share = 7.0"), "`share`"),
        (on("read-errors", "share = 0.0"), "`share`"),
        (side("from = [\"us-east\"]\nto = [\"us-east\"]"), "us-east in `from` and in `to`"),
        (
            side("from = [\"us-east\", \"sa-east\"]\nto = [\"eu-central\", \"sa-east\"]"),
            "sa-east in `from` and in `to`",
        ),
        (side("from = [\"eu-central\", \"us-east\", \"sa-east\"]"), "all regions on one side"),
        (side("to = [\"us-east\"]"), "lacks `from`"),
        (side("from = [\"us-east\"]\nflap = { down = \"0s\", up = \"0s\" }"), "`flap.down`"),
        (side("from = [\"us-east\"]\nflap = { down = \"1s\", up = \"9ms\" }"), "`flap.up`"),
        (worse(""), "needs one of"),
        (worse("loss = 0.0"), "needs one of"),
        (worse("loss = 7.0"), "`loss`"),
        (worse("duplicate = nan"), "`duplicate`"),
        (worse("reorder = -1.0"), "`reorder`"),
        (worse("latency = \"1h\""), "`latency`"),
        (worse("bandwidth_mbps = 0.0"), "`bandwidth_mbps`"),
        (fault("add", region).repeat(2), "added twice"),
        (fault("remove", region).repeat(2), "removed twice"),
        (fault("remove", region) + &fault("add", region), "does not exist yet"),
        (
            ["eu-central", "us-east", "sa-east"].map(|name| fault("remove", &format!("region = \"{name}\""))).concat(),
            "no region is left",
        ),
        (
            ["eu-central", "us-east", "sa-east"].map(|name| fault("add", &format!("region = \"{name}\""))).concat(),
            "no region exists",
        ),
        (fault("remove", region) + "[checks]\ncore = [\"us-east\", \"sa-east\"]\n", "which a fault removes"),
        (
            "[network]\ntopology = \"star\"\n[checks]\ncore = [\"us-east\", \"sa-east\"]\n".to_owned(),
            "only through others",
        ),
        (format!("[swarm]\nregions = [2, 3]\n{}", fault("remove", region)), "come and go"),
        (
            format!("[swarm]\nregions = [2, 3]\n{}", on("crash", "").replace("us-east", "sa-east")),
            "leaves out a region",
        ),
        (
            format!("[swarm]\nregions = [2, 3]\n{}", on("crash", "").replace("at = \"1s\"", "at = \"50s\"")),
            "duration of 40s",
        ),
        ("[swarm]\nregions = [2, 3]\n[checks]\ncore = [\"us-east\"]\n".to_owned(), "drawn by [swarm]"),
    ];
    for kind in [
        "partition",
        "bridge",
        "degrade",
        "crash",
        "torn-batch",
        "restart",
        "pause",
        "slow-node",
        "slow-disk",
        "full-disk",
        "read-errors",
        "lying-disk",
        "restore",
        "clock-step",
        "clock-drift",
        "night",
    ] {
        // All keys that a kind needs but the length.
        let keys = match kind {
            "partition" => "from = [\"us-east\"]",
            "degrade" => "from = [\"us-east\"]\nloss = 0.5",
            "slow-node" | "slow-disk" | "restore" | "clock-step" => "region = \"us-east\"\nby = \"1s\"",
            "clock-drift" => "region = \"us-east\"\nppm = 100.0",
            "night" => "",
            _ => "region = \"us-east\"",
        };
        Scenario::parse(&format!("{GOOD}{}", fault(kind, &format!("for = \"1s\"\n{keys}")))).unwrap();
        table.push((fault(kind, keys), "needs `for`"));
        table.push((fault(kind, &format!("for = \"0s\"\n{keys}")), "`for` is 0s"));
    }
    for (wrong, says) in table {
        let error = refused(&format!("{GOOD}{wrong}"));
        assert!(error.contains(says), "{wrong}: {error}");
    }
    // Two regions have nothing between them.
    let two = GOOD.replace(", \"sa-east\"", "");
    assert!(refused(&format!("{two}{}", on("bridge", ""))).contains("three regions"));
}

/// A plan is saved as a file, so each kind must be read as it was written.
#[test]
fn every_kind_of_fault_survives_its_file() {
    let region = |kind: &str, keys: &str| fault(kind, &format!("region = \"us-east\"\n{keys}"));
    let lasts = |kind: &str, keys: &str| region(kind, &format!("for = \"1h 5ms\"\n{keys}"));
    let sides = "for = \"10s\"\nfrom = [\"us-east\"]\nto = [\"sa-east\"]\none-way = true\n";
    let faults = [
        fault("partition", &format!("{sides}flap = {{ down = \"1s\", up = \"20ms\" }}")),
        fault("degrade", &format!("{sides}loss = 0.25\nlatency = \"30ms\"\nbandwidth_mbps = 0.5")),
        lasts("read-errors", "share = 0.125"),
        lasts("restarts", "every = \"2s\""),
        lasts("clock-step", "by = \"-400days\""),
        lasts("clock-drift", "ppm = -12.5"),
        lasts("slow-node", "by = \"1500ms\""),
        lasts("slow-disk", "by = \"1500ms\""),
        lasts("old-bucket", "by = \"31days\""),
        lasts("restore", "by = \"1day 3h\""),
        region("believe-clock", ""),
        region("add", ""),
        region("remove", "").replace("1s", "2s"),
        region("rejoin", "").replace("1s", "3s"),
        fault("night", "for = \"9h\""),
        region("rot", "share = 0.125"),
    ];
    let plain = [
        "bridge",
        "crash",
        "torn-batch",
        "kill",
        "restart",
        "pause",
        "full-disk",
        "lying-disk",
        "hung-disk",
        "lose-bucket",
        "flip",
    ];
    let text = format!("{GOOD}{}{}", faults.concat(), plain.map(|kind| lasts(kind, "")).concat());
    let scenario = Scenario::parse(&text).unwrap();
    let kinds: BTreeSet<FaultKind> = scenario.faults.iter().map(Fault::kind).collect();
    assert_eq!(kinds, FaultKind::all().collect());
    let again = Scenario::parse(&scenario.to_toml().unwrap()).unwrap();
    assert_eq!(again.faults, scenario.faults);
    assert_eq!(scenario.faults[4].label(), "clock-step us-east -400days");
}
