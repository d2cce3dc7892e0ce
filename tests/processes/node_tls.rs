//! TLS between routers and nodes: nothing readable passes, nodes that do not prove their names get nothing, certificates
//! are renewed without a failed request; and nodes by host name, which move without one.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};
use serde_json::Value;
use service::authority::CertificateAuthority;

use crate::common::clients::Clients;
use crate::common::dns::NameServer;
use crate::common::fake::FakeNode;
use crate::common::process::Process;
use crate::common::recorder::Recorder;
use crate::common::router::head;
use crate::common::{Call, Deployment, MERIDIAN, Venue, client, holds, net, within};

/// Time limit of steps that take some seconds, on a busy machine.
const SOON: Duration = Duration::from_secs(120);

const EU: usize = 0;
const US: usize = 1;

/// Clients near Frankfurt and Ashburn, by the overrides of every file here.
const EUROPEAN: &str = "10.1.0.1";
const AMERICAN: &str = "10.2.0.1";

/// A router process of its own. A node that is slow on a busy machine is not down.
struct Router {
    folder: PathBuf,
    admin: SocketAddr,
    edge: SocketAddr,
    process: Process,
}

impl Router {
    /// `nodes` is the rest of the file: `[nodes]` and `[[regions]]`.
    fn start(folder: &Path, nodes: &str) -> Router {
        std::fs::create_dir_all(folder).unwrap();
        let at = net::free(net::address(), 2);
        let rules = r#"
            [health]
            interval_ms = 1000
            timeout_ms = 900
            down_after = 5
            up_after = 2
            hold_down_s = 0
            ramp_s = 0
            [[location.overrides]]
            network = "10.1.0.0/16"
            region = "eu-central"
            [[location.overrides]]
            network = "10.2.0.0/16"
            region = "us-east"
            "#;
        std::fs::write(folder.join("router.toml"), head(at[0], at[1]) + rules + nodes).unwrap();
        let process = Router::process(folder);
        let router = Router { folder: folder.to_owned(), admin: at[0], edge: at[1], process };
        holds("the router runs", SOON, || Call::new("GET", "/readyz").send(router.admin).is_ok());
        router
    }

    fn process(folder: &Path) -> Process {
        let mut command = Command::new(MERIDIAN);
        command.args(["router", "--config"]).arg(folder.join("router.toml"));
        Process::logged(&mut command, &folder.join("log"))
    }

    fn start_again(&mut self) {
        self.process.signal(Signal::SIGTERM);
        assert!(self.process.ended(SOON).0.success());
        self.process = Router::process(&self.folder);
        holds("the router runs", SOON, || Call::new("GET", "/readyz").send(self.admin).is_ok());
    }

    /// Writes another rest of the file and tells the router to read it.
    fn reload(&mut self, from: &str, to: &str) {
        let file = self.folder.join("router.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&file, text.replace(from, to)).unwrap();
        self.process.signal(Signal::SIGHUP);
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap()
    }

    /// A region's only node as the router shows it.
    fn node(&self, region: &str) -> Value {
        let status = Call::new("GET", "/v1/admin/status").to(self.admin).expect(200).json();
        let regions = status["regions"].as_array().unwrap();
        regions.iter().find(|one| one["region"] == region).unwrap()["nodes"][0].clone()
    }

    fn is_up(&self, region: &str) -> bool {
        let node = self.node(region);
        node["up"] == true && node["trouble"].is_null()
    }

    /// The region that answers a client.
    fn answered(&self, client: &str) -> String {
        let answer = Call::new("GET", "/v1/cluster").header("X-Forwarded-For", client).to(self.edge).expect(200);
        answer.header("meridian-region").unwrap().to_owned()
    }
}

/// A region with one node. `listener` says how the node is reached.
fn region(name: &str, listener: &str) -> String {
    format!(
        "[[regions]]\nname = \"{name}\"\nposition = {{ latitude = 1.0, longitude = 1.0 }}\n[[regions.nodes]]\nname = \"{name}\"\n\
         {listener}\n"
    )
}

/// Lets a guest check in, reads the list and the event stream, and returns what must not be readable on the way.
fn use_everything(edge: SocketAddr) -> Vec<String> {
    let venue = Venue::make(edge, "14d");
    let mut stream = client::connect(edge).unwrap();
    stream
        .write_all(&venue.call("GET", "/changes").header("Accept", "text/event-stream").render("meridian.test"))
        .unwrap();
    let visit = venue.visit("Zoe Nguyen", "+49 151 2345678");
    visit.put().to(edge).expect(201);
    visit.get().to(edge).expect(200);
    assert!(venue.list(edge).contains_key(&visit.id));
    let (mut events, mut piece) = (String::new(), [0; 4_096]);
    while !events.contains(&visit.id) {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "the stream ended: {events}");
        events.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    vec![
        "Zoe Nguyen".to_owned(),
        "2345678".to_owned(),
        visit.secret.clone(),
        venue.key,
        visit.id,
        "HTTP/1.1".to_owned(),
    ]
}

#[test]
fn nothing_readable_passes_between_router_and_node() {
    let deployment = Deployment::start(1);
    let node = &deployment.nodes[EU];
    let (secured, plain) = (Recorder::start(node.public_tls), Recorder::start(node.public));
    let us = region("us-east", "http = \"127.0.0.1:9\"");
    let nodes = format!("[nodes]\nca = \"{}\"\n", deployment.certs().join("ca.pem").display());
    let eu = region("eu-central", &format!("https = \"{}\"", secured.address));
    let router = Router::start(&deployment.scratch().join("router"), &format!("{nodes}{eu}{us}"));
    holds("the node is up", SOON, || router.is_up("eu-central"));
    for secret in use_everything(router.edge) {
        assert_eq!(secured.saw(&secret), 0, "{secret} passed in the clear");
    }
    assert!(secured.bytes() > 4_000 && plain.bytes() == 0);

    // The same without TLS: the recorder would have seen all of it.
    let eu = region("eu-central", &format!("http = \"{}\"", plain.address));
    let router = Router::start(&deployment.scratch().join("plain"), &format!("{eu}{us}"));
    holds("the node is up", SOON, || router.is_up("eu-central"));
    for secret in use_everything(router.edge) {
        assert!(plain.saw(&secret) > 0, "{secret}");
    }
}

/// Writes an authority of the test's own, and a certificate of it for `name` that ended long ago.
fn ended(folder: &Path, name: &str) -> String {
    std::fs::create_dir_all(folder).unwrap();
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "an authority of a test");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    let pem = authority.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(authority, key);
    let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    (leaf.not_before, leaf.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let key = KeyPair::generate().unwrap();
    std::fs::write(folder.join(format!("{name}.pem")), leaf.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    let file = folder.join(format!("{name}.key"));
    std::fs::write(&file, key.serialize_pem()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    pem
}

/// Requests that a node has answered.
fn asked(deployment: &Deployment, node: usize) -> usize {
    let metrics = Call::new("GET", "/metrics").to(deployment.nodes[node].admin).expect(200).text().to_owned();
    let of_clients = |line: &&str| line.starts_with("meridian_http_requests_total") && line.contains("/v1/venues");
    metrics.lines().filter(of_clients).filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
}

#[test]
fn a_node_that_does_not_prove_its_name_gets_nothing_and_renewals_fail_no_request() {
    let deployment = Deployment::start(2);
    let (certs, scratch) = (deployment.certs(), deployment.scratch());
    let us = deployment.nodes[US].region;
    let authority = CertificateAuthority::load_or_create(&certs).unwrap();
    let (foreign, old) = (scratch.join("foreign"), scratch.join("old"));
    CertificateAuthority::create(&foreign, false).unwrap().issue(&us.parse().unwrap(), false).unwrap();
    authority.issue(&"someone-else".parse().unwrap(), false).unwrap();
    // The router trusts two authorities, as while one is replaced.
    let ca = scratch.join("authorities.pem");
    std::fs::write(&ca, std::fs::read_to_string(certs.join("ca.pem")).unwrap() + &ended(&old, us)).unwrap();
    let recorders = [EU, US].map(|node| Recorder::start(deployment.nodes[node].public_tls));
    let at = |node: usize| {
        let listener = format!("https = \"{}\"", recorders[node].address);
        region(deployment.nodes[node].region, &listener)
    };
    let revoked = certs.join("crl.pem");
    let nodes = format!("[nodes]\nca = \"{}\"\nrevoked = \"{}\"\n", ca.display(), revoked.display());
    let router = Router::start(&scratch.join("router-1"), &format!("{nodes}{}{}", at(EU), at(US)));
    let are_up = || router.is_up("eu-central") && router.is_up(us);
    holds("both nodes are up", SOON, are_up);
    holds("both answer", SOON, || [EUROPEAN, AMERICAN].map(|client| router.answered(client)) == ["eu-central", us]);
    let venue = Venue::make(router.edge, "14d");
    deployment.wait_known(&venue);

    // A certificate that is renewed while requests pass.
    let clients = Clients::start(router.edge, "/v1/cluster", &[EUROPEAN, AMERICAN]);
    clients.go_on();
    let is_read = |node: usize| deployment.nodes[node].log().matches("the renewed certificate is in use").count();
    for round in 1..=2 {
        authority.issue(&us.parse().unwrap(), true).unwrap();
        deployment.certify(US, &certs, us);
        holds("the node has read it", SOON, || {
            // A busy machine may be late for a probe.
            let trouble = router.node(us)["trouble"].to_string();
            assert!(!trouble.contains("certificate") && !trouble.contains("TLS"), "{trouble}");
            is_read(US) == round
        });
        clients.go_on();
        holds("the node answers", SOON, || router.answered(AMERICAN) == us);
    }
    clients.end_without_a_failure();

    let bad = [
        (&foreign, us, "UnknownIssuer"),
        (&certs, "someone-else", "not valid for name \"us-east\""),
        (&old, us, "certificate expired"),
    ];
    for (from, name, why) in bad {
        deployment.certify(US, from, name);
        within("the node is down, and the router says why", SOON, || {
            let node = router.node(us);
            let said = node["trouble"].as_str().unwrap_or_default();
            if node["up"] == false && said.contains("certificate is not accepted") && said.contains(why) {
                Ok(())
            } else {
                Err(node)
            }
        });
        let mut status = Command::new(MERIDIAN);
        let shown = status.args(["status", "--routers", "--data"]).arg(scratch).output().unwrap();
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains("node us-east is down: its certificate is not accepted"), "{shown}");
        let before = asked(&deployment, US);
        for _ in 0..20 {
            Call::new("GET", &venue.path).header("X-Forwarded-For", AMERICAN).to(router.edge).expect(200);
            assert_eq!(router.answered(AMERICAN), "eu-central");
        }
        venue
            .visit("Zoe Nguyen", "+49 151 2345678")
            .put()
            .header("X-Forwarded-For", AMERICAN)
            .to(router.edge)
            .expect(201);
        assert_eq!(asked(&deployment, US), before, "{why}: a request reached the node");
        let log = router.log();
        // The log escapes quotes.
        let why = why.split('"').next().unwrap();
        assert!(log.contains("does not prove its name over TLS") && log.contains(why), "{log}");
        deployment.certify(US, &certs, us);
        holds("a good certificate is accepted again", SOON, are_up);
        holds("its clients are back", SOON, || router.answered(AMERICAN) == us);
    }
    // A certificate that is revoked: the list is read again.
    let list = Command::new(MERIDIAN).args(["certs", "revoke", us, "--dir"]).arg(&certs).output().unwrap();
    assert!(list.status.success(), "{list:?}");
    holds("the list counts", SOON, || {
        let node = router.node(us);
        node["up"] == false && node["trouble"].as_str().is_some_and(|said| said.contains("Revoked"))
    });
    assert_eq!(router.answered(AMERICAN), "eu-central");
    for recorder in &recorders {
        assert!(recorder.bytes() > 0 && recorder.saw("HTTP/1.1") + recorder.saw("Nguyen") == 0);
    }
}

#[test]
fn a_host_name_that_moves_is_followed_and_no_request_fails() {
    let folder = tempfile::tempdir().unwrap();
    let [here, there] = [net::address(), net::address()];
    let port = net::free_base(&[here, there], 1);
    let [first, second] =
        [("first", here), ("second", there)].map(|(name, ip)| FakeNode::start_at(name, (ip, port).into()));
    let v4 = |ip: IpAddr| if let IpAddr::V4(ip) = ip { ip } else { unreachable!() };
    let names = NameServer::start(v4(here));
    let other = FakeNode::start("other");
    let nodes = format!("[nodes]\nresolve_every_s = 1\nresolvers = [\"{}\"]\n", names.address);
    let eu = region("eu-central", &format!("http = \"{here}:{port}\""));
    let us = region("us-east", &format!("http = \"{}\"", other.address));
    let mut router = Router::start(folder.path(), &format!("{nodes}{eu}{us}"));
    let text = |router: &Router| {
        Call::new("GET", "/").header("X-Forwarded-For", EUROPEAN).to(router.edge).expect(200).text().to_owned()
    };
    holds("the node is up", SOON, || router.is_up("eu-central") && router.is_up("us-east"));
    holds("the node answers", SOON, || text(&router) == first.name);
    let clients = Clients::start(router.edge, "/v1/cluster", &[EUROPEAN, AMERICAN]);
    // The node gets a name, which leads to where it is.
    router.reload(&format!("http = \"{here}:{port}\""), &format!("http = \"node-1.eu.example:{port}\""));
    holds("the file is taken up", SOON, || router.log().contains("the configuration file was read again"));
    assert_eq!(router.node("eu-central")["up"], true, "{}", router.node("eu-central"));
    for (ip, node) in [(there, &second), (here, &first), (there, &second)] {
        names.answers(Some(v4(ip)));
        holds("the router follows", SOON, || text(&router) == node.name);
        clients.go_on();
    }
    // A name that is gone leads where it led last, and the router says so.
    names.answers(None);
    let says = |router: &Router| router.node("eu-central")["trouble"].as_str().unwrap_or_default().to_owned();
    holds("the router says so", SOON, || says(&router).contains("node-1.eu.example: its host name does not resolve"));
    clients.end_without_a_failure();
    assert_eq!((router.node("eu-central")["up"].as_bool(), text(&router).as_str()), (Some(true), second.name));
    assert_eq!(router.log().matches("a host name of a node does not resolve").count(), 1, "{}", router.log());
    router.start_again();
    holds("a restart keeps it", SOON, || router.node("eu-central")["up"] == true && text(&router) == second.name);
    names.answers(Some(v4(here)));
    holds("it resolves again", SOON, || says(&router).is_empty() && text(&router) == first.name);
    assert!(router.log().contains("a host name of a node resolves again"));
}

fn check(role: &str, file: &Path) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        Command::new(MERIDIAN).args([role, "--check", "--config"]).arg(file).output().unwrap();
    (status.code(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}

#[test]
fn a_check_reads_certificates_and_warns_of_plain_http_between_machines() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("router.toml");
    let rest = "name = \"r\"\ndata = \"store\"\nadmin.listen = \"127.0.0.1:7082\"\nedge.listen = \"127.0.0.1:7080\"\n";
    let checked = |text: String| {
        std::fs::write(&file, format!("{rest}{text}")).unwrap();
        check("router", &file)
    };
    let (code, said) = checked(region("eu", "http = \"127.0.0.1:7080\""));
    assert!(code == Some(0) && !said.contains("warning"), "{said}");
    for exposed in ["192.0.2.1:7080", "node-1.eu.example:7080"] {
        let (code, said) = checked(region("eu", &format!("http = \"{exposed}\"")));
        assert!(
            code == Some(0) && said.contains(&format!("node eu is reached at http://{exposed} without TLS")),
            "{said}"
        );
    }
    let tls = "edge.tls = { listen = \"127.0.0.1:7443\", certificate = \"a.pem\", key = \"a.key\" }\n";
    let (code, said) = checked(format!("{tls}{}", region("eu", "http = \"127.0.0.1:7080\"")));
    assert!(code == Some(2) && said.contains("edge.tls") && said.contains("a.pem"), "{said}");
    let (code, said) = checked(format!("nodes.ca = \"ca.pem\"\n{}", region("eu", "https = \"192.0.2.1:7443\"")));
    assert!(code == Some(2) && said.contains("ca.pem"), "{said}");

    let deployment = Deployment::start(1);
    let node = deployment.nodes[0].folder.join("node.toml");
    let (code, said) = check("node", &node);
    assert!(code == Some(0) && !said.contains("warning"), "{said}");
    let text = std::fs::read_to_string(&node).unwrap();
    let other = node.with_file_name("other.toml");
    std::fs::write(&other, text.replace(&deployment.nodes[0].public.ip().to_string(), "192.0.2.1")).unwrap();
    let (code, said) = check("node", &other);
    assert!(code == Some(0) && said.contains("warning: listen.public = 192.0.2.1:"), "{said}");
    std::fs::remove_file(deployment.scratch().join("public/eu-central.key")).unwrap();
    let (code, said) = check("node", &node);
    assert!(code == Some(2) && said.contains("listen.public_tls") && said.contains("eu-central.key"), "{said}");
}
