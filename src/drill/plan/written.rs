//! The written form of a drill: plain values, unknown keys refused.

use std::collections::BTreeMap;
use std::time::Duration;

use api::faults::Act;
use api::{RegionId, duration, named};
use ipnetwork::IpNetwork;
use serde::Deserialize;

use super::sections::{Before, Guards, Objectives, SiteSection};
use super::{Clients, Disturbance, OldBackup, Phases, Plan};

named! {
    /// The kind of a drill.
    Mode {
        /// A planned drain, in steps.
        Drain = "drain",
        /// A region fails without a warning.
        Fail = "fail",
        /// Replication is cut, and clients reach every region.
        Partition = "partition",
        /// A region's clock is wrong.
        Clock = "clock",
        /// A router dies.
        Router = "router",
        /// Every region is restarted, one after the other.
        Restart = "restart",
        /// An old backup takes the place of a region's store.
        Restore = "restore",
    }
}

named! {
    /// How a region fails.
    How {
        /// Its processes are killed.
        Kill = "kill",
        /// It turns into a black hole, for clients and for its peers.
        Hang = "hang",
        /// Each of its syncs takes longer.
        Slow = "slow",
    }
}

/// Check-ins of one drill: each is kept until the report is written.
const MOST_CHECK_INS: f64 = 2e6;

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Written {
    name: String,
    about: String,
    mode: Mode,
    region: Option<RegionId>,
    how: Option<How>,
    keep: Option<Vec<u8>>,
    to: Option<Vec<RegionId>>,
    by: Option<String>,
    age: Option<duration::Text>,
    away: Option<duration::Text>,
    #[serde(default)]
    phases: PhasesSection,
    #[serde(default)]
    clients: ClientsSection,
    #[serde(default)]
    before: Before,
    #[serde(default)]
    guards: Guards,
    #[serde(default)]
    objectives: Objectives,
    #[serde(default)]
    capacity: BTreeMap<RegionId, f64>,
    site: Option<SiteSection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct PhasesSection {
    #[serde(with = "duration")]
    baseline: Duration,
    #[serde(with = "duration")]
    soak: Duration,
    #[serde(with = "duration")]
    hold: Duration,
    #[serde(with = "duration")]
    after: Duration,
}

impl Default for PhasesSection {
    fn default() -> Self {
        let [baseline, soak, hold, after] = [10, 15, 30, 15].map(Duration::from_secs);
        Self { baseline, soak, hold, after }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct ClientsSection {
    rate: f64,
    edge: usize,
    ttl: usize,
    pinned: usize,
    networks: Vec<IpNetwork>,
    #[serde(with = "duration")]
    timeout: Duration,
    retention: Option<duration::Text>,
}

impl Default for ClientsSection {
    fn default() -> Self {
        // Germany, the United States, Singapore.
        let networks = ["46.4.0.0/16", "8.8.8.0/24", "202.156.0.0/16"].iter().filter_map(|text| text.parse().ok());
        Self {
            rate: 100.0,
            edge: 24,
            ttl: 24,
            pinned: 12,
            networks: networks.collect(),
            timeout: Duration::from_secs(8),
            retention: None,
        }
    }
}

/// A key whose value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub(crate) struct BadKey {
    key: &'static str,
    why: String,
}

fn bad<T>(key: &'static str, why: impl Into<String>) -> Result<T, BadKey> {
    Err(BadKey { key, why: why.into() })
}

impl Written {
    /// Checks that the keys fit together and that every number is within its bounds.
    pub(super) fn check(self) -> Result<Plan, BadKey> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || self.name.len() > 63 || !self.name.chars().all(plain) {
            return bad("name", "1 to 63 lower case letters, digits and `-`");
        }
        self.check_keys()?;
        self.check_restore()?;
        let disturbance = self.disturbance()?;
        let Written { name, about, mode, region, phases, clients, before, guards, objectives, capacity, site, .. } =
            self;
        let ClientsSection { rate, edge, ttl, pinned, networks, timeout, retention } = clients;
        if !(0.1..=10_000.0).contains(&rate) {
            return bad("clients.rate", "0.1 to 10000 check-ins a second");
        }
        if edge.max(ttl).max(pinned) > 1_000 || !(1..=1_000).contains(&(edge + ttl + pinned)) {
            return bad("clients", "1 to 1000 clients of all kinds together");
        }
        if networks.is_empty() {
            return bad("clients.networks", "name at least one network in which clients are");
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(30)).contains(&timeout) {
            return bad("clients.timeout", "100ms to 30s");
        }
        if !(0.0..=100.0).contains(&before.headroom) {
            return bad("before.headroom", "0 to 100");
        }
        if !(0.0..=1.0).contains(&guards.failed) || !(0.0..=1.0).contains(&guards.load) {
            return bad("guards", "`failed` and `load` are shares from 0 to 1");
        }
        if capacity.values().any(|capacity| !(0.1..=1e9).contains(capacity)) {
            return bad("capacity", "check-ins a second, more than 0");
        }
        let PhasesSection { baseline, soak, hold, after } = phases;
        let hour = Duration::from_hours(1);
        if baseline < Duration::from_secs(2) || hold < Duration::from_secs(1) {
            return bad("phases", "`baseline` is at least 2s, `hold` at least 1s");
        }
        if baseline.max(soak).max(hold).max(after) > hour {
            return bad("phases", "each takes an hour at most");
        }
        if before.lag.max(before.clock) > hour || before.certificates > hour * 24 * 366 {
            return bad("before", "`lag` and `clock` are an hour at most, `certificates` a year");
        }
        if guards.p99.max(guards.lag).max(guards.disagreement) > hour {
            return bad("guards", "`p99`, `lag` and `disagreement` are an hour at most");
        }
        let plan = Plan {
            name,
            about,
            mode,
            region,
            disturbance,
            phases: Phases { baseline, soak, hold, after },
            clients: Clients { rate, edge, ttl, pinned, networks, timeout, retention: retention.map(|text| text.0) },
            before,
            guards,
            objectives,
            capacity,
            site,
        };
        if plan.expiry() > *api::faults::LASTS.end() {
            return bad("phases", "all steps and the hold take less than an hour");
        }
        if rate * plan.longest().as_secs_f64() > MOST_CHECK_INS {
            return bad(
                "clients.rate",
                "the drill would make more than 2 million check-ins; lower the rate or the phases",
            );
        }
        // Otherwise the restore would mend what the objective is about.
        let wanted = &plan.objectives;
        let bounds = [wanted.detect, wanted.dns, wanted.rto_edge, wanted.rto_ttl];
        if plan.mode != Mode::Restart && bounds.iter().flatten().any(|bound| bound.0 >= hold) {
            return bad("phases.hold", "longer than the bounds of detect, dns, rto-edge and rto-ttl");
        }
        Ok(plan)
    }

    /// Refuses keys that the mode does not have.
    fn check_keys(&self) -> Result<(), BadKey> {
        let has_region = !matches!(self.mode, Mode::Router | Mode::Restart);
        let has_by = self.mode == Mode::Clock || self.how == Some(How::Slow);
        for (key, given, wanted) in [
            ("region", self.region.is_some(), has_region),
            ("how", self.how.is_some(), self.mode == Mode::Fail),
            ("keep", self.keep.is_some(), matches!(self.mode, Mode::Drain | Mode::Restore)),
            ("to", self.to.is_some(), self.mode == Mode::Partition),
            ("by", self.by.is_some(), has_by),
            ("age", self.age.is_some(), self.mode == Mode::Restore),
            ("away", self.away.is_some(), self.mode == Mode::Restore),
            ("objectives.restore", self.objectives.restore.is_some(), self.mode == Mode::Restore),
            ("objectives.caught-up", self.objectives.caught_up.is_some(), self.mode == Mode::Restore),
        ] {
            if given && !wanted {
                return bad(key, format!("a drill with mode {} does not have it", self.mode));
            }
        }
        if has_region && self.region.is_none() {
            return bad("region", "name the region that is disturbed");
        }
        Ok(())
    }

    fn check_restore(&self) -> Result<(), BadKey> {
        if self.mode != Mode::Restore {
            return Ok(());
        }
        if self.site.is_some() {
            return bad("site", "a restore needs a deployment of `meridian up`, whose processes it stops and starts");
        }
        if self.keep.as_ref().is_some_and(|keep| keep.last() != Some(&0)) {
            return bad("keep", "the region is stopped, so its last step is 0");
        }
        let within = |time: &Option<duration::Text>, least: u64, most: u64| {
            time.is_none_or(|time| (Duration::from_secs(least)..=Duration::from_secs(most)).contains(&time.0))
        };
        if !within(&self.age, 2, 3_600) {
            return bad("age", "how long guests go on after the backup: 2s to 1h");
        }
        if !within(&self.away, 10, 3_000) {
            return bad("away", "how long the region may be without its node: 10s to 50m");
        }
        Ok(())
    }

    /// The steps of a drain.
    fn steps(&self) -> Result<Vec<u8>, BadKey> {
        let keep = self.keep.clone().unwrap_or_else(|| vec![75, 50, 25, 0]);
        let falls = keep.windows(2).all(|pair| pair[0] > pair[1]);
        if keep.is_empty() || !falls || keep[0] >= 100 {
            return bad("keep", "per cent of its clients that the region keeps, falling from below 100");
        }
        Ok(keep)
    }

    fn disturbance(&self) -> Result<Disturbance, BadKey> {
        Ok(match (self.mode, self.how) {
            (Mode::Drain, _) => Disturbance::Drain(self.steps()?),
            (Mode::Restore, _) => {
                let time = |time: Option<duration::Text>, otherwise| time.map_or(otherwise, |time| time.0);
                let (age, away) = (Duration::from_secs(30), Duration::from_secs(180));
                let (age, away) = (time(self.age, age), time(self.away, away));
                Disturbance::Restore(OldBackup { keep: self.steps()?, age, away })
            }
            (Mode::Fail, None | Some(How::Kill)) => Disturbance::Kill,
            (Mode::Fail, Some(How::Hang)) => {
                let cut = Act::Partition { to: Vec::new(), direction: api::faults::Direction::Both };
                // The cut comes first, otherwise what the region acknowledged last would still leave it.
                Disturbance::Faults(vec![cut, Act::HangClients {}])
            }
            (Mode::Fail, Some(How::Slow)) => match self.by.as_deref().map(duration::parse) {
                Some(Ok(by)) if (Duration::from_millis(1)..=Duration::from_secs(10)).contains(&by) => {
                    Disturbance::Faults(vec![Act::SlowDisk { by }])
                }
                _ => return bad("by", "how much longer each sync takes, such as 300ms; 10s at most"),
            },
            (Mode::Partition, _) => {
                let to = self.to.clone().unwrap_or_default();
                if to.iter().any(|to| Some(to) == self.region.as_ref()) {
                    return bad("to", "the other regions, from which `region` is cut off");
                }
                Disturbance::Cut(to)
            }
            (Mode::Clock, _) => {
                let text = self.by.as_deref().unwrap_or_default();
                let (sign, length) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
                let ms = duration::parse(length).ok().and_then(|by| i64::try_from(by.as_millis()).ok());
                match ms.filter(|ms| (1..=366 * 86_400_000).contains(ms)) {
                    Some(ms) => Disturbance::Faults(vec![Act::ClockStep { by_ms: sign * ms }]),
                    None => return bad("by", "how far the clock is off, such as 2h or -90s; 366 days at most"),
                }
            }
            (Mode::Router, _) => Disturbance::KillRouter,
            (Mode::Restart, _) => Disturbance::Restart,
        })
    }
}
