//! Where a client is: an operator's overrides come first, then the country or city database; otherwise it is unknown.
//!
//! [`Locator`] locates one address, with the reason. [`Places`] holds the same knowledge for the data plane, folded
//! into classes of places that prefer the same regions in the same order.
//!
//! # Not here
//! Which regions suit a place: [`crate::policy`].

mod countries;
mod database;
mod places;
mod ranges;

use api::explanation::LocationSource;
use std::net::IpAddr;
use std::sync::Arc;

use ipnetwork::IpNetwork;

pub use countries::Country;
pub use database::{Database, DatabaseError};
pub use places::{Leaf, Place, PlaceClass, Places, PlacesError};

use crate::fleet::{Fleet, RegionIndex};
use api::Position;

/// An operator's setting of where a network is.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// The addresses.
    pub network: IpNetwork,
    /// The place or region to which they belong.
    pub to: Target,
}

impl Override {
    /// This override for another fleet. Clients of a region that is gone are placed where it was, so that the region that
    /// is nearest to it comes first.
    #[must_use]
    pub(crate) fn carried(&self, from: &Fleet, to: &Fleet) -> Override {
        let target = match self.to {
            Target::Position(position) => Target::Position(position),
            Target::Region(region) => {
                from.carry(region, to).map_or_else(|| Target::Position(from.region(region).position), Target::Region)
            }
        };
        Override { network: self.network, to: target }
    }
}

/// The target of an override.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// The clients are here.
    Position(Position),
    /// The clients prefer this region; the others follow as seen from it.
    Region(RegionIndex),
}

/// The location of a client, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Located {
    /// The source of the location.
    pub source: LocationSource,
    /// The country, if the database knows one.
    pub country: Option<Country>,
    /// The position: exact, a city's, or the middle of the country.
    pub position: Option<Position>,
    /// A region that an operator gave.
    pub region: Option<RegionIndex>,
}

impl Located {
    /// An unknown location.
    pub const UNKNOWN: Located =
        Located { source: LocationSource::Unknown, country: None, position: None, region: None };
}

/// Overrides and database: locates single addresses.
#[derive(Debug)]
pub struct Locator {
    overrides: Vec<Override>,
    database: Arc<Database>,
}

impl Locator {
    /// A locator; among overrides the longest prefix wins.
    #[must_use]
    pub fn new(mut overrides: Vec<Override>, database: impl Into<Arc<Database>>) -> Locator {
        overrides.sort_by_key(|one| one.network.prefix());
        Locator { overrides, database: database.into() }
    }

    /// The database, for a locator with other overrides.
    #[must_use]
    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// The location of `address`. A mapped IPv4 address (`::ffff:0:0/96`) counts as IPv4.
    #[must_use]
    pub fn locate(&self, address: IpAddr) -> Located {
        let address = address.to_canonical();
        let known = self.overrides.iter().rev().find(|one| one.network.contains(address));
        match known {
            Some(one) => Self::located(&one.to),
            None => self.database.locate(address),
        }
    }

    fn located(target: &Target) -> Located {
        let (position, region) = match target {
            Target::Position(position) => (Some(*position), None),
            Target::Region(region) => (None, Some(*region)),
        };
        Located { source: LocationSource::Override, country: None, position, region }
    }
}
