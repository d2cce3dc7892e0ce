//! Requests that wait for what is on its way from another region.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use registry::{NewVenue, OwnerKey, PolicyPack, Secret, VenueId, VisitId};
use replication::{Change, Write};

use super::super::testing::{Api, until};
use super::NOW;
use crate::clock::{Clock, SystemClock};

/// More changes of one venue than a follower keeps.
const MANY: u16 = 600;

/// The visits of a venue may arrive before the venue, and so many at once that the follower misses some.
#[tokio::test]
async fn an_erasure_waits_for_its_venue_behind_many_changes() {
    let api = Arc::new(Api::start().await);
    let pack = PolicyPack::built_in("default").expect("a pack");
    let new = NewVenue::parse(br#"{"name": "Adler", "timezone": "Europe/Berlin"}"#).and_then(|new| new.check(&pack));
    let venue = new.expect("a venue").open(VenueId([7; 16]), &OwnerKey([2; 32]));
    let arrival = SystemClock::start().now().wall.minus(NOW);
    let secret = Secret([1; 16]);
    let path = format!("/v1/venues/{}/visits/{}", venue.id, VisitId::of(arrival, &secret));
    let free = api.app.venue_waits.available_permits();
    let asked = tokio::spawn({
        let (api, secret) = (api.clone(), secret.to_string());
        async move { api.ask("DELETE", &path, &[("Meridian-Secret", &secret)], None).await }
    });
    until(|| api.app.venue_waits.available_permits() < free).await;
    // The runtime has one thread, so no follower takes anything until this waits for something.
    for number in 0..MANY {
        let mut secret = [2; 16];
        secret[..2].copy_from_slice(&number.to_be_bytes());
        let key = VisitId::of(arrival, &Secret(secret)).key(&venue);
        let change = Change::create(&key, &[("p", replication::Value::Int(1))]);
        let write = pin!(api.app.handle.write(Write::Change { key, change }));
        // The driver has a thread of its own, and may be faster than this one.
        let polled = write.poll(&mut Context::from_waker(Waker::noop()));
        assert!(!matches!(polled, Poll::Ready(Err(_))), "it is queued or taken: {polled:?}");
    }
    let durable = || api.app.handle.status().durable.iter().map(|(_, seq)| seq).sum::<u64>();
    let begun = std::time::Instant::now();
    while durable() < u64::from(MANY) {
        assert!(begun.elapsed().as_secs() < 20, "{} are durable", durable());
        std::thread::yield_now();
    }
    let (key, change) = (venue.key(), Change::create(&venue.key(), &venue.to_fields()));
    api.app.handle.write(Write::Change { key, change }).await.expect("is written");
    let answer = asked.await.expect("runs");
    assert_eq!(answer.status, 204, "{answer:?}");
}

/// It would make a tombstone in every region.
#[tokio::test]
async fn an_erasure_at_a_venue_that_no_region_knows_is_refused() {
    let api = Api::start().await;
    let secret = Secret([1; 16]);
    let visit = VisitId::of(SystemClock::start().now().wall.minus(NOW), &secret);
    let path = format!("/v1/venues/{}/visits/{visit}", VenueId([7; 16]));
    let refused = api.ask("DELETE", &path, &[("Meridian-Secret", &secret.to_string())], None).await;
    assert_eq!((refused.status, refused.kind().as_str()), (404, "no-such-venue"), "{refused:?}");
}
