//! A file that only takes room, so that a node on a full disk has some to give up.
//!
//! # The problem
//! Forgetting writes before it frees: the horizon is durable before a day's files go, and an engine that opens writes as
//! well. On a full disk these writes fail, so the one thing that would make room cannot begin.
//!
//! # The rule
//! The file is removed before the engine is opened on a disk that is full, and while the node runs when hardly anything is
//! left. It is made again once the disk has room for it beside the reserve.
//!
//! # Invariants
//! - The file has real blocks: a sparse file, or one that a file system compresses, would give nothing back.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::posix_fallocate;

/// Its name in the folder of the data.
const NAME: &str = "ballast";

/// The ballast of one store.
#[derive(Clone, Debug)]
pub(crate) struct Ballast {
    path: PathBuf,
    bytes: u64,
}

impl Ballast {
    /// The ballast of the store in `folder`; of 0 bytes for none.
    pub(crate) fn of(folder: &Path, bytes: u64) -> Ballast {
        Ballast { path: folder.join(NAME), bytes }
    }

    /// Bytes that it has, or would have.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it is there with all its blocks.
    pub(crate) fn is_there(&self) -> bool {
        // A block is 512 bytes here, whatever the file system says.
        self.bytes == 0 || fs::metadata(&self.path).is_ok_and(|file| file.blocks().saturating_mul(512) >= self.bytes)
    }

    /// Makes it, unless it is there. A file of another size is replaced.
    ///
    /// # Errors
    /// If the disk has no room for it; nothing is left then.
    pub(crate) fn make(&self) -> io::Result<()> {
        if self.is_there() {
            return Ok(());
        }
        self.remove()?;
        let made = self.allocate();
        if made.is_err() {
            self.remove()?;
        }
        made
    }

    fn allocate(&self) -> io::Result<()> {
        let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&self.path)?;
        let bytes = i64::try_from(self.bytes).map_err(io::Error::other)?;
        // Where a file system cannot allocate, the C library writes zeros.
        posix_fallocate(&file, 0, bytes)?;
        file.sync_all()
    }

    /// Gives its room back. Returns whether there was any.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub(crate) fn remove(&self) -> io::Result<bool> {
        match fs::remove_file(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
        // A journal gives blocks back only once the removal is in it.
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::{Ballast, NAME};

    const MIB: u64 = 1 << 20;

    #[test]
    fn it_has_real_blocks_and_gives_them_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let ballast = Ballast::of(folder.path(), 2 * MIB);
        assert!(!ballast.is_there() && !ballast.remove().expect("nothing is there"));
        ballast.make().expect("there is room");
        let path = folder.path().join(NAME);
        assert!(ballast.is_there() && fs::metadata(&path).expect("is there").blocks() * 512 >= 2 * MIB);
        ballast.make().expect("it is there already");
        // A sparse file of the same length is replaced.
        fs::remove_file(&path).expect("removes");
        fs::File::create(&path).expect("creates").set_len(2 * MIB).expect("grows");
        assert!(!ballast.is_there());
        ballast.make().expect("there is room");
        assert!(ballast.is_there() && ballast.remove().expect("removes") && !path.exists());
    }

    #[test]
    fn what_does_not_fit_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let ballast = Ballast::of(folder.path(), u64::MAX / 4);
        ballast.make().expect_err("no disk has so much");
        assert!(!folder.path().join(NAME).exists());
        Ballast::of(folder.path(), 0).make().expect("nothing to do");
        assert!(!folder.path().join(NAME).exists());
    }
}
