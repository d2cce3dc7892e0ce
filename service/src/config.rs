//! Loads a configuration file, with the checks that every configuration needs.
//!
//! A file is read in two steps. Its *written* form (plain values, unknown keys refused) becomes the *checked* form
//! (durations, absolute paths, values within bounds). The process has both forms; here is what they have in common. An
//! error names the key as it is in the file. `figment` and `config` were passed over, because both merge sources and
//! neither refuses unknown keys in all of them; `garde` and `validator` check a struct and leave its type as it was.

mod listen;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use api::Position;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};

pub use self::listen::Listen;

/// Why a configuration file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, a wrong type, a missing or an unknown key; the source shows the line.
    #[error("the configuration {} cannot be parsed", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and key.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value is out of its bounds or contradicts another one.
    #[error("the configuration {} is refused", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Which key and why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Reads a file in its written form, and checks it. `check` gets the written form and the folder that the file is in,
/// from which relative paths count.
///
/// # Errors
/// If the file cannot be read or parsed, or if `check` refuses it.
pub fn load<Written, Checked, E>(
    path: &Path,
    check: impl FnOnce(Written, &Path) -> Result<Checked, E>,
) -> Result<Checked, ConfigError>
where
    Written: DeserializeOwned,
    E: std::error::Error + Send + Sync + 'static,
{
    let read = |source| ConfigError::Read { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(read)?;
    let written: Written = toml::from_str(&text)
        .map_err(|source| ConfigError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
    let absolute = std::path::absolute(path).map_err(read)?;
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    check(written, folder).map_err(|source| ConfigError::Value { path: path.to_owned(), source: Box::new(source) })
}

/// A value that is well formed and yet cannot be used; every message begins with its key.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// A number outside its bounds.
    #[error("{key} = {value}: must be {min} to {max}")]
    OutOfRange {
        /// Its key.
        key: String,
        /// The value, as the file has it.
        value: f64,
        /// Least.
        min: f64,
        /// Most.
        max: f64,
    },
    /// A path, text or list that must not be empty.
    #[error("{key}: must not be empty")]
    Empty {
        /// Its key.
        key: String,
    },
    /// A path that only a shell understands.
    #[error("{key}: {why}")]
    Path {
        /// Its key.
        key: String,
        /// Why.
        why: ShellPath,
    },
    /// An admin listener on all addresses, although every client of it is trusted.
    #[error(
        "{key} = {address}: listens on all addresses, and without `admin.operators` every client may give orders; name one \
         address, or a file with operators"
    )]
    AdminOpen {
        /// Its key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// Two listeners on one address.
    #[error("{key}: {address} is taken by {other} already")]
    ListenTwice {
        /// The later key.
        key: &'static str,
        /// The earlier key.
        other: &'static str,
        /// Their address.
        address: SocketAddr,
    },
}

/// An admin listener, which may listen on all addresses only if its clients are told apart.
///
/// # Errors
/// [`ValueError::AdminOpen`].
pub fn admin(key: &'static str, address: SocketAddr, has_operators: bool) -> Result<(), ValueError> {
    if address.ip().is_unspecified() && !has_operators { Err(ValueError::AdminOpen { key, address }) } else { Ok(()) }
}

/// A number within its bounds. A value that is not a number is within none.
///
/// # Errors
/// [`ValueError::OutOfRange`].
pub fn range(key: impl Into<String>, value: f64, min: f64, max: f64) -> Result<f64, ValueError> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(ValueError::OutOfRange { key: key.into(), value, min, max })
    }
}

/// A whole number within its bounds.
///
/// # Errors
/// [`ValueError::OutOfRange`].
pub fn whole<N>(key: impl Into<String>, value: N, min: u64, max: u64) -> Result<N, ValueError>
where
    N: Copy + TryInto<u64>,
{
    let number = value.try_into().unwrap_or(u64::MAX);
    if (min..=max).contains(&number) {
        Ok(value)
    } else {
        Err(ValueError::OutOfRange { key: key.into(), value: number as f64, min: min as f64, max: max as f64 })
    }
}

/// An absolute path; a relative one counts from `folder`.
///
/// # Errors
/// [`ValueError::Empty`]; [`ValueError::Path`].
pub fn path(key: impl Into<String>, path: &Path, folder: &Path) -> Result<PathBuf, ValueError> {
    if path.as_os_str().is_empty() {
        return Err(ValueError::Empty { key: key.into() });
    }
    match literal(path) {
        Ok(()) => Ok(folder.join(path)),
        Err(why) => Err(ValueError::Path { key: key.into(), why }),
    }
}

/// A path as a shell would have to read it, such as `~/store` or `$HOME/store`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{path}` has a `~` or a variable, which nothing expands here: write the whole path, such as /var/lib/meridian, and \
     `./~name` for a file that is called so"
)]
pub struct ShellPath {
    path: String,
}

/// Checks that a path means what is written: a `~` at its beginning, or a part that begins with a variable, would make a
/// folder of that name.
///
/// # Errors
/// [`ShellPath`].
pub fn literal(path: &Path) -> Result<(), ShellPath> {
    let text = path.to_string_lossy();
    let is_variable = |part: &str| {
        part.strip_prefix('$').is_some_and(|name| name.starts_with(|c: char| c.is_alphabetic() || "_{(".contains(c)))
    };
    let has_variable = text.split('/').any(is_variable);
    if text.starts_with('~') || has_variable { Err(ShellPath { path: text.into_owned() }) } else { Ok(()) }
}

/// Reads `IP:PORT`. A listener is compared with the addresses of connections, so a name would have to be one address for
/// ever: it is refused.
///
/// # Errors
/// If it is anything else.
pub fn socket<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    parse_socket(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// Reads a list of `IP:PORT`.
///
/// # Errors
/// If one is anything else.
pub fn sockets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| parse_socket(text).map_err(D::Error::custom)).collect()
}

/// Reads `IP:PORT`, as [`socket`] does.
///
/// # Errors
/// [`NotSocket`].
pub fn parse_socket(text: &str) -> Result<SocketAddr, NotSocket> {
    text.parse().map_err(|_| NotSocket { text: text.to_owned() })
}

/// A text that is not `IP:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not IP:PORT, such as 192.0.2.1:7080 or [2001:db8::1]:7080; host names are taken only in URLs, in \
     `address` of a node's [[peers]], and in `http` and `https` of a router's [[regions.nodes]]; 0.0.0.0 or [::] stands for all addresses of a listener"
)]
pub struct NotSocket {
    text: String,
}

/// Reads IP addresses.
///
/// # Errors
/// If one is anything else.
pub fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpAddr>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let read = |text: &String| {
        let wrong = |_| {
            D::Error::custom(format!(
                "`{text}` is not an IP address, such as 192.0.2.1 or 2001:db8::1; DNS answers with it, so it cannot be a name"
            ))
        };
        text.parse().map_err(wrong)
    };
    texts.iter().map(read).collect()
}

/// Listeners that do not stand in each other's way. Port 0 (any free port) is never taken.
///
/// # Errors
/// [`ValueError::ListenTwice`].
pub fn distinct(listeners: &[(&'static str, SocketAddr)]) -> Result<(), ValueError> {
    for (index, (key, address)) in listeners.iter().enumerate() {
        for (other, earlier) in &listeners[..index] {
            // The unspecified address (0.0.0.0) covers every other address at its port. Within one listener it covers those
            // of its family: the socket of `[::]` leaves IPv4 to the others.
            let covers = earlier.ip().is_unspecified() || address.ip().is_unspecified();
            let covers = covers && (key != other || earlier.is_ipv4() == address.is_ipv4());
            let same = earlier.ip() == address.ip() || covers;
            if same && earlier.port() == address.port() && address.port() != 0 {
                return Err(ValueError::ListenTwice { key, other, address: *address });
            }
        }
    }
    Ok(())
}

/// `position = { latitude = .., longitude = .. }`, in degrees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionSection {
    /// North is positive.
    pub latitude: f64,
    /// East is positive.
    pub longitude: f64,
}

impl PositionSection {
    /// The place on the globe. `key` is the key of the table.
    ///
    /// # Errors
    /// [`ValueError::OutOfRange`].
    pub fn check(self, key: &str) -> Result<Position, ValueError> {
        Ok(Position {
            latitude: range(format!("{key}.latitude"), self.latitude, -90.0, 90.0)?,
            longitude: range(format!("{key}.longitude"), self.longitude, -180.0, 180.0)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{PositionSection, distinct, path, range, whole};

    #[test]
    fn a_path_means_what_is_written() {
        let read = |text: &str| path("a.file", Path::new(text), Path::new("/f")).map_err(|error| error.to_string());
        for shell in ["~", "~/store", "~meridian/store", "$HOME/store", "/srv/${REGION}/x", "/srv/$(id)"] {
            let refused = read(shell).expect_err(shell);
            assert!(refused.starts_with(&format!("a.file: `{shell}` has")), "{refused}");
        }
        for plain in ["store", "./~store", "a~", "/srv/US$", "/srv/$5", "a $HOME", "ü b"] {
            assert_eq!(read(plain), Ok(Path::new("/f").join(plain)));
        }
        assert_eq!(read(""), Err("a.file: must not be empty".to_owned()));
    }

    #[test]
    fn a_value_out_of_bounds_is_refused_by_name() {
        let said = |error: super::ValueError| error.to_string();
        assert_eq!(whole("a.b_ms", 50u64, 50, 60), Ok(50));
        assert_eq!(whole("a.b_ms", 61u32, 50, 60).map_err(said), Err("a.b_ms = 61: must be 50 to 60".to_owned()));
        assert_eq!(range("a.share", 1.5, 0.0, 1.0).map_err(said), Err("a.share = 1.5: must be 0 to 1".to_owned()));
        assert!(range("a.share", f64::NAN, 0.0, 1.0).is_err());
        let nowhere = PositionSection { latitude: 91.0, longitude: 0.0 }.check("regions[1].position");
        assert!(said(nowhere.unwrap_err()).starts_with("regions[1].position.latitude = 91"));
    }

    #[test]
    fn listeners_have_addresses_of_their_own() {
        let at = |text: &str| text.parse().unwrap();
        let open = ("open", at("127.0.0.1:80"));
        assert!(distinct(&[open, ("other", at("127.0.0.1:81")), ("any", at("127.0.0.1:0"))]).is_ok());
        let taken = distinct(&[open, ("other", at("0.0.0.0:80"))]).unwrap_err();
        assert_eq!(taken.to_string(), "other: 0.0.0.0:80 is taken by open already");
        // The addresses of one listener.
        assert!(distinct(&[("one", at("0.0.0.0:80")), ("one", at("[::]:80")), ("one", at("[::]:81"))]).is_ok());
        assert!(distinct(&[("one", at("0.0.0.0:80")), ("one", at("127.0.0.1:80"))]).is_err());
        assert!(distinct(&[("one", at("0.0.0.0:80")), ("other", at("[::1]:80"))]).is_err());
    }
}
