//! ISO 3166 country codes and where the middle of each country is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize, Serializer};

use api::Position;

/// The centres of countries; the file's first lines name their sources.
const CSV: &str = include_str!("../../../config/geo/countries.csv");

/// An ISO 3166-1 alpha-2 code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// The country with this code, in upper or lower case.
    #[must_use]
    pub fn new(code: &str) -> Option<Country> {
        let code: [u8; 2] = code.as_bytes().try_into().ok()?;
        code.iter().all(u8::is_ascii_alphabetic).then(|| Country(code.map(|letter| letter.to_ascii_uppercase())))
    }

    /// The two letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("??")
    }

    /// The middle of the country.
    #[must_use]
    pub fn position(self) -> Option<Position> {
        POSITIONS.get(&self).copied()
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Country {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

static POSITIONS: LazyLock<BTreeMap<Country, Position>> = LazyLock::new(read);

#[derive(Deserialize)]
struct CountryRow {
    country: String,
    latitude: f64,
    longitude: f64,
}

fn read() -> BTreeMap<Country, Position> {
    let mut lines = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(CSV.as_bytes());
    let lines = lines.deserialize::<CountryRow>().filter_map(Result::ok);
    lines
        .filter_map(|line| {
            let position = Position { latitude: line.latitude, longitude: line.longitude };
            Some((Country::new(&line.country)?, position))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{CSV, Country, POSITIONS};

    #[test]
    fn every_line_is_a_country() {
        let lines = CSV.lines().filter(|line| !line.starts_with('#')).count() - 1;
        assert_eq!(POSITIONS.len(), lines);
        assert!(lines > 240);
        let germany = Country::new("de").unwrap().position().unwrap();
        assert!((47.0..55.1).contains(&germany.latitude) && (5.8..15.1).contains(&germany.longitude));
        assert!(POSITIONS.values().all(|at| at.latitude.abs() <= 90.0 && at.longitude.abs() <= 180.0));
        assert_eq!(Country::new("d1"), None);
        assert_eq!(Country::new("deu"), None);
    }
}
