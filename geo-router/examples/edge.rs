//! An edge in front of given nodes, without a control plane: every node counts as healthy. For measurements.
//!
//! `cargo run --release -p geo-router --example edge -- 127.0.0.1:8080 127.0.0.1:7080 [more nodes]`
//!
//! With `EDGE_TLS="127.0.0.1:8443 CERTIFICATE KEY"` it listens with TLS as well.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use api::Position;
use api::explanation::RegionState;
use geo_router::edge::{EdgeConfig, EdgeMetrics, EdgeSection, EdgeServer, TlsSection};
use geo_router::fleet::{Fleet, Node, Region};
use geo_router::location::{Database, Locator, Places};
use geo_router::policy::{Nearest, Policy, PolicyInput};
use geo_router::signals::Signals;
use geo_router::view::{RegionView, View};
use tokio::sync::watch;

/// The allocator of `meridian`, otherwise the memory would be that of another program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failed = Box<dyn std::error::Error>;

#[tokio::main(worker_threads = 1)]
async fn main() -> Result<(), Failed> {
    let mut addresses = std::env::args().skip(1).map(|address| address.parse::<SocketAddr>());
    let listen = addresses.next().ok_or("the address to listen on is missing")??;
    let nodes = addresses.enumerate().map(|(index, at)| {
        let name = format!("node-{index}").try_into()?;
        Ok(Node { name, at: at?.into(), addresses: Vec::new(), weight: 1 })
    });
    let region = Region {
        name: "local".to_owned().try_into()?,
        position: Position { latitude: 50.11, longitude: 8.68 },
        weight: 1.0,
        capacity: None,
        nodes: nodes.collect::<Result<_, Failed>>()?,
    };
    let fleet = Arc::new(Fleet { regions: vec![region] });
    let locator = Locator::new(Vec::new(), Database::shipped()?);
    let places = Arc::new(Places::build(locator, |located| Nearest.order(&fleet, located))?);
    let demand = vec![0.0; places.classes().len()];
    let moment = PolicyInput { fleet: &fleet, admission: &[1.0], places: places.classes(), demand: &demand };
    let up = RegionView { state: RegionState::Up, admission: 1.0, nodes_up: vec![true; fleet.regions[0].nodes.len()] };
    let view = View {
        epoch: 1,
        connector: Arc::default(),
        fleet: fleet.clone(),
        signals: Arc::new(Signals::new(&fleet, places.classes().len())),
        regions: vec![up],
        assignment: Nearest.assign(&moment),
        places: places.clone(),
        ttl: 30,
        fail_open: false,
        frozen: false,
    };
    let metrics = Arc::new(EdgeMetrics::register(&prometheus::Registry::new())?);
    let (_views, views) = watch::channel(Arc::new(view));
    let (stop, stopping) = watch::channel(false);
    let mut section = EdgeSection::new(listen);
    // Idle connections are the subject of the measurement, so they must not time out.
    section.timeouts.idle_ms = 600_000;
    section.timeouts.head_ms = 600_000;
    section.limits.connections_per_client = section.limits.connections;
    if let Ok(tls) = std::env::var("EDGE_TLS") {
        let [listen, certificate, key] = tls.split(' ').collect::<Vec<_>>()[..] else {
            return Err("EDGE_TLS is an address, a certificate and a key".into());
        };
        let listen = listen.parse::<SocketAddr>()?.into();
        section.tls = Some(TlsSection { listen, certificate: certificate.into(), key: key.into() });
    }
    let config = EdgeConfig::check(section, Path::new("/"))?;
    let server = EdgeServer::start(config, views, metrics, stopping).await?;
    println!("{}", server.address());
    tokio::signal::ctrl_c().await?;
    stop.send_replace(true);
    server.stopped().await;
    Ok(())
}
