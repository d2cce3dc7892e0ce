//! Turns events of the replica into answers to clients, names for the change feed, log lines and metrics.

use replication::Event;

use super::apply::Driver;

impl Driver {
    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Written { ticket, outcome } => {
                self.metrics.written(&outcome);
                if let Some(reply) = self.waiting.remove(&ticket) {
                    // An error means that the client has gone away.
                    let _ = reply.send(Ok(outcome));
                }
            }
            Event::Changed(name) => self.outputs.changes.tell(name),
            Event::CloseLink { link, silent } => {
                tracing::info!(link = link.0, silent, "the replica closes a link");
                self.close(link);
            }
            Event::Refused { peer, dot } => {
                self.metrics.refused_delta(&peer);
                tracing::error!(
                    %peer, ?dot, action = "update the peer or check its store: it sends what this version never writes",
                    "an entry of a peer breaks the rules: it was not stored"
                );
            }
            Event::HorizonRefused { peer, horizon } => {
                self.metrics.horizon_refused(&peer);
                tracing::error!(
                    %peer, %horizon, action = "set the clock of the peer right",
                    "a peer says that it has expired documents up to a moment in this node's future: its clock is \
                     ahead, and its horizon is not believed"
                );
            }
            Event::RolledBack { peer, origin, theirs, ours } => {
                self.metrics.rollbacks.inc();
                tracing::error!(
                    %peer, replica = %origin, theirs, ours,
                    action = "wait; find out whether a backup was restored or the disk lost writes",
                    "this node's disk went back in time: the node fetches its own lost entries back from its peers"
                );
            }
            Event::Lost { origin, count } => tracing::error!(
                replica = %origin, count, action = "find out whether a backup was restored or the disk lost writes",
                "this node's disk went back in time: these entries are lost, because no peer has them"
            ),
            Event::BucketsLost(buckets) => {
                self.metrics.rollbacks.inc();
                tracing::error!(
                    ?buckets,
                    action = "wait; check the disk",
                    "parts of the store are missing or older than the rest: the node fetches everything from its \
                     peers again"
                );
            }
            Event::CopiedFrom(node) => tracing::warn!(
                %node, action = "nothing; give each node its own data directory next time",
                "the store is a copy of another node's: this node begins under a new id with an empty past"
            ),
            Event::Forked { peer } => {
                self.metrics.forks.inc();
                tracing::error!(
                    %peer, action = "stop the copy, or give it its own data directory, name and certificate",
                    "a copy of this node wrote under the same replica id: this node takes a new id; entries that both \
                     wrote before may be in this region alone"
                );
            }
            Event::Contradicted { peer, origin } => tracing::error!(
                %peer, replica = %origin, action = "none; find out whether the peer's disk went back in time",
                "the log of this peer is shorter than another peer said: the node fetches it from the peer itself again"
            ),
            Event::HeldBack { peer, dot } => {
                self.metrics.held_back(&peer);
                tracing::warn!(
                    %peer, ?dot, action = "compare the clocks: meridian status shows the offset to each peer",
                    "an entry has an arrival in the future: the log that holds it waits here until that time has come"
                );
            }
            Event::SlowLink { peer, round_trip } => tracing::warn!(
                %peer, round_trip_ms = round_trip.as_millis(), action = "raise replication.heartbeat_ms",
                "the heartbeat is shorter than a quarter of the round trip to this peer: entries may be \
                 sent to it twice"
            ),
            Event::Filled => tracing::info!("the store holds everything that the peers had"),
            Event::Reincarnated { old, new } => tracing::warn!(
                %old, %new, action = "none; an earlier line says why",
                "this node continues under a new replica id"
            ),
            Event::Clock(Some(doubt)) => tracing::error!(
                ?doubt,
                action = "set the clock right; if it is right and no peer can be heard, POST /v1/admin/clock/believe",
                "the clock is in doubt: the node takes no writes and deletes nothing"
            ),
            Event::Clock(None) => tracing::info!("the clock is believed again"),
            Event::DroppedTooEarly(Some(until)) => tracing::error!(
                until = %api::Moment(until),
                action = "wait, or restart with an empty data directory once meridian_replication_lag_entries is 0 for \
                          every peer",
                "this node's clock was ahead: documents may be missing, relaying is suspended"
            ),
            Event::DroppedTooEarly(None) => {
                tracing::info!("the time to which this node's clock was ahead has come: relaying resumes")
            }
            Event::DamageFound(_) => self.metrics.damage("found"),
            Event::DamageHealed(_) => self.metrics.damage("healed"),
            Event::DamageLost(bucket) => {
                self.metrics.damage("lost");
                tracing::error!(
                    %bucket, action = "check the disk; if the record matters, look for it in a backup",
                    "a damaged row is lost: no peer has what is missing"
                );
            }
            Event::Scrubbed => self.metrics.scrubs.inc(),
            Event::Forgot(bucket) => tracing::info!(%bucket, "a day has expired: its bucket was removed"),
            other => tracing::debug!(?other, "event"),
        }
    }
}
