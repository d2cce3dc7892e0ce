//! The network between the nodes: each node reaches each peer through a listener here, and each direction of a pair has
//! its own delay, rate and cut.
//!
//! A cut holds bytes back, as TCP does while packets are lost: what was sent arrives after the cut, unless a node has
//! given the connection up meanwhile. A connection that is begun during a cut stays silent until its end.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// Bytes that are read at one time.
const PIECE: usize = 4 * 1024;
/// Pieces on their way in one direction of one connection.
const ON_THE_WAY: usize = 256;

/// The state of one direction of a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// Nothing passes.
    pub is_cut: bool,
    /// Everything arrives so much later.
    pub delay: Duration,
    /// Bytes a second; any number if there is none.
    pub rate: Option<u32>,
}

/// All lines between so many nodes.
pub(crate) struct Forwarder {
    nodes: usize,
    /// By sender, then by receiver.
    lines: Vec<watch::Sender<Line>>,
    /// Counts how often the connections of a pair were broken, by sender, then by receiver.
    breaks: Vec<watch::Sender<u64>>,
}

impl Forwarder {
    /// Lines that work.
    pub(crate) fn new(nodes: usize) -> Forwarder {
        let lines = (0..nodes * nodes).map(|_| watch::Sender::default()).collect();
        let breaks = (0..nodes * nodes).map(|_| watch::Sender::default()).collect();
        Forwarder { nodes, lines, breaks }
    }

    /// Accepts the connections that one node makes to another, for as long as the runtime lives.
    pub(crate) fn serve(&self, from: usize, to: usize, listener: std::net::TcpListener, target: SocketAddr) {
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let there = self.lines[from * self.nodes + to].subscribe();
        let back = self.lines[to * self.nodes + from].subscribe();
        let breaks = self.breaks[from * self.nodes + to].subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, target, there.clone(), back.clone(), breaks.clone()));
            }
        });
    }

    /// Sets the state of one direction.
    pub(crate) fn set(&self, from: usize, to: usize, line: Line) {
        self.lines[from * self.nodes + to].send_if_modified(|old| std::mem::replace(old, line) != line);
    }

    /// Breaks the connections of a pair, whichever node has made them.
    pub(crate) fn break_pair(&self, one: usize, other: usize) {
        for pair in [one * self.nodes + other, other * self.nodes + one] {
            self.breaks[pair].send_modify(|count| *count += 1);
        }
    }
}

/// Carries one connection until either end closes it, or it is broken.
async fn carry(
    near: TcpStream,
    target: SocketAddr,
    mut there: watch::Receiver<Line>,
    back: watch::Receiver<Line>,
    mut breaks: watch::Receiver<u64>,
) {
    breaks.mark_unchanged();
    let open = async {
        // The first packet of a connection waits like any other.
        there.wait_for(|line| !line.is_cut).await.ok()?;
        TcpStream::connect(target).await.ok()
    };
    let far = tokio::select! {
        far = open => far,
        _ = breaks.changed() => None,
    };
    let Some(far) = far else { return };
    // Small frames must not wait for more; a connection without this is slower and otherwise the same.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    // A node that sees the end of one direction closes the other, so the first end is the end of both.
    tokio::select! {
        () = pump(near_in, far_out, there) => {}
        () = pump(far_in, near_out, back) => {}
        _ = breaks.changed() => {}
    }
}

/// Carries one direction until its end has arrived.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut line: watch::Receiver<Line>) {
    let (pieces, mut arriving) = mpsc::channel::<(Instant, Bytes)>(ON_THE_WAY);
    let reading = async move {
        let mut piece = vec![0; PIECE];
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            if pieces.send((Instant::now(), Bytes::copy_from_slice(&piece[..count]))).await.is_err() {
                return;
            }
        }
        // An end passes the line like a byte.
        let _ = pieces.send((Instant::now(), Bytes::new())).await;
    };
    let writing = async move {
        while let Some((sent, piece)) = arriving.recv().await {
            passes(&mut line, sent, piece.len()).await;
            if piece.is_empty() || to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = writing => {}
        () = async { reading.await; std::future::pending().await } => {}
    }
}

/// Waits until the line lets a piece pass that was sent at `sent`.
async fn passes(line: &mut watch::Receiver<Line>, sent: Instant, bytes: usize) {
    loop {
        let now = *line.borrow_and_update();
        let due = sent + now.delay;
        tokio::select! {
            () = sleep_until(due), if !now.is_cut => {
                if let Some(rate) = now.rate {
                    sleep(Duration::from_secs_f64(bytes as f64 / f64::from(rate))).await;
                }
                return;
            }
            changed = line.changed() => if changed.is_err() { return },
        }
    }
}
