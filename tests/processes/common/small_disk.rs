//! A small file system of its own for a node's data, which a test can fill.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system in memory; unmounted when dropped.
pub(crate) struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts it at `folder`, which is made. `None`, with a printed warning, where the test may not mount.
    pub(crate) fn mount(folder: &Path, mib: u32) -> Option<SmallDisk> {
        std::fs::create_dir_all(folder).unwrap();
        let size = format!("size={mib}M,mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "meridian-test"]).arg(folder).output();
        if mounted.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(SmallDisk { folder: folder.to_owned() });
        }
        eprintln!("\n!!! A FULL DISK WAS NOT TESTED HERE: mounting a small file system takes root ({mounted:?})\n");
        None
    }

    /// Takes all room but so many bytes.
    pub(crate) fn fill(&self, left: u64) {
        let disk = nix::sys::statvfs::statvfs(&self.folder).unwrap();
        let free = disk.blocks_available() * disk.fragment_size();
        let mut file = File::options().create(true).append(true).open(self.filler()).unwrap();
        let mut wanted = free.saturating_sub(left);
        let piece = [0; 4096];
        while wanted > 0 {
            let part = &piece[..usize::try_from(wanted.min(4096)).unwrap()];
            match file.write(part) {
                Ok(count) => wanted -= count as u64,
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Gives the room back that `fill` took.
    pub(crate) fn empty(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Its processes may still end, so it goes as soon as they have.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}
