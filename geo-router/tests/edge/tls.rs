//! TLS, and certificates that change while they are in use.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{RawNode, World, section, soon, until};

/// Writes a certificate for `name` and its key, and returns the certificate.
fn certificate(folder: &Path, name: &str) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(folder.join("key.pem"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    made.cert.der().clone()
}

async fn world(node: &RawNode, folder: &Path) -> World {
    let tls = format!(
        "sticky = true\n[tls]\nlisten = \"127.0.0.1:0\"\ncertificate = {:?}\nkey = {:?}",
        folder.join("cert.pem"),
        folder.join("key.pem")
    );
    World::with(crate::support::fleet([&[node.address], &[], &[]]), [true, false, false], section(&tls)).await
}

async fn handshake(
    world: &World,
    root: &CertificateDer<'static>,
    name: &'static str,
    protocol: &[u8],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(world.server.tls_address().unwrap()).await.unwrap();
    soon(TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name).unwrap(), stream)).await
}

async fn get(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) -> String {
    soon(stream.write_all(b"GET / HTTP/1.1\r\nHost: venue.test\r\nConnection: close\r\n\r\n")).await.unwrap();
    let mut got = Vec::new();
    // It does not matter here if the server omits its close_notify.
    let _ = soon(stream.read_to_end(&mut got)).await;
    String::from_utf8(got).unwrap()
}

#[tokio::test]
async fn http_1_and_2_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let root = certificate(folder.path(), "venue.test");
    let node = RawNode::named("eu").await;
    let world = world(&node, folder.path()).await;
    let got = get(handshake(&world, &root, "venue.test", b"http/1.1").await.unwrap()).await;
    assert!(got.starts_with("HTTP/1.1 200") && got.ends_with("eu"), "{got}");
    assert!(got.contains("; Secure"), "{got}");
    assert!(node.request(0).contains("proto=https"));

    let stream = handshake(&world, &root, "venue.test", b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (mut sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .unwrap();
    let connection = tokio::spawn(connection);
    let request =
        hyper::Request::get("https://venue.test/").body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    let response = soon(sender.send_request(request)).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(node.request(1).contains("host: venue.test"));
    connection.abort();
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let old = certificate(folder.path(), "old.test");
    let node = RawNode::named("eu").await;
    let world = world(&node, folder.path()).await;
    assert!(handshake(&world, &old, "old.test", b"http/1.1").await.is_ok());
    let open = handshake(&world, &old, "old.test", b"http/1.1").await.unwrap();

    std::fs::write(folder.path().join("cert.pem"), "nonsense").unwrap();
    assert!(handshake(&world, &old, "old.test", b"http/1.1").await.is_ok());
    let new = certificate(folder.path(), "new.test");
    soon(async {
        while handshake(&world, &new, "new.test", b"http/1.1").await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(handshake(&world, &old, "old.test", b"http/1.1").await.is_err());
    // A connection that was open stays open.
    assert!(get(open).await.ends_with("eu"));
    until(|| world.metric("tls_handshakes_failed_total", "") >= 1.0).await;
}

#[tokio::test]
async fn a_connection_without_tls_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "venue.test");
    let node = RawNode::named("eu").await;
    let world = world(&node, folder.path()).await;
    let mut client = crate::support::Client::connect(world.server.tls_address().unwrap()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let rest = client.rest().await;
    assert!(!rest.contains("HTTP/1.1"), "{rest}");
    assert_eq!(node.count(), 0);
    until(|| world.ended("edge_tls", "tls") == 1.0).await;
}
