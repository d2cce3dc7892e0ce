//! The regions and nodes of a router's configuration. Which of them are healthy: [`crate::health`].

use std::net::{IpAddr, SocketAddr};

use replication::{NodeName, RegionId};
use serde::Serialize;

/// Mean radius of the Earth in kilometres (IUGG).
const EARTH_KM: f64 = 6_371.0;

/// A region's place in the configuration's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionIndex(pub u8);

impl RegionIndex {
    /// As an index into lists of regions.
    #[must_use]
    pub fn at(self) -> usize {
        usize::from(self.0)
    }
}

/// A place on the globe, in degrees (WGS 84).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Position {
    /// North is positive: -90 to 90.
    pub latitude: f64,
    /// East is positive: -180 to 180.
    pub longitude: f64,
}

impl Position {
    /// Great-circle distance in kilometres (haversine formula).
    #[must_use]
    pub fn km_to(self, other: Position) -> f64 {
        let (from, to) = (self.latitude.to_radians(), other.latitude.to_radians());
        let half_lat = ((to - from) / 2.0).sin();
        let half_lon = ((other.longitude - self.longitude).to_radians() / 2.0).sin();
        let chord = half_lat.mul_add(half_lat, from.cos() * to.cos() * half_lon * half_lon);
        2.0 * EARTH_KM * chord.sqrt().min(1.0).asin()
    }
}

/// All regions, in the configuration's order.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    /// 1 to [`Fleet::MAX_REGIONS`] regions.
    pub regions: Vec<Region>,
}

/// One region.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Its name.
    pub name: RegionId,
    /// Where it is.
    pub position: Position,
    /// Its weight in a split by weights; more than 0.
    pub weight: f64,
    /// Requests per second that all its nodes together can take; `None` is no limit.
    pub capacity: Option<f64>,
    /// Not empty.
    pub nodes: Vec<Node>,
}

/// One node of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name, for people and metrics.
    pub name: NodeName,
    /// Its public listener, which is probed and to which the edge forwards.
    pub http: SocketAddr,
    /// The addresses that DNS answers for it.
    pub addresses: Vec<IpAddr>,
    /// Its weight among the region's nodes; more than 0.
    pub weight: u32,
}

impl Fleet {
    /// The largest number of regions.
    pub const MAX_REGIONS: usize = 64;

    /// Every region's index.
    pub fn indices(&self) -> impl Iterator<Item = RegionIndex> + use<> {
        (0..self.regions.len()).filter_map(|index| u8::try_from(index).ok()).map(RegionIndex)
    }

    /// The region at an index of this fleet.
    #[must_use]
    pub fn region(&self, index: RegionIndex) -> &Region {
        &self.regions[index.at()]
    }

    /// The region of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<RegionIndex> {
        self.indices().find(|index| self.region(*index).name.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn distances_are_those_of_the_globe() {
        let frankfurt = Position { latitude: 50.11, longitude: 8.68 };
        let ashburn = Position { latitude: 39.04, longitude: -77.49 };
        let tokyo = Position { latitude: 35.68, longitude: 139.69 };
        let los_angeles = Position { latitude: 34.05, longitude: -118.24 };
        assert!((frankfurt.km_to(ashburn) - 6_520.0).abs() < 60.0, "{}", frankfurt.km_to(ashburn));
        // Across the date line.
        assert!((tokyo.km_to(los_angeles) - 8_815.0).abs() < 60.0, "{}", tokyo.km_to(los_angeles));
        assert!(frankfurt.km_to(frankfurt) < 1e-6);
        let (north, south) =
            (Position { latitude: 90.0, longitude: 0.0 }, Position { latitude: -90.0, longitude: 9.0 });
        assert!((north.km_to(south) - 20_015.0).abs() < 1.0);
    }
}
