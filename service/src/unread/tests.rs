//! Answers that nobody reads, alone, in a crowd, and over real sockets.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Body, Frame};
use hyper::client::conn::http2;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{CROWD, MOMENT, MOST, Reader, Readers, SHARE, Watched};
use crate::ended::{Ended, EndedConnections};
use crate::listen::{self, Listener, Serving};

const HOUR: Duration = Duration::from_hours(1);
const SOON: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

/// A body that never has a piece.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

fn answers(reader: &Reader, count: usize) -> Vec<Watched<Full<Bytes>>> {
    (0..count).map(|_| reader.watch(Full::new(Bytes::from_static(b"x")))).collect()
}

async fn is_over(reader: &Reader, within: Duration) -> bool {
    timeout(within, reader.is_over()).await.is_ok()
}

#[tokio::test]
async fn an_answer_that_nobody_takes_ends_its_connection_and_one_that_waits_for_its_source_does_not() {
    let readers = Readers::new(SHORT);
    let watching = tokio::spawn({
        let readers = readers.clone();
        async move { readers.watch().await }
    });
    let (slow, patient) = (readers.connection(), readers.connection());
    let _unread = answers(&slow, 1);
    let mut endless = patient.watch(Endless);
    assert!(timeout(SHORT, endless.frame()).await.is_err(), "it has no piece");
    assert!(is_over(&slow, SOON).await);
    assert!(!is_over(&patient, SHORT).await);
    watching.abort();
}

#[tokio::test]
async fn a_piece_that_is_not_sent_counts_and_a_piece_that_was_sent_does_not() {
    let readers = Readers::new(SHORT);
    let connection = readers.connection();
    let mut answer = connection.watch(Full::new(Bytes::from_static(b"four")));
    let piece = answer.frame().await.unwrap().unwrap();
    drop(answer);
    assert_eq!(connection.connection.waits(u64::MAX).len(), 1, "the piece is under way");
    drop(piece);
    assert!(connection.connection.waits(u64::MAX).is_empty());
    assert_eq!(readers.0.waiting.load(std::sync::atomic::Ordering::Relaxed), 0);
}

fn watched(readers: &Readers) -> tokio::task::JoinHandle<()> {
    let readers = readers.clone();
    tokio::spawn(async move { readers.watch().await })
}

#[tokio::test]
async fn in_a_crowd_a_second_is_too_long_for_those_that_hold_much_of_it() {
    let readers = Readers::new(HOUR);
    let watching = watched(&readers);
    let (few, crowd) = (readers.connection(), readers.connection());
    let _few = answers(&few, SHARE);
    let _many = answers(&crowd, CROWD);
    assert!(is_over(&crowd, SOON).await);
    assert!(!is_over(&few, Duration::from_secs(2)).await, "a connection with few answers stays");
    watching.abort();
}

#[tokio::test]
async fn when_most_answers_wait_a_second_is_too_long_for_all() {
    let readers = Readers::new(HOUR);
    let watching = watched(&readers);
    let crowd: Vec<Reader> = (0..=MOST).map(|_| readers.connection()).collect();
    let _waiting: Vec<_> = crowd.iter().map(|connection| answers(connection, 1)).collect();
    for connection in [&crowd[0], &crowd[MOST]] {
        assert!(is_over(connection, SOON).await);
    }
    watching.abort();
}

/// Endless streams wait for their source, so any number of them costs nobody else a connection.
#[tokio::test]
async fn a_connection_that_adds_to_many_waiting_answers_is_closed_at_once() {
    let readers = Readers::new(HOUR);
    let [streams, many, next, fresh] = [(); 4].map(|()| readers.connection());
    let mut endless: Vec<_> = (0..MOST + 1).map(|_| streams.watch(Endless)).collect();
    for stream in &mut endless {
        assert!(timeout(Duration::ZERO, stream.frame()).await.is_err(), "it has no piece");
    }
    let _next = answers(&next, SHARE + 1);
    tokio::time::sleep(2 * MOMENT).await;
    let _one_more = answers(&next, 1);
    assert!(!is_over(&next, SHORT).await, "nobody waits for a client but this one");
    let _many = answers(&many, MOST);
    let _fresh = answers(&fresh, 2 * SHARE);
    assert!(!is_over(&fresh, Duration::ZERO).await, "its client may be about to read");
    tokio::time::sleep(2 * MOMENT).await;
    let _last = answers(&next, 1);
    assert!(is_over(&next, SHORT).await);
}

/// A server whose answers are 1 MiB, which gives up a client that reads nothing of them for so long, and what it counts.
async fn server(unread: Duration) -> (std::net::SocketAddr, watch::Sender<bool>, EndedConnections) {
    let ended = EndedConnections::new("x").unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let serving = Serving { idle: HOUR, open: None, gate: None, tell_peer: false, unread };
    let answer = |_: Request<_>| async { Response::new(Full::new(Bytes::from(vec![0; 1 << 20]))) };
    let listener = Listener::unlimited(socket).counting(ended.of("public"));
    tokio::spawn(listen::serve(listener, serving, stopped, answer));
    (address, stop, ended)
}

/// Waits until the server has counted so many for any of these reasons.
async fn counted(ended: &EndedConnections, reasons: &[Ended], count: u64) {
    let read = |reason: &Ended| ended.collector().with_label_values(&["public", reason.name()]).get();
    let come = async {
        while reasons.iter().map(read).sum::<u64>() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, come).await.expect("it is counted");
    assert_eq!(Ended::ALL.iter().map(read).sum::<u64>(), count, "and nothing else is");
}

/// With a window of no bytes hyper is never asked for the body, and with one of a byte it holds the whole body.
#[tokio::test]
async fn http2_with_a_shut_window_is_disconnected() {
    let (address, _stop, ended) = server(SHORT).await;
    for window in [0, 1] {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window).adaptive_window(false);
        let (mut send, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = Request::get("http://x/").body(Empty::<Bytes>::new()).unwrap();
        let held = send.send_request(request).await.unwrap();
        assert!(timeout(SOON, connection).await.is_ok(), "window {window}");
        drop(held);
    }
    counted(&ended, &[Ended::Unread], 2).await;
}

#[tokio::test]
async fn http1_without_a_reader_is_disconnected() {
    let (address, _stop, ended) = server(SHORT).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let requests = "GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(64);
    stream.write_all(requests.as_bytes()).await.unwrap();
    // Of 64 MiB the sockets hold some; the rest is never sent.
    let closed = async {
        loop {
            if stream.write_all(requests.as_bytes()).await.is_err() {
                return;
            }
            tokio::time::sleep(SHORT).await;
        }
    };
    timeout(SOON, closed).await.expect("the server closes the connection");
    let mut rest = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut rest)).await.expect("the connection is over");
    assert!(read.is_err() || rest.len() < 64 << 20, "{read:?}");
    // The write and the answer wait for the same time.
    counted(&ended, &[Ended::Unread, Ended::WriteDeadline], 1).await;
}

/// A client that reads slowly, but reads, gets everything.
#[tokio::test]
async fn a_slow_reader_gets_its_whole_answer() {
    let unread = Duration::from_secs(2);
    let (address, _stop, ended) = server(unread).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(1 << 16);
    let (mut send, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://x/").body(Empty::<Bytes>::new()).unwrap();
    let mut body = send.send_request(request).await.unwrap().into_body();
    let (mut length, begun) = (0, Instant::now());
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().into_data().map_or(0, |data| data.len());
        tokio::time::sleep(unread / 40).await;
    }
    assert_eq!(length, 1 << 20);
    assert!(begun.elapsed() > unread, "no piece waits for so long, but the whole answer does");
    counted(&ended, &[], 0).await;
}
