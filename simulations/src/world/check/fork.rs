//! I11: two stores have the same entry at one dot, its time included.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use replication::LogEntry;
use replication::Storage as _;

use super::require;
use crate::invariant::{Broken, Invariant};
use crate::world::World;

/// Compares the logs of all stores, those of stopped processes included.
pub(in crate::world) fn no_dot_stands_for_two_entries(world: &World) -> Result<(), Broken> {
    let mut entries: BTreeMap<Vec<u8>, Option<LogEntry>> = BTreeMap::new();
    let mut fork = None;
    // Stores of removed regions are left out.
    for (node, machine) in world.nodes.iter_indexed().filter(|(_, machine)| machine.exists) {
        let storage = machine.disk.contents();
        for bucket in storage.buckets() {
            let scanned = storage.scan(bucket, b"l", b"m", &mut |dot, entry| {
                let entry = LogEntry::decode(entry);
                let known = entries.entry(dot.to_vec()).or_insert(entry);
                if !entry.is_some_and(|entry| known.is_some_and(|known| known.is_same(&entry))) {
                    fork = Some((node, dot.to_vec()));
                }
                ControlFlow::Continue(())
            });
            // A bucket with a damaged value is excused, because a scan of it stops there.
            if scanned.is_err() && !machine.disk.is_damaged(bucket) {
                fork = Some((node, Vec::new()));
            }
        }
    }
    if let Some((node, dot)) = fork {
        require(world, Invariant::NoFork, Some(node), false, || {
            format!("has another entry at dot {dot:02x?} than others")
        })?;
    }
    Ok(())
}
