//! Receives and sends many datagrams per system call (`recvmmsg`, `sendmmsg`), which halves the cost of a query.
//!
//! # Not here
//! The address from which an answer leaves: [`super::source`]. Systems without these calls: `single.rs`.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};

use super::source::{Answer, Senders, Source, Sources};
use super::{Failures, LONGEST_QUERY, Worker};

/// Datagrams per system call; more bring no further gain.
const BATCH: usize = 32;

/// Answers to be sent.
struct Outbox {
    answers: [Answer; BATCH],
    filled: usize,
}

/// The buffers that the kernel fills for each batch.
struct Inbox {
    places: Vec<[u8; LONGEST_QUERY]>,
    headers: MultiHeaders<SockaddrStorage>,
    sources: Sources,
}

/// Receives a batch, answers it and sends the answers, until `stop` is true.
pub(super) fn serve(socket: &UdpSocket, worker: &mut Worker) -> io::Result<()> {
    let sources = Sources::of(socket.local_addr()?);
    let headers = MultiHeaders::preallocate(BATCH, sources.room());
    let mut inbox = Inbox { places: vec![[0; LONGEST_QUERY]; BATCH], headers, sources };
    let unset = SocketAddr::from(([0, 0, 0, 0], 0));
    let answers = std::array::from_fn(|_| Answer { octets: Vec::new(), to: unset, source: None });
    let mut outbox = Outbox { answers, filled: 0 };
    let mut senders = Senders::of(sources, BATCH);
    let mut failures = Failures::default();
    while worker.tick() {
        match receive(socket, &mut inbox, &mut outbox, worker) {
            Ok(()) => failures.success(),
            Err(error) => failures.failure(error)?,
        }
        send(socket, &outbox, &mut senders, worker);
        outbox.filled = 0;
    }
    Ok(())
}

/// Waits for one datagram and takes all others that have arrived.
fn receive(socket: &UdpSocket, inbox: &mut Inbox, outbox: &mut Outbox, worker: &mut Worker) -> io::Result<()> {
    let Inbox { places, headers, sources } = inbox;
    let mut places = places.iter_mut().map(|place| [IoSliceMut::new(place)]);
    let mut places: [[IoSliceMut<'_>; 1]; BATCH] =
        std::array::from_fn(|_| places.next().unwrap_or_else(|| [IoSliceMut::new(&mut [])]));
    let received = recvmmsg(socket.as_raw_fd(), headers, places.iter_mut(), MsgFlags::MSG_WAITFORONE, None)?;
    let mut is_lost = false;
    for message in received {
        let Some(from) = message.address.as_ref().and_then(address) else { continue };
        let source = match sources {
            Sources::One => None,
            Sources::AnyV4 | Sources::AnyV6 => {
                let told = message.cmsgs().ok().and_then(|mut told| told.find_map(|told| Source::told(&told)));
                is_lost |= told.is_none();
                told.filter(Source::is_one_host)
            }
        };
        let octets = message.iovs().next().unwrap_or_default();
        let answer = &mut outbox.answers[outbox.filled];
        if worker.answer(octets, from, &mut answer.octets) {
            (answer.to, answer.source) = (from, source);
            outbox.filled += 1;
        }
    }
    if is_lost {
        // The kernel shortens the room to what it has used, and `recvmmsg` of nix does not restore it.
        *headers = MultiHeaders::preallocate(BATCH, sources.room());
    }
    Ok(())
}

fn address(from: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = from.as_sockaddr_in().map(|from| SocketAddrV4::from(*from).into());
    v4.or_else(|| from.as_sockaddr_in6().map(|from| SocketAddrV6::from(*from).into()))
}

/// Sends all answers, those of one source together. If the system refuses one, the others are still sent.
fn send(socket: &UdpSocket, outbox: &Outbox, senders: &mut Senders, worker: &Worker) {
    let mut left: Vec<&Answer> = outbox.answers[..outbox.filled].iter().collect();
    // Nearly always all queries of a batch were sent to one address.
    while let Some(source) = left.first().map(|first| first.source) {
        let (mut now, later): (Vec<&Answer>, _) = left.into_iter().partition(|answer| answer.source == source);
        while !now.is_empty() {
            let parts: Vec<[IoSlice<'_>; 1]> = now.iter().map(|answer| [IoSlice::new(&answer.octets)]).collect();
            match senders.send(socket, source.as_ref(), &now, &parts) {
                Ok(sent) => drop(now.drain(..sent.clamp(1, now.len()))),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    worker.unsent();
                    now.remove(0);
                }
            }
        }
        left = later;
    }
}
