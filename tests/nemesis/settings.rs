//! What the environment chooses. Without it one short run on sled is made, which is what CI has time for.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `MERIDIAN_NEMESIS_SEEDS` | `7`, or `1..20` for 1 to 20 |
//! | `MERIDIAN_NEMESIS_SECONDS` | how long the faults of one run last |
//! | `MERIDIAN_NEMESIS_ENGINE` | `sled`, `fjall` or `both` |
//! | `MERIDIAN_NEMESIS_BINARY` | the `meridian` to run, such as a release build; otherwise the one that cargo built |

use std::path::PathBuf;
use std::time::Duration;

use node::config::Engine;

/// The seed of CI's run: its plan has every kind of fault, as a test of the plans holds.
pub(crate) const SEED: u64 = 283;
/// How long CI's run lasts.
pub(crate) const SECONDS: u64 = 20;

/// The program under test.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("MERIDIAN_NEMESIS_BINARY").map_or(env!("CARGO_BIN_EXE_meridian").into(), PathBuf::from)
}

/// Which runs are made.
pub(crate) struct Settings {
    seeds: std::ops::RangeInclusive<u64>,
    lasts: Duration,
    engines: Vec<Engine>,
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chosen {
    /// Decides the plan and the guests.
    pub seed: u64,
    /// How long faults and guests go on.
    pub lasts: Duration,
    /// The storage engine of every node.
    pub engine: Engine,
}

impl Settings {
    /// Reads the environment; panics with the name of a variable that makes no sense.
    pub(crate) fn read() -> Settings {
        let text = |name: &str| std::env::var(name).ok();
        let number = |name: &str, text: &str| -> u64 {
            text.parse().unwrap_or_else(|_| panic!("{name} has \"{text}\": a number is expected"))
        };
        let seeds = match text("MERIDIAN_NEMESIS_SEEDS") {
            None => SEED..=SEED,
            Some(text) => {
                let (first, last) = text.split_once("..").unwrap_or((&text, &text));
                number("MERIDIAN_NEMESIS_SEEDS", first)..=number("MERIDIAN_NEMESIS_SEEDS", last)
            }
        };
        let seconds = text("MERIDIAN_NEMESIS_SECONDS").map_or(SECONDS, |s| number("MERIDIAN_NEMESIS_SECONDS", &s));
        assert!(seconds >= 10, "MERIDIAN_NEMESIS_SECONDS: at least 10, otherwise there is no time for faults");
        let engines = match text("MERIDIAN_NEMESIS_ENGINE").as_deref() {
            None | Some("sled") => vec![Engine::Sled],
            Some("fjall") => vec![Engine::Fjall],
            Some("both") => vec![Engine::Sled, Engine::Fjall],
            Some(other) => panic!("MERIDIAN_NEMESIS_ENGINE has \"{other}\": sled, fjall or both is expected"),
        };
        Settings { seeds, lasts: Duration::from_secs(seconds), engines }
    }

    /// Every run, in order.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Chosen> {
        let one =
            move |seed| self.engines.iter().map(move |engine| Chosen { seed, lasts: self.lasts, engine: *engine });
        self.seeds.clone().flat_map(one)
    }
}

impl Chosen {
    /// The command that makes this run again.
    pub(crate) fn again(&self) -> String {
        format!(
            "MERIDIAN_NEMESIS_SEEDS={} MERIDIAN_NEMESIS_SECONDS={} MERIDIAN_NEMESIS_ENGINE={} \
             cargo test --workspace --locked --test nemesis -- --nocapture",
            self.seed,
            self.lasts.as_secs(),
            self.engine
        )
    }
}
