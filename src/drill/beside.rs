//! The files that a drill makes beside the store of a node: they hold guests' data, so they are removed at its end.
//!
//! # Invariants
//! - They lie in one folder, which only this user can enter, on the file system of the store: a store changes places with
//!   another one by renaming.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Beside {
    pub(crate) folder: PathBuf,
}

impl Beside {
    /// The one beside a store.
    pub(crate) fn of(store: &Path) -> Beside {
        let mut name = store.file_name().map(OsString::from).unwrap_or_default();
        name.push("-drill");
        Beside { folder: store.with_file_name(name) }
    }

    /// The backup.
    pub(crate) fn backup(&self) -> PathBuf {
        self.folder.join("backup.age")
    }

    /// The store that was made of the backup, before it takes the place of the node's own.
    pub(crate) fn restored(&self) -> PathBuf {
        self.folder.join("restored")
    }

    /// The node's own store, while the restored one has its place.
    pub(crate) fn aside(&self) -> PathBuf {
        self.folder.join("aside")
    }

    /// The restored store, once the node's own has its place again.
    pub(crate) fn given_up(&self) -> PathBuf {
        self.folder.join("given-up")
    }

    /// What lies there, in words, with what it means for an operator; `None` if there is nothing.
    pub(crate) fn left(&self) -> Option<String> {
        if !self.folder.exists() {
            return None;
        }
        let parts = [
            (self.backup(), "a backup that no key opens any more"),
            (self.aside(), "the node's own store, with guests' data, which was set aside"),
            (self.restored(), "a store that was made of the backup and not used, with guests' data"),
            (
                self.given_up(),
                "a restored store that was given up, with guests' data: it may have check-ins of its own",
            ),
        ];
        let there = parts.iter().filter(|(path, _)| path.exists());
        let there: Vec<String> = there.map(|(path, what)| format!("{} ({what})", path.display())).collect();
        let what = if there.is_empty() { "nothing".to_owned() } else { there.join(", ") };
        Some(format!("{}: {what}", self.folder.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::Beside;

    #[test]
    fn what_an_earlier_drill_left_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let beside = Beside::of(&folder.path().join("store"));
        assert_eq!(beside.left(), None);
        std::fs::create_dir_all(beside.aside()).unwrap();
        std::fs::write(beside.backup(), "").unwrap();
        let said = beside.left().unwrap();
        assert!(said.contains("store-drill/backup.age (") && said.contains("store-drill/aside ("), "{said}");
        assert!(!said.contains("restored"), "{said}");
    }
}
