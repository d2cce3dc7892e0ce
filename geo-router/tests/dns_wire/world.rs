//! Three regions, a table of places, and servers that answer for them.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use api::Position;
use api::explanation::RegionState;
use geo_router::dns::{Answered, answer};
use geo_router::dns::{
    Answers, DnsConfig, DnsConfigError, DnsError, DnsMetrics, DnsSection, DnsServer, QueryOutcome, ReceivedFrom,
    Transport, Verdict,
};
use geo_router::fleet::{Fleet, Node, Region, RegionIndex};
use geo_router::location::{Database, Locator, Override, Places, Target};
use geo_router::policy::{Nearest, Policy, PolicyInput};
use geo_router::signals::Signals;
use geo_router::view::{RegionView, View};
use prometheus::Registry;
use tokio::sync::watch;

pub(crate) const EU: usize = 0;
pub(crate) const US: usize = 1;
pub(crate) const AP: usize = 2;

pub(crate) const UP: [RegionState; 3] = [RegionState::Up; 3];
pub(crate) const US_DOWN: [RegionState; 3] = [RegionState::Up, RegionState::Down, RegionState::Up];

/// Networks that belong to a region, in addition to the database; gdnsd gets the same.
pub(crate) const NETWORKS: [(&str, usize); 4] =
    [("10.0.0.0/8", US), ("11.0.0.0/8", AP), ("127.0.0.0/8", EU), ("2001:db8:1::/48", US)];
pub(crate) const REGIONS: [&str; 3] = ["eu-central", "us-east", "ap-south"];

pub(crate) fn fleet() -> Fleet {
    let positions = [(50.11, 8.68), (39.04, -77.49), (1.35, 103.82)];
    let region = |(index, (latitude, longitude)): (usize, (f64, f64))| {
        let node = |node: u8| Node {
            name: format!("{}-{node}", REGIONS[index]).try_into().unwrap(),
            at: std::net::SocketAddr::from(([127, 0, 0, 1], 80)).into(),
            addresses: vec![
                [192, 0, 2, 16 * (index as u8 + 1) + node].into(),
                format!("2001:db8::{}:{node}", index + 1).parse().unwrap(),
            ],
            weight: 1,
        };
        Region {
            name: REGIONS[index].to_owned().try_into().unwrap(),
            position: Position { latitude, longitude },
            weight: 1.0,
            capacity: None,
            nodes: vec![node(1), node(2)],
        }
    };
    Fleet { regions: positions.into_iter().enumerate().map(region).collect() }
}

fn places() -> Arc<Places> {
    static PLACES: OnceLock<Arc<Places>> = OnceLock::new();
    let places = PLACES.get_or_init(|| {
        let to = |region: usize| Target::Region(RegionIndex(region as u8));
        let overrides =
            NETWORKS.map(|(network, region)| Override { network: network.parse().unwrap(), to: to(region) });
        let locator = Locator::new(overrides.to_vec(), Database::shipped().unwrap());
        Arc::new(Places::build(locator, |located| Nearest.order(&fleet(), located)).unwrap())
    });
    Arc::clone(places)
}

pub(crate) fn view(states: [RegionState; 3], ttl: u32) -> Arc<View> {
    let (fleet, places) = (fleet(), places());
    let admission = states.map(|state| if state.serves() { 1.0 } else { 0.0 });
    let demand = vec![1.0; places.classes().len()];
    let moment = PolicyInput { fleet: &fleet, admission: &admission, places: places.classes(), demand: &demand };
    let assignment = Nearest.assign(&moment);
    let region =
        |at: usize| RegionView { state: states[at], admission: admission[at], nodes_up: vec![states[at].serves(); 2] };
    Arc::new(View {
        epoch: 1,
        connector: Arc::default(),
        signals: Arc::new(Signals::new(&fleet, places.classes().len())),
        regions: (0..3).map(region).collect(),
        fleet: Arc::new(fleet),
        places,
        assignment,
        ttl,
        fail_open: false,
        frozen: false,
    })
}

/// The configuration of all tests, with additional lines at its end.
pub(crate) fn config(more: &str) -> DnsConfig {
    config_of("checkin", more)
}

/// The same with another name of the service.
pub(crate) fn config_of(service: &str, more: &str) -> DnsConfig {
    check_of(service, more).unwrap()
}

pub(crate) fn check_of(service: &str, more: &str) -> Result<DnsConfig, DnsConfigError> {
    let written = format!(
        "listen = '127.0.0.1:0'\nzone = 'meridian.test'\nservice = '{service}'\n\
         nameservers = [{{ name = 'ns1', addresses = ['192.0.2.53', '2001:db8::53'] }}]\n"
    );
    let section: DnsSection = toml::from_str(&format!("{written}{more}")).unwrap();
    DnsConfig::check(section, Path::new("/"))
}

pub(crate) fn snapshot(states: [RegionState; 3]) -> Answers {
    Answers::build(&config(""), view(states, 30), TIME).unwrap()
}

/// The time of the pure function.
pub(crate) const TIME: u32 = 1_559_731_985;

/// The answer of the pure function over UDP.
pub(crate) fn ask(answers: &Answers, from: IpAddr, query: &[u8]) -> Option<(Answered, Vec<u8>)> {
    let mut out = Vec::new();
    let asked = ReceivedFrom { from, transport: Transport::Udp, time: TIME, idle: None };
    match answer(query, asked, answers, |_| Verdict::Answer, &mut out) {
        QueryOutcome::Answered(answered) => Some((answered, out)),
        QueryOutcome::Dropped(_) => None,
    }
}

/// A running server.
pub(crate) struct Running {
    pub server: DnsServer,
    pub views: watch::Sender<Arc<View>>,
    pub registry: Registry,
    pub stop: watch::Sender<bool>,
}

impl Running {
    pub(crate) fn udp(&self) -> SocketAddr {
        self.server.address()
    }

    pub(crate) async fn stop(self) {
        self.stop.send(true).unwrap();
        self.server.stopped().await.unwrap();
    }

    /// The value of a counter or gauge; 0 if it does not exist.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == format!("meridian_router_dns_{name}"));
        let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
        let wanted = metrics.iter().filter(|metric| {
            labels.iter().all(|(label, value)| {
                metric.get_label().iter().any(|known| known.name() == *label && known.value() == *value)
            })
        });
        wanted.map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value()).sum()
    }

    /// Waits until a metric has a value; threads report a few times per second.
    pub(crate) async fn until(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let reached = async {
            while self.metric(name, labels) != value {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let reached = tokio::time::timeout(std::time::Duration::from_secs(20), reached).await;
        assert!(reached.is_ok(), "{name} {labels:?} is {}, not {value}", self.metric(name, labels));
    }
}

pub(crate) async fn try_start(config: DnsConfig) -> Result<Running, DnsError> {
    let (views, current) = watch::channel(view(UP, 30));
    let (stop, stopping) = watch::channel(false);
    let registry = Registry::new();
    let metrics = Arc::new(DnsMetrics::register(&registry).unwrap());
    let server = DnsServer::start(config, current, metrics, stopping).await?;
    Ok(Running { server, views, registry, stop })
}

pub(crate) async fn start(more: &str) -> Running {
    try_start(config(more)).await.unwrap()
}
