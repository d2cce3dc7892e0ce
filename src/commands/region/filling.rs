//! Watches a node fill: how many entries it still lacks, by what the other nodes say.

use std::io::IsTerminal as _;
use std::time::Duration;

use api::NodeName;
use api::status::NodeStatus;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use crate::support::options::Nodes;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Time between two lines where no terminal shows a bar.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The age of the oldest entry at which a node counts as up to date. Under load there is always some entry on its way.
const FRESH_S: f64 = 1.0;

/// What the other nodes say of the new ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Look {
    /// Links between others and the new nodes, and how many of them are up.
    links: usize,
    up: usize,
    /// Entries that some new node lacks, by the node that has most of them.
    lacks: u64,
    /// Every new node has what the others have.
    is_full: bool,
}

impl Look {
    fn of<'a>(statuses: impl Iterator<Item = &'a NodeStatus>, nodes: &[NodeName]) -> Look {
        let (own, others): (Vec<_>, Vec<_>) = statuses.partition(|status| nodes.contains(&status.name));
        // New nodes that answer say themselves whether they have what their peers had.
        let is_told = own.len() == nodes.len();
        let mut look = Look { is_full: own.iter().all(|status| status.ready), ..Look::default() };
        let mut knows_none = true;
        for status in others {
            for node in nodes {
                knows_none = false;
                look.links += 1;
                let Some(peer) = status.peers.iter().find(|peer| peer.name == *node).filter(|peer| peer.connected)
                else {
                    look.is_full = false;
                    continue;
                };
                look.up += 1;
                look.lacks = look.lacks.max(peer.lag_entries);
                // An age of 0 with entries to go is that of an entry which has left the other node's memory.
                let is_fresh = peer.lag_seconds < FRESH_S && (is_told || peer.lag_seconds > 0.0);
                look.is_full &= peer.lag_entries == 0 || is_fresh;
            }
        }
        look.is_full &= !knows_none;
        look
    }
}

/// Waits until these nodes hold what the others have, and shows how far they are. Returns how long it took.
pub(super) async fn watch(nodes: &Nodes, names: &[NodeName], limit: Duration) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{msg}  {wide_bar}  {pos} of {len} entries, {eta} left")?);
    bar.set_message("waiting for its links");
    let (mut most, mut told) = (0, Instant::now());
    loop {
        let statuses = nodes.statuses().await?;
        let look = Look::of(statuses.iter().map(|(_, status)| status), names);
        if look.is_full {
            bar.finish_and_clear();
            return Ok(begun.elapsed());
        }
        most = most.max(look.lacks);
        bar.set_length(most);
        bar.set_position(most - look.lacks);
        bar.set_message(if look.up < look.links { "waiting for its links" } else { "filling" });
        if bar.is_hidden() && told.elapsed() >= LINE_EVERY {
            told = Instant::now();
            say!("  {} of {} links are up; {} entries to go", look.up, look.links, look.lacks);
        }
        if begun.elapsed() >= limit {
            bar.finish_and_clear();
            let (up, links, lacks) = (look.up, look.links, look.lacks);
            anyhow::bail!(
                "not full after {}: {up} of {links} links are up and {lacks} entries are missing. It goes on by \
                 itself; `meridian status` shows how far it is",
                api::duration::show(limit)
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use api::status::NodeStatus;
    use serde_json::json;

    use super::Look;

    fn status(name: &str, ready: bool, peers: &[(&str, bool, u64, f64)]) -> NodeStatus {
        let peers: Vec<_> = peers
            .iter()
            .map(|(name, connected, entries, seconds)| {
                json!({"name": name, "region": name, "connected": connected, "lag_entries": entries,
                    "lag_seconds": seconds})
            })
            .collect();
        serde_json::from_value(json!({
            "region": name, "name": name, "replica": "1", "ready": ready, "drain": false, "reasons": [],
            "clock": {"trusted_ms": 0, "offset_ms": 0, "in_doubt": false}, "live_documents": 0, "tombstones": 0,
            "buckets": 0, "complete_through": {}, "peers": peers
        }))
        .unwrap()
    }

    #[test]
    fn a_node_is_full_when_all_others_and_it_say_so() {
        let look = |statuses: &[NodeStatus]| Look::of(statuses.iter(), &["sa".parse().unwrap()]);
        let full = status("eu", true, &[("sa", true, 3, 0.2)]);
        assert!(look(std::slice::from_ref(&full)).is_full, "entries on their way do not count");
        assert!(!look(&[full.clone(), status("us", true, &[])]).is_full, "one has not heard of it yet");
        assert!(!look(&[full.clone(), status("us", true, &[("sa", false, 0, 0.0)])]).is_full);
        assert!(!look(&[full.clone(), status("us", true, &[("sa", true, 90, 20.0)])]).is_full);
        assert!(!look(&[full.clone(), status("sa", false, &[])]).is_full, "it says itself that it is not ready");
        let old = status("us", true, &[("sa", true, 90_000, 0.0)]);
        assert!(!look(std::slice::from_ref(&old)).is_full, "the entry has left the memory of the other node");
        assert!(look(&[old, full, status("sa", true, &[])]).is_full);
        assert!(!look(&[]).is_full);
    }
}
