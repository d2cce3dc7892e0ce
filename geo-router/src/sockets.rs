//! Binds the sockets of a listener that has several addresses.

use std::io;
use std::net::SocketAddr;

use service::config::Listen;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that wait to be accepted, as in the standard library.
const BACKLOG: i32 = 1_024;

/// A TCP listener.
pub(crate) fn tcp(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = unbound(address, only_v6, Type::STREAM, Protocol::TCP)?;
    // A restart takes the port although connections of the last run may still be closing.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// A TCP listener at each of the addresses of `listen`; an error comes with the address.
pub(crate) fn all_tcp(listen: &Listen) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
    let bind = |address: &SocketAddr| tcp(*address, listen.is_ipv6_only(*address)).map_err(|error| (*address, error));
    listen.all().iter().map(bind).collect()
}

/// A socket for an address.
pub(crate) fn unbound(address: SocketAddr, only_v6: bool, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if only_v6 {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}
