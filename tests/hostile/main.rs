//! Hostile input over real sockets: clear answers or a closed connection, no panic, nothing lost, nobody's data told.
//!
//! | file | concern |
//! | --- | --- |
//! | `bodies.rs` | check-ins that break a rule, line by line from `tests/data` |
//! | `strangers.rs` | other people's ids, keys, secrets, cursors and tokens |
//! | `wire.rs` | what is no proper HTTP: too large, endless, too slow, garbage |
//! | `peers.rs` | the replication port |
//! | `impostor.rs` | a peer that is not what it says, as `peers.rs` plays it |

#![allow(clippy::unwrap_used)]

mod bodies;
#[path = "../common/mod.rs"]
mod common;
mod impostor;
mod peers;
mod strangers;
mod wire;

use common::{Deployment, Venue, Visit};

/// What must never be seen in a log; hostile bodies have it in every value.
const CANARY: &str = "Quux";
/// The guest's number without its area, for the same. Long enough that no fraction of a second in a log has it.
const PHONE: &str = "23125 777";

/// A deployment that keeps one guest, and logs all that it ever would.
struct Guarded {
    deployment: Deployment,
    venue: Venue,
    guest: Visit,
}

impl Guarded {
    /// Starts it with one node for each of these policy packs.
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

    /// All nodes are ready, the guest is there and nobody else, and the logs tell of no panic and of no person.
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
