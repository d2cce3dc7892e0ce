//! Receives and sends many datagrams per system call (`recvmmsg`, `sendmmsg`), which halves the cost of a query.
//!
//! # Not here
//! Systems without these calls: `single.rs`.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};

use super::{Failures, LONGEST_QUERY, Worker};

/// Datagrams per system call; more bring no further gain.
const BATCH: usize = 32;

/// Answers to be sent.
struct Outbox {
    answers: [Vec<u8>; BATCH],
    to: [SocketAddr; BATCH],
    filled: usize,
}

/// Receives a batch, answers it and sends the answers, until `stop` is true.
pub(super) fn serve(socket: &UdpSocket, worker: &mut Worker) -> io::Result<()> {
    let mut inbox = vec![[0_u8; LONGEST_QUERY]; BATCH];
    let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut outbox = Outbox { answers: Default::default(), to: [nobody; BATCH], filled: 0 };
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    let mut failures = Failures::default();
    while worker.tick() {
        match receive(socket, &mut inbox, &mut headers, &mut outbox, worker) {
            Ok(()) => failures.success(),
            Err(error) => failures.failure(error)?,
        }
        send(socket, &outbox, worker);
        outbox.filled = 0;
    }
    Ok(())
}

/// Waits for one datagram and takes all others that have arrived.
fn receive(
    socket: &UdpSocket,
    inbox: &mut [[u8; LONGEST_QUERY]],
    headers: &mut MultiHeaders<SockaddrStorage>,
    outbox: &mut Outbox,
    worker: &mut Worker,
) -> io::Result<()> {
    let mut places = inbox.iter_mut().map(|place| [IoSliceMut::new(place)]);
    let mut places: [[IoSliceMut<'_>; 1]; BATCH] =
        std::array::from_fn(|_| places.next().unwrap_or_else(|| [IoSliceMut::new(&mut [])]));
    let received = recvmmsg(socket.as_raw_fd(), headers, places.iter_mut(), MsgFlags::MSG_WAITFORONE, None)?;
    for message in received {
        let Some(from) = message.address.as_ref().and_then(address) else { continue };
        let octets = message.iovs().next().unwrap_or_default();
        if worker.answer(octets, from, &mut outbox.answers[outbox.filled]) {
            outbox.to[outbox.filled] = from;
            outbox.filled += 1;
        }
    }
    Ok(())
}

fn address(from: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = from.as_sockaddr_in().map(|from| SocketAddrV4::from(*from).into());
    v4.or_else(|| from.as_sockaddr_in6().map(|from| SocketAddrV6::from(*from).into()))
}

/// Sends all answers. If the system refuses one, the others are still sent.
fn send(socket: &UdpSocket, outbox: &Outbox, worker: &Worker) {
    let mut first = 0;
    while first < outbox.filled {
        // Most batches are small, so the lists hold only the filled places.
        let left = first..outbox.filled;
        let to: Vec<SocketAddrAny> = outbox.to[left.clone()].iter().map(|to| (*to).into()).collect();
        let parts: Vec<[IoSlice<'_>; 1]> = outbox.answers[left].iter().map(|answer| [IoSlice::new(answer)]).collect();
        let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> = to.iter().map(|_| Default::default()).collect();
        let with = to.iter().zip(&parts).zip(&mut controls);
        let mut headers: Vec<MMsgHdr<'_>> =
            with.map(|((to, part), control)| MMsgHdr::new_with_addr(to, part, control)).collect();
        match sendmmsg(socket, &mut headers, SendFlags::empty()) {
            Ok(sent) => first += sent.max(1),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => {
                worker.unsent();
                first += 1;
            }
        }
    }
}
