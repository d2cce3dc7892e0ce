//! All keys: seals and opens values, and gathers what is to be written to the key files.

use std::collections::BTreeMap;
use std::time::Duration;

use aes::Aes128;
use aes::cipher::{Array, BlockCipherEncrypt as _};
use aes_gcm_siv::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm_siv::{Aes128GcmSiv, Nonce, Tag};

use super::arrivals::{Arrivals, NoLeaf, Unwritten};
use super::file::{Generation, SecretFile, TreeFile};
use super::generator::Node;
use super::{KeyName, RandomBytes};
use crate::key::{Bucket, DocumentKey, DocumentName};
use crate::storage::StorageError;
use crate::time::Wall;

/// First byte of a sealed value. A row that is not sealed begins with 0 or 1 (`row.rs`).
const SEALED: u8 = 2;
const GENERATION_LEN: usize = size_of::<Generation>();
const TAG_LEN: usize = 16;
/// Of documents that do not expire.
const NO_GENERATION: Generation = [0; GENERATION_LEN];

/// A value as it was read from the engine.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// What was sealed; or the value itself if it was stored before there was sealing.
    Value(Vec<u8>),
    /// Its key is destroyed.
    Erased,
    /// Its key is there and does not fit, or its key is lost.
    Unreadable,
}

/// The secret of one hour of expiries.
struct Expiries {
    generation: Generation,
    secret: Aes128,
}

/// All keys that are not destroyed.
pub(super) struct Keyring {
    trees: BTreeMap<KeyName, Arrivals>,
    secrets: BTreeMap<KeyName, Expiries>,
    random: RandomBytes,
    max_retention: Duration,
    /// Every document that expires here or before is over.
    over: Wall,
}

impl Keyring {
    /// No keys.
    pub(super) fn new(random: RandomBytes, max_retention: Duration, over: Wall) -> Keyring {
        Keyring { trees: BTreeMap::new(), secrets: BTreeMap::new(), random, max_retention, over }
    }

    /// Takes up a key file. Returns the offsets of slots that an erasure which was cut short has left.
    ///
    /// # Errors
    /// [`StorageError::KeyFile`] if it is none.
    pub(super) fn take_up(&mut self, name: KeyName, contents: &[u8]) -> Result<Vec<u64>, StorageError> {
        let broken = || StorageError::KeyFile { name: name.to_string() };
        if let KeyName::Expiries(_) = name {
            let SecretFile { generation, secret } = SecretFile::decode(contents).ok_or_else(broken)?;
            self.secrets.insert(name, Expiries { generation, secret: Aes128::new(&secret.0.into()) });
            return Ok(Vec::new());
        }
        let (arrivals, left) = Arrivals::of(TreeFile::decode(contents).ok_or_else(broken)?);
        self.trees.insert(name, arrivals);
        Ok(left)
    }

    /// The files that a document's key needs and that are not there.
    pub(super) fn missing(&self, key: &DocumentKey) -> impl Iterator<Item = KeyName> {
        let tree = KeyName::tree(&key.name, key.bucket() == Bucket::Lasting);
        let tree = Some(tree).filter(|tree| !self.trees.contains_key(tree));
        let secret = KeyName::secret(key).filter(|secret| !self.secrets.contains_key(secret));
        tree.into_iter().chain(secret)
    }

    /// Whether a tree is there.
    pub(super) fn has_tree(&self, name: KeyName) -> bool {
        self.trees.contains_key(&name)
    }

    /// Whether a tree has lost nodes.
    pub(super) fn is_damaged(&self, name: KeyName) -> bool {
        self.trees.get(&name).is_some_and(Arrivals::is_damaged)
    }

    /// Whether a stored value is sealed.
    pub(super) fn is_sealed(stored: &[u8]) -> bool {
        stored.first() == Some(&SEALED)
    }

    /// Whether the files of a sealed document are lost, because its time is not over.
    pub(super) fn is_lost(&self, key: &DocumentKey) -> bool {
        let is_needed = |name: KeyName| name.needed_until(self.max_retention) > self.over;
        !self.is_over(key) && self.missing(key).any(is_needed)
    }

    /// The latest moment through which everything is over.
    pub(super) fn over(&self) -> Wall {
        self.over
    }

    /// Draws the contents of a new key file.
    pub(super) fn draw(&mut self, name: KeyName) -> Vec<u8> {
        match name {
            KeyName::Arrivals(_) | KeyName::Lasting => TreeFile::encode_new((self.random)(), &Node((self.random)())),
            KeyName::Expiries(_) => {
                let [a, b, c, d, ..] = (self.random)();
                SecretFile { generation: [a, b, c, d], secret: Node((self.random)()) }.encode()
            }
        }
    }

    fn is_over(&self, key: &DocumentKey) -> bool {
        KeyName::secret(key).is_some_and(|secret| secret.needed_until(self.max_retention) <= self.over)
    }

    fn generation(&self, key: &DocumentKey) -> Option<Generation> {
        match KeyName::secret(key) {
            Some(secret) => Some(self.secrets.get(&secret)?.generation),
            None => Some(NO_GENERATION),
        }
    }

    /// The document's own key: its leaf, encrypted with the secret of its hour. Without the leaf it is a permutation of an
    /// unknown random block, without the secret the value of a pseudorandom function: either one is enough to lose it.
    fn cipher(&self, key: &DocumentKey) -> Result<Aes128GcmSiv, NoLeaf> {
        let arrivals = self.trees.get(&KeyName::tree(&key.name, key.bucket() == Bucket::Lasting));
        let leaf = arrivals.ok_or(NoLeaf::Lost)?.leaf(&key.name)?;
        let mut own = Array::from(leaf.0);
        if let Some(secret) = KeyName::secret(key) {
            self.secrets.get(&secret).ok_or(NoLeaf::Lost)?.secret.encrypt_block(&mut own);
        }
        let own = Node(own.into());
        Ok(Aes128GcmSiv::new(&own.0.into()))
    }

    /// Seals a value of a document; `None` if the document's key is destroyed.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if its key is lost.
    pub(super) fn seal(&self, key: &DocumentKey, value: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let lost = || StorageError::Corrupt { what: "key file", bucket: key.bucket() };
        let cipher = match self.cipher(key) {
            Ok(cipher) => cipher,
            Err(NoLeaf::Destroyed) => return Ok(None),
            Err(NoLeaf::Lost) => return Err(lost()),
        };
        let generation = self.generation(key).ok_or_else(lost)?;
        let mut sealed = Vec::with_capacity(1 + GENERATION_LEN + value.len() + TAG_LEN);
        sealed.push(SEALED);
        sealed.extend_from_slice(&generation);
        let start = sealed.len();
        sealed.extend_from_slice(value);
        // Every document has a key of its own, and this mode gives away of two values under one key and one nonce only
        // whether they are equal (RFC 8452 section 1). So the nonce can be constant.
        let text = sealed.get_mut(start..).ok_or_else(lost)?;
        let tag = cipher.encrypt_inout_detached(&Nonce::default(), &key.encode(), text.into()).map_err(|_| lost())?;
        sealed.extend_from_slice(&tag);
        Ok(Some(sealed))
    }

    /// Opens a stored value of a document.
    pub(super) fn open(&self, key: &DocumentKey, stored: &[u8]) -> Opened {
        let Some(sealed) = stored.strip_prefix(&[SEALED]) else { return Opened::Value(stored.to_vec()) };
        let Some((generation, sealed)) = sealed.split_first_chunk::<GENERATION_LEN>() else {
            return Opened::Unreadable;
        };
        let Some((text, tag)) = sealed.split_last_chunk::<TAG_LEN>() else { return Opened::Unreadable };
        if self.generation(key).as_ref() != Some(generation) {
            return if self.is_over(key) { Opened::Erased } else { Opened::Unreadable };
        }
        let cipher = match self.cipher(key) {
            Ok(cipher) => cipher,
            Err(NoLeaf::Destroyed) => return Opened::Erased,
            Err(NoLeaf::Lost) => return Opened::Unreadable,
        };
        let mut text = text.to_vec();
        let tag = Tag::from(*tag);
        match cipher.decrypt_inout_detached(&Nonce::default(), &key.encode(), text.as_mut_slice().into(), &tag) {
            Ok(()) => Opened::Value(text),
            Err(_) => Opened::Unreadable,
        }
    }

    /// Destroys the key of every document of a name. [`Keyring::unwritten`] says what that means for the files. Does
    /// nothing if no document of that hour was ever stored.
    pub(super) fn puncture(&mut self, name: &DocumentName, lasting: bool) {
        if let Some(arrivals) = self.trees.get_mut(&KeyName::tree(name, lasting)) {
            arrivals.puncture(name);
        }
    }

    /// The same for a record that the engine had at a start ([`Arrivals::puncture_recorded`]).
    ///
    /// # Errors
    /// Those of `has_row`.
    pub(super) fn puncture_recorded(
        &mut self,
        name: &DocumentName,
        lasting: bool,
        has_row: impl FnOnce() -> Result<bool, StorageError>,
    ) -> Result<(), StorageError> {
        let arrivals = self.trees.get_mut(&KeyName::tree(name, lasting));
        arrivals.map_or(Ok(()), |arrivals| arrivals.puncture_recorded(name, has_row))
    }

    /// Whether names were punctured of which the engine has no record, so it went back in time.
    pub(super) fn is_ahead_of_the_engine(&self) -> bool {
        self.trees.values().any(Arrivals::is_ahead_of_the_engine)
    }

    /// Whether the keys of a name were destroyed.
    pub(super) fn is_destroyed(&self, name: &DocumentName, lasting: bool) -> bool {
        let arrivals = self.trees.get(&KeyName::tree(name, lasting));
        arrivals.is_some_and(|arrivals| arrivals.is_destroyed(name))
    }

    /// What the key files lack since the last call.
    pub(super) fn unwritten(&mut self) -> Vec<Unwritten> {
        self.trees.iter_mut().filter_map(|(name, arrivals)| arrivals.unwritten(*name)).collect()
    }

    /// The files that no document needs once everything is over that expires at `over` or before.
    pub(super) fn needless(&self, over: Wall) -> Vec<KeyName> {
        let names = self.secrets.keys().chain(self.trees.keys()).copied();
        names.filter(|name| name.needed_until(self.max_retention) <= over).collect()
    }

    /// Takes everything for over that expires at `over` or before, and forgets these files.
    pub(super) fn expire(&mut self, over: Wall, needless: &[KeyName]) {
        self.over = self.over.max(over);
        for name in needless {
            self.secrets.remove(name);
            self.trees.remove(name);
        }
    }
}

#[cfg(test)]
mod tests;
