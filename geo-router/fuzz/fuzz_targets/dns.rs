//! Datagrams from anybody: answering never panics, and whatever is answered is a sound message that fits.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use geo_router::dns::{Answers, DnsConfig, DnsSection, QueryOutcome, ReceivedFrom, Transport, Verdict, answer, create_key};
use api::Position;
use geo_router::fleet::{Fleet, Node, Region};
use geo_router::location::{Database, Locator, Places};
use geo_router::policy::{PolicyInput, Nearest, Policy};
use api::explanation::RegionState;
use geo_router::signals::Signals;
use geo_router::view::{RegionView, View};
use hickory_proto::op::Message;
use libfuzzer_sys::fuzz_target;

/// The time of every query.
const TIME: u32 = 1_559_731_985;

const ZONE: &str = "listen = '127.0.0.1:0'\nzone = 'a.test'\nservice = 's'\n\
                    nameservers = [{ name = 'n', addresses = ['192.0.2.1'] }]";

fn region(name: &str, latitude: f64) -> Region {
    let node = Node {
        name: name.to_owned().try_into().expect("a label"),
        at: SocketAddr::from(([127, 0, 0, 1], 80)).into(),
        addresses: (1..=60).map(|host| [192, 0, 2, host].into()).collect(),
        weight: 1,
    };
    Region {
        name: name.to_owned().try_into().expect("a label"),
        position: Position { latitude, longitude: 0.0 },
        weight: 1.0,
        capacity: None,
        nodes: vec![node],
    }
}

/// A zone that is not signed, and one that is.
fn answers() -> &'static [Answers; 2] {
    static ANSWERS: OnceLock<[Answers; 2]> = OnceLock::new();
    ANSWERS.get_or_init(|| {
        let key = std::env::temp_dir().join(format!("geo-router-fuzz-{}.pem", std::process::id()));
        create_key(&key).expect("a key");
        let check = |keys: &str| {
            let section: DnsSection = toml::from_str(&format!("{keys}{ZONE}")).expect("a [dns] table");
            DnsConfig::check(section, Path::new("/")).expect("a sound table")
        };
        let configs = [check(""), check(&format!("dnssec_keys = [{key:?}]\nregions_per_answer = 2\n"))];
        std::fs::remove_file(&key).expect("it was read");
        let locator = Locator::new(Vec::new(), Database::shipped().expect("the shipped database"));
        let fleet = Fleet { regions: vec![region("x", 50.0), region("y", -30.0)] };
        let places = Places::build(locator, |located| Nearest.order(&fleet, located)).expect("places");
        let demand = vec![1.0; places.classes().len()];
        let moment = PolicyInput { fleet: &fleet, admission: &[1.0; 2], places: places.classes(), demand: &demand };
        let assignment = Nearest.assign(&moment);
        let well = RegionView { state: RegionState::Up, admission: 1.0, nodes_up: vec![true] };
        let view = View {
            epoch: 1,
            connector: Arc::default(),
            signals: Arc::new(Signals::new(&fleet, places.classes().len())),
            regions: vec![well; 2],
            fleet: Arc::new(fleet),
            places: Arc::new(places),
            assignment,
            ttl: 30,
            fail_open: false,
            frozen: false,
        };
        let view = Arc::new(view);
        configs.map(|config| Answers::build(&config, Arc::clone(&view), TIME).expect("answers"))
    })
}

fuzz_target!(init: { answers(); }, |octets: &[u8]| {
    let mut out = Vec::new();
    for (answers, (transport, verdict, most)) in answers().iter().flat_map(|answers| [
        (Transport::Udp, Verdict::Answer, 1_232),
        (Transport::Udp, Verdict::Slip, 1_232),
        (Transport::Tcp, Verdict::Answer, 65_535),
        (Transport::Tls, Verdict::Answer, 65_535),
    ].map(|case| (answers, case))) {
        let asked = ReceivedFrom { from: IpAddr::V4(Ipv4Addr::LOCALHOST), transport, time: TIME, idle: (transport != Transport::Udp).then_some(100) };
        if let QueryOutcome::Answered(answered) = answer(octets, asked, answers, |_| verdict, &mut out) {
            assert!(out.len() <= most, "{} octets over {transport:?}", out.len());
            assert_eq!(out[..2], octets[..2], "the identifier");
            let message = Message::from_vec(&out).expect("a sound answer");
            assert_eq!(message.metadata.truncation, answered.truncated);
            assert!(verdict == Verdict::Answer || message.answers.is_empty());
        }
    }
});
