//! The replica's status as metrics.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use replication::{Status, Wall};

use super::Metrics;

/// The labels of the status that was mirrored last.
#[derive(Debug, Default)]
pub(super) struct Mirrored(Mutex<Labels>);

#[derive(Clone, Debug, Default)]
struct Labels {
    /// Peers with their regions.
    peers: BTreeSet<(String, String)>,
    regions: BTreeSet<String>,
}

impl Metrics {
    /// Copies the replica's status into the metrics.
    pub fn mirror(&self, status: &Status, trusted: Wall) {
        self.forget_the_gone(status);
        for peer in &status.peers {
            let labels = [peer.node.as_str(), peer.region.as_str()];
            self.lag_entries.with_label_values(&labels).set(int(peer.lag_entries));
            self.lag_seconds.with_label_values(&labels).set(peer.lag.as_secs_f64());
            self.peer_connected.with_label_values(&labels).set(i64::from(peer.replica.is_some()));
            match peer.clock_offset_ms {
                Some(offset) => self.clock_offset_seconds.with_label_values(&labels).set(offset as f64 / 1_000.0),
                // The last offset that was heard is out of date. If there never was one, there is nothing to remove.
                None => drop(self.clock_offset_seconds.remove_label_values(&labels)),
            }
        }
        for (region, through) in &status.complete_through {
            self.complete_through_seconds.with_label_values(&[region.as_str()]).set(seconds(through.0));
        }
        self.clock_in_doubt.set(i64::from(status.doubt.is_some()));
        self.forgot_early.set(i64::from(status.dropped_too_early));
        self.starting.set(i64::from(status.starting));
        self.recovering.set(i64::from(status.recovering));
        self.trusted_seconds.set(seconds(trusted.0));
        self.horizon_seconds.set(seconds(status.horizon.0));
        self.live_documents.set(int(status.documents));
        self.tombstones.set(int(status.tombstones));
        self.buckets.set(int(status.buckets as u64));
        self.damaged_rows.set(int(status.damaged as u64));
    }

    /// Removes the series of nodes and regions that were removed since the last status.
    fn forget_the_gone(&self, status: &Status) {
        let peers = status.peers.iter().map(|peer| (peer.node.to_string(), peer.region.to_string()));
        let present = Labels {
            peers: peers.collect(),
            regions: status.complete_through.keys().map(ToString::to_string).collect(),
        };
        let before = std::mem::replace(&mut *self.mirrored.0.lock(), present.clone());
        for (node, region) in before.peers.difference(&present.peers) {
            let labels = [node.as_str(), region.as_str()];
            // A series that never was cannot be removed, which is as good.
            let _ = self.lag_entries.remove_label_values(&labels);
            let _ = self.lag_seconds.remove_label_values(&labels);
            let _ = self.peer_connected.remove_label_values(&labels);
            let _ = self.clock_offset_seconds.remove_label_values(&labels);
            for direction in ["in", "out"] {
                let _ = self.frame_bytes.remove_label_values(&[node.as_str(), direction]);
                let _ = self.frames.remove_label_values(&[node.as_str(), direction]);
            }
        }
        for region in before.regions.difference(&present.regions) {
            let _ = self.complete_through_seconds.remove_label_values(&[region.as_str()]);
        }
    }
}

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}
