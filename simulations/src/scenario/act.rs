//! What a fault does: one variant for each kind, with the keys of that kind as its fields.
//!
//! A scenario names machines; [`Act::resolve`] checks the values of one variant beside the ranges that they have, and
//! puts indices in place of the names. What runs matches the variants exhaustively (`world/fault.rs`), so the compiler
//! names the places that a new variant must fill.
//!
//! A fault without effect is refused, because a run that holds under it would prove nothing. So is a fault that goes on
//! after everything has healed, such as a link that holds frames back for minutes.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::{self, Debug};
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{EnumDiscriminants, EnumIter, IntoEnumIterator as _};

use super::length::Length;
use super::ranges::{BANDWIDTH, outside, outside_length};
use super::signed::SignedDuration;
use super::touched::Touched;
use super::{Scenario, ScenarioError};
use crate::index::NodeIndex;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);
/// Times between opening and closing. A shorter one would not act as a partition.
const FLAP: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(24);
/// Times between two restarts. In the shortest one a process still starts and is heard.
const EVERY: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);
const LATENCY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(5);
const DRIFT_PPM: RangeInclusive<f64> = -100_000.0..=100_000.0;
const SHARE: RangeInclusive<f64> = 0.0..=1.0;

/// Opens and closes a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flap {
    /// Cut for so long,
    #[serde(with = "api::duration")]
    pub down: Duration,
    /// then open for so long.
    #[serde(with = "api::duration")]
    pub up: Duration,
}

/// What a fault does, and to which machines: `N` is a name as written, or the index of the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, EnumDiscriminants)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[strum_discriminants(
    name(FaultKind),
    doc = "The kind of a fault, as `kind` names it.",
    derive(PartialOrd, Ord, Hash, Serialize, Deserialize, EnumIter),
    serde(rename_all = "kebab-case"),
    allow(missing_docs)
)]
#[allow(missing_docs)]
pub enum Act<N = String> {
    /// No frame passes from `from` to `to` (the others if `to` is empty), nor back unless `one-way`; `flap` opens and
    /// closes it.
    Partition {
        #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
        from: Vec<N>,
        #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
        to: Vec<N>,
        #[serde(default, rename = "one-way", skip_serializing_if = "std::ops::Not::not")]
        one_way: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flap: Option<Flap>,
    },
    /// The others fall into two halves that see only `region` in common.
    Bridge { region: N },
    /// Links from `from` to `to` get worse.
    Degrade {
        #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
        from: Vec<N>,
        #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
        to: Vec<N>,
        #[serde(default, rename = "one-way", skip_serializing_if = "std::ops::Not::not")]
        one_way: bool,
        #[serde(default)]
        loss: f64,
        #[serde(default)]
        duplicate: f64,
        #[serde(default)]
        reorder: f64,
        #[serde(default, with = "api::duration")]
        latency: Duration,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bandwidth_mbps: Option<f64>,
    },
    /// The process of `region` is killed and started again after `for`. Unsynced batches are lost in part.
    Crash { region: N },
    /// As `Crash`, but the machine dies when its next batch has reached a part of its days, whichever they are.
    TornBatch { region: N },
    /// The process is killed and the machine goes on. Unsynced batches are in the page cache, in part, and a later
    /// crash may lose them.
    Kill { region: N },
    /// The process is stopped cleanly and started again after `for`.
    Restart { region: N },
    /// The process stands still for `for`, its memory intact.
    Pause { region: N },
    /// Every input costs `by` more for `for`.
    SlowNode {
        region: N,
        #[serde(with = "api::duration")]
        by: Duration,
    },
    /// Each sync takes `by` for `for`.
    SlowDisk {
        region: N,
        #[serde(with = "api::duration")]
        by: Duration,
    },
    /// Every write fails for `for`.
    FullDisk { region: N },
    /// A share of reads and syncs fails for `for`.
    ReadErrors {
        region: N,
        #[serde(default = "one_percent")]
        share: f64,
    },
    /// For `for` the disk reports syncs that it has not made (this breaks assumption A3).
    LyingDisk { region: N },
    /// For `for` no sync returns, and none fails.
    HungDisk { region: N },
    /// The process is stopped and one bucket of its store is gone.
    LoseBucket { region: N },
    /// The process is stopped and one bucket of its store goes back to how it was `by` earlier.
    OldBucket {
        region: N,
        #[serde(with = "api::duration")]
        by: Duration,
    },
    /// A stored value can no longer be read. After `for` the operator removes its bucket.
    Flip { region: N },
    /// The process is stopped cleanly and started again every `every`, for `for`.
    Restarts {
        region: N,
        #[serde(with = "api::duration")]
        every: Duration,
    },
    /// The process is killed and its disk goes back to how it was `by` earlier.
    Restore {
        region: N,
        #[serde(with = "api::duration")]
        by: Duration,
    },
    /// The wall clock steps by `by` (which may begin with `-`), for `for`.
    ClockStep { region: N, by: SignedDuration },
    /// The wall clock runs wrong by `ppm` for `for`.
    ClockDrift { region: N, ppm: f64 },
    /// An operator confirms the clock of `region`, right or wrong.
    BelieveClock { region: N },
    /// `region` exists only from now on.
    Add { region: N },
    /// `region` is shut down for good and the others forget it.
    Remove { region: N },
    /// `region`, which was removed, comes back with its old disk.
    Rejoin { region: N },
    /// Every machine is suspended for `for`: clocks go on, and nothing else happens.
    Night {},
    /// Bits flip in a share of the documents that another region has as well, and the engine does not see it.
    Rot {
        region: N,
        #[serde(default = "a_quarter")]
        share: f64,
    },
}

fn one_percent() -> f64 {
    0.01
}

fn a_quarter() -> f64 {
    0.25
}

impl FaultKind {
    /// Every kind, in the order of their variants.
    pub fn all() -> impl Iterator<Item = FaultKind> {
        FaultKind::iter()
    }

    /// Whether a fault of this kind ends by itself, after its `for`.
    pub(crate) fn has_length(self) -> bool {
        use FaultKind::{Add, BelieveClock, Rejoin, Remove, Rot};
        !matches!(self, BelieveClock | Add | Remove | Rejoin | Rot)
    }

    /// Whether a kind needs a third region: for a majority of clocks, a bridge, or two regions after a removal.
    pub(crate) fn needs_three(self) -> bool {
        matches!(
            self,
            FaultKind::Bridge
                | FaultKind::ClockStep
                | FaultKind::ClockDrift
                | FaultKind::Add
                | FaultKind::Remove
                | FaultKind::Rejoin
        )
    }

    /// Whether a swarm draws it only if it is named: it breaks an assumption of the algorithm, or is a crash at a chosen time.
    pub(crate) fn must_be_named(self) -> bool {
        matches!(self, FaultKind::LyingDisk | FaultKind::BelieveClock | FaultKind::Rot | FaultKind::TornBatch)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl<N> Act<N> {
    /// Its kind.
    pub fn kind(&self) -> FaultKind {
        self.into()
    }

    pub(crate) fn touched(&self) -> Touched<'_, N> {
        match self {
            Act::Partition { from, to, .. } | Act::Degrade { from, to, .. } => Touched::Links(from, to),
            Act::Bridge { region } => Touched::LinksPast(region),
            Act::Crash { region }
            | Act::TornBatch { region }
            | Act::Kill { region }
            | Act::Restart { region }
            | Act::Pause { region }
            | Act::SlowNode { region, .. }
            | Act::SlowDisk { region, .. }
            | Act::FullDisk { region }
            | Act::ReadErrors { region, .. }
            | Act::LyingDisk { region }
            | Act::HungDisk { region }
            | Act::LoseBucket { region }
            | Act::OldBucket { region, .. }
            | Act::Flip { region }
            | Act::Restarts { region, .. }
            | Act::Restore { region, .. }
            | Act::Rot { region, .. } => Touched::Machine(region),
            Act::ClockStep { region, .. } | Act::ClockDrift { region, .. } | Act::BelieveClock { region } => {
                Touched::Clock(region)
            }
            Act::Add { region } | Act::Remove { region } | Act::Rejoin { region } => Touched::Deployment(region),
            Act::Night {} => Touched::All,
        }
    }

    /// The machine of a fault that has one.
    pub(crate) fn region(&self) -> Option<&N> {
        match self.touched() {
            Touched::LinksPast(region)
            | Touched::Machine(region)
            | Touched::Clock(region)
            | Touched::Deployment(region) => Some(region),
            Touched::Links(..) | Touched::All => None,
        }
    }
}

impl Act {
    /// The machines that it names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        let sides: [&[String]; 2] = if let Touched::Links(from, to) = self.touched() { [from, to] } else { [&[], &[]] };
        self.region().into_iter().chain(sides.into_iter().flatten())
    }

    /// In a few words, for people.
    pub(crate) fn label(&self) -> String {
        let mut words = vec![self.kind().to_string()];
        words.extend(self.region().cloned());
        if let Act::Partition { from, to, one_way, .. } | Act::Degrade { from, to, one_way, .. } = self {
            words.extend((!from.is_empty()).then(|| from.join(", ")));
            words.push(if *one_way { "to" } else { "|" }.to_owned());
            words.push(if to.is_empty() { "others".to_owned() } else { to.join(", ") });
        }
        match self {
            Act::Partition { flap: Some(_), .. } => words.push("(flapping)".to_owned()),
            Act::ClockStep { by, .. } => words.push(by.to_string()),
            Act::SlowNode { by, .. }
            | Act::SlowDisk { by, .. }
            | Act::OldBucket { by, .. }
            | Act::Restore { by, .. } => {
                words.push(Length(*by).to_string());
            }
            _ => {}
        }
        words.join(" ")
    }

    /// Its machines as indices, with every value within its range.
    pub(super) fn resolve(&self, scenario: &Scenario) -> Result<Act<NodeIndex>, Wrong> {
        let node = |name: &String| scenario.region(name).map_err(Wrong::Name);
        let nodes = |names: &[String]| names.iter().map(node).collect::<Result<Vec<_>, _>>();
        Ok(match self {
            Act::Partition { from, to, one_way, flap } => {
                if let Some(Flap { down, up }) = flap {
                    length("flap.down", *down, FLAP)?;
                    length("flap.up", *up, FLAP)?;
                }
                Act::Partition { from: nodes(from)?, to: nodes(to)?, one_way: *one_way, flap: *flap }
            }
            Act::Bridge { region } => Act::Bridge { region: node(region)? },
            Act::Degrade { from, to, one_way, loss, duplicate, reorder, latency, bandwidth_mbps } => {
                value("loss", *loss, SHARE)?;
                value("duplicate", *duplicate, SHARE)?;
                value("reorder", *reorder, SHARE)?;
                length("latency", *latency, LATENCY)?;
                bandwidth_mbps.map_or(Ok(()), |mbps| value("bandwidth_mbps", mbps, BANDWIDTH))?;
                if loss + duplicate + reorder == 0.0 && latency.is_zero() && bandwidth_mbps.is_none() {
                    let wrong =
                        "needs one of `loss`, `duplicate`, `reorder`, `latency`, `bandwidth_mbps` that is not 0";
                    return Err(Wrong::Value(wrong.into()));
                }
                Act::Degrade {
                    from: nodes(from)?,
                    to: nodes(to)?,
                    one_way: *one_way,
                    loss: *loss,
                    duplicate: *duplicate,
                    reorder: *reorder,
                    latency: *latency,
                    bandwidth_mbps: *bandwidth_mbps,
                }
            }
            Act::Crash { region } => Act::Crash { region: node(region)? },
            Act::TornBatch { region } => Act::TornBatch { region: node(region)? },
            Act::Kill { region } => Act::Kill { region: node(region)? },
            Act::Restart { region } => Act::Restart { region: node(region)? },
            Act::Pause { region } => Act::Pause { region: node(region)? },
            Act::SlowNode { region, by } => {
                length("by", *by, MS..=10 * SECOND)?;
                Act::SlowNode { region: node(region)?, by: *by }
            }
            Act::SlowDisk { region, by } => {
                length("by", *by, MS..=5 * SECOND)?;
                Act::SlowDisk { region: node(region)?, by: *by }
            }
            Act::FullDisk { region } => Act::FullDisk { region: node(region)? },
            Act::ReadErrors { region, share } => {
                value("share", *share, SHARE)?;
                not_zero("share", *share, "no read would fail")?;
                Act::ReadErrors { region: node(region)?, share: *share }
            }
            Act::LyingDisk { region } => Act::LyingDisk { region: node(region)? },
            Act::HungDisk { region } => Act::HungDisk { region: node(region)? },
            Act::LoseBucket { region } => Act::LoseBucket { region: node(region)? },
            Act::OldBucket { region, by } => {
                length("by", *by, MS..=31 * DAY)?;
                Act::OldBucket { region: node(region)?, by: *by }
            }
            Act::Flip { region } => Act::Flip { region: node(region)? },
            Act::Restarts { region, every } => {
                length("every", *every, EVERY)?;
                Act::Restarts { region: node(region)?, every: *every }
            }
            Act::Restore { region, by } => {
                length("by", *by, MS..=31 * DAY)?;
                Act::Restore { region: node(region)?, by: *by }
            }
            Act::ClockStep { region, by } => {
                length("by", by.length(), MS..=400 * DAY)?;
                Act::ClockStep { region: node(region)?, by: *by }
            }
            Act::ClockDrift { region, ppm } => {
                value("ppm", *ppm, DRIFT_PPM)?;
                not_zero("ppm", *ppm, "the clock would run right")?;
                Act::ClockDrift { region: node(region)?, ppm: *ppm }
            }
            Act::BelieveClock { region } => Act::BelieveClock { region: node(region)? },
            Act::Add { region } => Act::Add { region: node(region)? },
            Act::Remove { region } => Act::Remove { region: node(region)? },
            Act::Rejoin { region } => Act::Rejoin { region: node(region)? },
            Act::Night {} => Act::Night {},
            Act::Rot { region, share } => {
                value("share", *share, SHARE)?;
                not_zero("share", *share, "no document would decay")?;
                Act::Rot { region: node(region)?, share: *share }
            }
        })
    }
}

/// Directed links, by the machines at their ends.
pub(crate) type Links = BTreeSet<(NodeIndex, NodeIndex)>;

impl Act<NodeIndex> {
    /// The directed links that it cuts or makes worse, in a deployment of these machines.
    pub(super) fn links(&self, machines: &[String]) -> Result<Links, Wrong> {
        match self {
            Act::Partition { from, to, one_way, .. } | Act::Degrade { from, to, one_way, .. } => {
                between(from, to, *one_way, machines)
            }
            Act::Bridge { region } => {
                let others: Vec<NodeIndex> =
                    (0..machines.len()).map(NodeIndex).filter(|other| other != region).collect();
                let (left, right) = others.split_at(others.len() / 2);
                if left.is_empty() {
                    return Err(Wrong::Value("needs at least three regions: one between two sides".into()));
                }
                Ok(left.iter().flat_map(|a| right.iter().flat_map(move |b| [(*a, *b), (*b, *a)])).collect())
            }
            _ => Ok(Links::new()),
        }
    }
}

fn between(from: &[NodeIndex], to: &[NodeIndex], one_way: bool, machines: &[String]) -> Result<Links, Wrong> {
    let mut from: BTreeSet<NodeIndex> = from.iter().copied().collect();
    let mut to: BTreeSet<NodeIndex> = to.iter().copied().collect();
    if from.is_empty() && !to.is_empty() {
        return Err(Wrong::Value("has `to` and lacks `from`".into()));
    }
    if let Some(both) = from.intersection(&to).next() {
        return Err(Wrong::Value(format!("has {} in `from` and in `to`", machines[both.0]).into()));
    }
    if to.is_empty() {
        to = (0..machines.len()).map(NodeIndex).filter(|machine| !from.contains(machine)).collect();
    }
    if from.is_empty() {
        from.clone_from(&to);
    }
    let mut links = Links::new();
    for a in &from {
        for b in to.iter().filter(|b| *b != a) {
            links.insert((*a, *b));
            if !one_way {
                links.insert((*b, *a));
            }
        }
    }
    if links.is_empty() {
        return Err(Wrong::Value("has all regions on one side: leave some out of `from`".into()));
    }
    Ok(links)
}

/// What is wrong with a fault.
pub(super) enum Wrong {
    /// A value; the scenario's error adds the kind and the time of the fault.
    Value(Cow<'static, str>),
    /// A machine that the scenario does not have.
    Name(ScenarioError),
}

fn wrong_key(key: &str, wrong: Option<String>) -> Result<(), Wrong> {
    wrong.map_or(Ok(()), |wrong| Err(Wrong::Value(format!("`{key}` {wrong}").into())))
}

fn value<T: PartialOrd + Debug>(key: &str, value: T, range: RangeInclusive<T>) -> Result<(), Wrong> {
    wrong_key(key, outside(&value, &range))
}

pub(super) fn length(key: &str, value: Duration, range: RangeInclusive<Duration>) -> Result<(), Wrong> {
    wrong_key(key, outside_length(value, &range))
}

fn not_zero(key: &str, value: f64, so: &str) -> Result<(), Wrong> {
    wrong_key(key, (value == 0.0).then(|| format!("is 0: {so}")))
}
