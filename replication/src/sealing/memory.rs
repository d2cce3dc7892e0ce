//! Key files in memory, for tests and simulations.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Destroyed, KeyFiles, KeyName};
use crate::storage::StorageError;
use crate::time::Wall;

#[derive(Debug, Default)]
struct Inner {
    files: BTreeMap<KeyName, Vec<u8>>,
    over: Wall,
    destroyed: Vec<Destroyed>,
    /// Calls until one fails half done, and all after it.
    left: Option<usize>,
    /// Whether the one that fails first is half done.
    in_half: bool,
}

/// In-memory key files; clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryKeys(Arc<Mutex<Inner>>);

impl MemoryKeys {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was destroyed so far.
    #[must_use]
    pub fn destroyed(&self) -> Vec<Destroyed> {
        self.lock().destroyed.clone()
    }

    /// The machine dies in the call after the next `calls` ones that write: that call is half done, or not at all, and it
    /// and all later ones fail. `None` ends that.
    pub fn die_after(&self, calls: Option<usize>, in_half: bool) {
        let mut inner = self.lock();
        (inner.left, inner.in_half) = (calls, in_half);
    }

    /// Some of the files as they are now, on their own: what a thief finds on a disk.
    #[must_use]
    pub fn copied(&self, wanted: impl Fn(&KeyName) -> bool) -> MemoryKeys {
        let Inner { files, over, .. } = &*self.lock();
        let files = files.iter().filter(|(name, _)| wanted(name)).map(|(name, bytes)| (*name, bytes.clone())).collect();
        MemoryKeys(Arc::new(Mutex::new(Inner { files, over: *over, ..Inner::default() })))
    }
}

impl Inner {
    /// Whether a call is done whole.
    fn is_whole(&mut self) -> Option<bool> {
        match &mut self.left {
            None => Some(true),
            // Further calls find no machine.
            Some(usize::MAX) => None,
            Some(0) => {
                self.left = Some(usize::MAX);
                self.in_half.then_some(false)
            }
            Some(left) => {
                *left -= 1;
                Some(true)
            }
        }
    }

    fn write(&mut self, act: impl FnOnce(&mut BTreeMap<KeyName, Vec<u8>>, bool)) -> Result<(), StorageError> {
        let whole = self.is_whole();
        if let Some(whole) = whole {
            act(&mut self.files, whole);
        }
        if whole == Some(true) { Ok(()) } else { Err(StorageError::Poisoned) }
    }
}

impl KeyFiles for MemoryKeys {
    fn all(&self) -> Result<Vec<(KeyName, Vec<u8>)>, StorageError> {
        Ok(self.lock().files.iter().map(|(name, contents)| (*name, contents.clone())).collect())
    }

    fn create(&self, name: KeyName, contents: &[u8]) -> Result<(), StorageError> {
        self.lock().write(|files, whole| {
            if whole {
                files.insert(name, contents.to_vec());
            }
        })
    }

    fn write(&self, name: KeyName, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.lock().write(|files, whole| {
            let length = if whole { bytes.len() } else { bytes.len() / 3 };
            let file = files.entry(name).or_default();
            file.resize(usize::try_from(offset).unwrap_or(file.len()), 0);
            file.extend_from_slice(&bytes[..length]);
        })
    }

    fn overwrite(&self, name: KeyName, offsets: &[u64], length: usize) -> Result<(), StorageError> {
        self.lock().write(|files, whole| {
            let file = files.entry(name).or_default();
            let done = if whole { offsets.len() } else { offsets.len() / 2 };
            for offset in &offsets[..done] {
                let start = usize::try_from(*offset).unwrap_or(usize::MAX).min(file.len());
                let end = start.saturating_add(length).min(file.len());
                file[start..end].fill(0);
            }
        })
    }

    fn destroy(&self, name: KeyName) -> Result<(), StorageError> {
        self.lock().write(|files, whole| {
            if whole {
                files.remove(&name);
            }
        })
    }

    fn set_over(&self, over: Wall) -> Result<(), StorageError> {
        let mut inner = self.lock();
        inner.write(|_, _| ())?;
        inner.over = over;
        Ok(())
    }

    fn over(&self) -> Result<Option<Wall>, StorageError> {
        Ok(Some(self.lock().over))
    }

    fn note(&self, destroyed: Destroyed) {
        self.lock().destroyed.push(destroyed);
    }
}
