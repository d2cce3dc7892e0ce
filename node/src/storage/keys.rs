//! Key files on a file system ([`KeyName`]).
//!
//! | name | what it is |
//! | --- | --- |
//! | `arrivals-495312`, `lasting` | a tree of keys |
//! | `expiries-495648` | the secret of an hour |
//! | `new-...`, `gone-...` | a file that is being made, or destroyed |
//! | `over` | up to when every expiry is over, in Unix milliseconds, twice because a flipped bit makes another number |
//! | `destroyed.jsonl`, `destroyed.1.jsonl` | what was destroyed and when, without a name of any document |
//!
//! Keys are overwritten in place, because a new file leaves the blocks of the old one readable. That is of use only where
//! the file system writes in place as well: ext4 and XFS do, btrfs and ZFS do not.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use replication::{Destroyed, KeyFiles, KeyName, StorageError, Wall};

use super::engine;
use crate::metrics::Metrics;

const NEW: &str = "new-";
const GONE: &str = "gone-";
const OVER: &str = "over";
const LOG: &str = "destroyed.jsonl";
const OLD_LOG: &str = "destroyed.1.jsonl";
/// Bytes after which the log of destruction begins a new file. The one before the last is removed.
const LOG_BYTES: u64 = 1 << 20;

/// The key files of one store.
pub(crate) struct FolderOfKeys {
    folder: PathBuf,
    /// Whether peers can send what a damaged key file makes unreadable.
    has_peers: bool,
    metrics: Arc<Metrics>,
}

impl FolderOfKeys {
    /// The key files in `folder`, which is made if need be.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be made.
    pub(crate) fn open(folder: PathBuf, has_peers: bool, metrics: Arc<Metrics>) -> Result<FolderOfKeys, StorageError> {
        let made = service::private::make_folder(&folder);
        // Its own name as well, otherwise a power cut could leave rows without their keys.
        let forced = made.and_then(|_| folder.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all()));
        forced.map_err(engine("made the folder of the keys"))?;
        Ok(FolderOfKeys { folder, has_peers, metrics })
    }

    fn path(&self, name: KeyName) -> PathBuf {
        self.folder.join(name.to_string())
    }

    /// Makes names durable that were given or taken in the folder.
    fn force_names(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    /// Puts a whole file in place: it is there with all its contents, or not at all.
    fn put(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        let new = self.folder.join(format!("{NEW}{name}"));
        let mut file = File::create(&new)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&new, self.folder.join(name))?;
        self.force_names()
    }

    /// Overwrites a file that has no name any more that counts, and removes it.
    fn wipe(&self, path: &Path) -> io::Result<()> {
        overwrite(path)?;
        fs::remove_file(path)?;
        self.force_names()
    }

    /// Adds a line to the log of destruction. That it cannot be written stops nothing.
    fn log(&self, line: &serde_json::Value) {
        let path = self.folder.join(LOG);
        let written = (|| {
            if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_BYTES) {
                fs::rename(&path, self.folder.join(OLD_LOG))?;
            }
            writeln!(OpenOptions::new().create(true).append(true).open(&path)?, "{line}")
        })();
        if let Err(error) = written {
            tracing::warn!(%error, "the log of destroyed keys cannot be written; the keys are destroyed");
        }
    }
}

/// Overwrites a whole file.
fn overwrite(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    file.write_all_at(&vec![0; length], 0)?;
    file.sync_all()
}

/// Overwrites every file in a folder of keys that no store needs any more, if there is such a folder.
pub(super) fn overwrite_all(folder: &Path) -> io::Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    fs::read_dir(folder)?.try_for_each(|entry| overwrite(&entry?.path()))
}

impl KeyFiles for FolderOfKeys {
    fn all(&self) -> Result<Vec<(KeyName, Vec<u8>)>, StorageError> {
        let read = || -> io::Result<_> {
            let mut found = Vec::new();
            for entry in fs::read_dir(&self.folder)? {
                let entry = entry?;
                let name = entry.file_name();
                let Some(name) = name.to_str() else { continue };
                if name.starts_with(NEW) || name.starts_with(GONE) {
                    self.wipe(&entry.path())?;
                } else if let Ok(key_name) = name.parse() {
                    let (mut file, mut contents) = (File::open(entry.path())?, Vec::new());
                    file.read_to_end(&mut contents)?;
                    // A process that was killed may have left it in the page cache alone.
                    file.sync_all()?;
                    found.push((key_name, contents));
                }
            }
            self.force_names()?;
            Ok(found)
        };
        read().map_err(engine("read its key files"))
    }

    fn create(&self, name: KeyName, contents: &[u8]) -> Result<(), StorageError> {
        self.put(&name.to_string(), contents).map_err(engine("made a key file"))
    }

    fn write(&self, name: KeyName, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let write = || {
            let file = OpenOptions::new().write(true).open(self.path(name))?;
            file.write_all_at(bytes, offset)?;
            file.sync_data()
        };
        write().map_err(engine("wrote a key file"))
    }

    fn overwrite(&self, name: KeyName, offsets: &[u64], length: usize) -> Result<(), StorageError> {
        let overwrite = || {
            let file = OpenOptions::new().write(true).open(self.path(name))?;
            let zeros = vec![0; length];
            offsets.iter().try_for_each(|offset| file.write_all_at(&zeros, *offset))?;
            file.sync_data()
        };
        overwrite().map_err(engine("destroyed keys"))
    }

    fn destroy(&self, name: KeyName) -> Result<(), StorageError> {
        let path = self.path(name);
        let gone = self.folder.join(format!("{GONE}{name}"));
        let destroy = || match fs::rename(&path, &gone) {
            Ok(()) => self.force_names().and_then(|()| self.wipe(&gone)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        destroy().map_err(engine("destroyed a key file"))
    }

    fn set_over(&self, over: Wall) -> Result<(), StorageError> {
        self.put(OVER, format!("{0} {0}", over.0).as_bytes()).map_err(engine("wrote which keys are over"))
    }

    fn over(&self) -> Result<Option<Wall>, StorageError> {
        let contents = match fs::read(self.folder.join(OVER)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Wall::default())),
            contents => contents.map_err(engine("read which keys are over"))?,
        };
        let text = str::from_utf8(&contents).unwrap_or_default();
        let over = text.split_once(' ').filter(|(one, other)| one == other).and_then(|(over, _)| over.parse().ok());
        if over.is_none() {
            tracing::error!(
                action = "check the disk",
                "the note of which keys are over is damaged: the store's own horizon takes its place"
            );
        }
        Ok(over.map(Wall))
    }

    fn may_replace(&self, damaged: KeyName) -> bool {
        if self.has_peers {
            tracing::error!(
                file = %damaged, action = "wait; check the disk",
                "a key file is damaged: a new one takes its place, and the peers send what was sealed with it"
            );
        }
        self.has_peers
    }

    fn note(&self, destroyed: Destroyed) {
        let at = jiff::Timestamp::now();
        // The metric comes last, because a reader who has seen it looks for the line.
        match destroyed {
            Destroyed::Documents(count) => {
                self.log(&serde_json::json!({ "at": at, "documents": count }));
                self.metrics.destroyed("early", count);
            }
            Destroyed::File(name) => {
                self.log(&serde_json::json!({ "at": at, "file": name.to_string() }));
                if let KeyName::Expiries(_) = name {
                    self.metrics.destroyed("expired", 1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use replication::{KeyFiles as _, KeyName, Wall};

    use super::{FolderOfKeys, OVER};
    use crate::metrics::Metrics;

    fn keys(folder: &tempfile::TempDir) -> FolderOfKeys {
        FolderOfKeys::open(folder.path().join("keys"), false, Arc::new(Metrics::new().unwrap())).unwrap()
    }

    #[test]
    fn every_flipped_bit_of_the_note_of_what_is_over_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(&folder);
        assert_eq!(keys.over().unwrap(), Some(Wall(0)));
        keys.set_over(Wall(1_800_000_000_000)).unwrap();
        assert_eq!(keys.over().unwrap(), Some(Wall(1_800_000_000_000)));
        let path = keys.folder.join(OVER);
        let whole = fs::read(&path).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, flipped).unwrap();
            assert_eq!(keys.over().unwrap(), None, "bit {bit}");
        }
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(keys.over().unwrap(), None, "{length} bytes");
        }
    }

    #[test]
    fn a_file_is_made_whole_and_destroyed_whole() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(&folder);
        let name = KeyName::Expiries(5);
        keys.create(name, b"a secret").unwrap();
        keys.write(name, 10, b"more").unwrap();
        keys.overwrite(name, &[0], 8).unwrap();
        assert_eq!(keys.all().unwrap(), [(name, b"\0\0\0\0\0\0\0\0\0\0more".to_vec())]);
        // As a crash leaves them.
        for begun in ["new-expiries-6", "gone-expiries-7"] {
            fs::write(keys.folder.join(begun), b"a secret").unwrap();
        }
        keys.destroy(name).unwrap();
        keys.destroy(name).unwrap();
        assert_eq!(keys.all().unwrap(), []);
        assert_eq!(fs::read_dir(&keys.folder).unwrap().count(), 0);
    }

    /// A second name of the file shows what its blocks hold after the first one is gone.
    #[test]
    fn the_keys_of_a_store_that_is_removed_are_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(&folder);
        keys.create(KeyName::Expiries(5), b"a secret").unwrap();
        let other = tempfile::tempdir().unwrap();
        let second = other.path().join("second");
        fs::hard_link(keys.path(KeyName::Expiries(5)), &second).unwrap();
        crate::storage::remove(folder.path()).unwrap();
        assert!(!folder.path().exists());
        assert_eq!(fs::read(second).unwrap(), [0; 8]);
        // What is no store, such as one that a restore has not finished, goes as well.
        fs::create_dir(folder.path()).unwrap();
        crate::storage::remove(folder.path()).unwrap();
    }
}
