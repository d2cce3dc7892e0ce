//! A change of the fleet or of the configuration file: what it asks for is built on a blocking thread while the control
//! plane goes on, and taken up as a whole.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use service::config::ConfigError;
use tokio::task::JoinError;

use super::Control;
use super::effective::Ignored;
use super::members::Members;
use super::names::{self, Names};
use super::tables::{self, Tables, TablesError};
use crate::config::RouterConfig;
use crate::fleet::{Fleet, Node, Region};
use crate::signals::Signals;

/// What the next change has to do. It gathers while an earlier change is being built.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Todo {
    /// Read the configuration file again.
    pub(super) read_file: bool,
    /// Derive the fleet again, because a member or the addresses of a name changed.
    pub(super) derive_fleet: bool,
}

/// Why a change is refused. Everything stays as it was then.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// The file cannot be read, or a value in it cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The zone has no room for a region.
    #[error("regions.name = \"{name}\": DNS needs this name itself, or it is too long for the zone")]
    RegionName {
        /// The region.
        name: String,
    },
    /// The tables cannot be built.
    #[error(transparent)]
    Tables(#[from] TablesError),
}

/// What there is, and what is asked for.
pub(super) struct Change {
    /// The configuration file, if it is to be read again.
    pub(super) file: Option<PathBuf>,
    pub(super) config: Arc<RouterConfig>,
    pub(super) members: Members,
    pub(super) names: Names,
    pub(super) tables: Tables,
}

/// What is to be taken up.
pub(super) struct Changed {
    pub(super) config: Arc<RouterConfig>,
    /// `None` if fleet, places and policy are as they were.
    pub(super) tables: Option<Tables>,
    pub(super) names: Names,
    pub(super) ignored: BTreeSet<Ignored>,
    /// If the file was read: the keys whose new values need a restart.
    pub(super) need_restart: Option<Vec<&'static str>>,
}

/// The outcome of a change, and whether the file was to be read.
pub(super) type Built = (bool, Result<Changed, Refused>);

impl Change {
    /// Builds it. This reads files and folds the location database, so it belongs on a blocking thread.
    pub(super) fn build(self) -> Built {
        (self.file.is_some(), self.built())
    }

    fn built(self) -> Result<Changed, Refused> {
        let (config, need_restart) = match &self.file {
            Some(file) => {
                let (config, need_restart) = self.config.taking_up(RouterConfig::load(file)?);
                let unfit = |region: &&Region| config.dns.as_ref().is_some_and(|dns| !dns.takes_region(&region.name));
                if let Some(region) = config.fleet.regions.iter().find(unfit) {
                    return Err(Refused::RegionName { name: region.name.to_string() });
                }
                (Arc::new(config), Some(need_restart))
            }
            None => (self.config, None),
        };
        let mut names = self.names;
        let (mut fleet, mut ignored) = tables::derive(&config, &self.members, &names, &self.tables.fleet);
        // A node that gets a name must not be nowhere until it is asked for the next time.
        let unknown = names.unknown(&fleet);
        if !unknown.is_empty() {
            names::ask_now(unknown, &config.nodes.resolve.servers, &mut names);
            (fleet, ignored) = tables::derive(&config, &self.members, &names, &self.tables.fleet);
        }
        let same = need_restart.is_none() && Arc::ptr_eq(&fleet, &self.tables.fleet);
        let tables = if same {
            None
        } else {
            Some(match &need_restart {
                // The database is read again as well, because a new one may be at the same path.
                Some(_) => {
                    let connector =
                        tables::connect(&config, Some(&self.tables.connector)).map_err(TablesError::from)?;
                    Tables::build(&config, fleet, tables::open(&config)?, connector)?
                }
                None => self.tables.with_fleet(&config, fleet)?,
            })
        };
        Ok(Changed { config, tables, names, ignored, need_restart })
    }
}

impl Control {
    /// The change that is to be built next, if there is anything to do.
    pub(super) fn next_change(&mut self, file: &Path) -> Option<Change> {
        let Todo { read_file, derive_fleet } = std::mem::take(&mut self.todo);
        (read_file || derive_fleet).then(|| Change {
            file: read_file.then(|| file.to_owned()),
            config: Arc::clone(&self.config),
            members: self.members.clone(),
            names: self.names.clone(),
            tables: self.tables.clone(),
        })
    }

    /// Takes up what was built; a refused change changes nothing.
    pub(super) fn take_up(&mut self, built: Result<Built, JoinError>) {
        let changed = match built {
            Ok((_, Ok(changed))) => changed,
            Ok((read_file, Err(refused))) => {
                self.refused(read_file, &refused);
                return;
            }
            Err(ended) => {
                // The panic's message is in the log already.
                tracing::error!(%ended, "a change could not be built: the old configuration, regions and nodes stay");
                return;
            }
        };
        log_ignored(&self.ignored, &changed.ignored);
        self.ignored = changed.ignored;
        if let Some(keys) = &changed.need_restart {
            self.metrics.reloads_taken.inc();
            tracing::info!("the configuration file was read again and is taken up");
            if !keys.is_empty() {
                tracing::warn!(
                    ?keys,
                    action = "start `meridian router --replace` with this file: it takes over without losing a request",
                    "these keys have changed but need another process: their old values stay"
                );
            }
        }
        self.names.adopt(changed.names);
        self.config = changed.config;
        self.rules.send_replace(self.config.health);
        self.resolve.send_replace(self.config.nodes.resolve.clone());
        let Some(tables) = changed.tables else { return };
        let (old, new) = (&self.tables, &tables);
        if !Arc::ptr_eq(&old.fleet, &new.fleet) {
            log_fleet(&old.fleet, &new.fleet);
            warn_exposed(&new.fleet, Some(&old.fleet));
            self.names.keep(&[&new.fleet, &self.config.fleet]);
            self.troubles.keep(&new.fleet);
        }
        let classes = new.places.classes();
        self.demand = self.demand.carried((&old.fleet, old.places.classes()), (&new.fleet, classes));
        self.signals = Arc::new(Signals::new(&new.fleet, classes.len()));
        self.health.go_on_with(Arc::clone(&new.fleet), self.config.health);
        self.metrics.forget_others(&new.fleet);
        self.connector.send_replace(Arc::clone(&new.connector));
        self.tables = tables;
    }

    fn refused(&mut self, read_file: bool, refused: &Refused) {
        if !read_file {
            tracing::error!(
                error = refused as &dyn std::error::Error,
                action = "check the members (GET /v1/admin/members of a node)",
                "the regions and nodes as operators changed them cannot be taken up: the old ones stay"
            );
            return;
        }
        self.metrics.reloads_refused.inc();
        // Members may have changed meanwhile, and a bad file must not keep them from being followed.
        self.todo.derive_fleet = true;
        tracing::error!(
            error = refused as &dyn std::error::Error,
            action = "correct the key, check the file with `meridian router --check`, and send SIGHUP again",
            "the configuration file is refused: the old configuration stays"
        );
    }
}

/// Tells operators which regions and nodes came, moved and went.
pub(super) fn log_fleet(old: &Fleet, new: &Fleet) {
    let names = |one: &Fleet, other: &Fleet| -> Vec<String> {
        let new = one.nodes().filter(|id| {
            let node = one.node(*id);
            other.find_node(&node.name, &node.at).is_none()
        });
        new.map(|id| format!("{}={}", one.node(id).name, one.node(id).at)).collect()
    };
    let regions: Vec<&str> = new.regions.iter().map(|region| region.name.as_str()).collect();
    tracing::info!(
        ?regions, came = ?names(new, old), went = ?names(old, new),
        "the regions and nodes have changed: clients are sent to these from now on"
    );
}

/// Warns of nodes on other machines that are reached without TLS, of which `known` has none.
pub(super) fn warn_exposed(fleet: &Fleet, known: Option<&Fleet>) {
    let is_new = |node: &Node| known.is_none_or(|known| known.find_node(&node.name, &node.at).is_none());
    let nodes = fleet.nodes().map(|id| fleet.node(id)).filter(|node| node.at.is_exposed() && is_new(node));
    let nodes: Vec<String> = nodes.map(|node| format!("{}={}", node.name, node.at)).collect();
    if !nodes.is_empty() {
        tracing::warn!(
            ?nodes,
            action = "give the nodes `listen.public_tls`, and name it here as `https`",
            "nodes on other machines are reached without TLS: names, telephone numbers and secrets of guests cross the \
             network in the clear"
        );
    }
}

/// Warns of what is not followed, once as long as it stays so.
pub(super) fn log_ignored(known: &BTreeSet<Ignored>, now: &BTreeSet<Ignored>) {
    for why in now.difference(known) {
        tracing::warn!(
            %why, action = "correct the member (PUT or DELETE /v1/admin/members/{node} of a node)",
            "a change of the members is not followed"
        );
    }
}
