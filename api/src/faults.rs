//! Faults that an operator makes on one node, for a drill: `/v1/admin/faults` of a node.
//!
//! The words are those of the simulator's faults: what a simulation finds can be done to a real node by the same name.
//! Faults of clients are the node's own, because the simulator's citizens have no connections.
//!
//! # Invariants
//! - A fault lasts for at most [`LONGEST`], so what its author cannot end any more ends by itself.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::duration;
use crate::named;
use crate::operators::{AuthorError, check_author};
use crate::{Moment, NodeName};

/// Lengths of a fault.
pub const LASTS: RangeInclusive<Duration> = Duration::from_millis(100)..=LONGEST;

/// The longest fault.
pub const LONGEST: Duration = Duration::from_hours(1);

/// The largest step of a clock.
const LARGEST_STEP_MS: i64 = 366 * 86_400_000;

/// The longest delay of a frame. Above it the link would be silent for so long that its peer closes it: a partition.
const LONGEST_LATENCY: Duration = Duration::from_secs(4);

/// The longest delay of a sync. A node whose disk hangs for 30 seconds ends itself, which is another fault.
const LONGEST_SYNC: Duration = Duration::from_secs(10);

named! {
    /// In which direction a link is disturbed, as seen from the node that has the fault.
    Direction {
        /// Frames to the peer and frames from it.
        Both = "both",
        /// Frames from the peer.
        In = "in",
        /// Frames to the peer.
        Out = "out",
    }
}

/// The effect of a fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Act {
    /// Connections of clients are closed, also those that are open.
    RefuseClients {},
    /// Connections of clients are accepted, and no request is answered, probes included: a black hole.
    HangClients {},
    /// `/readyz` says that the node is not fit to serve. Everything else goes on.
    Unready {},
    /// No frame passes.
    Partition {
        /// The peers; all of them if there is none.
        #[serde(default)]
        to: Vec<NodeName>,
        /// In which direction.
        #[serde(default = "both")]
        direction: Direction,
    },
    /// Frames come late (up to 4 s), or are lost.
    Degrade {
        /// The peers; all of them if there is none.
        #[serde(default)]
        to: Vec<NodeName>,
        /// In which direction.
        #[serde(default = "both")]
        direction: Direction,
        /// How much later each frame comes.
        #[serde(default, with = "crate::duration")]
        latency: Duration,
        /// The share of frames that is lost, from 0 to 1.
        #[serde(default)]
        loss: f64,
    },
    /// The wall clock, as the node sees it, is off by so many milliseconds.
    ClockStep {
        /// Milliseconds; below 0 for a clock that is behind.
        by_ms: i64,
    },
    /// Each sync takes longer (up to 10 s).
    SlowDisk {
        /// By so much.
        #[serde(with = "crate::duration")]
        by: Duration,
    },
    /// No sync returns. A node whose disk hangs for long ends itself.
    HungDisk {},
    /// Every write of the store fails. The node ends itself, as it does when its disk is full.
    FullDisk {},
}

fn both() -> Direction {
    Direction::Both
}

/// A fault as an operator orders it: the body of `POST /v1/admin/faults`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewFault {
    /// Its effect.
    pub act: Act,
    /// For how long: `for`, within [`LASTS`].
    #[serde(rename = "for", with = "crate::duration")]
    pub lasts: Duration,
    /// The operator who orders it.
    pub by: String,
    /// Why; may be empty.
    #[serde(default)]
    pub reason: String,
}

/// A fault of a node that has not ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActiveFault {
    /// Its number, which no other fault of this process has.
    pub id: u64,
    /// Its effect.
    pub act: Act,
    /// When it began, by the machine's clock.
    pub since: Moment,
    /// When it ends by itself, by the machine's clock.
    pub until: Moment,
    /// The operator who ordered it.
    pub by: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// `GET /v1/admin/faults`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultList {
    /// Whether faults may be made on this node.
    pub enabled: bool,
    /// Those that have not ended.
    pub faults: Vec<ActiveFault>,
}

/// `DELETE /v1/admin/faults`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedFaults {
    /// How many were ended.
    pub ended: usize,
}

/// Why a fault is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// It would end at once or go on for too long.
    #[error("`for`: from 100ms to 1h")]
    Lasts,
    /// Frames without delay, or so late that the link is closed.
    #[error("`latency`: from 1ms to 4s; `degrade` needs `latency`, `loss` or both")]
    Latency,
    /// A sync without delay, or one that takes so long that the node would end itself.
    #[error("`by`: from 1ms to 10s")]
    Sync,
    /// A share that is none.
    #[error("`loss`: from 0 to 1")]
    Loss,
    /// A step without effect, or one of more than a year.
    #[error("`by-ms`: not 0, and at most 366 days")]
    Step,
    /// No valid author, or a reason that cannot be shown.
    #[error(transparent)]
    Author(#[from] AuthorError),
}

impl Act {
    /// The names of all kinds.
    pub const KINDS: &[&str] = &[
        "refuse-clients",
        "hang-clients",
        "unready",
        "partition",
        "degrade",
        "clock-step",
        "slow-disk",
        "hung-disk",
        "full-disk",
    ];

    /// Its kind, as `kind` names it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Act::RefuseClients {} => "refuse-clients",
            Act::HangClients {} => "hang-clients",
            Act::Unready {} => "unready",
            Act::Partition { .. } => "partition",
            Act::Degrade { .. } => "degrade",
            Act::ClockStep { .. } => "clock-step",
            Act::SlowDisk { .. } => "slow-disk",
            Act::HungDisk {} => "hung-disk",
            Act::FullDisk {} => "full-disk",
        }
    }

    /// The peers that it concerns: `None` if it concerns no link, an empty list if it concerns all.
    #[must_use]
    pub fn peers(&self) -> Option<&[NodeName]> {
        match self {
            Act::Partition { to, .. } | Act::Degrade { to, .. } => Some(to),
            _ => None,
        }
    }

    fn check(&self) -> Result<(), FaultError> {
        let delays = |delay: Duration, longest| (Duration::from_millis(1)..=longest).contains(&delay);
        match self {
            Act::Degrade { loss, .. } if !(0.0..=1.0).contains(loss) => Err(FaultError::Loss),
            Act::Degrade { latency, loss, .. }
                if !delays(*latency, LONGEST_LATENCY) && (*loss == 0.0 || !latency.is_zero()) =>
            {
                Err(FaultError::Latency)
            }
            Act::SlowDisk { by } if !delays(*by, LONGEST_SYNC) => Err(FaultError::Sync),
            Act::ClockStep { by_ms } if *by_ms == 0 || by_ms.saturating_abs() > LARGEST_STEP_MS => {
                Err(FaultError::Step)
            }
            _ => Ok(()),
        }
    }
}

impl NewFault {
    /// Checks that it has an effect, an end and an author.
    ///
    /// # Errors
    /// [`FaultError`].
    pub fn check(&self) -> Result<(), FaultError> {
        if !LASTS.contains(&self.lasts) {
            return Err(FaultError::Lasts);
        }
        check_author(&self.by, &self.reason)?;
        self.act.check()
    }
}

/// In a few words, for logs and people.
impl std::fmt::Display for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Act::Partition { to, direction } | Act::Degrade { to, direction, .. } => {
                let names: Vec<&str> = to.iter().map(NodeName::as_str).collect();
                let names = if names.is_empty() { "all peers".to_owned() } else { names.join(", ") };
                write!(f, " of {names} ({direction})")?;
                match self {
                    Act::Degrade { latency, loss, .. } => {
                        write!(f, ", latency {}, loss {loss}", duration::show(*latency))
                    }
                    _ => Ok(()),
                }
            }
            Act::ClockStep { by_ms } => write!(f, " by {by_ms} ms"),
            Act::SlowDisk { by } => write!(f, " by {}", duration::show(*by)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Act, AuthorError, FaultError, NewFault};

    fn read(act: &Value) -> Result<NewFault, serde_json::Error> {
        serde_json::from_value(json!({"act": act, "for": "30s", "by": "mk"}))
    }

    fn check(act: &Value) -> Result<(), FaultError> {
        read(act).expect("reads").check()
    }

    #[test]
    fn every_kind_reads_as_it_is_written() {
        for act in [
            json!({"kind": "refuse-clients"}),
            json!({"kind": "hang-clients"}),
            json!({"kind": "unready"}),
            json!({"kind": "partition", "to": ["us-east"], "direction": "in"}),
            json!({"kind": "degrade", "to": [], "direction": "both", "latency": "200ms", "loss": 0.1}),
            json!({"kind": "clock-step", "by-ms": -90_000}),
            json!({"kind": "slow-disk", "by": "50ms"}),
            json!({"kind": "hung-disk"}),
            json!({"kind": "full-disk"}),
        ] {
            let fault = read(&act).unwrap_or_else(|error| panic!("{act}: {error}"));
            assert_eq!(fault.check(), Ok(()), "{act}");
            assert_eq!(serde_json::to_value(&fault.act).expect("serialises"), act);
            assert_eq!(fault.act.kind(), act["kind"]);
            assert!(Act::KINDS.contains(&fault.act.kind()));
            assert!(fault.act.to_string().starts_with(fault.act.kind()));
        }
        assert_eq!(read(&json!({"kind": "partition"})).expect("reads").act.peers(), Some(&[][..]));
        for wrong in
            [json!({"kind": "x"}), json!({"kind": "unready", "to": []}), json!({"kind": "partition", "from": []})]
        {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_fault_has_an_effect_an_end_and_an_author() {
        assert_eq!(check(&json!({"kind": "degrade"})), Err(FaultError::Latency));
        assert_eq!(check(&json!({"kind": "degrade", "loss": 0.5})), Ok(()));
        assert_eq!(check(&json!({"kind": "degrade", "loss": 0.5, "latency": "5s"})), Err(FaultError::Latency));
        assert_eq!(check(&json!({"kind": "degrade", "loss": 1.5})), Err(FaultError::Loss));
        assert_eq!(check(&json!({"kind": "slow-disk", "by": "0s"})), Err(FaultError::Sync));
        for by in [0, i64::MAX, i64::MIN] {
            assert_eq!(check(&json!({"kind": "clock-step", "by-ms": by})), Err(FaultError::Step));
        }
        let fault = |lasts: &str, by: &str, reason: &str| {
            let new = json!({"act": {"kind": "unready"}, "for": lasts, "by": by, "reason": reason});
            serde_json::from_value::<NewFault>(new).expect("reads").check()
        };
        assert_eq!(fault("1h", "mk", ""), Ok(()));
        assert_eq!(fault("2h", "mk", ""), Err(FaultError::Lasts));
        assert_eq!(fault("1ms", "mk", ""), Err(FaultError::Lasts));
        assert_eq!(fault("1s", " ", ""), Err(AuthorError::By.into()));
        assert_eq!(fault("1s", "mk", "a\nb"), Err(AuthorError::Reason.into()));
        assert!(matches!(serde_json::from_value::<Act>(json!({"kind": "hung-disk"})), Ok(Act::HungDisk {})));
    }
}
