//! A disk that fails once. The call after it would succeed, although the bytes are lost, so the node must not go on.

use std::time::Duration;

use node::config::Engine;

use crate::common::{Deployment, Venue, Visit, holds, shim};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn after_one_failed_call_nothing_is_acknowledged_until_a_restart() {
    for engine in [Engine::Sled, Engine::Fjall] {
        let mut deployment = Deployment::with_engine(engine);
        let folder = deployment.scratch().to_owned();
        let library = shim(&folder);
        let node = &mut deployment.nodes[0];
        node.stop();
        // The keys have files of their own, and their log may fail without harm.
        let below = node.store().join(if engine == Engine::Sled { "buckets" } else { "fjall" });
        node.environment =
            vec![("LD_PRELOAD", library), ("MERIDIAN_SHIM", folder.clone()), ("MERIDIAN_SHIM_BELOW", below)];
        node.start_again();
        let at = node.public;
        let venue = Venue::make(at, "14d");
        let mut acknowledged: Vec<Visit> = Vec::new();
        for call in ["sync", "write"] {
            let before = venue.visit("Zoë", "030 1");
            before.check_in(at);
            acknowledged.push(before);
            let armed = folder.join(format!("armed-{call}"));
            std::fs::write(&armed, "").unwrap();
            let mut sent = Vec::new();
            // An engine may write some batches without this call.
            holds("the call fails", SOON, || {
                let visit = venue.visit("Ben", "030 2");
                let answer = visit.put().send(at);
                let is_acknowledged = answer.is_ok_and(|answer| answer.status == 201);
                sent.push((visit, is_acknowledged, armed.exists()));
                !armed.exists()
            });
            let after = venue.visit("Ane", "030 3");
            let refused = after.put().send(at);
            assert!(
                !refused.is_ok_and(|answer| answer.status < 500),
                "{engine} {call}: acknowledged after the failure"
            );
            let node = &mut deployment.nodes[0];
            assert!(!node.ended().success(), "{engine} {call}");
            assert!(node.log().contains("os error 5"), "{engine} {call}: {}", node.log());
            node.start_again();
            acknowledged.extend(sent.into_iter().filter(|(_, is_acknowledged, _)| *is_acknowledged).map(|sent| sent.0));
            let list = venue.list(at);
            let lost = acknowledged.iter().filter(|visit| !list.contains_key(&visit.id)).count();
            assert_eq!(lost, 0, "{engine} {call}: of {}", acknowledged.len());
        }
    }
}
