//! The address from which an answer leaves: the one that was asked (RFC 2181, section 4.1), because a resolver drops an
//! answer from another one.
//!
//! A socket of one address can only send from it. A socket of all addresses (`0.0.0.0`, `[::]`) would send from the
//! address of the route, which is another one for an anycast, second or loopback address. Therefore the kernel tells with
//! each query where it was sent to (`IP_PKTINFO`, `IPV6_RECVPKTINFO`: RFC 3542, section 6), and gets the same with the
//! answer.
//!
//! # Invariants
//! - Answers of one call of `sendmmsg` have one source, because nix takes one set of control messages for all of them.
//! - The room for control messages holds exactly one, because the kernel reads all of it.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, sendmmsg,
    setsockopt, sockopt,
};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny};
use socket2::Socket;

/// The addresses of this machine at which a socket is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sources {
    One,
    AnyV4,
    /// Of IPv6, and those of IPv4 as mapped ones unless the socket takes IPv6 alone.
    AnyV6,
}

impl Sources {
    pub(super) fn of(address: SocketAddr) -> Sources {
        match address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Sources::AnyV4,
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Sources::AnyV6,
            _ => Sources::One,
        }
    }

    /// Has the kernel tell the source with each query.
    pub(super) fn ask(self, socket: &Socket) -> io::Result<()> {
        match self {
            Sources::One => Ok(()),
            Sources::AnyV4 => Ok(setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?),
            Sources::AnyV6 => Ok(setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?),
        }
    }

    /// The room for what the kernel tells of one query.
    pub(super) fn room(self) -> Option<Vec<u8>> {
        match self {
            Sources::One => None,
            Sources::AnyV4 => Some(cmsg_space!(in_pktinfo)),
            Sources::AnyV6 => Some(cmsg_space!(in6_pktinfo)),
        }
    }
}

/// An address of this machine that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    address: IpAddr,
    /// The interface, for an address that is only valid on its link; otherwise 0, so that the route decides.
    interface: u32,
}

impl Source {
    /// What the kernel tells of a query.
    pub(super) fn told(told: &ControlMessageOwned) -> Option<Source> {
        match told {
            // The local address: for a query to a broadcast address it is that of the interface.
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                let address = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                Some(Source { address: address.into(), interface: 0 })
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                let interface = if address.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
                Some(Source { address: address.into(), interface })
            }
            _ => None,
        }
    }

    /// Whether an answer can leave from it. From the address of a group it cannot.
    pub(super) fn is_one_host(&self) -> bool {
        !self.address.is_multicast() && !self.address.is_unspecified()
    }
}

/// An answer to be sent.
pub(super) struct Answer {
    pub(super) octets: Vec<u8>,
    pub(super) to: SocketAddr,
    /// The address that was asked, if the socket listens on several.
    pub(super) source: Option<Source>,
}

/// Sends answers from one source at a time.
pub(super) enum Senders {
    One,
    AnyV4(Box<MultiHeaders<SockaddrIn>>),
    AnyV6(Box<MultiHeaders<SockaddrIn6>>),
}

impl Senders {
    /// For at most so many answers at a time.
    pub(super) fn of(sources: Sources, most: usize) -> Senders {
        match sources {
            Sources::One => Senders::One,
            Sources::AnyV4 => Senders::AnyV4(Box::new(MultiHeaders::preallocate(most, sources.room()))),
            Sources::AnyV6 => Senders::AnyV6(Box::new(MultiHeaders::preallocate(most, sources.room()))),
        }
    }

    /// Sends answers in one call, and returns how many of them were sent.
    pub(super) fn send(
        &mut self,
        socket: &UdpSocket,
        source: Option<&Source>,
        answers: &[&Answer],
        parts: &[[IoSlice<'_>; 1]],
    ) -> io::Result<usize> {
        match (self, source) {
            (Senders::AnyV4(headers), Some(Source { address: IpAddr::V4(address), .. })) => {
                let ipi_spec_dst = in_addr { s_addr: u32::from_ne_bytes(address.octets()) };
                let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst, ipi_addr: in_addr { s_addr: 0 } };
                let to = answers.iter().map(|answer| match answer.to {
                    SocketAddr::V4(to) => Some(SockaddrIn::from(to)),
                    SocketAddr::V6(_) => None,
                });
                from(socket, headers, parts, &to.collect::<Vec<_>>(), ControlMessage::Ipv4PacketInfo(&info))
            }
            (Senders::AnyV6(headers), Some(Source { address: IpAddr::V6(address), interface })) => {
                let ipi6_addr = in6_addr { s6_addr: address.octets() };
                let info = in6_pktinfo { ipi6_addr, ipi6_ifindex: *interface };
                let to = answers.iter().map(|answer| match answer.to {
                    SocketAddr::V6(to) => Some(SockaddrIn6::from(to)),
                    SocketAddr::V4(_) => None,
                });
                from(socket, headers, parts, &to.collect::<Vec<_>>(), ControlMessage::Ipv6PacketInfo(&info))
            }
            _ => by_route(socket, answers, parts),
        }
    }
}

/// Sends answers from the source in a control message.
fn from<S: SockaddrLike + Copy>(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<S>,
    parts: &[[IoSlice<'_>; 1]],
    to: &[Option<S>],
    source: ControlMessage<'_>,
) -> io::Result<usize> {
    let sent = sendmmsg(socket.as_raw_fd(), headers, parts, to, [source], MsgFlags::empty())?;
    Ok(sent.count())
}

/// Sends answers from the socket's own address, or from that of the route.
fn by_route(socket: &UdpSocket, answers: &[&Answer], parts: &[[IoSlice<'_>; 1]]) -> io::Result<usize> {
    // Most batches are small, so the lists hold only the filled places.
    let to: Vec<SocketAddrAny> = answers.iter().map(|answer| answer.to.into()).collect();
    let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> = to.iter().map(|_| Default::default()).collect();
    let with = to.iter().zip(parts).zip(&mut controls);
    let mut headers: Vec<MMsgHdr<'_>> =
        with.map(|((to, part), control)| MMsgHdr::new_with_addr(to, part, control)).collect();
    Ok(rustix::net::sendmmsg(socket, &mut headers, SendFlags::empty())?)
}
