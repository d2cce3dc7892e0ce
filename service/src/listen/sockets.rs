//! Binds the sockets of a listener that has several addresses, and says which of them speak TLS.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Type};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::config::Listen;

/// Connections that wait to be accepted, as in the standard library.
const BACKLOG: i32 = 1_024;

/// A bound socket.
pub struct Socket {
    /// It accepts connections.
    pub tcp: TcpListener,
    /// How it speaks TLS; `None` for HTTP without TLS.
    pub tls: Option<TlsAcceptor>,
}

impl Socket {
    /// Binds a socket at each of the addresses of `listen`; an error comes with the address.
    ///
    /// # Errors
    /// If an address is taken, or does not belong to this machine.
    pub fn bind_all(listen: &Listen, tls: Option<&TlsAcceptor>) -> Result<Vec<Socket>, (SocketAddr, io::Error)> {
        let bind = |address: &SocketAddr| match bind(*address, listen.is_ipv6_only(*address)) {
            Ok(tcp) => Ok(Socket { tcp, tls: tls.cloned() }),
            Err(error) => Err((*address, error)),
        };
        listen.all().iter().map(bind).collect()
    }
}

/// A TCP listener at one address; `only_v6` leaves IPv4 to another listener.
///
/// # Errors
/// If the address is taken, or does not belong to this machine.
pub fn bind(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if only_v6 {
        socket.set_only_v6(true)?;
    }
    // A restart takes the port although connections of the last run may still be closing.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}
