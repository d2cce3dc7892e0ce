//! TCP and TLS, and clients for every transport.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::craft::{self, A, SOA};
use crate::world::{self, UP, ask, snapshot};

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A client of one transport.
pub(crate) enum Client {
    Udp(UdpSocket),
    Stream(Box<dyn Stream>),
}

impl Client {
    pub(crate) async fn udp(to: SocketAddr) -> Client {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(to).await.unwrap();
        Client::Udp(socket)
    }

    pub(crate) async fn tcp(to: SocketAddr) -> Client {
        Client::Stream(Box::new(TcpStream::connect(to).await.unwrap()))
    }

    pub(crate) async fn tls(to: SocketAddr, files: &Files) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(files.certificate.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"dot".to_vec()];
        let stream = TcpStream::connect(to).await.unwrap();
        let name = ServerName::try_from("dns.meridian.test").unwrap();
        Client::Stream(Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()))
    }

    pub(crate) async fn send(&mut self, query: &[u8]) {
        match self {
            Client::Udp(socket) => {
                socket.send(query).await.unwrap();
            }
            Client::Stream(stream) => {
                stream.write_all(&[&(query.len() as u16).to_be_bytes()[..], query].concat()).await.unwrap();
            }
        }
    }

    /// The next answer; `None` if the server closes instead.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        let receive = async {
            match self {
                Client::Udp(socket) => {
                    let mut octets = vec![0; 65_535];
                    let length = socket.recv(&mut octets).await.unwrap();
                    octets.truncate(length);
                    Some(octets)
                }
                Client::Stream(stream) => {
                    let mut octets = vec![0; usize::from(stream.read_u16().await.ok()?)];
                    stream.read_exact(&mut octets).await.ok()?;
                    Some(octets)
                }
            }
        };
        timeout(PATIENCE, receive).await.expect("an answer in time")
    }

    pub(crate) async fn ask(&mut self, query: &[u8]) -> Vec<u8> {
        self.send(query).await;
        self.next().await.expect("an answer")
    }
}

/// A certificate for the server, and the lines that configure it.
pub(crate) struct Files {
    pub section: String,
    certificate: String,
    _folder: tempfile::TempDir,
}

pub(crate) fn certificate() -> Files {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["dns.meridian.test".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("dns.pem"), folder.path().join("dns.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let section = format!(
        "[tls]\nlisten = '127.0.0.1:0'\ncertificate = '{}'\nkey = '{}'\n",
        certificate.display(),
        key.display()
    );
    Files { section, certificate: made.cert.pem(), _folder: folder }
}

#[tokio::test]
async fn many_queries_at_once_are_answered_in_order() {
    let files = certificate();
    let running = world::start(&files.section).await;
    for mut client in
        [Client::tcp(running.server.address()).await, Client::tls(running.server.tls_address().unwrap(), &files).await]
    {
        let queries: Vec<Vec<u8>> = (0..500_u16)
            .map(|id| {
                let mut query = craft::edns("checkin.meridian.test", A, &[]);
                query[..2].copy_from_slice(&id.to_be_bytes());
                query
            })
            .collect();
        let all: Vec<u8> =
            queries.iter().flat_map(|query| [&(query.len() as u16).to_be_bytes()[..], query].concat()).collect();
        let Client::Stream(stream) = &mut client else { unreachable!() };
        stream.write_all(&all).await.unwrap();
        for query in &queries {
            assert_eq!(client.next().await.unwrap()[..2], query[..2]);
        }
    }
    running.until("responses_total", &[("transport", "tcp"), ("rcode", "noerror")], 500.0).await;
    running.until("connections", &[], 0.0).await;
    running.stop().await;
}

#[tokio::test]
async fn an_answer_does_not_wait_for_the_rest_of_the_next_query() {
    let running = world::start("").await;
    let mut client = Client::tcp(running.server.address()).await;
    let query = craft::plain("meridian.test", SOA);
    let framed = [&(query.len() as u16).to_be_bytes()[..], &query].concat();
    let Client::Stream(stream) = &mut client else { unreachable!() };
    stream.write_all(&[&framed[..], &framed[..5]].concat()).await.unwrap();
    let expected = ask(&snapshot(UP), [127, 0, 0, 1].into(), &query).unwrap().1;
    assert_eq!(client.next().await.unwrap(), expected);
    let Client::Stream(stream) = &mut client else { unreachable!() };
    for octet in &framed[5..] {
        stream.write_all(&[*octet]).await.unwrap();
    }
    assert_eq!(client.next().await.unwrap(), expected);
    running.stop().await;
}

/// RFC 7828: a server that stops still answers a query that it reads, and tells the client to leave.
#[tokio::test]
async fn a_server_that_stops_gives_its_connections_no_more_time() {
    let running = world::start("").await;
    let mut client = Client::tcp(running.server.address()).await;
    let query = craft::edns("meridian.test", SOA, &craft::option(11, &[]));
    assert_eq!(craft::option_of(&client.ask(&query).await, 11), Some(vec![0, 100]));
    let framed = [&(query.len() as u16).to_be_bytes()[..], &query].concat();
    let Client::Stream(stream) = &mut client else { unreachable!() };
    // The second query is begun, so the server waits for the rest of it.
    stream.write_all(&[&framed[..], &framed[..5]].concat()).await.unwrap();
    assert!(client.next().await.is_some());
    running.stop.send(true).unwrap();
    let Client::Stream(stream) = &mut client else { unreachable!() };
    stream.write_all(&framed[5..]).await.unwrap();
    assert_eq!(craft::option_of(&client.next().await.unwrap(), 11), Some(vec![0, 0]));
    assert_eq!(client.next().await, None);
    running.server.stopped().await.unwrap();
}

#[tokio::test]
async fn a_client_that_never_ends_its_query_is_left() {
    let running = world::start("").await;
    let mut slow = Client::tcp(running.server.address()).await;
    let started = Instant::now();
    let Client::Stream(stream) = &mut slow else { unreachable!() };
    stream.write_all(&[0, 40, 1, 2, 3]).await.unwrap();
    assert_eq!(slow.next().await, None);
    assert!(started.elapsed() < Duration::from_secs(9), "longer than patience");
    running.until("connections", &[], 0.0).await;
    running.stop().await;
}

#[tokio::test]
async fn octets_that_are_not_a_query_close_the_connection() {
    let running = world::start("").await;
    let mut response = craft::plain("meridian.test", SOA);
    response[2] |= 0x80;
    for nonsense in [&response[..], &[1, 2, 3], &[]] {
        let mut client = Client::tcp(running.server.address()).await;
        client.send(nonsense).await;
        assert_eq!(client.next().await, None);
    }
    running.stop().await;
}

#[tokio::test]
async fn one_network_has_a_part_of_all_connections_and_gives_it_back() {
    let running = world::start("connections = 8\n").await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = Client::tcp(running.server.address()).await;
        client.ask(&craft::plain("meridian.test", SOA)).await;
        held.push(client);
    }
    let mut refused = Client::tcp(running.server.address()).await;
    assert_eq!(refused.next().await, None);
    assert_eq!(running.metric("refused_connections_total", &[("transport", "tcp")]), 1.0);
    held.clear();
    running.until("connections", &[], 0.0).await;
    Client::tcp(running.server.address()).await.ask(&craft::plain("meridian.test", SOA)).await;
    running.stop().await;
}
