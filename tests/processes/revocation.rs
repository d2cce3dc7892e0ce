//! A stolen certificate is revoked while all nodes run: its links end, it gets no new ones, and nothing else changes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use replication::Frame;
use service::authority::CertificateAuthority;

use crate::common::{Deployment, MERIDIAN, Node, Venue, holds};
use crate::hostile::impostor::{Impostor, hello};

const SOON: Duration = Duration::from_secs(60);
const REFUSED: &str = "meridian_replication_refused_peers_total";

/// Its name is between those of the others, so it dials one of them and is dialled by the other.
const EU: usize = 0;
const US: usize = 1;
const AP: usize = 2;

fn run(arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(MERIDIAN).args(arguments).arg("--dir").arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

/// `meridian node --check`.
fn check(node: &Node) -> Output {
    Command::new(MERIDIAN).args(["node", "--check", "--config"]).arg(node.folder.join("node.toml")).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Copies a node's certificate and key, as a thief would.
fn steal(deployment: &Deployment, name: &str) -> PathBuf {
    let stolen = deployment.scratch().join("stolen");
    std::fs::create_dir_all(&stolen).unwrap();
    for file in [format!("{name}.pem"), format!("{name}.key")] {
        std::fs::copy(deployment.certs().join(&file), stolen.join(&file)).unwrap();
    }
    stolen
}

/// The thief greets a node in the name of the certificate.
#[track_caller]
fn is_refused(deployment: &Deployment, at: usize, stolen: &Path) {
    let node = &deployment.nodes[at];
    let before = node.metric(REFUSED);
    let name = deployment.nodes[EU].region;
    let mut thief = Impostor::connect(node.replication, node.region, &deployment.certs(), Some((stolen, name)));
    // The other end may have closed already.
    let _ = thief.send(&Frame::Hello(hello(name, name)).encode());
    thief.closed();
    holds("the thief is refused", SOON, || node.metric(REFUSED) > before);
}

/// How often a node has begun a link to a peer.
fn links(node: &Node, peer: &str) -> usize {
    node.log().lines().filter(|line| line.contains("link up") && line.contains(peer)).count()
}

#[test]
fn links_of_a_revoked_certificate_end_and_a_new_certificate_links_again() {
    let deployment = Deployment::start(3);
    let certs = deployment.certs();
    let [eu, us, ap] = [EU, US, AP].map(|node| &deployment.nodes[node]);
    let venue = Venue::make(us.public, "14d");
    deployment.wait_known(&venue);
    let stolen = steal(&deployment, eu.region);
    let honest = links(us, ap.region);

    let said = run(&["certs", "revoke", eu.region], &certs);
    assert!(said.contains("revoked/eu-central-") && said.contains("Copy crl.pem to every node"), "{said}");
    let said = run(&["certs", "revoke", eu.region], &certs);
    assert!(said.contains("revoked already"), "{said}");
    let listed = run(&["certs", "list"], &certs);
    assert!(listed.contains("revoked") && listed.matches("good until").count() == 2, "{listed}");
    for other in [us, ap] {
        holds("its links end", SOON, || !other.linked().contains(&eu.region.to_owned()));
        let ended = "the certificate of a peer is not accepted any more: its link ends";
        let log = other.log();
        assert!(log.lines().any(|line| line.contains(ended) && line.contains(eu.region)), "{log}");
    }
    // It tries again and again, and gets no link: it dials one, the other dials it.
    holds("a peer that it dials refuses it", SOON, || us.metric(REFUSED) > 2.0);
    holds("a peer that dials it refuses it", SOON, || {
        ap.log().contains("the certificate of a peer is not accepted: no")
    });
    holds("it knows why", SOON, || eu.log().contains("this node's certificate is revoked"));
    assert!(eu.status()["certificate_until"].is_null());
    let checked = check(eu);
    assert!(checked.status.code() == Some(2) && text(&checked).contains("is revoked in"), "{}", text(&checked));
    is_refused(&deployment, US, &stolen);

    // The other regions go on, and so does it by itself.
    let there = venue.visit("Zoë", "+49 151 2345678");
    there.check_in(eu.public);
    venue.visit("Max", "+49 151 2345679").check_in(us.public);
    holds("what one region takes the other has", SOON, || venue.list(ap.public).len() == 1);
    assert_eq!(us.linked(), [ap.region]);
    assert_eq!(ap.linked(), [us.region]);
    assert_eq!(links(us, ap.region), honest, "their link never broke");
    assert_eq!(venue.list(eu.public).len(), 1);

    let said = run(&["certs", "init", "--node", eu.region, "--node", us.region], &certs);
    assert!(said.contains("written") && said.contains("kept"), "{said}");
    deployment.wait_linked();
    deployment.wait_complete(&venue);
    for node in &deployment.nodes {
        assert_eq!(venue.list(node.public).len(), 2, "{}", node.region);
    }
    assert_eq!(links(us, ap.region), honest, "their link never broke");
    is_refused(&deployment, US, &stolen);
    assert!(check(eu).status.success());
}

#[test]
fn a_list_that_cannot_be_used_is_reported_and_changes_nothing() {
    let deployment = Deployment::start(2);
    let certs = deployment.certs();
    let [eu, us] = [EU, US].map(|node| &deployment.nodes[node]);
    let stolen = steal(&deployment, eu.region);
    run(&["certs", "init", "--renew", "--node", eu.region], &certs);
    let file = stolen.join("eu-central.pem");
    let before = links(us, eu.region);
    run(&["certs", "revoke", eu.region, "--certificate", file.to_str().unwrap()], &certs);
    holds("the link of the old certificate ends", SOON, || us.log().contains("its link ends"));
    // The status shows the old link for a moment after that line.
    holds("a link with the new certificate begins", SOON, || links(us, eu.region) > before);
    deployment.wait_linked();

    let good = std::fs::read(certs.join("crl.pem")).unwrap();
    let other = deployment.scratch().join("other-authority");
    CertificateAuthority::create(&other, false).unwrap();
    let foreign = std::fs::read(other.join("crl.pem")).unwrap();
    let reports = |node: &Node| node.log().matches("the certificates cannot be read again yet").count();
    let replace = |list: &[u8]| {
        // As `certs revoke` does it, so that no node sees half of it.
        let new = certs.join("crl.pem.new");
        std::fs::write(&new, list).unwrap();
        std::fs::rename(new, certs.join("crl.pem")).unwrap();
    };
    for unusable in [&good[..good.len() / 2], b"", &foreign] {
        let before = [eu, us].map(reports);
        replace(unusable);
        holds("both say so", SOON, || reports(eu) > before[0] && reports(us) > before[1]);
        let checked = check(us);
        assert!(checked.status.code() == Some(2) && text(&checked).contains("crl.pem"), "{}", text(&checked));
        assert_eq!(us.linked(), [eu.region]);
        is_refused(&deployment, US, &stolen);
    }
    // A node with a new certificate gets a new link meanwhile.
    let before = links(us, eu.region);
    deployment.isolate(EU);
    holds("the link broke", SOON, || us.linked().is_empty());
    deployment.heal();
    deployment.wait_linked();
    assert!(links(us, eu.region) > before);
    let is_read = |node: &Node| node.log().matches("the certificates were read again").count();
    let before = [eu, us].map(is_read);
    replace(&good);
    holds("both read the list again", SOON, || is_read(eu) > before[0] && is_read(us) > before[1]);
    assert!(check(us).status.success());
    is_refused(&deployment, US, &stolen);
    assert_eq!(us.linked(), [eu.region]);
}
