//! Which key files there are, and which of them a document's key is made of.

use std::fmt;
use std::time::Duration;

use super::file::{SecretFile, TreeFile};
use crate::key::{Bucket, DocumentKey, DocumentName};
use crate::time::{HOUR_MS, Wall};

/// One key file. Hours are counted from 1970-01-01 (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyName {
    /// The tree of the documents that arrive in an hour.
    Arrivals(u32),
    /// The secret of the documents that expire in an hour.
    Expiries(u32),
    /// The tree of the documents that do not expire.
    Lasting,
}

impl KeyName {
    /// The tree with the leaf of a name.
    #[must_use]
    pub fn tree(name: &DocumentName, lasting: bool) -> KeyName {
        // The latest arrival that an id can carry has a number of hours far below the bound.
        if lasting { KeyName::Lasting } else { KeyName::Arrivals(hour(name.id.arrival())) }
    }

    /// The secret of a document's expiry; `None` if it does not expire.
    #[must_use]
    pub fn secret(key: &DocumentKey) -> Option<KeyName> {
        (key.bucket() != Bucket::Lasting).then(|| KeyName::Expiries(hour(key.expires_at)))
    }

    /// Whether these contents of the file have all their keys.
    #[must_use]
    pub fn is_whole(self, contents: &[u8]) -> bool {
        match self {
            KeyName::Expiries(_) => SecretFile::decode(contents).is_some(),
            KeyName::Arrivals(_) | KeyName::Lasting => {
                TreeFile::decode(contents).is_some_and(|tree| !tree.is_damaged())
            }
        }
    }

    /// The moment after which no document needs this file.
    #[must_use]
    pub fn needed_until(self, max_retention: Duration) -> Wall {
        let end = |hour: u32| Wall((u64::from(hour) + 1) * HOUR_MS);
        match self {
            KeyName::Arrivals(hour) => end(hour).plus(max_retention),
            KeyName::Expiries(hour) => end(hour),
            KeyName::Lasting => Wall::NEVER,
        }
    }
}

fn hour(at: Wall) -> u32 {
    u32::try_from(at.0 / HOUR_MS).unwrap_or(u32::MAX)
}

/// `arrivals-495312`, `expiries-495648` or `lasting`, as files are named.
impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyName::Arrivals(hour) => write!(f, "arrivals-{hour}"),
            KeyName::Expiries(hour) => write!(f, "expiries-{hour}"),
            KeyName::Lasting => f.write_str("lasting"),
        }
    }
}

impl std::str::FromStr for KeyName {
    type Err = ();

    fn from_str(s: &str) -> Result<KeyName, ()> {
        let (kind, hour) = s.split_once('-').unwrap_or((s, ""));
        match (kind, hour.parse()) {
            ("lasting", _) if hour.is_empty() => Ok(KeyName::Lasting),
            ("arrivals", Ok(hour)) => Ok(KeyName::Arrivals(hour)),
            ("expiries", Ok(hour)) => Ok(KeyName::Expiries(hour)),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::KeyName;
    use crate::key::{Collection, DocumentId, DocumentName, TenantId};
    use crate::time::Wall;

    #[test]
    fn files_are_named_by_the_hours_of_a_document() {
        let id = DocumentId::arriving(Wall(3_600_000 * 5 - 1), [1; 10]);
        let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id };
        let key = name.expiring(Wall(3_600_000 * 7));
        let (tree, secret) = (KeyName::tree(&name, false), KeyName::secret(&key).unwrap());
        assert_eq!((tree, secret), (KeyName::Arrivals(4), KeyName::Expiries(7)));
        let day = Duration::from_hours(24);
        assert_eq!((tree.needed_until(day), secret.needed_until(day)), (Wall(3_600_000 * 29), Wall(3_600_000 * 8)));
        let lasting = name.expiring(Wall::NEVER);
        assert_eq!((KeyName::tree(&name, true), KeyName::secret(&lasting)), (KeyName::Lasting, None));
        for name in [tree, secret, KeyName::Lasting] {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        for bad in ["", "arrivals", "arrivals-", "arrivals-x", "lasting-1", "new-arrivals-4", "destroyed.jsonl"] {
            assert_eq!(bad.parse::<KeyName>(), Err(()), "{bad}");
        }
    }
}
