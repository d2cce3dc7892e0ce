//! A disk that is nearly full: nothing new is taken, and everything else goes on.

use serde_json::json;

use super::super::testing::Api;
use super::{NOW, body};
use crate::space::Room;

#[tokio::test]
async fn a_nearly_full_disk_takes_no_new_records_and_still_erases() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let (known, left, new) = (venue.guest(1, NOW), venue.guest(2, NOW), venue.guest(3, NOW));
    for guest in [&known, &left] {
        assert_eq!(guest.ask(&api, "PUT", Some(&body("Anna"))).await.status, 201);
    }
    let ready = async || api.ask("GET", "/readyz", &[], None).await;
    assert_eq!(ready().await.status, 200);
    api.app.space.set_room(Room::Short);
    let refused = new.ask(&api, "PUT", Some(&body("Ben"))).await;
    assert_eq!((refused.status, refused.kind().as_str()), (507, "disk-nearly-full"), "{refused:?}");
    let venues = json!({"name": "Neu", "timezone": "Europe/Berlin"});
    assert_eq!(api.ask("POST", "/v1/venues", &[], Some(&venues)).await.kind(), "disk-nearly-full");
    let answer = ready().await;
    assert!(answer.status == 503 && answer.body.contains("the disk is nearly full"), "{answer:?}");
    // What is there is read, repeated, corrected and erased.
    assert_eq!(known.ask(&api, "PUT", Some(&body("Anna"))).await.status, 200);
    assert_eq!(known.ask(&api, "PATCH", Some(&body("Anne"))).await.status, 200);
    assert_eq!(left.ask(&api, "DELETE", None).await.status, 204);
    let list = venue.list(&api, "/guests", "application/json").await;
    assert!(list.body.contains("Anne") && !list.body.contains("Anna"), "{list:?}");
    // With hardly any room, guests can still read and erase.
    api.app.space.set_room(Room::Hardly);
    let refused = known.ask(&api, "PATCH", Some(&body("Anja"))).await;
    assert_eq!((refused.status, refused.kind().as_str()), (507, "disk-nearly-full"), "{refused:?}");
    assert_eq!(known.ask(&api, "GET", None).await.status, 200);
    assert!(ready().await.body.contains("the disk is full"));
    assert_eq!(known.ask(&api, "DELETE", None).await.status, 204);
    api.app.space.set_room(Room::Enough);
    assert_eq!(new.ask(&api, "PUT", Some(&body("Ben"))).await.status, 201);
    assert_eq!(ready().await.status, 200);
}
