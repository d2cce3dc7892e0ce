//! Exclusive addresses and ports.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// A loopback address for one deployment.
///
/// Outgoing connections come from 127.0.0.1. On another address no connection of any test can occupy the port of a node
/// that is down for a moment. Where there is only one loopback address, that one is used.
pub(crate) fn address() -> IpAddr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id().wrapping_mul(64).wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed));
    let [_, a, b, c] = number.to_be_bytes();
    // 127.0.0.x is 127.0.0.1 itself, and `meridian up` uses 127.0.k.i.
    let own = IpAddr::V4(Ipv4Addr::new(127, a | 64, b, c));
    if TcpListener::bind((own, 0)).is_ok() { own } else { IpAddr::V4(Ipv4Addr::LOCALHOST) }
}

/// This number of different free ports of an address.
pub(crate) fn free(address: IpAddr, count: usize) -> Vec<SocketAddr> {
    (0..count).map(|_| SocketAddr::new(address, free_base(&[address], 1))).collect()
}

/// A port from which on `count` ports are free on each of these addresses.
///
/// It lies below those that the system gives to outgoing connections (32768 on Linux), because one of these could take
/// it before the process under test listens there. No port is given out twice by one test process.
pub(crate) fn free_base(addresses: &[IpAddr], count: u16) -> u16 {
    const PORTS: std::ops::Range<u32> = 10_240..32_768;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let count = u32::from(count);
    for _ in 0..10_000 {
        // Other test processes begin elsewhere.
        let number = NEXT.fetch_add(count, Ordering::Relaxed).wrapping_add(std::process::id().wrapping_mul(4_099));
        let base = PORTS.start + number % (PORTS.end - PORTS.start - count);
        let is_free = |address: IpAddr, port: u32| {
            let at = SocketAddr::new(address, u16::try_from(port).unwrap());
            TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok()
        };
        if (base..base + count).all(|port| addresses.iter().all(|address| is_free(*address, port))) {
            return u16::try_from(base).unwrap();
        }
    }
    panic!("no {count} free ports in a row on {addresses:?}");
}
