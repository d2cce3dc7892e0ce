//! A scenario and a seed determine the whole run: these traces are the same in every build and on every machine.
//!
//! The hashes are in `pinned.toml`, so that debug and release builds must give the same ones.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde::Deserialize;
use simulations::run::{Keep, run};
use simulations::scenario::Scenario;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pins {
    pin: Vec<Pin>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    scenario: String,
    seed: u64,
    trace: String,
}

#[test]
fn pinned_runs_give_their_traces() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Pins { pin } = toml::from_str(&std::fs::read_to_string(here.join("tests/pinned.toml")).unwrap()).unwrap();
    assert!(pin.len() >= 2, "nothing is pinned");
    let mut wrong = Vec::new();
    for Pin { scenario, seed, trace } in pin {
        let file = here.join("scenarios").join(format!("{scenario}.toml"));
        let outcome = run(&Scenario::parse(&std::fs::read_to_string(file).unwrap()).unwrap(), seed, Keep::default());
        let now = outcome.unwrap().trace.to_string();
        if now != trace {
            let was = if trace.is_empty() { "has none" } else { trace.as_str() };
            wrong.push(format!("{scenario} with seed {seed} {was}; if that was meant, put in:\ntrace = \"{now}\""));
        }
    }
    assert!(wrong.is_empty(), "tests/pinned.toml does not fit:\n{}", wrong.join("\n"));
}
