//! Damage that an engine finds in its files. What is damaged is set aside at a start, and peers fill the store again.
//!
//! # The problem
//! Both engines check what they read, and report damage as an error, or panic (sled). Some is found when the store is
//! opened, the rest when it is read, perhaps for the first time in weeks. A node that stops at each damaged page and starts
//! again would never come back.
//!
//! # The algorithm
//! 1. A node that ends because its store failed leaves the file `suspect`. It names a bucket if it is known which.
//! 2. The next start reads the whole store before it uses it. So it does if the engine does not open.
//! 3. The smallest part that the engine can be opened without is renamed to `damaged-...`: one bucket of sled, the whole
//!    database of fjall. The replica finds that buckets are missing and fetches everything again (`replica/open.rs`).
//! 4. If the store ends each process that reads it ([`deaths`]), all of it is renamed.
//!
//! A node without peers does not start instead, because the rest of a damaged store is then all that there is.
//!
//! What was set aside is removed once its longest retention is over. Its rows stay sealed, and their keys are destroyed
//! with those of all other rows.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use registry::LONGEST_RETENTION;
use replication::{Bucket, Storage, StorageError};

use super::{deaths, engine};

/// A node that failed leaves this file for the next one.
const SUSPECT: &str = "suspect";
/// What is set aside has a name with this prefix, beside the place where it was.
const DAMAGED: &str = "damaged-";

/// What an operator can do when something was set aside.
const ACTION: &str = "wait; check the disk";

/// What an engine does about damage in its files.
pub(super) trait Damaged: Storage + Sized {
    /// Whether an error of the engine says that its files are damaged. A full disk, one that does not answer, and files in use
    /// are no damage.
    fn is_damage(error: &(dyn Error + 'static)) -> bool;

    /// The folder of data that holds all its files.
    const WHOLE: &'static str;

    /// The folder in which damaged parts are set aside.
    fn folder(data: &Path) -> PathBuf;

    /// Sets aside the parts that do not open because they are damaged, and these buckets. Returns their new names.
    fn set_aside(data: &Path, unreadable: &BTreeSet<Bucket>) -> io::Result<Vec<String>>;
}

/// The engine panicked, as sled does at some damage.
#[derive(Debug, thiserror::Error)]
#[error("the engine panicked; its message is in the log")]
struct Panicked;

/// Notes that the store failed, so that the next start reads it whole. If that cannot be written, a start that fails again
/// is no worse.
pub(crate) fn suspect(data: &Path, error: &StorageError) {
    let bucket = match error {
        StorageError::Corrupt { bucket, .. } => bucket.to_string(),
        StorageError::Engine { .. } | StorageError::Poisoned => String::new(),
        _ => return,
    };
    let _ = fs::write(data.join(SUSPECT), bucket);
}

/// Opens an engine, without what is damaged if there are peers.
pub(super) fn open<S: Damaged>(
    data: &Path,
    has_peers: bool,
    open: impl Fn(&Path) -> Result<S, StorageError>,
) -> Result<S, StorageError> {
    let open = || catch_unwind(AssertUnwindSafe(|| open(data))).unwrap_or_else(|_| Err(panicked()));
    for folder in BTreeSet::from([data.to_owned(), S::folder(data)]) {
        remove_old(&folder).map_err(engine("removed what was set aside"))?;
    }
    if !has_peers {
        return open();
    }
    if data.join(S::WHOLE).exists() && deaths::is_deadly(data) {
        let aside = rename(data, S::WHOLE).map_err(engine("set the store aside"))?;
        tracing::error!(
            aside,
            action = ACTION,
            "the store is damaged and was set aside: the peers send what was in it"
        );
    }
    let suspected = fs::read_to_string(data.join(SUSPECT)).ok();
    let mut unreadable: BTreeSet<Bucket> = suspected.iter().filter_map(|bucket| bucket.parse().ok()).collect();
    let mut is_checked = suspected.is_some();
    loop {
        let failed = match open() {
            Ok(store) => {
                if is_checked {
                    unreadable.extend(unreadable_buckets(&store)?);
                }
                if unreadable.is_empty() {
                    forget_suspicion(data).map_err(engine("removed its note of a failure"))?;
                    return Ok(store);
                }
                // sled may panic once more.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(store)));
                None
            }
            Err(error) if is_damage::<S>(&error) => {
                tracing::error!(error = &error as &dyn Error, "the store does not open");
                Some(error)
            }
            Err(error) => return Err(error),
        };
        // On a disk that takes no writes an engine may fail, or panic, although nothing is damaged.
        takes_writes(data).map_err(engine("looked whether the disk takes writes"))?;
        is_checked = true;
        let aside = S::set_aside(data, &std::mem::take(&mut unreadable)).map_err(engine("set damaged files aside"))?;
        if aside.is_empty() {
            return Err(failed.unwrap_or_else(panicked));
        }
        tracing::error!(
            ?aside,
            action = ACTION,
            "parts of the store are damaged and were set aside: the peers send what was in them"
        );
    }
}

fn is_damage<S: Damaged>(error: &StorageError) -> bool {
    match error {
        StorageError::Corrupt { .. } => true,
        StorageError::Engine { source, .. } => source.is::<Panicked>() || S::is_damage(source.as_ref()),
        _ => false,
    }
}

/// Whether an error of the operating system can come from damaged files.
pub(super) fn is_damage_of_files(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
    matches!(error.kind(), InvalidData | NotFound | UnexpectedEof)
}

/// The buckets that cannot be read to their end, because they are damaged.
fn unreadable_buckets<S: Damaged>(store: &S) -> Result<BTreeSet<Bucket>, StorageError> {
    let mut unreadable = BTreeSet::new();
    for bucket in store.buckets() {
        let scan = || store.scan(bucket, &[], &[u8::MAX; 2], &mut |_, _| ControlFlow::Continue(()));
        match catch_unwind(AssertUnwindSafe(scan)).unwrap_or_else(|_| Err(panicked())) {
            Ok(()) => {}
            Err(error) if is_damage::<S>(&error) => {
                unreadable.insert(bucket);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(unreadable)
}

fn takes_writes(data: &Path) -> io::Result<()> {
    let probe = data.join("probe");
    let written = fs::File::create(&probe).and_then(|mut file| {
        file.write_all(&[0; 1 << 20])?;
        file.sync_all()
    });
    fs::remove_file(&probe)?;
    written
}

fn forget_suspicion(data: &Path) -> io::Result<()> {
    match fs::remove_file(data.join(SUSPECT)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Renames a folder, so that the engine does not see it any more. Returns its new name.
pub(super) fn rename(folder: &Path, name: &str) -> io::Result<String> {
    // A clock that was set back names a moment twice.
    let names = (jiff::Timestamp::now().as_second()..).map(|at| format!("{DAMAGED}{name}-{at}"));
    let damaged = names.into_iter().find(|name| !folder.join(name).exists()).ok_or(io::ErrorKind::AlreadyExists)?;
    fs::rename(folder.join(name), folder.join(&damaged))?;
    fs::File::open(folder)?.sync_all()?;
    Ok(damaged)
}

/// Removes what was set aside so long ago that nothing in it is alive.
fn remove_old(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let is_damaged = entry.file_name().to_str().is_some_and(|name| name.starts_with(DAMAGED));
        // A folder's time is that of its rename or earlier, which is long before its removal.
        let is_old = || entry.metadata()?.modified().map(|at| at.elapsed().is_ok_and(|age| age > LONGEST_RETENTION));
        if is_damaged && is_old()? {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn panicked() -> StorageError {
    StorageError::Engine { action: "opened", source: Box::new(Panicked) }
}
