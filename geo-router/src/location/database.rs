//! The country or city database (MaxMind DB format): the one in the binary, or one that the configuration names.

use api::explanation::LocationSource;
use std::borrow::Cow;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use maxminddb::{MaxMindDbError, Reader, WithinOptions};
use serde::Deserialize;

use super::{Country, Located};
use api::Position;

/// IP to Country Lite by DB-IP.com, CC BY 4.0 (`config/geo/README.md`).
static SHIPPED: &[u8] = include_bytes!("../../../config/geo/dbip-country.mmdb");

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The file cannot be read.
    #[error("cannot read the location database {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not such a database, or is damaged.
    #[error("the location database is not in MaxMind DB format, or damaged")]
    Format(#[from] MaxMindDbError),
}

/// Says to which country or city an address belongs.
pub struct Database {
    reader: Reader<Cow<'static, [u8]>>,
}

/// The fields that are read of a record: DB-IP's flat form, and MaxMind's nested one with a city's position.
#[derive(Debug, Default, Deserialize)]
struct DatabaseRecord<'a> {
    #[serde(borrow, default)]
    country_code: Option<&'a str>,
    #[serde(borrow, default)]
    country: Option<Nested<'a>>,
    #[serde(default)]
    location: Option<At>,
}

#[derive(Debug, Deserialize)]
struct Nested<'a> {
    #[serde(borrow, default)]
    iso_code: Option<&'a str>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct At {
    #[serde(default)]
    latitude: Option<f64>,
    #[serde(default)]
    longitude: Option<f64>,
}

impl Database {
    /// The database in the binary.
    ///
    /// # Errors
    /// [`DatabaseError::Format`], which a test excludes.
    pub fn shipped() -> Result<Database, DatabaseError> {
        Ok(Database { reader: Reader::from_source(Cow::Borrowed(SHIPPED))? })
    }

    /// A file in MaxMind DB format.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn open(path: &Path) -> Result<Database, DatabaseError> {
        let bytes = std::fs::read(path).map_err(|source| DatabaseError::Read { path: path.to_owned(), source })?;
        Ok(Database { reader: Reader::from_source(Cow::Owned(bytes))? })
    }

    /// The location of an address; unknown if its record cannot be read.
    #[must_use]
    pub fn locate(&self, address: IpAddr) -> Located {
        let record = self.reader.lookup(address).and_then(|found| found.decode::<DatabaseRecord<'_>>());
        record.ok().flatten().map_or(Located::UNKNOWN, |record| record.located())
    }

    /// Every network of the database with its location, in order of address.
    ///
    /// # Errors
    /// [`DatabaseError::Format`] for a damaged tree.
    pub fn networks(&self) -> Result<impl Iterator<Item = (IpNetwork, Located)>, DatabaseError> {
        let networks = self.reader.networks(WithinOptions::default())?;
        Ok(networks.filter_map(|found| {
            let found = found.ok()?;
            let record = found.decode::<DatabaseRecord<'_>>().ok()??;
            Some((found.network().ok()?, record.located()))
        }))
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("type", &self.reader.metadata().database_type).finish()
    }
}

impl DatabaseRecord<'_> {
    fn located(&self) -> Located {
        let code = self.country_code.or_else(|| self.country.as_ref()?.iso_code);
        let country = code.and_then(Country::new);
        let exact = self.location.and_then(|at| Some((at.latitude?, at.longitude?)));
        let exact = exact
            .filter(|(latitude, longitude)| latitude.abs() <= 90.0 && longitude.abs() <= 180.0)
            .map(|(latitude, longitude)| Position { latitude, longitude });
        let position = exact.or_else(|| country.and_then(Country::position));
        let source = if position.is_some() { LocationSource::Database } else { LocationSource::Unknown };
        Located { source, country, position, region: None }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Country;
    use super::Database;
    use api::explanation::LocationSource;

    #[test]
    fn the_shipped_database_knows_the_world() {
        let database = Database::shipped().unwrap();
        for (address, country) in [
            ("8.8.8.8", "US"),
            ("1.1.1.1", "AU"),
            ("46.4.0.1", "DE"),
            ("133.1.1.1", "JP"),
            ("200.160.2.3", "BR"),
            ("2a02:8109::1", "DE"),
            ("2001:da8::1", "CN"),
        ] {
            let located = database.locate(address.parse().unwrap());
            assert_eq!(located.country, Country::new(country), "{address}");
            assert_eq!(located.source, LocationSource::Database);
            assert!(located.position.is_some());
        }
        for nowhere in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fe80::1"] {
            assert_eq!(database.locate(nowhere.parse().unwrap()).source, LocationSource::Unknown, "{nowhere}");
        }
    }
}
