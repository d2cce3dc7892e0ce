//! Two identities of one authority, and what they say of each other before and after one is revoked.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use replication::NodeName;
use rustls::{CertificateError, ClientConfig, ClientConnection, ConnectionCommon, Error, ServerConnection, SideData};
use rustls_pki_types::ServerName;
use rustls_pki_types::pem::PemObject as _;
use service::authority::{CertificateAuthority, IdentityFiles};

use super::{CertificateDer, TlsIdentity, marks};
use crate::metrics::Metrics;

fn name(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn load(folder: &Path, node: &str) -> TlsIdentity {
    let files = IdentityFiles {
        ca: folder.join("ca.pem"),
        certificate: folder.join(format!("{node}.pem")),
        key: folder.join(format!("{node}.key")),
        revoked: Some(folder.join("crl.pem")),
    };
    TlsIdentity::load(&files, &name(node), Arc::new(Metrics::new().unwrap())).unwrap()
}

/// Passes what one end has to say to the other.
fn pass<A: SideData, B: SideData>(from: &mut ConnectionCommon<A>, to: &mut ConnectionCommon<B>) -> Result<(), Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut bytes = bytes.as_slice();
    while !bytes.is_empty() {
        to.read_tls(&mut bytes).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

/// What the dialling and the accepting end say when one node dials another.
fn handshake(client: Arc<ClientConfig>, server: &TlsIdentity, server_name: &str) -> [Result<(), Error>; 2] {
    let server_name = ServerName::try_from(server_name.to_owned()).unwrap();
    let mut client = ClientConnection::new(client, server_name).unwrap();
    let mut server = ServerConnection::new(server.server()).unwrap();
    pass(&mut client, &mut server).unwrap();
    let dialling = pass(&mut server, &mut client);
    let accepting = if dialling.is_ok() { pass(&mut client, &mut server) } else { Ok(()) };
    [dialling, accepting]
}

const REVOKED: Result<(), Error> = Err(Error::InvalidCertificate(CertificateError::Revoked));

#[test]
fn a_revoked_certificate_is_refused_at_both_ends_and_for_both_questions() {
    let folder = tempfile::tempdir().unwrap();
    let authority = CertificateAuthority::create(folder.path(), false).unwrap();
    for node in ["eu", "us"] {
        authority.issue(&name(node), false).unwrap();
    }
    let (eu, us) = (load(folder.path(), "eu"), load(folder.path(), "us"));
    assert_eq!(handshake(eu.client(), &us, "us"), [Ok(()), Ok(())]);
    assert_eq!(handshake(eu.inquirer(), &us, "us"), [Ok(()), Ok(())]);

    authority.revoke(&name("us"), None).unwrap();
    assert_eq!(handshake(eu.client(), &us, "us"), [REVOKED, Ok(())], "a link to it");
    assert_eq!(handshake(eu.inquirer(), &us, "us"), [REVOKED, Ok(())], "a question to it");
    assert_eq!(handshake(us.client(), &eu, "eu"), [Ok(()), REVOKED], "a link from it");
    assert_eq!(handshake(us.inquirer(), &eu, "eu"), [Ok(()), REVOKED], "a question from it");
    // A new certificate is accepted as soon as both have it.
    authority.issue(&name("us"), false).unwrap();
    assert_eq!(handshake(eu.client(), &us, "us"), [Ok(()), Ok(())]);
    assert_eq!(handshake(us.client(), &eu, "eu"), [Ok(()), Ok(())]);
}

/// As with too many open files: the marks of the files are there, and the files cannot be read for a time.
#[test]
fn a_list_that_cannot_be_read_at_first_is_taken_up_later_with_the_same_marks() {
    let folder = tempfile::tempdir().unwrap();
    let authority = CertificateAuthority::create(folder.path(), false).unwrap();
    for node in ["eu", "us"] {
        authority.issue(&name(node), false).unwrap();
    }
    let (eu, us) = (load(folder.path(), "eu"), load(folder.path(), "us"));
    authority.revoke(&name("us"), None).unwrap();
    let path = folder.path().join("crl.pem");
    let (list, before) = (std::fs::read(&path).unwrap(), marks(&eu.files));
    let changed = std::fs::metadata(&path).unwrap().modified().unwrap();
    let put = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(changed).unwrap();
        assert_eq!(marks(&eu.files), before);
    };
    put(&vec![b'x'; list.len()]);
    assert_eq!(handshake(eu.client(), &us, "us"), [Ok(()), Ok(())], "the list cannot be read");
    put(&list);
    assert_eq!(handshake(eu.client(), &us, "us"), [REVOKED, Ok(())]);
}

#[tokio::test]
async fn a_link_ends_with_the_certificate_that_it_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let authority = CertificateAuthority::create(folder.path(), false).unwrap();
    for node in ["ap", "eu", "us"] {
        authority.issue(&name(node), false).unwrap();
    }
    let eu = Arc::new(load(folder.path(), "eu"));
    let begin = |node: &'static str| {
        let shown = vec![CertificateDer::from_pem_file(folder.path().join(format!("{node}.pem"))).unwrap()];
        let eu = Arc::clone(&eu);
        tokio::spawn(async move { eu.until_refused(&name(node), &shown).await })
    };
    let (us, ap) = (begin("us"), begin("ap"));
    // A new certificate alone does not end the link of the old one, and neither does a list that cannot be read.
    authority.issue(&name("us"), true).unwrap();
    let renewed = begin("us");
    std::fs::write(folder.path().join("crl.pem"), "half a list").unwrap();
    eu.renew();
    tokio::task::yield_now().await;
    assert!(![&us, &ap, &renewed].iter().any(|link| link.is_finished()));

    authority.revoke(&name("us"), None).unwrap();
    eu.renew();
    renewed.await.unwrap();
    assert!(!us.is_finished() && !ap.is_finished(), "their certificates are good");
    // The handshake was just before: a link of it ends as it begins.
    begin("us").await.unwrap();
}

#[test]
fn a_revoked_node_says_so_itself() {
    let folder = tempfile::tempdir().unwrap();
    let authority = CertificateAuthority::create(folder.path(), false).unwrap();
    authority.issue(&name("eu"), false).unwrap();
    let eu = load(folder.path(), "eu");
    let until = || eu.metrics.certificate_until.get();
    let is_warned = || {
        eu.warn_if_it_ends(SystemTime::now());
        eu.warned.lock().is_some()
    };
    let expires = || {
        let text = eu.metrics.render().unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("meridian_certificate_expires_seconds{certificate=\"replication\"} "));
        line.map(|seconds| seconds.parse::<f64>().unwrap())
    };
    let ends = expires().unwrap();
    // The other one is whole days from now.
    assert!((0.0..=86_400.0).contains(&(ends - until())), "{ends}, {}", until());
    assert!(until() > 0.0 && !is_warned());
    authority.revoke(&name("eu"), None).unwrap();
    eu.renew();
    assert!(until() == 0.0 && is_warned());
    assert_eq!(expires(), Some(ends), "it ends when it did, and is of no use before");
    authority.issue(&name("eu"), false).unwrap();
    eu.renew();
    assert!(until() > 0.0 && !is_warned());
}
