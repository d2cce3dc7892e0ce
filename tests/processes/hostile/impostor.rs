//! A client of the replication port that may claim to be another node.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use replication::{Frame, Hello, ReplicaId, VersionVector};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::common::{client, guest};

/// A TLS connection to the replication port of a node.
pub(crate) struct Impostor(StreamOwned<ClientConnection, TcpStream>);

impl Impostor {
    /// Connects; `identity` is a folder with certificates and the name of one of them, or `None`.
    ///
    /// With TLS 1.3 the server checks a certificate after the client has finished, so this always succeeds.
    pub(crate) fn connect(
        to: SocketAddr,
        server: &'static str,
        certs: &Path,
        identity: Option<(&Path, &str)>,
    ) -> Impostor {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certs.join("ca.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => config.with_no_client_auth(),
            Some((folder, name)) => {
                let certificate = CertificateDer::from_pem_file(folder.join(format!("{name}.pem"))).unwrap();
                let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).unwrap();
                config.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        let mut socket = client::connect(to).unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), ServerName::try_from(server).unwrap()).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).unwrap();
        }
        Impostor(StreamOwned::new(connection, socket))
    }

    /// Sends one frame: its length and its bytes. The other end may have closed already.
    pub(crate) fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.send_raw(&u32::try_from(frame.len()).unwrap().to_be_bytes())?;
        self.send_raw(frame)
    }

    /// Sends bytes unchanged.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.flush()
    }

    /// Reads one frame.
    pub(crate) fn read(&mut self) -> io::Result<Frame> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame)?;
        Frame::decode(&frame).map_err(io::Error::other)
    }

    /// Reads until the other end closes; fails if it is still open at the time limit.
    #[track_caller]
    pub(crate) fn closed(&mut self) {
        let error = loop {
            match self.0.read(&mut [0; 4096]) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        let hung = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        assert!(!hung, "the link stays open");
    }
}

/// A greeting in the name of a node and a region.
pub(crate) fn hello(node: &str, region: &str) -> Hello {
    Hello {
        replica: ReplicaId(rand::random()),
        node: node.parse().unwrap(),
        region: region.parse().unwrap(),
        boot: rand::random(),
        yours: None,
        vector: VersionVector::default(),
        seen: VersionVector::default(),
        wall: guest::now(),
        max_retention_ms: 28 * 86_400_000,
        newest: replication::Protocol::NEWEST,
    }
}
