//! Fleet, places and policy: everything that names regions and nodes by index, built together.
//!
//! The tables are immutable. Another fleet, policy, override or database is another set of tables, and the control plane
//! replaces all of them at once, so no index of one fleet meets a table of another.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::RegionId;

use super::effective::{Effective, Ignored, effective};
use super::members::Members;
use super::names::Names;
use crate::config::RouterConfig;
use crate::connector::{Connector, TrustError};
use crate::fleet::{Fleet, Region};
use crate::location::{Database, DatabaseError, Locator, Override, Places, PlacesError};
use crate::policy::Policy;

/// Why tables cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TablesError {
    /// The location database cannot be used.
    #[error("location.database")]
    Database(#[from] DatabaseError),
    /// The table of places cannot be built from it.
    #[error(transparent)]
    Places(#[from] PlacesError),
    /// No certificate of a node could be verified.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Everything that depends on the fleet's indices and never changes with health.
#[derive(Clone, Debug)]
pub struct Tables {
    pub(super) fleet: Arc<Fleet>,
    pub(super) places: Arc<Places>,
    pub(super) policy: Arc<dyn Policy>,
    /// The way to the nodes.
    pub(super) connector: Arc<Connector>,
}

impl Tables {
    /// Tables for a fleet, whose overrides and policy are those that `config` has for its own fleet. Folding a city
    /// database takes seconds, so this belongs on a blocking thread.
    ///
    /// # Errors
    /// [`TablesError::Places`].
    pub(super) fn build(
        config: &RouterConfig,
        fleet: Arc<Fleet>,
        database: Arc<Database>,
        connector: Arc<Connector>,
    ) -> Result<Tables, TablesError> {
        let policy = config.policy.carried(&config.fleet, &fleet);
        let overrides: Vec<Override> = config.overrides.iter().map(|one| one.carried(&config.fleet, &fleet)).collect();
        let places = Places::build(Locator::new(overrides, database), |located| policy.order(&fleet, located))?;
        Ok(Tables { places: Arc::new(places), fleet, policy, connector })
    }

    /// Tables for another fleet under the same configuration. If only nodes differ, the table of places stays, because
    /// places depend on regions alone.
    ///
    /// # Errors
    /// [`TablesError::Places`].
    pub(super) fn with_fleet(&self, config: &RouterConfig, fleet: Arc<Fleet>) -> Result<Tables, TablesError> {
        let without_nodes = |region: &Region| Region { nodes: Vec::new(), ..region.clone() };
        let (old, new) = (self.fleet.regions.iter().map(without_nodes), fleet.regions.iter().map(without_nodes));
        if old.eq(new) {
            return Ok(Tables { fleet, ..self.clone() });
        }
        let database = Arc::clone(self.places.locator().database());
        Tables::build(config, fleet, database, Arc::clone(&self.connector))
    }

    /// Tables for the fleet of a configuration alone.
    ///
    /// # Errors
    /// [`TablesError`].
    pub fn configured(config: &RouterConfig) -> Result<Tables, TablesError> {
        Tables::build(config, Arc::clone(&config.fleet), open(config)?, connect(config, None)?)
    }

    /// Tables for the configuration as members have changed it until the router stopped, and what is not followed. If
    /// the changed fleet has no table, the configured one has to do, because a router must start.
    ///
    /// # Errors
    /// [`TablesError`].
    pub(super) fn at_start(
        config: &RouterConfig,
        members: &Members,
        names: &Names,
    ) -> Result<(Tables, BTreeSet<Ignored>), TablesError> {
        let (database, connector) = (open(config)?, connect(config, None)?);
        let (fleet, ignored) = derive(config, members, names, &config.fleet);
        match Tables::build(config, fleet, Arc::clone(&database), Arc::clone(&connector)) {
            Ok(tables) => Ok((tables, ignored)),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    action = "check the members (GET /v1/admin/members)",
                    "the regions that operators added cannot be taken up: the router starts with the configured ones"
                );
                let (fleet, _) = derive(config, &Members::default(), names, &config.fleet);
                Ok((Tables::build(config, fleet, database, connector)?, ignored))
            }
        }
    }

    /// The table of places.
    #[must_use]
    pub fn places(&self) -> &Arc<Places> {
        &self.places
    }
}

/// The database of a configuration.
pub(super) fn open(config: &RouterConfig) -> Result<Arc<Database>, TablesError> {
    let database = match &config.database {
        Some(path) => Database::open(path)?,
        None => Database::shipped()?,
    };
    Ok(Arc::new(database))
}

/// The way to the nodes by a configuration: the one `before` if it has the same files.
pub(super) fn connect(config: &RouterConfig, before: Option<&Arc<Connector>>) -> Result<Arc<Connector>, TrustError> {
    let connector = match before.filter(|before| *before.files() == config.nodes.trust) {
        Some(before) => Arc::clone(before),
        None => Arc::new(Connector::load(config.nodes.trust.clone())?),
    };
    if config.fleet.nodes().any(|id| config.fleet.node(id).at.server_name().is_some()) {
        connector.check()?;
    }
    Ok(connector)
}

/// The fleet of a configuration as members change it and names resolve, and what is not followed. Without a node the
/// `last` fleet stays.
pub(super) fn derive(
    config: &RouterConfig,
    members: &Members,
    names: &Names,
    last: &Arc<Fleet>,
) -> (Arc<Fleet>, BTreeSet<Ignored>) {
    let is_fit = |region: &RegionId| config.dns.as_ref().is_none_or(|dns| dns.takes_region(region));
    let Effective { fleet, ignored } = effective(&config.fleet, members, is_fit);
    // The same regions and nodes are the same fleet, so that nothing is built anew.
    let fleet = fleet
        .map(|fleet| names.fill(fleet))
        .filter(|fleet| *fleet != **last)
        .map_or_else(|| Arc::clone(last), Arc::new);
    (fleet, ignored)
}
