//! Earlier reports of a drill of the same name: those in the folders beside the new one.

use std::path::{Path, PathBuf};

use super::{Earlier, Report};

/// How many are compared.
const MOST: usize = 10;

/// Largest report that is read.
const LARGEST: u64 = 16 * 1024 * 1024;

/// The newest earlier reports, the newest first. Files that are not reports are skipped, because the folder may hold anything.
pub(super) fn read(folder: &Path, report: &Report) -> Vec<Earlier> {
    let beside = folder.parent().and_then(|parent| parent.read_dir().ok());
    let folders = beside.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut earlier: Vec<Earlier> = folders.filter_map(|folder| one(folder.join("report.json"))).collect();
    // The folder itself may hold the last report, which is about to be replaced.
    earlier.retain(|one| one.name == report.name && one.run != report.run && one.begun < report.begun);
    earlier.sort_by_key(|one| std::cmp::Reverse(one.begun));
    earlier.truncate(MOST);
    earlier
}

fn one(file: PathBuf) -> Option<Earlier> {
    if std::fs::metadata(&file).ok()?.len() > LARGEST {
        return None;
    }
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}
