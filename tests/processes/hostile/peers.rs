//! The replication port: a client without a certificate of this authority for the name that it claims adds nothing, and
//! neither does a peer whose frames break the rules. Links of honest peers stay up meanwhile.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use registry::VISITS;
use replication::{Body, Change, Delta, Deltas, DocumentName, Dot, Frame, Hlc, MAX_FRAME, TenantId, Value};
use service::authority::CertificateAuthority;

use super::Guarded;
use super::impostor::{Impostor, hello};
use crate::common::{Node, client, guest, holds};

const AGREED: Duration = Duration::from_secs(30);
const REFUSED: &str = "meridian_replication_refused_peers_total";
const BAD: &str = "meridian_replication_bad_frames_total";
const REFUSED_DELTAS: &str = "meridian_replication_refused_deltas_total";
/// The node under attack, which both others dial.
const VICTIM: usize = 1;
const VICTIM_NAME: &str = "us-east";

/// Runs an attack and waits until the victim has counted it.
#[track_caller]
fn counted(victim: &Node, metric: &str, harm: impl FnOnce()) {
    let before = victim.metric(metric);
    harm();
    holds("it is counted", AGREED, || victim.metric(metric) > before);
}

#[test]
fn strangers_on_the_replication_port_add_nothing() {
    let guarded = Guarded::start(&["development"; 3]);
    let (victim, certs) = (&guarded.deployment.nodes[VICTIM], guarded.deployment.certs());
    let documents = victim.status()["live_documents"].clone();
    let links = victim.log().matches("link up").count();
    let other = guarded.deployment.scratch().join("other-authority");
    let authority = CertificateAuthority::create(&other, false).unwrap();
    authority.issue(&"eu-central".parse().unwrap(), false).unwrap();
    // Certified by our authority, but not a peer of the victim.
    let ours = CertificateAuthority::load(&certs).unwrap();
    ours.issue(&"sa-east".parse().unwrap(), false).unwrap();
    let connect =
        |identity: Option<(&Path, &str)>| Impostor::connect(victim.replication, VICTIM_NAME, &certs, identity);
    let as_ours = |name: &'static str| Some((certs.as_path(), name));
    let greeting = |name: &str| Frame::Hello(hello(name, name)).encode();

    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], &[0; 64]] {
        counted(victim, REFUSED, || {
            let mut stream = client::connect(victim.replication).unwrap();
            // The connection may be closed during the write.
            let _ = stream.write_all(garbage).and(stream.read_to_end(&mut Vec::new()));
        });
    }
    let refused = |identity: Option<(&Path, &str)>, first: &[u8]| {
        counted(victim, REFUSED, || {
            let mut impostor = connect(identity);
            // The victim may have closed by now, as it should.
            let _ = impostor.send(first);
            impostor.closed();
        });
    };
    refused(None, &greeting("eu-central"));
    refused(Some((&other, "eu-central")), &greeting("eu-central"));
    refused(as_ours("ap-southeast"), &greeting("eu-central"));
    refused(as_ours("sa-east"), &greeting("eu-central"));
    refused(as_ours("sa-east"), b"no frame at all");
    refused(as_ours("sa-east"), b"");
    counted(victim, REFUSED, || {
        let mut impostor = connect(as_ours("sa-east"));
        // A length that no frame has: the victim neither reads nor reserves that much.
        impostor.send_raw(&u32::MAX.to_be_bytes()).unwrap();
        impostor.closed();
    });
    refused(as_ours("sa-east"), &greeting("sa-east"));

    assert_eq!(victim.status()["live_documents"], documents);
    assert_eq!(victim.linked(), ["ap-southeast", "eu-central"], "in the order of names");
    // No stranger got a link, not even the certified one, and no honest link broke.
    assert_eq!(victim.log().matches("link up").count(), links, "{}", victim.log());
    let visit = guarded.venue.visit("late", "030 1234");
    visit.check_in(guarded.deployment.nodes[0].public);
    guarded.deployment.wait_complete(&guarded.venue);
    visit.get().to(victim.public).expect(200);
    visit.erase().to(victim.public).expect(204);
    guarded.deployment.wait_complete(&guarded.venue);
    guarded.unharmed();
}

/// An attacker has stolen a peer's key while that peer is down: its frames are still checked.
#[test]
fn the_frames_of_a_certified_peer_are_checked() {
    let mut guarded = Guarded::start(&["development"; 3]);
    guarded.deployment.nodes[2].kill();
    let (victim, certs) = (&guarded.deployment.nodes[VICTIM], guarded.deployment.certs());
    holds("the peer is gone", AGREED, || victim.linked() == ["eu-central"]);
    let documents = victim.status()["live_documents"].clone();
    let connect = |hello: replication::Hello| {
        let identity = Some((certs.as_path(), "ap-southeast"));
        let mut impostor = Impostor::connect(victim.replication, VICTIM_NAME, &certs, identity);
        impostor.send(&Frame::Hello(hello).encode()).unwrap();
        impostor
    };
    let honest = || hello("ap-southeast", "ap-southeast");

    // A region that differs from the configuration, another longest retention, and the victim's own replica id.
    let own = u64::from_str_radix(victim.status()["replica"].as_str().unwrap(), 16).unwrap();
    for wrong in [
        hello("ap-southeast", "eu-central"),
        replication::Hello { max_retention_ms: 1, ..honest() },
        replication::Hello { replica: replication::ReplicaId(own), ..honest() },
    ] {
        counted(victim, BAD, || connect(wrong).closed());
    }
    for garbage in [&b""[..], b"\x01", &[0xff; 1000], &[1, 2, 0xff, 0xff, 0xff, 0xff], &[1; MAX_FRAME]] {
        counted(victim, BAD, || {
            let mut impostor = connect(honest());
            impostor.send(garbage).unwrap();
            impostor.closed();
        });
    }
    let mut oversized = connect(honest());
    oversized.send_raw(&(MAX_FRAME as u32 + 1).to_be_bytes()).unwrap();
    oversized.closed();

    // A valid frame with a visit beyond every retention: the entry is left out, and the link stays up.
    let greeting = honest();
    let origin = greeting.replica;
    let mut impostor = connect(greeting);
    assert!(matches!(impostor.read().unwrap(), Frame::Hello(_)));
    counted(victim, REFUSED_DELTAS, || {
        let arrival = guest::now();
        let id = replication::DocumentId::arriving(arrival, [7; 10]);
        let name = DocumentName { collection: VISITS, tenant: TenantId([7; 16]), id };
        let key = name.expiring(arrival.plus(Duration::from_secs(29 * 86_400)));
        let body = Body::Change(Change::create(&key, &[("name", Value::Text("Quux".to_owned()))]));
        let delta = Delta { dot: Dot { origin, seq: 1 }, hlc: Hlc::default().tick(arrival), key, body };
        let deltas = Deltas { origin, after: 0, through: 1, heads: None, entries: vec![delta] };
        impostor.send(&Frame::Deltas(deltas).encode()).unwrap();
    });
    assert!(matches!(impostor.read().unwrap(), Frame::Progress(_) | Frame::Deltas(_)), "the link goes on");
    drop(impostor);

    assert_eq!(victim.status()["live_documents"], documents);
    assert!(victim.linked().contains(&"eu-central".to_owned()));
    guarded.deployment.nodes[2].start_again();
    guarded.deployment.wait_linked();
    guarded.deployment.wait_complete(&guarded.venue);
    guarded.unharmed();
}
