//! I11: whatever two stores have at one dot is the same entry, its time included.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use replication::Storage as _;
use replication::log::LogEntry;

use super::Invariant;
use crate::world::World;

impl World {
    /// Compares the logs of all stores, of processes that are down as well.
    pub(crate) fn no_dot_stands_for_two_entries(&mut self) {
        let mut entries: BTreeMap<Vec<u8>, Option<LogEntry>> = BTreeMap::new();
        let mut fork = None;
        // What was removed for good does not come back.
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.exists) {
            let storage = node.disk.contents();
            for bucket in storage.buckets() {
                let scanned = storage.scan(bucket, b"l", b"m", &mut |dot, entry| {
                    let entry = LogEntry::decode(entry);
                    let known = entries.entry(dot.to_vec()).or_insert(entry);
                    if !entry.is_some_and(|entry| known.is_some_and(|known| known.is_same(&entry))) {
                        fork = Some((at, dot.to_vec()));
                    }
                    ControlFlow::Continue(())
                });
                // A value that cannot be read says nothing of the others.
                if scanned.is_err() && !node.disk.is_damaged(bucket) {
                    fork = Some((at, Vec::new()));
                }
            }
        }
        if let Some((at, dot)) = fork {
            self.must(Invariant::NoFork, Some(at), false, || {
                format!("has another entry at dot {dot:02x?} than others")
            });
        }
    }
}
