//! Streamed bodies are never gathered: large bodies, server-sent events, WebSockets.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Act, Client, RawNode, World, soon, until};

const LARGE: usize = 64 << 20;
const PIECE: usize = 64 << 10;

/// A listener that returns its first connection.
async fn node() -> (std::net::SocketAddr, tokio::task::JoinHandle<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(async move { listener.accept().await.unwrap().0 }))
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_large_upload_stops_when_the_node_stops_reading_and_arrives_whole() {
    let (address, accepted) = node().await;
    let world = World::new(
        [&[address], &[], &[]],
        "[limits]\nbody_kib = 131072\n[timeouts]\nbody_idle_ms = 60000\nanswer_ms = 60000",
    )
    .await;
    let mut client = Client::connect(world.address).await;
    client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n")).await;
    let mut stream = soon(accepted).await.unwrap();
    let (mut reads, mut writes) = client.0.split();
    let mut sent = 0;
    // The node reads nothing, so at some point the edge accepts no more, long before it holds the whole body in memory.
    let piece = vec![b'x'; PIECE];
    while let Ok(Ok(count)) =
        tokio::time::timeout(std::time::Duration::from_millis(500), writes.write(&piece[..PIECE.min(LARGE - sent)]))
            .await
    {
        sent += count;
        assert!(sent < LARGE / 2, "{sent} bytes are somewhere, and the node has none");
    }
    let uploading = async {
        while sent < LARGE {
            sent += writes.write(&piece[..PIECE.min(LARGE - sent)]).await.unwrap();
        }
    };
    let receiving = async {
        let head = read_head(&mut stream).await;
        assert!(head.contains(&format!("content-length: {LARGE}")), "{head}");
        let mut received = 0;
        let mut buffer = vec![0; PIECE];
        while received < LARGE {
            received += stream.read(&mut buffer).await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    };
    soon(async { tokio::join!(uploading, receiving) }).await;
    let mut answer = vec![0; 12];
    soon(reads.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 201");
}

#[tokio::test]
async fn a_large_download_stops_when_the_client_stops_reading_and_arrives_whole() {
    let (address, accepted) = node().await;
    let world = World::new([&[address], &[], &[]], "[timeouts]\nwrite_ms = 60000").await;
    let mut client = Client::connect(world.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut stream = soon(accepted).await.unwrap();
    read_head(&mut stream).await;
    stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").as_bytes()).await.unwrap();
    client.read_until("\r\n\r\n").await;
    let piece = vec![b'x'; PIECE];
    let mut sent = 0;
    while let Ok(Ok(count)) =
        tokio::time::timeout(std::time::Duration::from_millis(500), stream.write(&piece[..PIECE.min(LARGE - sent)]))
            .await
    {
        sent += count;
        assert!(sent < LARGE / 2, "{sent} bytes are somewhere, and the client has none");
    }
    let sending = async {
        while sent < LARGE {
            sent += stream.write(&piece[..PIECE.min(LARGE - sent)]).await.unwrap();
        }
    };
    let reading = async {
        let mut received = 0;
        let mut buffer = vec![0; PIECE];
        // The bytes that `read_until` read beyond the head count as well.
        while received + PIECE < LARGE {
            received += client.0.read(&mut buffer).await.unwrap();
        }
    };
    soon(async { tokio::join!(sending, reading) }).await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_dropped() {
    let body = "x".repeat(32 << 20);
    let node = RawNode::start(move |_, _| crate::support::ok(&body)).await;
    let world = World::one(&node, "[timeouts]\nwrite_ms = 100").await;
    let mut client = Client::connect(world.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until(|| world.metric("connections", "") == 1.0).await;
    until(|| world.metric("connections", "") == 0.0).await;
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let (address, accepted) = node().await;
    let world = World::new([&[address], &[], &[]], "").await;
    let mut client = Client::connect(world.address).await;
    client.send("GET /v1/venues/v/changes HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 7\r\n\r\n").await;
    let mut stream = soon(accepted).await.unwrap();
    assert!(read_head(&mut stream).await.contains("last-event-id: 7"));
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head).await.unwrap();
    client.read_until("\r\n\r\n").await;
    for number in 0..5 {
        let event = format!("data: {number}\n\n");
        stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await.unwrap();
        // The event is here before the next one is written.
        client.read_until(&event).await;
    }
    drop(client);
    // The node notices that the client is gone once it sends something: a client may have ended only its own side.
    let (mut from, mut to) = stream.split();
    let sending = async {
        while to.write_all(b"2\r\n:\n\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let mut rest = Vec::new();
    soon(async {
        tokio::select! { () = sending => {}, _ = from.read_to_end(&mut rest) => {} }
    })
    .await;
}

#[tokio::test]
async fn a_websocket_passes_both_ways_until_it_ends() {
    let (address, accepted) = node().await;
    let world = World::new([&[address], &[], &[]], "").await;
    let mut client = Client::connect(world.address).await;
    client
        .send(
            "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )
        .await;
    let mut stream = soon(accepted).await.unwrap();
    let head = read_head(&mut stream).await;
    assert!(head.contains("connection: Upgrade") && head.contains("upgrade: websocket"), "{head}");
    assert!(head.contains("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="), "{head}");
    let agreed = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello";
    stream.write_all(agreed).await.unwrap();
    let head = client.read_until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("sec-websocket-accept"), "{head}");
    client.read_until("hello").await;
    // Bytes that would be damaged if the edge took them for a head.
    let frame = "PUT / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for _ in 0..3 {
        client.send(frame).await;
        let mut echo = vec![0; frame.len()];
        soon(stream.read_exact(&mut echo)).await.unwrap();
        assert_eq!(echo, frame.as_bytes());
        stream.write_all(&echo).await.unwrap();
        assert_eq!(client.read_until("\r\n\r\n").await, frame);
    }
    assert_eq!(world.metric("upgraded_connections", ""), 1.0);
    drop(stream);
    assert_eq!(client.rest().await, "");
    drop(client);
    until(|| world.metric("upgraded_connections", "") == 0.0 && world.metric("connections", "") == 0.0).await;
}

#[tokio::test]
async fn a_node_that_falls_silent_in_its_answer_is_given_up() {
    let node = RawNode::start(|_, _| Act::Say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_owned())).await;
    let world = World::one(&node, "[timeouts]\nanswer_idle_ms = 100").await;
    let mut client = Client::connect(world.address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.rest().await.ends_with("half"));
}
