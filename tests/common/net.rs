//! Exclusive addresses and ports.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// A loopback address for one deployment.
///
/// Outgoing connections come from 127.0.0.1. On another address no connection of any test can occupy the port of a node
/// that is down for a moment. Where there is only one loopback address, that one is used.
pub fn address() -> IpAddr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id().wrapping_mul(64).wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed));
    let [_, a, b, c] = number.to_be_bytes();
    // 127.0.0.x is 127.0.0.1 itself, and `meridian up` uses 127.0.k.i.
    let own = IpAddr::V4(Ipv4Addr::new(127, a | 64, b, c));
    if TcpListener::bind((own, 0)).is_ok() { own } else { IpAddr::V4(Ipv4Addr::LOCALHOST) }
}

/// This number of different free ports of an address.
pub fn free(address: IpAddr, count: usize) -> Vec<SocketAddr> {
    // All ports are held until the last one is found, otherwise the system could give one twice.
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind((address, 0)).unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

/// The first of `count` ports in a row that are free on each of these addresses.
pub fn free_base(addresses: &[IpAddr], count: u16) -> u16 {
    for _ in 0..1_000 {
        let base = free(addresses[0], 1)[0].port().min(63_000);
        let taken = |port: u16| addresses.iter().any(|address| TcpListener::bind((*address, port)).is_err());
        if !(base..base + count).any(taken) {
            return base;
        }
    }
    panic!("no {count} free ports in a row on {addresses:?}");
}
