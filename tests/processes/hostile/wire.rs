//! Invalid HTTP: too large, endless, too slow, garbage.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use super::Guarded;
use crate::common::{Answer, Call, client, holds};

/// The largest body that is read.
const LARGEST: usize = 16 * 1024;
/// Time limit of an answer to a well-behaved client, whatever other clients do, on a busy machine.
const PROMPT: Duration = Duration::from_secs(5);

#[test]
fn bodies_are_bounded_and_heads_too() {
    let guarded = Guarded::start(&["development"]);
    let node = &guarded.deployment.nodes[0];
    let visits = format!("{}/visits", guarded.venue.path);
    let post = || Call::new("POST", &visits);

    // A body of one byte too many is refused by its length alone; the largest body is read and then checked.
    let nameless = json!({"persons": [{"name": "", "phone": "030 1234"}]}).to_string();
    let sized = |length: usize| post().header("Content-Type", "application/json").bytes(format!("{nameless:<length$}"));
    node.ask(&sized(LARGEST)).problem(422);
    node.ask(&sized(LARGEST + 1)).problem(413);
    node.ask(&post().header("Content-Type", "application/json").header("Content-Length", "99999999999")).problem(413);
    endless(node.public, &visits).problem(413);

    node.ask(&post().header("Content-Type", "text/xml").bytes("<visit/>")).problem(415);
    node.ask(&post().header("Content-Type", "application/json; charset=utf-16").bytes("{}")).problem(415);
    node.ask(&post()).problem(411);
    node.ask(&post().header("Content-Type", "application/json").bytes(b"\xff\xfe{\x00}\x00".to_vec())).problem(400);

    let flood = |count: usize, length: usize| {
        let call = Call::new("GET", "/healthz");
        (0..count).fold(call, |call, number| call.header(&format!("X-{number}"), "Q".repeat(length)))
    };
    node.ask(&flood(40, 10)).expect(200);
    for (count, length) in [(200, 10), (1, 40_000), (60, 2_000)] {
        // The node refuses it with its own status, or closes the connection before it has read everything.
        match flood(count, length).send(node.public) {
            Ok(answer) => assert!(matches!(answer.status, 400 | 431), "{answer:?}"),
            Err(error) => assert_ne!(error.kind(), ErrorKind::WouldBlock, "left to hang"),
        }
        node.ask(&Call::new("GET", "/healthz")).expect(200);
    }
    guarded.unharmed();
}

/// RFC 9112, sections 3.2 and 6: one host, one length, one transfer coding.
#[test]
fn a_head_with_no_host_or_two_meanings_is_refused() {
    let guarded = Guarded::start(&["development"]);
    let node = &guarded.deployment.nodes[0];
    for at in [node.public, node.admin] {
        let ask = |head: &str| {
            let mut stream = client::connect(at).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            client::read(&mut stream).unwrap()
        };
        let one = |lines: &str| format!("GET /healthz HTTP/1.1\r\nConnection: close\r\n{lines}\r\n");
        ask(&one("Host: x\r\n")).expect(200);
        ask("GET /healthz HTTP/1.0\r\n\r\n").expect(200);
        for lines in ["", "Host: a\r\nHost: b\r\n", "Host: a\r\nHost: a\r\n", "Host: a b\r\n", "Host: me@a\r\n"] {
            let problem = ask(&one(lines)).problem(400);
            assert_eq!(problem["type"], "urn:meridian:problem:bad-request", "{lines:?}");
        }
        let other = "GET http://a/healthz HTTP/1.1\r\nConnection: close\r\nHost: b\r\n\r\n";
        assert_eq!(ask(other).problem(400)["type"], "urn:meridian:problem:bad-request");
    }
    guarded.unharmed();
}

/// Sends chunks until the server answers or closes, and reads the answer.
fn endless(to: SocketAddr, path: &str) -> Answer {
    let mut stream = client::connect(to).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = format!("400\r\n{}\r\n", " ".repeat(0x400));
    stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    for sent in 0.. {
        assert!(sent < 10_000, "the server reads on for ever");
        // The server may close at any moment after its answer, so no more is sent than needed.
        let answered = stream.peek(&mut [0]).is_ok();
        if answered || stream.write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client::read(&mut stream).unwrap()
}

#[test]
fn garbage_is_answered_or_closed() {
    let guarded = Guarded::start(&["development"]);
    let node = &guarded.deployment.nodes[0];
    let visits = format!("{}/visits", guarded.venue.path);
    let long_path = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(60_000));
    let two_lengths =
        format!("POST {visits} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}x");
    let bad_chunk = format!("POST {visits} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
    let tricks: [&[u8]; 9] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        long_path.as_bytes(),
        two_lengths.as_bytes(),
        bad_chunk.as_bytes(),
    ];
    for trick in tricks {
        let mut stream = client::connect(node.public).unwrap();
        // The server may close while this is still being sent.
        let sent = stream.write_all(trick);
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let shown = String::from_utf8_lossy(&trick[..trick.len().min(60)]).into_owned();
        let hung =
            read.as_ref().is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        assert!(!hung, "left to hang: {shown} {sent:?}");
        let said = String::from_utf8_lossy(&answer);
        assert!(!said.starts_with("HTTP/1.1 2") && !said.starts_with("HTTP/1.1 5"), "{shown}: {said}");
    }
    guarded.unharmed();
}

#[test]
fn slow_clients_are_closed_and_block_no_other_client() {
    let guarded = Guarded::start(&["development"]);
    let node = &guarded.deployment.nodes[0];
    let partial = "GET /healthz HTTP/1.1\r\nHost: slow";
    let mut slow: Vec<TcpStream> = (0..200).map(|_| client::connect(node.public).unwrap()).collect();
    for (number, stream) in slow.iter_mut().enumerate() {
        // Some send nothing at all, others a part of the head.
        stream.write_all(&partial.as_bytes()[..number % partial.len()]).unwrap();
    }
    holds("all of them are connected", PROMPT, || node.metric("meridian_http_connections") >= 200.0);
    for _ in 0..20 {
        let asked = Instant::now();
        guarded.guest.get().to(node.public).expect(200);
        assert!(asked.elapsed() < PROMPT, "{:?}", asked.elapsed());
    }
    // The node waits for a body that never ends up to its deadline, and other clients do not wait.
    let mut stalled = client::connect(node.public).unwrap();
    let put = guarded.guest.put().render("meridian.test");
    stalled.write_all(&put[..put.len() - 5]).unwrap();
    guarded.guest.put().to(node.public).expect(200);
    client::read(&mut stalled).unwrap().problem(408);
    // The read ends with the server's close, or fails at its time limit.
    for mut stream in slow {
        match stream.read_to_end(&mut Vec::new()) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    guarded.unharmed();
}
