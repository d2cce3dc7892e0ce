//! A DNS server with a view that never changes, for measurements: three regions, the shipped database, no health.
//!
//! - `dns_static serve <threads> <address>` prints a line when it is ready, and answers until its standard input ends. A key
//!   as a third argument signs the zone; the file is made if it is missing.
//! - `dns_static nets` prints the IPv4 table of places in the form of gdnsd's `nets`, so that gdnsd can be measured
//!   with the same table.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use api::Position;
use api::explanation::RegionState;
use geo_router::dns::{DnsConfig, DnsMetrics, DnsSection, DnsServer, create_key};
use geo_router::fleet::{Fleet, Node, Region};
use geo_router::location::{Database, Leaf, Locator, Places};
use geo_router::policy::{Nearest, Policy, PolicyInput};
use geo_router::signals::Signals;
use geo_router::view::{RegionView, View};
use tokio::sync::watch;

type Failure = Box<dyn std::error::Error>;

fn fleet() -> Result<Fleet, Failure> {
    let places = [("eu-central", 50.11, 8.68, 1), ("us-east", 39.04, -77.49, 2), ("ap-south", 1.35, 103.82, 3)];
    let mut regions = Vec::new();
    for (name, latitude, longitude, index) in places {
        let addresses = vec![Ipv4Addr::new(192, 0, 2, index).into(), format!("2001:db8::{index}").parse()?];
        let at = std::net::SocketAddr::from(([127, 0, 0, 1], 80)).into();
        let node = Node { name: name.to_owned().try_into()?, at, addresses, weight: 1 };
        regions.push(Region {
            name: name.to_owned().try_into()?,
            position: Position { latitude, longitude },
            weight: 1.0,
            capacity: None,
            nodes: vec![node],
        });
    }
    Ok(Fleet { regions })
}

fn view() -> Result<View, Failure> {
    let fleet = fleet()?;
    let locator = Locator::new(Vec::new(), Database::shipped()?);
    let places = Places::build(locator, |located| Nearest.order(&fleet, located))?;
    let demand = vec![1.0; places.classes().len()];
    let moment = PolicyInput { fleet: &fleet, admission: &[1.0; 3], places: places.classes(), demand: &demand };
    let assignment = Nearest.assign(&moment);
    let well = RegionView { state: RegionState::Up, admission: 1.0, nodes_up: vec![true] };
    Ok(View {
        epoch: 1,
        connector: Arc::default(),
        signals: Arc::new(Signals::new(&fleet, places.classes().len())),
        regions: vec![well; 3],
        fleet: Arc::new(fleet),
        places: Arc::new(places),
        assignment,
        ttl: 30,
        fail_open: false,
        frozen: false,
    })
}

async fn serve(threads: &str, address: &str, key: Option<&Path>) -> Result<(), Failure> {
    if let Some(key) = key.filter(|key| !key.exists()) {
        create_key(key)?;
    }
    let keys: Vec<&Path> = key.into_iter().collect();
    let section: DnsSection = toml::from_str(&format!(
        "listen = '{address}'\nzone = 'meridian.test'\nservice = 'checkin'\nthreads = {threads}\ndnssec_keys = {keys:?}\n\
         [[nameservers]]\nname = 'ns1'\naddresses = ['192.0.2.53']\n"
    ))?;
    let config = DnsConfig::check(section, Path::new("."))?;
    let (_views, view) = watch::channel(Arc::new(view()?));
    let (stop, stopping) = watch::channel(false);
    let metrics = Arc::new(DnsMetrics::register(&prometheus::Registry::new())?);
    let server = DnsServer::start(config, view, metrics, stopping).await?;
    println!("ready on {}", server.address());
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    stop.send(true)?;
    Ok(server.stopped().await?)
}

fn print(view: &View, leaf: &Leaf) {
    let order = &view.places.place(leaf.class).order;
    let names: Vec<&str> = order.iter().map(|region| view.fleet.region(*region).name.as_str()).collect();
    println!("{}/{} => [ {} ]", leaf.network, leaf.prefix, names.join(", "));
}

fn nets() -> Result<(), Failure> {
    let view = view()?;
    let mut next = 0_u64;
    while let Ok(address) = u32::try_from(next) {
        let leaf = view.places.leaf(IpAddr::V4(address.into()));
        print(&view, &leaf);
        next += 1 << (32 - leaf.prefix);
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", threads, address] => serve(threads, address, None).await,
        ["serve", threads, address, key] => serve(threads, address, Some(Path::new(key))).await,
        ["nets"] => nets(),
        _ => Err("usage: dns_static serve <threads> <address> [key] | dns_static nets".into()),
    }
}
