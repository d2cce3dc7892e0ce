//! Requests with two meanings: for each, the client's answer, and a check that no node saw a request that was not
//! meant.

use crate::support::{Client, RawNode, World, ok};

/// The second request, hidden in the first, which must never arrive.
const HIDDEN: &str = "/hidden";

/// A case: its name, the bytes, the correct statuses, and how many requests a node may see.
struct Case {
    name: &'static str,
    bytes: String,
    statuses: &'static [u16],
    seen: usize,
}

fn cases() -> Vec<Case> {
    let refused = |name, bytes: &str| Case { name, bytes: bytes.to_owned(), statuses: &[400], seen: 0 };
    let put = |fields: &str, body: &str| format!("PUT /a HTTP/1.1\r\nHost: venue.test\r\n{fields}\r\n{body}");
    let smuggled = format!("0\r\n\r\nGET {HIDDEN} HTTP/1.1\r\nHost: venue.test\r\n\r\n");
    let length = smuggled.len();
    let mut cases = vec![
        refused(
            "length, then coding",
            &put(&format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"), &smuggled),
        ),
        refused(
            "coding, then length",
            &put(&format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"), &smuggled),
        ),
        refused("coding in capitals", &put("Content-Length: 4\r\nTRANSFER-ENCODING: chunked\r\n", &smuggled)),
        refused("two lengths", &put(&format!("Content-Length: 0\r\nContent-Length: {length}\r\n"), &smuggled)),
        refused("a list of lengths", &put(&format!("Content-Length: 0, {length}\r\n"), &smuggled)),
        refused("a signed length", &put("Content-Length: +5\r\n", "0\r\n\r\nG")),
        refused("a negative length", &put("Content-Length: -1\r\n", "")),
        refused("a hexadecimal length", &put("Content-Length: 0x5\r\n", "hello")),
        refused("a length beyond numbers", &put("Content-Length: 99999999999999999999\r\n", "")),
        refused("a space before the colon", &put("Content-Length : 5\r\n", "hello")),
        refused("a space before the colon of the coding", &put("Transfer-Encoding : chunked\r\n", &smuggled)),
        refused("a folded line", &put("X: a\r\n b\r\n", "")),
        refused("a folded coding", &put("Transfer-Encoding:\r\n chunked\r\n", &smuggled)),
        refused("a line that begins with a space", &put(" Transfer-Encoding: chunked\r\n", &smuggled)),
        refused("a bare CR in a value", &put("X: a\rTransfer-Encoding: chunked\r\n", &smuggled)),
        refused("a NUL in a value", &put("X: a\0b\r\n", "")),
        refused("a NUL in a name", &put("X\0: a\r\n", "")),
        refused("a line without a colon", &put("Transfer-Encoding chunked\r\n", "")),
        refused("a coding that only looks like one", &put("Transfer-Encoding: xchunked\r\n", &smuggled)),
        refused("a coding after chunked", &put("Transfer-Encoding: chunked, identity\r\n", &smuggled)),
        refused("a vertical tab before the coding", &put("Transfer-Encoding: \x0bchunked\r\n", &smuggled)),
        refused(
            "a coding in HTTP/1.0",
            "PUT /a HTTP/1.0\r\nHost: venue.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        refused(
            "a chunk size that is not a number",
            &put("Transfer-Encoding: chunked\r\n", "zz\r\nhello\r\n0\r\n\r\n"),
        ),
        refused("a chunk size with a sign", &put("Transfer-Encoding: chunked\r\n", "+5\r\nhello\r\n0\r\n\r\n")),
        refused("a chunk size with a prefix", &put("Transfer-Encoding: chunked\r\n", "0x5\r\nhello\r\n0\r\n\r\n")),
        refused(
            "a chunk size beyond numbers",
            &put("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ),
        refused("a chunk longer than its size", &put("Transfer-Encoding: chunked\r\n", "3\r\nhello\r\n0\r\n\r\n")),
        refused("a bare LF in a chunk's extension", &put("Transfer-Encoding: chunked\r\n", "5;a\nhello\r\n0\r\n\r\n")),
        refused("no host", "GET /a HTTP/1.1\r\n\r\n"),
        refused("two hosts", "GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        refused("a host with a path", "GET /a HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        refused("a host with a user", "GET /a HTTP/1.1\r\nHost: user@a\r\n\r\n"),
        refused("another host in the target", "GET http://other.test/a HTTP/1.1\r\nHost: venue.test\r\n\r\n"),
        refused("a scheme that is not HTTP", "GET ftp://venue.test/a HTTP/1.1\r\nHost: venue.test\r\n\r\n"),
        refused("a target without a slash", "GET a HTTP/1.1\r\nHost: venue.test\r\n\r\n"),
        refused("a space in the target", "GET /a b HTTP/1.1\r\nHost: venue.test\r\n\r\n"),
        refused("a control character in the target", "GET /a\x01 HTTP/1.1\r\nHost: venue.test\r\n\r\n"),
        refused("a version that does not exist", "GET /a HTTP/9.9\r\nHost: venue.test\r\n\r\n"),
        refused("a method that is not a token", "GE(T /a HTTP/1.1\r\nHost: venue.test\r\n\r\n"),
        refused(
            "an upgrade with a body",
            &put("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n", "hello"),
        ),
    ];
    cases.extend([
        Case {
            name: "chunked twice",
            bytes: put("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", &smuggled),
            statuses: &[400, 501],
            seen: 0,
        },
        Case {
            name: "a coding before chunked",
            bytes: put("Transfer-Encoding: gzip, chunked\r\n", &smuggled),
            statuses: &[501],
            seen: 0,
        },
        Case {
            name: "CONNECT",
            bytes: "CONNECT venue.test:80 HTTP/1.1\r\nHost: venue.test:80\r\n\r\n".to_owned(),
            statuses: &[405],
            seen: 0,
        },
        Case { name: "TRACE", bytes: "TRACE /a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), statuses: &[405], seen: 0 },
        Case {
            name: "an expectation",
            bytes: put("Expect: a-miracle\r\nContent-Length: 5\r\n", "hello"),
            statuses: &[417],
            seen: 0,
        },
        Case {
            name: "h2c with its own request inside",
            bytes: format!(
                "GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                 HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET {HIDDEN}"
            ),
            statuses: &[200],
            seen: 1,
        },
        Case {
            name: "Connection that names the length",
            bytes: put("Connection: content-length, host, close\r\nContent-Length: 5\r\n", "hello"),
            statuses: &[200],
            seen: 1,
        },
        Case {
            name: "a websocket that the node declines",
            bytes: "GET /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n".to_owned(),
            statuses: &[200],
            seen: 1,
        },
        Case {
            name: "a body that a GET has",
            bytes: put("Content-Length: 5\r\n", "hello").replace("PUT", "GET"),
            statuses: &[200],
            seen: 1,
        },
    ]);
    cases
}

#[tokio::test]
async fn nothing_reaches_a_node_that_its_client_did_not_mean() {
    for case in cases() {
        let node = RawNode::start(|_, _| ok("fine")).await;
        let world = World::one(&node, "").await;
        let mut client = Client::connect(world.address).await;
        client.send(&case.bytes).await;
        let reply = client.reply(false).await;
        assert!(case.statuses.contains(&reply.status), "{}: {}", case.name, reply.raw);
        if case.seen == 0 && reply.status != 417 {
            // The edge reads nothing more from such a connection, because the next bytes have no meaning.
            client.send(format!("GET {HIDDEN} HTTP/1.1\r\nHost: venue.test\r\n\r\n")).await;
            let rest = client.rest().await;
            assert!(!rest.contains("fine"), "{}: {rest}", case.name);
        }
        assert_eq!(node.count(), case.seen, "{}", case.name);
        let bytes = String::from_utf8_lossy(&node.bytes.lock().unwrap()).into_owned();
        assert!(!bytes.contains(HIDDEN), "{}: {bytes}", case.name);
        let lower = bytes.to_ascii_lowercase();
        assert!(!(lower.contains("content-length") && lower.contains("transfer-encoding")), "{}: {bytes}", case.name);
        assert!(!lower.contains("h2c") && !lower.contains("http2-settings"), "{}: {bytes}", case.name);
    }
}

#[tokio::test]
async fn a_body_that_looks_like_a_request_stays_a_body() {
    let hidden = format!("GET {HIDDEN} HTTP/1.1\r\nHost: venue.test\r\n\r\n");
    let node = RawNode::start(|_, _| ok("fine")).await;
    let world = World::one(&node, "").await;
    let mut client = Client::connect(world.address).await;
    let sized = format!("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len());
    let chunked = format!(
        "PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x};x=\"y\"\r\n{hidden}\r\n0\r\nX-Trailer: Content-Length\r\n\r\n",
        hidden.len()
    );
    // Pipelined, so that all requests are in the edge's buffers at once.
    client.send(format!("{sized}{chunked}{sized}")).await;
    for _ in 0..3 {
        assert_eq!(client.reply(false).await.status, 200);
    }
    assert_eq!(node.count(), 3);
    for number in 0..3 {
        let request = node.request(number);
        assert!(request.starts_with("PUT /a "), "{request}");
        assert!(request.contains(&format!("content-length: {}\r\n", hidden.len())), "{request}");
        assert!(request.ends_with(&hidden), "{request}");
        assert!(!request.to_ascii_lowercase().contains("x-trailer"), "a trailer is no header: {request}");
    }
}
