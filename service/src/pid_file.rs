//! The file with a process's id, for scripts that send it signals.
//!
//! # Invariants
//! - A process writes its id only when it has its listeners. Otherwise a second process that fails to start would put its
//!   own id in the place of that of the one which runs, and then remove the file.
//! - A process removes only a file with its own id.

use std::io;
use std::path::{Path, PathBuf};

/// A file with this process's id, removed when the value is dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    is_left: bool,
}

/// Why the file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the process id to {}", path.display())]
pub struct PidFileError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl PidFile {
    /// Checks that it can be written, and changes nothing.
    ///
    /// # Errors
    /// [`PidFileError`].
    pub fn check(path: &Path) -> Result<(), PidFileError> {
        let is_new = !path.exists();
        let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
        let checked = opened.and_then(|_| if is_new { std::fs::remove_file(path) } else { Ok(()) });
        checked.map_err(|source| PidFileError { path: path.to_owned(), source })
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`PidFileError`].
    pub fn write(path: &Path) -> Result<PidFile, PidFileError> {
        let written = std::fs::write(path, format!("{}\n", std::process::id()));
        written.map_err(|source| PidFileError { path: path.to_owned(), source })?;
        Ok(PidFile { path: path.to_owned(), is_left: false })
    }

    /// Leaves the file to the process that has replaced this one, which writes it at any moment: between a look at the file
    /// and its removal it may have become that process's.
    pub fn leave(mut self) {
        self.is_left = true;
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let is_own =
            || std::fs::read_to_string(&self.path).is_ok_and(|text| text.trim() == std::process::id().to_string());
        if !self.is_left
            && is_own()
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            let action = "remove the file; it names a process that has ended";
            tracing::warn!(path = %self.path.display(), %error, action, "the pid file cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PidFile;

    #[test]
    fn a_check_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        PidFile::check(&path).unwrap();
        assert!(!path.exists());
        std::fs::write(&path, "1\n").unwrap();
        PidFile::check(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n");
        assert!(PidFile::check(&folder.path().join("no/pid")).is_err());
    }

    #[test]
    fn the_file_goes_with_its_process_unless_it_is_left_to_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        drop(PidFile::write(&path).unwrap());
        assert!(!path.exists());
        PidFile::write(&path).unwrap().leave();
        assert!(path.exists());
        let pid = PidFile::write(&path).unwrap();
        std::fs::write(&path, "1\n").unwrap();
        drop(pid);
        assert!(path.exists(), "it is another process's");
    }
}
