//! The listening sockets of a router: bound here, or taken over from the router that this one replaces.
//!
//! # Invariants
//! - A socket that was taken over keeps its queue: what waits in it waits for both routers until one of them closes it.
//! - [`HeldSockets`] has a second descriptor of every socket that is in use, to be handed to the next router. A socket is
//!   closed only when both are, so it must be dropped when the router stops listening.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use serde::{Deserialize, Serialize};
use service::config::Listen;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpListener;

/// How a socket was bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Binding {
    pub(crate) transport: Transport,
    /// The address as it was configured.
    pub(crate) address: SocketAddr,
    pub(crate) only_v6: bool,
}

/// The transport of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

/// A socket that another process may use as well.
#[derive(Debug)]
pub(crate) struct HeldSocket {
    pub(crate) binding: Binding,
    pub(crate) descriptor: OwnedFd,
}

impl HeldSocket {
    /// Whether the descriptor is of a socket that was bound so.
    pub(crate) fn is_as_told(&self) -> bool {
        let socket = SockRef::from(&self.descriptor);
        let kind = match self.binding.transport {
            Transport::Tcp => Type::STREAM,
            Transport::Udp => Type::DGRAM,
        };
        let address = self.binding.address;
        let is_there = |at: SocketAddr| at.ip() == address.ip() && [0, at.port()].contains(&address.port());
        socket.r#type().is_ok_and(|of| of == kind)
            && socket.local_addr().is_ok_and(|at| at.as_socket().is_some_and(is_there))
    }
}

/// Every socket that a router listens at.
pub(crate) type HeldSockets = Vec<HeldSocket>;

/// Gives each listener its sockets.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    taken_over: Vec<HeldSocket>,
    held: HeldSockets,
}

impl Sockets {
    /// Gives out these sockets of another router, and binds only what is not among them.
    pub(crate) fn taken_over(taken_over: Vec<HeldSocket>) -> Sockets {
        Sockets { taken_over, held: Vec::new() }
    }

    /// The sockets that were given out. Those of the other router that no listener has asked for are closed here.
    pub(crate) fn held(self) -> HeldSockets {
        for HeldSocket { binding, .. } in self.taken_over {
            tracing::info!(
                address = %binding.address, transport = ?binding.transport,
                "the configuration no longer has this address: the router that is replaced closes it when it ends"
            );
        }
        self.held
    }

    /// A TCP listener.
    pub(crate) fn tcp(&mut self, address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
        let binding = Binding { transport: Transport::Tcp, address, only_v6 };
        let listener = match self.take(binding) {
            Some(taken) => {
                let socket = Socket::from(taken);
                socket.set_nonblocking(true)?;
                TcpListener::from_std(socket.into())?
            }
            None => service::listen::bind(address, only_v6)?,
        };
        self.hold(binding, &listener)?;
        Ok(listener)
    }

    /// A TCP listener at each of the addresses of `listen`; an error comes with the address.
    pub(crate) fn all_tcp(&mut self, listen: &Listen) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
        let mut bind =
            |address: &SocketAddr| self.tcp(*address, listen.is_ipv6_only(*address)).map_err(|error| (*address, error));
        listen.all().iter().map(&mut bind).collect()
    }

    /// The UDP sockets of an address. If the other router has some there, it is those, however many `bind` would bind,
    /// because closing one would lose what waits in it.
    pub(crate) fn udp(
        &mut self,
        address: SocketAddr,
        only_v6: bool,
        bind: impl FnOnce() -> io::Result<Vec<Socket>>,
    ) -> io::Result<Vec<UdpSocket>> {
        let binding = Binding { transport: Transport::Udp, address, only_v6 };
        let mut sockets: Vec<Socket> = std::iter::from_fn(|| self.take(binding)).map(Socket::from).collect();
        if sockets.is_empty() {
            sockets = bind()?;
        }
        for socket in &sockets {
            self.hold(binding, socket)?;
        }
        Ok(sockets.into_iter().map(UdpSocket::from).collect())
    }

    fn take(&mut self, binding: Binding) -> Option<OwnedFd> {
        let at = self.taken_over.iter().position(|taken| taken.binding == binding)?;
        Some(self.taken_over.remove(at).descriptor)
    }

    fn hold(&mut self, binding: Binding, socket: &impl AsFd) -> io::Result<()> {
        self.held.push(HeldSocket { binding, descriptor: socket.as_fd().try_clone_to_owned()? });
        Ok(())
    }
}

/// A socket for an address.
pub(crate) fn unbound(address: SocketAddr, only_v6: bool, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if only_v6 {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}
