//! Hostile input over real sockets: clear answers or a closed connection, no panic, no loss, and no data of others.
//!
//! | file | concern |
//! | --- | --- |
//! | `bodies.rs` | check-ins that break a rule, line by line from `tests/data` |
//! | `strangers.rs` | ids, keys, secrets, cursors and tokens of other clients |
//! | `wire.rs` | invalid HTTP: too large, endless, too slow, garbage |
//! | `starving.rs` | clients that read nothing, or take more than their share |
//! | `peers.rs` | the replication port |
//! | `impostor.rs` | a peer that claims to be another node |

mod bodies;
pub(crate) mod impostor;
mod peers;
mod starving;
mod strangers;
mod wire;

use crate::common::{Deployment, Venue, Visit};

/// A text that must never be in a log; hostile bodies have it in every value.
const CANARY: &str = "Quux";
/// The guest's number without its area code, for the same check. It is too long to occur in a fraction of a second in a
/// log.
const PHONE: &str = "23125 777";

/// A deployment with one guest, which logs at level debug.
struct Guarded {
    deployment: Deployment,
    venue: Venue,
    guest: Visit,
}

impl Guarded {
    /// Starts the deployment with one node for each of these policy packs.
    fn start(packs: &[&str]) -> Guarded {
        let deployment = Deployment::with(packs, "debug");
        let first = deployment.nodes[0].public;
        let venue = Venue::make(first, "14d");
        deployment.wait_known(&venue);
        let guest = venue.visit(&format!("{CANARY} the Guest"), &format!("+49 30 {PHONE}"));
        guest.check_in(first);
        deployment.wait_complete(&venue);
        Guarded { deployment, venue, guest }
    }

    /// Checks that all nodes are ready, that the list has only the one guest, and that the logs name no panic and no
    /// person.
    #[track_caller]
    fn unharmed(&self) {
        for node in &self.deployment.nodes {
            node.wait_ready();
            let list = self.venue.list(node.public);
            assert_eq!(list.keys().collect::<Vec<_>>(), [&self.guest.id], "{}", node.region);
            assert_eq!(list[&self.guest.id]["persons"], self.guest.body["persons"]);
        }
        let logs = self.deployment.logs();
        assert!(logs.contains("serving"), "the logs are read");
        let person = [CANARY, PHONE, &PHONE.replace(' ', "")];
        let keys = [&self.guest.secret, &self.venue.key, &self.guest.id, &self.venue.id].map(String::as_str);
        for never in person.into_iter().chain(keys).chain(["panicked"]) {
            let told = logs.lines().find(|line| line.contains(never));
            assert_eq!(told, None, "a log has {never}");
        }
    }
}
