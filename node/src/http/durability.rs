//! `?durability=`: an answer that waits until a write is durable in several regions, or says that it is not.
//!
//! A write is always durable here before it is answered. With `?durability=2` (or more, or `all`) the answer waits up
//! to `?wait=` (5 s) for that many regions, this one included. If they do not confirm in time the write is stored all
//! the same: the status stays 200, 201 or 204, with `Meridian-Durability: local; wanted=all; confirmed=2`.
//!
//! # Invariants
//! - A region counts once, however many nodes it has, and only if the node that confirms has a link that is up.

use std::collections::BTreeSet;
use std::time::Duration;

use api::headers::{CONFIRMED, DURABILITY};
use api::wait::{self, Durability};
use replication::{Dot, Outcome, RegionId, Status, VersionVector};

use super::App;
use super::problem::Problem;
use super::query::Query;
use super::reply::{Reply, header};
use super::session::written_dot;

/// The query parameters of every write.
pub(super) const PARAMETERS: &[&str] = &[wait::DURABILITY, wait::WAIT];

/// The knowledge that shows that a peer has the write.
pub(super) enum Proof {
    /// Any one of these entries, which are the same change.
    AnyOf(Vec<Dot>),
    /// All of this vector, which was known when the write turned out to be a repeat.
    All(VersionVector),
}

/// The query of a write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    durability: Durability,
    /// The limit for all waiting, if the client gives one.
    pub(super) wait: Option<Duration>,
}

impl Wanted {
    /// Reads the query of a write.
    pub(super) fn read(raw: Option<&str>, regions: usize) -> Result<Wanted, Problem> {
        let query = Query::parse(raw, PARAMETERS)?;
        let durability = match query.get(wait::DURABILITY) {
            None => Durability::Local,
            Some(text) => Durability::parse(text, regions).ok_or_else(|| {
                let words = format!("`local`, `all` or a number of regions up to {regions} is expected");
                Problem::parameter(wait::DURABILITY, words)
            })?,
        };
        Ok(Wanted { durability, wait: query.wait()? })
    }

    /// Waits for the regions that the client asked for, and names in the answer those that have the write.
    pub(super) async fn confirm(self, app: &App, proof: &Proof, reply: &mut Reply) {
        if self.durability != Durability::Local {
            self.confirm_always(app, proof, reply).await;
        }
    }

    /// As [`confirm`](Self::confirm), and names the regions even if the client did not ask.
    pub(super) async fn confirm_always(self, app: &App, proof: &Proof, reply: &mut Reply) {
        let count = match self.durability {
            Durability::Local => 1,
            Durability::Regions(count) => count,
            Durability::All => app.membership.now().regions.len(),
        };
        let has = confirmed(app, proof, count, self.wait.unwrap_or(wait::USUAL_FOR_DURABILITY)).await;
        let headers = reply.headers_mut();
        headers.insert(CONFIRMED, header(list(&has)));
        if has.len() < count {
            let wanted = match self.durability {
                Durability::All => "all".to_owned(),
                _ => count.to_string(),
            };
            headers.insert(DURABILITY, header(format!("local; wanted={wanted}; confirmed={}", has.len())));
        }
    }
}

/// Waits until `count` regions have the write, but no longer than `limit`. Returns the regions that have it.
pub(super) async fn confirmed(app: &App, proof: &Proof, count: usize, limit: Duration) -> BTreeSet<RegionId> {
    let mut status = app.handle.watch();
    let reached = status.wait_for(|status| proof.regions(status, &app.region).len() >= count);
    // Too late, or the driver is gone: the answer says how far the write got.
    let _ = tokio::time::timeout(limit, reached).await;
    proof.regions(&app.handle.status(), &app.region)
}

impl Proof {
    /// The proof of a write. For an outcome that wrote nothing it is the whole durable vector.
    pub(super) fn of(app: &App, outcome: Outcome) -> Proof {
        match written_dot(outcome) {
            Some(dot) => Proof::AnyOf(vec![dot]),
            None => Proof::All(app.handle.status().durable.clone()),
        }
    }

    /// The regions that have the write, this one included.
    pub(super) fn regions(&self, status: &Status, own: &RegionId) -> BTreeSet<RegionId> {
        let has = |vector: &VersionVector| match self {
            Proof::AnyOf(dots) => dots.iter().any(|dot| vector.contains(*dot)),
            Proof::All(all) => vector.covers(all),
        };
        let peers = status.peers.iter().filter(|peer| peer.replica.is_some() && has(&peer.vector));
        peers.map(|peer| peer.region.clone()).chain([own.clone()]).collect()
    }
}

fn list(regions: &BTreeSet<RegionId>) -> String {
    regions.iter().map(RegionId::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Durability, Wanted};

    fn read(raw: &str) -> Option<Durability> {
        Wanted::read(Some(raw), 3).ok().map(|wanted| wanted.durability)
    }

    #[test]
    fn durability_is_local_all_or_a_number_that_can_be_reached() {
        assert_eq!(read(""), Some(Durability::Local));
        assert_eq!(read("durability=local"), Some(Durability::Local));
        assert_eq!(read("durability=1"), Some(Durability::Local));
        assert_eq!(read("durability=2&wait=9"), Some(Durability::Regions(2)));
        assert_eq!(read("durability=all"), Some(Durability::All));
        for bad in ["durability=0", "durability=4", "durability=", "durability=ALL", "wait=1h", "durable=2"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        let wanted = Wanted::read(Some("wait=2"), 1).expect("reads");
        assert_eq!(wanted.wait, Some(Duration::from_secs(2)));
    }
}
