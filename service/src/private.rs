//! Files that no other user of the machine may read: the data of guests, and keys.
//!
//! # Invariants
//! - A process makes its files for its own user alone ([`hide_new_files`]).
//! - A key that other users can read is refused, because it may have been copied already.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The permission bits of users outside the file's group.
const OTHERS: u32 = 0o007;
/// Those of the file's group.
const GROUP: u32 = 0o070;

/// A key that other users can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} can be read by other users (mode {mode:o}): make a new key if they may have done so, then `chmod 600` its file",
    path.display()
)]
pub struct ExposedKey {
    path: PathBuf,
    mode: u32,
}

/// Why the file of a key cannot be used, whatever it holds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Other users can read it.
    #[error(transparent)]
    Exposed(#[from] ExposedKey),
}

/// From now on this process makes files that only its own user can read (umask 077).
pub fn hide_new_files() {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
}

/// Checks that no other user can read a key. A key of root may be readable by its group, as it is where a service manager
/// hands it out (PostgreSQL has the same rule). A file that cannot be looked at passes, because reading it says why.
///
/// # Errors
/// [`ExposedKey`].
pub fn check_key(path: &Path) -> Result<(), ExposedKey> {
    let Ok(metadata) = std::fs::metadata(path) else { return Ok(()) };
    let mode = metadata.permissions().mode() & 0o777;
    let is_exposed = mode & OTHERS != 0 || mode & GROUP != 0 && metadata.uid() != 0;
    if is_exposed { Err(ExposedKey { path: path.to_owned(), mode }) } else { Ok(()) }
}

/// The contents of a key's file that no other user can read.
///
/// # Errors
/// [`KeyFileError`].
pub fn read_key(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    check_key(path)?;
    std::fs::read(path).map_err(|source| KeyFileError::Read { path: path.to_owned(), source })
}

/// Makes a folder that only this process's user can enter, or takes the rights of other users away from one that exists.
/// Returns whether they had any.
///
/// # Errors
/// If the folder cannot be made, or its rights cannot be changed.
pub fn make_folder(folder: &Path) -> io::Result<bool> {
    let is_new = !folder.exists();
    std::fs::create_dir_all(folder)?;
    let mode = std::fs::metadata(folder)?.permissions().mode();
    if mode & (OTHERS | GROUP) == 0 {
        return Ok(false);
    }
    match std::fs::set_permissions(folder, Permissions::from_mode(mode & !(OTHERS | GROUP))) {
        Ok(()) => Ok(!is_new),
        // The folder belongs to another user, as the root of a volume may. Its files are still this user's alone.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let action = "let it belong to the user of this process, with mode 700";
            tracing::warn!(folder = %folder.display(), action, "other users of this machine can look into a folder");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::{check_key, make_folder};

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        std::fs::write(&key, "secret").unwrap();
        for (mode, is_good) in [(0o600, true), (0o400, true), (0o644, false), (0o604, false), (0o601, false)] {
            std::fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
            assert_eq!(check_key(&key).is_ok(), is_good, "{mode:o}");
        }
        assert!(check_key(&folder.path().join("none")).is_ok(), "reading it says that it is missing");
    }

    #[test]
    fn a_folder_with_data_is_closed_to_others() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a").join("store");
        assert!(!make_folder(&folder).unwrap(), "a new one was never open");
        let mode = || std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o700);
        std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        assert!(make_folder(&folder).unwrap() && mode() == 0o700);
        assert!(!make_folder(&folder).unwrap());
    }
}
