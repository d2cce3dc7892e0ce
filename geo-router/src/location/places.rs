//! The whole address space as prefixes, each with a class: places that prefer the same regions in the same order.
//!
//! The scopes of client subnets come from this table. It is built from database, overrides and preferences for one fleet,
//! and health never changes it (RFC 7871, section 7.2.1: prefixes must not overlap; a resolver may keep an answer for a
//! scope as long as its TTL, whatever happens meanwhile). For another fleet another table is built.
//!
//! # Invariants
//! - The leaves of a family are disjoint and cover it.
//! - A leaf is as wide as its class allows. It is at most a /16 (IPv6: /32), so that a weighted split is fine enough,
//!   and at least a /24 (/56), because resolvers send no more of a client's address. Only an operator's override makes
//!   a finer leaf.

use api::explanation::LocationSource;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::ranges::Ranges;
use super::{Country, DatabaseError, Located, Locator};
use crate::fleet::RegionIndex;

/// Places that prefer the same regions in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaceClass(pub u16);

impl PlaceClass {
    /// As an index into lists of classes.
    #[must_use]
    pub fn at(self) -> usize {
        usize::from(self.0)
    }
}

/// The common properties of the places of a class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The source of these places' location.
    pub source: LocationSource,
    /// Every region once, the most suitable first.
    pub order: Vec<RegionIndex>,
}

impl Place {
    /// Whether the location of these places is known.
    #[must_use]
    pub(crate) fn is_known(&self) -> bool {
        self.source != LocationSource::Unknown
    }
}

/// A prefix whose clients are all treated alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Leaf {
    /// Its first address.
    pub network: IpAddr,
    /// Its length in bits.
    pub prefix: u8,
    /// Its class.
    pub class: PlaceClass,
}

/// Why the table cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlacesError {
    /// The database is damaged.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// More classes of places than a table can distinguish.
    #[error("the location database and the policy make more than 65535 classes of places")]
    TooMany,
}

/// One family's leaves.
#[derive(Debug)]
struct Table {
    starts: Vec<u128>,
    leaves: Vec<(u8, PlaceClass)>,
    /// For each value of an address's first 16 bits, how many leaves start before it. Every query looks a leaf up, and
    /// this index leaves only a handful to search.
    index: Vec<usize>,
    family: Family,
}

/// Number of first bits of an address that are looked up instead of searched.
const INDEXED: u8 = 16;

#[derive(Clone, Copy, Debug)]
struct Family {
    /// Bits of an address.
    width: u8,
    /// Shortest prefix of a leaf.
    widest: u8,
    /// Longest prefix of a leaf without an override.
    finest: u8,
}

const V4: Family = Family { width: 32, widest: 16, finest: 24 };
const V6: Family = Family { width: 128, widest: 32, finest: 56 };

/// All leaves and classes, and the locator from which they were built.
#[derive(Debug)]
pub struct Places {
    locator: Arc<Locator>,
    classes: Vec<Place>,
    v4: Table,
    v6: Table,
}

impl Places {
    /// Builds the table from what `locator` knows; `order` ranks all regions as seen from a place.
    ///
    /// # Errors
    /// [`PlacesError`].
    pub fn build(
        locator: impl Into<Arc<Locator>>,
        order: impl Fn(&Located) -> Vec<RegionIndex>,
    ) -> Result<Places, PlacesError> {
        let locator = locator.into();
        let mut classes = Classes { order, known: BTreeMap::new(), by_place: HashMap::new() };
        let unknown = classes.of(&Located::UNKNOWN)?;
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (network, located) in locator.database.networks()? {
            let class = classes.of(&located)?;
            match (network.network(), network.broadcast()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((bits(first.into()), bits(last.into()), class)),
                (IpAddr::V6(first), IpAddr::V6(last)) => match first.to_ipv4() {
                    // The lowest 2^32 addresses of a combined tree are IPv4's.
                    Some(low) if network.prefix() >= 96 => {
                        let high = last.to_ipv4().unwrap_or(Ipv4Addr::BROADCAST);
                        v4.push((bits(low.into()), bits(high.into()), class));
                    }
                    _ => v6.push((first.into(), last.into(), class)),
                },
                _ => {}
            }
        }
        v4.sort_unstable();
        v6.sort_unstable();
        let (mut v4, mut v6) = (Ranges::new(v4, unknown), Ranges::new(v6, unknown));
        let (mut fine4, mut fine6) = (Vec::new(), Vec::new());
        for one in &locator.overrides {
            let class = classes.of(&Locator::located(&one.to))?;
            let (first, last) = (one.network.network(), one.network.broadcast());
            let (ranges, fine, family) =
                if first.is_ipv4() { (&mut v4, &mut fine4, V4) } else { (&mut v6, &mut fine6, V6) };
            ranges.paint(bits(first), bits(last), class);
            if one.network.prefix() > family.finest {
                fine.push((bits(first), bits(last)));
            }
        }
        let classes = classes.known.into_iter().map(|(place, class)| (class, place)).collect::<BTreeMap<_, _>>();
        Ok(Places {
            classes: classes.into_values().collect(),
            v4: Table::build(&v4, &fine4, V4),
            v6: Table::build(&v6, &fine6, V6),
            locator,
        })
    }

    /// The location of an address with everything that is known of it, for explanations. The data plane uses
    /// [`leaf`](Self::leaf).
    #[must_use]
    pub fn locate(&self, address: IpAddr) -> Located {
        self.locator.locate(address)
    }

    /// The locator from which the table was built.
    #[must_use]
    pub fn locator(&self) -> &Arc<Locator> {
        &self.locator
    }

    /// The leaf that holds an address. A mapped IPv4 address counts as IPv4.
    #[must_use]
    pub fn leaf(&self, address: IpAddr) -> Leaf {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let (first, prefix, class) = self.v4.find(u128::from(u32::from(address)));
                Leaf { network: Ipv4Addr::from(first as u32).into(), prefix, class }
            }
            IpAddr::V6(address) => {
                let (first, prefix, class) = self.v6.find(address.into());
                Leaf { network: Ipv6Addr::from(first).into(), prefix, class }
            }
        }
    }

    /// Every class, in the order of [`PlaceClass`].
    #[must_use]
    pub fn classes(&self) -> &[Place] {
        &self.classes
    }

    /// The common properties of the places of a class.
    #[must_use]
    pub fn place(&self, class: PlaceClass) -> &Place {
        &self.classes[class.at()]
    }

    /// Number of prefixes in the table (IPv4, IPv6).
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.v4.starts.len(), self.v6.starts.len())
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => address.into(),
    }
}

struct Classes<F> {
    order: F,
    known: BTreeMap<Place, PlaceClass>,
    /// A cache, because a database names few places many times.
    by_place: HashMap<Spot, PlaceClass>,
}

/// Everything on which an order of regions can depend; degrees as their bits.
type Spot = (LocationSource, Option<Country>, Option<(u64, u64)>, Option<RegionIndex>);

fn spot(located: &Located) -> Spot {
    let degrees = located.position.map(|at| (at.latitude.to_bits(), at.longitude.to_bits()));
    (located.source, located.country, degrees, located.region)
}

impl<F: Fn(&Located) -> Vec<RegionIndex>> Classes<F> {
    fn of(&mut self, located: &Located) -> Result<PlaceClass, PlacesError> {
        if let Some(class) = self.by_place.get(&spot(located)) {
            return Ok(*class);
        }
        let place = Place { source: located.source, order: (self.order)(located) };
        let next = u16::try_from(self.known.len()).map_err(|_| PlacesError::TooMany)?;
        let class = *self.known.entry(place).or_insert(PlaceClass(next));
        self.by_place.insert(spot(located), class);
        Ok(class)
    }
}

impl Table {
    fn build(ranges: &Ranges, fine: &[(u128, u128)], family: Family) -> Table {
        let mut table = Table { starts: Vec::new(), leaves: Vec::new(), index: Vec::new(), family };
        table.split(ranges, fine, 0, 0);
        let shift = family.width - INDEXED;
        let before = |bits: u128| table.starts.partition_point(|start| start >> shift < bits);
        table.index = (0..=1_u128 << INDEXED).map(before).collect();
        table
    }

    fn split(&mut self, ranges: &Ranges, fine: &[(u128, u128)], first: u128, prefix: u8) {
        let host = self.family.width - prefix;
        let last = first | u128::MAX.checked_shr(128 - u32::from(host)).unwrap_or(0);
        let class = ranges.uniform(first, last).or_else(|| {
            let finer = fine.iter().any(|(from, to)| *from <= last && first <= *to);
            (prefix >= self.family.finest && !finer).then(|| ranges.class_at(first))
        });
        match class {
            Some(class) => {
                self.starts.push(first);
                self.leaves.push((prefix, class));
            }
            None => {
                self.split(ranges, fine, first, prefix + 1);
                self.split(ranges, fine, first + (1 << (host - 1)), prefix + 1);
            }
        }
    }

    /// First address, prefix length and class of the leaf that holds an address.
    fn find(&self, address: u128) -> (u128, u8, PlaceClass) {
        let bits = (address >> (self.family.width - INDEXED)) as usize;
        let (from, to) = (self.index[bits], self.index[bits + 1]);
        let index = from + self.starts[from..to].partition_point(|start| *start <= address) - 1;
        let (prefix, class) = self.leaves[index];
        let prefix = prefix.max(self.family.widest);
        let host = self.family.width - prefix;
        let first = if host == 0 { address } else { address >> host << host };
        (first, prefix, class)
    }
}

#[cfg(test)]
mod tests {
    use api::explanation::LocationSource;
    use std::net::IpAddr;

    use super::super::{Database, Locator, Override, Target};
    use super::{Located, Places};
    use crate::fleet::RegionIndex;
    use api::Position;

    const FRANKFURT: Position = Position { latitude: 50.11, longitude: 8.68 };
    const ASHBURN: Position = Position { latitude: 39.04, longitude: -77.49 };
    const SINGAPORE: Position = Position { latitude: 1.35, longitude: 103.82 };

    fn nearest(located: &Located) -> Vec<RegionIndex> {
        let mut order = vec![RegionIndex(0), RegionIndex(1), RegionIndex(2)];
        if let Some(region) = located.region {
            order.sort_by_key(|one| *one != region);
        } else if let Some(position) = located.position {
            let km = |one: &RegionIndex| [FRANKFURT, ASHBURN, SINGAPORE][one.at()].km_to(position);
            order.sort_by(|one, other| km(one).total_cmp(&km(other)));
        }
        order
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn one(network: &str, to: Target) -> Override {
        Override { network: network.parse().unwrap(), to }
    }

    /// One build serves all tests, because it reads the whole database.
    #[test]
    fn the_table_says_what_the_locator_says() {
        let overrides = vec![
            one("10.0.0.0/8", Target::Region(RegionIndex(1))),
            one("10.1.0.0/16", Target::Position(SINGAPORE)),
            one("10.1.2.3/32", Target::Region(RegionIndex(0))),
            one("2001:db8:1:2::7/128", Target::Region(RegionIndex(2))),
            one("255.255.255.255/32", Target::Region(RegionIndex(2))),
        ];
        let locator = Locator::new(overrides, Database::shipped().unwrap());
        let places = Places::build(locator, nearest).unwrap();
        let class = |text: &str| places.place(places.leaf(address(text)).class).clone();

        for (client, region) in [("46.4.0.1", 0), ("8.8.8.8", 1), ("133.1.1.1", 2), ("2a02:8109::1", 0)] {
            assert_eq!(class(client).order[0], RegionIndex(region), "{client}");
            assert_eq!(class(client).source, LocationSource::Database);
            let leaf = places.leaf(address(client));
            let range = if leaf.network.is_ipv4() { 16..=24 } else { 32..=56 };
            assert!(range.contains(&leaf.prefix), "{leaf:?}");
        }
        assert_eq!(class("10.9.9.9").order[0], RegionIndex(1));
        assert_eq!(class("10.1.9.9").order[0], RegionIndex(2));
        assert_eq!(class("10.1.2.3").order[0], RegionIndex(0));
        assert_eq!(class("::ffff:10.1.2.3"), class("10.1.2.3"));
        assert_eq!(places.leaf(address("10.1.2.3")).prefix, 32);
        assert_eq!(places.leaf(address("10.1.2.2")).class, places.leaf(address("10.1.9.9")).class);
        assert_eq!(places.leaf(address("2001:db8:1:2::7")).prefix, 128);
        assert_eq!(class("255.255.255.255").order[0], RegionIndex(2));
        assert_eq!(class("192.168.1.1").source, LocationSource::Unknown);
        assert_eq!(class("::").source, LocationSource::Unknown);

        // Stride through all of IPv4: at the first address of a leaf, table and locator agree.
        let mut next: u64 = 0;
        let mut leaves = 0_u32;
        while next < 1 << 32 {
            let leaf = places.leaf(IpAddr::V4((next as u32).into()));
            let IpAddr::V4(first) = leaf.network else { panic!("{leaf:?}") };
            assert_eq!(u64::from(u32::from(first)), next, "a gap or an overlap");
            if leaves.is_multiple_of(7) {
                assert_eq!(places.place(leaf.class).order, nearest(&places.locate(leaf.network)), "{leaf:?}");
            }
            next += 1 << (32 - leaf.prefix);
            leaves += 1;
        }
        assert!(leaves >= 65_536, "{leaves}");
    }
}
