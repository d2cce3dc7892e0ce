//! HTTP as it lies on the wire: codings, media types, heads, connections that are half closed, `OPTIONS`.

use serde_json::Value;

use super::super::testing::Api;
use super::body;

/// Status, head and problem of an answer.
fn parts(answer: &str) -> (u16, &str, Option<Value>) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head, serde_json::from_str(body).ok())
}

fn assert_problem(answer: &str, status: u16, kind: &str) {
    let (code, head, problem) = parts(answer);
    let told = problem.as_ref().map(|problem| problem["type"].as_str().expect("a type").to_owned());
    assert_eq!((code, told), (status, Some(format!("urn:meridian:problem:{kind}"))), "{answer}");
    assert!(head.contains("content-type: application/problem+json"), "{answer}");
}

/// The bytes of a check-in whose head has these lines.
async fn check_in(api: &Api, lines: &str) -> String {
    let venue = api.venue().await;
    let body = body("Anna").to_string();
    let length = body.len();
    format!("POST /v1/venues/{}/visits HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{lines}\r\n{body}", venue.id)
}

#[tokio::test]
async fn a_body_is_json_as_it_is() {
    let api = Api::start().await;
    let ask = async |lines: &str| api.raw(check_in(&api, lines).await).await;
    let json = "Content-Type: application/json\r\n";
    assert_eq!(parts(&ask(json).await).0, 201);
    assert_eq!(parts(&ask(&format!("{json}Content-Encoding: identity\r\n")).await).0, 201);
    // What a page of any site can make a browser send (Fetch, section 2.2.2).
    for lines in ["", "Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"] {
        assert_problem(&ask(lines).await, 415, "unsupported-media-type");
    }
    for coding in ["gzip", "br", "identity, deflate"] {
        let answer = ask(&format!("{json}Content-Encoding: {coding}\r\n")).await;
        assert_problem(&answer, 415, "content-coding");
        assert!(answer.contains("accept-encoding: identity\r\n"), "{answer}");
    }
    let answer = ask(&format!("{json}Idempotency-Key: \"1\"\r\n")).await;
    assert_problem(&answer, 400, "idempotency-key");
}

#[tokio::test]
async fn another_transfer_coding_than_chunked_is_refused_and_ends_the_connection() {
    let api = Api::start().await;
    let path = format!("/v1/venues/{}/visits", api.venue().await.id);
    let chunks = "2\r\n{}\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    for lines in [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{lines}\r\n");
        let answer = api.raw(format!("{head}{chunks}")).await;
        assert_problem(&answer, 501, "transfer-coding");
        assert!(answer.contains("connection: close\r\n") && !answer.contains("200 OK"), "{answer}");
    }
}

/// The test client ends its side at once.
#[tokio::test]
async fn a_half_closed_client_gets_its_answer() {
    let api = Api::start().await;
    let lines = "Content-Type: application/json\r\n";
    for _ in 0..20 {
        assert_eq!(parts(&api.raw(check_in(&api, lines).await).await).0, 201);
    }
}

#[tokio::test]
async fn a_head_that_cannot_be_read_gets_a_problem() {
    let api = Api::start().await;
    assert_problem(&api.raw("GET /healthz HTTP/1.1\r\nHost x\r\n\r\n").await, 400, "bad-request");
    let get = |fields: usize| {
        let lines: String = (1..fields).map(|number| format!("X-{number}: y\r\n")).collect();
        format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{lines}\r\n")
    };
    // What an edge lets in, with what it adds.
    assert_eq!(parts(&api.raw(get(service::listen::MOST_FIELDS + 10)).await).0, 200);
    assert_problem(&api.raw(get(200)).await, 431, "head-too-large");
}

#[tokio::test]
async fn options_name_the_methods() {
    let api = Api::start().await;
    let options = async |path: &str| {
        let answer = api.ask("OPTIONS", path, &[], None).await;
        (answer.status, answer.header("allow").map(str::to_owned))
    };
    let methods = |text: &str| (204, Some(text.to_owned()));
    assert_eq!(options("/v1/venues").await, methods("POST, OPTIONS"));
    assert_eq!(options("/v1/venues/a/visits/b").await, methods("GET, HEAD, PUT, PATCH, DELETE, OPTIONS"));
    assert_eq!(options("/nowhere").await.0, 404);
    let (status, all) = options("*").await;
    let all = all.expect("methods");
    assert_eq!(status, 204);
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        assert!(all.split(", ").any(|name| name == method), "{all}");
    }
    let refused = api.ask("DELETE", "/v1/venues", &[], None).await;
    assert_eq!((refused.status, refused.header("allow")), (405, Some("POST, OPTIONS")));
}
