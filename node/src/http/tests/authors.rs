//! Every order of an operator says who gives it, in the same form.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::probes::OPENAPI_ADMIN;
use super::super::testing::{Api, Description};

/// Every order with `by`: template, method, what stands for the name in the template, and the rest of its body.
fn orders(venue: &str) -> Vec<(&'static str, &'static str, String, Value)> {
    let position = json!({"latitude": -23.55, "longitude": -46.63});
    let member = json!({"region": "sa-east", "replication": "127.0.1.4:7081", "position": position});
    vec![
        ("/v1/admin/faults", "POST", String::new(), json!({"act": {"kind": "unready"}, "for": "1s"})),
        ("/v1/admin/drill", "POST", String::new(), json!({"id": "1", "name": "region-loss", "for": "1s"})),
        ("/v1/admin/members/{node}", "PUT", "sa-east".to_owned(), member),
        ("/v1/admin/members/{node}", "DELETE", "sa-east".to_owned(), json!({"force": true})),
        ("/v1/admin/regions/{region}/order", "PUT", "eu-central".to_owned(), json!({"order": "serving"})),
        ("/v1/admin/venues/{venue}", "DELETE", venue.to_owned(), json!({})),
        ("/v1/admin/invitations", "POST", String::new(), json!({"for": "1d"})),
    ]
}

#[tokio::test]
async fn every_order_needs_an_author_that_can_be_shown() {
    let api = Api::start().await;
    let venue = api.venue().await;
    let orders = orders(&venue.id.to_string());
    let tried: BTreeSet<_> =
        orders.iter().map(|(path, method, ..)| ((*path).to_owned(), (*method).to_owned())).collect();
    assert_eq!(tried, Description::of(OPENAPI_ADMIN).with_field("by"), "each order is tried here");
    for (template, method, name, body) in orders {
        let path: Vec<&str> =
            template.split('/').map(|part| if part.starts_with('{') { name.as_str() } else { part }).collect();
        let give = async |by: &str, reason: Option<&str>| {
            let mut body = body.clone();
            body["by"] = json!(by);
            if let Some(reason) = reason {
                body["reason"] = json!(reason);
            }
            api.ask_admin(method, &path.join("/"), &[], Some(&body)).await
        };
        for by in ["", " ", "m\nk", &"x".repeat(401)] {
            let refused = give(by, None).await;
            let said = format!("{method} {template} {by:?}: {refused:?}");
            assert_eq!((refused.status, refused.kind().as_str()), (422, "invalid"), "{said}");
            assert!(refused.body.contains("`by`: say who orders this"), "{said}");
        }
        // A drill says with its name why it runs.
        if template != "/v1/admin/drill" {
            let refused = give("mk", Some("a\u{0}b")).await;
            assert!(refused.status == 422 && refused.body.contains("`reason`"), "{method} {template}: {refused:?}");
        }
        let given = give(" mk ", None).await;
        assert!((200..300).contains(&given.status), "{method} {template}: {given:?}");
    }
    let trail = api.ask_admin("GET", "/v1/admin/audit", &[], None).await.json();
    let authors: Vec<_> = trail["entries"].as_array().expect("entries").iter().map(|entry| &entry["who"]).collect();
    assert_eq!(authors, [&json!("mk"); 7], "{trail}");
}
