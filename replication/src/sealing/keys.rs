//! What sealing needs of the driver: small files outside the data, and random bytes.

use super::KeyName;
use crate::storage::StorageError;
use crate::time::Wall;

/// Small files beside the data. Whatever a method did is durable when it returns, its name in the folder included.
///
/// A crash during [`KeyFiles::write`] or [`KeyFiles::overwrite`] may leave any part of it done.
pub trait KeyFiles {
    /// Every key file that there is, with its contents.
    ///
    /// # Errors
    /// [`StorageError`] if one cannot be read.
    fn all(&self) -> Result<Vec<(KeyName, Vec<u8>)>, StorageError>;

    /// Makes a file. After a crash it is there whole, or not at all.
    ///
    /// # Errors
    /// [`StorageError`] if that fails.
    fn create(&self, name: KeyName, contents: &[u8]) -> Result<(), StorageError>;

    /// Writes from an offset on, which may lie behind the end of the file; zeros fill what is between.
    ///
    /// # Errors
    /// [`StorageError`] if that fails.
    fn write(&self, name: KeyName, offset: u64, bytes: &[u8]) -> Result<(), StorageError>;

    /// Overwrites `length` bytes with zeros at each of these offsets, in place.
    ///
    /// # Errors
    /// [`StorageError`] if that fails.
    fn overwrite(&self, name: KeyName, offsets: &[u64], length: usize) -> Result<(), StorageError>;

    /// Overwrites a file with zeros and removes it. After a crash it is there whole, or not at all. Does nothing if there
    /// is none.
    ///
    /// # Errors
    /// [`StorageError`] if that fails.
    fn destroy(&self, name: KeyName) -> Result<(), StorageError>;

    /// Remembers that every document that expires at `over` or before is over, before their files are destroyed.
    ///
    /// # Errors
    /// [`StorageError`] if that fails.
    fn set_over(&self, over: Wall) -> Result<(), StorageError>;

    /// What [`KeyFiles::set_over`] was told last; the epoch if nothing, `None` if that is damaged.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be read.
    fn over(&self) -> Result<Option<Wall>, StorageError>;

    /// Whether a new file may take the place of a damaged one. What was sealed with it is damaged then, and comes back from
    /// peers. Asked before anything is destroyed, so that the operator can be told.
    fn may_replace(&self, _damaged: KeyName) -> bool {
        false
    }

    /// Says what was destroyed for good, after it is durable: for metrics and a log of destruction.
    fn note(&self, destroyed: Destroyed);
}

/// What was made unreadable for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destroyed {
    /// This many documents that were erased before their time, or that were not here and are erased elsewhere.
    Documents(usize),
    /// All that one file was for.
    File(KeyName),
}

/// Fills 16 bytes; must be random in production and drawn from the seed in a simulation.
pub type RandomBytes = Box<dyn FnMut() -> [u8; 16] + Send + Sync>;
