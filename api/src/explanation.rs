//! `GET /v1/admin/explain` of a router: why an address is sent where it is.

use serde::{Deserialize, Serialize};

use crate::named;
use crate::{Position, RegionId};

/// One explanation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The prefix whose clients are all treated alike, such as `46.4.0.0/16`.
    pub prefix: String,
    /// How the address was learnt.
    pub address_source: AddressSource,
    /// The location of the address.
    pub located: Located,
    /// The region to which it goes.
    pub region: RegionId,
    /// The reason.
    pub reason: RouteReason,
    /// All regions, the most suitable first.
    pub ranking: Vec<Ranked>,
    /// The part of this class of places for which no region has capacity, from 0 to 1.
    pub shed: f64,
    /// Seconds for which DNS answers may be kept.
    pub ttl: u32,
    /// The number of the view.
    pub epoch: u64,
    /// Whether too few routers are heard for a verdict, so that the last one holds.
    pub frozen: bool,
}

/// The location of a client, as far as it is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Located {
    /// The source of the location.
    pub source: LocationSource,
    /// The country's ISO 3166-1 alpha-2 code, if the database knows one.
    pub country: Option<String>,
    /// The position: exact, a city's, or the middle of the country.
    pub position: Option<Position>,
}

/// One region in an explanation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// Its name.
    pub region: RegionId,
    /// Its state.
    pub state: RegionState,
    /// Great-circle distance, if the client's location is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub km: Option<u32>,
    /// The share of this class of places that it takes now, from 0 to 1.
    pub share: f64,
}

named! {
    /// How a client's address was learnt.
    AddressSource {
        /// EDNS client subnet.
        ClientSubnet = "client-subnet",
        /// The resolver that asks.
        Resolver = "resolver",
        /// A request for an explanation names the address.
        Given = "given",
    }
}

named! {
    /// The source of a location.
    LocationSource {
        /// An operator's override.
        Override = "override",
        /// The database.
        Database = "database",
        /// No source: the database does not have the address, or names a country without a known position.
        Unknown = "unknown",
    }
}

named! {
    /// Why an address goes to a region.
    RouteReason {
        /// The region is the first of the client's order.
        Preferred = "preferred",
        /// The first region of the order is not serving.
        Failover = "failover",
        /// The first region of the order serves, but not all of its clients: weights, ramp or capacity.
        Split = "split",
        /// All regions are out, and health is ignored.
        FailOpen = "fail-open",
    }
}

named! {
    /// The state of a region.
    RegionState {
        /// No verdict yet; it is treated as healthy.
        Unknown = "unknown",
        /// Healthy.
        Up = "up",
        /// Healthy again, and taking its share back step by step.
        Ramping = "ramping",
        /// An operator sends new clients elsewhere; connections and requests that exist end normally.
        Drained = "drained",
        /// An operator took it out: no client is sent there.
        Maintenance = "maintenance",
        /// Down by the verdict of the routers.
        Down = "down",
    }
}

impl RegionState {
    /// Whether new clients may be sent there.
    #[must_use]
    pub fn serves(self) -> bool {
        matches!(self, RegionState::Unknown | RegionState::Up | RegionState::Ramping)
    }
}
