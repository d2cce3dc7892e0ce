//! The OpenAPI documents against the running product: what they describe is there, through the edge as well.
//!
//! # Not here
//! That the documents have each resource, and each answer that the node's own tests get: `node/src/http`. Generated
//! requests: `tests/api/run`.

use std::net::SocketAddr;

use serde_json::Value;

use crate::common::{Answer, Call, Up};

/// Sends a bare request to each operation of a document. Each is there, and answers with a status that it describes.
fn walk(document: &Value, to: SocketAddr, prepare: impl Fn(Call) -> Call) -> usize {
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            // The stream of changes is refused without a key, so it ends as well.
            let bare = prepare(Call::new(&method.to_uppercase(), path.replace('{', "%7B").replace('}', "%7D")));
            let Answer { status, body, .. } = bare.to(to);
            let told = String::from_utf8_lossy(&body);
            let is_there = status != 405 && !told.contains("urn:meridian:problem:no-such-route");
            assert!(is_there, "{method} {path} at {to}: {status} {told}");
            let described = &operation["responses"][status.to_string()];
            assert!(described.is_object(), "{method} {path} at {to} answers {status}, which is not described: {told}");
            operations += 1;
        }
        let options = prepare(Call::new("OPTIONS", path.replace('{', "%7B").replace('}', "%7D"))).to(to).expect(204);
        let allow = options.header("allow").unwrap().to_owned();
        for method in allow.split(", ").filter(|method| !["HEAD", "OPTIONS"].contains(method)) {
            assert!(item[method.to_lowercase()].is_object(), "{method} {path} at {to} is not described");
        }
    }
    operations
}

#[test]
fn every_operation_of_the_documents_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&folder.path().join("data"), 1);
    let (edge, node, admin) = (up.at(0, 1, 0), up.at(1, 1, 0), up.at(1, 1, 2));
    let public = Call::new("GET", "/v1/openapi.json").to(node).expect(200).json();
    assert_eq!(public, Call::new("GET", "/v1/openapi.json").to(edge).expect(200).json());
    for to in [node, edge] {
        assert_eq!(walk(&public, to, |call| call), 16);
    }
    let operator = |call: Call| call.header("Authorization", up.operator());
    let document = operator(Call::new("GET", "/v1/admin/openapi.json")).to(admin).expect(200).json();
    assert_eq!(walk(&document, admin, operator), 23);
}
