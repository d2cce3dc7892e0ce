//! Events of the replica become answers to clients, names for the change feed, lines of the log and counts of the metrics.

use replication::Event;

use super::Driver;

impl Driver {
    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Written { ticket, outcome } => {
                self.metrics.written(&outcome);
                if let Some(reply) = self.waiting.remove(&ticket) {
                    // A client that went away does not wait for its answer.
                    let _ = reply.send(Ok(outcome));
                }
            }
            Event::Changed(name) => self.changes.tell(name),
            Event::CloseLink { link, silent } => {
                tracing::info!(link = link.0, silent, "closing a link");
                self.close(link);
            }
            Event::Refused { peer, dot } => {
                self.metrics.refused_delta(&peer);
                tracing::error!(%peer, ?dot, "refused an entry that breaks the rules");
            }
            Event::HorizonRefused { peer, horizon } => {
                self.metrics.horizon_refused(&peer);
                tracing::error!(%peer, %horizon, "refused a horizon in our future: that clock is ahead");
            }
            Event::RolledBack { peer, origin, theirs, ours } => {
                self.metrics.rollbacks.inc();
                tracing::error!(
                    %peer, replica = %origin, theirs, ours,
                    "this node's disk went back in time: entries that it wrote are fetched back from its peers"
                );
            }
            Event::Lost { origin, count } => tracing::error!(
                replica = %origin, count,
                "this node's disk went back in time, and no peer has these entries: they are lost"
            ),
            Event::BucketsLost(buckets) => {
                self.metrics.rollbacks.inc();
                tracing::error!(
                    ?buckets,
                    "parts of the store are missing or older than the rest: everything is fetched again from the peers"
                );
            }
            Event::CopiedFrom(node) => tracing::warn!(
                %node, "the store is a copy of another node's: this node begins under a new id with an empty past"
            ),
            Event::Forked { peer } => {
                self.metrics.forks.inc();
                tracing::error!(
                    %peer,
                    "a copy of this machine wrote under the same id: this node takes a new id; what the two wrote at \
                     once may be in this region alone"
                );
            }
            Event::Contradicted { peer, origin } => tracing::error!(
                %peer, replica = %origin,
                "the log of this peer does not go as far as another peer said: it is fetched again from the peer itself"
            ),
            Event::HeldBack { peer, dot } => {
                self.metrics.held_back(&peer);
                tracing::warn!(%peer, ?dot, "an entry arrives in the future and waits: a clock is ahead");
            }
            Event::SlowLink { peer, round_trip } => tracing::warn!(
                %peer, round_trip_ms = round_trip.as_millis(),
                "the heartbeat is shorter than a quarter of the round trip to this peer: raise replication.heartbeat_ms"
            ),
            Event::Filled => tracing::info!("everything that the peers had is here"),
            Event::Reincarnated { old, new } => tracing::warn!(%old, %new, "going on under a new replica id"),
            Event::Clock(Some(doubt)) => tracing::error!(
                ?doubt,
                action = "set the clock right; if it is right and no peer can be heard, POST /v1/admin/clock/believe",
                "the clock is in doubt: no writes are taken and nothing is forgotten"
            ),
            Event::Clock(None) => tracing::info!("the clock is believed again"),
            Event::ForgotEarly(true) => tracing::error!(
                action = "wait, or restart with an empty data directory once meridian_replication_lag_entries is 0 for \
                          every peer",
                "this node's clock was ahead: documents may be missing, relaying is suspended"
            ),
            Event::ForgotEarly(false) => tracing::info!("the time has come that this node's clock was ahead to"),
            Event::Forgot(bucket) => tracing::info!(%bucket, "a day has passed and is forgotten"),
            other => tracing::debug!(?other, "event"),
        }
    }
}
