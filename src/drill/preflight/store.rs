//! Whether the store of a region can be exchanged, and whether an earlier drill left files with guests' data.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::Context as _;
use nix::sys::statvfs::statvfs;

use super::{Check, check};
use crate::drill::beside::Beside;
use crate::drill::plan::{Disturbance, Plan};
use crate::drill::site::{Node, Site};

/// How often the store must fit into the free room of its disk: once as the backup, once as the store that is made of it,
/// and once more for what the engine writes meanwhile.
const TIMES: u64 = 3;

/// Names what a drill left that was killed. It stands in the way of another restore alone.
pub(super) fn left_over(plan: &Plan, site: &Site) -> Check {
    let beside = |node: &Node| Beside::of(&node.config.as_ref()?.data).left();
    let left: Vec<String> = site.nodes.iter().filter_map(beside).collect();
    if left.is_empty() {
        return check("left over", true, "no earlier drill left anything");
    }
    let detail = format!(
        "an earlier drill left files: {}. Its report says why, and when to remove the folder. If that drill was killed it has \
         no report: remove the folder once every node is ready",
        left.join("; ")
    );
    check("left over", !plan.takes_a_backup(), detail)
}

/// Whether a backup can be put in the place of the region's store.
pub(super) fn restore(plan: &Plan, site: &Site) -> Option<Check> {
    let (Disturbance::Restore(_), Some(region)) = (&plan.disturbance, &plan.region) else { return None };
    let nodes: Vec<&Node> = site.of(region).collect();
    let fits = match nodes.as_slice() {
        [node] => fits(node),
        all => Err(anyhow::anyhow!("{region} has {} nodes; the drill restores a region of one", all.len())),
    };
    Some(match fits {
        Ok(detail) => check("store", true, detail),
        Err(error) => check("store", false, format!("{error:#}")),
    })
}

fn fits(node: &Node) -> anyhow::Result<String> {
    let name = &node.name;
    let config = node.config.as_ref().context(
        "only a node of `meridian up` can be restored by a drill, because its process is stopped and started",
    )?;
    anyhow::ensure!(
        config.backup.recipients.is_empty(),
        "backups of {name} go only to those that backup.recipients names, and the drill has a key of its own"
    );
    anyhow::ensure!(
        config.faults,
        "{name} takes no faults, by which its clients are refused: set `[faults] enabled = true`"
    );
    let data = &config.data;
    let parent = data.parent().context("its store has no folder")?;
    let device = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.dev());
    let looked = || format!("cannot look at {}", data.display());
    anyhow::ensure!(
        device(data).with_context(looked)? == device(parent).with_context(looked)?,
        "{} is a file system of its own, so another store cannot take its place by renaming",
        data.display()
    );
    let disk = statvfs(parent).with_context(looked)?;
    #[allow(clippy::useless_conversion, reason = "u32 on some systems")]
    let free = u64::from(disk.blocks_available()).saturating_mul(u64::from(disk.fragment_size()));
    let wanted = bytes(data).with_context(looked)?.saturating_mul(TIMES);
    let detail = format!("{} MiB are free for the backup and its store, wanted {}", free >> 20, wanted >> 20);
    anyhow::ensure!(free >= wanted.saturating_add(config.storage.reserve_bytes), "{detail} and the node's reserve");
    Ok(detail)
}

/// The bytes of all files in a folder. The node may remove files meanwhile.
fn bytes(folder: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue };
        sum += if metadata.is_dir() { bytes(&entry.path()).unwrap_or(0) } else { metadata.len() };
    }
    Ok(sum)
}
