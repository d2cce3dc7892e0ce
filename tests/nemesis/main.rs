//! The nemesis: real node processes under random faults, several at a time, while guests use every region. A checker
//! that shares no code with the product then judges the history of all requests.
//!
//! | file | concern |
//! | --- | --- |
//! | `settings.rs` | what the environment chooses: seeds, time, engine |
//! | `plan.rs` | a random plan of faults, from a seed |
//! | `forwarder.rs` | the network between the nodes |
//! | `cluster.rs`, `supervisor.rs` | the processes; the plan is carried out, and nodes that end are started again |
//! | `http.rs`, `guests.rs`, `readers.rs` | guests and owners with their requests |
//! | `history.rs` | every request with its begin, its end and its answer |
//! | `checker.rs` | what the history proves |
//! | `run.rs`, `report.rs` | one run from start to verdict |
//!
//! The seed decides the plan and what guests do. When each answer comes is decided by the machine, so a seed repeats the
//! faults and not every interleaving.

#![allow(clippy::unwrap_used)]

mod checker;
mod cluster;
mod forwarder;
mod guests;
mod history;
mod http;
#[allow(dead_code, reason = "tests/processes uses the rest")]
#[path = "../processes/common/net.rs"]
mod net;
mod plan;
#[allow(dead_code, reason = "tests/processes uses the rest")]
#[path = "../processes/common/process.rs"]
mod process;
mod readers;
mod report;
mod run;
mod settings;
mod supervisor;
#[allow(dead_code, reason = "tests/processes uses the rest")]
#[path = "../processes/common/wait.rs"]
mod wait;

use settings::Settings;

/// No acknowledged visit is lost, no erased one comes back, none is there twice, and sessions see what they wrote.
#[test]
fn what_was_acknowledged_holds_under_random_faults() {
    let settings = Settings::read();
    let failed: Vec<String> = settings.runs().filter_map(|one| run::run(&one).err()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
