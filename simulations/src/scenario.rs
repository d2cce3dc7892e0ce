//! A scenario, the input that a researcher writes. Unknown keys are refused, and every key has a default or is
//! required.
//!
//! A scenario may leave things to chance: `[workload]` generates requests, `[swarm]` draws regions, faults and
//! settings. [`crate::plan::draw`] settles all of that for one seed; the result is a scenario again, with every
//! operation and fault written out, so it can be saved, read, cut down and run as it is.

mod act;
mod fault;
mod length;
mod presence;
mod ranges;
mod sections;
mod signed;
mod touched;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::index::NodeIndex;
use crate::trace::{Trace, TraceHash};

pub use act::{Act, FaultKind, Flap};
pub use fault::Fault;
pub use sections::{
    Checks, Clocks, Disks, Matrix, Network, Operation, OperationKind, Owners, ReplicaSettings, Swarm, Topology,
    Workload,
};
pub use signed::SignedDuration;

pub(crate) use act::Links;
pub(crate) use fault::Resolved;
pub(crate) use touched::Touched;

/// A scenario as written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short, as in the file's name.
    pub name: String,
    /// What it is about, in a sentence or two.
    #[serde(default)]
    pub about: String,
    /// How long faults and requests go on. Afterwards every region of the core heals, and they must converge.
    #[serde(with = "api::duration")]
    pub duration: Duration,
    /// Time of day (UTC) at which it begins.
    #[serde(default = "ten_o_clock", with = "api::duration")]
    pub start: Duration,
    /// Names as in `meridian up`, of AWS, or of IBM Cloud with `ibm-` before them; others need a position.
    pub regions: Vec<String>,
    /// Latitude and longitude of regions that are not in the table.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub positions: BTreeMap<String, [f64; 2]>,
    /// Nodes that share a region, with its name. Together they have one vote on clocks, and the region is as complete
    /// as the least complete of them. A name that is not here is a region of one node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub region_of: BTreeMap<String, String>,
    /// The links between regions.
    #[serde(default)]
    pub network: Network,
    /// The replicas' settings.
    #[serde(default)]
    pub replica: ReplicaSettings,
    /// The wall clocks.
    #[serde(default)]
    pub clocks: Clocks,
    /// The disks.
    #[serde(default)]
    pub disks: Disks,
    /// Generated requests.
    #[serde(default)]
    pub workload: Workload,
    /// Venues as documents, and what their owners do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owners: Option<Owners>,
    /// What is drawn for each seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swarm: Option<Swarm>,
    /// What is checked.
    #[serde(default)]
    pub checks: Checks,
    /// Faults at set times.
    #[serde(default, rename = "fault", skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// Requests at set times.
    #[serde(default, rename = "operation", skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
    /// How to repeat a run; in files that a failure wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
}

/// How to repeat a run exactly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// The seed, in decimal.
    pub seed: String,
    /// The trace hash that it must end with.
    pub trace: TraceHash,
    /// The verdict with which it must end: `ok`, or the invariant that broke first (`I3`).
    pub outcome: String,
    /// [`Replay::plan_of`] the file, to notice an edit; older files lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<TraceHash>,
}

impl Replay {
    /// The hash of everything in a file that affects its run, so not of its texts, comments and order of keys. It is
    /// taken of the file itself and not of the scenario read from it, so that a key that was added since does not
    /// change it.
    ///
    /// # Errors
    /// [`ScenarioError::Toml`].
    pub fn plan_of(text: &str) -> Result<TraceHash, ScenarioError> {
        let mut table: toml::Table = toml::from_str(text)?;
        for says_nothing in ["replay", "name", "about"] {
            table.remove(says_nothing);
        }
        let mut trace = Trace::default();
        trace.note(Duration::ZERO, b'P', 0, table.to_string().as_bytes());
        Ok(trace.hash())
    }
}

fn ten_o_clock() -> Duration {
    Duration::from_hours(10)
}

/// Why a file is not a valid scenario.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// Not TOML, an unknown key, a wrong type.
    #[error("not a scenario")]
    Toml(#[from] toml::de::Error),
    /// It cannot be written as TOML.
    #[error("cannot write the scenario as TOML")]
    Write(#[from] toml::ser::Error),
    /// A region that is neither in the table nor has a position.
    #[error(
        "no region called `{name}`{near}; `meridian simulate regions` lists them all, and any other name needs a \
         position in [positions]"
    )]
    UnknownRegion {
        /// The name as written.
        name: String,
        /// Names that may be meant.
        near: Near,
    },
    /// A fault, an operation or the core names a region that the scenario does not have.
    #[error("no region called `{name}` in `regions`, which has {regions}")]
    ForeignRegion {
        /// The name as written.
        name: String,
        /// The regions that it has.
        regions: String,
    },
    /// A value out of bounds.
    #[error("`{key}` {wrong}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What is wrong with it.
        wrong: Cow<'static, str>,
    },
    /// A fault that would test nothing, or a value of it out of bounds.
    #[error("fault `{kind}` at {at:?}: {wrong}")]
    Fault {
        /// Its kind.
        kind: FaultKind,
        /// Its time.
        at: Duration,
        /// What is wrong.
        wrong: Cow<'static, str>,
    },
    /// `--set` with a key that no scenario has.
    #[error("cannot set `{0}`: write section.key=value")]
    Setting(String),
}

/// Names that resemble one that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near(Vec<&'static str>);

impl fmt::Display for Near {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " (is it {}?)", self.0.join(", ")) }
    }
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// [`ScenarioError`] naming the key and what to write instead.
    pub fn parse(text: &str) -> Result<Scenario, ScenarioError> {
        let scenario: Scenario = toml::from_str(text)?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Reads a scenario and changes some of its keys: `("replica.heartbeat", "100ms")`.
    ///
    /// # Errors
    /// [`ScenarioError`], also if there is no such key.
    pub fn parse_with(text: &str, settings: &[(String, String)]) -> Result<Scenario, ScenarioError> {
        let mut table: toml::Table = toml::from_str(text)?;
        for (key, value) in settings {
            let wrong = || ScenarioError::Setting(key.clone());
            // A number or a boolean if it reads as one, else a string: as in the file, without its quotes.
            let read = toml::from_str::<toml::Table>(&format!("value = {value}")).ok();
            let value = read.and_then(|mut table| table.remove("value"));
            let value = value.unwrap_or_else(|| toml::Value::String(key_value(settings, key)));
            let mut at = &mut table;
            let mut parts = key.split('.').peekable();
            while let Some(part) = parts.next() {
                if parts.peek().is_none() {
                    at.insert(part.to_owned(), value);
                    break;
                }
                let section = at.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
                at = section.as_table_mut().ok_or_else(wrong)?;
            }
        }
        let scenario: Scenario = table.try_into()?;
        scenario.check()?;
        Ok(scenario)
    }

    /// The scenario as a file.
    ///
    /// # Errors
    /// [`ScenarioError::Write`] if TOML cannot say it.
    pub fn to_toml(&self) -> Result<String, ScenarioError> {
        Ok(toml::to_string(self)?)
    }

    pub(crate) fn name(&self, node: NodeIndex) -> &str {
        self.regions.get(node.0).map_or("?", String::as_str)
    }

    /// The index of a node.
    ///
    /// # Errors
    /// [`ScenarioError::UnknownRegion`].
    pub fn region(&self, name: &str) -> Result<NodeIndex, ScenarioError> {
        self.regions
            .iter()
            .position(|region| region == name)
            .map(NodeIndex)
            .ok_or_else(|| ScenarioError::ForeignRegion { name: name.to_owned(), regions: self.regions.join(", ") })
    }

    /// The region that a node is in: its own name if nothing else is said.
    pub(crate) fn region_of<'a>(&'a self, node: &'a str) -> &'a str {
        self.region_of.get(node).map_or(node, String::as_str)
    }

    /// Checks that the scenario makes sense: its run ends, tests something, and fails only if the replicas are wrong.
    ///
    /// # Errors
    /// [`ScenarioError`] naming the key and what to write instead.
    pub fn check(&self) -> Result<(), ScenarioError> {
        self.resolve().map(drop)
    }

    /// The same, with the faults as they run.
    pub(crate) fn resolve(&self) -> Result<Vec<Resolved>, ScenarioError> {
        self.names()?;
        ranges::check(self)?;
        let faults = self.faults.iter().map(|fault| fault.resolve(self)).collect::<Result<Vec<_>, _>>()?;
        presence::check(self, &faults)?;
        Ok(faults)
    }

    fn names(&self) -> Result<(), ScenarioError> {
        let value = |key, wrong: &'static str| Err(ScenarioError::Value { key, wrong: wrong.into() });
        // Files are named after it.
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !(1..=64).contains(&self.name.len()) || !self.name.chars().all(fits) || self.name.starts_with('.') {
            return value("name", "must be 1 to 64 letters, digits, `-`, `_` or `.`: files are named after it");
        }
        let different: BTreeSet<&String> = self.regions.iter().collect();
        if self.regions.is_empty() || self.regions.len() > 12 || different.len() < self.regions.len() {
            return value("regions", "must be 1 to 12 different names");
        }
        for region in &self.regions {
            if crate::regions::position(region).is_none() && !self.positions.contains_key(region) {
                let near = Near(crate::regions::near(region));
                return Err(ScenarioError::UnknownRegion { name: region.clone(), near });
            }
            if let Err(error) = region.parse::<replication::NodeName>() {
                let wrong = format!("has `{region}`: {error}");
                return Err(ScenarioError::Value { key: "regions", wrong: wrong.into() });
            }
        }
        for (node, region) in &self.region_of {
            self.region(node)?;
            if let Err(error) = region.parse::<replication::RegionId>() {
                let wrong = format!("has `{region}`: {error}");
                return Err(ScenarioError::Value { key: "region_of", wrong: wrong.into() });
            }
        }
        Ok(())
    }
}

fn key_value(settings: &[(String, String)], key: &str) -> String {
    settings.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.clone()).unwrap_or_default()
}
