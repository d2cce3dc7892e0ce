//! One authority: what it issues, what it revokes, and that it is never replaced unasked.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use api::NodeName;
use rcgen::{Issuer, KeyPair};

use super::params::{self, AUTHORITY_NAME, NODE_YEARS};
use super::{CertificateAuthority, CertsError, IdentityFiles, Issued, Trust};

fn name(name: &str) -> NodeName {
    name.parse().unwrap()
}

/// The files of a node whose certificate and key have these names.
fn files(folder: &Path, certificate: &str, key: &str) -> IdentityFiles {
    IdentityFiles {
        ca: folder.join("ca.pem"),
        certificate: folder.join(format!("{certificate}.pem")),
        key: folder.join(format!("{key}.key")),
        revoked: Some(folder.join("crl.pem")),
    }
}

fn check(folder: &Path, node: &str) -> Result<(), CertsError> {
    files(folder, node, node).check(&name(node))
}

/// How many certificates are in `revoked/`.
fn copies(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("revoked")).map_or(0, Iterator::count)
}

#[test]
fn an_authority_certifies_nodes_and_is_never_replaced_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let [first, second] = ["eu-central", "us-east"].map(name);

    let made = CertificateAuthority::load_or_create(folder).unwrap();
    assert_eq!(made.issue(&first, false).unwrap(), Issued::Written);
    check(folder, "eu-central").unwrap();
    for key in ["ca.key", "eu-central.key"] {
        assert_eq!(folder.join(key).metadata().unwrap().permissions().mode() & 0o777, 0o600, "{key}");
    }

    assert!(matches!(CertificateAuthority::create(folder, false), Err(CertsError::AuthorityExists { .. })));
    let loaded = CertificateAuthority::load_or_create(folder).unwrap();
    assert_eq!(loaded.issue(&second, false).unwrap(), Issued::Written);
    assert_eq!(loaded.issue(&first, false).unwrap(), Issued::Kept);
    let files_of_second = files(folder, "us-east", "us-east");
    files_of_second.check(&second).unwrap();
    let until = files_of_second.good_until(&second).unwrap();
    let days = until.duration_since(SystemTime::now()).unwrap().as_secs() / 86_400;
    let years = u64::try_from(NODE_YEARS).unwrap();
    assert!((365 * years - 2..=366 * years).contains(&days), "{days} days");
    assert_eq!(files_of_second.good_until(&first), None);
    let wrong_name = files_of_second.check(&first);
    assert!(matches!(wrong_name, Err(CertsError::Unproven { .. })), "{wrong_name:?}");
    let wrong_key = files(folder, "us-east", "eu-central").check(&second);
    assert!(matches!(wrong_key, Err(CertsError::OtherKey { .. })), "{wrong_key:?}");

    let replaced = CertificateAuthority::create(folder, true).unwrap();
    let old = check(folder, "us-east");
    assert!(matches!(old, Err(CertsError::Unproven { .. })), "{old:?}");
    assert_eq!(replaced.issue(&second, false).unwrap(), Issued::Written);
}

#[test]
fn a_revoked_certificate_is_refused_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let authority = CertificateAuthority::create(folder, false).unwrap();
    for node in ["eu-central", "us-east"] {
        authority.issue(&name(node), false).unwrap();
        check(folder, node).expect("no certificate is revoked yet");
    }
    std::fs::copy(folder.join("us-east.pem"), folder.join("stolen.pem")).unwrap();
    std::fs::copy(folder.join("us-east.key"), folder.join("stolen.key")).unwrap();

    let revoked = authority.revoke(&name("us-east"), None).unwrap();
    assert!(revoked.is_new && revoked.copy.is_file(), "{revoked:?}");
    let refused = check(folder, "us-east");
    assert!(matches!(refused, Err(CertsError::Revoked { .. })), "{refused:?}");
    assert_eq!(files(folder, "us-east", "us-east").good_until(&name("us-east")), None);
    check(folder, "eu-central").expect("the other one is good");
    // Again: said, and nothing changes.
    let list = std::fs::read(folder.join("crl.pem")).unwrap();
    let again = authority.revoke(&name("us-east"), None).unwrap();
    assert!(!again.is_new && again.copy == revoked.copy, "{again:?}");
    assert_eq!(std::fs::read(folder.join("crl.pem")).unwrap(), list);

    // The node gets a new certificate, which is good, and the stolen one stays revoked.
    let authority = CertificateAuthority::load(folder).unwrap();
    assert_eq!(authority.issue(&name("eu-central"), false).unwrap(), Issued::Kept);
    assert_eq!(authority.issue(&name("us-east"), false).unwrap(), Issued::Written);
    check(folder, "us-east").unwrap();
    let stolen = files(folder, "stolen", "stolen").check(&name("us-east"));
    assert!(matches!(stolen, Err(CertsError::Revoked { .. })), "{stolen:?}");
    assert!(!authority.revoke(&name("us-east"), Some(&folder.join("stolen.pem"))).unwrap().is_new);
    // One that was stolen before it was renewed is revoked by its file.
    std::fs::copy(folder.join("eu-central.pem"), folder.join("earlier.pem")).unwrap();
    authority.issue(&name("eu-central"), true).unwrap();
    assert!(authority.revoke(&name("eu-central"), Some(&folder.join("earlier.pem"))).unwrap().is_new);
    check(folder, "eu-central").unwrap();
    assert_eq!(copies(folder), 2);
    authority.revoke(&name("us-east"), None).unwrap();
    let known: Vec<_> = authority.nodes().unwrap().into_iter().filter(|node| node.name != name("stolen")).collect();
    let known: Vec<_> =
        known.iter().map(|node| (node.name.as_str(), node.good_until.is_some(), node.is_revoked)).collect();
    assert_eq!(known, [("earlier", false, false), ("eu-central", true, false), ("us-east", false, true)]);
}

#[test]
fn what_cannot_be_revoked_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let authority = CertificateAuthority::create(folder, false).unwrap();
    authority.issue(&name("us-east"), false).unwrap();
    let other = folder.join("other");
    CertificateAuthority::create(&other, false).unwrap().issue(&name("us-east"), false).unwrap();

    let unknown = authority.revoke(&name("eu-central"), None);
    assert!(matches!(unknown, Err(CertsError::Pem { .. })), "{unknown:?}");
    let foreign = authority.revoke(&name("us-east"), Some(&other.join("us-east.pem")));
    assert!(matches!(foreign, Err(CertsError::NotIssued { .. })), "{foreign:?}");
    let misnamed = authority.revoke(&name("eu-central"), Some(&folder.join("us-east.pem")));
    assert!(matches!(misnamed, Err(CertsError::Unproven { .. })), "{misnamed:?}");
    assert_eq!(copies(folder), 0);
    check(folder, "us-east").unwrap();
}

/// A region may well be called "ca".
#[test]
fn a_node_never_replaces_the_files_of_the_authority() {
    let folder = tempfile::tempdir().unwrap();
    let authority = CertificateAuthority::create(folder.path(), false).unwrap();
    for own in ["ca", "crl"] {
        let issued = authority.issue(&name(own), true);
        assert!(matches!(issued, Err(CertsError::OwnName { .. })), "{issued:?}");
        let revoked = authority.revoke(&name(own), None);
        assert!(matches!(revoked, Err(CertsError::OwnName { .. })), "{revoked:?}");
    }
    assert_eq!(CertificateAuthority::load(folder.path()).unwrap().nodes().unwrap(), []);
}

#[test]
fn the_list_is_made_again_from_the_copies() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let authority = CertificateAuthority::create(folder, false).unwrap();
    authority.issue(&name("us-east"), false).unwrap();
    let empty = std::fs::read(folder.join("crl.pem")).unwrap();
    authority.revoke(&name("us-east"), None).unwrap();
    let damage: [&dyn Fn(PathBuf); 4] = [
        &|list| std::fs::remove_file(list).unwrap(),
        &|list| std::fs::write(list, "").unwrap(),
        &|list| std::fs::write(list, "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n").unwrap(),
        // The copy was written, and then the machine stopped.
        &|list| std::fs::write(list, &empty).unwrap(),
    ];
    for damage in damage {
        damage(folder.join("crl.pem"));
        CertificateAuthority::load(folder).unwrap();
        let refused = check(folder, "us-east");
        assert!(matches!(refused, Err(CertsError::Revoked { .. })), "{refused:?}");
    }
}

#[test]
fn an_authority_that_is_replaced_starts_an_empty_list_and_both_count_together() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let authority = CertificateAuthority::create(folder, false).unwrap();
    for node in ["eu-central", "us-east"] {
        authority.issue(&name(node), false).unwrap();
    }
    authority.revoke(&name("us-east"), None).unwrap();
    for old in ["ca.pem", "crl.pem", "us-east.pem", "us-east.key", "eu-central.pem", "eu-central.key"] {
        std::fs::copy(folder.join(old), folder.join(format!("old-{old}"))).unwrap();
    }
    let old_list = || Trust::read(&folder.join("ca.pem"), Some(&folder.join("old-crl.pem")));

    let replaced = CertificateAuthority::create(folder, true).unwrap();
    assert!(matches!(old_list(), Err(CertsError::ForeignList { .. })), "{:?}", old_list());
    assert_eq!(replaced.issue(&name("us-east"), false).unwrap(), Issued::Written);
    check(folder, "us-east").unwrap();
    CertificateAuthority::load(folder).unwrap();
    assert_eq!(copies(folder), 1, "the record stays");

    // Nodes have both authorities and both lists until every certificate is new.
    let both = |file: &str| {
        let text = ["old-", ""].map(|old| std::fs::read_to_string(folder.join(format!("{old}{file}"))).unwrap());
        let path = folder.join(format!("both-{file}"));
        std::fs::write(&path, text.concat()).unwrap();
        path
    };
    let (ca, revoked) = (both("ca.pem"), both("crl.pem"));
    let with_both = |certificate: &str, node: &str| {
        let files = files(folder, certificate, certificate);
        IdentityFiles { ca: ca.clone(), revoked: Some(revoked.clone()), ..files }.check(&name(node))
    };
    with_both("us-east", "us-east").unwrap();
    with_both("old-eu-central", "eu-central").unwrap();
    let refused = with_both("old-us-east", "us-east");
    assert!(matches!(refused, Err(CertsError::Revoked { .. })), "{refused:?}");
    replaced.revoke(&name("us-east"), None).unwrap();
    both("crl.pem");
    let refused = with_both("us-east", "us-east");
    assert!(matches!(refused, Err(CertsError::Revoked { .. })), "{refused:?}");

    // Of two lists of one authority a verifier would see the first alone.
    std::fs::copy(folder.join("crl.pem"), folder.join("old-crl.pem")).unwrap();
    let twice = Trust::read(&ca, Some(&both("crl.pem")));
    assert!(matches!(twice, Err(CertsError::TwoLists { .. })), "{twice:?}");
}

/// In release 0.1 all authorities had one name, and there was no list.
#[test]
fn a_folder_of_the_release_before_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let key = KeyPair::generate().unwrap();
    let params = params::authority(AUTHORITY_NAME);
    std::fs::write(folder.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(folder.join("ca.key"), key.serialize_pem()).unwrap();
    let node_key = KeyPair::generate().unwrap();
    let node = params::node(&name("us-east")).unwrap().signed_by(&node_key, &Issuer::new(params, key)).unwrap();
    std::fs::write(folder.join("us-east.pem"), node.pem()).unwrap();
    super::disk::write(&folder.join("us-east.key"), node_key.serialize_pem().as_bytes(), 0o600).unwrap();

    let authority = CertificateAuthority::load_or_create(folder).unwrap();
    assert_eq!(authority.issue(&name("us-east"), false).unwrap(), Issued::Kept);
    assert_eq!(authority.issue(&name("eu-central"), false).unwrap(), Issued::Written);
    authority.revoke(&name("us-east"), None).unwrap();
    assert!(matches!(check(folder, "us-east"), Err(CertsError::Revoked { .. })));
    check(folder, "eu-central").unwrap();
}

#[test]
fn a_key_of_another_authority_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other");
    CertificateAuthority::create(folder.path(), false).unwrap();
    CertificateAuthority::create(&other, false).unwrap();
    std::fs::copy(other.join("ca.key"), folder.path().join("ca.key")).unwrap();
    let loaded = CertificateAuthority::load(folder.path());
    assert!(matches!(loaded, Err(CertsError::OtherKey { .. })), "{loaded:?}");
}
