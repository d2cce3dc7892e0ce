//! A signed zone as seen by validators that resolvers run: BIND's (`delv`, Debian package `bind9-dnsutils`) and Unbound's
//! (`unbound-host`, of the same name). Each asks the running server, with the DS record that the zone above would have.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::signed::{self, RECORDS};
use crate::world;

/// How long a validator may take for one name.
const PATIENCE: Duration = Duration::from_secs(60);

/// Questions with an answer, and without one.
const ANSWERED: [(&str, &str); 13] = [
    ("meridian.test", "SOA"),
    ("meridian.test", "NS"),
    ("meridian.test", "MX"),
    ("meridian.test", "CAA"),
    ("ns1.meridian.test", "A"),
    ("checkin.meridian.test", "A"),
    ("cHeckin.Meridian.test", "AAAA"),
    ("checkin.meridian.test", "TXT"),
    ("us-east.checkin.meridian.test", "A"),
    ("explain.checkin.meridian.test", "TXT"),
    ("_sip._tcp.meridian.test", "SRV"),
    ("a.b.meridian.test", "TXT"),
    ("secure.meridian.test", "DS"),
];
const DENIED: [(&str, &str); 9] = [
    ("meridian.test", "A"),
    ("checkin.meridian.test", "MX"),
    ("explain.checkin.meridian.test", "A"),
    ("b.meridian.test", "A"),
    ("_tcp.meridian.test", "TXT"),
    ("insecure.meridian.test", "DS"),
    ("nowhere.meridian.test", "A"),
    ("x.y.ns1.meridian.test", "AAAA"),
    ("*.meridian.test", "A"),
];

/// The file in which `delv` finds a DS record.
fn anchor_file(folder: &Path, name: &str, ds: &str) -> PathBuf {
    let [tag, algorithm, kind, digest] = ds.split(' ').skip(3).collect::<Vec<_>>()[..] else { panic!("{ds}") };
    let text = format!("trust-anchors {{ meridian.test. static-ds {tag} {algorithm} {kind} \"{digest}\"; }};\n");
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    file
}

/// The zone's DS record, and one of a key that the zone does not have.
fn anchors(more: &str) -> (signed::Keys, String, [String; 2]) {
    let (keys, others) = (signed::keys(1), signed::keys(1));
    let ds = |keys: &signed::Keys| world::config(&keys.line).keys().unwrap()[0].ds.clone();
    let both = [ds(&keys), ds(&others)];
    let lines = format!("{}{more}", keys.line);
    (keys, lines, both)
}

/// Whether a program is installed; says so if it is not.
fn is_installed(program: &str, package: &str) -> bool {
    let is_there = std::process::Command::new(program).arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if is_there.is_err() {
        println!("!!! SKIPPED: the judgement of {program}, which is not installed (apt-get install {package})");
    }
    is_there.is_ok()
}

async fn output(command: &mut Command) -> String {
    let run = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(PATIENCE, run).await.expect("an end in time").unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn delv(server: SocketAddr, anchor: &Path, name: &str, kind: &str) -> String {
    let mut command = Command::new("delv");
    command.arg(format!("@{}", server.ip())).args(["-p", &server.port().to_string(), "-a"]).arg(anchor);
    output(command.args(["+root=meridian.test", name, kind])).await
}

#[tokio::test]
async fn delv_believes_every_answer_of_the_zone_and_none_of_another_key() {
    if !is_installed("delv", "bind9-dnsutils") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (_keys, lines, anchors) = anchors(RECORDS);
    let [own, other] =
        [("own", &anchors[0]), ("other", &anchors[1])].map(|(name, ds)| anchor_file(folder.path(), name, ds));
    let running = world::start(&lines).await;
    for (name, kind) in ANSWERED {
        let said = delv(running.udp(), &own, name, kind).await;
        assert!(said.contains("; fully validated") && !said.contains("negative"), "{name} {kind}:\n{said}");
    }
    for (name, kind) in DENIED {
        let said = delv(running.udp(), &own, name, kind).await;
        assert!(said.contains("; negative response, fully validated"), "{name} {kind}:\n{said}");
    }
    for (name, kind) in [ANSWERED[0], DENIED[0]] {
        let said = delv(running.udp(), &other, name, kind).await;
        assert!(said.contains("resolution failed") && !said.contains("fully validated"), "{name} {kind}:\n{said}");
    }
    running.stop().await;
}

/// While a key is replaced, the zone above has the DS record of either key, whichever of the two signs.
#[tokio::test]
async fn either_key_of_a_roll_over_is_believed_in_every_step() {
    if !is_installed("delv", "bind9-dnsutils") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let keys = signed::keys(2);
    let facts = world::config(&keys.line).keys().unwrap();
    let anchors = ["first", "second"].iter().zip(&facts).map(|(name, key)| anchor_file(folder.path(), name, &key.ds));
    let anchors: Vec<PathBuf> = anchors.collect();
    for line in [&keys.line, &keys.reversed] {
        let running = world::start(line).await;
        for anchor in &anchors {
            for (name, kind) in
                [("meridian.test", "DNSKEY"), ("checkin.meridian.test", "A"), ("nowhere.meridian.test", "A")]
            {
                let said = delv(running.udp(), anchor, name, kind).await;
                assert!(said.contains("fully validated"), "{name} {kind}:\n{said}");
            }
        }
        running.stop().await;
    }
}

async fn unbound(config: &Path, anchor: &str, name: &str, kind: &str) -> String {
    let mut command = Command::new("unbound-host");
    command.arg("-C").arg(config).args(["-y", anchor, "-v", "-t", kind, name]);
    output(&mut command).await
}

#[tokio::test]
async fn unbound_believes_every_answer_of_the_zone_and_none_of_another_key() {
    if !is_installed("unbound-host", "unbound-host") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (_keys, lines, [own, other]) = anchors(RECORDS);
    let running = world::start(&lines).await;
    let config = folder.path().join("unbound.conf");
    let (ip, port) = (running.udp().ip(), running.udp().port());
    // The stub is the way to the zone; no other server is asked.
    let text = format!(
        "server:\n do-not-query-localhost: no\n local-zone: \"test.\" nodefault\n module-config: \"validator iterator\"\n\
         stub-zone:\n name: \"meridian.test\"\n stub-addr: {ip}@{port}\n"
    );
    std::fs::write(&config, text).unwrap();
    for (name, kind) in ANSWERED.into_iter().chain(DENIED) {
        let said = unbound(&config, &own, name, kind).await;
        assert!(said.contains("(secure)") && !said.contains("insecure)"), "{name} {kind}:\n{said}");
        assert!(!said.contains("SERVFAIL") && !said.contains("BOGUS"), "{name} {kind}:\n{said}");
    }
    for (name, kind) in [ANSWERED[0], ANSWERED[5]] {
        let said = unbound(&config, &other, name, kind).await;
        assert!(!said.contains("(secure)") && said.contains("BOGUS"), "{name} {kind}:\n{said}");
    }
    running.stop().await;
}
