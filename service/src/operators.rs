//! The operators of an admin listener, with tokens and roles, in a file that is read again when it changes.
//!
//! A token is 256 random bits, and the file holds its hash. So a hash without salt and stretching is enough: there is
//! nothing to guess.
//!
//! # Invariants
//! - A file that cannot be read or parsed changes nothing: the operators known before stay.
//! - Without a file every client of the listener is trusted, as the listener's owner must know.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use api::operators::Role;
use api::problem::Kind;
use arc_swap::ArcSwap;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, Uri};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::browsers;
use crate::problem::Problem;

/// Beginning of every token, so that one that leaks is recognised.
const PREFIX: &str = "meridian_";

/// The operators of one process.
#[derive(Clone, Debug, Default)]
pub struct Operators(Option<Arc<Known>>);

#[derive(Debug)]
struct Known {
    path: PathBuf,
    list: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    changed: Option<SystemTime>,
    file: OperatorsFile,
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorsFile {
    /// What a request without a token may do; nothing if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<Role>,
    /// All operators.
    #[serde(default)]
    pub operators: Vec<OperatorEntry>,
}

/// One operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorEntry {
    /// The name in the audit trail.
    pub name: String,
    /// What the operator may do.
    pub role: Role,
    /// SHA-256 of the token, in hexadecimal.
    pub token_sha256: String,
}

/// Why a file of operators cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorsError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, or an unknown key.
    #[error("{} cannot be parsed", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and key.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// An operator without a name that can be shown, two operators of one name, or a hash that is not SHA-256.
    #[error("{}: operator {number}: a name of 1 to 63 bytes that no other has, and `token_sha256` with 64 hexadecimal digits", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// Its place in the list, from 1.
        number: usize,
    },
}

/// A client of an admin listener that may do what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The operator's name; `None` for a client without a token where that is allowed.
    pub name: Option<String>,
}

/// A new token, and the hash by which a file names it.
#[must_use]
pub fn new_token() -> (String, String) {
    let bytes: [u8; 32] = rand::random();
    let token = format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes));
    let hash = hash(&token);
    (token, hash)
}

fn hash(token: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(token.as_bytes()))
}

impl OperatorsFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`OperatorsError`].
    pub fn load(path: &Path) -> Result<OperatorsFile, OperatorsError> {
        let read = |source| OperatorsError::Read { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(read)?;
        let syntax = |source| OperatorsError::Syntax { path: path.to_owned(), source: Box::new(source) };
        let file: OperatorsFile = toml::from_str(&text).map_err(syntax)?;
        for (at, one) in file.operators.iter().enumerate() {
            let name = !one.name.trim().is_empty() && one.name.len() <= 63 && !one.name.chars().any(char::is_control);
            let digits = one.token_sha256.len() == 64 && one.token_sha256.bytes().all(|c| c.is_ascii_hexdigit());
            let twice = file.operators[..at].iter().any(|other| other.name == one.name);
            if !name || !digits || twice {
                return Err(OperatorsError::Entry { path: path.to_owned(), number: at + 1 });
            }
        }
        Ok(file)
    }

    /// Writes the file. It appears whole, because processes may be reading it.
    ///
    /// # Errors
    /// [`OperatorsError`] if it cannot be written, or if a process would refuse it.
    pub fn save(&self, path: &Path) -> Result<(), OperatorsError> {
        let write = |source| OperatorsError::Write { path: path.to_owned(), source };
        let new = path.with_extension("new");
        let text = toml::to_string(self).map_err(std::io::Error::other).map_err(write)?;
        std::fs::write(&new, text).map_err(write)?;
        if let Err(error) = OperatorsFile::load(&new) {
            std::fs::remove_file(&new).map_err(write)?;
            return Err(error);
        }
        std::fs::rename(&new, path).map_err(write)
    }

    fn admit(&self, token: Option<&str>, wanted: Role) -> Result<Caller, Kind> {
        let Some(token) = token else {
            let allowed = self.anonymous.is_some_and(|role| role >= wanted);
            return if allowed { Ok(Caller { name: None }) } else { Err(Kind::OperatorTokenMissing) };
        };
        // Hashes are compared, so the time of the comparison says nothing about the token.
        let hash = hash(token);
        let operator = self.operators.iter().find(|one| one.token_sha256.eq_ignore_ascii_case(&hash));
        match operator {
            None => Err(Kind::OperatorTokenWrong),
            Some(operator) if operator.role < wanted => Err(Kind::OperatorMayNot),
            Some(operator) => Ok(Caller { name: Some(operator.name.clone()) }),
        }
    }
}

impl Operators {
    /// The operators of a file. Without a file every client is trusted.
    ///
    /// # Errors
    /// [`OperatorsError`].
    pub fn load(path: Option<&Path>) -> Result<Operators, OperatorsError> {
        let Some(path) = path else { return Ok(Operators(None)) };
        let loaded = Loaded { changed: changed(path), file: OperatorsFile::load(path)? };
        Ok(Operators(Some(Arc::new(Known { path: path.to_owned(), list: ArcSwap::from_pointee(loaded) }))))
    }

    /// Whether clients are told apart.
    #[must_use]
    pub fn are_known(&self) -> bool {
        self.0.is_some()
    }

    /// The client that sent this request, if it has the role.
    ///
    /// # Errors
    /// A problem without a token, with a wrong one, or with one whose role is not enough; or if a page of another site
    /// sent the request ([`crate::browsers`]).
    pub fn admit(&self, uri: &Uri, headers: &HeaderMap, wanted: Role) -> Result<Caller, Problem> {
        browsers::check_origin(uri, headers)?;
        let Some(known) = &self.0 else {
            browsers::check_host(uri, headers)?;
            return Ok(Caller { name: None });
        };
        known.renew();
        if !headers.contains_key(AUTHORIZATION) {
            browsers::check_host(uri, headers)?;
        }
        let text = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = text.and_then(|text| text.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
        known.list.load().file.admit(token, wanted).map_err(|kind| {
            let advice = match kind {
                Kind::OperatorMayNot => "a token with the role `operate` is required",
                _ => "send Authorization: Bearer with an operator's token",
            };
            Problem::new(kind, advice)
        })
    }
}

impl Known {
    /// Reads the file again if it has changed. A look at its time costs microseconds, and operators are few.
    fn renew(&self) {
        let now = changed(&self.path);
        if self.list.load().changed == now {
            return;
        }
        let file = match OperatorsFile::load(&self.path) {
            Ok(file) => file,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    action = "mend the file",
                    "the operators cannot be read again: those known before stay"
                );
                self.list.load().file.clone()
            }
        };
        self.list.store(Arc::new(Loaded { changed: now, file }));
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

#[cfg(test)]
mod tests {
    use api::operators::Role;
    use api::problem::Kind;

    use super::{Caller, OperatorEntry, Operators, OperatorsFile, new_token};

    #[test]
    fn a_role_is_needed_and_a_token_names_its_operator() {
        let ((one, one_hash), (two, two_hash)) = (new_token(), new_token());
        let entry = |name: &str, role, token_sha256: &str| OperatorEntry {
            name: name.into(),
            role,
            token_sha256: token_sha256.into(),
        };
        let operators = vec![entry("ana", Role::Operate, &one_hash), entry("scraper", Role::View, &two_hash)];
        let file = OperatorsFile { anonymous: None, operators };
        let named = |name: &str| Ok(Caller { name: Some(name.to_owned()) });
        assert_eq!(file.admit(Some(&one), Role::Operate), named("ana"));
        assert_eq!(file.admit(Some(&two), Role::View), named("scraper"));
        assert_eq!(file.admit(Some(&two), Role::Operate), Err(Kind::OperatorMayNot));
        assert_eq!(file.admit(Some(&one_hash), Role::View), Err(Kind::OperatorTokenWrong), "the file opens nothing");
        assert_eq!(file.admit(None, Role::View), Err(Kind::OperatorTokenMissing));
        let open = OperatorsFile { anonymous: Some(Role::View), ..file };
        assert_eq!(open.admit(None, Role::View), Ok(Caller { name: None }));
        assert_eq!(open.admit(None, Role::Operate), Err(Kind::OperatorTokenMissing));
    }

    #[test]
    fn a_file_is_read_again_and_a_damaged_one_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("operators.toml");
        let (token, hash) = new_token();
        let entry = format!("[[operators]]\nname = \"ana\"\nrole = \"operate\"\ntoken_sha256 = \"{hash}\"\n");
        std::fs::write(&path, &entry).expect("writes");
        let operators = Operators::load(Some(&path)).expect("loads");
        let mut headers = hyper::HeaderMap::new();
        headers.insert("authorization", format!("Bearer {token}").parse().expect("a header"));
        let touch = |text: &str, second: u64| {
            std::fs::write(&path, text).expect("writes");
            let file = std::fs::File::options().append(true).open(&path).expect("opens");
            let at = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second);
            file.set_modified(at).expect("sets the time");
        };
        assert!(operators.admit(&hyper::Uri::from_static("/"), &headers, Role::Operate).is_ok());
        touch("operators = 7", 1_000);
        assert!(
            operators.admit(&hyper::Uri::from_static("/"), &headers, Role::Operate).is_ok(),
            "those known before stay"
        );
        touch(&entry.replace("operate\"", "view\""), 2_000);
        assert!(operators.admit(&hyper::Uri::from_static("/"), &headers, Role::Operate).is_err());
        for bad in
            [entry.replace(&hash, "00"), entry.replace("ana", ""), format!("{entry}{entry}"), format!("x = 1\n{entry}")]
        {
            touch(&bad, 3_000);
            assert!(OperatorsFile::load(&path).is_err(), "{bad}");
        }
        assert!(Operators::load(None).is_ok_and(|open| {
            open.admit(&hyper::Uri::from_static("/"), &hyper::HeaderMap::new(), Role::Operate).is_ok()
        }));
    }
}
