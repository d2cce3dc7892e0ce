//! What operators see of a process from outside: its metrics.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::common::fake::FakeNode;
use crate::common::router::Router;
use crate::common::{Call, Deployment, net};

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
