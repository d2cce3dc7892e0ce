//! A drill as it is written down: `config/drills/*.toml`.
//!
//! # Invariants
//! - To hold a [`Plan`] is proof that its bounds were checked.
//! - Whatever the drill makes ends by itself after [`Plan::expiry`], an hour at most.

mod sections;
mod written;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use api::RegionId;
use api::faults::Act;
use ipnetwork::IpNetwork;
use service::config::{self, ConfigError};

pub(crate) use self::sections::{Before, Guards, Objectives, SiteSection};
pub(crate) use self::written::Mode;

/// A checked drill.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Its name; reports of one name are compared.
    pub(crate) name: String,
    /// What the drill shows if it goes well, in one sentence.
    pub(crate) about: String,
    pub(crate) mode: Mode,
    /// The region that is disturbed; `None` for a router, and for a restart of all regions.
    pub(crate) region: Option<RegionId>,
    pub(crate) disturbance: Disturbance,
    pub(crate) phases: Phases,
    pub(crate) clients: Clients,
    pub(crate) before: Before,
    pub(crate) guards: Guards,
    pub(crate) objectives: Objectives,
    /// Check-ins per second that a region can take.
    pub(crate) capacity: BTreeMap<RegionId, f64>,
    /// The deployment, if it is not one of `meridian up`.
    pub(crate) site: Option<SiteSection>,
}

/// What is done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Disturbance {
    /// New clients are sent elsewhere, in steps: per cent of its clients that the region keeps.
    Drain(Vec<u8>),
    /// The processes of the region's nodes are killed.
    Kill,
    /// These faults begin on each of the region's nodes.
    Faults(Vec<Act>),
    /// Replication with these regions is cut, or with all others if there is none.
    Cut(Vec<RegionId>),
    /// The process of the last router is killed.
    KillRouter,
    /// The processes of one region after the other are stopped and started again.
    Restart,
    /// The region is drained, and an old backup takes the place of its store.
    Restore(OldBackup),
}

impl Disturbance {
    /// The steps of a drain: per cent of its clients that the region keeps.
    pub(crate) fn steps(&self) -> &[u8] {
        match self {
            Disturbance::Drain(keep) | Disturbance::Restore(OldBackup { keep, .. }) => keep,
            _ => &[],
        }
    }
}

/// The restore of an old backup.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OldBackup {
    /// The steps of the drain before it.
    pub(crate) keep: Vec<u8>,
    /// How long guests go on after the backup, before the drain begins.
    pub(crate) age: Duration,
    /// How long the backup may take, and then how long the region may be without a node that has caught up.
    pub(crate) away: Duration,
}

/// How long each phase lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phases {
    /// Before the fault.
    pub(crate) baseline: Duration,
    /// After each step of a drain but the last.
    pub(crate) soak: Duration,
    /// After the last step.
    pub(crate) hold: Duration,
    /// After everything is restored.
    pub(crate) after: Duration,
}

/// The synthetic clients.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    /// Check-ins per second, all clients together.
    pub(crate) rate: f64,
    /// Clients that go through the edge with a connection that they keep.
    pub(crate) edge: usize,
    /// Clients that ask DNS again when the TTL has passed.
    pub(crate) ttl: usize,
    /// Clients that ask DNS once.
    pub(crate) pinned: usize,
    /// Where the clients are; each client takes an address of one of these networks, in turn.
    pub(crate) networks: Vec<IpNetwork>,
    /// How long a client waits for an answer.
    pub(crate) timeout: Duration,
    /// How long visits are kept, if not as the deployment's policy says.
    pub(crate) retention: Option<Duration>,
}

impl Plan {
    /// Reads a drill.
    pub(crate) fn load(path: &Path) -> Result<Plan, ConfigError> {
        config::load(path, |written: written::Written, _| written.check())
    }

    /// A drain of one region, to judge whether the others have room for its present load.
    pub(crate) fn of_drain(region: &RegionId) -> anyhow::Result<Plan> {
        // Nothing is added to the load, and the whole capacity may be used.
        let text = format!(
            "name = \"drain\"\nabout = \"\"\nmode = \"drain\"\nregion = \"{region}\"\nclients = {{ rate = 0.1 }}\n\
             before = {{ headroom = 1.0 }}\nguards = {{ load = 1.0 }}"
        );
        Ok(toml::from_str::<written::Written>(&text)?.check()?)
    }

    /// After what time every fault of the drill ends by itself, although its command was killed.
    pub(crate) fn expiry(&self) -> Duration {
        let steps = u32::try_from(self.disturbance.steps().len()).unwrap_or(u32::MAX).saturating_sub(1);
        let away = if let Disturbance::Restore(old) = &self.disturbance { old.away } else { Duration::ZERO };
        // The restore of a drain goes through the same steps.
        self.phases.soak * steps * 2 + self.phases.hold + away + EXPIRY_MARGIN
    }

    /// How long the drill takes, at most.
    pub(crate) fn longest(&self) -> Duration {
        let more = match &self.disturbance {
            Disturbance::Restart => RESTART_LIMIT * 4,
            Disturbance::Restore(old) => old.age + old.away,
            _ => Duration::ZERO,
        };
        self.phases.baseline + self.expiry() + more + self.phases.after + CONVERGENCE_LIMIT * 3
    }

    /// Whether the drill makes files with guests' data.
    pub(crate) fn takes_a_backup(&self) -> bool {
        matches!(self.disturbance, Disturbance::Restore(_))
    }

    /// Whether the writes that are in no other region can be measured: the region is cut off or dead.
    pub(crate) fn separates(&self) -> bool {
        match &self.disturbance {
            Disturbance::Kill | Disturbance::Cut(_) | Disturbance::Restore(_) => self.region.is_some(),
            Disturbance::Faults(acts) => acts.iter().any(|act| matches!(act, Act::Partition { .. })),
            _ => false,
        }
    }
}

/// How long a restored deployment may take until all regions are equal; a drill waits no longer.
pub(crate) const CONVERGENCE_LIMIT: Duration = Duration::from_secs(120);

/// How long one region may take to be stopped, started again, ready, and to have all its clients back.
pub(crate) const RESTART_LIMIT: Duration = Duration::from_secs(180);

/// How much later than planned a fault ends by itself.
const EXPIRY_MARGIN: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use super::{Disturbance, Plan};

    fn shipped() -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/drills");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        files.filter(|file| file.extension().is_some_and(|extension| extension == "toml")).collect()
    }

    #[test]
    fn every_drill_that_ships_is_valid_and_refuses_unknown_keys() {
        let folder = tempfile::tempdir().unwrap();
        let files = shipped();
        assert!(files.len() >= 11, "{files:?}");
        for file in files {
            let plan = Plan::load(&file).unwrap_or_else(|error| panic!("{:#}", anyhow::Error::from(error)));
            assert_eq!(Some(&*plan.name), file.file_stem().and_then(|stem| stem.to_str()));
            assert!(!plan.about.is_empty() && plan.expiry() <= Duration::from_hours(1));
            let text = std::fs::read_to_string(&file).unwrap();
            for table in ["", "phases", "clients", "before", "guards", "objectives"] {
                let mut with: toml::Table = toml::from_str(&text).unwrap();
                let place = match table {
                    "" => &mut with,
                    name => with.entry(name).or_insert_with(|| toml::Table::new().into()).as_table_mut().unwrap(),
                };
                place.insert("bogus".into(), true.into());
                let bad = folder.path().join("bad.toml");
                std::fs::write(&bad, with.to_string()).unwrap();
                assert!(Plan::load(&bad).is_err(), "{}: {table}", file.display());
            }
        }
    }

    #[test]
    fn keys_that_contradict_each_other_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("drill.toml");
        let read = |text: &str| {
            std::fs::write(&file, format!("name = \"x\"\nabout = \"y\"\n{text}")).unwrap();
            Plan::load(&file).map_err(|error| format!("{:#}", anyhow::Error::from(error)))
        };
        let plan =
            read("mode = \"drain\"\nregion = \"eu\"\nkeep = [60, 0]\n[phases]\nhold = \"10s\"\nsoak = \"5s\"").unwrap();
        assert_eq!(plan.disturbance, Disturbance::Drain(vec![60, 0]));
        assert_eq!(plan.expiry(), Duration::from_secs(40));
        let plan =
            read("mode = \"restore\"\nregion = \"eu\"\nkeep = [0]\naway = \"1m\"\n[phases]\nhold = \"10s\"").unwrap();
        assert!(plan.expiry() == Duration::from_secs(90) && plan.separates());
        for (text, key) in [
            ("mode = \"fail\"", "region"),
            ("mode = \"fail\"\nregion = \"eu\"\nkeep = [5]", "keep"),
            ("mode = \"fail\"\nregion = \"eu\"\nhow = \"slow\"", "by"),
            ("mode = \"router\"\nregion = \"eu\"", "region"),
            ("mode = \"drain\"\nregion = \"eu\"\nkeep = [0, 50]", "keep"),
            ("mode = \"drain\"\nregion = \"eu\"\nkeep = [100, 0]", "keep"),
            ("mode = \"clock\"\nregion = \"eu\"\nby = \"0s\"", "by"),
            ("mode = \"partition\"\nregion = \"eu\"\nto = [\"eu\"]", "to"),
            ("mode = \"restore\"", "region"),
            ("mode = \"restore\"\nregion = \"eu\"\nage = \"1s\"", "age"),
            ("mode = \"restore\"\nregion = \"eu\"\naway = \"2h\"", "away"),
            ("mode = \"drain\"\nregion = \"eu\"\nage = \"30s\"", "age"),
            ("mode = \"drain\"\nregion = \"eu\"\n[objectives]\ncaught-up = \"30s\"", "objectives.caught-up"),
            ("mode = \"restore\"\nregion = \"eu\"\n[site]\nservice = \"x\"\nnodes = []\nrouters = []", "site"),
            ("mode = \"fail\"\nregion = \"eu\"\n[phases]\nhold = \"2h\"", "phases"),
            ("mode = \"fail\"\nregion = \"eu\"\n[clients]\nnetworks = []", "clients.networks"),
            ("mode = \"fail\"\nregion = \"eu\"\n[clients]\nrate = 0", "clients.rate"),
            ("mode = \"fail\"\nregion = \"eu\"\n[clients]\nrate = 10000", "clients.rate"),
            ("mode = \"fail\"\nregion = \"eu\"\n[clients]\nedge = 18446744073709551615", "clients"),
            ("mode = \"fail\"\nregion = \"eu\"\n[phases]\nafter = \"9000000000000h\"", "phases"),
            ("mode = \"fail\"\nregion = \"eu\"\n[guards]\ndisagreement = \"9000000000000h\"", "guards"),
            ("mode = \"fail\"\nregion = \"eu\"\n[objectives]\nrto-ttl = \"30s\"", "phases.hold"),
            ("mode = \"fail\"\nregion = \"eu\"\n[before]\nwindow = [\"25:00\", \"26:00\"]", "window"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(key), "{text}: {error}");
        }
    }
}
