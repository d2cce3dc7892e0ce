//! The release before: its stores are opened, and what it took is there (`tests/data/release-0.1`).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use node::clock::Clock;
use node::config::NodeConfig;
use node::metrics::Metrics;
use replication::{Monotonic, Now, Wall};
use serde_json::Value;
use service::authority::CertificateAuthority;

use crate::common::{Call, holds, net};

const SOON: Duration = Duration::from_secs(30);

/// A clock that begins when the release before was stopped, otherwise the check-ins would have expired.
struct Then(Instant);

impl Clock for Then {
    fn now(&self) -> Now {
        const STOPPED: Wall = Wall(1_795_977_300_000);
        let elapsed = self.0.elapsed();
        Now { mono: Monotonic(elapsed), wall: STOPPED.plus(elapsed) }
    }
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/release-0.1")
}

/// A configuration of a node without peers on the unpacked store.
fn configure(folder: &Path, engine: &str) -> (NodeConfig, SocketAddr, SocketAddr) {
    let ports = net::free(net::address(), 3);
    let (public, replication, admin) = (ports[0], ports[1], ports[2]);
    let authority = CertificateAuthority::create(&folder.join("certs"), false).unwrap();
    authority.issue(&"eu-central".parse().unwrap(), false).unwrap();
    let text = format!(
        r#"
        region = "eu-central"
        data = "store"
        position = {{ latitude = 50.11, longitude = 8.68 }}
        listen = {{ public = "{public}", replication = "{replication}", admin = "{admin}" }}
        tls = {{ ca = "certs/ca.pem", certificate = "certs/eu-central.pem", key = "certs/eu-central.key" }}
        storage = {{ engine = "{engine}" }}
        registry = {{ policy = "development" }}
        "#
    );
    let file = folder.join("node.toml");
    std::fs::write(&file, text).unwrap();
    (NodeConfig::load(&file).unwrap(), public, admin)
}

#[test]
fn stores_of_the_release_before_are_opened_with_all_that_it_took() {
    for engine in ["sled", "fjall"] {
        let folder = tempfile::tempdir().unwrap();
        let packed = std::fs::read(data().join(format!("{engine}.tar.zst"))).unwrap();
        let unpacked = zstd::decode_all(packed.as_slice()).unwrap();
        tar::Archive::new(unpacked.as_slice()).unpack(folder.path()).unwrap();
        let then: Value =
            serde_json::from_slice(&std::fs::read(data().join(format!("{engine}.json"))).unwrap()).unwrap();
        let (config, public, admin) = configure(folder.path(), engine);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let metrics = Arc::new(Metrics::new().unwrap());
        let running = runtime.spawn(node::run_with_clock(config, Arc::new(Then(Instant::now())), metrics, async {
            let _ = stopped.await;
        }));
        holds("the node is ready", SOON, || {
            assert!(!running.is_finished(), "{engine}: the node ended");
            Call::new("GET", "/readyz").send(public).is_ok_and(|answer| answer.status == 200)
        });
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let path = format!("/v1/venues/{}", text(&then["venue"]["venue_id"]));
        let key = format!("Bearer {}", text(&then["venue"]["owner_key"]));
        let guests = Call::new("GET", format!("{path}/guests")).header("Authorization", key).to(public).expect(200);
        assert_eq!(guests.json()["visits"], then["guests"]["visits"], "{engine}");
        // The guests' secrets still open their receipts, what was erased is gone, and what was ordered holds.
        for (number, visit) in then["visits"].as_array().unwrap().iter().enumerate() {
            let own = Call::new("GET", format!("{path}/visits/{}", text(&visit["visit_id"])));
            let answer = own.header("Meridian-Secret", text(&visit["secret"])).to(public);
            assert_eq!(answer.status, if number == 1 { 410 } else { 200 }, "{engine}: visit {number}");
        }
        let orders = Call::new("GET", "/v1/admin/regions").to(admin).expect(200).json();
        assert_eq!((&orders[0]["drain"], &orders[0]["order"]["reason"]), (&true.into(), &"golden".into()), "{engine}");
        // The log goes on: a correction of a visit that the release before took.
        let visit = &then["visits"][2];
        let patch = r#"{"persons":[{"name":"Zoë","phone":"+49 151 0000000"}]}"#;
        let correct = Call::new("PATCH", format!("{path}/visits/{}", text(&visit["visit_id"])));
        let correct = correct.header("Meridian-Secret", text(&visit["secret"]));
        correct.header("Content-Type", "application/merge-patch+json").bytes(patch).to(public).expect(200);
        drop(stop);
        runtime.block_on(running).unwrap().unwrap();
    }
}
