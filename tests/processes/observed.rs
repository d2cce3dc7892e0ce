//! What operators see of a process from outside: its metrics and its access log.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::fake::FakeNode;
use crate::common::router::Router;
use crate::common::{Call, Deployment, Venue, holds, net, told_by_no_chance};

const SOON: Duration = Duration::from_secs(60);

/// The value of a series.
fn value(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn metrics_name_the_build_the_process_and_the_ends_of_certificates() {
    let deployment = Deployment::start(1);
    let node = &deployment.nodes[0];
    let eu = FakeNode::start("eu");
    let file = |extension: &str| deployment.certs().join(format!("{}.{extension}", node.region)).display().to_string();
    let pair = format!("certificate = '{}'\nkey = '{}'\n", file("pem"), file("key"));
    let at = net::free(net::address(), 2);
    let router = Router::start_with(&[&eu], |text| {
        format!("{text}[edge.tls]\nlisten = '{}'\n{pair}[dns.tls]\nlisten = '{}'\n{pair}", at[0], at[1])
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let of_node = Call::new("GET", "/metrics").to(node.admin).expect(200).text().to_owned();
    for (process, metrics, certificates) in
        [("node", of_node, ["public", "replication"]), ("router", router.metrics(), ["dns", "edge"])]
    {
        let build = format!("meridian_build_info{{process=\"{process}\",");
        let builds: Vec<&str> = metrics.lines().filter(|line| line.starts_with(&build)).collect();
        assert!(builds.len() == 1 && builds[0].contains("version=\"0."), "{metrics}");
        let ends = certificates.map(|certificate| {
            let series = format!("meridian_certificate_expires_seconds{{certificate=\"{certificate}\"}}");
            value(&metrics, &series).unwrap_or_else(|| panic!("no {series} in\n{metrics}"))
        });
        assert!(ends[0] == ends[1] && ends[0] > now, "{process}: {ends:?}");
        assert!(value(&metrics, "process_open_fds").is_some_and(|open| open > 3.0), "{metrics}");
    }
    router.answered("10.1.0.1");
    assert_eq!(value(&router.metrics(), "meridian_router_edge_upstream_seconds_count{region=\"eu\"}"), Some(1.0));
}

/// The lines of an access log, if it is there.
fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The line with this id.
fn found(file: &Path, id: &str) -> Value {
    let of = || lines(file).into_iter().find(|line| line["id"] == id);
    holds("the request is in the log", SOON, || of().is_some());
    of().unwrap()
}

#[test]
fn a_request_is_found_by_its_id_in_both_logs_and_nothing_of_its_guest_is() {
    const NAME: &str = "Wilhelmine Kowalczyk";
    const PHONE: &str = "+49 171 3951746";
    const CLIENT: &str = "10.1.234.117";
    let mut deployment = Deployment::logged();
    let node_log = deployment.nodes[0].folder.join("access.log");
    let public = deployment.nodes[0].public;
    let mut router = Router::start_with(&[], |text| {
        let region = deployment.nodes[0].region;
        let place = "position = { latitude = 50.11, longitude = 8.68 }";
        let nodes = format!("[[regions.nodes]]\nname = \"{region}\"\nhttp = \"{public}\"\n");
        format!("{text}[log]\naccess = \"access.log\"\n[[regions]]\nname = \"{region}\"\n{place}\n{nodes}")
    });
    let (router_log, edge) = (router.folder.path().join("access.log"), router.at[1]);
    let venue = Venue::make(edge, "14d");
    let visit = venue.visit(NAME, PHONE);
    let put = visit.put().header("X-Forwarded-For", CLIENT).to(edge).expect(201);
    let id = put.header("x-request-id").unwrap().to_owned();
    let (at_router, at_node) = (found(&router_log, &id), found(&node_log, &id));
    let region = deployment.nodes[0].region;
    for line in [&at_router, &at_node] {
        let route = "/v1/venues/{venue}/visits/{visit}";
        assert_eq!((&line["method"], &line["route"], &line["status"]), (&"PUT".into(), &route.into(), &201.into()));
        assert_eq!((&line["region"], &line["node"]), (&region.into(), &region.into()));
        assert!(line["whole"] == true && line["bytes"].as_u64() == Some(put.body.len() as u64), "{line}");
    }
    assert_eq!((&at_router["attempts"], at_node.get("attempts")), (&1.into(), None));
    // A proxy that is trusted says what the id is, and a bad one is not taken.
    let get = |id: &str| visit.get().header("X-Forwarded-For", CLIENT).header("X-Request-Id", id).to(edge).expect(200);
    assert_eq!(get("from-the-proxy").header("x-request-id"), Some("from-the-proxy"));
    found(&node_log, "from-the-proxy");
    assert_ne!(get(NAME).header("x-request-id"), Some(NAME));
    Call::new("GET", format!("/{NAME}?phone={PHONE}").replace(' ', "%20"))
        .header("X-Forwarded-For", CLIENT)
        .to(edge)
        .expect(404);
    holds("it has no template", SOON, || lines(&router_log).iter().any(|line| line["route"] == "none"));

    // After a rotation the lines go to a new file.
    for (log, name) in [(&router_log, "router"), (&node_log, "node")] {
        std::fs::rename(log, log.with_extension(name)).unwrap();
    }
    router.process.signal(Signal::SIGHUP);
    deployment.nodes[0].process().signal(Signal::SIGHUP);
    holds("both write to new files", SOON, || {
        visit.get().header("X-Forwarded-For", CLIENT).to(edge).expect(200);
        [&router_log, &node_log].iter().all(|log| !lines(log).is_empty())
    });

    let mut all = router.log() + &deployment.logs();
    for (log, name) in [(&router_log, "router"), (&node_log, "node")] {
        all += &std::fs::read_to_string(log).unwrap();
        all += &std::fs::read_to_string(log.with_extension(name)).unwrap();
    }
    let parts = NAME.split(' ').chain([
        PHONE,
        "3951746",
        "1713951746",
        CLIENT,
        &venue.id,
        &venue.key,
        &visit.id,
        &visit.secret,
    ]);
    for secret in parts {
        told_by_no_chance(secret);
        assert!(!all.contains(secret), "{secret} is in the logs:\n{all}");
    }
    for metrics in
        [router.metrics(), Call::new("GET", "/metrics").to(deployment.nodes[0].admin).expect(200).text().to_owned()]
    {
        assert!(
            value(&metrics, "meridian_access_log_lines_total{result=\"written\"}").is_some_and(|lines| lines > 4.0)
        );
        assert_eq!(value(&metrics, "meridian_access_log_lines_total{result=\"dropped\"}"), Some(0.0));
    }
}
