//! `[[fault]]`: something that goes wrong at a set time.
//!
//! Every kind is one line of [`FaultKind`]. [`Fault::prove`] says what it does with its keys; `keys.rs` says which keys
//! it takes, with which values.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Scenario, ScenarioError};
use crate::world::fault::{Act, Degradation};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// No frame passes from `from` to `to` (the others if `to` is empty), nor back unless `one-way`; `flap` opens and
    /// closes it.
    Partition,
    /// The others fall into two halves that see only `region` in common.
    Bridge,
    /// Links from `from` to `to` get worse: `loss`, `duplicate`, `reorder`, `latency`, `bandwidth_mbps`.
    Degrade,
    /// The process of `region` is killed and started again after `for`. Unsynced batches are lost in part.
    Crash,
    /// The process is killed and the machine goes on. Unsynced batches are in the page cache, in part, and a later
    /// crash may lose them.
    Kill,
    /// The process is stopped cleanly and started again after `for`.
    Restart,
    /// The process stands still for `for`, its memory intact.
    Pause,
    /// Every input costs `by` more for `for`.
    SlowNode,
    /// Each sync takes `by` for `for`.
    SlowDisk,
    /// Every write fails for `for`.
    FullDisk,
    /// A share of reads and syncs fails for `for`.
    ReadErrors,
    /// For `for` the disk reports syncs that it has not made (this breaks assumption A3).
    LyingDisk,
    /// For `for` no sync returns, and none fails.
    HungDisk,
    /// The process is stopped and one bucket of its store is gone.
    LoseBucket,
    /// The process is stopped and one bucket of its store goes back to how it was `by` earlier.
    OldBucket,
    /// A stored value can no longer be read. After `for` the operator removes its bucket.
    Flip,
    /// The process is stopped cleanly and started again every `every`, for `for`.
    Restarts,
    /// The process is killed and its disk goes back to how it was `by` earlier.
    Restore,
    /// The wall clock steps by `by` (which may begin with `-`), for `for`.
    ClockStep,
    /// The wall clock runs wrong by `ppm` for `for`.
    ClockDrift,
    /// An operator confirms the clock of `region`, right or wrong.
    BelieveClock,
    /// `region` exists only from now on.
    Add,
    /// `region` is shut down for good and the others forget it.
    Remove,
    /// `region`, which was removed, comes back with its old disk.
    Rejoin,
    /// Every machine is suspended for `for`: clocks go on, and nothing else happens.
    Night,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [FaultKind; 25] = [
        FaultKind::Partition,
        FaultKind::Bridge,
        FaultKind::Degrade,
        FaultKind::Crash,
        FaultKind::Kill,
        FaultKind::Restart,
        FaultKind::Pause,
        FaultKind::SlowNode,
        FaultKind::SlowDisk,
        FaultKind::FullDisk,
        FaultKind::ReadErrors,
        FaultKind::LyingDisk,
        FaultKind::HungDisk,
        FaultKind::LoseBucket,
        FaultKind::OldBucket,
        FaultKind::Flip,
        FaultKind::Restarts,
        FaultKind::Restore,
        FaultKind::ClockStep,
        FaultKind::ClockDrift,
        FaultKind::BelieveClock,
        FaultKind::Add,
        FaultKind::Remove,
        FaultKind::Rejoin,
        FaultKind::Night,
    ];
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Opens and closes a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flap {
    /// Cut for so long,
    #[serde(with = "humantime_serde")]
    pub down: Duration,
    /// then open for so long.
    #[serde(with = "humantime_serde")]
    pub up: Duration,
}

/// One fault as written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Fault {
    #[serde(with = "humantime_serde")]
    pub at: Duration,
    pub kind: FaultKind,
    #[serde(default, rename = "for", with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    #[serde(default, rename = "one-way", skip_serializing_if = "std::ops::Not::not")]
    pub one_way: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub every: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ppm: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reorder: Option<f64>,
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub latency: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth_mbps: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flap: Option<Flap>,
}

/// Milliseconds of `90s` or `-90s`.
pub(super) fn signed_ms(text: &str) -> Option<i64> {
    let (sign, length) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let read = toml::from_str::<std::collections::BTreeMap<String, humantime_serde::Serde<Duration>>>(&format!(
        "by = {}",
        toml::Value::String(length.to_owned())
    ));
    let length = read.ok()?.remove("by")?.into_inner();
    Some(sign * i64::try_from(length.as_millis()).ok()?)
}

impl Fault {
    /// A fault with only its kind and time.
    #[must_use]
    pub fn new(kind: FaultKind, at: Duration) -> Fault {
        Fault {
            at,
            kind,
            lasts: None,
            region: None,
            from: Vec::new(),
            to: Vec::new(),
            one_way: false,
            by: None,
            every: None,
            ppm: None,
            share: None,
            loss: None,
            duplicate: None,
            reorder: None,
            latency: None,
            bandwidth_mbps: None,
            flap: None,
        }
    }

    /// In a few words, for people.
    #[must_use]
    pub fn label(&self) -> String {
        let mut label = self.kind.to_string();
        let mut add = |text: &str| {
            label.push(' ');
            label.push_str(text);
        };
        if let Some(region) = &self.region {
            add(region);
        }
        if !self.from.is_empty() {
            add(&self.from.join(", "));
        }
        if matches!(self.kind, FaultKind::Partition | FaultKind::Degrade) {
            add(if self.one_way { "to" } else { "|" });
            add(&if self.to.is_empty() { "others".to_owned() } else { self.to.join(", ") });
        }
        if self.flap.is_some() {
            add("(flapping)");
        }
        if let Some(by) = &self.by {
            add(by);
        }
        label
    }

    /// The effect of the fault, with every key checked.
    pub(crate) fn prove(&self, scenario: &Scenario) -> Result<Act, ScenarioError> {
        let wrong = |wrong: &'static str| self.wrong(wrong);
        self.only_known_keys()?;
        let region = || scenario.region(self.region.as_deref().ok_or_else(|| wrong("needs `region`"))?);
        let set = |names: &[String]| names.iter().map(|name| scenario.region(name)).collect::<Result<BTreeSet<_>, _>>();
        let by_ms = || self.by.as_deref().and_then(signed_ms).ok_or_else(|| wrong("needs `by`, such as \"90s\""));
        let by = || {
            let ms = u64::try_from(by_ms()?).map_err(|_| wrong("`by` is negative"))?;
            Ok::<_, ScenarioError>(Duration::from_millis(ms))
        };
        let pairs = || {
            let mut from = set(&self.from)?;
            if let Some(one) = &self.region {
                from.insert(scenario.region(one)?);
            }
            let mut to = set(&self.to)?;
            if from.is_empty() && !to.is_empty() {
                return Err(wrong("has `to` and lacks `from`"));
            }
            if let Some(both) = from.intersection(&to).next() {
                return Err(self.wrong(format!("has {} in `from` and in `to`", scenario.regions[*both])));
            }
            if to.is_empty() {
                to = (0..scenario.regions.len()).filter(|region| !from.contains(region)).collect();
            }
            if from.is_empty() {
                from.clone_from(&to);
            }
            let mut pairs = BTreeSet::new();
            for a in &from {
                for b in to.iter().filter(|b| *b != a) {
                    pairs.insert((*a, *b));
                    if !self.one_way {
                        pairs.insert((*b, *a));
                    }
                }
            }
            if pairs.is_empty() {
                return Err(wrong("has all regions on one side: leave some out of `from`"));
            }
            Ok::<_, ScenarioError>(pairs)
        };
        let act = match self.kind {
            FaultKind::Partition => Act::Cut { pairs: pairs()?, flap: self.flap.map(|flap| (flap.down, flap.up)) },
            FaultKind::Bridge => {
                let bridge = region()?;
                let others: Vec<usize> = (0..scenario.regions.len()).filter(|other| *other != bridge).collect();
                let (left, right) = others.split_at(others.len() / 2);
                if left.is_empty() {
                    return Err(wrong("needs at least three regions: one between two sides"));
                }
                let across = left.iter().flat_map(|a| right.iter().flat_map(move |b| [(*a, *b), (*b, *a)]));
                Act::Cut { pairs: across.collect(), flap: None }
            }
            FaultKind::Degrade => Act::Degrade {
                pairs: pairs()?,
                how: Degradation {
                    loss: self.loss.unwrap_or(0.0),
                    duplicate: self.duplicate.unwrap_or(0.0),
                    reorder: self.reorder.unwrap_or(0.0),
                    latency: self.latency.unwrap_or_default(),
                    bandwidth_mbps: self.bandwidth_mbps,
                },
            },
            FaultKind::Crash => Act::Crash { region: region()? },
            FaultKind::Kill => Act::Kill { region: region()? },
            FaultKind::HungDisk => Act::HungDisk { region: region()? },
            FaultKind::LoseBucket => Act::LoseBucket { region: region()? },
            FaultKind::OldBucket => Act::OldBucket { region: region()?, age: by()? },
            FaultKind::Flip => Act::Flip { region: region()? },
            FaultKind::Restarts => {
                let every = self.every.ok_or_else(|| wrong("needs `every`, such as \"1s\""))?;
                Act::Restarts { region: region()?, every }
            }
            FaultKind::Rejoin => Act::Rejoin { region: region()? },
            FaultKind::Restart => Act::Restart { region: region()? },
            FaultKind::Pause => Act::Pause { region: region()? },
            FaultKind::SlowNode => Act::SlowNode { region: region()?, by: by()? },
            FaultKind::SlowDisk => Act::SlowDisk { region: region()?, sync: by()? },
            FaultKind::FullDisk => Act::FullDisk { region: region()? },
            FaultKind::ReadErrors => Act::ReadErrors { region: region()?, share: self.share.unwrap_or(0.01) },
            FaultKind::LyingDisk => Act::LyingDisk { region: region()? },
            FaultKind::Restore => Act::Restore { region: region()?, age: by()? },
            FaultKind::ClockStep => Act::ClockStep { region: region()?, by_ms: by_ms()? },
            FaultKind::ClockDrift => {
                Act::ClockDrift { region: region()?, ppm: self.ppm.ok_or_else(|| wrong("needs `ppm`"))? }
            }
            FaultKind::BelieveClock => Act::BelieveClock { region: region()? },
            FaultKind::Add => Act::Add { region: region()? },
            FaultKind::Remove => Act::Remove { region: region()? },
            FaultKind::Night => Act::Night { lasts: self.lasts.ok_or_else(|| wrong("needs `for`"))? },
        };
        self.only_sensible_values(scenario)?;
        Ok(act)
    }

    pub(super) fn wrong(&self, wrong: impl Into<Cow<'static, str>>) -> ScenarioError {
        ScenarioError::Fault { kind: self.kind, at: self.at, wrong: wrong.into() }
    }
}
