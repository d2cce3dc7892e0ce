//! Where the server listens: answers leave from the address that was asked, and a listener may have several addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use service::config::Listen;
use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::craft::{self, A};
use crate::streams::{Client, certificate};
use crate::world::{self, Running};

const PATIENCE: Duration = Duration::from_secs(20);

/// A port that no socket of this machine has, of IPv4 or IPv6, another one each time. The system gives no connection a
/// port below 32768.
pub(crate) fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let port = 10_300 + (std::process::id() as u16).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let udp = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
        let any = SocketAddr::from(([0_u16; 8], port));
        if udp.bind(&any.into()).is_ok() && TcpListener::bind(any).is_ok() {
            return port;
        }
    }
}

fn list(addresses: &[String]) -> Listen {
    #[derive(serde::Deserialize)]
    struct File {
        listen: Listen,
    }
    toml::from_str::<File>(&format!("listen = {addresses:?}")).unwrap().listen
}

async fn listening(addresses: &[String]) -> Running {
    let mut config = world::config("");
    config.listen = list(addresses);
    world::try_start(config).await.unwrap()
}

/// The sources of the answers to many queries at these addresses, which one socket sends at once; each query has its
/// own id.
async fn sources(asked: &[SocketAddr], each: usize) {
    let local = if asked[0].is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    let socket = UdpSocket::bind(local).await.unwrap();
    let mut open = BTreeMap::new();
    for number in 0..each * asked.len() {
        let to = asked[number % asked.len()];
        let mut query = craft::plain("checkin.meridian.test", A);
        query[..2].copy_from_slice(&(number as u16).to_be_bytes());
        socket.send_to(&query, to).await.unwrap();
        open.insert(number as u16, to);
    }
    while !open.is_empty() {
        let mut answer = [0; 4_096];
        let received = timeout(PATIENCE, socket.recv_from(&mut answer)).await;
        let (length, from) = received.unwrap_or_else(|_| panic!("no answer from {open:?}")).unwrap();
        let id = u16::from_be_bytes([answer[0], answer[1]]);
        let to = open.remove(&id).unwrap_or_else(|| panic!("an answer to no query: {:?}", &answer[..length]));
        assert_eq!(from, to, "an answer leaves from the address that was asked");
    }
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse::<IpAddr>().unwrap(), port)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_socket_of_all_addresses_answers_from_the_one_that_was_asked() {
    let port = port();
    let running = listening(&[format!("0.0.0.0:{port}")]).await;
    sources(&[at("127.9.9.9", port)], 1).await;
    // Queries to several addresses in one batch.
    sources(&["127.0.0.1", "127.9.9.9", "127.1.2.3"].map(|address| at(address, port)), 40).await;
    let _ = Client::tcp(at("127.9.9.9", port)).await.ask(&craft::plain("checkin.meridian.test", A)).await;
    running.until("answers_total", &[], 122.0).await;
    assert_eq!(running.metric("unsent_total", &[]), 0.0);
    running.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_socket_of_all_addresses_of_both_families_does_so_too() {
    let port = port();
    let running = listening(&[format!("[::]:{port}")]).await;
    sources(&[at("::1", port)], 40).await;
    sources(&["127.9.9.9", "127.0.0.1"].map(|address| at(address, port)), 40).await;
    running.stop().await;
}

#[tokio::test]
async fn a_listener_may_have_several_addresses() {
    let (one, other) = (port(), port());
    let running = listening(&[format!("127.0.0.1:{one}"), format!("[::1]:{one}"), format!("127.0.0.1:{other}")]).await;
    assert_eq!(running.udp(), at("127.0.0.1", one), "the first one");
    for address in [at("127.0.0.1", one), at("::1", one), at("127.0.0.1", other)] {
        sources(&[address], 3).await;
        let _ = Client::tcp(address).await.ask(&craft::plain("checkin.meridian.test", A)).await;
    }
    running.stop().await;
}

/// The socket of `[::]` would take IPv4 as well if it were alone.
#[tokio::test]
async fn all_addresses_of_each_family_go_together() {
    let port = port();
    for listen in [["0.0.0.0", "[::]"], ["[::]", "0.0.0.0"], ["[::]", "127.0.0.1"]] {
        let running = listening(&listen.map(|address| format!("{address}:{port}"))).await;
        for address in [at("127.0.0.1", port), at("::1", port)] {
            sources(&[address], 3).await;
            let _ = Client::tcp(address).await.ask(&craft::plain("checkin.meridian.test", A)).await;
        }
        running.stop().await;
    }
}

#[tokio::test]
async fn dns_over_tls_may_have_several_addresses() {
    let (one, other, files) = (port(), port(), certificate());
    let mut config = world::config(&files.section);
    config.tls.as_mut().unwrap().listen = list(&[format!("127.0.0.1:{one}"), format!("[::1]:{other}")]);
    let running = world::try_start(config).await.unwrap();
    assert_eq!(running.server.tls_address(), Some(at("127.0.0.1", one)));
    for address in [at("127.0.0.1", one), at("::1", other)] {
        let _ = Client::tls(address, &files).await.ask(&craft::plain("checkin.meridian.test", A)).await;
    }
    running.stop().await;
}
