//! HTTP/2: its semantics, and the limits that floods run into.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2;
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Act, Client, RawNode, World, ok, say, soon, until};

async fn connect(world: &World) -> http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(world.address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(method: &str, body: &'static str) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri("http://venue.test/v1/venues/v?x=1").version(Version::HTTP_2);
    request.header("te", "trailers").body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap()
}

#[tokio::test]
async fn requests_become_http_1_1_and_streams_are_independent() {
    let node = RawNode::start(|_, request| if request.contains("hang") { Act::Hang } else { ok("fine") }).await;
    let world = World::one(&node, "").await;
    let mut sender = connect(&world).await;
    let hanging = sender.send_request(request("PUT", "hang"));
    let response = soon(sender.send_request(request("PUT", "body"))).await.unwrap();
    assert_eq!((response.version(), response.status().as_u16()), (Version::HTTP_2, 200));
    assert_eq!(soon(response.into_body().collect()).await.unwrap().to_bytes(), "fine");
    let sent = (0..node.count()).map(|number| node.request(number)).find(|sent| sent.ends_with("body")).unwrap();
    assert!(sent.starts_with("PUT /v1/venues/v?x=1 HTTP/1.1\r\n"), "{sent}");
    assert!(sent.contains("host: venue.test\r\n") && sent.contains("content-length: 4\r\n"), "{sent}");
    drop(hanging);
    let response = soon(sender.send_request(request("CONNECT", "")));
    // hyper's client writes CONNECT without path and scheme, as it must.
    assert!(response.await.map_or(true, |response| response.status() == 405));
}

#[tokio::test]
async fn an_answer_that_breaks_off_resets_its_stream_and_no_other() {
    let node = RawNode::start(|_, request| {
        if request.starts_with("GET") {
            Act::SayAndClose("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_owned())
        } else {
            ok("fine")
        }
    })
    .await;
    let world = World::one(&node, "").await;
    let mut sender = connect(&world).await;
    let broken = soon(sender.send_request(request("GET", ""))).await.unwrap();
    assert!(soon(broken.into_body().collect()).await.is_err());
    let whole = soon(sender.send_request(request("PUT", ""))).await.unwrap();
    assert_eq!(soon(whole.into_body().collect()).await.unwrap().to_bytes(), "fine");
}

#[tokio::test]
async fn trailers_pass() {
    let node = RawNode::start(|_, _| {
        say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n4\r\nfine\r\n0\r\nX-Sum: 42\r\n\r\n")
    })
    .await;
    let world = World::one(&node, "").await;
    let response = soon(connect(&world).await.send_request(request("GET", ""))).await.unwrap();
    assert!(!response.headers().contains_key("transfer-encoding"));
    let body = soon(response.into_body().collect()).await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-sum"], "42");
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// HPACK literals without indexing, which need no table and no Huffman code.
fn head(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":path", "/a"), (":authority", "venue.test")];

#[tokio::test]
async fn a_flood_of_resets_ends_the_connection() {
    let node = RawNode::start(|_, _| Act::Hang).await;
    let world = World::one(&node, "[limits]\nstreams = 20").await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let mut flood = [PREFACE, &frame(4, 0, 0, &[])].concat();
    for number in 0..20_000_u32 {
        flood.extend(frame(1, 0x5, number * 2 + 1, &head(&GET)));
        flood.extend(frame(3, 0, number * 2 + 1, &[0, 0, 0, 8]));
    }
    let (mut reads, mut writes) = stream.split();
    let writing = async {
        let _ = writes.write_all(&flood).await;
    };
    let reading = async {
        let mut sink = Vec::new();
        let _ = reads.read_to_end(&mut sink).await;
    };
    soon(async { tokio::join!(writing, reading) }).await;
    until(|| world.metric("connections", "") == 0.0).await;
    assert!(node.count() < 200, "{} of 20000 reached the node", node.count());
}

#[tokio::test]
async fn heads_with_two_meanings_are_refused() {
    let with = |more: &[(&'static str, &'static str)]| [GET.as_slice(), more].concat();
    let without = |name: &str| GET.into_iter().filter(|(one, _)| *one != name).collect::<Vec<_>>();
    for (case, fields) in [
        ("a coding", with(&[("transfer-encoding", "chunked")])),
        ("a connection", with(&[("connection", "keep-alive")])),
        ("a length that is wrong", with(&[("content-length", "5")])),
        ("another host", with(&[("host", "other.test")])),
        ("no host", without(":authority")),
        ("no path", without(":path")),
        ("no method", without(":method")),
        ("a capital", with(&[("X-Capital", "y")])),
        ("a line end in a value", with(&[("x", "a\r\nHost: b")])),
        ("a line end in the path", vec![GET[0], GET[1], (":path", "/a HTTP/1.1\r\nX: y"), GET[3]]),
        ("a pseudo-header at the end", [&GET[..3], &[("x", "y")], &GET[3..]].concat()),
        ("two paths", with(&[(":path", "/b")])),
        ("an unknown pseudo-header", [&[(":odd", "y")], GET.as_slice()].concat()),
    ] {
        let node = RawNode::named("eu").await;
        let world = World::one(&node, "").await;
        let mut client = Client::connect(world.address).await;
        client.send([PREFACE, &frame(4, 0, 0, &[]), &frame(1, 0x5, 1, &head(&fields))].concat()).await;
        // A ping whose answer shows that the request was handled; otherwise the connection is closed.
        client.send(frame(6, 0, 0, b"all read")).await;
        let mut got = Vec::new();
        soon(async {
            let mut piece = [0; 4096];
            while !got.windows(8).any(|window| window == b"all read") {
                match client.0.read(&mut piece).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => got.extend_from_slice(&piece[..read]),
                }
            }
        })
        .await;
        drop(client);
        until(|| world.metric("connections", "") == 0.0).await;
        assert_eq!(node.count(), 0, "{case}");
    }
}

#[tokio::test]
async fn stopping_says_goaway_and_finishes() {
    let node = RawNode::start(|_, _| ok("fine")).await;
    let world = World::one(&node, "").await;
    let stream = TcpStream::connect(world.address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let get = Request::get("http://venue.test/").body(Empty::new()).unwrap();
    assert_eq!(soon(sender.send_request(get)).await.unwrap().status(), 200);
    world.stop.send_replace(true);
    soon(connection).await.unwrap().unwrap();
    soon(world.server.stopped()).await;
}
